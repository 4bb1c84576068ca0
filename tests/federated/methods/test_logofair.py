from __future__ import annotations

import numpy as np
import pytest
from driver import adult, decided, federate, problem_of, scored, whole

from rectitude.core.errors import ConfigError
from rectitude.federated.methods.calibration import calibrate
from rectitude.federated.methods.constraints import contrasts, events_of, shifted_scores, shifts
from rectitude.federated.methods.logofair import LoGoFair, LoGoFairConfig, thresholds
from rectitude.federated.metrics import global_gap, local_gaps

P = np.array([[0.2, 0.1], [0.4, 0.3]])  # P(group, class) at one client that is everybody


def test_thresholds_of_demographic_parity_are_the_closed_form():
    events, lam = events_of("dp", 2), 0.05
    t = thresholds(shifts(np.array([[lam]]), contrasts(P, events)), events)
    p = P.sum(1)
    assert t == pytest.approx([0.5 + lam / (2 * p[0]), 0.5 - lam / (2 * p[1])])  # a positive dual restrains group 0


def test_thresholds_of_equalised_odds_are_the_closed_form():
    events, lam = events_of("eo", 2), np.array([[0.03, -0.02]])
    t = thresholds(shifts(lam, contrasts(P, events)), events)
    for a, sign in ((0, 1), (1, -1)):
        u, v = sign * lam[0, 0] / P[a, 1], sign * lam[0, 1] / P[a, 0]
        assert t[a] == pytest.approx((1 + v) / (2 - u + v))


@pytest.mark.parametrize("criterion", ["dp", "eop", "eo"])
def test_thresholds_decide_as_the_scores_do(criterion):
    events = events_of(criterion, 2)
    shift = np.random.default_rng(0).normal(size=(2, len(events))) * 0.3
    eta = np.linspace(0.001, 0.999, 501)
    for a, t in enumerate(thresholds(shift, events)):
        scores = shifted_scores(np.stack([1 - eta, eta], 1), np.full(501, a), shift, events)
        assert np.array_equal(scores[:, 1] > scores[:, 0], eta > t)


def test_a_decision_that_is_no_threshold_is_said():
    events = events_of("eop", 2)
    t = thresholds(np.array([[2.5], [0.1]]), events)  # accepting is worth less the higher the score
    assert np.isnan(t[0])
    assert np.isfinite(t[1])


def test_gaps_on_its_own_rows_are_within_tolerance():
    rng = np.random.default_rng(1)
    clients = [scored(rng, n, 2, 2, skew=2.0) for n in (2000, 1500, 1000)]
    data = [whole(k, rows) for k, rows in enumerate(clients)]
    config = LoGoFairConfig(global_tolerance=0.01, local_tolerance=0.02, resolution=None)
    outcome = federate(LoGoFair(config, problem_of(2, 2, 3)), data)
    cells = decided(outcome, data)
    assert local_gaps(cells, "dp").max() <= 0.02 + 0.005  # a row or two on the threshold
    for rows, personal in zip(clients, outcome.personal, strict=True):
        eta = calibrate(rows.eta, rows.a, personal["calibrators"])[:, 1]
        decisions = outcome.method.decide(
            {"X": rows.X, "a": rows.a, "eta": rows.eta}, outcome.shared, personal, np.random.default_rng(0)
        )
        assert np.array_equal(decisions == 1, eta > personal["thresholds"][rows.a])


def test_the_released_smoothing_is_an_option():
    rng = np.random.default_rng(2)
    data = [whole(k, scored(rng, 600, 2, 2, skew=2.0)) for k in range(3)]
    found = {}
    for smoothing in ("margin", "raw"):
        config = LoGoFairConfig(smoothing=smoothing, global_tolerance=0.0, local_tolerance=None)
        found[smoothing] = federate(LoGoFair(config, problem_of(2, 2, 3)), data).shared["lambda"]
    assert np.isfinite(found["raw"]).all()
    assert not np.array_equal(found["raw"], found["margin"])


@pytest.mark.parametrize(("n_classes", "n_groups"), [(3, 2), (2, 3)])
def test_other_problems_are_fedfacts(n_classes, n_groups):
    with pytest.raises(ConfigError, match="fedfact-post"):
        LoGoFair(LoGoFairConfig(), problem_of(n_classes, n_groups, 2))


def test_local_gap_on_adults_test_rows(real_data, monkeypatch):
    monkeypatch.setenv("RECTITUDE_DATA", str(real_data("adult").parent))
    problem, data = adult()
    outcome = federate(LoGoFair(LoGoFairConfig(global_tolerance=0.02, local_tolerance=0.02), problem), data)
    assert np.nanmax(local_gaps(decided(outcome, data), "dp")) <= 0.04


def test_equalised_odds_are_kept_by_drawing():
    rng = np.random.default_rng(3)
    rows = scored(rng, 20_000, 2, 2, skew=2.0)
    gaps = {}
    for decisions in ("auto", "deterministic"):
        config = LoGoFairConfig(
            criterion="eo", global_tolerance=0.0, local_tolerance=None, decisions=decisions, rounds=80
        )
        data = [whole(0, rows)]
        cells = decided(federate(LoGoFair(config, problem_of(2, 2, 1)), data), data)
        gaps[decisions] = global_gap(cells, "eo")
    assert gaps["auto"] < 0.03
    assert gaps["deterministic"] > gaps["auto"]
