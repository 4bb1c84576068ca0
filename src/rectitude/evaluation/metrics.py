"""Accuracy from integer ranks, and what the lists as a whole look like.

Letters: Q queries, H hits, K list length, I items.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

ACCURACY = ("ndcg", "recall", "hr", "precision", "mrr", "map")
"""Metrics of each query, from the ranks of its held-out items."""
LISTS = ("novelty", "tail_share", "coverage", "gini")
"""Metrics of what is recommended; the first two exist for each query, the others only for all lists together."""

HEAD_SHARE = 0.2
"""Share of the catalogue that counts as popular; the rest is the long tail."""


def hits(
    lists: npt.NDArray[np.int32], target_rows: npt.NDArray[np.int64], target_items: npt.NDArray[np.int32], n_items: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where held-out items stand in the lists.

    Args:
        lists: [Q, K], -1 where a list has ended.
        target_rows: [T], query of each held-out item, ascending.
        target_items: [T], ascending within a query.
        n_items: I.

    Returns:
        Query and rank (1 is the top) of each hit, int64 [H], sorted by query, then rank.
    """
    asked = target_rows * n_items + target_items
    shown = np.arange(len(lists))[:, None] * np.int64(n_items) + lists
    place = np.searchsorted(asked, shown)
    found = (asked[np.minimum(place, len(asked) - 1)] == shown) & (lists >= 0)
    queries, columns = np.nonzero(found)
    return queries, columns + 1


def accuracy(
    queries: npt.NDArray[np.int64],
    ranks: npt.NDArray[np.int64],
    n_targets: npt.NDArray[np.int64],
    ks: Sequence[int],
) -> dict[str, Floats]:
    r"""Every accuracy metric of each query.

    With T the number of held-out items and R the ranks of those among the first k:

    * ``hr``: 1 if R is not empty.
    * ``recall``: ``|R| / T``.
    * ``precision``: ``|R| / k``.
    * ``ndcg``: ``sum(1 / log2(r + 1)) / sum(1 / log2(j + 1) for j = 1 … min(T, k))``.
    * ``mrr``: ``1 / min(R)``, 0 if R is empty.
    * ``map``: ``sum(hits up to r / r) / min(T, k)``: a list full of hits has 1. (trec_eval and ranx divide by T.)

    Args:
        queries: [H], query of each hit, ascending.
        ranks: [H], its rank, ascending within a query.
        n_targets: [Q], T of each query, at least 1.
        ks: Cut-offs, none above the length of the lists.

    Returns:
        ``{"ndcg@10": float64 [Q], …}``, metric by metric in the order of :data:`ACCURACY`.

    Source:
        Järvelin & Kekäläinen, "Cumulated gain-based evaluation of IR techniques", TOIS 2002, with binary gains.
    """
    n_queries = len(n_targets)
    first = np.searchsorted(queries, queries)  # where each hit's query begins among the hits
    order = np.arange(len(queries)) - first + 1
    gains = 1 / np.log2(ranks + 1)
    precisions = order / ranks
    ideal = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(max(ks)) + 2))])

    by_k: dict[int, dict[str, Floats]] = {}
    for k in ks:
        inside = ranks <= k
        leading = inside & (order == 1)
        possible = np.minimum(n_targets, k)
        found = np.bincount(queries[inside], minlength=n_queries)
        by_k[k] = {
            "ndcg": _totals(queries, gains, inside, n_queries) / ideal[possible],
            "recall": found / n_targets,
            "hr": (found > 0).astype(np.float64),
            "precision": found / k,
            "mrr": _totals(queries, 1 / ranks, leading, n_queries),
            "map": _totals(queries, precisions, inside, n_queries) / possible,
        }
    return {f"{metric}@{k}": by_k[k][metric] for metric in ACCURACY for k in ks}


def _totals(queries: npt.NDArray[np.int64], weights: Floats, kept: npt.NDArray[np.bool_], n_queries: int) -> Floats:
    """float64 [Q], sum of each query's kept weights."""
    return np.bincount(queries[kept], weights[kept], n_queries).astype(np.float64, copy=False)


def tail_items(popularity: Floats) -> npt.NDArray[np.bool_]:
    """bool [I], items outside the most popular ``HEAD_SHARE`` of the catalogue (rounded up; ties by item index)."""
    order = np.argsort(-popularity, kind="stable")
    tail = np.ones(len(popularity), bool)
    tail[order[: int(np.ceil(HEAD_SHARE * len(popularity)))]] = False
    return tail


def novelty_and_tail(lists: npt.NDArray[np.int32], popularity: Floats, ks: Sequence[int]) -> dict[str, Floats]:
    """How far each list is from what everybody knows.

    * ``novelty``: mean of ``-log2 p(i)`` over the list, in bits, with p(i) the item's share of the training
      interactions (an item without any counts as having one).
    * ``tail_share``: share of the list outside the most popular 20 % of items.

    An empty list has 0 of both.

    Args:
        lists: [Q, K], -1 where a list has ended.
        popularity: [I], training interactions of each item.
        ks: Cut-offs.

    Returns:
        ``{"novelty@10": float64 [Q], …}``.

    Source:
        Zhou et al., "Solving the apparent diversity-accuracy dilemma of recommender systems", PNAS 2010
        (self-information).
    """
    information = np.log2(max(popularity.sum(), 1.0)) - np.log2(np.maximum(popularity, 1.0))
    result: dict[str, Floats] = {}
    filled = lists >= 0
    length = np.maximum(np.cumsum(filled, axis=1), 1)
    for metric, weight in (("novelty", information), ("tail_share", tail_items(popularity).astype(np.float64))):
        sums = np.cumsum(np.append(weight, 0.0)[lists], axis=1)  # index -1 reads the appended zero
        for k in ks:
            result[f"{metric}@{k}"] = sums[:, k - 1] / length[:, k - 1]
    return result


def coverage_and_gini(lists: npt.NDArray[np.int32], n_items: int, ks: Sequence[int]) -> dict[str, float]:
    """How the exposure is spread over the whole catalogue.

    * ``coverage``: share of the I items that stand in at least one list.
    * ``gini``: Gini coefficient of the number of lists an item stands in: 0 if all items are shown equally often,
      ``(I - 1) / I`` if one item has all the places.

    Args:
        lists: [Q, K], -1 where a list has ended.
        n_items: I.
        ks: Cut-offs.

    Returns:
        ``{"coverage@10": …, "gini@10": …}``.
    """
    result: dict[str, float] = {}
    for k in ks:
        shown = lists[:, :k]
        counts = np.sort(np.bincount(shown[shown >= 0], minlength=n_items))
        result[f"coverage@{k}"] = float(np.count_nonzero(counts) / n_items)
        weighted = 2 * np.dot(np.arange(1, n_items + 1, dtype=np.float64), counts)
        total = counts.sum()
        result[f"gini@{k}"] = float(weighted / (n_items * total) - (n_items + 1) / n_items) if total else 0.0
    return {name: result[name] for name in sorted(result, key=lambda name: name.startswith("gini"))}
