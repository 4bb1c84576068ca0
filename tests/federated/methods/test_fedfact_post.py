from __future__ import annotations

import numpy as np
import pytest
from driver import federate, problem_of, scored, whole
from scipy.optimize import linprog
from scipy.sparse import csr_matrix, eye, kron

from rectitude.federated.contracts import Criterion
from rectitude.federated.methods.constraints import contrasts, event_weights, events_of, shifted_scores
from rectitude.federated.methods.fedfact_post import FedFACTPost, FedFACTPostConfig

EXACT = {"calibration": "none", "resolution": None, "temperature": 0.002, "precision": 5e-5, "rounds": 60}


def rows_of_constraints(clients, criterion, form, tolerance_g, tolerance_l, n_classes, n_groups):
    """Rows of A in |A h| ≤ b over the decisions h [n, m] of all clients, flattened."""
    events = events_of(criterion, n_classes)
    eta, a = np.concatenate([c.eta for c in clients]), np.concatenate([c.a for c in clients])
    owner = np.repeat(np.arange(len(clients)), [len(c) for c in clients])
    phi = event_weights(eta, events)
    A, b = [], []
    for inside, tolerance in [(owner >= 0, tolerance_g), *[(owner == k, tolerance_l) for k in range(len(clients))]]:
        if tolerance is None:
            continue
        counts = np.stack([eta[inside & (a == g)].sum(0) for g in range(n_groups)])
        W = contrasts(counts, events, form)
        for c in range(len(W)):
            for e in range(len(events)):
                row = np.zeros(eta.shape)
                row[inside, events.predicted[e]] = (W[c, a, e] * phi[:, e])[inside] / inside.sum()
                A.append(row.ravel())
                b.append(tolerance)
    return np.array(A), np.array(b)


def best_accuracy(clients, A, b):
    """Optimum of the linear programme over randomised decisions."""
    eta = np.concatenate([c.eta for c in clients])
    n, m = eta.shape
    A = csr_matrix(A)
    from scipy.sparse import vstack

    solved = linprog(
        -eta.ravel() / n,
        A_ub=vstack([A, -A]),
        b_ub=np.concatenate([b, b]),
        A_eq=kron(eye(n), np.ones((1, m))).tocsr(),
        b_eq=np.ones(n),
        bounds=(0, 1),
        method="highs",
    )
    assert solved.status == 0
    return -solved.fun


def soft_decision(outcome, clients):
    """The smoothed decision of all clients, [n, m]."""
    events, beta = outcome.method.events, outcome.method.config.temperature
    parts = []
    for rows, personal in zip(clients, outcome.personal, strict=True):
        s = shifted_scores(rows.eta, rows.a, outcome.shared["shift"] + personal["shift"], events) / beta
        q = np.exp(s - s.max(1, keepdims=True))
        parts.append(q / q.sum(1, keepdims=True))
    return np.concatenate(parts)


@pytest.mark.parametrize("sides", ["global", "local", "both"])
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("criterion", ["dp", "eop", "eo", "eo_full"])
@pytest.mark.parametrize("form", ["pairwise", "subgroup"])
def test_reaches_the_linear_programmes_optimum(criterion: Criterion, n_classes, sides, form):
    rng = np.random.default_rng(n_classes)
    n_groups = 3 if n_classes == 3 and form == "subgroup" else 2
    clients = [scored(rng, n, n_classes, n_groups) for n in (700, 400, 300)]
    tolerance_g, tolerance_l = (0.01 if sides != "local" else None), (0.03 if sides != "global" else None)
    config = FedFACTPostConfig(
        criterion=criterion, global_tolerance=tolerance_g, local_tolerance=tolerance_l, form=form, **EXACT
    )
    method = FedFACTPost(config, problem_of(n_classes, n_groups, 3))
    outcome = federate(method, [whole(k, rows) for k, rows in enumerate(clients)])
    A, b = rows_of_constraints(clients, criterion, form, tolerance_g, tolerance_l, n_classes, n_groups)
    optimum = best_accuracy(clients, A, b)
    h = soft_decision(outcome, clients)
    accuracy = float((np.concatenate([c.eta for c in clients]) * h).sum(1).mean())
    violation = float((np.abs(A @ h.ravel()) - b).max())
    assert violation <= 1e-3
    assert accuracy >= optimum - 1e-3
