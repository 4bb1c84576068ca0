from __future__ import annotations

import numpy as np
import pytest

from rectitude.federated.methods.constraints import (
    best_class,
    contrasts,
    event_weights,
    events_of,
    shifted_scores,
    shifts,
)

COUNTS = np.array([[30.0, 10.0, 20.0], [5.0, 25.0, 10.0], [8.0, 4.0, 28.0]])
P = COUNTS / COUNTS.sum()


@pytest.mark.parametrize(("criterion", "n"), [("dp", 3), ("eop", 3), ("eo", 6), ("eo_full", 9)])
def test_number_of_events(criterion, n):
    assert len(events_of(criterion, 3)) == n
    assert len(events_of(criterion, 2)) == {"dp": 1, "eop": 1, "eo": 2, "eo_full": 2}[criterion]


@pytest.mark.parametrize("criterion", ["dp", "eop", "eo", "eo_full"])
def test_disparities_weighed_by_their_groups_cancel(criterion):
    events = events_of(criterion, 3)
    W = contrasts(COUNTS, events, "subgroup")
    mass = COUNTS @ events.given.T / COUNTS.sum()
    assert np.allclose(np.einsum("ce,cge->ge", mass, W), 0)


def test_a_constant_decision_has_no_disparity():
    rng = np.random.default_rng(0)
    eta, a = rng.dirichlet(np.ones(3), 50), rng.integers(0, 3, 50)
    counts = np.stack([eta[a == g].sum(0) for g in range(3)])
    for form in ("pairwise", "subgroup"):
        for criterion in ("dp", "eop", "eo", "eo_full"):
            events = events_of(criterion, 3)
            W, phi = contrasts(counts, events, form), event_weights(eta, events)
            for j in range(3):
                for e in np.flatnonzero(events.predicted == j):
                    assert np.allclose(np.einsum("ci,i->c", W[:, a, e], phi[:, e]), 0, atol=1e-9)


def test_shifts_of_demographic_parity_are_the_closed_form():
    rng = np.random.default_rng(1)
    events, lam = events_of("dp", 3), rng.normal(size=(3, 3))
    shift = shifts(lam, contrasts(COUNTS, events, "subgroup"))
    p_a = P.sum(1)
    assert np.allclose(shift, lam / p_a[:, None] - lam.sum(0))


def test_factors_of_equal_opportunity_are_the_closed_form():
    rng = np.random.default_rng(2)
    events, lam = events_of("eop", 3), 0.01 * rng.normal(size=(3, 3))
    shift = shifts(lam, contrasts(COUNTS, events, "subgroup"))
    factor = lam / P - lam.sum(0) / P.sum(0)
    assert np.allclose(shift, factor)
    eta, a = rng.dirichlet(np.ones(3), 20), rng.integers(0, 3, 20)
    assert np.allclose(shifted_scores(eta, a, shift, events), eta * (1 - factor[a]))


def test_scores_are_the_matrix_form():
    rng = np.random.default_rng(3)
    for criterion in ("dp", "eop", "eo", "eo_full"):
        events = events_of(criterion, 3)
        shift = rng.normal(size=(3, len(events)))
        M = np.broadcast_to(np.eye(3), (3, 3, 3)).copy()
        for e in range(len(events)):
            for y in np.flatnonzero(events.given[e]):
                M[:, y, events.predicted[e]] -= shift[:, e]
        eta, a = rng.dirichlet(np.ones(3), 20), rng.integers(0, 3, 20)
        assert np.allclose(shifted_scores(eta, a, shift, events), np.einsum("iyj,iy->ij", M[a], eta))


def test_two_groups_against_all_are_one_scaled_pair():
    counts, events = np.array([[30.0, 10.0], [5.0, 25.0]]), events_of("eo", 2)
    pair, sub = contrasts(counts, events, "pairwise"), contrasts(counts, events, "subgroup")
    mass = counts @ events.given.T
    assert sub.shape == (1, 2, 2)
    assert np.allclose(sub, pair * (mass.max(0) / mass.sum(0)))  # the smaller group is the further one


def test_an_absent_group_takes_no_part():
    counts = np.array([[3.0, 4.0], [0.0, 0.0], [5.0, 6.0]])
    for form in ("pairwise", "subgroup"):
        W = contrasts(counts, events_of("dp", 2), form)
        assert np.isfinite(W).all()
        assert np.all(W[:, 1] == 0) if form == "pairwise" else np.all(W[1] == 0)
    alone = contrasts(np.array([[3.0, 4.0], [0.0, 0.0]]), events_of("dp", 2))
    assert np.all(alone == 0)


def test_ties_are_broken_at_random():
    chosen = best_class(np.zeros((4000, 2)), np.random.default_rng(0))
    assert abs(chosen.mean() - 0.5) < 0.05
    assert best_class(np.array([[0.1, 0.3, 0.2]]), np.random.default_rng(0)) == [1]
