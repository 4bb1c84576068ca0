"""Numbers behind the report: accuracy by how active people are, and how popular what they are shown is.

Letters: Q queries (people judged), K list length, I items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rectitude.fairness.metrics import GroupMean, group_means
from rectitude.reporting.numbers import percent

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PopularityGroup:
    """Items of similar popularity, and their share of what is recommended.

    Attributes:
        label: Which items, "most popular 1 %".
        n_items: How many items.
        recommended: Their share of all recommendations.
        interactions: Their share of all training interactions.
    """

    label: str
    n_items: int
    recommended: float
    interactions: float


def by_activity(
    values: Floats,
    lengths: npt.NDArray[np.integer],
    *,
    n_groups: int = 4,
    seed: int = 0,
) -> list[GroupMean]:
    """Mean of a metric in groups of about equal size, from the least to the most active people.

    People with the same history length are never parted, so there may be fewer groups than asked for.

    Args:
        values: float64 [Q], the metric per person.
        lengths: int [Q], history length per person.
        n_groups: Most groups to make.
        seed: Of the bootstrap intervals.

    Raises:
        ValueError: The arrays differ in length or are empty.
    """
    if len(values) != len(lengths) or not len(values):
        raise ValueError(f"Need one history length per value, and some: got {len(values)} and {len(lengths)}")
    edges = np.unique(np.quantile(lengths, np.arange(1, n_groups) / n_groups, method="inverted_cdf"))
    group = np.searchsorted(edges, lengths, side="left")
    used, group = np.unique(group, return_inverse=True)
    ranges = [lengths[group == index] for index in range(len(used))]
    names = tuple(f"{a:,}" if a == b else f"{a:,} to {b:,}" for a, b in ((r.min(), r.max()) for r in ranges))
    return group_means(values, group, names, seed)


def by_popularity(
    lists: npt.NDArray[np.integer],
    popularity: npt.NDArray[np.integer],
    *,
    bounds: Sequence[float] = (0.01, 0.1, 0.5, 1.0),
) -> list[PopularityGroup]:
    """Share of recommendations and of interactions that goes to the most popular items, the next, and so on.

    Args:
        lists: int [Q, K], recommended items, -1 where a list is shorter.
        popularity: int [I], training interactions per item.
        bounds: Ends of the groups as shares of the catalogue, rising to 1; items with equal counts rank by number.

    Raises:
        ValueError: Nothing is recommended or nothing was interacted with, or the bounds do not rise to 1.
    """
    if list(bounds) != sorted(set(bounds)) or not bounds or bounds[0] <= 0 or bounds[-1] != 1:
        raise ValueError(f"The bounds {tuple(bounds)} do not rise from above 0 to 1")
    n_items = len(popularity)
    shown = np.bincount(lists[lists >= 0].ravel(), minlength=n_items)
    if not shown.sum() or not popularity.sum():
        raise ValueError("Shares need at least one recommendation and one interaction")
    order = np.lexsort((np.arange(n_items), -popularity))
    ends = [max(1, round(bound * n_items)) for bound in bounds]
    found = []
    for start, end in zip([0, *ends], ends, strict=False):
        items = order[start:end]
        if len(items):
            place = "most popular" if start == 0 else "least popular" if end == n_items else "next"
            recommended, interactions = shown[items].sum() / shown.sum(), popularity[items].sum() / popularity.sum()
            label = f"{place} {percent(len(items) / n_items)}"
            found.append(PopularityGroup(label, len(items), float(recommended), float(interactions)))
    return found
