"""Points of the frontier: their intervals, who is compared, what each tolerance costs."""

from __future__ import annotations

import numpy as np
import pytest

from rectitude.core.errors import ConfigError
from rectitude.federated.clients import Federation
from rectitude.federated.contracts import Evaluation
from rectitude.federated.frontier import Figures, compare, figures, largest_by_chance, mean_over_seeds, rivals
from rectitude.federated.plan import Stage

CELLS = np.asarray([[[60, 20], [10, 10]], [[30, 20], [10, 40]]])
"""Rows by group, truth and decision: rates of deciding 1 are 0.3 and 0.6, accuracy 140 of 200."""


def seen(*local: float) -> Evaluation:
    return Evaluation(CELLS, np.asarray(local), np.full((len(local), 3), np.nan))


def test_the_largest_gap_by_chance_is_taken_draw_by_draw() -> None:
    each = np.array([[0.1, 0.3], [0.2, 0.0], [np.nan, np.nan]])
    assert largest_by_chance(each)[0] == pytest.approx(0.25)
    assert np.isnan(largest_by_chance(each[2:])).all()


def test_figures_by_hand() -> None:
    found = figures("m", "", seen(0.1, np.nan, 0.4), "dp")
    assert found.accuracy[0] == pytest.approx(0.7)
    assert found.global_gap[0] == pytest.approx(0.3)
    assert found.local_gap_max == 0.4
    assert found.local_gap_mean == pytest.approx(0.25)
    assert np.isnan(figures("m", "", seen(np.nan), "dp").local_gap_max)


def test_intervals_are_as_wide_as_the_binomial_says() -> None:
    """Given truth and group, right decisions are sums of binomials."""
    found = figures("m", "", seen(0.1), "dp")
    totals, right = CELLS.sum(-1), np.stack([CELLS[:, 0, 0], CELLS[:, 1, 1]], -1)
    share = right / totals
    spread = np.sqrt((totals * share * (1 - share)).sum()) / totals.sum()
    assert found.accuracy[2] - found.accuracy[1] == pytest.approx(2 * 1.96 * spread, rel=0.15)
    assert found.global_gap[1] < 0.3 < found.global_gap[2]


def test_means_over_seeds_carry_t_intervals() -> None:
    points = [Figures("m", "x", (a, a, a), (g, g, g), (g,)) for a, g in ((0.5, 0.1), (0.6, 0.2), (0.7, 0.3))]
    mean = mean_over_seeds(points)
    assert mean.accuracy[0] == pytest.approx(0.6)
    half = 4.302653 * 0.1 / np.sqrt(3)  # t of 2 degrees of freedom
    assert mean.accuracy[2] - 0.6 == pytest.approx(half, rel=1e-5)
    assert (mean.seeds, mean.local_gap_max) == (3, pytest.approx(0.2))
    assert mean.global_gap[1] == 0  # a gap is not negative
    assert mean_over_seeds(points[:1]) is points[0]
    assert mean_over_seeds(points[:2]).accuracy == pytest.approx((0.55, 0.5, 0.6))  # of two, the two


def test_who_is_compared() -> None:
    assert rivals("none", "logofair") == []
    assert set(rivals("post", "logofair")) == {"fedfact-post", "threshold-global", "threshold-local"}
    assert "wassffed" in rivals("all", "logofair")
    assert rivals("fairfed, qffl,fedavg", "qffl") == ["fairfed"]
    with pytest.raises(ConfigError, match=r"Did you mean 'fairfed'\?"):
        rivals("fairfd", "logofair")


def test_looser_tolerances_cost_less_and_leave_more(federation: Federation) -> None:
    main = Stage("fedfact-post", {"criterion": "dp", "global_tolerance": 0.02, "local_tolerance": 0.1})
    found = compare(
        lambda _: federation, [0], main, Stage("fedavg", {"rounds": 5}), "dp", [], tolerances=(0.0, 0.1, 0.2)
    )
    points = found.methods["fedfact-post"]
    assert [point.label for point in points] == ["0", "0.1", "0.2"]
    gaps = [point.global_gap[0] for point in points]
    assert gaps[0] < gaps[1] < gaps[2] < found.base.global_gap[0] + 0.05
    assert points[0].accuracy[0] <= points[2].accuracy[0] + 0.01
    assert [point.label for point in found.prices] == ["global only", "local only", "both"]
    assert found.prices[0].global_gap[0] < found.prices[1].global_gap[0] + 0.05
    assert found.failed == ()


def test_a_method_that_cannot_be_had_is_said_and_the_others_are_drawn(federation: Federation) -> None:
    from rectitude.federated.clients import federation_of_arrays

    rng = np.random.default_rng(0)
    n = 900
    y = rng.integers(0, 3, n)
    three = federation_of_arrays(rng.normal(size=(n, 3)) + y[:, None], y, rng.integers(0, 2, n), rng.integers(0, 2, n))
    main = Stage("fedfact-post", {"global_tolerance": 0.1, "local_tolerance": None})
    found = compare(lambda _: three, [0], main, Stage("fedavg", {"rounds": 2}), "dp", ["logofair"], tolerances=(0.1,))
    assert set(found.methods) == {"fedfact-post"}
    assert len(found.failed) == 1
    assert found.failed[0].startswith("LoGoFair")
