"""Numbers and dates in a phrase: which attribute they limit, from which side, and in which unit."""

from __future__ import annotations

from datetime import date

from rectitude.decisions.routing.attributes import attribute
from rectitude.decisions.routing.clauses import Atom
from rectitude.decisions.routing.parsing.lexicon import Mention
from rectitude.decisions.routing.parsing.sentences import direction

_UNIT_NOUNS = {
    "$": ("price_in", "price_out", "price_cached", "price", "job_cost", "input", "output"),
    "$?": ("price_in", "price_out", "price_cached", "price", "job_cost", "input", "output"),
    "$ input": ("price_in", "price", "input"),
    "$ output": ("price_out", "price", "output"),
    "job": ("job_cost", "price"),
    "tokens": ("context", "max_output", "input", "output"),
    "output tokens": ("max_output",),
    "ms": ("latency_ms", "-latency_ms"),
    "tok/s": ("tokens_per_s", "-latency_ms"),
    "params": ("params_b",),
    "date": ("knowledge_cutoff", "released", "q.knowledge"),
}
_NO_NUMBER = ("input", "output", "released", "knowledge_cutoff")
"""Nouns that a number without a unit says nothing of."""
_UNIT_DEFAULT = {
    "$": "price", "$?": "price", "$ input": "price_in", "$ output": "price_out", "job": "job_cost",
    "tokens": "context", "output tokens": "max_output",
    "ms": "latency_ms", "tok/s": "tokens_per_s", "params": "params_b", "date": "released",
}  # fmt: skip


def bind_limits(phrase: list[Mention], text: str, today: date) -> list[str]:
    """Bind numbers and dates of a phrase to a comparator and an attribute; they become limits.

    Args:
        phrase: Mentions in order; those that take part are marked as used.
        text: What they are mentions of.
        today: What relative dates are counted from.

    Returns:
        Notes of what was assumed.
    """
    notes: list[str] = []
    for position, number in enumerate(phrase):
        if number.kind not in ("number", "date") or number.used:
            continue
        sign = _sign(phrase, position)
        unit = "date" if number.kind == "date" else number.unit
        noun = _noun_for(phrase, position, unit)
        attr = _limited(noun, unit)
        if number.strength == 1 and phrase[position - 1].kind == "limit":  # the upper end of "between a and b"
            noun, attr = None, phrase[position - 1].value.attr
        if attr is None:
            continue
        about = next((m for m in phrase[:position] if m.kind == "about" and not m.used), None)
        if number.kind == "date" and number.unit == "relative":
            notes.append(f"'{text[number.start : number.end]}' is counted from {today}: {number.value}")
        op, parts = _operator(sign, attr, number)
        value, assumed = _value(number, attr)
        notes += assumed
        for part in (*parts, noun, about):
            if part is not None:
                part.used = True
        used = [part for part in (*parts, noun) if part is not None]
        number.kind, number.value = "limit", Atom(attr=attr, op=op, value=value)
        number.strength = 0 if about is not None else 3
        number.start = min([number.start, *(p.start for p in used)])
        number.end = max([number.end, *(p.end for p in used)])
    return notes


def _sign(phrase: list[Mention], position: int) -> Mention | None:
    for other in reversed(phrase[:position]):
        if other.kind in ("number", "date", "limit", "or"):
            break
        if other.kind in ("cmp", "comp") and not other.used:
            return other
    after = phrase[position + 1 : position + 2]
    if after and after[0].kind == "cmp" and not after[0].used:
        return after[0]
    return None


def _noun_for(phrase: list[Mention], position: int, unit: str) -> Mention | None:
    wanted = _UNIT_NOUNS.get(unit)
    free = [m for m in phrase if m.kind == "noun" and not m.used]
    if wanted is not None:
        nouns = [m for m in free if m.attr in wanted]
    else:
        nouns = [m for m in free if m.attr.startswith("q.") or (unit == "" and m.attr not in _NO_NUMBER)]
    here = phrase[position]
    jobs = [m for m in nouns if m.attr == "job_cost"]
    if jobs and unit in ("$?", "job"):
        return jobs[0]
    nouns = [m for m in nouns if m.attr != "job_cost"]
    ranked = sorted(nouns, key=lambda m: (m.attr == "price" and len(nouns) > 1, abs(m.start - here.start)))
    return ranked[0] if ranked else None


def _limited(noun: Mention | None, unit: str) -> str | None:
    if noun is None or unit in ("$ input", "$ output"):
        return _UNIT_DEFAULT.get(unit)
    if noun.attr in ("input", "output"):
        money, side = unit.startswith("$"), noun.attr == "input"
        return ("price_in" if side else "price_out") if money else ("context" if side else "max_output")
    if unit == "date" and noun.attr == "q.knowledge":
        return "knowledge_cutoff"
    if noun.attr == "-latency_ms":
        return "tokens_per_s" if unit == "tok/s" else "latency_ms"
    return "job_cost" if unit == "job" else noun.attr


def _operator(sign: Mention | None, attr: str, number: Mention) -> tuple[str, list[Mention]]:
    if number.attr:
        return number.attr, []
    if sign is None:
        return ("<=" if attribute(attr).better == "lower" else ">="), []
    if sign.kind == "cmp":
        return str(sign.value), [sign]
    if sign.attr == "latency_ms" and attr == "tokens_per_s":
        return (">" if sign.value == "low" else "<"), [sign]
    return direction(sign.value, attr), [sign]


def _value(number: Mention, attr: str) -> tuple[float | str, list[str]]:
    value = number.value
    if isinstance(value, str):
        return value, []
    if number.unit in ("$?", "") and attribute(attr).unit.startswith("USD per"):
        if 0 < value < 1e-3:
            said = f"A price of ${value:g} can only be per token: read as ${value * 1e6:g} per million tokens"
            return float(value * 1e6), [said]
        return float(value), [f"${value:g} is read as per million tokens"]
    return float(value), []
