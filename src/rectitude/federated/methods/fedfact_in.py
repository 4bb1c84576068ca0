"""FedFACT-In: fair personalised models, trained by a cost-sensitive loss that follows the duals.

For given duals the loss of a row is −Σ_j M̄(a, k)[y, j] log softmax(s)_j: cross-entropy against a row of the matrix

    M(a, k)[y, j] = 1[y = j] − Σ_{e: class of e is j, y in its set} shift[a, e],      M̄ = M + κ > 0,

whose minimiser ranks classes as the fair decision without the attribute does. Each client mixes the probabilities of
the shared model and of one of its own. Duals rise with the disparity of the mixture's decisions on training rows.

Source: "FedFACT: A Provable Framework for Controllable Group-Fairness Calibration in Federated Learning", arXiv
2506.03777 (NeurIPS 2025), the in-processing half. Departures: the sign of the local term, and local duals that
accumulate, follow from the Lagrangian; losses are means, so that the mixing rate has a scale; rows of M̄ are divided by
their mean sum, so that the learning rate keeps its meaning when duals grow; a dual's step is divided by its curvature.

Letters: m classes, G groups, C contrasts, E events.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    FairConfig,
    Field,
    Floats,
    Integers,
    MethodConfig,
    Problem,
    ServerHalf,
    Wire,
)
from rectitude.federated.methods.constraints import Events, Form, contrasts, event_weights, events_of, shifts
from rectitude.federated.methods.duals import first_curvature, gradient_step
from rectitude.federated.methods.tolerances import local_tolerance, require_fair
from rectitude.federated.network import LogitGradient, Network, softmax
from rectitude.federated.training import (
    LOSS_UP,
    ROWS_UP,
    TRAIN,
    WEIGHTS_DOWN,
    WEIGHTS_UP,
    AveragingServer,
    FedAvg,
    TrainingConfig,
    weighted,
)

COUNTS_UP = Field("counts", "groups × classes", "training rows of each group by class", secure=True, sensitivity=1.0)
_SMALLEST = 1e-3
_OWN = "own/"


class FedFACTInConfig(TrainingConfig, FairConfig):
    """Settings of FedFACT-In."""

    rounds: int = Setting(40, ge=1)
    """Rounds; usual values 20 to 80."""
    local_steps: int = Setting(30, ge=1)
    """Mini-batches at each client and round, for the shared model and for its own alike."""
    form: Form = "subgroup"
    """What a tolerance bounds: the gap between a group and all (the paper's), or between two groups (``pairwise``)."""
    dual_step: float = Setting(0.5, gt=0)
    """Step of the duals, over their curvature; usual range 0.1 to 1."""
    bound: float = Setting(5.0, gt=0)
    """Largest ℓ₁ norm of the duals."""
    mixing_rate: float = Setting(0.3, ge=0)
    """η_w, how fast the mixture moves to the better of the two models; 0 keeps them equal."""
    personal: bool = True
    """Whether each client has a model of its own besides the shared one."""


class FedFACTIn(FedAvg):
    """Personalised training under global and local tolerances; decides without the attribute."""

    name: ClassVar[str] = "fedfact-in"
    title: ClassVar[str] = "FedFACT-In"
    paper: ClassVar[str] = (
        "FedFACT: A Provable Framework for Controllable Group-Fairness Calibration in Federated Learning, "
        "NeurIPS 2025, arXiv 2506.03777"
    )
    Config: ClassVar[type[MethodConfig]] = FedFACTInConfig
    wire: ClassVar[tuple[Wire, ...]] = (
        Wire(
            TRAIN,
            (
                WEIGHTS_DOWN,
                Field("shift", "groups × events", "what the global duals shift each group's costs by"),
                Field("round", "1", "rounds done"),
            ),
            (
                WEIGHTS_UP,
                ROWS_UP,
                LOSS_UP,
                COUNTS_UP,
                Field(
                    "rates",
                    "groups × events",
                    "training rows of each group and event that the client's model gives the event's class",
                    secure=True,
                    sensitivity=1.0,
                ),
            ),
        ),
    )
    config: FedFACTInConfig

    def __init__(self, config: MethodConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        require_fair(self.config, problem)
        self.events = events_of(self.config.criterion, problem.n_classes)

    def unaccounted(self) -> dict[str, str]:
        """What a client decides with its own model or under its own duals follows from its rows together."""
        found = {"local duals": "--local none"} if self.config.local_tolerance is not None else {}
        return found | ({"personal models": "--set personal=false"} if self.config.personal else {})

    def step(
        self, duals: Floats, rates: Floats, counts: Floats, tolerance: float | None
    ) -> tuple[Floats, Floats, Floats]:
        """New duals [C, E], the shift they cause [G, E], and the disparities they answer [C, E].

        Args:
            duals: Before, [C, E], or empty for none yet.
            rates: Rows of each group and event that are given the event's class, [G, E].
            counts: Rows by group and class, [G, m].
            tolerance: ξ; None keeps the duals at zero.
        """
        weights = contrasts(counts, self.events, self.config.form)
        if duals.size == 0:
            duals = np.zeros((weights.shape[0], weights.shape[2]))
        disparity = np.einsum("cge,ge->ce", weights, rates) / max(float(counts.sum()), 1.0)
        if tolerance is not None:
            curvature = np.diag(first_curvature(weights, counts, self.events)).reshape(duals.shape)
            step = self.config.dual_step / np.maximum(curvature, 1e-9)
            duals = gradient_step(duals, disparity, tolerance, self.config.bound, step)
        return duals, shifts(duals, weights), disparity

    def server(self) -> ServerHalf:
        """Averages models and moves λ."""
        return InServer(self)

    def client(self, data: ClientData) -> ClientHalf:
        """Trains two models and moves ν_k."""
        return InClient(self, data)

    def probabilities(self, rows: Mapping[str, Array | None], shared: Arrays, personal: Arrays) -> Floats | None:
        """Mixture of the shared and the client's own model; the shared alone for a client that took no part.

        They rank classes fairly and are not calibrated probabilities.
        """
        X = np.asarray(rows["X"], np.float32)
        own = {name.removeprefix(_OWN): array for name, array in personal.items() if name.startswith(_OWN)}
        if not own:
            return self.network.proba(shared, X)
        mix = float(personal["mix"])
        return mix * self.network.proba(shared, X) + (1 - mix) * self.network.proba(own, X)


class InServer(AveragingServer):
    """Averages models, adds up disparities, moves λ.

    Args:
        method: Gives settings and events.
    """

    def __init__(self, method: FedFACTIn) -> None:
        super().__init__(method.network, method.config.rounds, method.first_weights())
        self.method = method
        self.duals = np.zeros((0, 0))
        self.shift = np.zeros((method.problem.n_groups, len(method.events)))
        self.disparities: list[float] = []

    def state(self) -> Arrays:
        """Weights, duals and counters."""
        return super().state() | {
            "duals": self.duals,
            "shift": self.shift,
            "disparities": np.asarray(self.disparities, np.float64),
        }

    def restore(self, state: Arrays) -> None:
        """Put a state back."""
        super().restore(state)
        self.duals, self.shift = state["duals"], state["shift"]
        self.disparities = state["disparities"].tolist()

    def ask(self) -> Exchange | None:
        """Train for a round under the duals."""
        exchange = super().ask()
        return exchange and Exchange(exchange.kind, exchange.message | {"shift": self.shift}, exchange.round)

    def take(self, exchange: Exchange, combined: Combined) -> None:
        """Weighted mean of the models, and a step of λ."""
        counts, rates = (np.asarray(combined.fields[name], np.float64) for name in ("counts", "rates"))
        super().take(exchange, combined)
        tolerance = self.method.config.global_tolerance
        self.duals, self.shift, disparity = self.method.step(self.duals, rates, counts, tolerance)
        self.disparities.append(float(np.abs(disparity).max(initial=0.0)))

    def notes(self) -> dict[str, Any]:
        """Duals, and the largest disparity of every round."""
        return super().notes() | {"global_duals": self.duals.tolist(), "disparity_by_round": self.disparities}


class InClient(ClientHalf):
    """Trains a copy of the shared model and one of its own under the same costs.

    Args:
        method: Gives settings, network and seed.
        data: The client's.
    """

    def __init__(self, method: FedFACTIn, data: ClientData) -> None:
        self.method, self.data = method, data
        rows, m = data.train, method.problem.n_classes
        self.tolerance = local_tolerance(method.config, data.name)
        self.truth = np.eye(m)[rows.y]
        self.member = (rows.a == np.arange(method.problem.n_groups)[:, None]).astype(np.float64)  # [G, n]
        self.counts = self.member @ self.truth
        self.phi = event_weights(self.truth, method.events)

    def reply(self, kind: str, message: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
        """A round: predict, move the mixture and the local duals, train both models."""
        method, rows, network = self.method, self.data.train, self.method.network
        shared = Network.weights_in(message)
        own = _strip(state) or shared
        costs = self._costs(message["shift"] + state.get("shift", 0.0))
        guesses = network.proba(shared, rows.X), network.proba(own, rows.X)
        losses = [float(-(costs * np.log(np.maximum(guess, 1e-12))).sum(axis=1).mean()) for guess in guesses]
        mix = self._mixture(float(state.get("mix", np.asarray(0.5))), *losses)
        chosen = (mix * guesses[0] + (1 - mix) * guesses[1]).argmax(axis=1)
        rates = self.member @ (self.phi * (chosen[:, None] == method.events.predicted))
        duals, shift, _ = method.step(state.get("nu", np.zeros((0, 0))), rates, self.counts, self.tolerance)
        gradient = cost_gradient(self._costs(message["shift"] + shift))
        number = int(message["round"])
        trained, moments = method.train(shared, self.data, gradient, round=number, moments=_moments(state, "shared/"))
        new: Arrays = {"nu": duals, "shift": shift, "mix": np.asarray(mix)}
        new |= {f"shared/{name}": array for name, array in moments.items()}
        if method.config.personal:
            own, moments = method.train(own, self.data, gradient, round=number, moments=_moments(state, "personal/"))
            new |= {f"personal/{name}": array for name, array in moments.items()}
            new |= {_OWN + name: array for name, array in own.items()}
        reply = weighted(trained, float(len(rows)), losses[0] * len(rows))
        return reply | {"counts": self.counts, "rates": rates}, new

    def _mixture(self, mix: float, shared_loss: float, own_loss: float) -> float:
        if not self.method.config.personal:
            return 1.0
        odds = (1 - mix) / mix * np.exp(-self.method.config.mixing_rate * (own_loss - shared_loss))
        return float(np.clip(1 / (1 + odds), 1e-6, 1 - 1e-6))

    def _costs(self, shift: Floats) -> Floats:
        """M̄ of every row, float64 [n, m]."""
        rows = self.data.train
        return np.asarray(cost_matrices(shift, self.method.events, self.method.problem.n_classes)[rows.a, rows.y])

    def personal(self, shared: Arrays, state: Arrays) -> Arrays:
        """The client's own model and its share of the mixture."""
        own = {name: array for name, array in state.items() if name.startswith(_OWN)}
        return own | {"mix": state["mix"]} if own else {}


def cost_matrices(shift: Floats, events: Events, n_classes: int) -> Floats:
    """M̄ of every group, positive, with rows that sum to 1 on average, float64 [G, m, m].

    One κ for all groups: one each would weigh groups against each other.

    Args:
        shift: Of each group and event, [G, E].
        events: What is compared.
        n_classes: The letter m.
    """
    to_class = np.eye(n_classes)[events.predicted]  # [E, m]
    costs = np.eye(n_classes) - np.einsum("ge,ey,ej->gyj", shift, events.given.astype(np.float64), to_class)
    costs += max(0.0, _SMALLEST - float(costs.min()))
    return np.asarray(costs / costs.sum(axis=2).mean())


def cost_gradient(costs: Floats) -> LogitGradient:
    """Gradient by the logits of the mean of −Σ_j costs[i, j] log softmax(s_i)_j.

    Args:
        costs: Of every row, [n, m].
    """
    sums = costs.sum(axis=1, keepdims=True)

    def gradient(logits: Array, at: Integers) -> Array:
        return np.asarray((sums[at] * softmax(logits) - costs[at]) / len(at))

    return gradient


def _strip(state: Arrays) -> Arrays:
    """Weights of the client's own model in its state."""
    return {name.removeprefix(_OWN): array for name, array in state.items() if name.startswith(_OWN)}


def _moments(state: Arrays, prefix: str) -> Arrays:
    """Adam's moments of one of the models in the client's state."""
    return {name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)}
