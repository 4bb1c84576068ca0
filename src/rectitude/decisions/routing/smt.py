"""Unknown cells and thresholds as variables: MaxSMT by z3.

Source: νZ, *An Optimizing SMT Solver* (TACAS 2015). A catalogue's unknown cells become variables with the range of the
known ones and with side knowledge (output costs at least what input does, an answer is at most as long as the context).
The optimistic optimum asks for some completion, the robust one for the model whose worst completion is best. Soft
constraints share one id: z3 takes different ids as separate objectives in the order of their declaration.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np

from rectitude.core.errors import ConfigError, MissingExtraError
from rectitude.decisions.routing.attributes import MEAN_QUALITY, QUALITY, attribute
from rectitude.decisions.routing.catalogue import UNKNOWN, Catalogue
from rectitude.decisions.routing.clauses import Atom, Clause
from rectitude.decisions.routing.problem import Problem
from rectitude.decisions.routing.truth import atom_truth, stair_truth, staircase

_AT_MOST = (("price_in", "price_out"), ("max_output", "context"), ("price_cached", "price_in"))
"""Side knowledge: the first is at most the second."""
_ROWS = 60
"""Models that are given to z3; of more, those with the best value if all unknowns were well."""


def _z3() -> Any:
    try:
        import z3
    except ImportError as error:
        raise MissingExtraError("z3", "route", "Routing with free attributes") from error
    return z3


@dataclass(frozen=True)
class Completed:
    """A model under some completion of its unknown cells.

    Attributes:
        row: The model; None where none is feasible.
        value: Weight met.
        assumed: Unknown cells and the values the completion gives them.
        status: ``optimal``, ``infeasible``, or ``timeout`` with the best known.
    """

    row: int | None
    value: int
    assumed: dict[str, Any] = field(default_factory=dict)
    status: str = "optimal"


class _Cells:
    """Truth of atoms for one model as z3 terms: constants where known, else over its free cells."""

    def __init__(self, problem: Problem, row: int) -> None:
        self.z3, self.problem, self.catalogue, self.row = _z3(), problem, problem.catalogue, row
        self.free: dict[str, Any] = {}
        self.sides: list[Any] = []

    def number(self, name: str) -> Any:
        """Value of an ordered attribute, exact."""
        z3 = self.z3
        known = float(self.catalogue.column(name, self.problem.request)[self.row])
        if not np.isnan(known):
            return z3.RealVal(repr(known))
        if name in ("price", "job_cost"):
            return self._blend(name)
        if name == MEAN_QUALITY:
            parts = [each for each in self.catalogue.ordered if each.startswith(QUALITY)]
            return z3.Sum([self.number(each) for each in parts]) / len(parts) if parts else self._new(name)
        return self._new(name)

    def _blend(self, name: str) -> Any:
        request = self.problem.request
        tokens_in, tokens_out = request.tokens_in, request.tokens_out
        if name == "job_cost":
            if tokens_in is None or tokens_out is None:
                return self._new(name)
            return (self.number("price_in") * tokens_in + self.number("price_out") * tokens_out) / 1_000_000
        known = (tokens_in or 0) + (tokens_out or 0) > 0
        a, b = ((tokens_in or 0), (tokens_out or 0)) if known else (3, 1)
        return (self.number("price_in") * a + self.number("price_out") * b) / (a + b)

    def _new(self, name: str) -> Any:
        if name not in self.free:
            z3, variable = self.z3, self.z3.Real(f"{name}#{self.row}")
            self.free[name] = variable
            if attribute(name).kind == "flag":
                self.sides.append(z3.Or(variable == 0, variable == 1))
            else:
                values = self.catalogue.known(name)
                low, high = (0.0, 100.0) if name.startswith(QUALITY) else (0.0, None)
                if values.size:
                    low, high = float(values[0]), float(values[-1])
                self.sides.append(variable >= z3.RealVal(repr(low)))
                if high is not None:
                    self.sides.append(variable <= z3.RealVal(repr(high)))
            for small, large in _AT_MOST:
                if (
                    name in (small, large)
                    and small in {*self.free, *self.catalogue.ordered}
                    and self._given(small, large, name)
                ):
                    self.sides.append(self.number(small) <= self.number(large))
        return self.free[name]

    def _given(self, small: str, large: str, name: str) -> bool:
        other = large if name == small else small
        return other in self.free or not np.isnan(self.catalogue.column(other)[self.row])

    def atom(self, atom: Atom) -> Any:
        """Truth of an atom."""
        z3 = self.z3
        truth = int(atom_truth(self.catalogue, atom, self.problem.request)[self.row])
        if truth != UNKNOWN:
            return z3.BoolVal(bool(truth))
        kind = attribute(atom.attr).kind
        if kind in ("category", "set") or atom.op == "best":
            names = ",".join(atom.value) if isinstance(atom.value, tuple) else str(atom.value)
            key = f"{atom.attr}:{names}"
            term = self.free.setdefault(key, z3.Bool(f"{key}#{self.row}"))
        elif kind == "flag":
            term = self.number(atom.attr) == (1 if atom.value else 0)
        else:
            term = _compare(self.number(atom.attr), atom.op, z3.RealVal(repr(atom.number())))
        return z3.Not(term) if atom.negate else term

    def stairs(self, atom: Atom) -> list[Any]:
        """Truth of the steps of a staircase."""
        z3, terms = self.z3, []
        truths = stair_truth(self.catalogue, atom, self.problem.request)[:, self.row]
        for threshold, truth in zip(staircase(self.catalogue, atom, self.problem.request), truths, strict=True):
            if truth != UNKNOWN:
                terms.append(z3.BoolVal(bool(truth)))
            elif np.isnan(threshold):
                terms.append(z3.Bool(f"{atom.attr}#{self.row}"))
            else:
                limit = z3.RealVal(repr(threshold))
                terms.append(_compare(self.number(atom.attr), "<=" if atom.op == "low" else ">=", limit))
        return terms

    def clause(self, clause: Clause) -> Any:
        """Truth of a hard clause."""
        return self.z3.Or([self.atom(atom) for atom in clause.any])

    def rows(self) -> list[tuple[Any, int]]:
        """Truth and weight of every soft row, in the order of the problem's rows."""
        found: list[tuple[Any, int]] = []
        weights = iter(self.problem.rows)
        for clause in self.problem.clauses:
            if clause.kind == "hard":
                continue
            if clause.any[0].graded:
                found += [(term, next(weights)[1]) for term in self.stairs(clause.any[0])]
            else:
                found.append((self.clause(clause), next(weights)[1]))
        # The order within steps is no truth but a share: it counts as it stands, by its half.
        return [*found, *((self.z3.BoolVal(bool(row.chance[self.row] >= 0.5)), weight) for row, weight in weights)]

    def hard(self) -> list[Any]:
        """Truth of every hard clause; a policy of deny turns unknown into false."""
        z3, terms = self.z3, []
        for column in self.problem.hard:
            clause = self.problem.clauses[column]
            if clause.unknown == "deny" or clause.origin == "request":
                terms.append(z3.BoolVal(bool(self.problem.holds[self.row, column])))
            else:
                terms.append(self.clause(clause))
        return terms

    def read(self, model: Any) -> dict[str, Any]:
        """Values of the free cells in a model of z3."""
        found: dict[str, Any] = {}
        for name, variable in self.free.items():
            value = model.eval(variable, model_completion=True)
            if self.z3.is_bool(value):
                found[name] = self.z3.is_true(value)
            else:
                found[name] = _spoken(self.catalogue, name, float(value.as_fraction()))
        return found


def _compare(value: Any, op: str, limit: Any) -> Any:
    return {"<": value < limit, "<=": value <= limit, ">": value > limit, ">=": value >= limit}[op]


def _spoken(catalogue: Catalogue, name: str, value: float) -> Any:
    kind = attribute(name).kind
    return bool(value) if kind == "flag" else date.fromordinal(int(value)).isoformat() if kind == "date" else value


def _candidates(problem: Problem) -> list[int]:
    """Models that could be feasible if their unknown cells were well, the most promising first."""
    truth = problem.table.verdicts
    possible = np.ones(len(problem.catalogue), bool)
    for column in problem.hard:
        clause = problem.clauses[column]
        denied = clause.unknown == "deny" or clause.origin == "request"
        possible &= problem.holds[:, column] if denied else truth[:, column] != 0
    rows = np.flatnonzero(possible)
    return [int(row) for row in rows[np.argsort(-_bounds(problem)[1][rows], kind="stable")]]


def _bounds(problem: Problem) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Value of each model if every unknown row were false, and if it were true."""
    low = np.zeros(len(problem.catalogue), np.int64)
    high = np.zeros(len(problem.catalogue), np.int64)
    for row, weight in problem.rows:
        low += weight * (row.truth == 1)
        high += weight * (row.truth != 0)
    return low, high


def optimistic(problem: Problem, seconds: float = 2.0) -> Completed:
    """The best model under its best completion, as one MaxSMT problem."""
    z3 = _z3()
    rows = _candidates(problem)[:_ROWS]
    if not rows:
        return Completed(None, 0, status="infeasible")
    solver = z3.Optimize()
    solver.set("timeout", max(1, int(1000 * seconds)))
    chosen = {row: z3.Bool(f"x#{row}") for row in rows}
    solver.add(z3.PbEq([(variable, 1) for variable in chosen.values()], 1))
    met = [z3.Bool(f"s#{position}") for position in range(len(problem.rows))]
    cells = {row: _Cells(problem, row) for row in rows}
    for row, cell in cells.items():
        for term in cell.hard():
            solver.add(z3.Implies(chosen[row], term))
        for literal, (term, _) in zip(met, cell.rows(), strict=True):
            solver.add(z3.Implies(z3.And(chosen[row], literal), term))
        solver.add(*cell.sides)
    for literal, (_, weight) in zip(met, problem.rows, strict=True):
        solver.add_soft(literal, str(weight), "w")
    answer = solver.check()
    if answer == z3.unsat:
        return Completed(None, 0, status="infeasible")
    if answer == z3.unknown:
        return _fallback(problem, rows, high=True)
    model = solver.model()
    row = next(row for row, variable in chosen.items() if z3.is_true(model.eval(variable)))
    value = sum(
        weight for literal, (_, weight) in zip(met, problem.rows, strict=True) if z3.is_true(model.eval(literal))
    )
    return Completed(row, value, cells[row].read(model), "optimal")


def _fallback(problem: Problem, rows: Sequence[int], *, high: bool) -> Completed:
    bound = _bounds(problem)[1 if high else 0]
    sure = [row for row in rows if problem.feasible[row]] or list(rows)
    best = max(sure, key=lambda row: int(bound[row]))
    return Completed(best, int(bound[best]), status="timeout")


def extreme(problem: Problem, row: int, *, best: bool, seconds: float = 2.0) -> Completed:
    """Value of one model under its best or its worst completion; infeasible if a hard wish must (may) then fail."""
    z3, cell = _z3(), _Cells(problem, row)
    hard, rows = cell.hard(), cell.rows()
    solver = z3.Optimize()
    solver.set("timeout", max(1, int(1000 * seconds)))
    solver.add(*cell.sides)
    if best:
        solver.add(*hard)
    else:
        probe = z3.Solver()
        probe.add(*cell.sides, z3.Or([z3.Not(term) for term in hard]) if hard else z3.BoolVal(False))
        if probe.check() == z3.sat:
            return Completed(None, 0, cell.read(probe.model()), "infeasible")
    for term, weight in rows:
        solver.add_soft(term if best else z3.Not(term), str(weight), "w")
    answer = solver.check()
    if answer == z3.unsat:
        return Completed(None, 0, status="infeasible")
    if answer == z3.unknown:
        bound = _bounds(problem)[1 if best else 0]
        return Completed(row, int(bound[row]), status="timeout")
    model = solver.model()
    value = sum(weight for term, weight in rows if z3.is_true(model.eval(term, model_completion=True)))
    return Completed(row, value, cell.read(model), "optimal")


def robust(problem: Problem, seconds: float = 2.0) -> Completed:
    """The model whose worst completion is best; models whose best bound is behind are not tried."""
    high = _bounds(problem)[1]
    best, ends, status = Completed(None, 0, status="infeasible"), time.monotonic() + seconds, "optimal"
    for row in _candidates(problem):
        if best.row is not None and high[row] <= best.value:
            continue
        left = ends - time.monotonic()
        if left <= 0:
            status = "timeout"
            break
        found = extreme(problem, row, best=False, seconds=left)
        if found.row is not None and (best.row is None or found.value > best.value):
            best = found
        if found.status == "timeout":
            status = "timeout"
    if best.row is None:
        return Completed(None, 0, status="infeasible" if status == "optimal" else status)
    return Completed(best.row, best.value, best.assumed, status)


# ---- negotiation -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bargain:
    """Limits that can be had.

    Attributes:
        row: The model that has them; None where even free limits do not help.
        limits: Clause to its limit as wished and as it can be had.
        slack: Sum over the limits of how far each gives way, as a share of what was wished.
        tightened: Attribute to the best value it can have then.
        status: ``optimal``, ``infeasible`` or ``timeout``.
    """

    row: int | None
    limits: dict[str, tuple[float, float]]
    slack: float
    tightened: dict[str, float]
    status: str


def negotiate(
    problem: Problem, free: Sequence[str] | None = None, tighten: Sequence[str] = (), seconds: float = 5.0
) -> Bargain:
    """Let limits give way as little as possible, then make others as tight as they can be.

    Objectives in lexicographic order: the sum of relative slacks of the free limits; each attribute of ``tighten`` in
    its better direction; the weight of the soft wishes.

    Args:
        problem: Wishes. Hard clauses that are not free must hold.
        free: Ids of hard clauses with one limit on a number or date; all of the feedback's where None.
        tighten: Ordered attributes to make as good as possible ("as cheap as possible with code at least 70").
        seconds: For z3.

    Raises:
        ConfigError: A clause is no limit, or an attribute has no better direction.
    """
    z3 = _z3()
    limits = _free_limits(problem, free)
    rows = _negotiable(problem, limits, tighten)
    if not rows:
        return Bargain(None, {}, 0.0, {}, "infeasible")
    solver = z3.Optimize()
    solver.set("timeout", max(1, int(1000 * seconds)))
    solver.set("priority", "lex")
    chosen = [z3.Bool(f"x#{row}") for row in rows]
    solver.add(z3.PbEq([(variable, 1) for variable in chosen], 1))
    slacks = []
    for column in limits:
        atom = problem.clauses[column].any[0]
        theta, slack = z3.Real(f"theta#{column}"), z3.Real(f"slack#{column}")
        wished, unit = z3.RealVal(repr(atom.number())), z3.RealVal(repr(_unit(atom)))
        upper = (atom.op in ("<", "<=")) != atom.negate
        solver.add(slack >= 0, theta == wished + slack * unit if upper else theta == wished - slack * unit)
        values = problem.catalogue.column(atom.attr, problem.request)
        for variable, row in zip(chosen, rows, strict=True):
            if problem.holds[row, column]:
                continue  # the wish as it stands is met
            value = z3.RealVal(repr(float(values[row])))
            solver.add(z3.Implies(variable, value <= theta if upper else value >= theta))
        slacks.append(slack)
    if slacks:
        solver.minimize(z3.Sum(slacks))
    for name in tighten:
        values = problem.catalogue.column(name, problem.request)
        reached = z3.Real(f"reached#{name}")
        for variable, row in zip(chosen, rows, strict=True):
            solver.add(z3.Implies(variable, reached == z3.RealVal(repr(float(values[row])))))
        solver.minimize(reached) if attribute(name).better == "lower" else solver.maximize(reached)
    gains = [problem.values[row] for row in rows]
    solver.maximize(z3.Sum([z3.If(variable, int(gain), 0) for variable, gain in zip(chosen, gains, strict=True)]))
    answer = solver.check()
    if answer != z3.sat:
        return Bargain(None, {}, 0.0, {}, "infeasible" if answer == z3.unsat else "timeout")
    model = solver.model()
    row = next(r for v, r in zip(chosen, rows, strict=True) if z3.is_true(model.eval(v, model_completion=True)))
    return _bargain(problem, row, limits, tighten)


def _bargain(problem: Problem, row: int, limits: list[int], tighten: Sequence[str]) -> Bargain:
    given, slack = {}, 0.0
    for column in limits:
        atom = problem.clauses[column].any[0]
        value = float(problem.catalogue.column(atom.attr, problem.request)[row])
        met = bool(problem.holds[row, column])
        given[problem.clauses[column].id] = (atom.number(), atom.number() if met else value)
        slack += 0.0 if met else abs(value - atom.number()) / _unit(atom)
    reached = {name: float(problem.catalogue.column(name, problem.request)[row]) for name in tighten}
    return Bargain(row, given, slack, reached, "optimal")


def _unit(atom: Atom) -> float:
    """What a slack of 1 is: the limit itself, or a year for dates."""
    return 365.0 if attribute(atom.attr).kind == "date" else max(abs(atom.number()), 1e-9)


def _free_limits(problem: Problem, free: Sequence[str] | None) -> list[int]:
    found = []
    for column in problem.hard:
        clause = problem.clauses[column]
        limit = len(clause.any) == 1 and clause.any[0].op in ("<", "<=", ">", ">=")
        if free is None and limit and clause.origin == "feedback":
            found.append(column)
        elif free is not None and clause.id in free:
            if not limit:
                raise ConfigError(f"'{clause}' has no limit that could give way", where=clause.id)
            found.append(column)
    return found


def _negotiable(problem: Problem, limits: list[int], tighten: Sequence[str]) -> list[int]:
    """Models that meet every wish that is not free and whose values are known; only those not beaten in every slack."""
    rows = problem.holds[:, [c for c in problem.hard if c not in limits]].all(axis=1)
    for name in tighten:
        if attribute(name).better is None:
            raise ConfigError(f"'{name}' has no better direction", where="tighten")
        rows &= ~np.isnan(problem.catalogue.column(name, problem.request))
    for column in limits:
        known = ~np.isnan(problem.catalogue.column(problem.clauses[column].any[0].attr, problem.request))
        rows &= known | problem.holds[:, column]
    kept = [int(row) for row in np.flatnonzero(rows)]
    if len(kept) <= 500 or not limits:
        return kept
    slack = {row: _bargain(problem, row, limits, tighten).slack for row in kept}
    return sorted(kept, key=lambda row: slack[row])[:500]


def describe_bargain(problem: Problem, found: Bargain) -> dict[str, Any]:
    """A bargain as JSON."""
    named = {clause.id: clause for clause in problem.clauses}

    def said(attr: str, value: float) -> Any:
        return date.fromordinal(round(value)).isoformat() if attribute(attr).kind == "date" else round(value, 9)

    limits = [
        {
            "clause": name, "says": str(named[name]), "attr": (attr := named[name].any[0].attr),
            "wished": said(attr, wished), "reached": said(attr, reached), "gives_way": wished != reached,
        }
        for name, (wished, reached) in found.limits.items()
    ]  # fmt: skip
    model = None if found.row is None else problem.catalogue.ids[found.row]
    tightened = {name: said(name, value) for name, value in found.tightened.items()}
    return {"status": found.status, "model": model, "slack": found.slack, "limits": limits, "tightened": tightened}
