"""What the lists show: kinds out of proportion, popular things too often, groups of items hardly ever.

Letters: Q people judged, I items, G kinds, k list length.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from rectitude.audit.checks.context import AuditContext, Floats, NotPossibleError
from rectitude.audit.checks.finding import Finding
from rectitude.data.histories import Histories
from rectitude.evaluation.intervals import bootstrap_interval
from rectitude.evaluation.metrics import tail_items
from rectitude.fairness.metrics import GroupMean, group_means, mean_difference
from rectitude.reporting.numbers import number, percent

SMOOTHING = 0.01
"""Share of the history's mix put into the list's, so that a kind that is missing costs much but not everything."""


def calibration(audit: AuditContext) -> Iterator[Finding]:
    """How far each list's mix of kinds is from the person's own: Kullback-Leibler divergence, 0 is the same mix.

    Source: Steck, "Calibrated Recommendations", RecSys 2018, eq. 2 to 4, with uniform weights.
    """
    name, shares = audit.genres()
    history = audit.fold.history
    own, shown = mix(history, shares), mix(_as_histories(audit.lists), shares)
    usable = (own.sum(1) > 0) & (shown.sum(1) > 0)
    if not usable.any():
        raise NotPossibleError(f"Nobody's history and list both hold items of known {name}")
    divergence = kl_divergence(own[usable], shown[usable])
    drawn = mix(_as_histories(_drawn_from(history, audit.k, audit.seed)), shares)
    floor = float(kl_divergence(own[usable], drawn[usable]).mean())
    mean = bootstrap_interval(divergence, audit.seed)
    for groups in audit.groups.values():
        means = group_means(divergence, audit.labels(groups)[usable], groups.names, audit.seed)
        ratio = mean.value / floor if floor > 0 else float("inf")
        far = mean.low is not None and mean.low > floor
        title = (
            f"Lists {'stray from' if far else 'keep'} people's own mix of {name}: divergence {number(mean.value, 3)}"
        )
        title += most(groups.attribute, means)
        verdict = (
            f"A list of {audit.k} drawn from the person's own history would have {number(floor, 3)}; these lists have "
            f"{number(ratio, 1)} times that. "
        )
        verdict += "Re-ranking for calibration would lower it; " if far else ""
        verdict += "a divergence at the floor would mean that no list of this length could be nearer."
        yield Finding(
            check="calibration",
            attribute=groups.attribute,
            metric=f"divergence of {name}",
            groups=means,
            value=mean.value,
            low=mean.low,
            high=mean.high,
            floor=floor,
            floor_name="lists from one's own history",
            title=title,
            verdict=verdict,
            notes=groups.notes,
        )


def most(attribute: str, means: list[GroupMean]) -> str:
    """Which group has most of it, as the end of a title."""
    top = max(means, key=lambda group: group.value)
    return f"; by {attribute} most for {top.label} ({number(top.value, 3)})"


def mix(rows: Histories, shares: Floats) -> Floats:
    """float64 [Q, G], mean of the items' shares, zero for a row without items of a known kind."""
    total = np.zeros((len(rows), shares.shape[1]))
    np.add.at(total, rows.rows, shares[rows.items])
    weight = total.sum(1, keepdims=True)
    return np.asarray(np.divide(total, weight, out=np.zeros_like(total), where=weight > 0))


def kl_divergence(own: Floats, shown: Floats) -> Floats:
    """float64 [Q], Σ p log(p / q̃) in nats with q̃ = (1 − α) q + α p, α = :data:`SMOOTHING`."""
    smooth = (1 - SMOOTHING) * shown + SMOOTHING * own
    ratio = np.divide(own, smooth, out=np.ones_like(own), where=own > 0)
    return np.asarray((own * np.log(ratio)).sum(1))


def _as_histories(lists: npt.NDArray[np.int32]) -> Histories:
    rows, columns = np.nonzero(lists >= 0)
    return Histories.from_pairs(rows, lists[rows, columns], len(lists))


def _drawn_from(history: Histories, k: int, seed: int) -> npt.NDArray[np.int32]:
    """int32 [Q, k], random distinct events of each history, -1 where there are fewer."""
    generator = np.random.default_rng(seed)
    drawn = np.full((len(history), k), -1, np.int32)
    for row in range(len(history)):
        chosen = generator.permutation(history[row])[:k]
        drawn[row, : len(chosen)] = chosen
    return drawn


def popularity_bias(audit: AuditContext) -> Iterator[Finding]:
    """How much more popular what is shown is than what the person chose so far, as a share of the latter.

    Source: Abdollahpouri, Mansoury, Burke, Mobasher, "The Unfairness of Popularity Bias in Recommendation", 2019,
    arXiv:1907.13286 (popularity lift, here of each person).
    """
    history = audit.fold.history
    filled = (history.lengths > 0) & (audit.lists[:, 0] >= 0)
    own = np.bincount(history.rows, audit.popularity[history.items], len(history)) / np.maximum(history.lengths, 1)
    padded = np.append(audit.popularity, 0.0)[audit.lists]
    shown = padded.sum(1) / np.maximum((audit.lists >= 0).sum(1), 1)
    usable = filled & (own > 0)
    if not usable.any():
        raise NotPossibleError("Nobody judged has a history to compare the list with")
    lift = shown[usable] / own[usable] - 1
    mean = bootstrap_interval(lift, audit.seed)
    for groups in audit.groups.values():
        means = group_means(lift, audit.labels(groups)[usable], groups.names, audit.seed)
        much = mean.low is not None and mean.low > 0
        how = f"{percent(abs(mean.value))} {'more' if mean.value > 0 else 'less'} popular than"
        yield Finding(
            check="popularity-bias",
            attribute=groups.attribute,
            metric="popularity lift",
            groups=means,
            value=mean.value,
            low=mean.low,
            high=mean.high,
            floor=0.0,
            floor_name="as popular as one's history",
            title=f"What is shown is {how} what people chose{most(groups.attribute, means)}",
            verdict=(
                ("The lists push what is popular beyond people's own taste for it. " if much else "")
                + "Zero means lists as popular as the person's history; an interval below or around zero would change "
                "the verdict. Groups differ where their intervals are apart."
            ),
            notes=groups.notes,
        )


def tail_accuracy(audit: AuditContext) -> Iterator[Finding]:
    """Share of held-out choices found, for popular things and for the long tail."""
    targets = audit.fold.targets.unique()
    tail = tail_items(audit.popularity)[targets.items]
    own = np.arange(len(audit.lists))[:, None] * np.int64(audit.split.n_items)
    shown = (own + audit.lists)[audit.lists >= 0]
    found = np.isin(targets.rows * np.int64(audit.split.n_items) + targets.items, shown).astype(np.float64)
    if tail.all() or not tail.any():
        raise NotPossibleError("The held-out choices are all popular or all of the long tail")
    difference = mean_difference(found[~tail], found[tail], audit.seed)
    groups = [
        GroupMean(label, int(inside.sum()), mean.value, mean.low, mean.high)
        for label, inside in (("popular 20 % of items", ~tail), ("long tail", tail))
        for mean in [bootstrap_interval(found[inside], audit.seed)]
    ]
    clear = difference.low is not None and difference.low > 0
    yield Finding(
        check="tail-accuracy",
        attribute="popularity",
        metric=f"share of choices found in {audit.k}",
        groups=groups,
        value=difference.value,
        low=difference.low,
        high=difference.high,
        floor=0.0,
        floor_name="no difference",
        title=(
            f"Choices from the long tail are found in {percent(groups[1].value)} of cases, popular ones in "
            f"{percent(groups[0].value)}"
        ),
        verdict=(
            ("People who choose rare things are served worse. " if clear else "No clear difference. ")
            + "The difference is of held-out choices, resampled one by one; an interval that reaches zero would "
            "withdraw it."
        ),
    )


def exposure(audit: AuditContext) -> Iterator[Finding]:
    """Share of the lists' attention that groups of items get, beside their share of what people chose in training.

    Attention falls with the place as 1 / log2(rank + 1).

    Source: Singh & Joachims, "Fairness of Exposure in Rankings", KDD 2018, section 3.1.
    """
    tail = tail_items(audit.popularity)
    attention = 1 / np.log2(np.arange(audit.k) + 2.0)
    filled = audit.lists >= 0
    weights = np.where(filled, attention, 0.0)
    total = weights.sum(1)
    usable = total > 0
    in_tail = np.append(tail, False)[audit.lists]
    share = (weights * in_tail).sum(1)[usable] / total[usable]
    due = float(audit.popularity[tail].sum() / max(audit.popularity.sum(), 1.0))
    mean = bootstrap_interval(share, audit.seed)
    groups = [GroupMean("long tail", int(usable.sum()), mean.value, mean.low, mean.high)]
    popular = bootstrap_interval(1 - share, audit.seed)
    groups.append(GroupMean("popular 20 % of items", int(usable.sum()), popular.value, popular.low, popular.high))
    less = mean.high is not None and mean.high < due
    yield Finding(
        check="exposure",
        attribute="popularity",
        metric="share of exposure",
        groups=groups,
        value=mean.value,
        low=mean.low,
        high=mean.high,
        floor=due,
        floor_name="long tail's share of choices",
        title=f"The long tail gets {percent(mean.value)} of the exposure and {percent(due)} of what people chose",
        verdict=(
            (
                "Rare items are shown less than people choose them. "
                if less
                else "Rare items are shown no less than chosen. "
            )
            + "Exposure in proportion to choices would be the dashed line; a share above it would change the verdict."
        ),
    )
