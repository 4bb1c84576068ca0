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
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field as Setting

from rectitude.core.errors import ConfigError, did_you_mean
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
    InfeasibleError,
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
from rectitude.federated.methods.duals import (
    DualServer,
    Optimum,
    first_curvature,
    gradient_step,
    minimise,
    tightest,
)
from rectitude.federated.methods.population import Population

STATS, DUAL, REACH = "stats", "dual", "reach"
_SEARCH_ROUNDS = 40


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
            STATS,
            (),
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
        self.events = events_of(self.config.criterion, problem.n_classes)

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


def require_fair(config: FairConfig, problem: Problem) -> None:
    """Check tolerances against the problem.

    Raises:
        ConfigError: A local tolerance is negative or names a client there is not, or there is one group only.
    """
    local = config.local_tolerance
    tolerances = local if isinstance(local, dict) else {} if local is None else {"all clients": local}
    for name, value in tolerances.items():
        if value < 0:
            raise ConfigError(f"The local tolerance of {name} is {value}", fix="A tolerance is a gap: zero or more")
        if isinstance(local, dict) and name not in problem.clients:
            raise ConfigError(f"There is no client '{name}'", where="--local", fix=did_you_mean(name, problem.clients))
    if problem.n_groups < 2:
        raise ConfigError("There is only one group, so there is nothing to compare", fix="Choose another attribute")


def local_tolerance(config: FairConfig, name: str) -> float | None:
    """A client's own tolerance, or None where it has none."""
    local = config.local_tolerance
    return local.get(name) if isinstance(local, dict) else local


class PostServer(ServerHalf):
    """Collects counts, then moves λ round by round.

    A client that falls out or joins changes what "all rows" are: counts are then collected again, and λ goes on from
    where it was.

    Args:
        method: Gives settings and events.
    """

    def __init__(self, method: FedFACTPost) -> None:
        self.method, self.config = method, method.config
        self.totals: Floats | None = None
        self.members: tuple[int, ...] = ()
        self.points: list[Floats] = []
        self.seen: list[Floats] = []
        self.round = 0
        self.found: Floats | None = None  # best λ, and the disparities there
        self.searching = 0  # rounds spent on the tightest tolerance
        self.out_of_reach = 0
        self.asked_reach = self.done = False

    def state(self) -> Arrays:
        """Counts, the duals and disparities of every round, and counters."""
        flags = [self.round, self.searching, self.out_of_reach, self.asked_reach, self.done]
        state: Arrays = {"flags": np.array(flags, np.int64), "members": np.array(self.members, np.int64)}
        if self.totals is not None:
            state |= {"totals": self.totals, "points": np.array(self.points), "seen": np.array(self.seen)}
        return state if self.found is None else state | {"found": self.found}

    def restore(self, state: Arrays) -> None:
        """Put a state back."""
        self.round, self.searching, self.out_of_reach, asked, done = (int(flag) for flag in state["flags"])
        self.asked_reach, self.done = bool(asked), bool(done)
        self.members = tuple(int(k) for k in state["members"])
        self.totals, self.found = state.get("totals"), state.get("found")
        self.points, self.seen = list(state.get("points", ())), list(state.get("seen", ()))

    def ask(self) -> Exchange | None:
        """Counts first; then duals, until they are good enough or the rounds are used up."""
        if self.totals is None:
            return Exchange(STATS, {}, self.round + 1)
        if self.done and (self.asked_reach or not self.out_of_reach):
            return None
        here = self.points[-1] if self.found is None or (self.searching and not self.done) else self.found[0]
        message: Arrays = {"lambda": here, "totals": self.totals}
        if self.done:
            return Exchange(REACH, message, max(self.round, 1), requires=STATS)
        message["accuracy"] = np.asarray(0.0 if self.searching else 1.0)
        message["precision"] = np.asarray(self._precision())
        return Exchange(DUAL, message, self.round + 1, requires=STATS)

    def _precision(self) -> float:
        """A fifth of what is still wrong: exact enough for the next step, and quick at the beginning."""
        finest = self.config.precision / 2
        if self.searching or not self.seen:
            return finest
        rule = self._rule(self.config.global_tolerance or 0.0)
        return max(finest, 0.2 * rule.gap(self.points[len(self.seen) - 1], self.seen[-1]))

    def take(self, exchange: Exchange, combined: Combined) -> None:
        """Counts, or a gradient."""
        if exchange.kind == STATS:
            self._take_counts(combined)
        elif exchange.kind == REACH:
            self._refuse_local(combined.fields["reach"])
        elif combined.replied != self.members:
            self.round += 1
            self.totals = None if self.round < self.config.rounds else self.totals
            self.done = self.totals is not None
        else:
            self._take_rates(combined)

    def _take_counts(self, combined: Combined) -> None:
        self.totals, self.members = np.asarray(combined.fields["counts"], np.float64), combined.replied
        weights = self.method.contrasts(self.totals)
        start = np.zeros((len(weights), len(self.method.events)))
        self.points, self.seen, self.searching = [self.points[-1] if self.points else start], [], 0
        self.done = self.config.global_tolerance is None and self.config.local_tolerance is None

    def _take_rates(self, combined: Combined) -> None:
        assert self.totals is not None  # noqa: S101  duals are asked for once counts are there
        weights = self.method.contrasts(self.totals)
        self.seen.append(np.einsum("cge,ge->ce", weights, combined.fields["rates"]) / self.totals.sum())
        if self.config.local_tolerance is not None and not self.searching:
            self.out_of_reach = round(float(combined.fields["out_of_reach"]))
        self.round += 1
        tolerance = self.config.global_tolerance
        if tolerance is None:
            self.done = True
            return
        if self.searching:
            self._search()
            return
        following = self._next(weights, tolerance)
        if following is not None and self.round < self.config.rounds:
            self.points.append(following)
            return
        best = self._best(tolerance)
        self.found = np.stack([self.points[best], self.seen[best]])
        if np.abs(self.seen[best]).max(initial=0.0) > tolerance + 10 * self.config.precision:
            self.searching = 1
            self.points.append(tightest(self.seen)[1])
        else:
            self.done = True

    def _rule(self, tolerance: float) -> DualServer:
        return DualServer(np.zeros((0, 0, 0)), np.zeros((0, 0)), tolerance, self.config.bound, self.config.precision)

    def _best(self, tolerance: float) -> int:
        rule = self._rule(tolerance)
        return int(np.argmin([rule.gap(point, seen) for point, seen in zip(self.points, self.seen, strict=False)]))

    def _next(self, weights: Floats, tolerance: float) -> Floats | None:
        assert self.totals is not None  # noqa: S101
        curvature = first_curvature(weights, self.totals, self.method.events)
        rule = DualServer(weights, curvature, tolerance, self.config.bound, self.config.precision)
        if self.config.server == "quasi-newton":
            return rule.next(self.points, self.seen)
        if rule.gap(self.points[-1], self.seen[-1]) <= self.config.precision:
            return None
        step = 0.6 / np.sqrt(1 + len(self.points) / 5) / np.diag(curvature).reshape(self.points[-1].shape)
        return gradient_step(self.points[-1], self.seen[-1], tolerance, self.config.bound, step)

    def _search(self) -> None:
        """Look for the tightest tolerance any mixture of decisions keeps, whatever its accuracy."""
        before, (reached, duals) = tightest(self.seen[:-1])[0], tightest(self.seen)
        gained = before - float((self.points[-1] * self.seen[-1]).sum())
        asked = self.config.global_tolerance or 0.0
        if reached > asked and gained > self.config.precision and self.searching < _SEARCH_ROUNDS:
            self.searching += 1
            self.points.append(duals)
            return
        if reached > asked + self.config.precision:
            raise InfeasibleError(
                f"No decision keeps the global gap within {asked:g}",
                where="--global",
                fix=f"The tightest that was reached is {reached:.4f}; ask for that, or loosen the local tolerances",
            )
        self.done = True  # it can be kept, and was not in these rounds: the notes say so

    def _refuse_local(self, reach: Floats) -> None:
        names = self.method.problem.clients
        told = [
            f"{names[k]}: {float(value):.4f}"
            for k, value in enumerate(reach)
            if np.isfinite(value) and value > (local_tolerance(self.config, names[k]) or 0.0)
        ]
        self.asked_reach = True
        if told:
            raise InfeasibleError(
                f"{len(told)} of {len(names)} clients cannot keep their local tolerance",
                where="--local",
                fix=f"The tightest they can reach: {', '.join(told)}",
            )

    def shared(self) -> Arrays:
        """Duals, totals and the shift of every client's scores [G, E]."""
        if self.totals is None:
            raise ConfigError("The duals are not known yet", fix="Run the method to its end")
        duals = self.points[-1] if self.found is None else self.found[0]
        shift = shifts(duals, self.method.contrasts(self.totals))
        return {"lambda": duals, "totals": self.totals, "shift": shift}

    def notes(self) -> dict[str, Any]:
        """Duals and the largest disparity of every round."""
        found = [] if self.found is None else self.found.tolist()
        return {
            "global_duals": found[0] if found else [],
            "calibration_disparity": float(np.abs(found[1]).max(initial=0.0)) if found else None,
            "converged": not self.searching,
            "disparity_by_round": [float(np.abs(seen).max(initial=0.0)) for seen in self.seen],
            "clients_out_of_reach": self.out_of_reach,
        }


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
        eta = np.concatenate([part.eta for part in parts if part.eta is not None])
        y, groups = np.concatenate([part.y for part in parts]), np.concatenate([part.a for part in parts])
        self.calibrators = fit_calibrators(eta, y, groups, problem.n_groups, config.calibration)
        eta = calibrate(eta, groups, self.calibrators) if config.calibration != "none" else eta.astype(np.float64)
        masses = eta if config.masses == "scores" else np.eye(problem.n_classes)[y]
        self.counts = np.stack([masses[groups == g].sum(axis=0) for g in range(problem.n_groups)])
        self.tolerance = local_tolerance(config, data.name)
        self.weights = method.contrasts(self.counts) if len(eta) else np.zeros_like(method.contrasts(self.counts + 1))
        self._totals = b""
        self._contrasts = self.weights
        self.population = Population(eta, groups, problem.n_groups, method.events, resolution=config.resolution)

    def reply(self, kind: str, message: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
        """Counts; or ν_k at the given λ, and the rates of the decision there."""
        if kind == STATS:
            return {"counts": self.counts}, state
        accuracy = float(message.get("accuracy", np.ones(())))
        if kind == REACH:
            return {"reach": np.asarray(self._reach())}, state
        found = self.solve(message, state, accuracy, float(message["precision"]))
        missed = self.tolerance is not None and found.excess > max(
            10 * self.method.config.precision, 2 * float(message["precision"])
        )
        return {"rates": found.rates, "out_of_reach": np.asarray(float(missed))}, {"nu": found.duals}

    def solve(self, message: Arrays, state: Arrays, accuracy: float = 1.0, precision: float | None = None) -> Optimum:
        """Minimise over ν_k at the λ of a message or of the shared result."""
        config = self.method.config
        base = shifts(message["lambda"], self._global_contrasts(message["totals"]))
        start = state.get("nu", np.zeros(self.weights.shape[::2]))
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
        found = self.solve(shared, state)
        return {"calibrators": self.calibrators, "nu": found.duals, "shift": shifts(found.duals, self.weights)}
