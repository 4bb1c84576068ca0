"""What a person is handed: the plan with its items, and the frontier it lies on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np

from rectitude.decisions.plans.certainty import UNCERTAIN
from rectitude.decisions.plans.conditions import Answer
from rectitude.decisions.plans.sentences import CAUTION

Ends = tuple[float, float]


@dataclass(frozen=True)
class Item:
    """One change.

    Attributes:
        feature: Column.
        before: Answer now (``from`` in JSON).
        after: Answer after (``to`` in JSON).
        unit: Of the answers.
        effort: Of this change.
        gain: Log-odds it adds in this plan: its Shapley value among the plan's changes.
        gain_ends: The same by the bootstraps, 5th to 95th percentile.
        chosen: Share of perturbed problems whose plan holds it too, None if not measured.
        sentence: In words.
    """

    feature: str
    before: Answer | None
    after: Answer | None
    unit: str
    effort: float
    gain: float
    gain_ends: Ends | None
    chosen: float | None
    sentence: str

    @property
    def uncertain(self) -> bool:
        """Is it chosen too rarely to be sure of, or do the bootstraps not agree that it helps?"""
        return (self.chosen is not None and self.chosen < UNCERTAIN) or (
            self.gain_ends is not None and self.gain_ends[0] < 0 < self.gain_ends[1]
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "feature": self.feature,
            "from": self.before,
            "to": self.after,
            "unit": self.unit,
            "effort": self.effort,
            "gain": self.gain,
            "gain_interval": self.gain_ends,
            "chosen": self.chosen,
            "uncertain": self.uncertain,
            "sentence": self.sentence,
        }


@dataclass(frozen=True)
class Point:
    """A non-dominated plan.

    Attributes:
        changes: How many changes.
        effort: Sum of efforts.
        gain: Log-odds by the planner.
        p1: Probability after.
        sentences: The changes.
        knee: Farthest from the line between the ends.
        proven: Solved to optimality.
    """

    changes: int
    effort: float
    gain: float
    p1: float
    sentences: tuple[str, ...]
    knee: bool = False
    proven: bool = True

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        values = asdict(self)
        sentences = values.pop("sentences")
        return {**values, "plan": list(sentences)}


@dataclass(frozen=True)
class Plan:
    """What a person is told.

    Attributes:
        status: optimal, feasible (time ran out; ``gap`` says how far from proof) or infeasible (``reasons``).
        verdict: In one sentence.
        items: What to change; may be empty.
        p0: Probability of the good outcome now.
        p1: After, by the planner.
        p1_judge: After, by the independent judge.
        p0_judge: Now, by the judge.
        p1_ends: ``p1`` by the bootstraps, 5th to 95th percentile.
        gain: Log-odds by the planner.
        judge_gain: Log-odds by the judge.
        effort: Sum of efforts.
        gap: Log-odds that a better plan could bring at most, None where unknown.
        frontier: Non-dominated plans, the empty one among them.
        alternatives: Other plans with other features.
        rejected: Plans the judge did not accept.
        reasons: Why nothing is allowed.
        similarity: Mean Jaccard similarity with the plans of perturbed problems.
        notes: What must be known of the answers.
        seconds: Time taken.
    """

    status: Literal["optimal", "feasible", "infeasible"]
    verdict: str
    items: tuple[Item, ...]
    p0: float
    p1: float
    p1_judge: float
    p0_judge: float
    p1_ends: Ends | None
    gain: float
    judge_gain: float
    effort: float
    gap: float | None = None
    frontier: tuple[Point, ...] = ()
    alternatives: tuple[dict[str, Any], ...] = ()
    rejected: tuple[dict[str, Any], ...] = ()
    reasons: tuple[str, ...] = ()
    similarity: float | None = None
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    caution: str = field(default=CAUTION)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "status": self.status,
            "gap": self.gap,
            "verdict": self.verdict,
            "p0": self.p0,
            "p1": self.p1,
            "p1_interval": self.p1_ends,
            "p0_judge": self.p0_judge,
            "p1_judge": self.p1_judge,
            "gain": self.gain,
            "judge_gain": self.judge_gain,
            "effort": self.effort,
            "plan": [item.to_dict() for item in self.items],
            "similarity": self.similarity,
            "alternatives": list(self.alternatives),
            "frontier": [point.to_dict() for point in self.frontier],
            "rejected": list(self.rejected),
            "reasons": list(self.reasons),
            "notes": list(self.notes),
            "caution": self.caution,
            "seconds": self.seconds,
        }


def non_dominated(points: Sequence[Point], *, by: str) -> list[Point]:
    """Points no other beats on gain at the same or less of the other axis, from none to most."""
    axis = (lambda point: (float(point.changes), point.effort)) if by == "changes" else (lambda point: (point.effort,))
    kept: list[Point] = []
    for point in sorted(points, key=lambda point: (*axis(point), -point.gain)):
        if not kept or point.gain > kept[-1].gain + 1e-9:
            kept.append(point)
    return kept


def mark_knee(points: Sequence[Point]) -> tuple[Point, ...]:
    """Mark the point farthest above the line between the ends, on axes of equal length."""
    if len(points) < 3:
        return tuple(replace(point, knee=index == len(points) - 1) for index, point in enumerate(points))
    effort = np.array([point.effort for point in points])
    gain = np.array([point.gain for point in points])
    x = (effort - effort[0]) / max(float(np.ptp(effort)), 1e-12)
    y = (gain - gain[0]) / max(float(np.ptp(gain)), 1e-12)
    best = int(np.argmax(y - x))
    return tuple(replace(point, knee=index == best) for index, point in enumerate(points))
