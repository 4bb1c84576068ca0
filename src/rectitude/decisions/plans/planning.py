"""One person's plan: solve, judge, offer alternatives, draw the frontier, and say how sure it is."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import expit, logit

from rectitude.core.errors import QueryError
from rectitude.decisions.plans.building import NOT_WEIGHED
from rectitude.decisions.plans.certainty import shapley_of_items, stability
from rectitude.decisions.plans.plan import Ends, Item, Plan, Point, mark_knee, non_dominated
from rectitude.decisions.plans.policy import Policy
from rectitude.decisions.plans.problem import Levels, Problem
from rectitude.decisions.plans.schema import Schema
from rectitude.decisions.plans.score import Score
from rectitude.decisions.plans.search import Crowd
from rectitude.decisions.plans.sentences import chance, item_sentence
from rectitude.decisions.plans.solver import Solved, Solver

N_ROBUST = 5
"""Bootstraps inside the robust objective; the others judge it."""


@dataclass(frozen=True)
class Models:
    """What plans are made and judged with."""

    planner: Score
    judge: Score
    bootstraps: tuple[Score, ...]
    families: tuple[Score, ...] = ()


class Planner:
    """Makes the plan of one problem.

    Args:
        problem: The person.
        models: The planner's score, the judge's, the bootstraps, the families of the consensus.
        policy: What to weigh.
        schema: For words.
        seed: Of the perturbations.

    Raises:
        QueryError: A consensus is asked for that the run does not have.
    """

    def __init__(self, problem: Problem, models: Models, policy: Policy, schema: Schema, *, seed: int = 0) -> None:
        self.problem, self.models, self.policy, self.schema, self.seed = problem, models, policy, schema, seed
        self.row = problem.encoded(problem.stay)[None, :]
        self.now = float(models.planner(self.row)[0])
        self.solver = Solver(problem, policy, self._embedded())
        self.judge_now = float(models.judge(self.row)[0])

    def _embedded(self) -> tuple[Score, ...]:
        """What the method optimises; several models start from the planner's log-odds, so that gains are compared."""
        models, method = self.models, self.policy.method
        if method in ("surrogate", "embedded"):
            return () if method == "surrogate" else (models.planner,)
        if method == "consensus" and not models.families:
            raise QueryError(
                "The run holds no consensus: one of its models predicts nothing, or it was fitted before there was one",
                where="method consensus", fix="Fit it again, or take another method",
            )  # fmt: skip
        members = models.families if method == "consensus" else models.bootstraps[:N_ROBUST]
        return tuple(score.stretched(1.0, self.now - float(score(self.row)[0])) for score in members)

    def plan(self) -> Plan:
        """The plan with everything the policy asks for."""
        begun = time.perf_counter()
        aim = self._aim()
        solved = self.solver.solve(aim, self.solver.limits())
        if solved.levels is None:
            if solved.status == "infeasible":
                return self._infeasible(begun)
            return self._finished(begun, solved, self.problem.stay, "No plan was found in the time allowed", ())
        chosen, solved, rejected = self._judged(solved)
        return self._finished(begun, solved, chosen, self._verdict(solved, chosen, rejected), rejected)

    def _aim(self) -> Any:
        if self.policy.target is None:
            return self.solver.net_aim()
        return self.solver.target_aim(self._floor(self.policy.target))

    def _floor(self, target: float) -> float:
        """The worth that stands for a probability; the surrogate starts from nothing, not from the model's score."""
        return float(logit(target)) - (0.0 if self.solver.scores else self.now)

    def _judged(self, solved: Solved) -> tuple[Levels, Solved, tuple[dict[str, Any], ...]]:
        """The best plan that the judge accepts, among it and plans with other features."""
        stay = self.problem.stay
        rejected: list[dict[str, Any]] = []
        forbidden: list[frozenset[str]] = []
        first = solved
        for _ in range(1 + self.policy.alternatives):
            levels = solved.levels
            if levels is None or levels == stay or self.policy.target is not None:
                break
            gain = self.judge_gain(levels)
            if gain >= self.policy.judge_gain:
                return levels, solved, tuple(rejected)
            rejected.append({**self._summary(levels), "judge_gain": gain})
            forbidden.append(frozenset(self.problem.units(levels)))
            solved = self.solver.solve(self.solver.net_aim(), self.solver.limits(forbidden=tuple(forbidden)))
        if self.policy.target is not None:
            assert first.levels is not None  # noqa: S101 -- for the type checker; the caller has looked
            return first.levels, first, ()
        return stay, first, tuple(rejected)

    def judge_gain(self, levels: Levels) -> float:
        """Log-odds by the judge."""
        return float(self.models.judge(self.problem.encoded(levels)[None, :])[0]) - self.judge_now

    def gain(self, levels: Levels) -> float:
        """Log-odds by the planner."""
        return float(self.models.planner(self.problem.encoded(levels)[None, :])[0]) - self.now

    def _verdict(self, solved: Solved, levels: Levels, rejected: Sequence[Any]) -> str:
        good = self.schema.target.words
        if levels != self.problem.stay:
            p0, p1 = expit(self.now), expit(self.now + self.gain(levels))
            n = len(self.problem.units(levels))
            late = "" if solved.status == "optimal" else " (the best found in the time allowed)"
            return (
                f"{n} change{'s' if n > 1 else ''} would go with a chance of {good} of {chance(p1)} rather than "
                f"{chance(p0)}{late}"
            )
        if self.policy.target is not None:
            return f"Change nothing: the chance of {good} is {chance(expit(self.now))} already"
        if rejected:
            return "Change nothing: what the model would advise does not hold up before the independent judge"
        if not self.problem.choices and any(NOT_WEIGHED in note for note in self.problem.notes):
            return "Change nothing: nothing that a plan could change is answered"
        if not self.problem.choices:
            return "Change nothing: there is nothing this person could change"
        most = self.solver.solve(self.solver.gain_aim(), self.solver.limits()).levels or self.problem.stay
        if self.solver.value(most, self.solver.gain_aim()) >= self.policy.min_gain:
            return "Change nothing: what would help takes more trouble than it brings"
        return f"Change nothing: no plan within the limits brings {self.policy.min_gain:g} log-odds or more"

    # What belongs to a plan

    def _finished(
        self, begun: float, solved: Solved, levels: Levels, verdict: str, rejected: tuple[dict[str, Any], ...]
    ) -> Plan:
        problem, policy = self.problem, self.policy
        shares: dict[str, float] = {}
        similarity = None
        if policy.draws and problem.choices:
            crowd = Crowd(problem, self.solver.tables, self._aim(), self.solver.limits())
            shares, similarity = stability(
                self.solver, crowd, levels, self.models.bootstraps, draws=policy.draws, seed=self.seed
            )
        gap = None
        if solved.levels is not None and math.isfinite(solved.bound):
            gap = max(0.0, solved.bound - solved.objective)
        row = problem.encoded(levels)[None, :]
        after = np.array([float(score(row)[0]) for score in self.models.bootstraps])
        return Plan(
            status=solved.status,
            verdict=verdict,
            items=self._items(levels, shares),
            p0=float(expit(self.now)),
            p1=float(expit(self.now + self.gain(levels))),
            p0_judge=float(expit(self.judge_now)),
            p1_judge=float(expit(self.judge_now + self.judge_gain(levels))),
            p1_ends=_ends(expit(after)) if len(after) else None,
            gain=self.gain(levels),
            judge_gain=self.judge_gain(levels),
            effort=problem.effort(levels),
            gap=gap,
            frontier=self.frontier() if policy.frontier != "none" else (),
            alternatives=tuple(self._alternatives(levels)),
            rejected=rejected,
            similarity=similarity,
            notes=problem.notes,
            seconds=time.perf_counter() - begun,
        )

    def _items(self, levels: Levels, shares: dict[str, float]) -> tuple[Item, ...]:
        problem = self.problem
        changed = [index for index, choice in enumerate(problem.choices) if levels[index] != choice.current]
        own = shapley_of_items(problem, levels, (self.models.planner, *self.models.bootstraps))
        items = []
        for index in changed:
            choice, feature = problem.choices[index], self.schema.used()[problem.choices[index].name]
            gains = own[choice.unit]
            before, after = choice.values[choice.current], choice.values[levels[index]]
            items.append(
                Item(
                    choice.name,
                    before,
                    after,
                    feature.unit,
                    float(choice.effort[levels[index]]),
                    float(gains[0]),
                    _ends(gains[1:]) if len(gains) > 1 else None,
                    shares.get(choice.unit),
                    item_sentence(choice.name, feature, before, after),
                )
            )
        return tuple(sorted(items, key=lambda item: -item.gain))

    def _sentences(self, levels: Levels) -> tuple[str, ...]:
        return tuple(item.sentence for item in self._items(levels, {}))

    def _summary(self, levels: Levels) -> dict[str, Any]:
        gain = self.gain(levels)
        return {
            "plan": list(self._sentences(levels)),
            "gain": gain,
            "p1": float(expit(self.now + gain)),
            "effort": self.problem.effort(levels),
        }

    def _alternatives(self, levels: Levels) -> list[dict[str, Any]]:
        """Other good plans, each with a set of changed features of its own."""
        found: list[dict[str, Any]] = []
        forbidden = [frozenset(self.problem.units(levels))] if levels != self.problem.stay else []
        while forbidden and len(found) < self.policy.alternatives:
            solved = self.solver.solve(self._aim(), self.solver.limits(forbidden=tuple(forbidden)))
            if solved.levels is None or solved.levels == self.problem.stay:
                break
            judged = self.judge_gain(solved.levels)
            entry = {**self._summary(solved.levels), "judge_gain": judged}
            found.append({**entry, "accepted": judged >= self.policy.judge_gain})
            forbidden.append(frozenset(self.problem.units(solved.levels)))
        return found

    # Frontier

    def frontier(self) -> tuple[Point, ...]:
        """Non-dominated plans between doing nothing and the largest gain, by the ε-constraint method."""
        if not self.problem.choices:
            return (self._point(self.problem.stay, proven=True),)
        found = self._by_effort() if self.policy.frontier == "effort" else self._by_changes()
        return mark_knee(non_dominated(found, by=self.policy.frontier))

    def _by_changes(self) -> list[Point]:
        aim = self.solver.gain_aim()
        most = self.solver.solve(aim, self.solver.limits(changes=None))
        if most.levels is None:
            return []
        n = len(self.problem.units(most.levels))
        points = [self._point(most.levels, proven=most.status == "optimal")]
        for changes in range(min(n - 1, self.policy.max_frontier), -1, -1):
            solved = self.solver.solve(aim, self.solver.limits(changes=changes))
            if solved.levels is None:
                break
            points.append(self._point(solved.levels, proven=solved.status == "optimal"))
        return points

    def _by_effort(self) -> list[Point]:
        aim = self.solver.gain_aim()
        steps = [float(step) for choice in self.problem.choices for step in np.diff(np.unique(choice.effort))]
        least = max(min(steps, default=1.0) / 2, 1e-6)
        points: list[Point] = []
        budget = self.policy.budget
        while len(points) < self.policy.max_frontier:
            solved = self.solver.solve(aim, self.solver.limits(changes=None, effort=budget))
            if solved.levels is None:
                break
            points.append(self._point(solved.levels, proven=solved.status == "optimal"))
            effort = self.problem.effort(solved.levels)
            if effort <= 1e-9:
                break
            budget = effort - min(least, effort)
        return points

    def _point(self, levels: Levels, *, proven: bool) -> Point:
        gain = self.gain(levels)
        return Point(
            len(self.problem.units(levels)),
            self.problem.effort(levels),
            gain,
            float(expit(self.now + gain)),
            self._sentences(levels),
            proven=proven,
        )

    # Infeasible

    def _infeasible(self, begun: float) -> Plan:
        from rectitude.decisions.plans.conflict import conflict

        stay = self.problem.stay
        reasons = tuple(conflict(self.problem, self.policy))
        verdict = "No plan can do all that is asked: " + "; ".join(reasons)
        frontier = "none"
        if not reasons:  # the rest can be done, so the target cannot
            best = self.solver.solve(self.solver.gain_aim(), self.solver.limits())
            reach = stay if best.levels is None else best.levels
            p1 = float(expit(self.now + self.gain(reach)))
            reasons = (
                f"a chance of {chance(self.policy.target or 1.0)} is asked for, and {chance(p1)} is the most in reach",
            )
            verdict = f"The target is out of reach: {reasons[0]}"
            frontier = self.policy.frontier
        solved = Solved("infeasible", None, -math.inf, -math.inf, 0.0)
        quiet = replace_policy(self, alternatives=0, draws=0, frontier=frontier)
        plan = quiet._finished(begun, solved, stay, verdict, ())
        return replace(plan, reasons=reasons, gap=None)


def replace_policy(planner: Planner, **other: Any) -> Planner:
    """The same planner with some of its policy replaced."""
    policy = planner.policy.model_copy(update=other)
    return Planner(planner.problem, planner.models, policy, planner.schema, seed=planner.seed)


def _ends(values: np.ndarray) -> Ends:
    return float(np.quantile(values, 0.05)), float(np.quantile(values, 0.95))
