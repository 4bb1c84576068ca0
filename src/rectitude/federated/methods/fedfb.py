"""FedFB: FairBatch in a federation: the server weighs cells of (group, class) until the gap closes.

Source: Zeng, Chen and Lee, "Improving Fairness via Federated Learning", arXiv 2110.15545, algorithm 1. Departures: the
weights follow the gaps of decisions, counted, where the paper follows differences of group losses, so that one rule
serves every criterion, several classes and several groups; clients send the counts in one sum.
"""

from __future__ import annotations

from typing import Any, ClassVar

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
    MethodConfig,
    ServerHalf,
    Wire,
)
from rectitude.federated.methods.constraints import Events, events_of
from rectitude.federated.methods.fairfed import CELLS_UP
from rectitude.federated.methods.fedfact_in import cost_gradient
from rectitude.federated.metrics import count_cells, event_rates, gap
from rectitude.federated.network import Network, cross_entropy
from rectitude.federated.training import (
    LOSS_UP,
    ROWS_UP,
    TRAIN,
    WEIGHTS_DOWN,
    WEIGHTS_UP,
    AveragingClient,
    AveragingServer,
    FedAvg,
    TrainingConfig,
    weighted,
)

_SMALLEST, _LARGEST = 0.05, 20.0


class FedFBConfig(TrainingConfig):
    """Settings of FedFB."""

    rounds: int = Setting(40, ge=1)
    """Rounds."""
    criterion: Criterion = "dp"
    """Whose gap is closed."""
    rate: float = Setting(0.03, ge=0)
    """α, how fast the log-weight of a cell follows its group's gap over the largest; 0 is FedAvg; the larger, the
    fairer after the same rounds; usual range 0.005 to 0.3."""


class FedFB(FedAvg):
    """FedAvg on cells weighed by the server."""

    name: ClassVar[str] = "fedfb"
    title: ClassVar[str] = "FedFB"
    paper: ClassVar[str] = "Zeng, Chen and Lee, Improving Fairness via Federated Learning, arXiv 2110.15545"
    Config: ClassVar[type[MethodConfig]] = FedFBConfig
    wire: ClassVar[tuple[Wire, ...]] = (
        Wire(
            TRAIN,
            (
                WEIGHTS_DOWN,
                Field("cell_weights", "groups × classes", "weight of the rows of each group and class"),
                Field("round", "1", "rounds done"),
            ),
            (WEIGHTS_UP, ROWS_UP, LOSS_UP, CELLS_UP),
        ),
    )
    config: FedFBConfig

    def server(self) -> ServerHalf:
        """Averages and weighs."""
        return FedFBServer(self)

    def client(self, data: ClientData) -> ClientHalf:
        """Trains on weighed rows."""
        return FedFBClient(self, data)


class FedFBServer(AveragingServer):
    """Averages models; raises the weight of cells whose group is behind.

    Args:
        method: Gives settings.
    """

    def __init__(self, method: FedFB) -> None:
        super().__init__(method.network, method.config.rounds, method.first_weights())
        self.method = method
        self.cell_weights = np.ones((method.problem.n_groups, method.problem.n_classes))
        self.gaps: list[float] = []

    def state(self) -> Arrays:
        """Weights of models and cells, and counters."""
        return super().state() | {"cell_weights": self.cell_weights, "gaps": np.asarray(self.gaps, np.float64)}

    def restore(self, state: Arrays) -> None:
        """Put a state back."""
        super().restore(state)
        self.cell_weights, self.gaps = state["cell_weights"], state["gaps"].tolist()

    def ask(self) -> Exchange | None:
        """Train for a round on the weighed cells."""
        exchange = super().ask()
        return exchange and Exchange(
            exchange.kind, exchange.message | {"cell_weights": self.cell_weights}, exchange.round
        )

    def take(self, exchange: Exchange, combined: Combined) -> None:
        """Mean of the models, and new weights of the cells."""
        super().take(exchange, combined)
        cells = np.maximum(np.asarray(combined.fields["cells"], np.float64), 0.0)
        criterion = self.method.config.criterion
        self.gaps.append(float(np.nan_to_num(gap(cells, criterion))))
        behind = behind_by(cells, criterion)
        largest = np.abs(behind).max(initial=0.0)
        if largest > 0:
            step = self.method.config.rate * min(1.0, largest / 0.05) / largest  # gently near the end
            counts = cells.sum(axis=2)
            weights = np.clip(self.cell_weights * np.exp(step * behind), _SMALLEST, _LARGEST)
            self.cell_weights = weights * counts.sum() / (weights * counts).sum()

    def notes(self) -> dict[str, Any]:
        """Gap on training rows by round, and the weights at the end."""
        return super().notes() | {"gap_by_round": self.gaps, "cell_weights": self.cell_weights.tolist()}


class FedFBClient(AveragingClient):
    """Trains on rows weighed by their cell.

    Args:
        method: Gives settings, network and seed.
        data: The client's.
    """

    method: FedFB

    def __init__(self, method: FedFB, data: ClientData) -> None:
        super().__init__(method, data)
        self.truth = np.eye(method.problem.n_classes)[data.train.y]

    def reply(self, kind: str, message: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
        """Counts of the received model's decisions, and a round of training."""
        rows, problem, weights = self.data.train, self.method.problem, Network.weights_in(message)
        logits = self.method.network.logits(weights, rows.X)
        cells = count_cells(rows.y, logits.argmax(axis=1), rows.a, problem.n_groups, problem.n_classes)
        of_row = message["cell_weights"][rows.a, rows.y]
        trained, moments = self.method.train(
            weights,
            self.data,
            cost_gradient(self.truth * of_row[:, None]),
            round=int(message["round"]),
            moments=state,
        )
        reply = weighted(trained, float(len(rows)), cross_entropy(logits, rows.y).sum())
        return reply | {"cells": cells.astype(np.float64)}, moments


def behind_by(cells: Floats, criterion: Criterion) -> Floats:
    """How much more weight each cell should get: its group's rate below that of all, float64 [G, m].

    Where a group is given class j too rarely, its rows of class j gain and its others lose.

    Args:
        cells: Rows by group, true and predicted class, [G, m, m].
        criterion: What is compared.
    """
    events: Events = events_of(criterion, cells.shape[-1])
    lacking = np.nan_to_num(event_rates(cells.sum(axis=0, keepdims=True), criterion) - event_rates(cells, criterion))
    own = np.eye(cells.shape[-1])[events.predicted]  # [E, m]
    sign = events.given * (2 * own - 1)
    return np.asarray(lacking @ sign)
