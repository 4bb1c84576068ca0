from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest

from rectitude.core.errors import ConfigError, RectitudeError
from rectitude.fairness.ufr import rates_by_place, rerank, reranked_lists


def means(chosen: np.ndarray, relevance: np.ndarray, n: np.ndarray, advantaged: np.ndarray, k: int) -> float:
    f1 = 2 * (chosen * relevance).sum(1) / (n + k)
    return float(abs(f1[advantaged].mean() - f1[~advantaged].mean()))


def test_the_choice_is_that_of_brute_force() -> None:
    rng = np.random.default_rng(0)
    for epsilon in (0.5, 0.1, 0.02):
        scores, relevance = rng.random((4, 4)), (rng.random((4, 4)) < 0.5).astype(float)
        n, advantaged, k = np.array([1, 2, 2, 3]), np.array([True, False, True, False]), 2
        every = list(combinations(range(4), k))
        best = -np.inf
        for picks in product(every, repeat=4):
            chosen = np.zeros((4, 4), bool)
            for row, pick in enumerate(picks):
                chosen[row, list(pick)] = True
            if means(chosen, relevance, n, advantaged, k) <= epsilon + 1e-9:
                best = max(best, scores[chosen].sum())
        if not np.isfinite(best):
            continue
        found = rerank(scores, relevance, n, advantaged, k=k, epsilon=epsilon)
        assert found.sum(1).tolist() == [k] * 4
        assert means(found, relevance, n, advantaged, k) <= epsilon + 1e-6
        assert scores[found].sum() == pytest.approx(best, rel=1e-3)


def test_a_loose_constraint_changes_no_list() -> None:
    scores = np.random.default_rng(1).random((20, 8))
    advantaged = np.arange(20) < 3
    found = rerank(scores, np.full((20, 8), 0.1), np.ones(20, int), advantaged, k=3, epsilon=1.0)
    np.testing.assert_array_equal(found, scores >= np.sort(scores, axis=1)[:, [-3]])
    lists = np.argsort(-scores, axis=1).astype(np.int32)
    chosen = np.zeros((20, 8), bool)
    chosen[:, :3] = True
    np.testing.assert_array_equal(reranked_lists(lists, chosen, 3), lists[:, :3])


def test_rates_are_of_each_group() -> None:
    hits = np.zeros((4, 12), bool)
    hits[0, 0] = hits[2, 1] = True
    found = rates_by_place(hits, np.array([True, True, False, False]))
    assert found[:, :2].tolist() == [[0.5, 0.0], [0.0, 0.5]]


def test_bad_input() -> None:
    with pytest.raises(ConfigError, match="both groups"):
        rerank(np.ones((2, 3)), np.ones((2, 3)), np.ones(2, int), np.array([True, True]), k=1)
    with pytest.raises(ConfigError, match="cannot fill"):
        rerank(np.ones((2, 3)), np.ones((2, 3)), np.ones(2, int), np.array([True, False]), k=4)
    with pytest.raises(RectitudeError, match="No choice of lists"):
        relevance = np.array([[1.0, 1.0], [0.0, 0.0]])
        rerank(np.ones((2, 2)), relevance, np.ones(2, int), np.array([True, False]), k=1, epsilon=0.1)
