"""FairFed: averaging that trusts clients more the nearer their own gap is to the gap of all.

Source: Ezzeldin, Yan, He, Ferrara and Avestimehr, "FairFed: Enabling Group Fairness in Federated Learning", AAAI 2023,
arXiv 2110.00857, algorithm 1 and equation 6. Departures: clients move their weights themselves and the mean mismatch is
told them with the next round, so that no client's gap is sent; with several classes or groups the mismatch is the
largest over events and pairs of groups.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field as Setting

from rectitude.federated.contracts import (
    Arrays,
    ClientData,
    ClientHalf,
    Combined,
    Criterion,
    Exchange,
    Field,
    Floats,
    Integers,
    MethodConfig,
    ServerHalf,
    Wire,
)
from rectitude.federated.methods.fedfact_in import cost_gradient
from rectitude.federated.metrics import accuracy, count_cells, event_rates
from rectitude.federated.network import Network, cross_entropy
from rectitude.federated.training import (
    LOSS_UP,
    TRAIN,
    WEIGHTS_DOWN,
    AveragingClient,
    AveragingServer,
    FedAvg,
    TrainingConfig,
    weighted,
)

MEASURE, COMPARE = "measure", "compare"
CELLS_UP = Field(
    "cells",
    "groups × classes × classes",
    "training rows by group, true and predicted class of the received model",
    secure=True,
    sensitivity=1.0,
)


class FairFedConfig(TrainingConfig):
    """Settings of FairFed."""

    criterion: Criterion = "dp"
    """Whose gap is compared."""
    budget: float = Setting(1.0, ge=0)
    """β, how strongly weights follow the mismatch; 0 is FedAvg; usual range 0.1 to 5."""
    debiasing: Literal["reweighing", "none"] = "reweighing"
    """What clients do against their own bias: weigh rows by P(group) P(class) / P(group, class), or nothing."""


class FairFed(FedAvg):
    """FedAvg with fairness-aware weights of the clients."""

    name: ClassVar[str] = "fairfed"
    title: ClassVar[str] = "FairFed"
    paper: ClassVar[str] = (
        "Ezzeldin et al., FairFed: Enabling Group Fairness in Federated Learning, AAAI 2023, arXiv 2110.00857"
    )
    Config: ClassVar[type[MethodConfig]] = FairFedConfig
    wire: ClassVar[tuple[Wire, ...]] = (
        Wire(MEASURE, (WEIGHTS_DOWN,), (CELLS_UP,)),
        Wire(
            COMPARE,
            (WEIGHTS_DOWN, Field("cells", "groups × classes × classes", "the sum of all clients' cells")),
            (
                Field("mismatch", "1", "how far the client's gap is from that of all", secure=True, clip=1.0),
                Field("clients", "1", "1", secure=True, scale=1.0, sensitivity=0.0),
                Field("rows", "1", "number of training rows", secure=True, sensitivity=1.0),
            ),
        ),
        Wire(
            TRAIN,
            (
                WEIGHTS_DOWN,
                Field("cells", "groups × classes × classes", "the sum of all clients' cells"),
                Field("mismatch", "1", "mean over the clients"),
                Field("rows", "1", "training rows of all clients"),
                Field("round", "1", "rounds done"),
            ),
            (
                Field("theta/*", "as the layer", "weights trained at the client times the client's weight"),
                Field("n", "1", "the client's weight"),
                LOSS_UP,
            ),
        ),
    )
    config: FairFedConfig

    def server(self) -> ServerHalf:
        """Measures, compares, averages."""
        return FairFedServer(self)

    def client(self, data: ClientData) -> ClientHalf:
        """Trains and moves its own weight."""
        return FairFedClient(self, data)


class FairFedServer(AveragingServer):
    """Three exchanges a round: cells of all, mismatch of all, models.

    Args:
        method: Gives settings.
    """

    def __init__(self, method: FairFed) -> None:
        super().__init__(method.network, method.config.rounds, method.first_weights())
        self.cells: Floats | None = None
        self.mismatch: Floats | None = None  # mean over clients, and rows of all

    def state(self) -> Arrays:
        """Weights, counters, and what was measured in this round."""
        state = super().state()
        state |= {} if self.cells is None else {"cells": self.cells}
        return state | ({} if self.mismatch is None else {"mismatch": self.mismatch})

    def restore(self, state: Arrays) -> None:
        """Put a state back."""
        super().restore(state)
        self.cells, self.mismatch = state.get("cells"), state.get("mismatch")

    def ask(self) -> Exchange | None:
        """Measure, compare, train."""
        exchange = super().ask()
        if exchange is None:
            return None
        if self.cells is None:
            return Exchange(MEASURE, self.weights, exchange.round)
        if self.mismatch is None:
            return Exchange(COMPARE, self.weights | {"cells": self.cells}, exchange.round)
        known = {"cells": self.cells, "mismatch": self.mismatch[0], "rows": self.mismatch[1]}
        return Exchange(
            TRAIN, exchange.message | {name: np.asarray(array) for name, array in known.items()}, exchange.round
        )

    def take(self, exchange: Exchange, combined: Combined) -> None:
        """What the exchange brought."""
        if exchange.kind == MEASURE:
            self.cells = np.asarray(combined.fields["cells"], np.float64)
        elif exchange.kind == COMPARE:
            fields = combined.fields
            self.mismatch = np.array([fields["mismatch"] / fields["clients"], fields["rows"]], np.float64)
        else:
            fields = {name: array for name, array in combined.fields.items() if name != "loss"}
            assert self.mismatch is not None  # noqa: S101  training comes after comparing
            mean_loss = combined.fields["loss"] / self.mismatch[1] * combined.fields["n"]
            super().take(exchange, Combined(fields | {"loss": np.asarray(mean_loss)}, combined.replied))
            self.cells = self.mismatch = None


class FairFedClient(AveragingClient):
    """Compares its gap with that of all, moves its weight, trains.

    Args:
        method: Gives settings, network and seed.
        data: The client's.
    """

    method: FairFed

    def __init__(self, method: FairFed, data: ClientData) -> None:
        super().__init__(method, data)
        rows, problem = data.train, method.problem
        self.row_weights = np.ones(len(rows))
        if method.config.debiasing == "reweighing":
            self.row_weights = reweighing(rows.a, rows.y, problem.n_groups, problem.n_classes)
        self.gradient = cost_gradient(np.eye(problem.n_classes)[rows.y] * self.row_weights[:, None])

    def reply(self, kind: str, message: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
        """Cells, mismatch, or a round of training."""
        rows, weights = self.data.train, Network.weights_in(message)
        if kind == MEASURE:
            return {"cells": self.cells(weights).astype(np.float64)}, state
        mismatch = self.mismatch(self.cells(weights), np.asarray(message["cells"], np.float64))
        if kind == COMPARE:
            told = {"mismatch": mismatch, "clients": 1.0, "rows": float(len(rows))}
            return {name: np.asarray(value) for name, value in told.items()}, state
        first = len(rows) / float(message["rows"])
        weight = float(state.get("weight", np.asarray(first)))
        weight = max(weight - self.method.config.budget * (mismatch - float(message["mismatch"])), 1e-3 * first)
        moments = {name: array for name, array in state.items() if name != "weight"}
        loss = cross_entropy(self.method.network.logits(weights, rows.X), rows.y).sum()
        trained, moments = self.method.train(
            weights, self.data, self.gradient, round=int(message["round"]), moments=moments
        )
        return weighted(trained, weight, loss), moments | {"weight": np.asarray(weight)}

    def cells(self, weights: Arrays) -> Integers:
        """Training rows by group, true and predicted class, [G, m, m]."""
        rows, problem = self.data.train, self.method.problem
        predicted = self.method.network.logits(weights, rows.X).argmax(axis=1)
        return count_cells(rows.y, predicted, rows.a, problem.n_groups, problem.n_classes)

    def mismatch(self, own: Integers, of_all: Floats) -> float:
        """How far the client's gaps are from those of all; its accuracy, where it has no two groups to compare."""
        criterion = self.method.config.criterion
        mine, whole = (event_rates(cells, criterion) for cells in (own, of_all))
        apart = (mine[:, None] - mine[None]) - (whole[:, None] - whole[None])
        known = np.abs(apart[np.isfinite(apart) & ~np.eye(len(mine), dtype=bool)[:, :, None]])
        return float(known.max()) if len(known) else abs(accuracy(own) - accuracy(of_all))


def reweighing(a: Integers, y: Integers, n_groups: int, n_classes: int) -> Floats:
    """Row weights P(group) P(class) / P(group, class), under which class and group are independent, [n].

    Source: Kamiran and Calders, "Data preprocessing techniques for classification without discrimination", Knowledge
    and Information Systems 2012.

    Args:
        a: Groups, [n].
        y: Classes, [n].
        n_groups: The letter G.
        n_classes: The letter m.
    """
    joint = np.bincount(a * n_classes + y, minlength=n_groups * n_classes).reshape(n_groups, n_classes)
    expected = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True) / max(len(a), 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(joint > 0, expected / joint, 0.0)[a, y], np.float64)
