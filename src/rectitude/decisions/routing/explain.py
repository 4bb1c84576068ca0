"""Why this model: what binds, what a hard wish costs, what stands in the way, and why not another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rectitude.decisions.routing.catalogue import UNKNOWN
from rectitude.decisions.routing.problem import Problem

VERDICTS = {1: "yes", 0: "no", -1: "unknown"}


def verdicts(problem: Problem, row: int) -> dict[str, str]:
    """Verdict of each clause for a model."""
    found = problem.table.verdicts[row]
    return {clause.id: VERDICTS[int(truth)] for clause, truth in zip(problem.clauses, found, strict=True)}


def binding(problem: Problem) -> list[str]:
    """Hard clauses without which more models would be feasible."""
    count = int(problem.feasible.sum())
    return [problem.clauses[c].id for c in problem.hard if int(_without(problem, [c]).sum()) > count]


def _without(problem: Problem, dropped: Sequence[int]) -> np.ndarray[Any, Any]:
    kept = [column for column in problem.hard if column not in dropped]
    return np.asarray(problem.holds[:, kept].all(axis=1))


def prices(problem: Problem) -> list[dict[str, Any]]:
    """What each hard clause costs: the value of the best model without it minus V*, where that is more than nothing."""
    best = problem.best_value
    if best is None:
        return []
    found = []
    for column in problem.hard:
        rows = np.flatnonzero(_without(problem, [column]))
        gain = int(problem.values[rows].max()) - best
        if problem.points(gain) > 0:
            clause = problem.clauses[column]
            top = rows[problem.values[rows] == best + gain]
            winner = int(problem.ranked(top)[0])
            found.append({
                "clause": clause.id, "gain": problem.points(gain), "model": problem.catalogue.ids[winner],
                "says": f"dropping '{clause}' would gain {problem.points(gain):g} with {problem.catalogue.ids[winner]}",
            })  # fmt: skip
    return sorted(found, key=lambda entry: -float(entry["gain"]))


def silent(problem: Problem) -> list[str]:
    """Clauses that decide nothing because the catalogue does not know the attribute of any model."""
    unknown = (problem.table.verdicts == UNKNOWN).all(axis=0)
    return [
        clause.id
        for clause, blank in zip(problem.clauses, unknown, strict=True)
        if blank and clause.origin in ("feedback", "policy")
    ]


def why_not(problem: Problem, row: int, winner: int | None) -> dict[str, Any]:
    """Why a model was not chosen: hard clauses it breaks, or the soft ones that put it behind the winner.

    Args:
        problem: The problem.
        row: The model asked about.
        winner: The model chosen; None where nothing was.
    """
    catalogue = problem.catalogue
    broken = [problem.clauses[c] for c in problem.hard if not problem.holds[row, c]]
    answer: dict[str, Any] = {
        "model": catalogue.ids[row],
        "breaks": [clause.id for clause in broken],
        "verdicts": verdicts(problem, row),
    }
    if row == winner:
        return {**answer, "loses_on": [], "says": f"{catalogue.ids[row]} is the one that was chosen"}
    if broken:
        words = [
            f"'{clause}'"
            + (" (not known)" if problem.table.verdicts[row, problem.clauses.index(clause)] == UNKNOWN else "")
            for clause in broken
        ]
        return {**answer, "loses_on": [], "says": f"{catalogue.ids[row]} does not meet {' and '.join(words)}"}
    if winner is None:
        return {**answer, "loses_on": [], "says": f"{catalogue.ids[row]} meets every hard wish"}
    behind = problem.values[winner] - problem.values[row]
    if behind == 0:
        tie = _tie(problem, row, winner)
        says = f"{catalogue.ids[row]} is as good as {catalogue.ids[winner]}; the tie was broken by {tie}"
        return {**answer, "loses_on": [], "says": says}
    gaps = problem.clause_losses[row] - problem.clause_losses[winner]
    chosen, left = [], int(behind)
    for column in np.argsort(-gaps, kind="stable"):
        if left <= 0 or gaps[column] <= 0:
            break
        chosen.append(int(column))
        left -= int(gaps[column])
    lost = [{"clause": problem.clauses[c].id, "points": problem.points(gaps[c])} for c in chosen]
    words = [f"'{problem.clauses[c]}' ({problem.points(gaps[c]):g})" for c in chosen]
    far = problem.points(behind)
    says = f"{catalogue.ids[row]} is {far:g} behind {catalogue.ids[winner]} because of {' and '.join(words)}"
    return {**answer, "loses_on": lost, "says": says}


def _tie(problem: Problem, row: int, winner: int) -> str:
    if problem.unknowns[row] != problem.unknowns[winner]:
        return "fewer unknowns"
    price, released = problem.catalogue.column("price", problem.request), problem.catalogue.column("released")
    if price[row] != price[winner] and not (np.isnan(price[row]) and np.isnan(price[winner])):
        return "the lower price"
    if released[row] != released[winner] and not (np.isnan(released[row]) and np.isnan(released[winner])):
        return "the newer release"
    return "the order of names"
