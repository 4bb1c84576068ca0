"""Is somebody served worse? Accuracy by group, the gap between active people and all others, the worst-off group."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rectitude.audit.checks.context import AuditContext, NotPossibleError
from rectitude.audit.checks.finding import Finding
from rectitude.data.groups import ACTIVITY, Groups
from rectitude.evaluation.intervals import CONFIDENCE
from rectitude.fairness.metrics import PERMUTATIONS, Gap, f1, gap, group_means, m_uof
from rectitude.reporting.numbers import number

FEWEST_JUDGED = 20
"""People a group must have to be called the worst: a mean of fewer is mostly chance."""

_MORE = "More people judged would narrow the interval"


def accuracy_gap(audit: AuditContext) -> Iterator[Finding]:
    """Largest minus smallest group mean of NDCG, for activity and every attribute."""
    metric = f"NDCG@{audit.k}"
    for groups in audit.groups.values():
        labels = audit.labels(groups)
        if len(np.unique(labels[labels >= 0])) < 2:
            raise NotPossibleError(f"Fewer than two groups of {groups.attribute} have somebody in the fold")
        found = gap(audit.ndcg, labels, groups.names, audit.seed)
        yield _gap_finding("accuracy-gap", groups, metric, found)


def user_oriented_unfairness(audit: AuditContext) -> Iterator[Finding]:
    """M_UOF: how far apart active people and all others are, by NDCG and by F1."""
    groups = audit.groups[ACTIVITY]
    figures = {
        f"NDCG@{audit.k}": audit.ndcg,
        f"F1@{audit.k}": f1(audit.evaluation.per_user[f"precision@{audit.k}"], audit.fold.targets.lengths, audit.k),
    }
    for metric, values in figures.items():
        if len(np.unique(audit.labels(groups))) < 2:
            raise NotPossibleError("No advantaged or no disadvantaged person is in the fold")
        yield _gap_finding("m-uof", groups, metric, m_uof(values, groups, audit.users, audit.seed))


def _gap_finding(check: str, groups: Groups, metric: str, found: Gap) -> Finding:
    figures = f"{number(found.value, 4)} (95 % interval {number(found.low, 4)} to {number(found.high, 4)})"
    clear = found.value > found.floor
    sure = found.low > 0
    if clear and sure:
        title = (
            f"Served worse by {groups.attribute}: {found.worst}, {metric} {number(found.value, 4)} below {found.best}"
        )
        means = f"The gap of {figures} is more than random groups of these sizes show (95 % stay below "
        means += (
            f"{number(found.floor, 4)}). It would be withdrawn if the interval reached zero on another fold or seed."
        )
    else:
        title = f"No gap by {groups.attribute} that chance would not show: {metric} {number(found.value, 4)}"
        means = f"The gap of {figures} could be chance: 95 % of random groups of these sizes stay below "
        means += f"{number(found.floor, 4)}. {_MORE}; a gap above the floor would change this."
    return Finding(
        check=check,
        attribute=groups.attribute,
        metric=metric,
        groups=found.groups,
        value=found.value,
        low=found.low,
        high=found.high,
        floor=found.floor,
        floor_name="95 % of random groupings",
        title=title,
        verdict=means,
        notes=groups.notes,
    )


def worst_group(audit: AuditContext) -> Iterator[Finding]:
    """The worst-served group among all groups and all pairs of attributes."""
    metric = f"NDCG@{audit.k}"
    every = list(audit.groups.values())
    pairs = [one.crossed(other) for i, one in enumerate(every) for other in every[i + 1 :]]
    candidates = []
    for groups in [*every, *pairs]:
        means = group_means(audit.ndcg, audit.labels(groups), groups.names, audit.seed)
        candidates += [(found, groups.attribute) for found in means if found.n >= FEWEST_JUDGED]
    if len(candidates) < 2:
        raise NotPossibleError(f"Fewer than two groups have {FEWEST_JUDGED} people in the fold")
    candidates.sort(key=lambda pair: pair[0].value)
    worst, by = candidates[0]
    overall = float(audit.ndcg.mean())
    floor = _worst_by_chance(audit, [found.n for found, _ in candidates])
    if worst.value < floor:
        title = f"Worst served: {worst.label} (by {by}), {metric} {number(worst.value, 4)}"
        verdict = (
            f"Their mean is below what the worst of as many random groups of these sizes reaches ({number(floor, 4)})"
        )
        verdict += f"; everybody's is {number(overall, 4)}. Judging another fold or seed alike would confirm it."
    else:
        title = f"No group stands out: the lowest is {worst.label}, {metric} {number(worst.value, 4)}"
        verdict = f"Among as many random groups of these sizes the lowest is expected down to {number(floor, 4)}; "
        verdict += f"everybody's mean is {number(overall, 4)}. {_MORE}."
    yield Finding(
        check="worst-group",
        attribute=by,
        metric=metric,
        groups=tuple(found for found, _ in candidates[:8]),
        value=worst.value,
        low=worst.low,
        high=worst.high,
        floor=floor,
        floor_name="worst of random groups",
        title=title,
        verdict=verdict,
        notes=[note for groups in every for note in groups.notes],
    )


def _worst_by_chance(audit: AuditContext, sizes: list[int]) -> float:
    """What the smallest mean of random groups of these sizes falls below in 5 of 100 draws."""
    generator = np.random.default_rng(audit.seed)
    lowest = np.full(PERMUTATIONS, np.inf)
    for at in range(PERMUTATIONS):
        shuffled = np.concatenate([[0.0], np.cumsum(generator.permutation(audit.ndcg))])
        lowest[at] = min(shuffled[size] / size for size in sizes)
    return float(np.quantile(lowest, 1 - CONFIDENCE))
