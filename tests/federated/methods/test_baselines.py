from __future__ import annotations

import numpy as np
import pytest
from driver import decided, federate, learnable, problem_of, whole

from rectitude.federated.contracts import Rows
from rectitude.federated.methods.fairfed import FairFed, FairFedConfig, reweighing
from rectitude.federated.methods.fedfb import FedFB, FedFBConfig, behind_by
from rectitude.federated.methods.qffl import QFFL, QFFLConfig
from rectitude.federated.metrics import count_cells, global_gap
from rectitude.federated.training import FedAvg, TrainingConfig

QUICK = {"rounds": 12, "local_steps": 10, "batch_size": 128, "learning_rate": 0.02}


def run(kind, config, clients, n_classes=2, n_groups=2):
    data = [whole(k, rows) for k, rows in enumerate(clients)]
    outcome = federate(kind(config, problem_of(n_classes, n_groups, len(clients), n_features=4)), data)
    return outcome, decided(outcome, data)


def same(one, other):
    return all(np.allclose(one[name], other[name], atol=1e-5) for name in one)


def clients(seed=0, sizes=(500, 300)):
    rng = np.random.default_rng(seed)
    return [learnable(rng, n) for n in sizes]


def test_fairfed_without_its_parts_is_fedavg():
    config = FairFedConfig(**QUICK, budget=0.0, debiasing="none")
    assert same(run(FairFed, config, clients())[0].shared, run(FedAvg, TrainingConfig(**QUICK), clients())[0].shared)


def test_fairfed_trusts_the_client_that_is_like_all():
    rng = np.random.default_rng(1)
    usual = [learnable(rng, 600) for _ in range(3)]
    odd = learnable(rng, 600, bias=-1.5)
    data = [whole(k, rows) for k, rows in enumerate([*usual, odd])]
    method = FairFed(FairFedConfig(**QUICK, budget=0.3), problem_of(2, 2, 4, n_features=4))
    server, halves = method.server(), [method.client(each) for each in data]
    states = [{} for _ in data]
    from rectitude.federated.contracts import Combined

    while (exchange := server.ask()) is not None:
        replies = []
        for k, half in enumerate(halves):
            reply, states[k] = half.reply(exchange.kind, exchange.message, states[k])
            replies.append(reply)
        fields = {name: sum(np.asarray(r[name], float) for r in replies) for name in replies[0]}
        server.take(exchange, Combined(fields, (0, 1, 2, 3)))
    weights = [float(state["weight"]) for state in states]
    assert weights[3] < min(weights[:3])


def test_fairfed_lowers_the_gap():
    _, before = run(FedAvg, TrainingConfig(**QUICK), clients(2, (900, 900)))
    _, after = run(FairFed, FairFedConfig(**QUICK), clients(2, (900, 900)))
    assert global_gap(after, "dp") < global_gap(before, "dp")


def test_a_client_with_one_group_is_compared_by_accuracy():
    one = clients(3)[0]
    alone = Rows(one.X, one.y, np.zeros(len(one), np.int64))
    outcome, _ = run(FairFed, FairFedConfig(**QUICK), [one, alone])
    assert all(np.isfinite(array).all() for array in outcome.shared.values())


def test_reweighing_makes_class_and_group_independent():
    rows = clients(4, (2000,))[0]
    weights = reweighing(rows.a, rows.y, 2, 2)
    rates = [np.average(rows.y[rows.a == g], weights=weights[rows.a == g]) for g in range(2)]
    assert rates[0] == pytest.approx(rates[1])
    assert weights.sum() == pytest.approx(2000)


def test_fedfb_at_rate_zero_is_fedavg():
    config = FedFBConfig(**QUICK, rate=0.0)
    assert same(run(FedFB, config, clients())[0].shared, run(FedAvg, TrainingConfig(**QUICK), clients())[0].shared)


@pytest.mark.parametrize("criterion", ["dp", "eop", "eo"])
def test_fedfb_closes_the_gap(criterion):
    settings = QUICK | {"rounds": 30}
    _, before = run(FedAvg, TrainingConfig(**settings), clients(5, (900, 900)))
    config = FedFBConfig(**settings, rate=0.15, criterion=criterion)
    outcome, after = run(FedFB, config, clients(5, (900, 900)))
    assert global_gap(after, criterion) < 0.6 * global_gap(before, criterion)
    assert np.asarray(outcome.notes["cell_weights"]).min() > 0


def test_fedfb_raises_the_cell_that_is_behind():
    y, chosen = np.array([1, 1, 0, 0, 1, 1, 0, 0]), np.array([1, 1, 1, 0, 0, 0, 0, 0])
    cells = count_cells(y, chosen, np.array([0] * 4 + [1] * 4), 2, 2)
    behind = behind_by(cells, "dp")
    assert behind[1, 1] > 0 > behind[0, 1]
    assert behind[1, 0] < 0 < behind[0, 0]
    assert behind_by(cells, "eop")[1, 0] == 0


def test_qffl_at_zero_is_the_plain_mean():
    data = clients(6, (400, 400))
    config = QUICK | {"rounds": 1}
    ours = run(QFFL, QFFLConfig(**config, q=0.0), data)[0].shared
    assert same(ours, run(FedAvg, TrainingConfig(**config), data)[0].shared)


def test_qffl_levels_losses_between_clients():
    rng = np.random.default_rng(7)
    many, few = learnable(rng, 900), learnable(rng, 900, bias=-2.0)
    spread = []
    for q in (0.0, 5.0):
        outcome, _ = run(QFFL, QFFLConfig(**(QUICK | {"rounds": 30}), q=q), [many, many, few])
        proba = [outcome.method.network.proba(outcome.shared, rows.X) for rows in (many, few)]
        losses = [-np.log(p[np.arange(900), rows.y]).mean() for p, rows in zip(proba, (many, few), strict=True)]
        spread.append(abs(losses[0] - losses[1]))
    assert spread[1] < spread[0]
