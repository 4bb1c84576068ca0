from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rectitude.core.errors import ConfigError
from rectitude.data.histories import Histories
from rectitude.fairness.dominant_sets import (
    ClusterSolver,
    affinities,
    binary,
    largest_eigenvalue,
    replicator,
    user_clusters,
)


def graph(n: int, seed: int, density: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Affinities among n advantaged people, and of five others to them."""
    rng = np.random.default_rng(seed)
    block = np.triu(rng.random((n, n)) * (rng.random((n, n)) < density), 1)
    return block + block.T, rng.random((5, n)) * (rng.random((5, n)) < density)


def block_pivoting(block: np.ndarray, c: np.ndarray, alpha: float) -> np.ndarray:
    """The complementarity problem by exchanging infeasible indices, least index first when it would cycle."""
    n = len(c)
    matrix = alpha * np.eye(n) - block + np.outer(np.ones(n), c)
    active = np.ones(n, bool)
    for round_ in range(20 * n):
        y = np.zeros(n)
        if active.any():
            y[active] = np.linalg.solve(matrix[np.ix_(active, active)], c[active])
        slack = matrix @ y - c
        wrong = np.flatnonzero((active & (y < -1e-12)) | (~active & (slack < -1e-12)))
        if not len(wrong):
            return y
        wrong = wrong if round_ < 10 else wrong[-1:]
        active[wrong] = ~active[wrong]
    raise AssertionError("no solution")


@given(st.integers(2, 12), st.integers(0, 10_000), st.sampled_from([1.05, 1.1, 1.5, 3.0]), st.sampled_from([0.4, 1.0]))
@settings(max_examples=60, deadline=None)
def test_clusters_meet_the_conditions_of_optimality_and_equal_block_pivoting(
    n: int, seed: int, coefficient: float, density: float
) -> None:
    block, near = graph(n, seed, density)
    alpha = coefficient * max(largest_eigenvalue(block), 1e-3)
    y = ClusterSolver(block, alpha).solve(near)
    assert (y >= -1e-9).all()
    for row in range(len(near)):
        slack = alpha * y[row] - block @ y[row] + near[row] @ y[row] - near[row]
        assert slack.min() >= -1e-4
        assert abs(slack @ y[row]) < 1e-4
        np.testing.assert_allclose(y[row], block_pivoting(block, near[row], alpha), atol=2e-4)


def test_clusters_are_what_replicator_dynamics_end_in() -> None:
    for seed in range(3):
        block, near = graph(5, seed)
        alpha = 1.5 * largest_eigenvalue(block)
        y = ClusterSolver(block, alpha).solve(near)
        for row in range(2):
            x = replicator(block, near[row], alpha)
            assert x[0] > 0.01  # the person is in their own cluster
            np.testing.assert_allclose(y[row], x[1:] / x[0], atol=1e-3)


def test_the_person_is_in_the_cluster_only_above_the_eigenvalue() -> None:
    block = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0.0]])  # a clique
    stranger = np.full(3, 0.05)
    assert replicator(block, stranger, 1.1 * largest_eigenvalue(block))[0] > 0.3
    assert replicator(block, stranger, 0.001)[0] < 1e-6  # the α of the released code


def test_large_coefficients_give_nearest_neighbours() -> None:
    block, near = graph(30, 1)
    members, weights = ClusterSolver(block, 1000 * largest_eigenvalue(block)).heaviest(near, 3)
    np.testing.assert_array_equal(members, np.argsort(-near, axis=1)[:, :3])
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)


def test_the_largest_eigenvalue() -> None:
    block, _ = graph(70, 3)
    assert largest_eigenvalue(block) == pytest.approx(np.linalg.eigvalsh(block)[-1], rel=1e-6)


def test_solving_on_candidates_agrees_with_solving_on_all(monkeypatch: pytest.MonkeyPatch) -> None:
    block, near = graph(90, 4)
    alpha = 1.5 * largest_eigenvalue(block)
    whole, share = ClusterSolver(block, alpha).heaviest(near, 3)
    monkeypatch.setattr("rectitude.fairness.dominant_sets.EXACT_UP_TO", 10)
    monkeypatch.setattr("rectitude.fairness.dominant_sets.CANDIDATES", 80)
    part, close = ClusterSolver(block, alpha).heaviest(near, 3)
    assert (whole == part).mean() > 0.8
    np.testing.assert_allclose(share, close, atol=0.05)


def test_affinities_by_hand() -> None:
    rows = binary(Histories.from_rows([[0, 1, 2], [1, 2, 2], [5]]), 6)
    assert affinities(rows, rows, "count")[0].tolist() == [3, 2, 0]
    np.testing.assert_allclose(affinities(rows, rows, "cosine")[0], [1, 2 / np.sqrt(6), 0], rtol=1e-6)
    np.testing.assert_allclose(affinities(rows, rows, "jaccard")[0], [1, 2 / 3, 0], rtol=1e-6)


def test_somebody_who_shares_nothing_has_no_cluster() -> None:
    train = Histories.from_rows([[0, 1], [0, 2], [1, 2], [9]])
    found = user_clusters(train, 10, np.array([0, 1]), np.array([2, 3]), k=2)
    assert found.weights[0].sum() == pytest.approx(1)
    assert found.weights[1].tolist() == [0, 0]
    assert found.alpha == pytest.approx(1.1 * found.eigenvalue)


@pytest.mark.parametrize(
    ("advantaged", "others", "coefficient", "message"),
    [
        ([], [0], 1.1, "advantaged group is empty"),
        ([0], [], 1.1, "disadvantaged group is empty"),
        ([0], [1], 1, "bind"),
    ],
)
def test_bad_input(advantaged: list[int], others: list[int], coefficient: float, message: str) -> None:
    train = Histories.from_rows([[0], [0, 1]])
    with pytest.raises(ConfigError, match=message):
        user_clusters(train, 2, np.array(advantaged, int), np.array(others, int), coefficient=coefficient)
