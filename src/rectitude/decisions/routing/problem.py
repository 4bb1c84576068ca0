"""A routing problem: wishes with weights over a catalogue, its value for every model, and brute force.

For one model the problem is an argmax over M rows, so brute force is the default and the oracle of the solvers. All
weights and losses are integers, so that a solver and brute force agree to the last unit::

    V(m) = Σ_c w_c · E[y_mc]      V* = max V over feasible m      ρ(m) = (V* − V(m)) / Σ_c w_c
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rectitude.core.config import Settings
from rectitude.decisions.routing.attributes import attribute
from rectitude.decisions.routing.catalogue import UNKNOWN, Catalogue, Request
from rectitude.decisions.routing.clauses import WEIGHTS, Atom, Clause, UnknownPolicy, merged
from rectitude.decisions.routing.truth import Row, TruthTable, counted, rank_row

Integers = NDArray[np.int64]
UNIT = 1000
"""Weight of a strength-1 wish said with certainty."""
_CAPPED = ("cost", "speed", "size")
"""Groups whose attributes say nearly the same: together they weigh at most what the strongest wish can."""
_FINE, _LAST = 10, 11
"""Lexicographic ranks after those of wishes: the order within steps of staircases, and the defaults."""
_CAP = max(WEIGHTS.values()) * UNIT
_PREPARED = Request()


class Policy(Settings):
    """How wishes are weighed, and what holds whatever is wished for."""

    clauses: tuple[Clause, ...] = ()
    """Wishes that always count; feedback cannot take back the hard ones."""
    feedback: str = ""
    """The same in words."""
    unknown_hard: UnknownPolicy = "deny"
    """What an unknown cell counts as in hard clauses."""
    unknown_soft: UnknownPolicy = "expect"
    """What it counts as in soft clauses."""
    delta: float = Field(default=0.10, ge=0, le=1)
    """Regret up to which a model is near-feasible."""
    k: int = Field(default=5, ge=1)
    """How many models to name at least, where there are so many."""
    decay: float = Field(default=0.8, gt=0, le=1)
    """What is left of a soft wish's weight after each later turn."""
    defaults: bool = True
    """Add our own low wishes, after all others: cheap, good, calls tools, context of 100k, recent."""
    timeout: float = Field(default=2.0, gt=0)
    """Seconds a solver may take."""

    def unknown(self, clause: Clause) -> UnknownPolicy:
        """What an unknown counts as in a clause."""
        return clause.unknown or (self.unknown_hard if clause.kind == "hard" else self.unknown_soft)


def default_clauses() -> list[Clause]:
    """What we wish for where nobody says otherwise, each of low weight and in the last group."""
    graded = [("price", "low", 2), (("q.mean"), "high", 2), ("released", "high", 1)]
    found = [Clause(any=(Atom(attr=attr, op=op),), strength=s, origin="default") for attr, op, s in graded]
    found.append(Clause(any=(Atom(attr="tool_call", op="is", value=True),), strength=1, origin="default"))
    found.append(Clause(any=(Atom(attr="context", op=">=", value=100_000),), strength=1, origin="default"))
    return found


def request_clauses(request: Request) -> list[Clause]:
    """What the request itself cannot do without; a model that is not to be used any more is never wanted."""
    atoms = [Atom(attr=need, op="is", value=True) for need in sorted(request.needs)]
    tokens = (request.tokens_in or 0) + (request.tokens_out or 0)
    if tokens:
        atoms.append(Atom(attr="context", op=">=", value=tokens))
    if request.tokens_out:
        atoms.append(Atom(attr="max_output", op=">=", value=request.tokens_out))
    # What a table does not say of limits is no reason to refuse a model: providers' tables are full of gaps.
    found = [
        Clause(kind="hard", any=(atom,), origin="request", unknown="allow" if atom.op == ">=" else None)
        for atom in atoms
    ]
    gone = Atom(attr="deprecated", op="is", value=False)
    return [*found, Clause(kind="hard", any=(gone,), origin="request", unknown="allow")]


@dataclass(frozen=True, eq=False)
class Problem:
    """Wishes over a catalogue, weighed.

    Attributes:
        catalogue: M models.
        clauses: C clauses, grounded and named ``c1`` ….
        request: The request.
        policy: How it was weighed.
        table: Their truth.
        holds: Does a hard clause hold after its unknown policy? bool [M, C]; true for soft ones.
        weights: Integer weight of each clause [C]; 0 for hard ones.
        rows: The soft rows of the table, with integer weight.
        losses: Weight each soft row loses for each model, int64 [M, R].
        scale: What a strength-1 wish of the first group weighs.
    """

    catalogue: Catalogue
    clauses: tuple[Clause, ...]
    request: Request
    policy: Policy
    table: TruthTable
    holds: NDArray[np.bool_]
    weights: Integers
    rows: tuple[tuple[Row, int], ...]
    losses: Integers
    scale: int

    @cached_property
    def hard(self) -> list[int]:
        """Positions of hard clauses."""
        return [position for position, clause in enumerate(self.clauses) if clause.kind == "hard"]

    @cached_property
    def feasible(self) -> NDArray[np.bool_]:
        """Models that meet every hard clause, bool [M]."""
        return np.asarray(self.holds.all(axis=1))

    @cached_property
    def total(self) -> int:
        """Σ w over soft clauses, as integers of their rows."""
        return sum(weight for _, weight in self.rows)

    @cached_property
    def values(self) -> Integers:
        """V of every model, feasible or not, int64 [M]."""
        return np.asarray(self.total - self.losses.sum(axis=1))

    @cached_property
    def clause_losses(self) -> Integers:
        """Weight each clause loses for each model, int64 [M, C]."""
        found = np.zeros((len(self.catalogue), len(self.clauses)), np.int64)
        for column, (row, _) in enumerate(self.rows):
            found[:, row.clause] += self.losses[:, column]
        return found

    @cached_property
    def unknowns(self) -> Integers:
        """How many clauses cannot be judged, int64 [M]."""
        return np.asarray((self.table.verdicts == UNKNOWN).sum(axis=1))

    @cached_property
    def order(self) -> Integers:
        """Models from best to worst; those with fewer hard violations first.

        Ties are broken by fewer unknowns, lower price, newer release, then name.
        """
        return self.ranked(np.arange(len(self.catalogue)))

    def ranked(self, rows: Integers) -> Integers:
        """Some models from best to worst."""
        column = self.catalogue.column
        price = np.nan_to_num(column("price", self.request)[rows], nan=np.inf)
        released = -np.nan_to_num(column("released")[rows], nan=0.0)
        violated = self.violations[rows]
        keys = (self.catalogue.name_order[rows], released, price, self.unknowns[rows], -self.values[rows], violated)
        return np.asarray(rows[np.lexsort(keys)])

    @cached_property
    def best_value(self) -> int | None:
        """V*, None where nothing is feasible."""
        return int(self.values[self.feasible].max()) if self.feasible.any() else None

    @cached_property
    def violations(self) -> Integers:
        """How many hard clauses each model breaks, int64 [M]."""
        return np.asarray(len(self.clauses) - self.holds.sum(axis=1))

    def best(self, count: int) -> Integers:
        """The first models of :attr:`order`, at least so many where there are, without sorting all."""
        if count >= len(self.catalogue):
            return self.order
        key = self.violations * (self.total + 1) + (self.total - self.values)
        return self.ranked(np.flatnonzero(key <= np.partition(key, count - 1)[count - 1]))[:count]

    @cached_property
    def regret(self) -> NDArray[np.float64]:
        """ρ of every model against V*, or against the best value of all where nothing is feasible; [M]."""
        best = int(self.values.max()) if self.best_value is None else self.best_value
        return np.asarray((best - self.values) / max(1, self.total))

    def points(self, value: int | float) -> float:
        """A weight on the scale people see: 1 is a wish of strength 1."""
        return round(float(value) / self.scale, 2)

    def tied(self, row: int) -> list[int]:
        """Other feasible models with the same value."""
        same = np.flatnonzero(self.feasible & (self.values == self.values[row]))
        return [int(other) for other in same if other != row]


def build_problem(
    catalogue: Catalogue,
    clauses: Sequence[Clause],
    request: Request = _PREPARED,
    policy: Policy | None = None,
) -> Problem:
    """Weigh clauses and evaluate them.

    Args:
        catalogue: M models.
        clauses: Grounded clauses, of feedback and policy; those of the request and the defaults are added here.
        request: The request.
        policy: How to weigh; the defaults of :class:`Policy` where not given.
    """
    policy = policy or Policy()
    wished = merged([*policy.clauses, *clauses])
    given = [*wished, *request_clauses(request)]
    if policy.defaults:
        spoken = {attr for clause in wished for attr in clause.attrs}
        given += [clause for clause in default_clauses() if not clause.attrs & spoken]
    kept = [clause for clause in merged(given) if clause.guard is None or clause.guard.holds(request)]
    named = tuple(clause.model_copy(update={"id": f"c{n}"}) for n, clause in enumerate(kept, start=1))
    table = TruthTable(catalogue, named, request)
    weights, scale, fine = _weights(named, policy)
    holds = np.ones((len(catalogue), len(named)), bool)
    rows, losses = [], []
    for row in table.rows:
        clause = named[row.clause]
        counts = counted(row, policy.unknown(clause))
        if clause.kind == "hard":
            holds[:, row.clause] = counts >= 0.5
            continue
        weight = round(weights[row.clause] * row.share)
        rows.append((row, weight))
        losses.append(np.rint(weight * (1 - counts)).astype(np.int64))
    for position, clause in enumerate(named):
        if clause.any[0].graded and clause.origin != "default":
            row = rank_row(catalogue, clause.any[0], position, policy.unknown(clause), request)
            weight = UNIT * WEIGHTS[clause.strength] * fine
            rows.append((row, weight))
            losses.append(np.rint(weight * (1 - row.chance)).astype(np.int64))
    stacked = np.stack(losses, axis=1) if losses else np.zeros((len(catalogue), 0), np.int64)
    return Problem(
        catalogue, named, request, policy, table, holds, np.array(weights, dtype=np.int64), tuple(rows), stacked, scale
    )


def _weights(clauses: Sequence[Clause], policy: Policy) -> tuple[list[int], int, int]:
    """``w = 1000 · strength · confidence · γ^age``, capped by attribute group, then scaled by lexicographic group.

    Returns:
        Weight of each clause; what a strength-1 wish of the first group weighs; factor of the order within steps of
        staircases, which counts after all wishes and before the defaults.
    """
    plain = [
        0.0 if clause.kind == "hard" else
        UNIT * WEIGHTS[clause.strength] * clause.confidence * policy.decay**clause.age
        for clause in clauses
    ]  # fmt: skip
    sums: dict[str, float] = defaultdict(float)
    groups = [_cap_group(clause) for clause in clauses]
    for group, weight in zip(groups, plain, strict=True):
        sums[group] += weight
    capped = [
        max(1, round(weight * min(1.0, _CAP / sums[group]))) if weight and group else round(weight)
        for group, weight in zip(groups, plain, strict=True)
    ]
    ranks = [_LAST if clause.origin == "default" else clause.group for clause in clauses]
    steps = [UNIT * WEIGHTS[c.strength] for c in clauses if c.any[0].graded and c.origin != "default"]
    multiplier, factors = 1, dict[int, int]()
    for rank in sorted({*ranks, _FINE}, reverse=True):
        factors[rank] = multiplier
        here = sum(steps) if rank == _FINE else 0
        multiplier *= 1 + here + sum(weight for weight, other in zip(capped, ranks, strict=True) if other == rank)
    first = min((rank for rank, weight in zip(ranks, capped, strict=True) if weight), default=0)
    weights = [weight * factors[rank] for weight, rank in zip(capped, ranks, strict=True)]
    return weights, UNIT * factors.get(first, 1), factors[_FINE]


def _cap_group(clause: Clause) -> str:
    if clause.kind == "hard" or clause.origin == "default":
        return ""
    groups = {attribute(attr).group for attr in clause.attrs}
    return next(iter(groups)) if len(groups) == 1 and groups <= set(_CAPPED) else ""


def settings_of(problem: Problem) -> Mapping[str, object]:
    """What a decision must be stamped with to be made again."""
    return {
        "catalogue": problem.catalogue.hash,
        "models": len(problem.catalogue),
        "source": problem.catalogue.source,
        "as_of": problem.catalogue.as_of,
        "request": problem.request.model_dump(mode="json"),
        "policy": problem.policy.model_dump(mode="json", exclude={"clauses"}),
    }
