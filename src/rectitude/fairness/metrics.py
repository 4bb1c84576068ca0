"""How unequally people are served, with intervals and with what chance alone would show.

Letters: Q people judged, C groups, R resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rectitude.data.groups import ADVANTAGED, DISADVANTAGED, Groups
from rectitude.evaluation.intervals import CONFIDENCE, RESAMPLES, Interval, bootstrap_interval

Floats = npt.NDArray[np.float64]

PERMUTATIONS = 1000
"""Random groupings behind a floor."""


@dataclass(frozen=True)
class GroupMean:
    """A figure of one group.

    Attributes:
        label: The group.
        n: People in it.
        value: Mean.
        low: Lower end of its interval; None for a single person.
        high: Upper end; None likewise.
    """

    label: str
    n: int
    value: float
    low: float | None
    high: float | None

    def to_dict(self) -> dict[str, Any]:
        """``{"label", "n", "value", "low", "high"}``."""
        return {"label": self.label, "n": self.n, "value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Gap:
    """How far apart groups are.

    Attributes:
        value: Largest minus smallest group mean.
        low: Lower end of the interval of that difference; below zero where the order of the two is not certain.
        high: Upper end.
        floor: What 95 in 100 random groupings of the same sizes stay below: a gap under it may be chance.
        groups: Every group that has somebody in it.
        best: Label of the group with the largest mean.
        worst: Label of the group with the smallest.
    """

    value: float
    low: float
    high: float
    floor: float
    groups: tuple[GroupMean, ...]
    best: str
    worst: str


def f1(precision: Floats, n_targets: npt.NDArray[np.integer[Any]], k: int) -> Floats:
    """Per person 2 · hits / (held-out items + k), from the precision at k.

    The In-UCDS code pools its F1 over people instead, which makes it a monotone function of the hit rate.

    Args:
        precision: float64 [Q].
        n_targets: [Q], held-out items.
        k: Length of the lists.
    """
    return 2 * precision * k / (n_targets + k)


def group_means(values: Floats, labels: npt.NDArray[np.int64], names: tuple[str, ...], seed: int) -> list[GroupMean]:
    """Mean and interval of every group that has somebody in it.

    Args:
        values: [Q].
        labels: [Q], -1 for people of no group.
        names: Of the groups.
        seed: Of the bootstrap intervals.
    """
    found = []
    for index, name in enumerate(names):
        inside = values[labels == index]
        if not len(inside):
            continue
        mean = bootstrap_interval(inside, seed)
        low, high = (mean.low, mean.high) if len(inside) > 1 else (None, None)
        found.append(GroupMean(name, len(inside), mean.value, low, high))
    return found


def gap(values: Floats, labels: npt.NDArray[np.int64], names: tuple[str, ...], seed: int) -> Gap:
    """Largest minus smallest group mean, with its interval and the floor that chance sets.

    The interval resamples people within their groups and keeps the two groups that were found furthest apart.

    Args:
        values: [Q], one figure per person.
        labels: [Q], group of each, -1 for people of no group.
        names: Of the groups.
        seed: Of resamplings and permutations.

    Raises:
        ValueError: Fewer than two groups have somebody in them.
    """
    groups = group_means(values, labels, names, seed)
    if len(groups) < 2:
        raise ValueError("A gap needs two groups with somebody in them")
    best, worst = max(groups, key=lambda one: one.value), min(groups, key=lambda one: one.value)
    difference = mean_difference(
        values[labels == names.index(best.label)], values[labels == names.index(worst.label)], seed
    )
    floor = float(np.quantile(_permuted_gaps(values, labels, len(names), seed), CONFIDENCE))
    low, high = difference.low, difference.high
    return Gap(
        difference.value,
        difference.value if low is None else low,
        difference.value if high is None else high,
        floor,
        tuple(groups),
        best.label,
        worst.label,
    )


def mean_difference(first: Floats, second: Floats, seed: int, resamples: int = RESAMPLES) -> Interval:
    """Mean of one group minus mean of another, with a percentile interval that resamples each group.

    Args:
        first: One group's values, at least one.
        second: The other's.
        seed: Of the draws.
        resamples: R.
    """
    generator = np.random.default_rng(seed)
    draws = _resampled_means(first, generator, resamples) - _resampled_means(second, generator, resamples)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Interval(float(first.mean() - second.mean()), float(low), float(high))


def m_uof(values: Floats, groups: Groups, users: npt.NDArray[np.integer[Any]], seed: int = 0) -> Gap:
    """User-oriented unfairness: the absolute difference between the means of advantaged and disadvantaged people.

    Args:
        values: [Q], NDCG or F1 of each person judged.
        groups: From :func:`rectitude.data.groups.activity_groups`.
        users: [Q], whose values they are.
        seed: Of resamplings and permutations.

    Raises:
        ValueError: Nobody of one of the groups was judged.

    Source:
        Li, Chen, Fu, Ge, Zhang, "User-oriented Fairness in Recommendation", WWW 2021; named M_UOF in In-UCDS.
    """
    if groups.names != (ADVANTAGED, DISADVANTAGED):
        raise ValueError(f"M_UOF compares {ADVANTAGED} with {DISADVANTAGED} people, not {groups.names}")
    return gap(values, groups.labels[users], groups.names, seed)


def m_uof_interval(values: Floats, advantaged: npt.NDArray[np.bool_], seed: int) -> Interval:
    """M_UOF alone, with the percentile interval of the absolute difference: what tables over seeds show.

    Args:
        values: [Q].
        advantaged: bool [Q].
        seed: Of the draws.
    """
    generator = np.random.default_rng(seed)
    first, second = values[advantaged], values[~advantaged]
    draws = np.abs(_resampled_means(first, generator, RESAMPLES) - _resampled_means(second, generator, RESAMPLES))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Interval(float(abs(first.mean() - second.mean())), float(low), float(high))


def _resampled_means(values: Floats, generator: np.random.Generator, resamples: int) -> Floats:
    """float64 [R]."""
    n = len(values)
    counts = generator.multinomial(n, np.full(n, 1 / n), size=resamples)
    means: Floats = counts @ values / n
    return means


def _permuted_gaps(values: Floats, labels: npt.NDArray[np.int64], n_groups: int, seed: int) -> Floats:
    """float64 [PERMUTATIONS], the largest minus the smallest group mean when people are dealt out at random."""
    inside = labels >= 0
    own, group = values[inside], labels[inside]
    sizes = np.bincount(group, minlength=n_groups)
    filled = sizes > 0
    generator = np.random.default_rng(seed)
    gaps = np.empty(PERMUTATIONS)
    for at in range(PERMUTATIONS):
        means = np.bincount(group, generator.permutation(own), n_groups)[filled] / sizes[filled]
        gaps[at] = means.max() - means.min()
    return gaps
