"""Wishes over several turns: what a later turn replaces, takes back, refers to, and what contradicts itself."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from rectitude.decisions.routing.attributes import attribute, company
from rectitude.decisions.routing.catalogue import Catalogue
from rectitude.decisions.routing.clauses import Atom, Clause
from rectitude.decisions.routing.truth import atom_truth

IDENTITY = frozenset({"model", "family", "vendor", "provider", "maker"})
"""Attributes that say which endpoint it is rather than what it can do."""


def revise(
    old: Sequence[Clause], new: Sequence[Clause], retracted: Sequence[str] = ()
) -> tuple[list[Clause], list[str]]:
    """Clauses in force after another turn, and those that went.

    A new statement replaces the old one it cannot stand beside: the other value of a flag, another limit in the same
    direction, other names to choose from. Exclusions add up. Saying again what holds already does not weaken it.

    Args:
        old: In force before; they age by a turn.
        new: Said now.
        retracted: Attributes of which nothing is wished for any more.
    """
    kept, gone = [], []
    said = list(new)
    for clause in old:
        again = next((n for n in said if n.any == clause.any and n.guard == clause.guard), None)
        if again is not None and clause.kind == "hard" and again.kind == "soft":
            said.remove(again)
            kept.append(clause.model_copy(update={"age": 0}))
        elif clause.attrs & set(retracted) or any(_replaces(n, clause) for n in said):
            if again is None:
                gone.append(str(clause))
        else:
            kept.append(clause.model_copy(update={"age": clause.age + 1}))
    return [*kept, *said], gone


def _replaces(new: Clause, old: Clause) -> bool:
    if new.guard != old.guard:
        return False
    if len(new.any) > 1 or len(old.any) > 1:
        return new.attrs == old.attrs
    one, other = new.any[0], old.any[0]
    if one.attr != other.attr:
        return False
    kind = attribute(one.attr).kind
    if kind == "flag":
        return True
    if kind in ("category", "set"):
        if one.negate and other.negate:
            return one.value == other.value
        return one.negate == other.negate or bool(_names(one) & _names(other))
    if one.graded or other.graded:
        return one.graded and other.graded
    return _upper(one) == _upper(other) or _empty(one, other)


def conflicts(clauses: Sequence[Clause], catalogue: Catalogue | None = None) -> list[tuple[Clause, Clause]]:
    """Pairs of hard clauses that no model could ever meet together.

    Args:
        clauses: Grounded clauses.
        catalogue: Where given, two demands on a model's identity that none of its models meets also count.
    """
    hard = [clause for clause in clauses if clause.kind == "hard" and len(clause.any) == 1]
    return [
        (one, other)
        for one, other in combinations(hard, 2)
        if one.guard == other.guard and _contradict(one.any[0], other.any[0], catalogue)
    ]


def _contradict(one: Atom, other: Atom, catalogue: Catalogue | None) -> bool:
    if one.attr == other.attr:
        kind = attribute(one.attr).kind
        if kind == "flag":
            return (one.value != one.negate) != (other.value != other.negate)
        if kind in ("number", "date"):
            return _empty(one, other)
        if one.negate != other.negate:
            wanted, refused = (other, one) if one.negate else (one, other)
            return _names(wanted) <= _names(refused)
        if kind == "category" and not one.negate and one.attr != "model":
            return not _names(one) & _names(other)
    if catalogue is None or {one.attr, other.attr} - IDENTITY:
        return False
    both = np.minimum(np.abs(atom_truth(catalogue, one)), np.abs(atom_truth(catalogue, other)))
    return not both.any()


def _names(atom: Atom) -> set[str]:
    return (
        {company(name) if atom.attr == "vendor" else name for name in atom.value}
        if isinstance(atom.value, tuple)
        else set()
    )


def _upper(atom: Atom) -> bool:
    return (atom.op in ("<", "<=")) != atom.negate


def _empty(one: Atom, other: Atom) -> bool:
    """Do two limits leave no number between them?"""
    if "best" in (one.op, other.op) or one.ref_model or other.ref_model or _upper(one) == _upper(other):
        return False
    upper, lower = (one, other) if _upper(one) else (other, one)
    strict = upper.op in ("<", ">") or lower.op in ("<", ">")
    return lower.number() >= upper.number() if strict else lower.number() > upper.number()
