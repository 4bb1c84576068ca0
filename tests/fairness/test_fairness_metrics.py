from __future__ import annotations

import numpy as np
import pytest

from rectitude.data.groups import Groups
from rectitude.fairness.metrics import f1, gap, m_uof, m_uof_interval, mean_difference
from rectitude.fairness.protocol import sampled_metrics

TWO = ("advantaged", "disadvantaged")


def test_m_uof_by_hand() -> None:
    groups = Groups("activity", TWO, np.array([0, 1, 1, 0, 1]))
    values = np.array([1.0, 0.2, 0.4, 0.6])
    found = m_uof(values, groups, np.array([0, 1, 2, 3]))
    assert found.value == pytest.approx(0.8 - 0.3)
    assert (found.best, found.worst) == TWO
    assert m_uof(values[[1, 0, 3, 2]], groups, np.array([0, 1, 2, 3])).value == pytest.approx(abs(0.3 - 0.8))
    assert m_uof_interval(values, np.array([True, False, False, True]), 0).value == pytest.approx(0.5)


def test_a_planted_gap_is_above_the_floor_and_chance_is_below() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 200)
    values = rng.random(400)
    even = gap(values, labels, ("a", "b"), 0)
    assert even.value < even.floor
    worse = gap(values - 0.3 * labels, labels, ("a", "b"), 0)
    assert worse.value > worse.floor
    assert worse.low > 0
    assert worse.worst == "b"
    assert worse.low < 0.3 + (values[:200].mean() - values[200:].mean()) < worse.high


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    inside = 0
    for seed in range(100):
        found = mean_difference(rng.normal(0.5, 1, 60), rng.normal(0, 1, 60), seed, 400)
        inside += found.low <= 0.5 <= found.high
    assert 86 <= inside <= 100


def test_groups_of_one_person_have_no_interval_and_empty_ones_are_left_out() -> None:
    found = gap(np.array([1.0, 0.0, 0.5]), np.array([0, 2, 2]), ("a", "b", "c"), 0)
    assert [group.label for group in found.groups] == ["a", "c"]
    assert found.groups[0].low is None
    with pytest.raises(ValueError, match="two groups"):
        gap(np.ones(3), np.zeros(3, int), ("a", "b"), 0)


def test_f1_is_the_harmonic_mean_of_precision_and_recall() -> None:
    precision, n_targets = np.array([0.3, 0.0, 1.0]), np.array([5, 4, 20])
    recall = precision * 10 / n_targets
    with np.errstate(invalid="ignore"):
        harmonic = np.nan_to_num(2 * precision * recall / (precision + recall))
    np.testing.assert_allclose(f1(precision, n_targets, 10), harmonic)


def test_metrics_of_the_candidate_protocol() -> None:
    found = sampled_metrics(np.array([1, 3, 10, 11]))
    np.testing.assert_allclose(found["ndcg"], [1, 0.5, 1 / np.log2(11), 0])
    assert found["hr"].tolist() == [1, 1, 1, 0]
    np.testing.assert_allclose(found["f1"], [2 / 11, 2 / 11, 2 / 11, 0])
