"""LoGoFair: thresholds for each group at each client, optimal for a global and local tolerances.

With two classes and two groups the shifted scores of :mod:`rectitude.federated.methods.constraints` come down to
thresholds of the calibrated score η: for demographic parity

    t_{0,c} = ½ + λ/(2p_0) + μ_c/(2π_{0,c}),      t_{1,c} = ½ − λ/(2p_1) − μ_c/(2π_{1,c}),

so that a positive dual raises the bar for group 0; here ν_c = μ_c/P(C=c) is stored. For equalised odds, with u and v
what the duals of true- and false-positive rates shift a group by, t = (1 + v)/(2 − u + v).

Source: "LoGoFair: Post-Processing for Local and Global Fairness in Federated Learning", arXiv 2503.17231 (AAAI 2025).
Departures, each for a reason given in docs/systems/logofair.md: the margin is smoothed on a common scale
(``smoothing="raw"`` is the released code's, which leaves rare groups unfair); duals are signed for both criteria;
clients send rates rather than their own steps of λ; probabilities of groups are those of all rows.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field as Setting

from rectitude.core.errors import ConfigError
from rectitude.federated.contracts import Arrays, ClientData, ClientHalf, Floats, MethodConfig, Problem
from rectitude.federated.methods.constraints import Events, Form, shifts
from rectitude.federated.methods.fedfact_post import FedFACTPost, FedFACTPostConfig, PostClient

_RELEASED_BETA = 1000.0


class LoGoFairConfig(FedFACTPostConfig):
    """Settings of LoGoFair."""

    form: Form = "pairwise"
    """What a tolerance bounds; with two groups the gap between them (the paper's)."""
    smoothing: Literal["margin", "raw"] = "margin"
    """``margin``: one temperature for all groups. ``raw``: that of P(group, client) times the margin, β = 1000, as in
    the released code; rare groups are then smoothed over the whole range of scores."""
    final_temperature: float = Setting(0.002, gt=0)
    """Temperature with which a client solves for its own dual once more at the end: all but the bare hinge. Not where
    decisions are drawn, which are drawn at the temperature of the rounds."""


class LoGoFair(FedFACTPost):
    """Group- and client-dependent thresholds."""

    name: ClassVar[str] = "logofair"
    title: ClassVar[str] = "LoGoFair"
    paper: ClassVar[str] = (
        "LoGoFair: Post-Processing for Local and Global Fairness in Federated Learning, AAAI 2025, arXiv 2503.17231"
    )
    Config: ClassVar[type[MethodConfig]] = LoGoFairConfig
    config: LoGoFairConfig

    def __init__(self, config: MethodConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        if problem.n_classes != 2 or problem.n_groups != 2:
            raise ConfigError(
                f"LoGoFair is for two classes and two groups; there are {problem.n_classes} and {problem.n_groups}",
                where="--method",
                fix="Use fedfact-post, which does the same for any number",
            )

    def client(self, data: ClientData) -> ClientHalf:
        """Minimises over its own dual."""
        return LoGoFairClient(self, data)


class LoGoFairClient(PostClient):
    """FedFACT-Post's client, which ends with thresholds.

    Args:
        method: Gives settings and events.
        data: The client's.
    """

    method: LoGoFair
    ending = False

    def temperature(self, totals: Floats) -> Floats:
        """β of every cell, on the scale of the score."""
        if self.ending and not self.method.draws:
            return np.asarray(self.method.config.final_temperature)
        if self.method.config.smoothing == "margin":
            return np.asarray(self.method.config.temperature)
        share = self.population.member.sum(axis=1) / totals.sum()  # P(group, client)
        return np.asarray(1 / (_RELEASED_BETA * np.maximum(share, 1e-12)))[self.population.groups]

    def personal(self, shared: Arrays, state: Arrays) -> Arrays:
        """Calibrators, the local dual, the shift it causes, and the thresholds [G] of the calibrated score.

        NaN stands for a decision that is not a threshold: everybody or nobody above one.
        """
        self._borrow(state)
        rough = self.solve(shared, state)
        self.ending = True
        found = self.solve(shared, {"nu": rough.duals})
        self.ending = False
        shift = shifts(found.duals, self.weights)
        return {
            "calibrators": self.calibrators,
            "nu": found.duals,
            "shift": shift,
            "thresholds": thresholds(shared["shift"] + shift, self.method.events),
        }


def thresholds(shift: Floats, events: Events) -> Floats:
    """Thresholds above which a calibrated score is accepted, float64 [G]; below 0 or above 1: all or none are.

    A row is accepted where η − Σ_e φ_e(η) shift[a, e] > 1 − η, all events being of class 1.

    Args:
        shift: Of all duals together, [G, E].
        events: What is compared; two classes.

    Returns:
        NaN where the inequality holds below a value rather than above it.
    """
    at_zero, at_one = events.given[:, 0].astype(float), events.given[:, 1].astype(float)  # φ_e at η = 0 and 1
    constant, slope = -1 - shift @ at_zero, 2 - shift @ (at_one - at_zero)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(slope > 0, -constant / slope, np.nan))
