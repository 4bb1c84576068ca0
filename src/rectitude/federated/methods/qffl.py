"""q-FFL: averaging in which clients with larger losses count more, so that all do about equally well.

Fair between clients, not between groups: the baseline that shows that these are two things.

Source: Li, Sanjabi, Beirami and Smith, "Fair Resource Allocation in Federated Learning", ICLR 2020, arXiv 1905.10497,
algorithm 2 (q-FedAvg): θ ← θ − Σ_k F_k^q L(θ − θ_k) / Σ_k (q F_k^{q−1} ‖L(θ − θ_k)‖² + L F_k^q). Departure: clients
step with Adam, so L is a setting rather than one over the learning rate.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field as Setting

from rectitude.federated.contracts import Arrays, ClientData, ClientHalf, Combined, Exchange, Field, MethodConfig, Wire
from rectitude.federated.contracts import ServerHalf as Server
from rectitude.federated.network import WEIGHTS, Network, cross_entropy, likelihood_gradient
from rectitude.federated.training import (
    LOSS_UP,
    ROWS_UP,
    TRAIN,
    WEIGHTS_DOWN,
    AveragingClient,
    AveragingServer,
    FedAvg,
    TrainingConfig,
)


class QFFLConfig(TrainingConfig):
    """Settings of q-FFL."""

    q: float = Setting(1.0, ge=0)
    """How much more a larger loss counts; 0 weighs all clients alike; usual range 0.1 to 5."""
    lipschitz: float = Setting(1.0, gt=0)
    """L, the assumed smoothness of the loss: the larger, the shorter the server's steps."""


class QFFL(FedAvg):
    """FedAvg that levels losses between clients."""

    name: ClassVar[str] = "qffl"
    title: ClassVar[str] = "q-FFL"
    paper: ClassVar[str] = "Li et al., Fair Resource Allocation in Federated Learning, ICLR 2020, arXiv 1905.10497"
    Config: ClassVar[type[MethodConfig]] = QFFLConfig
    wire: ClassVar[tuple[Wire, ...]] = (
        Wire(
            TRAIN,
            (WEIGHTS_DOWN, Field("round", "1", "rounds done")),
            (
                Field(f"{WEIGHTS}*", "as the layer", "the client's change of the weights times L F_k^q"),
                Field("norm", "1", "the client's term of the denominator"),
                ROWS_UP,
                LOSS_UP,
            ),
        ),
    )
    config: QFFLConfig

    def server(self) -> Server:
        """Steps by the ratio of two sums."""
        return QFFLServer(self.network, self.config.rounds, self.first_weights())

    def client(self, data: ClientData) -> ClientHalf:
        """Trains."""
        return QFFLClient(self, data)


class QFFLServer(AveragingServer):
    """Subtracts the sum of the clients' changes over the sum of their norms."""

    def take(self, exchange: Exchange, combined: Combined) -> None:
        """One step."""
        fields, norm = combined.fields, max(float(combined.fields["norm"]), 1e-12)
        moved = {name: array - fields[name] / norm for name, array in self.weights.items()}
        self.weights = {name: array.astype(np.float32) for name, array in moved.items()}
        self.losses.append(float(fields["loss"] / fields["n"]))
        self.round += 1


class QFFLClient(AveragingClient):
    """Trains, and scales its change by its loss.

    Args:
        method: Gives settings, network and seed.
        data: The client's.
    """

    method: QFFL

    def reply(self, kind: str, message: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
        """A round of training."""
        rows, config, weights = self.data.train, self.method.config, Network.weights_in(message)
        loss = float(cross_entropy(self.method.network.logits(weights, rows.X), rows.y).mean())
        trained, moments = self.method.train(
            weights, self.data, likelihood_gradient(rows.y), round=int(message["round"]), moments=state
        )
        scale = np.float64(config.lipschitz)
        change = {name: scale * (weights[name] - array) for name, array in trained.items()}
        size = sum(float((array**2).sum()) for array in change.values())
        level = max(loss, 1e-12)
        norm = config.q * level ** (config.q - 1) * size + config.lipschitz * level**config.q
        reply = {name: (level**config.q * array).astype(np.float32) for name, array in change.items()}
        told = {"norm": norm, "n": float(len(rows)), "loss": loss * len(rows)}
        return reply | {name: np.asarray(value) for name, value in told.items()}, moments
