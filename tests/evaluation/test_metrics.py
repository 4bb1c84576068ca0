from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rectitude.evaluation.metrics import accuracy, coverage_and_gini, hits, novelty_and_tail, tail_items


def brute_force(ranks: list[int], n_targets: int, k: int) -> dict[str, float]:
    """The definitions, one query at a time."""
    gains = [1 if rank in ranks else 0 for rank in range(1, k + 1)]
    dcg = sum(gain / np.log2(place + 2) for place, gain in enumerate(gains))
    ideal = sum(1 / np.log2(place + 2) for place in range(min(n_targets, k)))
    precisions = [sum(gains[: place + 1]) / (place + 1) for place, gain in enumerate(gains) if gain]
    return {
        "ndcg": dcg / ideal,
        "recall": sum(gains) / n_targets,
        "hr": float(any(gains)),
        "precision": sum(gains) / k,
        "mrr": next((1 / (place + 1) for place, gain in enumerate(gains) if gain), 0.0),
        "map": sum(precisions) / min(n_targets, k),
    }


cases = st.lists(st.tuples(st.sets(st.integers(1, 12), max_size=6), st.integers(0, 30)), min_size=1, max_size=8)


@given(cases)
def test_accuracy_follows_the_definitions(case: list[tuple[set[int], int]]) -> None:
    queries = np.array([q for q, (ranks, _) in enumerate(case) for _ in ranks], np.int64)
    ranks = np.array([rank for ranks, _ in case for rank in sorted(ranks)], np.int64)
    n_targets = np.array([max(1, len(ranks) + extra) for ranks, extra in case])
    ks = (1, 5, 12)
    found = accuracy(queries, ranks, n_targets, ks)
    assert list(found)[:4] == ["ndcg@1", "ndcg@5", "ndcg@12", "recall@1"]
    for q, (held, _) in enumerate(case):
        for k in ks:
            for metric, value in brute_force(sorted(held), int(n_targets[q]), k).items():
                assert found[f"{metric}@{k}"][q] == pytest.approx(value, abs=1e-12), (metric, k)


def test_known_values() -> None:
    # Two held out; one comes second: dcg 1/log2(3), ideal 1 + 1/log2(3).
    found = accuracy(np.array([0]), np.array([2]), np.array([2]), (10,))
    assert found["ndcg@10"][0] == pytest.approx(0.6309297535714575 / 1.6309297535714575)
    assert found["map@10"][0] == pytest.approx(0.25)
    assert found["mrr@10"][0] == 0.5
    assert found["precision@10"][0] == 0.1


def test_hits() -> None:
    lists = np.array([[3, 1, 2], [0, -1, -1], [4, 0, 3]], np.int32)
    queries, ranks = hits(lists, np.array([0, 0, 1, 2, 2]), np.array([2, 3, 4, 3, 4], np.int32), 5)
    assert queries.tolist() == [0, 0, 2, 2]
    assert ranks.tolist() == [1, 3, 1, 3]


def test_the_end_of_a_list_is_never_a_hit() -> None:
    # -1 in row 1 stands beside item 4 of row 0 in a flattened matrix of 5 columns.
    queries, _ = hits(np.array([[0], [-1]], np.int32), np.array([0, 1]), np.array([4, 0], np.int32), 5)
    assert not len(queries)


def test_tail_is_what_is_outside_the_most_popular_fifth() -> None:
    tail = tail_items(np.array([5.0, 9, 1, 9, 0, 2]))
    assert np.flatnonzero(~tail).tolist() == [1, 3]  # ceil(0.2 * 6) = 2
    assert np.flatnonzero(~tail_items(np.zeros(5))).tolist() == [0]


def test_novelty_and_tail_share() -> None:
    popularity = np.array([8.0, 4, 2, 2, 0])
    lists = np.array([[0, 1, 4], [3, -1, -1], [-1, -1, -1]], np.int32)
    found = novelty_and_tail(lists, popularity, (1, 3))
    assert found["novelty@1"].tolist() == [1, 3, 0]
    assert found["novelty@3"].tolist() == [pytest.approx((1 + 2 + 4) / 3), 3, 0]
    assert found["tail_share@3"].tolist() == [pytest.approx(2 / 3), 1, 0]


def test_coverage_and_gini() -> None:
    even = coverage_and_gini(np.array([[0, 1], [2, 3]], np.int32), 4, (1, 2))
    assert even == {"coverage@1": 0.5, "coverage@2": 1.0, "gini@1": 0.5, "gini@2": 0.0}
    one = coverage_and_gini(np.zeros((9, 1), np.int32), 5, (1,))
    assert one["gini@1"] == pytest.approx(4 / 5)
    nothing = coverage_and_gini(np.full((2, 1), -1, np.int32), 5, (1,))
    assert nothing == {"coverage@1": 0.0, "gini@1": 0.0}


@given(st.lists(st.integers(0, 6), min_size=1, max_size=40))
def test_gini_is_half_the_relative_mean_difference(shown: list[int]) -> None:
    counts = np.bincount(shown, minlength=7).astype(float)
    expected = np.abs(counts[:, None] - counts).mean() / (2 * counts.mean())
    found = coverage_and_gini(np.array(shown, np.int32)[:, None], 7, (1,))
    assert found["gini@1"] == pytest.approx(expected, abs=1e-12)
