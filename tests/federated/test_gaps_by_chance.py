"""What is left of an exactly fair decision's gap on few rows."""

from __future__ import annotations

import numpy as np
import pytest

from rectitude.federated.metrics import event_rates, gaps_by_chance

CELLS = np.array([[[40, 20], [15, 45]], [[30, 10], [5, 15]], [[8, 4], [6, 12]]])
"""Three groups, two classes, 210 rows."""


def permuted(cells: np.ndarray, criterion: str, n: int) -> np.ndarray:
    """The same by brute force: rows written out, their groups shuffled among those of one class."""
    rng = np.random.default_rng(1)
    a, y, p = (axis.ravel() for axis in np.indices(cells.shape))
    a, y, p = (np.repeat(values, cells.ravel()) for values in (a, y, p))
    found = []
    for _ in range(n):
        dealt = a.copy()
        for j in range(cells.shape[1]):
            dealt[y == j] = rng.permutation(dealt[y == j])
        counts = np.zeros_like(cells)
        np.add.at(counts, (dealt, y, p), 1)
        found.append(event_rates(counts, criterion))
    away = np.array(found) - np.mean(found, axis=0)
    return np.ptp(away, axis=1).max(axis=-1)


@pytest.mark.parametrize("criterion", ["dp", "eop", "eo", "eo_full"])
@pytest.mark.parametrize("cells", [CELLS, np.random.default_rng(3).integers(1, 20, (2, 3, 3))])
def test_it_is_what_shuffling_the_groups_gives(criterion: str, cells: np.ndarray) -> None:
    quick, slow = gaps_by_chance(cells, criterion, 4000, np.random.default_rng(0)), permuted(cells, criterion, 1500)
    assert quick.mean() == pytest.approx(slow.mean(), rel=0.05)
    assert quick.std() == pytest.approx(slow.std(), rel=0.1)


def test_two_large_groups_of_one_class_give_the_half_normal() -> None:
    """|difference of two rates| of n rows each: mean √(2/π)·√(r(1−r)·2/n)."""
    cells = np.array([[[600, 400], [0, 0]], [[700, 300], [0, 0]]])
    found = gaps_by_chance(cells, "dp", 4000, np.random.default_rng(0))
    assert found.mean() == pytest.approx(np.sqrt(2 / np.pi) * np.sqrt(0.35 * 0.65 * 2 / 1000), rel=0.05)


def test_parts_cut_to_the_same_shares_of_classes_vary_as_it_says() -> None:
    """A decision with the same rates in both groups given the class, on rows whose classes are as many as ever."""
    rng, n, rates = np.random.default_rng(0), np.array([[300, 100], [150, 20]]), np.array([0.1, 0.7])
    drawn = rng.binomial(n, rates, (3000, 2, 2))
    seen = drawn.sum(axis=2) / n.sum(axis=1)
    sampled = np.abs((seen - seen.mean(axis=0)) @ [1, -1])
    decided = np.rint(n * rates).astype(int)
    found = gaps_by_chance(np.stack([n - decided, decided], axis=-1), "dp", 3000, np.random.default_rng(1))
    assert found.mean() == pytest.approx(sampled.mean(), rel=0.05)


def test_a_single_group_has_no_gap_by_chance_either() -> None:
    assert np.isnan(gaps_by_chance(np.concatenate([CELLS[:1], 0 * CELLS[:1]]), "dp", 5, np.random.default_rng(0))).all()
