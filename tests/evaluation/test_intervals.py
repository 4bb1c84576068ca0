from __future__ import annotations

import numpy as np
import pytest

from rectitude.evaluation import intervals
from rectitude.evaluation.intervals import Interval, bootstrap_interval, bootstrap_intervals, bootstrap_means


def test_resampled_means_have_the_moments_of_theory() -> None:
    values = np.random.default_rng(0).exponential(size=(400, 1))
    means = bootstrap_means(values, seed=1, resamples=4000)
    assert means.mean() == pytest.approx(values.mean(), rel=0.01)
    assert means.std() == pytest.approx(values.std() / np.sqrt(400), rel=0.05)


def test_interval_is_near_the_normal_one_for_many_users() -> None:
    values = np.random.default_rng(2).random(5000)
    found = bootstrap_interval(values, seed=0, resamples=4000)
    half = 1.96 * values.std() / np.sqrt(5000)
    assert found.value == values.mean()
    assert found.low == pytest.approx(values.mean() - half, abs=half * 0.1)
    assert found.high == pytest.approx(values.mean() + half, abs=half * 0.1)


def test_columns_share_the_resamples() -> None:
    values = np.random.default_rng(0).random(50)
    means = bootstrap_means(np.column_stack([values, 1 - values]), seed=3)
    np.testing.assert_allclose(means.sum(axis=1), 1)


def test_memory_limit_leaves_the_law_of_the_means(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random((30, 2))
    monkeypatch.setattr(intervals, "_DRAWS", 10)  # fewer than one resample
    means = bootstrap_means(values, seed=0, resamples=3000)
    np.testing.assert_allclose(means.mean(axis=0), values.mean(axis=0), atol=0.01)
    np.testing.assert_allclose(means.std(axis=0), values.std(axis=0) / np.sqrt(30), rtol=0.1)


def test_one_user_and_equal_users_have_no_width() -> None:
    assert bootstrap_interval(np.array([0.3]), seed=0) == Interval(0.3, 0.3, 0.3)
    found = bootstrap_intervals(np.full((10, 1), 0.5), seed=0)[0]
    assert (found.low, found.high) == (0.5, 0.5)


def test_the_same_seed_gives_the_same_bits() -> None:
    values = np.random.default_rng(0).random(100)
    assert bootstrap_interval(values, 7) == bootstrap_interval(values, 7)
    assert bootstrap_interval(values, 7) != bootstrap_interval(values, 8)
