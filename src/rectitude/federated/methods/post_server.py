"""Server of FedFACT-Post and LoGoFair: collects counts, moves the global duals, and knows when to stop.

Source: "FedFACT", arXiv 2506.03777, the outer problem of the bi-level dual; departures in
:mod:`rectitude.federated.methods.duals`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rectitude.core.errors import ConfigError
from rectitude.federated.contracts import (
    Arrays,
    Combined,
    Exchange,
    Floats,
    InfeasibleError,
    ServerHalf,
)
from rectitude.federated.methods.constraints import shifts
from rectitude.federated.methods.duals import DualServer, first_curvature, gradient_step, tightest
from rectitude.federated.methods.pooling import prior_rows
from rectitude.federated.methods.tolerances import local_tolerance
from rectitude.federated.plan import scoped

if TYPE_CHECKING:
    from rectitude.federated.methods.fedfact_post import FedFACTPost

SCORES, SPREAD, STATS, DUAL, REACH = "scores", "spread", "stats", "dual", "reach"
_SEARCH_ROUNDS = 40


class PostServer(ServerHalf):
    """Collects counts, then moves λ round by round.

    A client that falls out or joins changes what "all rows" are: counts are then collected again, and λ goes on from
    where it was.

    Args:
        method: Gives settings and events.
    """

    def __init__(self, method: FedFACTPost) -> None:
        self.method, self.config = method, method.config
        self.pooled: Arrays = {}  # histogram of all clients' scores and how much it counts, where it does
        self.totals: Floats | None = None
        self._known: tuple[Floats, Floats, DualServer] | None = None
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
        state |= {f"pooled/{name}": array for name, array in self.pooled.items()}
        return state if self.found is None else state | {"found": self.found}

    def restore(self, state: Arrays) -> None:
        """Put a state back."""
        self.round, self.searching, self.out_of_reach, asked, done = (int(flag) for flag in state["flags"])
        self.asked_reach, self.done = bool(asked), bool(done)
        self.members = tuple(int(k) for k in state["members"])
        self.totals, self.found = state.get("totals"), state.get("found")
        self.pooled, self._known = scoped(state, "pooled"), None
        self.points, self.seen = list(state.get("points", ())), list(state.get("seen", ()))

    def ask(self) -> Exchange | None:
        """Scores where they are pooled, then counts; then duals, until they are good enough or rounds are used up."""
        if self.method.pools and "prior" not in self.pooled:
            requires = SCORES if self.pooled else None
            return Exchange(SPREAD if self.pooled else SCORES, dict(self.pooled), self.round + 1, requires)
        if self.totals is None:
            return Exchange(STATS, dict(self.pooled), self.round + 1)
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
        rule = self._constraints()[2]
        return max(finest, 0.2 * rule.gap(self.points[len(self.seen) - 1], self.seen[-1]))

    def take(self, exchange: Exchange, combined: Combined) -> None:
        """Scores, counts, or a gradient."""
        if exchange.kind == SCORES:
            self.pooled = {"histogram": np.asarray(combined.fields["histogram"], np.float64)}
        elif exchange.kind == SPREAD:
            pooled = self.pooled["histogram"]
            self.pooled["prior"] = prior_rows(np.asarray(combined.fields["spread"], np.float64), pooled)
        elif exchange.kind == STATS:
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
        self._known = None
        start = np.zeros((len(self._constraints()[0]), len(self.method.events)))
        self.points, self.seen, self.searching = [self.points[-1] if self.points else start], [], 0
        self.done = self.config.global_tolerance is None and self.config.local_tolerance is None

    def _take_rates(self, combined: Combined) -> None:
        weights, *_ = self._constraints()
        disparity = np.add.reduce(weights * combined.fields["rates"], axis=1)
        self.seen.append(disparity / np.asarray(self.totals).sum())
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
        following = self._next()
        if following is not None and self.round < self.config.rounds:
            self.points.append(following)
            return
        best = self._best()
        self.found = np.stack([self.points[best], self.seen[best]])
        if np.abs(self.seen[best]).max(initial=0.0) > tolerance + 10 * self.config.precision:
            self.searching = 1
            self.points.append(tightest(self.seen)[1])
        else:
            self.done = True

    def _best(self) -> int:
        rule = self._constraints()[2]
        return int(np.argmin([rule.gap(point, seen) for point, seen in zip(self.points, self.seen, strict=False)]))

    def _constraints(self) -> tuple[Floats, Floats, DualServer]:
        """W of all rows, a first guess at the curvature, and the minimisation by λ: they follow from the totals."""
        if self._known is None:
            if self.totals is None:
                raise ConfigError("The duals are not known yet", fix="Run the method to its end")
            weights, config = self.method.contrasts(self.totals), self.config
            curvature = first_curvature(weights, self.totals, self.method.events)
            tolerance = config.global_tolerance or 0.0
            self._known = weights, curvature, DualServer(weights, curvature, tolerance, config.bound, config.precision)
        return self._known

    def _next(self) -> Floats | None:
        _, curvature, rule = self._constraints()
        if self.config.server == "quasi-newton":
            return rule.next(self.points, self.seen)
        if rule.gap(self.points[-1], self.seen[-1]) <= self.config.precision:
            return None
        step = 0.6 / np.sqrt(1 + len(self.points) / 5) / np.diag(curvature).reshape(self.points[-1].shape)
        return gradient_step(self.points[-1], self.seen[-1], rule.tolerance, rule.bound, step)

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
        weights, *_ = self._constraints()
        duals = self.points[-1] if self.found is None else self.found[0]
        return {"lambda": duals, "totals": np.asarray(self.totals), "shift": shifts(duals, weights)}

    def notes(self) -> dict[str, Any]:
        """Duals, the largest disparity of every round, and what was not reached."""
        found = [] if self.found is None else self.found.tolist()
        left = float(np.abs(found[1]).max(initial=0.0)) if found else None
        return {
            "global_duals": found[0] if found else [],
            "calibration_disparity": left,
            "converged": not self.searching,
            "disparity_by_round": [float(np.abs(seen).max(initial=0.0)) for seen in self.seen],
            "clients_out_of_reach": self.out_of_reach,
            "pooling_prior_rows": self.pooled["prior"].tolist() if "prior" in self.pooled else None,
            "sentences": self._short(left),
        }

    def _short(self, left: float | None) -> list[str]:
        """What a person must be told of tolerances that were not kept in the rounds there were."""
        said, tolerance = [], self.config.global_tolerance
        if left is not None and tolerance is not None and left > tolerance + 10 * self.config.precision:
            said.append(
                f"After {self.round} rounds the largest global gap on calibration rows is {left:.4f}, above the "
                f"tolerance {tolerance:g}: more rounds come nearer (--set rounds={4 * self.config.rounds})"
            )
        if self.out_of_reach:
            said.append(f"Clients whose own tolerance was not reached on calibration rows: {self.out_of_reach}")
        return said
