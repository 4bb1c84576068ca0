from __future__ import annotations

import numpy as np
import pytest
from fairlearn.metrics import demographic_parity_difference, equal_opportunity_difference, equalized_odds_difference

from rectitude.federated.metrics import accuracy, count_cells, event_rates, gap, global_gap, local_gaps


def draw(n, m, groups, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, m, n), rng.integers(0, m, n), rng.integers(0, groups, n)


@pytest.mark.parametrize("groups", [2, 4])
def test_two_classes_are_fairlearns(groups):
    y, predicted, a = draw(700, 2, groups)
    cells = count_cells(y, predicted, a, groups, 2)
    assert accuracy(cells) == pytest.approx((y == predicted).mean())
    for criterion, theirs in (
        ("dp", demographic_parity_difference),
        ("eop", equal_opportunity_difference),
        ("eo", equalized_odds_difference),
        ("eo_full", equalized_odds_difference),
    ):
        assert gap(cells, criterion) == pytest.approx(theirs(y, predicted, sensitive_features=a))


def test_several_classes_are_counted_by_hand():
    y, predicted, a = draw(500, 3, 3, seed=1)
    cells = count_cells(y, predicted, a, 3, 3)
    dp, eop, eo, full = ([] for _ in range(4))
    for j in range(3):
        rates = [(predicted[a == g] == j).mean() for g in range(3)]
        dp.append(max(rates) - min(rates))
        hits = [(predicted[(a == g) & (y == j)] == j).mean() for g in range(3)]
        false = [(predicted[(a == g) & (y != j)] == j).mean() for g in range(3)]
        eop.append(max(hits) - min(hits))
        eo += [max(hits) - min(hits), max(false) - min(false)]
        for i in range(3):
            cell = [(predicted[(a == g) & (y == i)] == j).mean() for g in range(3)]
            full.append(max(cell) - min(cell))
    for criterion, by_hand in (("dp", dp), ("eop", eop), ("eo", eo), ("eo_full", full)):
        assert gap(cells, criterion) == pytest.approx(max(by_hand))


def test_against_everybody():
    y, predicted, a = draw(500, 2, 3, seed=2)
    cells = count_cells(y, predicted, a, 3, 2)
    apart = [abs(predicted[a == g].mean() - predicted.mean()) for g in range(3)]
    assert gap(cells, "dp", "subgroup") == pytest.approx(max(apart))


def test_absent_groups_are_left_out_and_said():
    y, predicted, a = draw(300, 2, 2, seed=3)
    with_absent = count_cells(y, predicted, a, 3, 2)
    assert gap(with_absent, "eo") == gap(with_absent[:2], "eo")
    alone = count_cells(y, predicted, np.zeros_like(a), 3, 2)
    assert np.isnan(gap(alone, "dp"))
    assert np.isnan(gap(alone, "dp", "subgroup"))
    assert np.isnan(event_rates(with_absent, "dp")[2, 0])
    no_positive = with_absent.copy()
    no_positive[1:, 1] = 0  # true-positive rates of one group only
    assert np.isnan(gap(no_positive, "eop"))
    assert np.isfinite(gap(no_positive, "eo"))  # false-positive rates are left


def test_clients_one_by_one_and_together():
    y, predicted, a = draw(900, 3, 2, seed=4)
    owner = np.arange(900) % 3
    each = np.stack([count_cells(*(part[owner == k] for part in (y, predicted, a)), 2, 3) for k in range(3)])
    together = count_cells(y, predicted, a, 2, 3)
    assert global_gap(each, "eo") == global_gap(together, "eo") == pytest.approx(float(gap(together, "eo")))
    assert local_gaps(each, "dp").shape == (3,)
    assert local_gaps(each, "dp")[1] == gap(each[1], "dp")
    assert np.isnan(accuracy(0 * together))
