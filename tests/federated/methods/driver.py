"""A federation in a loop: every client answers every exchange, replies are added or stacked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from rectitude.federated.clients import federation_of
from rectitude.federated.contracts import Arrays, ClientData, ClientHalf, Combined, Method, Problem, Rows
from rectitude.federated.metrics import count_cells
from rectitude.federated.partition import PARTS
from rectitude.federated.registry import find


@dataclass
class Outcome:
    method: Method
    clients: list[ClientHalf]
    shared: Arrays
    personal: list[Arrays]
    kinds: list[str]
    notes: dict


def federate(method: Method, data: list[ClientData]) -> Outcome:
    """Run a method to its end."""
    wires = {wire.kind: wire for wire in method.wire}
    server, clients = method.server(), [method.client(each) for each in data]
    states: list[Arrays] = [{} for _ in data]
    kinds = []
    while (exchange := server.ask()) is not None:
        replies = []
        for k, client in enumerate(clients):
            reply, states[k] = client.reply(exchange.kind, exchange.message, states[k])
            replies.append(reply)
        each = {field.name for field in wires[exchange.kind].up if field.combine == "each"}
        known = {field.name.rstrip("*") for field in wires[exchange.kind].up}
        assert all(any(name == k or (name.startswith(k) and k.endswith("/")) for k in known) for name in replies[0])
        fields = {
            name: np.stack([r[name] for r in replies]) if name in each else sum(r[name].astype(float) for r in replies)
            for name in replies[0]
        }
        server.take(exchange, Combined(fields, tuple(range(len(data)))))
        saved = server.state()
        server = method.server()  # every exchange could be the last before a crash
        server.restore(saved)
        kinds.append(exchange.kind)
    shared = server.shared()
    personal = [client.personal(shared, state) for client, state in zip(clients, states, strict=True)]
    return Outcome(method, clients, shared, personal, kinds, server.notes())


def problem_of(n_classes: int, n_groups: int, n_clients: int, n_features: int = 1, seed: int = 0) -> Problem:
    return Problem(
        n_features,
        tuple(str(j) for j in range(n_classes)),
        tuple("abcdefgh"[:n_groups]),
        tuple(f"client {k}" for k in range(n_clients)),
        seed,
    )


def whole(index: int, rows: Rows) -> ClientData:
    """A client that uses the same rows for everything."""
    return ClientData(index, f"client {index}", rows, rows, rows, rows)


def scored(rng: np.random.Generator, n: int, n_classes: int, n_groups: int, *, skew: float = 1.0) -> Rows:
    """Rows with class probabilities that depend on the group, and labels drawn from them."""
    share = rng.dirichlet(np.full(n_groups, 5.0))
    a = rng.choice(n_groups, n, p=share)
    a[:n_groups] = np.arange(n_groups)
    tilt = skew * rng.normal(size=(n_groups, n_classes))
    logits = 1.5 * rng.normal(size=(n, n_classes)) + tilt[a]
    eta = np.exp(logits)
    eta /= eta.sum(1, keepdims=True)
    y = (rng.random((n, 1)) > eta.cumsum(1)).sum(1)
    return Rows(np.zeros((n, 1), np.float32), y.astype(np.int64), a.astype(np.int64), eta)


def learnable(rng: np.random.Generator, n: int, n_groups: int = 2, n_classes: int = 2, *, bias: float = 1.0) -> Rows:
    """Rows whose label depends on features, one of them a proxy of the group."""
    a = rng.integers(0, n_groups, n)
    X = rng.normal(size=(n, 4)).astype(np.float32)
    X[:, 0] += bias * a
    logits = np.zeros((n, n_classes))
    logits[:, 1] = 1.5 * X[:, 0] + X[:, 1] - 0.75 * bias
    if n_classes > 2:
        logits[:, 2] = 1.2 * X[:, 2] - X[:, 0]
    y = (logits + rng.gumbel(size=logits.shape)).argmax(1)
    return Rows(X, y.astype(np.int64), a.astype(np.int64))


def decided(outcome: Outcome, data: list[ClientData], part: str = "test") -> np.ndarray:
    """Rows of each client by group, true and decided class, [N, G, m, m]."""
    problem, found = outcome.method.problem, []
    for each, personal in zip(data, outcome.personal, strict=True):
        rows = getattr(each, part)
        chosen = outcome.method.decide(
            {"X": rows.X, "a": rows.a, "eta": rows.eta}, outcome.shared, personal, np.random.default_rng(0)
        )
        found.append(count_cells(rows.y, chosen, rows.a, problem.n_groups, problem.n_classes))
    return np.stack(found)


@cache
def adult(alpha: float = 100.0, seed: int = 0) -> tuple[Problem, list[ClientData]]:
    """Adult at five clients, with the probabilities of a model averaged over ten rounds."""
    federation = federation_of("adult", n_clients=5, partition=f"dirichlet:{alpha:g}", seed=seed)
    method = find("fedavg")(find("fedavg").Config(rounds=10), federation.problem)
    weights = federate(method, list(federation.clients)).shared
    scored_parts = [
        {
            part: replace(getattr(c, part), eta=method.probabilities({"X": getattr(c, part).X}, weights, {}))
            for part in PARTS
        }
        for c in federation.clients
    ]
    return federation.problem, [replace(c, **parts) for c, parts in zip(federation.clients, scored_parts, strict=True)]
