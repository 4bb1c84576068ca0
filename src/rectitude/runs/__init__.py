"""Run folders: what a run is on disk."""
