"""Gradients against differences, FedAvg against its definition and against scikit-learn on the pooled rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from rectitude.federated.clients import Federation
from rectitude.federated.contracts import Combined, Problem, Rows
from rectitude.federated.metrics import accuracy
from rectitude.federated.network import Network, cross_entropy, likelihood_gradient, softmax, train_locally
from rectitude.federated.plan import Plan, Stage
from rectitude.federated.registry import find
from rectitude.federated.run import in_process, new_run_id
from rectitude.federated.training import FedAvg, FedProx, FedProxConfig, TrainingConfig


def run(federation: Federation, method: str, **settings: Any) -> Any:
    plan = Plan(new_run_id(), federation.problem, (Stage(method, settings),), min_clients=4)
    return in_process(plan, federation.clients).progress


@pytest.mark.parametrize("hidden", [(), (5,), (6, 4)])
def test_gradients_are_those_of_differences(hidden: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    network, X, y = Network(4, 3, hidden), rng.normal(size=(7, 4)).astype(np.float32), rng.integers(0, 3, 7)
    weights = {name: rng.normal(0, 0.5, array.shape) for name, array in network.initial(rng).items()}

    def loss(at: dict[str, Any]) -> float:
        return float(cross_entropy(network.logits(at, X.astype(np.float64)), y).mean())  # type: ignore[arg-type]

    values = network.forward(weights, X)
    found = network.backward(weights, values, likelihood_gradient(y)(values[-1], np.arange(7)))
    for name, array in weights.items():
        for place in np.ndindex(array.shape):
            moved = {key: np.array(value) for key, value in weights.items()}
            moved[name][place] += 1e-5
            up = loss(moved)
            moved[name][place] -= 2e-5
            assert found[name][place] == pytest.approx((up - loss(moved)) / 2e-5, abs=2e-4)


def test_softmax_and_entropy_do_not_overflow() -> None:
    logits = np.asarray([[1e4, -1e4], [0.0, 0.0]])
    np.testing.assert_allclose(softmax(logits), [[1, 0], [0.5, 0.5]])
    np.testing.assert_allclose(cross_entropy(logits, np.asarray([1, 0])), [2e4, np.log(2)])


def test_local_training_continues_where_it_stopped_only_with_its_moments() -> None:
    """Adam's moments and step count are all of its state."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(32, 3)).astype(np.float32), rng.integers(0, 2, 32)
    network = Network(3, 2)
    first = network.initial(rng)
    step = {"steps": 1, "batch_size": 32, "learning_rate": 0.1}

    def once(weights: Any, moments: Any) -> Any:
        return train_locally(
            network,
            weights,
            X,
            likelihood_gradient(y),
            rng=np.random.default_rng(1),
            moments=moments,
            **step,  # type: ignore[arg-type]
        )

    two, _ = once(*once(first, None))
    whole, _ = train_locally(
        network,
        first,
        X,
        likelihood_gradient(y),
        rng=np.random.default_rng(1),
        **{**step, "steps": 2},  # type: ignore[arg-type]
    )
    np.testing.assert_allclose(two["theta/0/weight"], whole["theta/0/weight"], atol=1e-6)
    assert first["theta/0/weight"].max() == 0  # what was given is left alone


def test_the_server_takes_the_mean_weighted_by_rows() -> None:
    problem = Problem(2, ("0", "1"), ("a", "b"), ("one", "two"), 0)
    server = FedAvg(TrainingConfig(rounds=1), problem).server()
    exchange = server.ask()
    assert exchange is not None
    theta = np.ones((2, 2))
    sums = {"theta/0/weight": 30 * theta * 2 + 10 * theta * 6, "theta/0/bias": 40 * np.ones(2)}
    server.take(exchange, Combined({**sums, "n": np.asarray(40.0), "loss": np.asarray(20.0)}, (0, 1)))
    np.testing.assert_allclose(server.shared()["theta/0/weight"], theta * 3)
    assert server.notes() == {"training_loss": [0.5]}
    assert server.ask() is None


def test_fedavg_is_as_good_as_logistic_regression_on_all_rows(federation: Federation) -> None:
    progress = run(federation, "fedavg", rounds=15)

    def pooled(name: str, part: str = "train") -> Any:
        parts = [part] if part == "test" else ["train", "calibration"]
        return np.concatenate([getattr(getattr(c, p), name) for c in federation.clients for p in parts])

    oracle = LogisticRegression().fit(pooled("X"), pooled("y"))
    assert accuracy(progress.evaluation(0, "test").cells) == pytest.approx(
        oracle.score(pooled("X", "test"), pooled("y", "test")), abs=0.015
    )
    losses = progress.notes["0"]["training_loss"]
    assert losses[0] == pytest.approx(np.log(2), rel=1e-6)
    assert losses[-1] < losses[0]


def test_fedprox_without_its_term_is_fedavg_and_with_a_strong_one_stays_near(federation: Federation) -> None:
    plain = run(federation, "fedavg", rounds=3).shared(0)["theta/0/weight"]
    none = run(federation, "fedprox", rounds=3, proximal=0.0).shared(0)["theta/0/weight"]
    strong = run(federation, "fedprox", rounds=3, proximal=100.0).shared(0)["theta/0/weight"]
    np.testing.assert_array_equal(plain, none)
    assert np.abs(strong).max() < 0.7 * np.abs(plain).max()


def test_the_proximal_gradient_points_back_to_the_global_model(federation: Federation) -> None:
    method = FedProx(FedProxConfig(proximal=0.5), federation.problem)
    half: Any = method.client(federation.clients[0])
    pull = half.pull({"theta/0/bias": np.asarray([1.0, 1.0])})
    np.testing.assert_allclose(pull({"theta/0/bias": np.asarray([3.0, 0.0])})["theta/0/bias"], [1.0, -0.5])


def test_a_perceptron_learns_what_a_line_cannot() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(800, 2)).astype(np.float32)
    y = (X[:, 0] * X[:, 1] > 0).astype(np.int64)
    scores = {}
    for hidden in ((), (16,)):
        network = Network(2, 2, hidden)
        weights, _ = train_locally(
            network,
            network.initial(rng),
            X,
            likelihood_gradient(y),
            steps=400,
            batch_size=64,
            learning_rate=0.02,
            rng=rng,
        )
        scores[hidden] = (network.logits(weights, X).argmax(1) == y).mean()
    assert scores[()] < 0.65
    assert scores[(16,)] > 0.9


def test_the_same_seed_gives_the_same_bits(federation: Federation) -> None:
    one, two = (run(federation, "fedavg", rounds=2, hidden=[8]).shared(0) for _ in range(2))
    for name, array in one.items():
        np.testing.assert_array_equal(array, two[name])


@pytest.mark.parametrize("method", ["fedavg", "fedprox"])
def test_a_client_of_one_row_trains(method: str, federation: Federation) -> None:
    from dataclasses import replace

    data = federation.clients[0]
    one = Rows(data.train.X[:1], data.train.y[:1], data.train.a[:1])
    kind = find(method)
    made = kind(kind.Config(), federation.problem)
    exchange = made.server().ask()
    assert exchange is not None
    reply, _ = made.client(replace(data, train=one)).reply(exchange.kind, exchange.message, {})
    assert reply["n"] == 1
    assert all(np.isfinite(array).all() for array in reply.values())
