"""What a run folder tells of itself, read without loading the model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rectitude.core.errors import RectitudeError, RunError
from rectitude.models.registry import model_class
from rectitude.runs.folder import CARD, CONFIG, FINDINGS, LINEAGE, METRICS, REMEDY, RunFolder

LEADING = ("ndcg@10", "recall@10", "mrr@10", "coverage@10", "novelty@10")
"""Metrics of the list of runs."""


@dataclass(frozen=True)
class RunInfo:
    """A run as it is told of.

    Attributes:
        name: Of the folder.
        path: The folder.
        model: Name of the model on the command line.
        title: Name of the model in tables.
        paper: Source of the method.
        config: Content of ``config.json``.
        metrics: Fold to protocol and metrics.
        lineage: Where it came from.
        findings: Of the audit: findings, impossible, protocol; empty before there was one.
        remedy: Before and after; empty for a run as it was trained.
    """

    name: str
    path: Path
    model: str
    title: str
    paper: str
    config: dict[str, Any]
    metrics: dict[str, Any]
    lineage: dict[str, Any]
    findings: dict[str, Any]
    remedy: dict[str, Any]

    @classmethod
    def read(cls, path: str | Path) -> RunInfo:
        """Read a run folder of a recommender.

        Raises:
            RunError: It is missing, damaged, of another version, or no recommender.
        """
        folder = RunFolder(path)
        if folder.config.get("kind") != "recommender":
            raise RunError(f"The run is a {folder.config.get('kind')}, not a recommender", where=str(path))
        chosen = model_class(folder.config["model"])
        return cls(
            folder.path.resolve().name,
            folder.path,
            chosen.name,
            chosen.title,
            chosen.paper,
            folder.config,
            folder.read_json(METRICS, {}),
            folder.read_json(LINEAGE, {}),
            folder.read_json(FINDINGS, {}),
            folder.read_json(REMEDY, {}),
        )

    @property
    def fold(self) -> str | None:
        """The fold whose figures are told first: ``test`` where it was opened."""
        return next((fold for fold in ("test", "valid") if fold in self.metrics), None)

    def leading(self) -> dict[str, float]:
        """The first figures of that fold."""
        found = self.metrics[self.fold]["metrics"] if self.fold else {}
        return {name: found[name]["value"] for name in LEADING if name in found}

    def card(self) -> str:
        """The model card, Markdown."""
        file = self.path / CARD
        return file.read_text(encoding="utf-8") if file.is_file() else ""


def runs_in(root: Path) -> list[RunInfo]:
    """The recommender runs that lie in a folder, by name; what cannot be read is passed over."""
    found = []
    for path in sorted(entry for entry in root.iterdir() if (entry / CONFIG).is_file() and entry.name[0] != "."):
        try:
            found.append(RunInfo.read(path))
        except RectitudeError:
            continue  # another kind of run, or half of one
    return found
