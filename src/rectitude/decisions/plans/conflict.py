"""Why no plan is allowed: the smallest set of wishes, rules and limits that cannot hold together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rectitude.decisions.plans.policy import Policy
from rectitude.decisions.plans.problem import Clause, Problem, Row
from rectitude.decisions.plans.search import Aim, Limits
from rectitude.decisions.plans.solver import Solver


@dataclass(frozen=True)
class _Demand:
    """One thing that is asked for; exactly one of the fields after the name is given."""

    name: str
    clause: Clause | None = None
    row: Row | None = None
    cut: tuple[int, int] | None = None
    limit: str = ""


def conflict(problem: Problem, policy: Policy) -> list[str]:
    """Names of an irreducible set of demands: without any one of them the others can be met.

    Found by leaving out one demand after the other. Empty where all of them can be met.
    """
    limits = Limits(policy.max_changes, policy.budget, policy.free_hours)
    if _possible(problem, limits, policy):
        return []
    left = _demands(problem, limits)
    needed: list[_Demand] = []
    while left:
        demand = left.pop(0)
        if _possible(*_only(problem, limits, [*needed, *left]), policy):
            needed.append(demand)
    return [demand.name for demand in needed]


def _demands(problem: Problem, limits: Limits) -> list[_Demand]:
    """Everything asked for; wishes last, so that they are named where they can be."""
    names = [choice.name for choice in problem.choices]
    found = [
        _Demand(f"too few people combine some answers to {names[a]} and {names[b]}", cut=(a, b))
        for a, b in problem.cuts
    ]
    if limits.hours is not None:
        found.append(_Demand(f"{limits.hours:g} hours a day at most", limit="hours"))
    if limits.effort is not None:
        found.append(_Demand(f"an effort of {limits.effort:g} at most", limit="effort"))
    if limits.changes is not None:
        found.append(_Demand(f"{limits.changes} change{'' if limits.changes == 1 else 's'} at most", limit="changes"))
    found += [_Demand(f"rule '{row.name}'", row=row) for row in problem.rows]
    wishes = [clause for clause in problem.clauses if clause.kind == "wish"]
    found += [_Demand(f"rule '{clause.name}'", clause) for clause in problem.clauses if clause not in wishes]
    return [*found, *(_Demand(wish.name, wish) for wish in wishes)]


def _only(problem: Problem, limits: Limits, demands: Sequence[_Demand]) -> tuple[Problem, Limits]:
    kept: dict[str, Any] = {one.limit: getattr(limits, one.limit) for one in demands if one.limit}
    bare = replace(
        problem,
        clauses=tuple(one.clause for one in demands if one.clause is not None),
        rows=tuple(one.row for one in demands if one.row is not None),
        cuts={one.cut: problem.cuts[one.cut] for one in demands if one.cut is not None},
    )
    return bare, Limits(**kept)


def _possible(problem: Problem, limits: Limits, policy: Policy) -> bool:
    quick = problem.with_gains(np.zeros(len(choice.values)) for choice in problem.choices)
    solver = Solver(quick, policy)
    costs = tuple(np.zeros(len(choice.values)) for choice in quick.choices)
    return solver.solve(Aim(solver.worth, np.ones((1, 1)), costs), limits).status != "infeasible"
