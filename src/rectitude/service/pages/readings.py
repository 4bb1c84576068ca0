"""A run as its pages tell it: read from the folder, nothing of the model loaded."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from rectitude.audit.checks.finding import Finding
from rectitude.audit.findings import ReportInput, headline, metric_title, metric_words, serves
from rectitude.evaluation.intervals import Interval
from rectitude.models.registry import model_class
from rectitude.runs.folder import CONFIG, FINDINGS, LINEAGE, METRICS, REMEDY, RunFolder
from rectitude.service.pages.kept import Kept

FOLDS = {"test": "people kept aside to the end", "valid": "people it was tuned on"}
"""Fold to what it is, in words."""

_READ = (CONFIG, METRICS, FINDINGS, LINEAGE, REMEDY)


@dataclass(frozen=True)
class RunReading:
    """What a run's folder says.

    Attributes:
        slot: Its name in this service.
        path: Its folder.
        config: Content of ``config.json``.
        metrics: Fold to metric to interval.
        protocols: Fold to the stamp of its figures.
        findings: Of the audit, empty where there was none.
        impossible: Checks that could not be made, a sentence each.
        lineage: Where it came from.
        remedy: Before and after, empty for a run as it was trained.
    """

    slot: str
    path: Path
    config: Mapping[str, Any]
    metrics: Mapping[str, Mapping[str, Interval]]
    protocols: Mapping[str, Mapping[str, Any]]
    findings: Sequence[Finding]
    impossible: Sequence[str]
    lineage: Mapping[str, Any]
    remedy: Mapping[str, Any]

    @classmethod
    def read(cls, slot: str, path: Path) -> RunReading:
        """Read a folder.

        Raises:
            RunError: It is missing or damaged.
        """
        folder = RunFolder(path)
        measured = folder.read_json(METRICS, default={})
        audited = folder.read_json(FINDINGS, default={"findings": (), "impossible": ()})
        return cls(
            slot,
            folder.path,
            folder.config,
            {
                fold: {name: Interval(**value) for name, value in entry["metrics"].items()}
                for fold, entry in measured.items()
                if fold in FOLDS
            },
            {fold: entry["protocol"] for fold, entry in measured.items() if fold in FOLDS},
            [Finding.from_dict(one) for one in audited["findings"]],
            list(audited["impossible"]),
            folder.read_json(LINEAGE, default={"parent": None}),
            folder.read_json(REMEDY, default={"rows": ()}) if (folder.path / REMEDY).is_file() else {},
        )

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.path.name

    @cached_property
    def title(self) -> str:
        """The model's name in tables."""
        return model_class(self.config["model"]).title

    @property
    def dataset(self) -> str:
        """Name of its data."""
        return str(self.config["data"]["name"])

    @property
    def fold(self) -> str | None:
        """The fold its figures are best read from: ``test`` where it was judged there."""
        return next((fold for fold in FOLDS if fold in self.metrics), None)

    @property
    def headline(self) -> tuple[str, Interval] | None:
        """NDCG of its best-known fold, by its title."""
        found = self.metrics.get(self.fold or "", {})
        key = headline(found, "ndcg")
        return (metric_title(key), found[key]) if key else None

    @cached_property
    def facts(self) -> ReportInput:
        """The same as the report is made from, as far as the folder knows it."""
        model = model_class(self.config["model"])
        data = self.config["data"]
        return ReportInput(
            name=self.name,
            model=self.config["model"],
            model_title=self.title,
            paper=model.paper,
            reads=sorted(model.reads),
            serves_new_users=model.serves_new_users,
            serves_new_items=model.serves_new_items,
            dataset={"name": data["name"]},
            config=self.config["settings"],
            protocol=self.protocols.get(self.fold or "", {}),
            summary=self.metrics.get(self.fold or "", {}),
            fold=self.fold or "test",
            notes=self.config.get("notes", ()),
            lineage=self.lineage,
            findings=self.findings,
            remedy=self.remedy,
            versions=self.config.get("versions", {}),
        )

    @property
    def serves(self) -> list[str]:
        """Whom it can answer for, in sentences."""
        return serves(self.facts)

    def measures(self, k: int = 10) -> list[tuple[str, str, dict[str, Interval]]]:
        """Words, title and fold to interval of each measure of lists of ``k``."""
        keys = dict.fromkeys(key for found in self.metrics.values() for key in found if key.endswith(f"@{k}"))
        return [
            (metric_words(key), metric_title(key), {f: found[key] for f, found in self.metrics.items() if key in found})
            for key in keys
        ]

    def commands(self) -> list[tuple[str, str]]:
        """What can be done with it on the command line."""
        name = shlex.quote(str(self.path))
        made = [("Recommend to a person of the data", f"rectitude recommend {name} --user ID")]
        if "test" not in self.metrics:
            made.append(("Judge it", f"rectitude evaluate {name}"))
        if not self.findings:
            made.append(("Check whom it serves worse and what it tells", f"rectitude audit {name}"))
        return made


@dataclass
class Node:
    """A run in the tree of where models came from.

    Attributes:
        name: Folder name.
        reading: What is known of it; None for a parent that is not served here.
        made_by: How it came from its parent.
        children: Made from it.
    """

    name: str
    reading: RunReading | None = None
    made_by: str = ""
    children: list[Node] = field(default_factory=list)


def lineage(readings: Iterable[RunReading]) -> list[Node]:
    """The runs as trees, each under the run it was made from, oldest first.

    A parent that is not served is a node of its own, so that its children stand together.
    """
    found = sorted(readings, key=lambda reading: (str(reading.config.get("created", "")), reading.slot))
    nodes = {reading.slot: Node(reading.name, reading, str(reading.lineage.get("made_by", ""))) for reading in found}
    by_name: dict[str, Node] = {}
    for node in nodes.values():
        by_name.setdefault(node.name, node)
    roots: list[Node] = []
    for reading in found:
        node, parent = nodes[reading.slot], reading.lineage.get("parent")
        if not isinstance(parent, str) or not parent or parent == node.name:
            roots.append(node)
            continue
        if parent not in by_name:
            by_name[parent] = Node(parent)
            roots.append(by_name[parent])
        by_name[parent].children.append(node)
    return _rooted(roots, nodes.values())


def _rooted(roots: list[Node], nodes: Iterable[Node]) -> list[Node]:
    """Add runs that name each other as parents, which no root leads to."""
    seen: set[int] = set()

    def mark(node: Node) -> None:
        if id(node) not in seen:
            seen.add(id(node))
            for child in node.children:
                mark(child)

    for root in roots:
        mark(root)
    for node in nodes:
        if id(node) not in seen:
            for other in nodes:
                other.children = [child for child in other.children if child is not node]
            roots.append(node)
            mark(node)
    return roots


_kept = Kept(lambda path: RunReading.read("", path), *_READ)


def reading(slot: str, path: Path) -> RunReading:
    """The run of a slot as its folder says now.

    Raises:
        RunError: It is missing or damaged.
    """
    return replace(_kept(path), slot=slot)
