"""Clauses found against clauses meant: precision, recall and F1 by attribute, operator, value and kind."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rectitude.core.errors import ConfigError
from rectitude.decisions.routing.attributes import attribute
from rectitude.decisions.routing.catalogue import plain
from rectitude.decisions.routing.clauses import Atom, Clause

_GOLD = re.compile(r"(?P<neg>not )?(?P<attr>[\w.]+) (?P<op>is|in|has|like|low|high|best|<=|>=|<|>)(?: (?P<value>.+))?")
_TOLERANCE = 0.05
"""Relative difference of numbers that counts as the same."""


def read_gold(text: str) -> Clause:
    """``"hard not vendor has openai"`` as a clause.

    Raises:
        ConfigError: The text is no such short form.
    """
    kind, _, rest = text.partition(" ")
    matches = [_GOLD.fullmatch(part) for part in rest.split(" or ")]
    if kind not in ("hard", "soft") or not all(matches):
        raise ConfigError(f"'{text}' is no clause", fix="Write it as: hard vision is true")
    return Clause(kind=kind, any=tuple(_gold_atom(match) for match in matches if match))


def _gold_atom(match: re.Match[str]) -> Atom:
    attr, op, text = match["attr"], match["op"], match["value"]
    kind = attribute(attr).kind
    values: dict[str, Any] = {"attr": attr, "op": op}
    negate = match["neg"] is not None
    if op == "is":
        return Atom(attr=attr, op="is", value=(text == "true") != negate)
    if op in ("in", "has", "like"):
        values["value"] = tuple(text.split("|"))
    elif op in ("<", "<=", ">", ">=", "best"):
        factor, times, name = text.rpartition(" * ")
        if times or re.match(r"[a-z]", text):
            values |= {"ref_model": name, "factor": float(factor or 1)}
        else:
            values["value"] = text if kind == "date" else float(text)
    return Atom(**values, negate=negate)


@dataclass(frozen=True)
class Score:
    """Counts over feedback texts.

    Attributes:
        hits: Clauses found that are meant.
        found: Clauses found.
        meant: Clauses meant.
        whole: Texts of which everything was found and nothing else.
        texts: Texts.
    """

    hits: int
    found: int
    meant: int
    whole: int
    texts: int

    @property
    def precision(self) -> float:
        """Share of clauses found that are meant."""
        return self.hits / self.found if self.found else float(self.meant == 0)

    @property
    def recall(self) -> float:
        """Share of clauses meant that are found."""
        return self.hits / self.meant if self.meant else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of the two."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0

    def __add__(self, other: Score) -> Score:
        return Score(
            self.hits + other.hits, self.found + other.found, self.meant + other.meant, self.whole + other.whole,
            self.texts + other.texts,
        )  # fmt: skip


def score(found: Sequence[Clause], meant: Sequence[Clause]) -> Score:
    """Match clauses found for one text with those meant; each may be matched once.

    Strength is not compared. ``<`` and ``<=`` count as the same; so do an exclusion of two names and two exclusions.
    """
    left = [form for clause in meant for form in _forms(clause)]
    mine = [form for clause in found for form in _forms(clause)]
    hits = 0
    open_ = list(left)
    for form in mine:
        match = next((other for other in open_ if _same(form, other)), None)
        if match is not None:
            open_.remove(match)
            hits += 1
    return Score(hits, len(mine), len(left), int(hits == len(mine) == len(left)), 1)


_Form = tuple[str, tuple[tuple[Any, ...], ...]]


def _forms(clause: Clause) -> list[_Form]:
    atoms = []
    for atom in clause.any:
        if atom.negate and atom.op in ("in", "has") and isinstance(atom.value, tuple) and len(clause.any) == 1:
            return [(clause.kind, (_form(atom.model_copy(update={"value": (name,)})),)) for name in atom.value]
        atoms.append(_form(atom))
    return [(clause.kind, tuple(sorted(atoms, key=str)))]


def _form(atom: Atom) -> tuple[Any, ...]:
    op: str = atom.op
    value: Any = atom.value
    if op in ("<", "<=", ">", ">="):
        if atom.negate:
            op = {"<": ">", "<=": ">", ">": "<", ">=": "<"}[op]
        op = op[0]
        value = atom.number() if atom.ref_model is None else None
    if isinstance(value, tuple):
        value = frozenset(plain(name) for name in value)
    reference = plain(atom.ref_model) if atom.ref_model else None
    return atom.attr, op, value, reference, atom.factor, atom.negate if op in ("in", "has") else False


def _same(one: _Form, other: _Form) -> bool:
    if one[0] != other[0] or len(one[1]) != len(other[1]):
        return False
    return all(_same_atom(a, b) for a, b in zip(one[1], other[1], strict=True))


def _same_atom(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    if one[:2] != other[:2] or one[3] != other[3] or one[5] != other[5] or abs(one[4] - other[4]) > 1e-9:
        return False
    a, b = one[2], other[2]
    if isinstance(a, float) and isinstance(b, float) and not isinstance(a, bool):
        near = 1.0 if attribute(one[0]).kind == "date" else _TOLERANCE * max(abs(a), abs(b))  # dates are days
        return abs(a - b) <= near
    return bool(a == b)
