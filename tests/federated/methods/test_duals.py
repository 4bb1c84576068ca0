from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from rectitude.federated.methods.constraints import contrasts, events_of, shifts
from rectitude.federated.methods.duals import (
    DualServer,
    first_curvature,
    gradient_step,
    minimise,
    optimality_gap,
    proximal,
)
from rectitude.federated.methods.population import Population


def population(criterion="eo", n=200, m=3, groups=2, seed=0, resolution=None):
    rng = np.random.default_rng(seed)
    eta, a = rng.dirichlet(np.ones(m), n), rng.integers(0, groups, n)
    return Population(eta, a, groups, events_of(criterion, m), resolution=resolution), eta, a


@pytest.mark.parametrize("criterion", ["dp", "eop", "eo", "eo_full"])
def test_rates_and_curvature_are_the_derivatives(criterion):
    people, *_ = population(criterion)
    rng, beta = np.random.default_rng(1), np.asarray(0.1)
    shift = 0.1 * rng.normal(size=(2, len(people.events)))
    _, q = people.soft(shift, beta)
    rates, curvature = people.rates(q), people.curvature(q, beta)
    step = 1e-5
    for g in range(2):
        for e in range(len(people.events)):
            up, down = shift.copy(), shift.copy()
            up[g, e] += step
            down[g, e] -= step
            slope = (people.soft(up, beta)[0] - people.soft(down, beta)[0]) / (2 * step)
            assert slope == pytest.approx(-rates[g, e], rel=1e-4, abs=1e-4)
            turned = (people.rates(people.soft(down, beta)[1]) - people.rates(people.soft(up, beta)[1])) / (2 * step)
            assert np.allclose(turned[g], curvature[g, e], rtol=1e-3, atol=1e-3)
            assert np.allclose(turned[1 - g], 0)


def test_cells_stand_for_their_rows():
    exact, eta, a = population("dp", n=5000, m=2)
    cells = Population(eta, a, 2, events_of("dp", 2), resolution=200)
    assert cells.eta.shape[1] <= 2 * 201
    assert cells.weight.sum() == 5000
    shift, beta = np.array([[0.2], [-0.1]]), np.asarray(0.01)
    assert cells.soft(shift, beta)[0] == pytest.approx(exact.soft(shift, beta)[0], rel=1e-4)
    assert np.allclose(cells.rates(cells.soft(shift, beta)[1]), exact.rates(exact.soft(shift, beta)[1]), rtol=2e-3)


@pytest.mark.parametrize("criterion", ["dp", "eop", "eo", "eo_full"])
@pytest.mark.parametrize("beta", [0.1, "each cell's own"])
def test_two_classes_take_a_short_cut_to_the_same(criterion, beta):
    people, eta, a = population(criterion, m=2)
    counts = np.stack([eta[a == g].sum(axis=0) for g in range(2)])
    weights = contrasts(counts, people.events, "subgroup")
    rng = np.random.default_rng(2)
    beta = np.asarray(0.1) if beta == 0.1 else rng.uniform(0.05, 0.2, people.eta.shape[1])
    base, duals = 0.1 * rng.normal(size=(2, len(people.events))), 0.1 * rng.normal(size=len(people.events))
    short = people.along(weights, base, beta, 0.7)
    people.one_event_class = False
    whole = people.along(weights, base, beta, 0.7)
    assert type(short) is not type(whole)
    q, full = short.decide(duals), whole.decide(duals)
    assert np.allclose(q, full[1])
    for measure in ("rates", "disparity", "hessian"):
        assert np.allclose(getattr(short, measure)(q), getattr(whole, measure)(full)), measure
    start = np.zeros_like(duals)
    rise = [one.value(duals, one.decide(duals)) - one.value(start, one.decide(start)) for one in (short, whole)]
    assert rise[0] == pytest.approx(rise[1])
    shift = base + shifts(duals.reshape(1, -1), weights)
    general = people.rates_at(shift, beta, 0.7)
    people.one_event_class = True
    assert np.allclose(people.rates_at(shift, beta, 0.7), general)


def test_an_empty_client_is_harmless():
    people = Population(np.zeros((0, 2)), np.zeros(0, np.int64), 2, events_of("dp", 2))
    value, q = people.soft(np.zeros((2, 1)), np.asarray(0.01))
    assert value == 0
    assert np.all(people.rates(q) == 0)


def test_the_clients_minimum_is_scipys():
    people, eta, a = population("eo", n=400, m=2, seed=3)
    counts = np.stack([eta[a == g].sum(0) for g in range(2)])
    W, beta, xi = contrasts(counts, people.events), np.asarray(0.02), 0.02
    base = np.array([[0.3, 0.0], [-0.2, 0.1]])
    found = minimise(people, W, xi, base=base, start=np.zeros((1, 2)), beta=beta, bound=5.0)

    def objective(halves):
        nu = (halves[:2] - halves[2:]).reshape(1, 2)
        return people.soft(base + shifts(nu, W), beta)[0] / people.n + xi * halves.sum()

    oracle = minimize(objective, np.zeros(4), bounds=[(0, None)] * 4, method="L-BFGS-B", options={"ftol": 1e-14})
    ours = objective(np.concatenate([np.maximum(found.duals, 0).ravel(), np.maximum(-found.duals, 0).ravel()]))
    assert ours <= oracle.fun + 1e-7
    assert found.excess < 1e-4


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 1), st.floats(0.05, 3))
def test_proximal_step_minimises_its_model(seed, penalty, bound):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(3, 3))
    H, g, x0 = root @ root.T + 0.1 * np.eye(3), rng.normal(size=3), rng.normal(size=3) * 0.1
    x = proximal(H, g, x0, penalty, bound)
    assert np.abs(x).sum() <= bound * (1 + 1e-6)

    def value(x):
        return g @ (x - x0) + 0.5 * (x - x0) @ H @ (x - x0) + penalty * np.abs(x).sum()

    for _ in range(30):
        other = x + 0.05 * rng.normal(size=3)
        other *= min(1.0, bound / np.abs(other).sum())
        assert value(x) <= value(other) + 1e-6


def test_server_minimises_a_quadratic_in_few_rounds():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(4, 4))
    H, target, xi = root @ root.T + 0.5 * np.eye(4), np.array([0.3, -0.2, 0.0, 0.4]), 0.05
    server = DualServer(np.ones((2, 1, 2)), np.eye(4), xi, 5.0, 1e-6)
    points, seen = [np.zeros((2, 2))], []
    for _ in range(60):
        seen.append(-(H @ (points[-1].ravel() - target)).reshape(2, 2))
        following = server.next(points, seen)
        if following is None:
            break
        points.append(following)
    assert optimality_gap(points[-1], seen[-1], xi, 5.0) <= 1e-6
    assert len(points) < 40


def test_optimality_knows_the_bound():
    assert optimality_gap(np.array([0.0]), np.array([0.02]), 0.03, 5.0) == 0
    assert optimality_gap(np.array([0.0]), np.array([0.05]), 0.03, 5.0) == pytest.approx(0.02)
    assert optimality_gap(np.array([0.5]), np.array([0.03]), 0.03, 5.0) == 0
    assert optimality_gap(np.array([-0.5]), np.array([0.03]), 0.03, 5.0) == pytest.approx(0.06)
    assert optimality_gap(np.array([5.0]), np.array([0.4]), 0.03, 5.0) == 0


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 2.0))
def test_gradient_step_projects_on_the_ball(seed, bound):
    rng = np.random.default_rng(seed)
    moved = gradient_step(rng.normal(size=(2, 3)), rng.normal(size=(2, 3)), 0.01, bound, 0.5)
    assert np.abs(moved).sum() <= bound + 1e-9


def test_gradient_step_without_a_bound_is_the_papers():
    moved = gradient_step(np.array([[0.2, -0.2, 0.0]]), np.array([[0.1, 0.1, 0.005]]), 0.01, 9.0, 1.0)
    assert np.allclose(moved, [[0.29, -0.09 + 0.09, 0.0]])


def test_first_curvature_is_positive():
    events = events_of("eo", 3)
    counts = np.array([[30.0, 10.0, 20.0], [5.0, 25.0, 10.0]])
    H = first_curvature(contrasts(counts, events), counts, events)
    assert np.all(np.linalg.eigvalsh(H) > 0)
