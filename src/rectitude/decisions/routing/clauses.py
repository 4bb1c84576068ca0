"""The clause language: what feedback is turned into, and all that it can be turned into.

A clause is a disjunction of atoms, hard or soft::

    clause := [ "if" guard "then" ] atom { "or" atom } @ hard | soft strength

A conjunction is several clauses. Strings of a clause are names of attributes, of models, or values to compare with; no
text of a clause is ever executed, so that nothing but clauses can come from feedback or from a model that reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from rectitude.core.config import Settings
from rectitude.core.errors import ConfigError
from rectitude.decisions.routing.attributes import attribute, denied
from rectitude.decisions.routing.catalogue import Request

Op = Literal["is", "<", "<=", ">", ">=", "in", "has", "best", "low", "high", "like"]
UnknownPolicy = Literal["deny", "allow", "expect"]
WEIGHTS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 8}
"""Strength of a wish (slightly, if possible, plain, should, really) to its weight."""
MOST_CLAUSES = 40
"""More than anybody means; a reader of feedback that finds more has gone astray."""


class Atom(Settings):
    """One comparison of an attribute: ``price <= 2``, ``vendor has openai``, ``price < half of that of A``."""

    attr: str
    """Name of an attribute."""
    op: Op
    """``is`` for flags; ``in`` for categories; ``has`` for sets; ``best`` for "among the best k" (or 0.1: best tenth);
    ``low`` and ``high`` for "the lower the better" without a number; ``like`` of a model: as it is."""
    value: bool | float | str | tuple[str, ...] | None = None
    """What to compare with: true or false, a number, a date, or a list of names."""
    ref_model: str | None = None
    """Compare with this model's value instead; ``last`` is the model chosen last."""
    factor: float = Field(default=1.0, gt=0)
    """Times the reference's value."""
    negate: bool = False
    """True where the comparison must not hold."""

    @field_validator("attr")
    @classmethod
    def _exists(cls, name: str) -> str:
        try:
            attribute(name)
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return name

    @model_validator(mode="after")
    def _fits(self) -> Self:
        kind = attribute(self.attr).kind
        if self.op not in _OPS[kind]:
            raise ValueError(f"'{self.attr}' is a {kind}, which takes {', '.join(_OPS[kind])}, not '{self.op}'")
        if self.ref_model is not None:
            if self.op not in _COMPARE:
                raise ValueError("Only a comparison can refer to a model")
        elif self.op in ("low", "high"):
            if self.value is not None or self.negate:
                raise ValueError(f"'{self.op}' takes no value and no negation")
        elif self.op == "is":
            if not isinstance(self.value, bool):
                raise ValueError(f"'{self.attr}' is true or false")
        elif self.op in ("in", "has", "like"):
            if self.op == "like" and (self.attr != "model" or self.negate):
                raise ValueError("'like' is said of models, and not denied")
            if not isinstance(self.value, tuple) or not self.value:
                raise ValueError(f"'{self.op}' takes a list of names")
        else:
            self._is_limit(kind)
        return self

    def _is_limit(self, kind: str) -> None:
        if kind == "date" and isinstance(self.value, str):
            date.fromisoformat(self.value)
        elif isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise ValueError(f"'{self.attr} {self.op}' takes {'a date' if kind == 'date' else 'a number'}")
        elif self.op == "best" and self.value <= 0:
            raise ValueError("'best' takes how many, or which share")

    @property
    def graded(self) -> bool:
        """Is it a direction rather than a limit?"""
        return self.op in ("low", "high")

    @property
    def only_soft(self) -> bool:
        """Is it a direction or a likeness, which nothing can break?"""
        return self.op in ("low", "high", "like")

    def number(self) -> float:
        """The value to compare with; days since year 1 for dates."""
        return float(date.fromisoformat(self.value).toordinal()) if isinstance(self.value, str) else float(self.value)  # type: ignore[arg-type]

    def __str__(self) -> str:
        return _in_words(self)


_COMPARE = ("<", "<=", ">", ">=")
_OPS: dict[str, tuple[str, ...]] = {
    "flag": ("is",),
    "number": (*_COMPARE, "best", "low", "high"),
    "date": (*_COMPARE, "best", "low", "high"),
    "category": ("in", "like"),
    "set": ("has",),
}


class Guard(Settings):
    """When a clause counts: what the request must be like."""

    needs: str | None = None
    """The request needs this flag (``vision``: it has images)."""
    tag: str | None = None
    """The request is about this (``code``)."""
    tokens_in_over: float | None = None
    """Its prompt is longer than this."""

    def holds(self, request: Request) -> bool:
        """Does the request fit?"""
        return (
            (self.needs is None or self.needs in request.needs)
            and (self.tag is None or self.tag in request.tags)
            and (self.tokens_in_over is None or (request.tokens_in or 0) > self.tokens_in_over)
        )

    def __str__(self) -> str:
        parts = [f"the request needs {attribute(self.needs).title}"] if self.needs else []
        parts += [f"the request is about {self.tag}"] if self.tag else []
        parts += [f"the prompt is over {self.tokens_in_over:,.0f} tokens"] if self.tokens_in_over is not None else []
        return " and ".join(parts)


class Clause(Settings):
    """A wish: at least one of its atoms should hold."""

    id: str = ""
    """Name within an answer, ``c1``; given when clauses are put together."""
    kind: Literal["hard", "soft"] = "soft"
    """Hard clauses must hold, soft ones count by their strength."""
    strength: int = Field(default=3, ge=1, le=5)
    """Of soft clauses: 1 slightly … 5 above all."""
    any: tuple[Atom, ...] = Field(min_length=1, max_length=8)
    """The atoms."""
    guard: Guard | None = None
    """When it counts."""
    span: tuple[int, int] | None = None
    """Where in the feedback it was said."""
    confidence: float = Field(default=1.0, ge=0, le=1)
    """How sure its reader was."""
    unknown: UnknownPolicy | None = None
    """What an unknown cell counts as; the policy's default where not said."""
    group: int = Field(default=0, ge=0, le=9)
    """Lexicographic rank: all of group 0 outweighs all of group 1."""
    origin: Literal["feedback", "policy", "request", "default"] = "feedback"
    """Who asked for it."""
    age: int = Field(default=0, ge=0)
    """Turns since it was said; older wishes weigh less."""

    @model_validator(mode="after")
    def _graded_alone(self) -> Self:
        if any(atom.only_soft for atom in self.any) and (len(self.any) > 1 or self.kind == "hard"):
            raise ValueError(
                "A direction without a number ('cheaper is better') or a likeness can only be a soft clause of its own"
            )
        return self

    @property
    def attrs(self) -> frozenset[str]:
        """Attributes it speaks of."""
        return frozenset(atom.attr for atom in self.any)

    def __str__(self) -> str:
        words = " or ".join(str(atom) for atom in self.any)
        return f"if {self.guard}: {words}" if self.guard else words

    def to_dict(self) -> dict[str, Any]:
        """As on the wire, with the sentence it means."""
        return {**self.model_dump(mode="json"), "says": str(self)}


def read_clauses(values: Iterable[Any], *, where: str = "clauses") -> list[Clause]:
    """Clauses from JSON objects.

    Raises:
        ConfigError: One is not a clause; says which and why.
    """
    found = []
    for number, value in enumerate(values, start=1):
        try:
            found.append(Clause.model_validate(value))
        except ValidationError as error:
            first = error.errors()[0]
            path = ".".join(str(part) for part in first["loc"])
            message = first["msg"].removeprefix("Value error, ")
            raise ConfigError(f"Clause {number} is none: {message}", where=f"{where} {path}".strip()) from error
    if len(found) > MOST_CLAUSES:
        raise ConfigError(f"{len(found)} clauses are more than {MOST_CLAUSES}", where=where)
    return found


def merged(clauses: Sequence[Clause]) -> list[Clause]:
    """Clauses that say the same once, at the greatest strength; a soft one that a hard one says already is left out."""
    kept: dict[tuple[Any, ...], Clause] = {}
    for clause in clauses:
        key = (frozenset(clause.any), clause.guard)
        other = kept.get(key)
        if other is None or _rank(clause) > _rank(other):
            kept[key] = clause
    return list(kept.values())


def _rank(clause: Clause) -> tuple[bool, int, int, float]:
    return clause.kind == "hard", -clause.age, clause.strength, clause.confidence


def clause_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a list of clauses, for readers of feedback that are models."""
    schema = Clause.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"clauses": {"type": "array", "maxItems": 12, "items": {"$ref": "#/$defs/Clause"}}},
        "required": ["clauses"],
        "additionalProperties": False,
        "$defs": {**schema.pop("$defs"), "Clause": schema},
    }


_SIGNS = {"<": "below", "<=": "at most", ">": "over", ">=": "at least"}


def _in_words(atom: Atom) -> str:
    about = attribute(atom.attr)
    if about.kind == "flag":
        words = about.yes or f"has {about.title}"
        return words if atom.value != atom.negate else denied(words)
    if atom.op in ("in", "has", "like"):
        names = " or ".join(str(each) for each in atom.value) if isinstance(atom.value, tuple) else str(atom.value)
        return (
            f"{about.title} {'is not' if atom.negate else {'in': 'is', 'like': 'is like'}.get(atom.op, 'has')} {names}"
        )
    if atom.graded:
        word = {("low", "date"): "older", ("high", "date"): "newer"}.get(
            (atom.op, about.kind), "lower" if atom.op == "low" else "higher"
        )
        return f"{about.title}: the {word} the better"
    if atom.op == "best":
        share = float(atom.value)  # type: ignore[arg-type]
        return f"{about.title} among the best {f'{share:.0%}' if share < 1 else f'{share:.0f}'}"
    sign = _SIGNS[atom.op]
    if atom.ref_model is not None:
        times = "" if atom.factor == 1 else f"{atom.factor:g} × "
        model = "the model chosen last" if atom.ref_model == "last" else atom.ref_model
        compared = f"{about.title} {sign} {times}that of {model}"
    else:
        value = atom.value if isinstance(atom.value, str) else f"{atom.number():,.10g}"
        compared = f"{about.title} {sign} {value} {about.unit}".strip()
    return f"not: {compared}" if atom.negate else compared
