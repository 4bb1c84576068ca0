"""Scores borrowed from other clients: as much as clients are alike, which is planted here."""

from __future__ import annotations

import numpy as np
import pytest
from driver import decided, federate, problem_of
from hypothesis import given
from hypothesis import strategies as st

from rectitude.core.errors import ConfigError
from rectitude.federated.contracts import ClientData, Rows
from rectitude.federated.methods.pooling import BINS, blend, differences, histogram_of, prior_rows
from rectitude.federated.metrics import global_gap, local_gaps
from rectitude.federated.registry import find


def estimated(own):
    """M of one group from the histograms of all clients, as the exchanges make it."""
    pooled = sum(own)
    return prior_rows(sum(differences(each, pooled) for each in own), pooled)


@pytest.mark.parametrize("rows", [20.0, 100.0])
def test_how_much_clients_differ_is_found_where_it_was_planted(rows):
    rng, rate = np.random.default_rng(0), 0.3
    rates = rng.beta(rows * rate, rows * (1 - rate), 600)  # prior of so many rows
    own = [histogram_of(np.where(rng.random(200) < r, 0.9, 0.1), np.zeros(200, int), 1) for r in rates]
    assert estimated(own)[0] == pytest.approx(rows, rel=0.2)


def test_a_few_clients_that_happen_to_agree_are_not_taken_for_one():
    """Of two or three clients nobody can tell how much clients differ, and their own rows keep a say."""
    rng = np.random.default_rng(2)
    for n_clients in (2, 3):
        own = [histogram_of(np.where(rng.random(300) < 0.3, 0.9, 0.1), np.zeros(300, int), 1) for _ in range(n_clients)]
        assert 0 < estimated(own)[0] < 1e6
    same = [histogram_of(np.repeat([0.1, 0.9], [210, 90]), np.zeros(300, int), 1) for _ in range(5)]
    assert estimated(same)[0] > 1e6  # of five that agree to the row it can


def test_one_group_may_be_alike_and_another_not():
    rng = np.random.default_rng(1)
    own = []
    for k in range(40):
        a = rng.integers(0, 2, 500)
        rate = np.where(a == 0, 0.4, 0.2 + 0.015 * k)
        own.append(histogram_of(np.where(rng.random(500) < rate, 0.85, 0.15), a, 2))
    alike, unlike = estimated(own)
    assert alike > 300
    assert unlike < 20


def test_scores_that_never_come_near_a_threshold_tell_nothing():
    own = [histogram_of(np.full(100, 0.05), np.zeros(100, int), 1) for _ in range(3)]
    assert estimated(own)[0] == 0
    _, _, weights = blend(np.full(100, 0.05), np.zeros(100, int), sum(own), np.zeros(1))
    assert (weights == 1).all()


@given(st.integers(0, 10_000), st.sampled_from([0.0, 30.0, 1e12]))
def test_every_group_keeps_its_rows(seed, prior):
    rng = np.random.default_rng(seed)
    scores, groups = rng.random(60), rng.integers(0, 3, 60)
    pooled = histogram_of(rng.random(500), rng.integers(0, 4, 500), 4)
    mixed, of, weights = blend(scores, groups, pooled, np.full(4, prior))
    before, after = np.bincount(groups, minlength=4), np.bincount(of, weights, 4)
    np.testing.assert_allclose(after, before)
    assert after[3] == 0  # a group that the client has no row of stays absent
    above = [(weights * (mixed > 0.5) * (of == g)).sum() for g in range(3)]
    for g in range(3):
        n, own, all_rows = before[g], (scores[groups == g] > 0.5).sum(), pooled[g, BINS // 2 :].sum() / pooled[g].sum()
        assert above[g] == pytest.approx((n * own + prior * n * all_rows) / (n + prior), abs=1e-6)


def people(rng, n, tilt):
    a = (rng.random(n) < 0.35).astype(int)
    p = 1 / (1 + np.exp(-(1.5 * rng.normal(size=n) - 1 - 0.9 * a + tilt)))
    return Rows(np.zeros((n, 1), np.float32), (rng.random(n) < p).astype(int), a, np.stack([1 - p, p], 1))


def on_endless_rows(tilts, pooling, method="logofair", seeds=4, **settings):
    """Local gaps [seeds, N] where every client calibrates on 1,000 rows and is judged on 60,000."""
    kind, found = find(method), []
    for seed in range(seeds):
        rng, data = np.random.default_rng(seed), []
        for k, tilt in enumerate(tilts):
            few, many = people(rng, 1000, tilt), people(rng, 60_000, tilt)
            data.append(ClientData(k, f"client {k}", few, few, few, many))
        own = {"criterion": "dp", "global_tolerance": 0.01, "local_tolerance": 0.01, "calibration": "none"} | settings
        config = kind.Config(pooling=pooling, **own)
        outcome = federate(kind(config, problem_of(2, 2, len(tilts))), data)
        cells = decided(outcome, data)
        assert global_gap(cells, "dp") < 0.05
        found.append(local_gaps(cells, "dp"))
    return np.array(found), outcome


def test_alike_clients_have_smaller_gaps_on_endless_rows():
    alone, before = on_endless_rows([0.0] * 5, "none")
    together, after = on_endless_rows([0.0] * 5, "shrink")
    assert before.kinds[0] == "stats"
    assert after.kinds[:3] == ["scores", "spread", "stats"]
    assert together.max(axis=1).mean() < 0.75 * alone.max(axis=1).mean()


def test_unlike_clients_lose_nothing():
    tilts = [-1.5, 1.5, 0.0, 0.8, -0.8]
    alone, _ = on_endless_rows(tilts, "none")
    together, outcome = on_endless_rows(tilts, "shrink")
    assert max(outcome.notes["pooling_prior_rows"]) < 20  # of 350 and more
    assert np.sqrt((together**2).mean()) < 1.1 * np.sqrt((alone**2).mean())


@pytest.mark.parametrize("criterion", ["eop", "eo"])
def test_other_criteria_take_it_too(criterion):
    kind = find("fedfact-post")
    rng = np.random.default_rng(5)
    rows = [people(rng, 1500, 0.0) for _ in range(3)]
    data = [ClientData(k, f"client {k}", r, r, r, r) for k, r in enumerate(rows)]
    config = kind.Config(criterion=criterion, global_tolerance=0.02, local_tolerance=0.02, pooling="shrink")
    outcome = federate(kind(config, problem_of(2, 2, 3)), data)
    assert outcome.kinds[:3] == ["scores", "spread", "stats"]
    assert outcome.notes["converged"]
    total = outcome.shared["totals"].sum()
    assert total == pytest.approx(4500)


def test_without_tolerances_of_their_own_nothing_is_asked():
    _, outcome = on_endless_rows([0.0, 0.0], "shrink", seeds=1, local_tolerance=None)
    assert "scores" not in outcome.kinds
    assert outcome.notes["pooling_prior_rows"] is None


def test_a_group_that_is_absent_at_a_client():
    rng = np.random.default_rng(3)
    rows = [people(rng, 800, 0.0) for _ in range(3)]
    only = rows[0].a == 0
    rows[0] = Rows(rows[0].X[only], rows[0].y[only], rows[0].a[only], rows[0].eta[only])
    data = [ClientData(k, f"client {k}", r, r, r, r) for k, r in enumerate(rows)]
    kind = find("logofair")
    outcome = federate(kind(kind.Config(pooling="shrink"), problem_of(2, 2, 3)), data)
    assert not outcome.personal[0]["nu"].any()
    assert np.isfinite(decided(outcome, data)).all()


def test_three_classes_are_refused_and_so_is_noise():
    kind = find("fedfact-post")
    with pytest.raises(ConfigError, match="two classes only; there are 3"):
        kind(kind.Config(pooling="shrink"), problem_of(3, 2, 2))
    assert "pooled scores" in kind(kind.Config(pooling="shrink"), problem_of(2, 2, 2)).unaccounted()
    assert "pooled scores" not in kind(kind.Config(), problem_of(2, 2, 2)).unaccounted()
