"""A finding: what one check found of one grouping, as plain data that a report can draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rectitude.fairness.metrics import GroupMean
from rectitude.reporting.charts import Axis, Chart, Dot, dots_with_intervals


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One audit check's result.

    Attributes:
        check: Which check.
        attribute: What people, items or representations were grouped by.
        metric: What the figures are.
        groups: Each group's figure.
        value: The headline figure.
        low: Lower end of its 95 % interval, None where there is none.
        high: Upper end.
        floor: What chance, or an honest reference, would show; None where there is none.
        floor_name: What the floor is, in a few words.
        title: The finding as a short sentence, title of its figure.
        verdict: What it means and what would change it, in plain sentences.
        notes: What was left out.
    """

    check: str
    attribute: str | None
    metric: str
    groups: Sequence[GroupMean]
    value: float
    low: float | None
    high: float | None
    floor: float | None
    floor_name: str
    title: str
    verdict: str
    notes: Sequence[str] = field(default_factory=tuple)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "check": self.check,
            "attribute": self.attribute,
            "metric": self.metric,
            "groups": [group.to_dict() for group in self.groups],
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "floor": self.floor,
            "floor_name": self.floor_name,
            "title": self.title,
            "verdict": self.verdict,
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Finding:
        """What :meth:`to_dict` gave."""
        groups = tuple(GroupMean(**group) for group in values["groups"])
        return cls(**{**values, "groups": groups, "notes": tuple(values["notes"])})

    def figure(self) -> Chart:
        """The groups as dots with intervals; the floor as a dashed line where it is in their unit."""
        dots = [Dot(f"{group.label} ({group.n:,})", group.value, group.low, group.high) for group in self.groups]
        comparable = self.floor is not None and self.check in _FLOOR_IS_A_GROUP_FIGURE
        reference = (self.floor_name, self.floor) if comparable and self.floor is not None else None
        return dots_with_intervals(
            self.title, _DRAWN.format(self.metric), dots, Axis(self.metric), of="Group", reference=reference
        )


_DRAWN = "{}; in brackets how many were judged; rods are 95 % intervals."
_FLOOR_IS_A_GROUP_FIGURE = {
    "attribute-leakage", "membership-leakage", "calibration", "worst-group", "popularity-bias", "exposure"
}  # fmt: skip
