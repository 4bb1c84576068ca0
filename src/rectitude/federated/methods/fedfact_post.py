"""FedFACT-Post: fair decisions on the class probabilities of any model, by duals agreed on in a federation.

Source: "FedFACT: A Provable Framework for Controllable Group-Fairness Calibration in Federated Learning", arXiv
2506.03777 (NeurIPS 2025), the post-processing half. Departures, each for a reason given in docs/systems/fedfact.md:

* The sign of the local term follows from the Lagrangian (printed text has it the other way).
* The smoothed dual and the way it is minimised: :mod:`rectitude.federated.methods.duals`.
* Tolerances bound the gap between a group and all, as in the paper; ``form="pairwise"`` bounds the reported gap.
* The probability of a group and class is taken from the (calibrated) class probabilities rather than counted labels
  (``masses="labels"``): rates then are proper averages, and a tolerance of zero is always feasible.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field as Setting

from rectitude.core.errors import ConfigError
from rectitude.federated.contracts import (
    Array,
    Arrays,
    ClientData,
    ClientHalf,
    FairConfig,
    Field,
    Floats,
    Integers,
    Method,
    MethodConfig,
    Problem,
    ServerHalf,
    Wire,
)
from rectitude.federated.methods.calibration import Calibration, calibrate, fit_calibrators
from rectitude.federated.methods.constraints import (
    Form,
    best_class,
    contrasts,
    events_of,
    shifted_scores,
    shifts,
)
from rectitude.federated.methods.duals import Optimum, minimise
from rectitude.federated.methods.pooling import blend, differences, histogram_of
from rectitude.federated.methods.population import Population
from rectitude.federated.methods.post_server import DUAL, REACH, SCORES, SPREAD, STATS, PostServer
from rectitude.federated.methods.tolerances import local_tolerance, require_fair


class FedFACTPostConfig(FairConfig):
    """Settings of FedFACT-Post."""

    rounds: int = Setting(30, ge=1)
    """Most rounds of the global dual; it stops sooner where the conditions of the optimum hold."""
    form: Form = "subgroup"
    """What a tolerance bounds: the gap between a group and all (the paper's; two groups may then be up to twice as far
    apart), or between any two groups (``pairwise``), which is what is reported as gap."""
    masses: Literal["scores", "labels"] = "scores"
    """Where P(group, class) comes from: summed class probabilities, or counted labels (the paper's)."""
    calibration: Calibration = "group"
    """Calibrate the model's probabilities at each client: not at all, for all rows, or for each group."""
    fit_on: Literal["calibration", "train+calibration"] = "calibration"
    """Rows for calibrators and duals. Training rows as well halve the sampling error, and suit models that do not
    overfit (a logistic regression on thousands of rows)."""
    temperature: float = Setting(0.01, gt=0)
    """β of the smoothed maximum; usual range 0.002 to 0.1."""
    bound: float = Setting(5.0, gt=0)
    """Largest ℓ₁ norm of the duals."""
    server: Literal["quasi-newton", "gradient"] = "quasi-newton"
    """How λ moves; ``gradient`` is the paper's projected step, 0.6/√(1+t/5) over the curvature."""
    precision: float = Setting(2e-4, gt=0)
    """Violation of the optimality conditions, in units of disparity, at which rounds end."""
    resolution: int | None = Setting(200, ge=10)
    """Cells per unit of probability in which a client gathers its rows; null keeps every row."""
    pooling: Literal["none", "shrink"] = "none"
    """Whether a client keeps its local tolerance on its own rows alone, or (two classes) on its own and all clients'
    scores, mixed by how much clients turn out to differ: ``shrink`` makes the gap beyond the calibration rows smaller
    where clients are small and alike, for one masked histogram of scores by group."""
    decisions: Literal["auto", "deterministic", "randomised"] = "auto"
    """``randomised`` draws the class from the smoothed decision; ``deterministic`` takes the largest score. Equalised
    odds can be kept only by drawing, unless the groups' ROC curves meet, and so can any tolerance where probabilities
    take few values; otherwise the two differ on a handful of rows. ``auto`` draws for ``eo`` and ``eo_full``."""


class FedFACTPost(Method):
    """Class, group and client dependent shifts of probabilities, optimal for the tolerances."""

    name: ClassVar[str] = "fedfact-post"
    title: ClassVar[str] = "FedFACT-Post"
    paper: ClassVar[str] = (
        "FedFACT: A Provable Framework for Controllable Group-Fairness Calibration in Federated Learning, "
        "NeurIPS 2025, arXiv 2506.03777"
    )
    Config: ClassVar[type[MethodConfig]] = FedFACTPostConfig
    stage: ClassVar[Literal["training", "post"]] = "post"
    uses_attribute: ClassVar[bool] = True
    wire: ClassVar[tuple[Wire, ...]] = (
        Wire(
            SCORES,
            (),
            (
                Field(
                    "histogram",
                    "groups × 500 bins",
                    "rows of each group by the base model's probability of the second class; with pooling only",
                    secure=True,
                    scale=1.0,
                    sensitivity=1.0,
                ),
            ),
        ),
        Wire(
            SPREAD,
            (Field("histogram", "groups × 500 bins", "the sums of the exchange before"),),
            (
                Field(
                    "spread",
                    "groups × 3",
                    "how far the client's scores are from all clients', its share of the rows, 1; with pooling only",
                    secure=True,
                    scale=2.0**20,
                ),
            ),
        ),
        Wire(
            STATS,
            (
                Field("histogram", "groups × 500 bins", "sums over all clients; with pooling only"),
                Field("prior", "groups", "rows of its own that count as much as all others'; with pooling only"),
            ),
            (
                Field(
                    "counts",
                    "groups × classes",
                    "rows of each group by class, as labelled or as the sum of class probabilities",
                    secure=True,
                    sensitivity=1.0,
                ),
            ),
        ),
        Wire(
            DUAL,
            (
                Field("lambda", "contrasts × events", "global duals"),
                Field("totals", "groups × classes", "the sums of the first exchange"),
                Field("accuracy", "1", "1, or 0 while the tightest tolerance is looked for"),
                Field("precision", "1", "how exactly a client need solve for its own duals yet"),
            ),
            (
                Field(
                    "rates",
                    "groups × events",
                    "rows of each group to which the smoothed decision gives each event's class; with a local tolerance"
                    " the noise of differential privacy covers a row's own share, not its part in the local duals",
                    secure=True,
                    sensitivity=1.0,
                ),
                Field(
                    "out_of_reach", "1", "1 if the client cannot keep its own tolerance, else 0", secure=True, scale=1.0
                ),
            ),
        ),
        Wire(
            REACH,
            (
                Field("lambda", "contrasts × events", "global duals"),
                Field("totals", "groups × classes", "the sums of the first exchange"),
            ),
            (Field("reach", "1", "smallest local gap any decision of this client can reach", combine="each"),),
        ),
    )
    config: FedFACTPostConfig

    def __init__(self, config: MethodConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        require_fair(self.config, problem)
        if self.config.pooling != "none" and problem.n_classes != 2:
            raise ConfigError(
                f"Scores are pooled with two classes only; there are {problem.n_classes}",
                where="--set pooling",
                fix="Leave pooling at none",
            )
        self.events = events_of(self.config.criterion, problem.n_classes)

    @property
    def pools(self) -> bool:
        """Whether clients are told each other's scores, as a histogram: for tolerances of their own only."""
        return self.config.pooling != "none" and self.config.local_tolerance is not None

    @property
    def draws(self) -> bool:
        """Whether decisions are drawn."""
        odds = self.config.criterion in ("eo", "eo_full")
        return self.config.decisions == "randomised" or (self.config.decisions == "auto" and odds)

    def unaccounted(self) -> dict[str, str]:
        """Local duals, calibrators and means of cells all follow from a client's rows together."""
        config = self.config
        found = {"local duals": "--local none"} if config.local_tolerance is not None else {}
        found |= {"calibrators": "--set calibration=none"} if config.calibration != "none" else {}
        found |= {"pooled scores": "--set pooling=none"} if self.pools else {}
        return found | ({"means of cells": "--set resolution=null"} if config.resolution is not None else {})

    def contrasts(self, counts: Floats) -> Floats:
        """Weights W [C, G, E] for the counts [G, m] of all rows or of a client's own."""
        return contrasts(counts, self.events, self.config.form)

    def server(self) -> ServerHalf:
        """Minimises over λ."""
        return PostServer(self)

    def client(self, data: ClientData) -> ClientHalf:
        """Minimises over ν_k."""
        return PostClient(self, data)

    def probabilities(self, rows: Mapping[str, Array | None], shared: Arrays, personal: Arrays) -> Floats | None:
        """The model's class probabilities as this client calibrates them."""
        eta, groups = rows.get("eta"), rows.get("a")
        if eta is None or groups is None:
            raise ConfigError(
                f"{self.title} decides on class probabilities and needs the group of every row",
                fix="Give the sensitive attribute with the rows, or use fedfact-in, which does without",
            )
        calibrators = personal.get("calibrators")
        return np.asarray(eta, np.float64) if calibrators is None else calibrate(eta, groups, calibrators)

    def decide(
        self, rows: Mapping[str, Array | None], shared: Arrays, personal: Arrays, rng: np.random.Generator
    ) -> Integers:
        """The class with the largest shifted score; a client that took no part uses the global shift alone."""
        eta, groups = self.probabilities(rows, shared, personal), rows["a"]
        assert eta is not None  # noqa: S101  checked by probabilities
        assert groups is not None  # noqa: S101
        shift = shared["shift"] + personal.get("shift", 0.0)
        scores = shifted_scores(eta, groups, shift, self.events)
        if self.draws:
            noise = rng.gumbel(size=scores.shape)  # the largest of s/β + Gumbel noise is a draw from softmax(s/β)
            scores = scores + self.config.temperature * noise
        return best_class(scores, rng)


class PostClient(ClientHalf):
    """Keeps its calibrators, its rows in cells, and its own duals.

    Args:
        method: Gives settings and events.
        data: The client's.
    """

    def __init__(self, method: FedFACTPost, data: ClientData) -> None:
        config, problem = method.config, method.problem
        self.method = method
        parts = [data.calibration] if config.fit_on == "calibration" else [data.train, data.calibration]
        missing = [part for part in parts if part.eta is None]
        if missing:
            raise ConfigError("Rows have no class probabilities", fix="Train a base model or give one")
        self.eta = np.concatenate([part.eta for part in parts if part.eta is not None]).astype(np.float64)
        self.y, self.groups = np.concatenate([part.y for part in parts]), np.concatenate([part.a for part in parts])
        self.calibrators = fit_calibrators(self.eta, self.y, self.groups, problem.n_groups, config.calibration)
        self.tolerance = local_tolerance(config, data.name)
        self._totals, self._pooled = b"", b""
        self._look_at(self.eta, self.groups)
        self._contrasts = self.weights

    def _look_at(self, eta: Floats, groups: Integers, weight: Floats | None = None) -> None:
        """Take these rows for the client's people: own ones, or with bins of all clients' scores."""
        method, config, problem = self.method, self.method.config, self.method.problem
        if config.calibration != "none":
            eta = calibrate(eta, groups, self.calibrators)
        own = config.masses == "labels"
        masses, of = (np.eye(problem.n_classes)[self.y], self.groups) if own else (eta, groups)
        worth = masses if weight is None or own else masses * weight[:, None]
        self.counts = np.stack([worth[of == g].sum(axis=0) for g in range(problem.n_groups)])
        self.weights = method.contrasts(self.counts) if len(eta) else np.zeros_like(method.contrasts(self.counts + 1))
        self.population = Population(
            eta, groups, problem.n_groups, method.events, resolution=config.resolution, weight=weight
        )

    def _borrow(self, state: Arrays) -> None:
        """See the client's people as the pooled scores in its state make them."""
        if "prior" in state and self._pooled != (held := state["histogram"].tobytes() + state["prior"].tobytes()):
            self._pooled = held
            scores, groups, weight = blend(self.eta[:, 1], self.groups, state["histogram"], state["prior"])
            self._look_at(np.stack([1 - scores, scores], axis=1), groups, weight)

    def reply(self, kind: str, message: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
        """Scores, counts; or ν_k at the given λ, and the rates of the decision there."""
        if kind in (SCORES, SPREAD):
            own = histogram_of(self.eta[:, 1], self.groups, self.method.problem.n_groups)
            sent = {"histogram": own} if kind == SCORES else {"spread": differences(own, message["histogram"])}
            return sent, state
        if kind == STATS:
            state = state | message
        self._borrow(state)
        if kind == STATS:
            return {"counts": self.counts}, state
        if kind == REACH:
            return {"reach": np.asarray(self._reach())}, state
        precision = float(message["precision"])
        found = self.solve(message, state, float(message["accuracy"]), precision)
        missed = self.tolerance is not None and found.excess > max(10 * self.method.config.precision, 2 * precision)
        return {"rates": found.rates, "out_of_reach": np.asarray(float(missed))}, state | {"nu": found.duals}

    def solve(self, message: Arrays, state: Arrays, accuracy: float = 1.0, precision: float | None = None) -> Optimum:
        """Minimise over ν_k at the λ of a message or of the shared result."""
        config = self.method.config
        base = shifts(message["lambda"], self._global_contrasts(message["totals"]))
        start = state["nu"] if "nu" in state else np.zeros(self.weights.shape[::2])
        beta = self.temperature(message["totals"])
        if self.tolerance is None or not self.population.n:
            return Optimum(0 * start, self.population.rates_at(base, beta, accuracy), 0.0, 0)
        return minimise(
            self.population,
            self.weights,
            self.tolerance,
            base=base,
            start=start,
            beta=beta,
            bound=config.bound,
            accuracy=accuracy,
            precision=config.precision / 4 if precision is None else precision,
        )

    def temperature(self, totals: Floats) -> Floats:
        """β of every cell, [] or [r]."""
        return np.asarray(self.method.config.temperature)

    def _global_contrasts(self, totals: Floats) -> Floats:
        """W of all rows; the totals are the same in nearly every round."""
        if self._totals != (held := totals.tobytes()):
            self._totals, self._contrasts = held, self.method.contrasts(totals)
        return self._contrasts

    def _reach(self) -> float:
        """Smallest largest disparity of any decision of this client."""
        if self.tolerance is None or not self.population.n:
            return 0.0
        found = minimise(
            self.population,
            self.weights,
            0.0,
            base=np.zeros(self.weights.shape[1:]),
            start=np.zeros(self.weights.shape[::2]),
            beta=np.asarray(self.method.config.temperature),
            bound=1.0,
            accuracy=0.0,
        )
        return max(found.excess, 0.0)

    def personal(self, shared: Arrays, state: Arrays) -> Arrays:
        """Calibrators [G, 2, m], local duals [C, E] and the shift they cause [G, E]."""
        self._borrow(state)
        found = self.solve(shared, state)
        return {"calibrators": self.calibrators, "nu": found.duals, "shift": shifts(found.duals, self.weights)}
