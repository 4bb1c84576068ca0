"""A federation in a loop: every client answers every exchange, replies are added or stacked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rectitude.federated.contracts import Arrays, ClientData, ClientHalf, Combined, Method, Problem, Rows


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
