"""FedAvg and FedProx, and the parts of them other training methods share.

Source: McMahan, Moore, Ramage, Hampson and Agüera y Arcas, "Communication-Efficient Learning of Deep Networks from
Decentralized Data", AISTATS 2017, arXiv 1602.05629, algorithm 1; Li, Sahu, Zaheer, Sanjabi, Talwalkar and Smith,
"Federated Optimization in Heterogeneous Networks", MLSys 2020, arXiv 1812.06127, equation 2. Departure: clients step
with Adam, whose moments stay at the client from round to round, and a round is a number of mini-batches rather than of
passes, so that large clients do not hold up small ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from pydantic import Field as Setting

from rectitude.federated.contracts import (
    Array,
    Arrays,
    ClientData,
    ClientHalf,
    Combined,
    Exchange,
    Field,
    Floats,
    Integers,
    Method,
    MethodConfig,
    ServerHalf,
    Wire,
    generator,
)
from rectitude.federated.network import WEIGHTS, Network, cross_entropy, likelihood_gradient, train_locally

TRAIN = "train"
WEIGHTS_DOWN = Field(f"{WEIGHTS}*", "as the layer", "weights of the global model")
WEIGHTS_UP = Field(f"{WEIGHTS}*", "as the layer", "weights trained at the client times its number of training rows")
ROWS_UP = Field("n", "1", "number of training rows")
LOSS_UP = Field("loss", "1", "cross-entropy of the received model summed over the training rows")

_FIRST_WEIGHTS, _SHUFFLE = 1, 2  # purposes of random numbers


class TrainingConfig(MethodConfig):
    """Settings of methods that train a model."""

    hidden: tuple[int, ...] = ()
    """Units of each hidden layer; none is logistic regression; usual values 16, 32, 64."""
    learning_rate: float = Setting(0.005, gt=0)
    """Step size of Adam at the clients; usual range 1e-4 to 5e-2."""
    local_steps: int = Setting(40, ge=1)
    """Mini-batches at each client and round; usual range 5 to 50."""
    batch_size: int = Setting(256, ge=1)
    """Rows of a mini-batch; usual values 128, 256, 512."""
    weight_decay: float = Setting(1e-4, ge=0)
    """L2 penalty."""


class FedProxConfig(TrainingConfig):
    """Settings of FedProx."""

    proximal: float = Setting(0.01, ge=0)
    """Weight μ of ½‖θ − θ_global‖² at the clients; 0 is FedAvg; usual range 0.001 to 1."""


class AveragingServer(ServerHalf):
    """Rounds of weighted averaging: θ ← Σ n_k θ_k / Σ n_k.

    Args:
        network: The model.
        rounds: How many.
        first: Weights to begin with.
    """

    def __init__(self, network: Network, rounds: int, first: Arrays) -> None:
        self.network, self.rounds = network, rounds
        self.weights, self.round = first, 0
        self.losses: list[float] = []

    def state(self) -> Arrays:
        """Weights, round and the losses so far."""
        return self.weights | {"round": np.asarray(self.round), "losses": np.asarray(self.losses, np.float64)}

    def restore(self, state: Arrays) -> None:
        """Put a state back."""
        self.weights = Network.weights_in(state)
        self.round, self.losses = int(state["round"]), state["losses"].tolist()

    def ask(self) -> Exchange | None:
        """Train for a round, until all are done."""
        if self.round >= self.rounds:
            return None
        return Exchange(TRAIN, self.weights | {"round": np.asarray(self.round)}, self.round + 1)

    def take(self, exchange: Exchange, combined: Combined) -> None:
        """The weighted mean becomes the global model."""
        total = combined.fields["n"]
        self.weights = {
            name: (combined.fields[name] / total).astype(np.float32) for name in Network.weights_in(combined.fields)
        }
        self.losses.append(float(combined.fields["loss"] / total))
        self.round += 1

    def shared(self) -> Arrays:
        """The weights."""
        return self.weights

    def notes(self) -> dict[str, Any]:
        """Training loss by round."""
        return {"training_loss": self.losses}


def weighted(trained: Arrays, weight: float, loss: float) -> Arrays:
    """What :class:`AveragingServer` takes the mean of: the fields of ``WEIGHTS_UP``, ``ROWS_UP`` and ``LOSS_UP``.

    Args:
        trained: Weights of the client's model.
        weight: How much they count, usually the number of training rows.
        loss: Summed over the training rows.
    """
    model = {name: array * np.float32(weight) for name, array in trained.items()}
    return model | {"n": np.asarray(weight), "loss": np.asarray(loss)}


class AveragingClient(ClientHalf):
    """Mini-batch steps from the global weights, as FedAvg's clients take them.

    Args:
        method: Gives settings, network and seed.
        data: The client's.
    """

    def __init__(self, method: FedAvg, data: ClientData) -> None:
        self.method, self.data = method, data

    def pull(self, weights: Arrays) -> Callable[[Arrays], Arrays] | None:
        """A further gradient, given the round's global weights."""
        return None

    def reply(self, kind: str, message: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
        """Train for a round."""
        network, rows = self.method.network, self.data.train
        weights = Network.weights_in(message)
        loss = cross_entropy(network.logits(weights, rows.X), rows.y).sum()
        trained, moments = self.method.train(
            weights,
            self.data,
            likelihood_gradient(rows.y),
            round=int(message["round"]),
            moments=state,
            pull=self.pull(weights),
        )
        return weighted(trained, float(len(rows)), loss), moments

    def personal(self, shared: Arrays, state: Arrays) -> Arrays:
        """Nothing: all clients have the global model."""
        return {}


class FedAvg(Method):
    """Federated averaging; also the base model of every post-processing method."""

    name: ClassVar[str] = "fedavg"
    title: ClassVar[str] = "FedAvg"
    paper: ClassVar[str] = (
        "McMahan et al., Communication-Efficient Learning of Deep Networks from Decentralized Data, AISTATS 2017, "
        "arXiv 1602.05629"
    )
    Config: ClassVar[type[MethodConfig]] = TrainingConfig
    stage = "training"
    uses_attribute: ClassVar[bool] = False
    wire: ClassVar[tuple[Wire, ...]] = (
        Wire(TRAIN, (WEIGHTS_DOWN, Field("round", "1", "rounds done")), (WEIGHTS_UP, ROWS_UP, LOSS_UP)),
    )
    config: TrainingConfig

    @property
    def network(self) -> Network:
        """The model that is trained."""
        return Network(self.problem.n_features, self.problem.n_classes, self.config.hidden)

    def first_weights(self) -> Arrays:
        """What the server begins with."""
        return self.network.initial(generator(self.problem, _FIRST_WEIGHTS))

    def train(
        self,
        weights: Arrays,
        data: ClientData,
        by_logits: Callable[[Any, Integers], Array],
        *,
        round: int,  # noqa: A002
        moments: Arrays | None = None,
        pull: Callable[[Arrays], Arrays] | None = None,
        steps: int | None = None,
    ) -> tuple[Arrays, Arrays]:
        """One round's steps at one client, by the settings: :func:`rectitude.federated.network.train_locally`."""
        return train_locally(
            self.network,
            weights,
            data.train.X,
            by_logits,
            steps=steps or self.config.local_steps,
            batch_size=self.config.batch_size,
            learning_rate=self.config.learning_rate,
            weight_decay=self.config.weight_decay,
            rng=generator(self.problem, _SHUFFLE, data.index, round),
            moments=moments,
            pull=pull,
        )

    def server(self) -> ServerHalf:
        """Averages."""
        return AveragingServer(self.network, self.config.rounds, self.first_weights())

    def client(self, data: ClientData) -> ClientHalf:
        """Trains."""
        return AveragingClient(self, data)

    def probabilities(self, rows: Mapping[str, Any], shared: Arrays, personal: Arrays) -> Floats | None:
        """Softmax of the global model."""
        return self.network.proba(shared, rows["X"])

    def decide(self, rows: Mapping[str, Any], shared: Arrays, personal: Arrays, rng: np.random.Generator) -> Integers:
        """The most probable class."""
        probabilities = self.probabilities(rows, shared, personal)
        return np.asarray(np.argmax(np.asarray(probabilities), 1), np.int64)


class ProximalClient(AveragingClient):
    """FedAvg's client held near the global weights."""

    method: FedProx

    def pull(self, weights: Arrays) -> Callable[[Arrays], Arrays] | None:
        """Gradient of ½ μ ‖θ − θ_global‖²."""
        proximal = np.float32(self.method.config.proximal)
        return lambda current: {name: proximal * (array - weights[name]) for name, array in current.items()}


class FedProx(FedAvg):
    """FedAvg whose clients are held near the global model, for clients that differ."""

    name: ClassVar[str] = "fedprox"
    title: ClassVar[str] = "FedProx"
    paper: ClassVar[str] = "Li et al., Federated Optimization in Heterogeneous Networks, MLSys 2020, arXiv 1812.06127"
    Config: ClassVar[type[MethodConfig]] = FedProxConfig
    config: FedProxConfig

    def client(self, data: ClientData) -> ClientHalf:
        """Trains with the proximal term."""
        return ProximalClient(self, data)
