"""The paper's mixed-integer model, with OR-Tools CP-SAT: one-hot levels, order literals, and a trained score inside.

max  worth(F(x′)) − λ Σ ρ r c s − μ Σ z   subject to one level per choice, cardinality, budget, hours, rules, and 'do
nothing unless it is worth it'. The surrogate's gains enter as weights of levels. A trained ensemble enters as one
literal per leaf, exactly one of each tree true, bounded by the literals of its splits (arXiv 1705.10883, equations 2a
to 2d). Before that, levels that no better plan can use are screened out, which shrinks most trees to nothing; CP-SAT
proves optimality over what is left.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from rectitude.core.errors import MissingExtraError, RectitudeError
from rectitude.decisions.plans.embed import Leaves, Reduced, Tables, reduce
from rectitude.decisions.plans.policy import Policy
from rectitude.decisions.plans.problem import Levels, Problem
from rectitude.decisions.plans.score import Score
from rectitude.decisions.plans.search import Aim, Crowd, Limits

SCALE = 1_000_000
"""Log-odds are whole numbers of millionths in the model."""
TOLERANCE = 1e-3
"""How far the solver's value may be from the model's prediction."""
Status = Literal["optimal", "feasible", "infeasible"]


@dataclass(frozen=True)
class Solved:
    """The outcome of one solve.

    Attributes:
        status: ``optimal`` with proof; ``feasible`` where time ran out; ``infeasible`` where no plan is allowed.
        levels: The plan, None where infeasible.
        objective: Its value.
        bound: No plan is worth more than this.
        seconds: Time taken.
    """

    status: Status
    levels: Levels | None
    objective: float
    bound: float
    seconds: float


def surrogate(problem: Problem) -> Reduced:
    """The surrogate's gains as a score without trees."""
    return Reduced(np.zeros(1), tuple(choice.gain[None, :] for choice in problem.choices), ())


class Solver:
    """Solves one person's problem under changing aims and limits.

    Args:
        problem: The person.
        policy: Weights of the objective and time limit.
        scores: What to embed: one model, or several that start from the same value; none for the surrogate.
    """

    def __init__(self, problem: Problem, policy: Policy, scores: Sequence[Score] = ()) -> None:
        self.problem, self.policy, self.scores = problem, policy, tuple(scores)
        self.reduced = reduce(self.scores, problem) if scores else surrogate(problem)
        self.tables = Tables(self.reduced, [len(choice.values) for choice in problem.choices])
        self.here = float(self.worth(self.tables.values(np.array([problem.stay], dtype=np.int64)))[0])

    # What is maximised

    def worth(self, scores: np.ndarray) -> np.ndarray:
        """Scores [n, S] as one worth: the score itself, or the mean of several less κ times their mean shortfall."""
        mean = scores.mean(axis=1)
        if scores.shape[1] == 1:
            return np.asarray(mean)
        shortfall = np.maximum(0.0, mean[:, None] - scores).mean(axis=1)
        return np.asarray(mean - self.policy.spread_weight * shortfall)

    def net_aim(self) -> Aim:
        """Gain less resistance and charge; nothing, or a gain of τ at least."""
        weight = self.policy.resistance_weight
        costs = tuple(weight * choice.resistance * choice.effort for choice in self.problem.choices)
        return Aim(
            self.worth,
            self._bounds(),
            costs,
            self.policy.charge,
            self.policy.min_gain,
            spread_weight=self.policy.spread_weight,
        )

    def gain_aim(self) -> Aim:
        """Gain alone, ties to less effort: the objective of a frontier (δ = 10⁻⁴ of the range)."""
        range_ = max(1.0, sum(float(choice.effort.max()) for choice in self.problem.choices))
        costs = tuple(1e-4 * choice.effort / range_ for choice in self.problem.choices)
        return Aim(self.worth, self._bounds(), costs, 1e-6, spread_weight=self.policy.spread_weight)

    def target_aim(self, floor: float) -> Aim:
        """Least effort times resistance, then fewest changes, that reaches a worth."""
        costs = tuple(choice.resistance * choice.effort for choice in self.problem.choices)
        return Aim(
            self.worth, self._bounds(), costs, 1e-3, floor=floor, weight=0.0, spread_weight=self.policy.spread_weight
        )

    def _bounds(self) -> np.ndarray:
        n_scores = len(self.reduced.constants)
        mean = np.full(n_scores, 1 / n_scores)
        if n_scores == 1:
            return mean[None, :]
        # shortfall ≥ Σ_{b∈U}(mean − F_b)/B for every U: take for U the scores that fall short here, and all but one
        kappa, found = self.policy.spread_weight, [mean]
        here = self.tables.values(np.array([self.problem.stay]))[0]
        falling = (here < here.mean(), *(np.arange(n_scores) == b for b in range(n_scores)))
        return np.stack([*found, *(mean - kappa / n_scores * (short.sum() * mean - short) for short in falling)])

    def limits(self, **other: Any) -> Limits:
        """The policy's limits, some of them replaced."""
        given = {"changes": self.policy.max_changes, "effort": self.policy.budget, "hours": self.policy.free_hours}
        return Limits(**{**given, **other})

    # Solving

    def solve(self, aim: Aim, limits: Limits, *, time_limit: float | None = None) -> Solved:
        """The best plan with proof, or the best known when time runs out.

        Raises:
            RectitudeError: The solver's value is not the model's: a fault that must not go unseen.
        """
        begun = time.perf_counter()
        until = begun + (self.policy.time_limit if time_limit is None else time_limit)
        first, value, masks = self.problem.stay, -np.inf, None
        if self.reduced.trees:
            crowd = Crowd(self.problem, self.tables, aim, limits)
            plan, value = crowd.first()
            first = tuple(int(level) for level in plan)
            if np.isfinite(value):
                masks = crowd.screen(value, until=begun + (until - begun) / 2)
        model = _Model(self.problem, self._restricted(masks), aim, limits, self.here, masks)
        if np.isfinite(value):
            model.hint(first)
        status, levels, objective, bound = model.run(max(0.1, until - time.perf_counter()))
        if levels is None and status == "feasible" and np.isfinite(value):  # out of time: the best known is kept
            levels, objective = first, value
        if levels is not None:
            self._verify(levels, aim, objective)
        return Solved(status, levels, objective, bound, time.perf_counter() - begun)

    def _restricted(self, masks: list[int] | None) -> Reduced:
        full = [(1 << len(choice.values)) - 1 for choice in self.problem.choices]
        return self.reduced if masks is None or masks == full else reduce(self.scores, self.problem, allowed=masks)

    def value(self, levels: Levels, aim: Aim) -> float:
        """The objective of a plan, from the models themselves (for the surrogate: from its gains)."""
        if self.scores:
            row = self.problem.encoded(levels)[None, :]
            scores = np.stack([score(row) for score in self.scores], axis=1)
        else:
            scores = np.array([[self.problem.gain(levels)]])
        costs = sum(float(cost[level]) for cost, level in zip(aim.costs, levels, strict=True))
        gain = float(self.worth(scores)[0]) - self.here
        return aim.weight * gain - costs - aim.charge * len(self.problem.units(levels))

    def _verify(self, levels: Levels, aim: Aim, said: float) -> None:
        truth = self.value(levels, aim)
        fault = "This is a fault of rectitude: report it"
        if not abs(truth - said) < TOLERANCE:
            raise RectitudeError(f"The solver's objective is {said:.6f} and the model's {truth:.6f}", fix=fault)
        if broken := self.problem.violated(levels):
            raise RectitudeError(f"The solver broke a rule: {broken[0]}", fix=fault)


class _Model:
    """One CP-SAT model."""

    def __init__(
        self, problem: Problem, reduced: Reduced, aim: Aim, limits: Limits, here: float, masks: list[int] | None
    ) -> None:
        try:
            from ortools.sat.python import cp_model
        except ImportError as error:
            raise MissingExtraError("ortools", "plan", "A plan") from error
        self.cp: Any = cp_model
        self.problem, self.reduced, self.aim, self.here = problem, reduced, aim, here
        self.model = cp_model.CpModel()
        self.levels = [[self.model.new_bool_var("") for _ in choice.values] for choice in problem.choices]
        for index, level in enumerate(self.levels):
            self.model.add_exactly_one(level)
            if masks is not None:
                for position, literal in enumerate(level):
                    if not masks[index] >> position & 1:
                        self.model.add(literal == 0)
        self.order: list[list[Any]] = [self._order(level) for level in self.levels]
        self.known: dict[tuple[int, int], Any] = {}
        self.changed = self._changed()
        self._limits(limits)
        self._rules()
        self._objective()

    # Literals

    def _order(self, level: list[Any]) -> list[Any]:
        """[level ≤ k] for each k: split literals of ordered features."""
        found = level[:1]
        for k in range(1, len(level) - 1):
            literal = self.model.new_bool_var("")
            self.model.add(sum(level[: k + 1]) == literal)
            self.model.add_implication(found[-1], literal)
            found.append(literal)
        return found

    def literal(self, choice: int, mask: int) -> Any:
        """True where the level of a choice is one of a mask."""
        n = len(self.levels[choice])
        full = (1 << n) - 1
        if (choice, mask) not in self.known:
            prefix = {(1 << (k + 1)) - 1: literal for k, literal in enumerate(self.order[choice])}
            chosen = [literal for level, literal in enumerate(self.levels[choice]) if mask >> level & 1]
            if mask in prefix:
                found = prefix[mask]
            elif full & ~mask in prefix:
                found = ~prefix[full & ~mask]
            elif len(chosen) == 1:
                found = chosen[0]
            else:
                found = self.model.new_bool_var("")
                self.model.add(sum(chosen) == found)
            self.known[choice, mask] = found
        return self.known[choice, mask]

    def _moved(self, choice: int) -> Any:
        return ~self.levels[choice][self.problem.choices[choice].current]

    def _changed(self) -> dict[str, Any]:
        """One literal per unit: does anything of it change?"""
        members: dict[str, list[int]] = {}
        for index, choice in enumerate(self.problem.choices):
            members.setdefault(choice.unit, []).append(index)
        found = {}
        for unit, indexes in members.items():
            if len(indexes) == 1:
                found[unit] = self._moved(indexes[0])
                continue
            literal = self.model.new_bool_var("")
            self.model.add_max_equality(literal, [self._moved(index) for index in indexes])
            found[unit] = literal
        return found

    def _any(self, choices: Sequence[int]) -> Any:
        literal = self.model.new_bool_var("")
        self.model.add_max_equality(literal, [self._moved(choice) for choice in choices])
        return literal

    def _weighted(self, amounts: Sequence[np.ndarray | None], scale: int = SCALE) -> Any:
        """Σ amount of the chosen level, in whole numbers."""
        literals, weights = [], []
        for level, amount in zip(self.levels, amounts, strict=True):
            for literal, value in zip(level, () if amount is None else amount, strict=False):
                if weight := round(float(value) * scale):
                    literals.append(literal)
                    weights.append(weight)
        return self.cp.LinearExpr.weighted_sum(literals, weights) if literals else 0

    # Constraints

    def _limits(self, limits: Limits) -> None:
        choices = self.problem.choices
        if limits.changes is not None and self.changed:
            self.model.add(sum(self.changed.values()) <= limits.changes)
        if limits.effort is not None:
            self.model.add(
                self._weighted([choice.effort for choice in choices]) <= round(limits.effort * SCALE) + len(choices)
            )
        if limits.hours is not None and choices:
            hours = self._weighted([choice.hours for choice in choices])
            self.model.add(hours <= round(limits.hours * SCALE) + len(choices)).only_enforce_if(
                self._any(range(len(choices)))
            )
        for units in limits.forbidden:
            self.model.add_bool_or([~self.changed[unit] for unit in units])

    def _rules(self) -> None:
        problem = self.problem
        for clause in problem.clauses:
            holds = [
                self.levels[choice][level] for choice, allowed in clause.parts.items() for level in sorted(allowed)
            ]
            if clause.always:
                self.model.add_bool_or(holds)
            else:
                self.model.add_bool_or([*holds, ~self._any(list(clause.parts))])
        for row in problem.rows:
            amounts = [row.terms.get(choice) for choice in range(len(problem.choices))]
            total, bound = self._weighted(amounts), self._any(list(row.terms))
            slack = len(row.terms)  # of rounding
            if np.isfinite(row.low):
                self.model.add(total >= round(row.low * SCALE) - slack).only_enforce_if(bound)
            if np.isfinite(row.high):
                self.model.add(total <= round(row.high * SCALE) + slack).only_enforce_if(bound)
        for (one, other), seen in problem.cuts.items():
            for v, u in np.argwhere(~seen).tolist():
                self.model.add_bool_or([~self.levels[one][v], ~self.levels[other][u]])

    # Objective

    def _leaf_terms(self, leaves: Leaves) -> list[tuple[Any, int]]:
        """A tree: one literal per leaf, one of them true, each implying the splits on its way."""
        literals = [self.model.new_bool_var("") for _ in leaves]
        self.model.add_exactly_one(literals)
        for literal, (_, region) in zip(literals, leaves, strict=True):
            for choice, mask in region.items():
                self.model.add_implication(literal, self.literal(choice, mask))
        return [(literal, round(value * SCALE)) for literal, (value, _) in zip(literals, leaves, strict=True)]

    def _score(self, which: int) -> Any:
        """A score in millionths."""
        literals, weights = [], []
        for tree, leaves, _ in self.reduced.trees:
            if tree == which:
                for literal, weight in self._leaf_terms(leaves):
                    literals.append(literal)
                    weights.append(weight)
        total = self._weighted([gain[which] for gain in self.reduced.gains]) + round(
            self.reduced.constants[which] * SCALE
        )
        return total + self.cp.LinearExpr.weighted_sum(literals, weights) if literals else total

    def _worth(self) -> tuple[Any, int]:
        """What the aim counts, as whole numbers, and how many of them make one log-odds."""
        n = len(self.reduced.constants)
        scores = [self._score(which) for which in range(n)]
        if n == 1:
            return scores[0], SCALE
        kappa, total = round(100 * self.aim.spread_weight), sum(scores)
        short = []
        for score in scores:  # n times the shortfall
            below = self.model.new_int_var(0, 1000 * SCALE * n, "")
            self.model.add(below >= total - n * score)
            short.append(below)
        return 100 * n * total - kappa * sum(short), 100 * n * n * SCALE

    def _objective(self) -> None:
        aim, here = self.aim, self.here
        worth, unit = self._worth()
        if np.isfinite(aim.floor):
            self.model.add(worth >= int(np.ceil(aim.floor * unit - 0.5)))
        if aim.least > 0 and self.changed:
            for changed in self.changed.values():
                self.model.add(worth >= round((here + aim.least) * unit)).only_enforce_if(changed)
        costs = self._weighted(aim.costs, unit)
        charge = round(aim.charge * unit) * sum(self.changed.values()) if self.changed else 0
        # ties: fewer changes, less resistance, then the order of features
        tie = sum((2 + number // 8) * changed for number, changed in enumerate(self.changed.values()))
        self.unit, self.offset = unit, aim.weight * here
        self.model.maximize((worth if aim.weight else 0) - costs - charge - tie * (unit // SCALE))

    def hint(self, levels: Levels) -> None:
        """Begin with a plan."""
        for literals, chosen in zip(self.levels, levels, strict=True):
            for position, literal in enumerate(literals):
                self.model.add_hint(literal, position == chosen)

    def run(self, seconds: float) -> tuple[Status, Levels | None, float, float]:
        """Solve: status, plan, objective and bound in log-odds."""
        solver = self.cp.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = 0
        solver.parameters.max_time_in_seconds = seconds
        solver.parameters.linearization_level = 2 if self.reduced.trees else 1
        found = solver.solve(self.model)
        if found == self.cp.MODEL_INVALID:
            raise RectitudeError(f"The model is invalid: {self.model.validate()}", fix="This is a fault of rectitude")
        bound = solver.best_objective_bound / self.unit - self.offset
        if found == self.cp.INFEASIBLE:
            return "infeasible", None, -np.inf, -np.inf
        if found not in (self.cp.OPTIMAL, self.cp.FEASIBLE):
            return "feasible", None, -np.inf, np.inf  # nothing is known: what the solver holds is no solution
        levels = tuple(
            next(k for k, literal in enumerate(level) if solver.boolean_value(literal)) for level in self.levels
        )
        status: Status = "optimal" if found == self.cp.OPTIMAL else "feasible"
        return status, levels, solver.objective_value / self.unit - self.offset, bound
