from __future__ import annotations

import numpy as np
import pytest
from driver import decided, federate, learnable, problem_of, whole

from rectitude.federated.contracts import Rows
from rectitude.federated.methods.constraints import events_of
from rectitude.federated.methods.fedfact_in import FedFACTIn, FedFACTInConfig, cost_gradient, cost_matrices
from rectitude.federated.metrics import accuracy, global_gap, local_gaps
from rectitude.federated.network import softmax

QUICK = {"rounds": 25, "local_steps": 15, "batch_size": 128, "learning_rate": 0.02}


def run(clients, *, n_classes=2, n_groups=2, seed=0, **settings):
    data = [whole(k, rows) for k, rows in enumerate(clients)]
    config = FedFACTInConfig(**(QUICK | settings))
    method = FedFACTIn(config, problem_of(n_classes, n_groups, len(clients), n_features=4, seed=seed))
    outcome = federate(method, data)
    return outcome, decided(outcome, data)


def test_costs_without_duals_are_cross_entropy():
    costs = cost_matrices(np.zeros((2, 3)), events_of("dp", 3), 3)
    assert np.all(costs > 0)
    assert np.allclose(costs, np.eye(3), atol=2e-3)


def test_the_losss_minimiser_ranks_as_the_fair_decision():
    events, rng = events_of("eo", 3), np.random.default_rng(0)
    shift = 0.3 * rng.normal(size=(2, len(events)))
    eta = np.array([0.5, 0.3, 0.2])
    for g in range(2):
        costs = cost_matrices(shift, events, 3)[g]
        target = eta @ costs  # the expected cost row; its softmax minimises the expected loss
        M = np.eye(3)
        for e in range(len(events)):
            M[events.given[e], events.predicted[e]] -= shift[g, e]
        assert np.array_equal(np.argsort(target), np.argsort(eta @ M))
        logits = np.log(target / target.sum())
        gradient = sum(eta[y] * cost_gradient(costs[y][None])(logits[None], np.array([0])) for y in range(3))
        assert np.allclose(gradient, 0, atol=1e-12)


def test_gradient_is_the_derivative():
    rng = np.random.default_rng(1)
    costs, logits, at = rng.random((6, 3)), rng.normal(size=(4, 3)), np.array([0, 2, 3, 5])
    found = cost_gradient(costs)(logits, at)

    def loss(logits):
        return -(costs[at] * np.log(softmax(logits))).sum(1).mean()

    for i in range(4):
        for j in range(3):
            step = np.zeros((4, 3))
            step[i, j] = 1e-6
            assert found[i, j] == pytest.approx((loss(logits + step) - loss(logits - step)) / 2e-6, abs=1e-6)


def test_gaps_fall_to_the_tolerance():
    rng = np.random.default_rng(2)
    clients = [learnable(rng, 700) for _ in range(3)]
    _, free = run(clients, global_tolerance=None, local_tolerance=None)
    outcome, fair = run(clients, global_tolerance=0.01, local_tolerance=0.02)
    assert global_gap(free, "dp") > 0.2
    assert global_gap(fair, "dp") < 0.07
    assert accuracy(fair) > 0.55
    assert "client" not in str(outcome.shared.keys())


def test_the_local_side_pushes_the_right_way():
    rng = np.random.default_rng(3)
    one, other = learnable(rng, 900, bias=1.0), learnable(rng, 900, bias=-1.0)
    _, free = run([one, other], global_tolerance=None, local_tolerance=None)
    _, fair = run([one, other], global_tolerance=None, local_tolerance=0.02)
    assert local_gaps(free, "dp").min() > 0.2  # in opposite directions, so that the global gap says little
    assert local_gaps(fair, "dp").max() < 0.5 * local_gaps(free, "dp").min()


def test_several_classes_and_groups():
    rng = np.random.default_rng(4)
    clients = [learnable(rng, 900, 3, 3, bias=0.7) for _ in range(2)]
    _, free = run(clients, n_classes=3, n_groups=3, global_tolerance=None, local_tolerance=None)
    _, fair = run(clients, n_classes=3, n_groups=3, local_tolerance=None, rounds=40)
    assert global_gap(fair, "dp") < 0.6 * global_gap(free, "dp")


def test_a_group_absent_at_a_client():
    rng = np.random.default_rng(5)
    rows = learnable(rng, 300)
    alone = Rows(rows.X, rows.y, np.zeros(300, np.int64))
    outcome, cells = run([learnable(rng, 300), alone], rounds=5)
    assert np.isfinite(cells.sum())
    assert all(np.isfinite(array).all() for part in outcome.personal for array in part.values())


def test_without_personal_models_everybody_has_one():
    rng = np.random.default_rng(6)
    outcome, _ = run([learnable(rng, 200) for _ in range(2)], personal=False, rounds=3)
    assert outcome.personal == [{}, {}]


def test_mixture_moves_to_the_better_model():
    rng = np.random.default_rng(7)
    method = FedFACTIn(FedFACTInConfig(), problem_of(2, 2, 1, n_features=4))
    client = method.client(whole(0, learnable(rng, 50)))
    assert client._mixture(0.5, shared_loss=1.0, own_loss=0.5) < 0.5
    assert client._mixture(0.5, shared_loss=0.5, own_loss=1.0) > 0.5
    assert client._mixture(0.5, shared_loss=1.0, own_loss=1.0) == pytest.approx(0.5)


def test_decides_without_the_attribute():
    rng = np.random.default_rng(8)
    rows = learnable(rng, 200)
    outcome, _ = run([rows, rows], rounds=2)
    assert not FedFACTIn.uses_attribute
    new = {"X": rows.X, "a": None, "eta": None}
    for personal in (outcome.personal[0], {}):
        assert outcome.method.decide(new, outcome.shared, personal, np.random.default_rng(0)).shape == (200,)
