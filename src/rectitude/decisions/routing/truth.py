"""Three-valued truth of clauses over a catalogue, and what an unknown counts as.

Strong Kleene logic: a disjunction is 1 if any atom is 1, 0 if all are 0, otherwise unknown. An unknown then counts as
false (``deny``), as true (``allow``), or by how often the atom is true among the model's family, its provider, and all
models, each shrunk towards the next with four pseudo-counts (``expect``)::

    p = (k + a · p_parent) / (n + a),  a = 4,  p_parent of all models = 1/2
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rectitude.core.errors import ConfigError
from rectitude.decisions.routing.attributes import attribute
from rectitude.decisions.routing.catalogue import UNKNOWN, Catalogue, Floats, Request, Truth
from rectitude.decisions.routing.clauses import Atom, Clause

PSEUDO = 4.0
STEPS = 5
"""Thresholds of a staircase, at the quantiles 1/5, …, 5/5 of the catalogue."""
_EVERYTHING = Request()


@dataclass(frozen=True, eq=False)
class Row:
    """One line of the truth table: a clause, or one step of a graded one.

    Attributes:
        clause: Position of its clause.
        truth: int8 [M].
        chance: Probability of truth [M], 0 or 1 where it is known.
        share: Part of the clause's weight that hangs on it.
    """

    clause: int
    truth: Truth
    chance: Floats
    share: float


class TruthTable:
    """Truth of every clause for every model.

    Args:
        catalogue: M models.
        clauses: C clauses without references (see ``grounding``).
        request: The request they are for.
    """

    def __init__(self, catalogue: Catalogue, clauses: Sequence[Clause], request: Request = _EVERYTHING) -> None:
        self.catalogue, self.clauses, self.request = catalogue, tuple(clauses), request
        self.rows: list[Row] = []
        for position, clause in enumerate(self.clauses):
            self.rows += self._rows(position, clause)

    def _rows(self, position: int, clause: Clause) -> list[Row]:
        if clause.any[0].graded:
            steps = stair_truth(self.catalogue, clause.any[0], self.request)
            chances = expected(self.catalogue, steps)
            share = 1 / len(steps)
            return [Row(position, truth, chance, share) for truth, chance in zip(steps, chances, strict=True)]
        parts = [atom_truth(self.catalogue, atom, self.request) for atom in clause.any]
        truth = disjunction(parts)
        return [Row(position, truth, self._chance(parts), 1.0)]

    def _chance(self, parts: Sequence[Truth]) -> Floats:
        """``1 − ∏ (1 − p)`` over the atoms, which are taken as independent."""
        if len(parts) == 1:
            return np.asarray(expected(self.catalogue, parts[0][None])[0])
        return np.asarray(1 - np.prod(1 - expected(self.catalogue, np.stack(parts)), axis=0))

    @cached_property
    def verdicts(self) -> Truth:
        """Truth of whole clauses, int8 [M, C]; a graded one is true where every step is and false where none is."""
        table = np.full((len(self.catalogue), len(self.clauses)), UNKNOWN, np.int8)
        for position in range(len(self.clauses)):
            rows = [row.truth for row in self.rows if row.clause == position]
            if not rows:
                continue
            stacked = np.stack(rows)
            if len(rows) == 1:
                table[:, position] = stacked[0]
            else:
                unknown = (stacked == UNKNOWN).any(axis=0)
                table[:, position] = np.where(unknown, UNKNOWN, stacked.sum(axis=0) >= (len(rows) + 1) // 2)
        return table


def counted(row: Row, policy: str) -> Floats:
    """What a row's truth counts as under a policy, in [0, 1], [M]."""
    if policy == "expect":
        return row.chance
    return np.asarray(row.truth == 1 if policy == "deny" else row.truth != 0, dtype=np.float64)


def disjunction(parts: Sequence[Truth]) -> Truth:
    """Strong Kleene "or" of int8 [M] truths."""
    if len(parts) == 1:
        return parts[0]
    stacked = np.stack(parts)
    result = np.where((stacked == 1).any(axis=0), 1, np.where((stacked == UNKNOWN).any(axis=0), UNKNOWN, 0))
    return result.astype(np.int8)


def atom_truth(catalogue: Catalogue, atom: Atom, request: Request = _EVERYTHING) -> Truth:
    """Truth of an atom for every model, int8 [M].

    Raises:
        ConfigError: The atom still refers to a model, or is graded or a likeness.
    """
    kind = attribute(atom.attr).kind
    if atom.ref_model is not None or atom.only_soft:
        raise ConfigError(f"'{atom}' has no truth of its own")
    if kind in ("category", "set"):
        truth = _named(catalogue, atom)
    else:
        values = catalogue.column(atom.attr, request)
        known = ~np.isnan(values)
        if kind == "flag":
            holds = values == float(bool(atom.value))
        elif atom.op == "best":
            holds = _among_best(catalogue, atom, values, request)
        else:
            holds = compare(values, atom.op, atom.number())
        truth = np.where(known, holds, UNKNOWN).astype(np.int8)
    return np.where(truth == UNKNOWN, UNKNOWN, 1 - truth).astype(np.int8) if atom.negate else truth


def compare(values: Floats, op: str, limit: float) -> NDArray[np.bool_]:
    """``values op limit``; a limit of a thousandth of a millionth more is the same, because units were converted."""
    slack = abs(limit) * 1e-9
    if op == "<=":
        return np.asarray(values <= limit + slack)
    if op == ">=":
        return np.asarray(values >= limit - slack)
    return np.asarray(values < limit - slack) if op == "<" else np.asarray(values > limit + slack)


def _named(catalogue: Catalogue, atom: Atom) -> Truth:
    wanted = atom.value if isinstance(atom.value, tuple) else ()
    if atom.attr == "model":
        rows = [row for name in wanted for row in [*catalogue.rows_named(name), *_exact(catalogue, name)]]
        truth = np.zeros(len(catalogue), np.int8)
        truth[rows] = 1
        return truth
    names = {name.casefold() for name in wanted}
    if attribute(atom.attr).kind == "category":
        codes, values = catalogue.categories.get(atom.attr, (np.full(len(catalogue), -1, np.int32), ()))
        holds = np.array([value in names for value in values] + [False])
        return np.where(codes < 0, UNKNOWN, holds[codes]).astype(np.int8)
    cells, values = catalogue.sets.get(atom.attr, (None, ()))
    if cells is None:
        return np.full(len(catalogue), UNKNOWN, np.int8)
    asked = [cells[:, position] for position, value in enumerate(values) if value in names]
    if len(asked) < len(names):  # a value nobody has: false where the set is known whole
        asked.append(np.where((cells == UNKNOWN).any(axis=1), UNKNOWN, 0).astype(np.int8))
    return disjunction(asked)


def _exact(catalogue: Catalogue, name: str) -> list[int]:
    return [catalogue.position[name]] if name in catalogue.position else []


def _among_best(catalogue: Catalogue, atom: Atom, values: Floats, request: Request) -> NDArray[np.bool_]:
    known = catalogue.known(atom.attr, request)
    wanted = float(atom.value)  # type: ignore[arg-type]
    count = max(1, round(wanted * known.size)) if wanted < 1 else int(wanted)
    if not known.size:
        return np.zeros(values.size, bool)
    if attribute(atom.attr).better == "lower":
        return np.asarray(values <= known[min(count, known.size) - 1])
    return np.asarray(values >= known[max(0, known.size - count)])


def staircase(catalogue: Catalogue, atom: Atom, request: Request = _EVERYTHING) -> list[float]:
    """Thresholds of "the lower (higher) the better": quantiles 1/L … L/L, the best first, without ties."""
    known = catalogue.known(atom.attr, request)
    if not known.size:
        return [np.nan]
    best_first = known if atom.op == "low" else known[::-1]
    places = [max(1, -(-step * known.size // STEPS)) - 1 for step in range(1, STEPS + 1)]
    return list(dict.fromkeys(float(best_first[place]) for place in places))


def stair_truth(catalogue: Catalogue, atom: Atom, request: Request = _EVERYTHING) -> Truth:
    """Is the value on the good side of each step? int8 [L, M]."""
    values = catalogue.column(atom.attr, request)
    steps = np.array(staircase(catalogue, atom, request))[:, None]
    slack = np.abs(steps) * 1e-9
    holds = values <= steps + slack if atom.op == "low" else values >= steps - slack
    truth = holds.astype(np.int8)
    truth[:, np.isnan(values)] = UNKNOWN
    return np.asarray(truth)


def rank_row(catalogue: Catalogue, atom: Atom, position: int, policy: str, request: Request) -> Row:
    """How far up the known values of a graded wish each model is, 0 to 1: tells apart what is on one step."""
    values, known = catalogue.column(atom.attr, request), catalogue.known(atom.attr, request)
    blank = np.isnan(values)
    low = atom.op == "low"
    beaten = known.size - np.searchsorted(known, values, "right") if low else np.searchsorted(known, values, "left")
    share = beaten / max(1, known.size - 1)
    share[blank] = {"deny": 0.0, "allow": 1.0}.get(policy, 0.5)
    truth = np.where(blank, UNKNOWN, share >= 0.5).astype(np.int8)
    return Row(position, truth, share, 1.0)


def expected(catalogue: Catalogue, truths: Truth) -> Floats:
    """Probability that each of L atoms is true, [L, M]: 0 or 1 where known, else from family, provider and all."""
    known = truths != UNKNOWN
    chances = (truths == 1).astype(np.float64)
    families, providers = catalogue.peers
    for row in np.flatnonzero(~known.all(axis=1)):
        yes, seen = chances[row].copy(), known[row].astype(np.float64)
        blank = ~known[row]
        overall = (yes.sum() + PSEUDO / 2) / (seen.sum() + PSEUDO)
        parent = _shrunk(yes, seen, providers, providers[blank], np.float64(overall))
        chances[row, blank] = _shrunk(yes, seen, families, families[blank], parent)
    return np.asarray(chances)


def _shrunk(
    yes: Floats, seen: Floats, codes: NDArray[np.int32], asked: NDArray[np.int32], parent: Floats | np.float64
) -> Floats:
    """Share of true among the known of each group asked for, shrunk towards its parent."""
    hits, known = np.bincount(codes, weights=yes), np.bincount(codes, weights=seen)
    return np.asarray((hits[asked] + PSEUDO * parent) / (known[asked] + PSEUDO))
