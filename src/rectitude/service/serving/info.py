"""What a run folder tells of itself, read without loading the model."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rectitude.core.errors import RectitudeError, RunError
from rectitude.models.registry import model_class
from rectitude.runs.folder import CARD, CONFIG, FINDINGS, LINEAGE, METRICS, REMEDY, RunFolder

MOST_KEPT = 1000
"""Runs that are remembered; the least lately asked for goes first."""
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
        chosen = model_class(str(folder.config.get("model")))
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


class Infos:
    """What runs tell of themselves, read again only when a file of theirs has changed."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Path, tuple[tuple[Any, ...], RunInfo | None]] = OrderedDict()

    def of(self, path: Path) -> RunInfo:
        """Of one run.

        Raises:
            RunError: It is missing, damaged, of another version, or no recommender.
        """
        return self._of(path) or RunInfo.read(path)  # which says why not

    def within(self, root: Path) -> list[RunInfo]:
        """Of the recommender runs in a folder, by name; what cannot be read is passed over."""
        try:
            names = sorted(entry.name for entry in root.iterdir())
        except OSError:  # not made yet, or not ours to look into
            return []
        found = (self._of(path) for name in names if (path := run_in(root, name)) is not None)
        return [info for info in found if info is not None]

    def _of(self, path: Path) -> RunInfo | None:
        """None for another kind of run, or half of one."""
        stamp = tuple(_stamp(path / name) for name in (CONFIG, METRICS, LINEAGE, FINDINGS, REMEDY))
        known, info = self._kept.pop(path, (None, None))
        if known != stamp:
            try:
                info = RunInfo.read(path)
            except RectitudeError:
                info = None
        self._kept[path] = (stamp, info)
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return info


def _stamp(file: Path) -> tuple[int, ...] | None:
    try:
        about = file.stat()
    except OSError:
        return None
    return about.st_mtime_ns, about.st_size, about.st_ino


def run_in(root: Path, name: str) -> Path | None:
    """The run of a name in a folder; None where there is none, and where the name or a link leads out of it.

    Args:
        root: The folder, resolved.
        name: As it came from anybody; hidden folders are what is being built or replaced.
    """
    if not name or name[0] == "." or any(sign in name for sign in "/\\\0"):
        return None
    try:
        path = (root / name).resolve()
        return path if path.parent == root and (path / CONFIG).is_file() else None
    except (OSError, RuntimeError):  # longer than names are, or a link to itself
        return None
