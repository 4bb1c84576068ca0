"""Why no plan is allowed: the smallest set of wishes, rules and limits that cannot hold together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from rectitude.decisions.plans.policy import Policy
from rectitude.decisions.plans.problem import Problem
from rectitude.decisions.plans.search import Aim, Limits
from rectitude.decisions.plans.solver import Solver

_Part = tuple[str, Callable[[Problem, Limits], tuple[Problem, Limits]]]


def conflict(problem: Problem, policy: Policy) -> list[str]:
    """Names of an irreducible set of demands: without any one of them the others can be met.

    Found by leaving out one demand after the other. Empty where all of them can be met.
    """
    limits = Limits(policy.max_changes, policy.budget, policy.free_hours)
    parts = _parts(problem, limits)
    if _possible(problem, limits, policy):
        return []
    needed: list[_Part] = []
    for number, _ in enumerate(parts):
        kept = [*needed, *parts[number + 1 :]]
        if _possible(*_only(problem, kept), policy):
            needed.append(parts[number])
    return [name for name, _ in needed]


def _parts(problem: Problem, limits: Limits) -> list[_Part]:
    """Demands, those a person can least give up last, so that the set names wishes where it can."""
    found: list[_Part] = []
    for pair, seen in problem.cuts.items():
        found.append((
            f"too few people combine some answers to {problem.choices[pair[0]].name} and {problem.choices[pair[1]].name}",
            lambda p, w, pair=pair, seen=seen: (replace(p, cuts={**p.cuts, pair: seen}), w),
        ))  # fmt: skip
    if limits.hours is not None:
        found.append((f"{limits.hours:g} hours a day at most", lambda p, w: (p, replace(w, hours=limits.hours))))
    if limits.effort is not None:
        found.append((f"an effort of {limits.effort:g} at most", lambda p, w: (p, replace(w, effort=limits.effort))))
    if limits.changes is not None:
        plural = "" if limits.changes == 1 else "s"
        found.append((
            f"{limits.changes} change{plural} at most", lambda p, w: (p, replace(w, changes=limits.changes))
        ))  # fmt: skip
    for row in problem.rows:
        found.append((f"rule '{row.name}'", lambda p, w, row=row: (replace(p, rows=(*p.rows, row)), w)))
    for clause in problem.clauses:
        name = clause.name if clause.kind == "wish" else f"rule '{clause.name}'"
        found.append((name, lambda p, w, clause=clause: (replace(p, clauses=(*p.clauses, clause)), w)))
    return found


def _only(problem: Problem, parts: list[_Part]) -> tuple[Problem, Limits]:
    bare, limits = replace(problem, clauses=(), rows=(), cuts={}), Limits()
    for _, add in parts:
        bare, limits = add(bare, limits)
    return bare, limits


def _possible(problem: Problem, limits: Limits, policy: Policy) -> bool:
    quick = problem.with_gains(np.zeros(len(choice.values)) for choice in problem.choices)
    solver = Solver(quick, policy)
    costs = tuple(np.zeros(len(choice.values)) for choice in quick.choices)
    return solver.solve(Aim(solver.worth, np.ones((1, 1)), costs), limits).status != "infeasible"
