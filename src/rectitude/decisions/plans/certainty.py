"""How sure a plan is: what would be chosen if people, weights and resistances were a little different."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from rectitude.decisions.plans.problem import Levels, Problem
from rectitude.decisions.plans.score import Score
from rectitude.decisions.plans.search import Crowd
from rectitude.decisions.plans.solver import Solver

UNCERTAIN = 0.6
"""An item chosen in a smaller share of draws is called uncertain."""
SPREAD = 0.2
"""Weights and resistances are multiplied by 1 ± this at most."""


def pool(crowd: Crowd, plan: Levels) -> np.ndarray:
    """Every allowed plan within two changes of doing nothing or of this plan, int [n, choices]."""
    stay, n_levels = crowd.stay, crowd.n_levels
    found = [stay[None, :], np.array([plan], dtype=np.int64)]
    for base in {tuple(stay.tolist()), tuple(plan)}:
        for one, other in itertools.combinations_with_replacement(range(len(n_levels)), 2):
            levels = np.indices((n_levels[one], n_levels[other])).reshape(2, -1)
            near = np.repeat(np.array([base], dtype=np.int64), levels.shape[1], axis=0)
            near[:, other], near[:, one] = levels[1], levels[0]
            found.append(near)
    plans = np.unique(np.concatenate(found), axis=0)
    fine = crowd.allowed(plans)
    return np.asarray(plans[fine | (plans == np.array(plan)).all(axis=1)])


def stability(
    solver: Solver, crowd: Crowd, plan: Levels, bootstraps: Sequence[Score], *, draws: int, seed: int
) -> tuple[dict[str, float], float]:
    """How often each change of a plan is chosen again, and the mean Jaccard similarity of what is chosen.

    In each draw every resistance is multiplied by U(0.8, 1.2). With the surrogate every gain is, too; with an embedded
    model one of the bootstraps takes its place. The choice is made among :func:`pool`, which is every plan there is
    where two changes at most are allowed.

    Returns:
        Unit to share of draws, and similarity; 1.0 where both plans are empty.
    """
    problem, aim = solver.problem, crowd.aim
    plans = pool(crowd, plan)
    units = crowd.changed(plans)
    mine = set(problem.units(plan))
    chosen = dict.fromkeys(mine, 0)
    similar = 0.0
    rng = np.random.default_rng(seed)
    worths = _worths(problem, plans, bootstraps) if solver.scores else None
    empty = int(np.flatnonzero((plans == crowd.stay).all(axis=1))[0]) if (plans == crowd.stay).all(axis=1).any() else 0
    for draw in range(draws):
        times = rng.uniform(1 - SPREAD, 1 + SPREAD, size=(2, len(problem.choices)))
        if worths is None:
            worth = crowd.amount(plans, [choice.gain * g for choice, g in zip(problem.choices, times[0], strict=True)])
        else:
            worth = worths[draw % len(bootstraps)]
        gain = worth - worth[empty]
        cost = crowd.amount(plans, [part * r for part, r in zip(aim.costs, times[1], strict=True)])
        net = aim.weight * gain - cost - aim.charge * units.sum(axis=1)
        fine = ((gain >= aim.least - 1e-9) | ~units.any(axis=1)) & (worth >= aim.floor - 1e-9)
        if not fine.any():
            continue
        best = int(np.where(fine, net, -np.inf).argmax())
        taken = {crowd.units[unit] for unit in np.flatnonzero(units[best])}
        for unit in mine & taken:
            chosen[unit] += 1
        similar += len(mine & taken) / len(mine | taken) if mine | taken else 1.0
    return {unit: count / draws for unit, count in chosen.items()}, similar / draws


def _worths(problem: Problem, plans: np.ndarray, bootstraps: Sequence[Score]) -> list[np.ndarray]:
    rows = np.repeat(problem.row[None, :], len(plans), axis=0)
    for index, choice in enumerate(problem.choices):
        rows[:, choice.columns] = choice.vectors[plans[:, index]]
    return [score(rows) for score in bootstraps]


def shapley_of_items(problem: Problem, levels: Levels, scores: Sequence[Score]) -> dict[str, np.ndarray]:
    """What each change adds among the others of its plan: Shapley values over 2^K evaluations, for each score, [S].

    Beyond 12 changes the marginal gain of each to the whole plan is given instead.
    """
    units = problem.units(levels)
    of_unit = [[i for i, choice in enumerate(problem.choices) if choice.unit == unit] for unit in units]

    def values(subset: tuple[int, ...]) -> np.ndarray:
        some = list(problem.stay)
        for unit in subset:
            for index in of_unit[unit]:
                some[index] = levels[index]
        row = problem.encoded(tuple(some))[None, :]
        return np.array([float(score(row)[0]) for score in scores])

    n = len(units)
    if n > 12:
        whole = values(tuple(range(n)))
        return {unit: whole - values(tuple(i for i in range(n) if i != u)) for u, unit in enumerate(units)}
    known = {subset: values(subset) for size in range(n + 1) for subset in itertools.combinations(range(n), size)}
    found = {}
    for u, unit in enumerate(units):
        total = np.zeros(len(scores))
        for subset in known:
            if u not in subset:
                weight = math.factorial(len(subset)) * math.factorial(n - len(subset) - 1) / math.factorial(n)
                total += weight * (known[tuple(sorted((*subset, u)))] - known[subset])
        found[unit] = total
    return found
