"""Plans by the thousand: values, rules and bounds over arrays of plans.

What is computed here is exact but knows no solver: complete enumeration (the oracle), a local search for a good first
plan, and a screening that discards levels which no plan better than the best known one can use.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rectitude.decisions.plans.embed import Bush, Table, Tables
from rectitude.decisions.plans.problem import Problem

MOST_PLANS = 60_000
"""Partial plans that the screening keeps at most before it leaves the rest to the solver."""
_STARTS = 4
_BLOCK = 20_000
_SAMPLE = 24


@dataclass(frozen=True)
class Limits:
    """How far a plan may go.

    Attributes:
        changes: Changes at most.
        effort: Sum of efforts at most.
        hours: Hours a day at most.
        forbidden: Sets of units that must not all change.
    """

    changes: int | None = None
    effort: float | None = None
    hours: float | None = None
    forbidden: tuple[frozenset[str], ...] = ()


@dataclass(frozen=True)
class Aim:
    """What is maximised: a function of the scores less what a plan costs, where the scores reach a floor.

    Attributes:
        worth: Scores [n, S] to worth [n].
        bounds: Weights on the scores, [b, S], each of which gives an upper bound of the worth.
        costs: For each choice what its levels cost, [v].
        charge: What each changed unit costs besides.
        least: What the worth must exceed that of the empty plan by, in any other plan.
        floor: What the worth must reach.
        weight: How much the worth counts against the costs; 0 where only the floor matters.
        spread_weight: κ of the worth, where it is made of several scores.
    """

    worth: Callable[[np.ndarray], np.ndarray]
    bounds: np.ndarray
    costs: tuple[np.ndarray, ...]
    charge: float = 0.0
    least: float = 0.0
    floor: float = -np.inf
    weight: float = 1.0
    spread_weight: float = 1.0


class Crowd:
    """Vectorised view of a problem.

    Args:
        problem: The person.
        tables: The scores of this person's plans.
        aim: What is maximised.
        limits: How far a plan may go.
    """

    def __init__(self, problem: Problem, tables: Tables, aim: Aim, limits: Limits) -> None:
        self.problem, self.tables, self.aim, self.limits = problem, tables, aim, limits
        choices = problem.choices
        self.n_levels = [len(choice.values) for choice in choices]
        self.stay = np.array(problem.stay, dtype=np.int64)
        self.units = list(dict.fromkeys(choice.unit for choice in choices))
        self.unit_of = [self.units.index(choice.unit) for choice in choices]
        self.here = float(aim.worth(tables.values(self.stay[None, :]))[0])

    def changed(self, plans: np.ndarray) -> np.ndarray:
        """Which units change, bool [n, units]."""
        moved = plans != self.stay
        found = np.zeros((len(plans), len(self.units)), dtype=bool)
        for choice, unit in enumerate(self.unit_of):
            found[:, unit] |= moved[:, choice]
        return found

    def amount(self, plans: np.ndarray, per_level: list[np.ndarray] | tuple[np.ndarray, ...]) -> np.ndarray:
        """Sum over choices of an amount given per level, [n]."""
        total = np.zeros(len(plans))
        for choice, amounts in enumerate(per_level):
            total += amounts[plans[:, choice]]
        return total

    def allowed(self, plans: np.ndarray) -> np.ndarray:
        """Which plans respect rules, cuts, wishes and limits, bool [n]."""
        problem, limits = self.problem, self.limits
        fine = np.ones(len(plans), dtype=bool)
        moved = plans != self.stay
        for clause in problem.clauses:
            holds = np.zeros(len(plans), dtype=bool)
            for choice, levels in clause.parts.items():
                holds |= np.isin(plans[:, choice], list(levels))
            if not clause.always:
                holds |= ~moved[:, list(clause.parts)].any(axis=1)
            fine &= holds
        for row in problem.rows:
            total = sum(amount[plans[:, choice]] for choice, amount in row.terms.items())
            fine &= ((total >= row.low - 1e-9) & (total <= row.high + 1e-9)) | ~moved[:, list(row.terms)].any(axis=1)
        for (one, other), seen in problem.cuts.items():
            fine &= seen[plans[:, one], plans[:, other]]
        units = self.changed(plans)
        if limits.changes is not None:
            fine &= units.sum(axis=1) <= limits.changes
        if limits.effort is not None:
            fine &= self.amount(plans, [choice.effort for choice in problem.choices]) <= limits.effort + 1e-9
        if limits.hours is not None:
            hours = self.amount(plans, [choice.hours for choice in problem.choices])
            fine &= (hours <= limits.hours + 1e-9) | ~units.any(axis=1)
        for names in limits.forbidden:
            fine &= ~units[:, [self.units.index(name) for name in names]].all(axis=1)
        return fine

    def objective(self, plans: np.ndarray) -> np.ndarray:
        """What is maximised, −inf where a plan is not allowed, [n]."""
        worth = self.aim.worth(self.tables.values(plans))
        units = self.changed(plans)
        net = (
            self.aim.weight * (worth - self.here)
            - self.amount(plans, self.aim.costs)
            - self.aim.charge * units.sum(axis=1)
        )
        fine = self.allowed(plans) & (worth >= self.aim.floor - 1e-9)
        fine &= (worth - self.here >= self.aim.least - 1e-9) | ~units.any(axis=1)
        return np.where(fine, net, -np.inf)

    def first(self) -> tuple[np.ndarray, float]:
        """A good plan by steepest ascent over pairs of changes, and its objective (−inf where none was found)."""
        pairs = list(itertools.combinations(range(len(self.n_levels)), 2)) or [(0, 0)]
        rng = np.random.default_rng(0)
        best, value = self.stay, float(self.objective(self.stay[None, :])[0])
        few = self.limits.changes is not None and self.limits.changes <= 2
        for start in range(1 if few else _STARTS):
            plan = self.stay if start == 0 else np.array([rng.integers(n) for n in self.n_levels])
            here = float(self.objective(plan[None, :])[0])
            while True:
                near = np.concatenate([self._moves(plan, one, other) for one, other in pairs])
                found = self.objective(near)
                top = int(found.argmax())
                if not found[top] > here + 1e-9:
                    break
                plan, here = near[top], float(found[top])
            if here > value:
                best, value = plan, here
        return best, value

    def _moves(self, plan: np.ndarray, one: int, other: int) -> np.ndarray:
        levels = np.indices((self.n_levels[one], self.n_levels[other])).reshape(2, -1)
        near = np.repeat(plan[None, :], levels.shape[1], axis=0)
        near[:, other], near[:, one] = levels[1], levels[0]
        return near

    def enumerate(self, *, most: int = 2_000_000) -> tuple[np.ndarray, float]:
        """The best plan of all, by looking at every one: the oracle.

        Raises:
            ValueError: There are more than ``most`` plans.
        """
        if not self.n_levels:
            return self.stay, float(self.objective(self.stay[None, :])[0])
        size = int(np.prod([float(n) for n in self.n_levels]))
        if size > most:
            raise ValueError(f"{size:,} plans are too many to look at each")
        best, value = self.stay, -np.inf
        for start in range(0, size, _BLOCK):
            numbers = np.arange(start, min(start + _BLOCK, size))
            plans = np.stack(np.unravel_index(numbers, self.n_levels), axis=1)
            found = self.objective(plans)
            top = int(found.argmax())
            if found[top] > value + 1e-12:
                best, value = plans[top], float(found[top])
        return best, value

    def screen(self, value: float, *, most: int = MOST_PLANS, until: float = np.inf) -> list[int]:
        """Levels that a plan with an objective of ``value`` or more may use, as a bit mask per choice.

        Choices are filled in one after the other, breadth first. A partial plan is dropped once an upper bound of what
        it can become (every table at its best over what is still open) falls short of ``value``, or it breaks a limit.
        """
        masks = [(1 << n) - 1 for n in self.n_levels]
        filled: list[int] = []
        plans = self.stay[None, :]
        while len(filled) < len(masks) and 0 < len(plans) <= most and time.perf_counter() < until:
            filled.append(self._next(plans, filled, value))
            plans = self._grown(plans, filled, value)
            for done in filled:
                masks[done] = sum(1 << int(level) for level in np.unique(plans[:, done]))
        return masks

    def _grown(self, plans: np.ndarray, filled: list[int], value: float) -> np.ndarray:
        """Partial plans with one choice more filled in, the last of ``filled``, as far as they are promising."""
        choice = filled[-1]
        grown = np.repeat(plans, self.n_levels[choice], axis=0)
        grown[:, choice] = np.tile(np.arange(self.n_levels[choice]), len(plans))
        pieces = [grown[at : at + _BLOCK] for at in range(0, len(grown), _BLOCK)]
        return np.concatenate([piece[self._promising(piece, filled, value)] for piece in pieces])

    def _next(self, plans: np.ndarray, filled: list[int], value: float) -> int:
        """The open choice that lets fewest of a sample of partial plans go on."""
        sample = plans[:: max(1, len(plans) // _SAMPLE)]
        left = [choice for choice in range(len(self.n_levels)) if choice not in filled]
        return min(left, key=lambda choice: (len(self._grown(sample, [*filled, choice], value)), choice))

    def _promising(self, plans: np.ndarray, filled: list[int], value: float) -> np.ndarray:
        """Which partial plans may still become good enough, bool [n]; what is not filled in is still open."""
        aim, limits, choices = self.aim, self.limits, self.problem.choices
        open_ = [choice for choice in range(len(self.n_levels)) if choice not in filled]
        moved = (plans != self.stay)[:, filled]
        single = [self.units[self.unit_of[c]] == choices[c].name for c in filled]  # groups: no charge in the bound
        changes = moved[:, single].sum(axis=1)
        fine = np.ones(len(plans), dtype=bool)
        if limits.changes is not None:
            fine &= changes <= limits.changes
        effort = sum((choices[c].effort[plans[:, c]] for c in filled), np.zeros(len(plans)))
        if limits.effort is not None:
            fine &= effort <= limits.effort + 1e-9
        for (one, other), seen in self.problem.cuts.items():
            if one in filled and other in filled:
                fine &= seen[plans[:, one], plans[:, other]]
        cost = sum((aim.costs[c][plans[:, c]] for c in filled), np.zeros(len(plans))) + aim.charge * changes
        for weights in aim.bounds:
            most = np.full(len(plans), float(weights @ self.tables.constants))
            net = np.zeros(len(plans))
            for choice in filled:
                most += (weights @ self.tables.gains[choice])[plans[:, choice]]
            for table in self.tables.tables:
                most += _best(table, weights, filled, plans)
            if self.tables.bush is not None:
                most += _best_leaves(self.tables.bush, weights, filled, plans)
            for choice in open_:
                gain = weights @ self.tables.gains[choice]
                net += float((gain - aim.costs[choice]).max()) - float(gain.max())
                most += float(gain.max())
            fine &= most >= aim.floor - 1e-6
            fine &= aim.weight * (most - self.here + net) - cost >= value - 1e-6
        return fine


def _best(table: Table, weights: np.ndarray, filled: list[int], plans: np.ndarray) -> np.ndarray:
    """The most a table can give to partial plans, [n]."""
    values = np.tensordot(weights, table.values, axes=1)
    free = tuple(axis for axis, choice in enumerate(table.choices) if choice not in filled)
    values = values.max(axis=free) if free else values
    places = tuple(
        blocks[plans[:, choice]] for choice, blocks in zip(table.choices, table.blocks, strict=True) if choice in filled
    )
    return np.asarray(values[places]) if places else np.full(len(plans), float(values))


def _best_leaves(bush: Bush, weights: np.ndarray, filled: list[int], plans: np.ndarray) -> np.ndarray:
    """The most the trees of a bush can give to partial plans, [n]."""
    value = (weights[bush.which] * bush.value).astype(np.float32)
    found = np.empty(len(plans))
    for at in range(0, len(plans), 2000):
        reach = bush.reached(plans[at : at + 2000], filled)
        best = np.maximum.reduceat(np.where(reach, value, np.float32(-1e30)), bush.start, axis=1)
        found[at : at + 2000] = best.sum(axis=1, dtype=np.float64)
    return found + 1e-4  # float32 rounds; a bound must not
