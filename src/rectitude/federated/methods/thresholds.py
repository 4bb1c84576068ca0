"""Threshold post-processing: each group gets a threshold of its own, from pooled histograms or at each client alone.

For every group the decision is a probability of acceptance that rises with the score: a mixture of thresholds, with
weight d_b ≥ 0 on the one below bin b. The most accurate mixture within the tolerance solves a linear programme.
``threshold-global`` solves it once on the sum of all clients' histograms (what one would do with pooled data);
``threshold-local`` at each client on its own, without communication, so that nothing is promised about all clients
together.

Source: Hardt, Price and Srebro, "Equality of Opportunity in Supervised Learning", NeurIPS 2016, arXiv 1610.02413; local
form as in "A Post-Processing-Based Fair Federated Learning Framework", arXiv 2501.15318. Departure: a tolerance.

Letters: n rows, G groups, B bins, E events.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field as Setting
from scipy.optimize import linprog

from rectitude.core.errors import ConfigError
from rectitude.federated.contracts import (
    Array,
    Arrays,
    ClientData,
    ClientHalf,
    Combined,
    Exchange,
    FairConfig,
    FederationError,
    Field,
    Floats,
    Integers,
    Method,
    MethodConfig,
    Problem,
    ServerHalf,
    Wire,
)
from rectitude.federated.methods.constraints import contrasts, events_of
from rectitude.federated.methods.tolerances import local_tolerance, require_fair

HISTOGRAM = "histogram"


class ThresholdConfig(FairConfig):
    """Settings of threshold post-processing."""

    rounds: int = Setting(1, ge=1)
    """One exchange is all there is."""
    bins: int = Setting(200, ge=10)
    """B, of scores between 0 and 1; a client's rows should be many more."""


class GlobalThresholds(Method):
    """One threshold a group, the same at every client."""

    name: ClassVar[str] = "threshold-global"
    title: ClassVar[str] = "Thresholds, global"
    paper: ClassVar[str] = (
        "Hardt, Price and Srebro, Equality of Opportunity in Supervised Learning, NeurIPS 2016, arXiv 1610.02413"
    )
    Config: ClassVar[type[MethodConfig]] = ThresholdConfig
    stage: ClassVar[Literal["training", "post"]] = "post"
    uses_attribute: ClassVar[bool] = True
    wire: ClassVar[tuple[Wire, ...]] = (
        Wire(
            HISTOGRAM,
            (),
            (
                Field(
                    "histogram",
                    "groups × classes × bins",
                    "calibration rows by group, class and bin of the score",
                    secure=True,
                    sensitivity=1.0,
                ),
            ),
        ),
    )
    config: ThresholdConfig

    def __init__(self, config: MethodConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        require_fair(self.config, problem)
        if problem.n_classes != 2:
            raise ConfigError(
                f"{self.title}: thresholds are for two classes; there are {problem.n_classes}",
                where="--method",
                fix="Use fedfact-post, which is for any number of classes",
            )

    def histogram(self, data: ClientData) -> Floats:
        """Calibration rows by group, class and bin, [G, 2, B]."""
        rows = data.calibration
        if rows.eta is None:
            raise ConfigError("Rows have no class probabilities", fix="Train a base model or give one")
        counts = np.zeros((self.problem.n_groups, 2, self.config.bins))
        np.add.at(counts, (rows.a, rows.y, bin_of(rows.eta[:, 1], self.config.bins)), 1.0)
        return counts

    def accept(self, histogram: Floats, tolerance: float | None) -> Floats:
        """Acceptance of each group and bin within a tolerance, [G, B]."""
        return accept_by_bin(histogram, self.config.criterion, tolerance)

    def server(self) -> ServerHalf:
        """Adds histograms up."""
        return ThresholdServer(self)

    def client(self, data: ClientData) -> ClientHalf:
        """Counts."""
        return ThresholdClient(self, data)

    def decide(
        self, rows: Mapping[str, Array | None], shared: Arrays, personal: Arrays, rng: np.random.Generator
    ) -> Integers:
        """1 with the probability of the row's group and bin."""
        eta, groups = rows.get("eta"), rows.get("a")
        if eta is None or groups is None:
            raise ConfigError(f"{self.title} needs class probabilities and the group of every row")
        accept = personal.get("accept", shared.get("accept"))
        if accept is None:
            raise ConfigError(
                f"{self.title}: every client has its own, and it is not said whose rows these are",
                where="--client",
                fix="Name the client",
            )
        chance = accept[groups, bin_of(eta[:, 1], self.config.bins)]
        return np.asarray(rng.random(len(chance)) < chance, np.int64)


class LocalThresholds(GlobalThresholds):
    """Thresholds of each client's own; nothing is sent."""

    name: ClassVar[str] = "threshold-local"
    title: ClassVar[str] = "Thresholds, local"
    wire: ClassVar[tuple[Wire, ...]] = ()

    def server(self) -> ServerHalf:
        """Asks for nothing."""
        return ThresholdServer(self, silent=True)


class ThresholdServer(ServerHalf):
    """One sum, one linear programme.

    Args:
        method: Gives settings.
        silent: Ask for nothing and share nothing.
    """

    def __init__(self, method: GlobalThresholds, *, silent: bool = False) -> None:
        self.method, self.silent = method, silent
        self.histogram: Floats | None = None

    def state(self) -> Arrays:
        """The sum, once it is there."""
        return {} if self.histogram is None else {"histogram": self.histogram}

    def restore(self, state: Arrays) -> None:
        """Put a state back."""
        self.histogram = state.get("histogram")

    def ask(self) -> Exchange | None:
        """Histograms, once."""
        return None if self.silent or self.histogram is not None else Exchange(HISTOGRAM, {}, 1)

    def take(self, exchange: Exchange, combined: Combined) -> None:
        """The sum of the histograms."""
        self.histogram = np.maximum(np.asarray(combined.fields["histogram"], np.float64), 0.0)

    def shared(self) -> Arrays:
        """Acceptance by group and bin [G, B]."""
        if self.silent:
            return {}
        if self.histogram is None:
            raise FederationError("No histogram has come in yet")
        return {"accept": self.method.accept(self.histogram, self.method.config.global_tolerance)}


class ThresholdClient(ClientHalf):
    """Counts scores; with local thresholds it solves for its own.

    Args:
        method: Gives settings.
        data: The client's.
    """

    def __init__(self, method: GlobalThresholds, data: ClientData) -> None:
        self.method, self.data = method, data
        self.histogram = method.histogram(data)

    def reply(self, kind: str, message: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
        """The histogram."""
        return {"histogram": self.histogram}, state

    def personal(self, shared: Arrays, state: Arrays) -> Arrays:
        """Acceptance by group and bin of the client's own [G, B], where thresholds are local."""
        if "accept" in shared:
            return {}
        return {"accept": self.method.accept(self.histogram, local_tolerance(self.method.config, self.data.name))}


def bin_of(scores: Floats, bins: int) -> Integers:
    """Bin of each score in [0, 1], int64 [n]; one half begins a bin."""
    return np.minimum((np.asarray(scores, np.float64) * bins).astype(np.int64), bins - 1)


def accept_by_bin(
    histogram: Floats, criterion: Literal["dp", "eop", "eo", "eo_full"], tolerance: float | None
) -> Floats:
    """The most accurate acceptance that rises with the score and keeps the pairwise gap, float64 [G, B].

    Args:
        histogram: Rows by group, class and bin, [G, 2, B].
        criterion: What is compared.
        tolerance: Largest gap between two groups; None for none.
    """
    groups, _, bins = histogram.shape
    events = events_of(criterion, 2)
    weights = contrasts(histogram.sum(axis=2), events, "pairwise")  # [C, G, E]
    per_event = np.einsum("ei,gib->geb", events.given.astype(np.float64), histogram)
    total = max(float(histogram.sum()), 1.0)
    gain = (histogram[:, 1] - histogram[:, 0]) / total
    gain = gain + 1e-9 * ((np.arange(bins) + 0.5) / bins - 0.5)  # where rows say nothing, the score does
    gaps = np.einsum("cge,geb->cegb", weights, per_event).reshape(-1, groups, bins) / total
    if tolerance is None:
        gaps, tolerance = gaps[:0], 0.0
    gain, gaps = (np.flip(np.cumsum(np.flip(part, -1), axis=-1), -1) for part in (gain, gaps))  # by threshold
    gaps = gaps.reshape(-1, groups * bins)
    each_group = np.kron(np.eye(groups), np.ones(bins))
    solved = linprog(
        -gain.ravel(),
        A_ub=np.concatenate([each_group, gaps, -gaps]),
        b_ub=np.concatenate([np.ones(groups), np.full(2 * len(gaps), tolerance)]),
        bounds=(0.0, None),
        method="highs",
    )
    if solved.x is None:
        raise FederationError(f"The thresholds' linear programme was not solved: {solved.message}")
    return np.asarray(np.clip(np.cumsum(solved.x.reshape(groups, bins), axis=1), 0.0, 1.0))
