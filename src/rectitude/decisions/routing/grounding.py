"""References to models become numbers: "cheaper than A", "half the price of that one", "like A"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rectitude.core.errors import did_you_mean
from rectitude.decisions.routing.attributes import MEAN_QUALITY, QUALITY, attribute
from rectitude.decisions.routing.catalogue import Catalogue, Request
from rectitude.decisions.routing.clauses import Atom, Clause

_ABILITIES = ("reasoning", "tool_call", "structured_output", "vision", "audio_in", "video_in", "pdf")
"""What a model that is like another can do as well."""
_CONTEXT = (0.5,)
_QUALITY = (0.95, 0.85, 0.7)
"""Shares of the other's context and quality that a model like it reaches; the more of them, the more alike."""


class _Question(Exception):  # noqa: N818 -- no fault of anybody
    """Something that only the person can answer."""


def ground(
    clauses: Sequence[Clause], catalogue: Catalogue, request: Request, last: str | None = None
) -> tuple[list[Clause], list[str], list[str]]:
    """Replace references to models by numbers.

    A limit that cannot be grounded, because the model's own cell is not known, becomes the direction it points in; a
    reference to a model that nobody has is left out.

    Args:
        clauses: As read.
        catalogue: Where the referenced models are.
        request: The request, for prices of its tokens.
        last: Model chosen last, which "cheaper" and "that one" mean.

    Returns:
        Grounded clauses, questions for references that cannot be grounded, and notes.
    """
    grounded: list[Clause] = []
    questions: list[str] = []
    notes: list[str] = []
    for clause in clauses:
        try:
            found, said = _grounded(clause, catalogue, request, last)
        except _Question as question:
            questions += [line for line in question.args if line not in questions]
            continue
        for each in found:
            questions += [line for atom in each.any for line in _strangers(atom, catalogue) if line not in questions]
        grounded += found
        questions += [line for line in said.questions if line not in questions]
        notes += said.notes
    return grounded, questions, notes


class _Said:
    def __init__(self) -> None:
        self.questions: list[str] = []
        self.notes: list[str] = []


def _grounded(clause: Clause, catalogue: Catalogue, request: Request, last: str | None) -> tuple[list[Clause], _Said]:
    said = _Said()
    if clause.any[0].op == "like":
        return _alike(clause, catalogue, request, last, said), said
    atoms = []
    for atom in clause.any:
        if atom.ref_model is None:
            atoms.append(atom)
            continue
        name, rows = _meant(atom, atom.ref_model, catalogue, last)
        value, place = _cell(atom.attr, name, rows, catalogue, request)
        if value is None:
            title, more = attribute(atom.attr).title, _direction(atom)
            words = f"'{atom}': the {title} of {name} is not known. What limit is meant?"
            if len(clause.any) > 1:
                raise _Question(words)
            said.questions.append(
                f"{words} Until it is said, {'lower' if more == 'low' else 'higher'} counts as better"
            )
            wish = Atom(attr=atom.attr, op=more)
            return [clause.model_copy(update={"any": (wish,), "kind": "soft"})], said
        limit = round(value * atom.factor, 9)
        atoms.append(Atom(attr=atom.attr, op=atom.op, value=limit, negate=atom.negate))
        said.notes.append(f"'{atom}' is {atom.op} {limit:,.6g}{place}")
    return [clause.model_copy(update={"any": tuple(atoms)})], said


def _direction(atom: Atom) -> Any:
    return "low" if (atom.op in ("<", "<=")) != atom.negate else "high"


def _meant(atom: Atom, said: str, catalogue: Catalogue, last: str | None) -> tuple[str, list[int]]:
    """The model that is referred to, and its rows."""
    name = last if said == "last" else said
    if name is None:
        raise _Question(f"'{atom}': no model has been chosen yet. Which one is meant?")
    rows = _rows(catalogue, name)
    if not rows:
        raise _Question(_unknown(name, catalogue, f"'{atom}': the"))
    return name, rows


def _rows(catalogue: Catalogue, name: str) -> list[int]:
    return catalogue.rows_named(name) or ([catalogue.position[name]] if name in catalogue.position else [])


def _unknown(name: str, catalogue: Catalogue, begin: str) -> str:
    near = did_you_mean(name, list(catalogue.names))
    return f"{begin} catalogue has no model '{name}'. {near if near.startswith('Did') else 'Which one is meant?'}"


def _strangers(atom: Atom, catalogue: Catalogue) -> list[str]:
    """Questions about named models that the catalogue does not have; the wish itself stays."""
    if atom.attr != "model" or not isinstance(atom.value, tuple):
        return []
    return [_unknown(name, catalogue, "The") for name in atom.value if not _rows(catalogue, name)]


def _cell(attr: str, name: str, rows: list[int], catalogue: Catalogue, request: Request) -> tuple[float | None, str]:
    """A model's own value, and where it is from if its endpoints differ."""
    values = catalogue.column(attr, request)[rows]
    known = np.flatnonzero(~np.isnan(values))
    if not known.size:
        return None, ""
    spread = values[known]
    if np.unique(spread).size == 1:
        return float(spread[0]), ""
    own = [int(k) for k in known if catalogue.value("provider", rows[k]) == catalogue.value("maker", rows[k])]
    if own:
        return float(values[own[0]]), ", at its maker"
    return float(np.median(spread)), f", the median of {spread.size} endpoints"


def _alike(clause: Clause, catalogue: Catalogue, request: Request, last: str | None, said: _Said) -> list[Clause]:
    """A likeness as what it may mean, which together weigh what the likeness weighs.

    That it is the other model itself, the abilities that one has, half of its context, and 95, 85 and 70 % of its mean
    quality, or of its known scores where that is not known; a clause each, whose confidence is its share.
    """
    (atom,) = clause.any
    wanted = atom.value[0] if isinstance(atom.value, tuple) else ""
    name, rows = _meant(atom, wanted, catalogue, last)
    atoms = [Atom(attr="model", op="in", value=(name,))]
    for flag in _ABILITIES:
        value, _ = _cell(flag, name, rows, catalogue, request)
        if value is not None and value >= 0.5:
            atoms.append(Atom(attr=flag, op="is", value=True))
    scores = [each for each in catalogue.ordered if each.startswith(QUALITY) and each != MEAN_QUALITY]
    if _cell(MEAN_QUALITY, name, rows, catalogue, request)[0] is not None:
        scores = [MEAN_QUALITY]
    for attr, shares in (("context", _CONTEXT), *((each, _QUALITY) for each in scores)):
        value, _ = _cell(attr, name, rows, catalogue, request)
        if value is not None:
            atoms += [Atom(attr=attr, op=">=", value=round(part * value, 9)) for part in shares]
    if len(atoms) == 1:
        raise _Question(f"'{atom}': nothing is known of {name} that another model could be like. What matters of it?")
    said.notes.append(f"Like {name} is read as: it, or {'; '.join(str(each) for each in atoms[1:])}")
    share = clause.confidence / len(atoms)
    return [clause.model_copy(update={"any": (each,), "confidence": share}) for each in atoms]
