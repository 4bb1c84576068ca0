"""The same problem as weighted partial MaxSAT, solved by RC2.

Source: *RC2: an Efficient MaxSAT Solver* (JSAT 2019), in PySAT. For one model (specification of this system, §3)::

    hard:  exactly one x_m ;  ¬x_m where m breaks a hard clause ;  ¬x_m ∨ ¬s_c where m breaks a soft clause c
    soft:  s_c with weight w_c ;  ¬x_m with weight Σ_c w_c (1 − p_mc) for clauses that count by expectation

RC2's own enumeration walks complete assignments, auxiliary variables included, and would name one model many times:
we block ``¬x_m`` ourselves. Weights are integers. RC2 answers None where the hard clauses cannot be met.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from rectitude.core.errors import MissingExtraError
from rectitude.decisions.routing.problem import Problem

_PAIRWISE = 60
"""Up to so many models, "at most one" is written pair by pair."""


def _pysat() -> tuple[Any, Any, Any, Any, Any]:
    try:
        from pysat.card import CardEnc, EncType
        from pysat.examples.rc2 import RC2
        from pysat.formula import WCNF
        from pysat.solvers import Solver
    except ImportError as error:
        raise MissingExtraError("pysat", "route", "Routing by MaxSAT") from error
    return RC2, WCNF, CardEnc, EncType, Solver


class SolverTimeoutError(Exception):
    """The solver was stopped; whoever called it keeps the best that is known."""


@contextmanager
def _alarm(solver: Any, seconds: float) -> Iterator[None]:
    """Interrupt a solver after a while."""
    timer = threading.Timer(seconds, solver.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def compute(solver: Any, seconds: float) -> list[int] | None:
    """RC2's optimum, None where there is none.

    Raises:
        SolverTimeoutError: It took longer.
    """
    if seconds <= 0:
        raise SolverTimeoutError
    with _alarm(solver, seconds):
        model = solver.compute(expect_interrupt=True)
    if model is None and solver.oracle.get_status() is None:
        solver.clear_interrupt()
        raise SolverTimeoutError
    return None if model is None else [int(literal) for literal in model]


@dataclass(frozen=True)
class Best:
    """Models named by a solver.

    Attributes:
        rows: From best to worst.
        costs: Weight each leaves unmet.
        status: ``optimal``, ``infeasible`` or ``timeout`` (then the rows found before it).
    """

    rows: tuple[int, ...]
    costs: tuple[int, ...]
    status: str


def best_models(problem: Problem, k: int | None = None, delta: float | None = None, seconds: float = 2.0) -> Best:
    """The k best feasible models, or all with regret up to ``delta``, by blocking one selector after the other.

    Args:
        problem: Wishes over M models.
        k: Stop after so many.
        delta: Stop when the unmet weight exceeds the optimum's by more than ``delta`` of all weight.
        seconds: For all calls together.
    """
    import time

    rc2, wcnf, card, enc, _ = _pysat()
    formula = wcnf()
    for clause in _choice(problem, card, enc):
        formula.append(clause)
    for clause, weight in _soft(problem):
        formula.append(clause, weight=weight) if weight else formula.append(clause)
    count = len(problem.catalogue)
    rows: list[int] = []
    costs: list[int] = []
    ends = time.monotonic() + seconds
    with rc2(formula) as solver:
        while k is None or len(rows) < k:
            try:
                model = compute(solver, ends - time.monotonic())
            except SolverTimeoutError:
                return Best(tuple(rows), tuple(costs), "timeout")
            if model is None:
                break
            row = next(literal for literal in model[:count] if literal > 0) - 1
            cost = int(solver.cost)
            if delta is not None and costs and cost - costs[0] > delta * problem.total:
                break
            rows.append(row)
            costs.append(cost)
            solver.add_clause([-(row + 1)])
    return Best(tuple(rows), tuple(costs), "optimal" if rows else "infeasible")


def _choice(problem: Problem, card: Any, enc: Any) -> Iterator[list[int]]:
    """Exactly one x_m, and none that breaks a hard clause."""
    selectors = list(range(1, len(problem.catalogue) + 1))
    if len(selectors) <= _PAIRWISE:
        yield selectors
        yield from ([-a, -b] for i, a in enumerate(selectors) for b in selectors[i + 1 :])
    else:
        top = len(selectors) + len(problem.rows)
        yield from card.equals(lits=selectors, bound=1, top_id=top, encoding=enc.ladder).clauses
    yield from ([-(int(row) + 1)] for row in np.flatnonzero(~problem.feasible))


def _soft(problem: Problem) -> Iterator[tuple[list[int], int]]:
    """Soft rows: a literal each where every model meets it wholly or not at all, else expected losses per model."""
    count = len(problem.catalogue)
    spread = np.zeros(count, np.int64)
    for position, (_, weight) in enumerate(problem.rows):
        lost = problem.losses[:, position]
        partial = (lost > 0) & (lost < weight)
        if partial.any():
            spread += lost
            continue
        met = count + position + 1
        yield [met], weight
        yield from (([-(int(row) + 1), -met], 0) for row in np.flatnonzero(lost))
    yield from (([-(int(row) + 1)], int(spread[row])) for row in np.flatnonzero(spread))


# ---- what stands in the way --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Correction:
    """Hard clauses without which some model is feasible.

    Attributes:
        clauses: Positions of the clauses.
        rows: Models that break just these.
    """

    clauses: tuple[int, ...]
    rows: tuple[int, ...]


def correction_sets(problem: Problem, most: int = 3, seconds: float = 2.0) -> list[Correction]:
    """Smallest sets of hard clauses to give up, up to ``most``, by relaxing each with a weighted literal and blocking.

    What the request or the policy needs weighs ten times what people wish for. Sets that contain one found before are
    left out. Models that break the same clauses are one to the solver.
    """
    import time

    if problem.feasible.any() or not problem.hard:
        return []
    rc2, wcnf, *_ = _pysat()
    broken = ~problem.holds[:, problem.hard]
    patterns, index = np.unique(broken, axis=0, return_inverse=True)
    relax = [len(patterns) + position + 1 for position in range(len(problem.hard))]
    formula = wcnf()
    formula.append(list(range(1, len(patterns) + 1)))
    for number, pattern in enumerate(patterns, start=1):
        for place in np.flatnonzero(pattern):
            formula.append([-number, relax[place]])
    for position, column in enumerate(problem.hard):
        formula.append([-relax[position]], weight=10 if problem.clauses[column].origin in ("request", "policy") else 1)
    found: list[Correction] = []
    ends = time.monotonic() + seconds
    with rc2(formula) as solver:
        while len(found) < most:
            try:
                model = compute(solver, ends - time.monotonic())
            except SolverTimeoutError:
                break
            if model is None:
                break
            chosen = [position for position, literal in enumerate(relax) if literal in model]
            same = np.array([position in chosen for position in range(len(problem.hard))])
            pattern_rows = np.flatnonzero((patterns <= same).all(axis=1))
            rows = np.flatnonzero(np.isin(index.ravel(), pattern_rows))
            found.append(
                Correction(tuple(problem.hard[p] for p in chosen), tuple(int(row) for row in problem.ranked(rows)))
            )
            solver.add_clause([-relax[position] for position in chosen])
    return found


def unsat_core(problem: Problem) -> list[int]:
    """Positions of hard clauses that cannot be met together, none of which could be left out; empty if feasible.

    The core of an assumption-based SAT call, made minimal by trying to leave out each clause.
    """
    if problem.feasible.any() or not problem.hard:
        return []
    *_, sat = _pysat()
    patterns = np.unique(~problem.holds[:, problem.hard], axis=0)
    track = [len(patterns) + position + 1 for position in range(len(problem.hard))]
    with sat(name="g4") as solver:
        solver.add_clause(list(range(1, len(patterns) + 1)))
        for number, pattern in enumerate(patterns, start=1):
            for position in np.flatnonzero(pattern):
                solver.add_clause([-number, -track[position]])
        core = _core(solver, track) or []
        for literal in list(core):
            smaller = _core(solver, [other for other in core if other != literal])
            core = smaller if smaller is not None else core
    return sorted(problem.hard[track.index(literal)] for literal in core)


def _core(solver: Any, assumptions: Iterable[int]) -> list[int] | None:
    """Assumptions that cannot hold together; None where they can."""
    if solver.solve(assumptions=list(assumptions)):
        return None
    return list(solver.get_core() or ())


def violated(problem: Problem, rows: Sequence[int]) -> dict[int, list[int]]:
    """Hard clauses that each of some models breaks."""
    return {row: [column for column in problem.hard if not problem.holds[row, column]] for row in rows}
