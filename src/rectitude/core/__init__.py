"""Ground floor: errors, configuration, files, memory, progress. Imports nothing of the house."""
