"""What a plan should weigh: gain against effort and resistance, and how far it may go."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rectitude.core.config import Settings

Method = Literal["surrogate", "embedded", "robust", "consensus"]
EffortKind = Literal["range", "percentile", "log", "convex"]
GainKind = Literal["curve", "personal", "global"]


class Policy(Settings):
    """How plans are made."""

    method: Method = "embedded"
    """surrogate: gains read off level curves (milliseconds); embedded: the trained model; robust: its bootstraps;
    consensus: a logistic regression and boosted trees."""
    gain: GainKind = "curve"
    """Of the surrogate: level curve (G2), the same against one's own attribution, or global weight × slope (G1)."""
    effort: EffortKind = "range"
    """Size of a change: share of the range, the same to the power 1.5, shift in percentiles, or log of the tail."""
    resistance_weight: float = Field(default=0.1, ge=0)
    """λ: log-odds that a unit of effort times resistance must bring (0–0.8)."""
    charge: float = Field(default=0.02, ge=0)
    """μ: log-odds that every change must bring besides (0–0.1)."""
    max_changes: int | None = Field(default=2, ge=0)
    """K: changes at most; none sets no limit."""
    budget: float | None = Field(default=None, ge=0)
    """B: sum of efforts at most."""
    free_hours: float | None = None
    """Hours a day that a plan may take at most."""
    min_gain: float = Field(default=0.10, ge=0)
    """τ: least gain in log-odds worth making a plan for (0.1 is 2.5 points of probability at one half)."""
    min_judge_gain: float | None = None
    """Least gain by the independent judge; half of min_gain if not set."""
    spread_weight: float = Field(default=0.5, ge=0)
    """κ of robust and consensus: weight of the models' mean shortfall below the mean of the gains they see (0–2)."""
    target: float | None = Field(default=None, gt=0, lt=1)
    """Target mode: least effort that reaches this probability of the good outcome."""
    min_seen: int = Field(default=5, ge=0)
    """Pairs of answers that fewer people than this gave together are not advised; 0 allows all."""
    alternatives: int = Field(default=3, ge=0)
    """Other plans, each with other features."""
    draws: int = Field(default=100, ge=0)
    """Perturbations by which the certainty of each item is measured."""
    frontier: Literal["changes", "effort", "none"] = "changes"
    """What the front of non-dominated plans trades gain against."""
    max_frontier: int = Field(default=40, ge=1)
    """Points of a frontier at most."""
    time_limit: float = Field(default=10.0, gt=0)
    """Seconds of one solve."""

    @property
    def judge_gain(self) -> float:
        """Least gain by the judge."""
        return self.min_gain / 2 if self.min_judge_gain is None else self.min_judge_gain
