from __future__ import annotations

import numpy as np
import pytest
from driver import adult, decided, federate, problem_of, scored, whole
from scipy.optimize import linprog
from scipy.sparse import csr_matrix, eye, kron

from rectitude.core.errors import ConfigError
from rectitude.federated.contracts import Combined, Criterion, InfeasibleError, Rows
from rectitude.federated.methods.constraints import contrasts, event_weights, events_of, shifted_scores
from rectitude.federated.methods.fedfact_post import FedFACTPost, FedFACTPostConfig
from rectitude.federated.metrics import accuracy, count_cells, global_gap
from rectitude.federated.registry import find

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
def test_reaches_the_linear_programmes_optimum(criterion: Criterion, n_classes, sides):
    rng = np.random.default_rng(n_classes)
    form, n_groups = ("subgroup", 3) if (criterion, n_classes) == ("dp", 3) else ("pairwise", 2)
    clients = [scored(rng, n, n_classes, n_groups) for n in (500, 300, 200)]
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


def made(clients, *, n_classes=2, n_groups=2, **settings):
    method = FedFACTPost(FedFACTPostConfig(**settings), problem_of(n_classes, n_groups, len(clients)))
    return method, [whole(k, rows) for k, rows in enumerate(clients)]


def test_converges_in_some_ten_rounds_of_few_bytes():
    rng = np.random.default_rng(0)
    method, data = made([scored(rng, 800, 2, 2) for _ in range(4)])
    outcome = federate(method, data)
    assert outcome.kinds[0] == "stats"
    assert len(outcome.kinds) < 20
    reply, _ = outcome.clients[0].reply(
        "dual", {**outcome.shared, "accuracy": np.ones(()), "precision": np.asarray(1e-4)}, {}
    )
    assert sum(array.size for array in reply.values()) <= 2 * method.problem.n_groups * len(method.events)


def test_looser_tolerances_are_more_accurate():
    rng = np.random.default_rng(1)
    clients = [scored(rng, 900, 2, 2, skew=2.0) for _ in range(3)]
    found = []
    for tolerance in (0.0, 0.05, 0.2, None):
        method, data = made(clients, global_tolerance=tolerance, local_tolerance=tolerance, calibration="none")
        outcome = federate(method, data)
        h = soft_decision(outcome, clients)
        found.append(float((np.concatenate([c.eta for c in clients]) * h).sum(1).mean()))
    assert found == sorted(found)
    assert found[-1] - found[0] > 0.01


@pytest.mark.parametrize("server", ["quasi-newton", "gradient"])
def test_both_servers_come_to_the_same_decision(server):
    rng = np.random.default_rng(2)
    clients = [scored(rng, 900, 2, 2) for _ in range(3)]
    method, data = made(clients, global_tolerance=0.02, local_tolerance=0.05, server=server, rounds=300)
    shift = federate(method, data).shared["shift"]
    reference, _ = made(clients, global_tolerance=0.02, local_tolerance=0.05, rounds=60)
    assert np.allclose(shift, federate(reference, data).shared["shift"], atol=0.02)


def test_a_group_absent_at_a_client():
    rng = np.random.default_rng(3)
    clients = [scored(rng, 600, 2, 3) for _ in range(2)]
    alone = scored(rng, 400, 2, 3)
    alone = Rows(alone.X, alone.y, np.full(400, 2), alone.eta)
    method, data = made([*clients, alone], n_groups=3, global_tolerance=0.02, local_tolerance=0.05)
    outcome = federate(method, data)
    assert np.all(outcome.personal[2]["shift"] == 0)  # nobody to compare with
    assert all(np.isfinite(array).all() for part in outcome.personal for array in part.values())
    h = soft_decision(outcome, [*clients, alone])
    assert np.isfinite(h).all()


def test_a_group_absent_everywhere():
    rng = np.random.default_rng(3)
    method, data = made([scored(rng, 300, 2, 2) for _ in range(2)], n_groups=3)
    assert np.isfinite(federate(method, data).shared["shift"]).all()


def test_a_client_that_falls_out_changes_the_counts():
    rng = np.random.default_rng(4)
    method, data = made([scored(rng, 300, 2, 2) for _ in range(3)])
    server, clients = method.server(), [method.client(each) for each in data]
    kinds = []
    for number in range(6):
        exchange = server.ask()
        if exchange is None:
            break
        kinds.append(exchange.kind)
        there = range(3) if number < 2 else range(2)
        replies = [clients[k].reply(exchange.kind, exchange.message, {})[0] for k in there]
        fields = {name: sum(reply[name].astype(float) for reply in replies) for name in replies[0]}
        server.take(exchange, Combined(fields, tuple(there)))
    assert kinds[:5] == ["stats", "dual", "dual", "stats", "dual"]
    assert server.shared()["totals"].sum() == pytest.approx(600)


def unkeepable(n=600):
    """Constant scores that are further above the labels' shares in group 0 than in group 1, for every class."""
    a = np.arange(n) % 2
    y = np.empty(n, np.int64)
    for group, share in ((0, [1 / 3, 1 / 3, 1 / 3]), (1, [0.4, 0.5, 0.1])):
        rows = np.flatnonzero(a == group)
        y[rows] = np.repeat(np.arange(3), np.rint(np.array(share) * len(rows)).astype(int))
    eta = np.where(a[:, None] == 0, [0.667, 0.266, 0.067], [0.64, 0.35, 0.01])
    return Rows(np.zeros((n, 1), np.float32), y, a, eta)


def test_infeasible_global_tolerance_says_the_tightest():
    settings = {"criterion": "eop", "masses": "labels", "calibration": "none", "local_tolerance": None, "rounds": 60}
    method, data = made([unkeepable()], n_classes=3, global_tolerance=0.0, form="pairwise", **settings)
    with pytest.raises(InfeasibleError, match=r"The tightest that was reached is \d\.\d+") as error:
        federate(method, data)
    tightest = float(error.value.fix.split("reached is ")[1].split(";")[0])
    rows = unkeepable()
    counts = np.stack([np.bincount(rows.y[rows.a == g], minlength=3) for g in range(2)]).astype(float)
    events = method.events
    W, phi = contrasts(counts, events, "pairwise"), event_weights(rows.eta, events)
    A = np.zeros((3, 600, 3))
    for e in range(3):
        A[e, :, e] = W[0, rows.a, e] * phi[:, e] / 600
    A = A.reshape(3, -1)
    column = -np.ones((6, 1))
    oracle = linprog(
        np.append(np.zeros(1800), 1.0),
        A_ub=np.hstack([np.vstack([A, -A]), column]),
        b_ub=np.zeros(6),
        A_eq=np.hstack([np.kron(np.eye(600), np.ones((1, 3))), np.zeros((600, 1))]),
        b_eq=np.ones(600),
        bounds=(0, 1),
    )
    assert oracle.fun - 1e-6 <= tightest <= oracle.fun + 0.02
    method, data = made([unkeepable()], n_classes=3, global_tolerance=tightest + 0.05, form="pairwise", **settings)
    federate(method, data)


def test_infeasible_local_tolerance_names_the_client():
    settings = {"criterion": "eop", "masses": "labels", "calibration": "none", "global_tolerance": None}
    clients = [scored(np.random.default_rng(0), 600, 3, 2, skew=0.0), unkeepable()]
    local = {"client 1": 0.0}
    method, data = made(clients, n_classes=3, local_tolerance=local, form="pairwise", **settings)
    with pytest.raises(InfeasibleError, match=r"1 of 2 clients.*client 1: \d\.\d+"):
        federate(method, data)


def test_refusals_say_what_to_do():
    problem = problem_of(2, 2, 2)
    with pytest.raises(ConfigError, match="zero or more"):
        FedFACTPost(FedFACTPostConfig(local_tolerance=-0.1), problem)
    with pytest.raises(ConfigError, match="client 1"):
        FedFACTPost(FedFACTPostConfig(local_tolerance={"client1": 0.1}), problem)
    with pytest.raises(ConfigError, match="one group"):
        FedFACTPost(FedFACTPostConfig(), problem_of(2, 1, 2))
    rows = scored(np.random.default_rng(0), 50, 2, 2)
    method = FedFACTPost(FedFACTPostConfig(), problem)
    with pytest.raises(ConfigError, match="class probabilities"):
        method.client(whole(0, Rows(rows.X, rows.y, rows.a)))
    shared = {"shift": np.zeros((2, 1))}
    with pytest.raises(ConfigError, match="fedfact-in"):
        method.decide({"X": rows.X, "a": None, "eta": rows.eta}, shared, {}, np.random.default_rng(0))


def test_tolerance_by_client():
    rng = np.random.default_rng(6)
    clients = [scored(rng, 800, 2, 2, skew=2.0) for _ in range(2)]
    local = {"client 0": 0.0}
    method, data = made(clients, global_tolerance=None, local_tolerance=local, calibration="none", form="pairwise")
    outcome = federate(method, data)
    assert np.all(outcome.personal[1]["shift"] == 0)
    h = soft_decision(outcome, clients)[:800, 1]
    assert h[clients[0].a == 0].mean() == pytest.approx(h[clients[0].a == 1].mean(), abs=1e-3)


def test_randomised_decisions_keep_tolerances_on_few_values():
    rng = np.random.default_rng(7)
    n = 6000
    a = rng.integers(0, 2, n)
    eta = np.where(rng.random(n) < np.where(a == 0, 0.7, 0.3), 0.8, 0.3)  # two values only
    rows = Rows(np.zeros((n, 1), np.float32), (rng.random(n) < eta).astype(np.int64), a, np.stack([1 - eta, eta], 1))
    gaps = {}
    for decisions in ("deterministic", "randomised"):
        method, data = made(
            [rows], decisions=decisions, global_tolerance=0.02, local_tolerance=None, form="pairwise", rounds=80
        )
        outcome = federate(method, data)
        rng_of = np.random.default_rng(0)
        chosen = method.decide({"X": rows.X, "a": a, "eta": rows.eta}, outcome.shared, outcome.personal[0], rng_of)
        gaps[decisions] = abs(chosen[a == 0].mean() - chosen[a == 1].mean())
    assert gaps["randomised"] < 0.06
    assert gaps["deterministic"] > 0.25


def test_a_client_that_took_no_part_gets_the_global_shift():
    rng = np.random.default_rng(8)
    clients = [scored(rng, 500, 3, 2) for _ in range(2)]
    method, data = made(clients, n_classes=3, local_tolerance=None, calibration="none")
    outcome = federate(method, data)
    rows = {"X": clients[0].X, "a": clients[0].a, "eta": clients[0].eta}
    mine, theirs = (
        method.decide(rows, outcome.shared, personal, np.random.default_rng(0))
        for personal in (outcome.personal[0], {})
    )
    assert np.array_equal(mine, theirs)


def test_adult_at_one_percent(real_data, monkeypatch):
    monkeypatch.setenv("RECTITUDE_DATA", str(real_data("adult").parent))
    problem, data = adult()
    accuracies, gaps = {}, {}
    settings = {"global_tolerance": 0.01, "local_tolerance": 0.01}
    for name in ("fedfact-post", "logofair"):
        method = find(name)(find(name).Config(**settings), problem)
        cells = decided(federate(method, data), data)
        accuracies[name], gaps[name] = accuracy(cells), global_gap(cells, "dp")
    base = np.stack([count_cells(d.test.y, d.test.eta.argmax(1), d.test.a, 2, 2) for d in data])
    assert global_gap(base, "dp") > 0.15
    assert gaps["fedfact-post"] <= 0.02
    assert gaps["logofair"] <= 0.02
    assert min(accuracies.values()) > accuracy(base) - 0.022


def test_crossed_attributes_with_rare_groups_stay_quick():
    rng = np.random.default_rng(9)
    share = np.array([0.5, 0.3, 0.1, 0.05, 0.02, 0.01, 0.01, 0.01])
    clients = []
    for _ in range(3):
        rows = scored(rng, 1500, 2, 8)
        clients.append(Rows(rows.X, rows.y, rng.choice(8, 1500, p=share), rows.eta))
    method, data = made(clients, n_groups=8, criterion="eo", global_tolerance=0.05, local_tolerance=None)
    outcome = federate(method, data)
    assert outcome.notes["converged"]
    assert outcome.notes["calibration_disparity"] <= 0.05 + 5e-3
