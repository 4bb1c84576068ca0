"""Wishes against a named model: "cheaper than A", "half the price of A", "as fast as A", "like A, but cheaper".

A model that a text compares with is its *anchor*: comparatives elsewhere in the text that name nothing to compare with
("like A **but cheaper**", "cheaper than A **and with more context**") are about it too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rectitude.decisions.routing.attributes import attribute
from rectitude.decisions.routing.clauses import Atom
from rectitude.decisions.routing.parsing.lexicon import Mention
from rectitude.decisions.routing.parsing.sentences import SIZES, direction

_ATTRIBUTES = {"-latency_ms": "latency_ms", "input": "price_in", "output": "price_out"}
"""Nouns that mean another attribute where models are compared."""
_BEFORE_TARGET = re.compile(r"\W*(?:(?:that|those|what|the one|one) of|(?:the|a|an|to|of|is)\b)*\W*")
_TOO = re.compile(r"\W*(?:is|was|are|has become)(?: just| simply| far| much| way| a bit)? too ")
_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_AT = re.compile(r"\W*(?:at|in|on|for|when it comes to|with regard to)\W+(?:the )?(?:field of )?")
_Compared = tuple[str, str, float, list[Mention]]
"""Attribute, sign, factor, and the mentions that said so."""


def is_model(mention: Mention) -> bool:
    """Does it name one model, or the one chosen last?"""
    return mention.kind == "last" or (mention.kind == "entity" and mention.attr == "model")


def bind_relatives(phrases: Sequence[list[Mention]], text: str, spoken: list[str]) -> str | None:
    """Make relative wishes of the models in a sentence that something is compared with.

    Args:
        phrases: Mentions of a sentence, cut at commas and "and"; those that take part are marked as used.
        text: What they are mentions of, in lower case.
        spoken: Models that were named so far, which "that" and "it" mean; those named here are added.

    Returns:
        The anchor: the first model something is compared with, ``last`` for the one chosen last; None without.
    """
    anchor = None
    for phrase in phrases:
        for position, target in enumerate(phrase):
            if not is_model(target):
                continue
            if target.kind != "last":
                name = str(target.value[0])
                spoken.append(name)
            else:
                name = spoken[-1] if spoken else "last"
            if _bind(phrase, position, name, text) and anchor is None:
                anchor = name
    return anchor


def _bind(phrase: list[Mention], position: int, name: str, text: str) -> bool:
    target = phrase[position]
    before = [m for m in phrase[:position] if not m.used and m.kind not in ("modal", "neg", "drop")]
    like = _like(before, phrase[position + 1 :], target, text)
    after = phrase[position + 1 : position + 2]
    if after and after[0].kind == "grade" and _TOO.fullmatch(text[target.end : after[0].start]):  # "A is too expensive"
        attr = after[0].attr
        _become(target, (attr, ">" if direction(after[0].value, attr) == "<" else "<", 1.0, after), name)
        return True
    nouns = [m for m in [*before, *phrase[position + 1 :]] if m.kind == "noun" and not m.used]
    ability = next((m for m in nouns if m.attr.startswith("q.") and _AT.fullmatch(text[target.end : m.start])), None)
    if like is not None and like.value != "match" and ability is None:
        like.used, target.kind, target.hard = True, "alike", like.value == "instead"
        target.value = Atom(attr="model", op="like", value=(name,))
        target.start, target.end = min(target.start, like.start), max(target.end, like.end)
        return True
    made = (
        _as_good(like, [ability] if ability is not None else nouns)
        if like is not None
        else _made(before, nouns, target, text)
    )
    if made is None:
        return False
    _become(target, made, name)
    return True


def _become(mention: Mention, made: _Compared, name: str) -> None:
    attr, op, times, parts = made
    for part in parts:
        part.used = True
    mention.kind, mention.value = "relative", Atom(attr=attr, op=op, ref_model=name, factor=times)
    mention.start = min([mention.start, *(part.start for part in parts)])


def _like(before: list[Mention], after: list[Mention], target: Mention, text: str) -> Mention | None:
    """The word of likeness that belongs to a model: "like A", "A-class"."""
    if before and before[-1].kind == "like" and _BEFORE_TARGET.fullmatch(text[before[-1].end : target.start]):
        return before[-1]
    if after and after[0].kind == "likeness" and not text[target.end : after[0].start].strip(" -"):
        return after[0]
    return None


def _as_good(like: Mention, nouns: list[Mention]) -> _Compared:
    """As in "on a par with A at code", "matches A"."""
    noun = next((m for m in nouns if m.attr.startswith("q.")), nouns[0] if nouns else None)
    attr = _ATTRIBUTES.get(noun.attr, noun.attr) if noun is not None else "q.mean"
    return attr, _no_worse(attr), 1.0, [like, *([noun] if noun is not None else [])]


def _no_worse(attr: str) -> str:
    return "<=" if attribute(attr).better == "lower" else ">="


def _made(before: list[Mention], nouns: list[Mention], target: Mention, text: str) -> _Compared | None:
    factor = next((m for m in before if m.kind == "factor"), None)
    signs = [m for m in before if m.kind in ("comp", "cmp") and _compares(m, before, target, text)]
    alike = next((m for m in before if m.kind in ("grade", "qual") and _as_as(m, text)), None)
    same = next((m for m in before if m.kind == "same"), None)
    percent = next((m for m in before if m.kind == "number" and m.unit == "%"), None)
    sign = signs[-1] if signs else None
    if alike is not None and sign is None:  # "at most as expensive as A"
        sign = next((m for m in before if m.kind == "cmp" and text[m.end : alike.start].strip() == "as"), None)
    if sign is not None and sign.attr:  # "newer than A with more context": the context is no part of it
        nouns = [noun for noun in nouns if noun.start < target.start]
    noun = nouns[0] if nouns else None
    made = compared(sign, alike or same, factor, noun, percent, text)
    whose = noun is not None and (
        text[noun.end : target.start].strip() == "of" or text[target.end : noun.start].strip() == "'s"
    )
    if made is None and noun is not None and whose:  # "for the price of A", "A's quality"
        return noun.attr, _no_worse(noun.attr), 1.0, [noun]
    return made


def _compares(sign: Mention, before: list[Mention], target: Mention, text: str) -> bool:
    if sign.unit == "than":  # "beats A"
        return True
    if sign.kind == "cmp":
        than = text[sign.start : sign.end].endswith("than")
        near = _BEFORE_TARGET.fullmatch(text[sign.end : target.start]) is not None
        return than or near or any(m.kind == "factor" for m in before)
    return any(m.kind == "than" and m.start > sign.start for m in before)


def _as_as(grade: Mention, text: str) -> bool:
    """Is it "as good as"?"""
    return text[: grade.start].endswith("as ") and bool(re.match(r" as\b", text[grade.end :]))


def compared(
    sign: Mention | None,
    alike: Mention | None,
    factor: Mention | None,
    noun: Mention | None,
    percent: Mention | None,
    text: str,
) -> _Compared | None:
    """What is compared with a model, and how.

    Args:
        sign: "cheaper … than", "at least".
        alike: "as fast as", "the same".
        factor: "half", "twice", "10 times".
        noun: What is compared, where it is said.
        percent: "30 %".
        text: What they are mentions of.
    """
    used = [m for m in (sign, alike, factor, noun) if m is not None]
    named = _ATTRIBUTES.get(noun.attr, noun.attr) if noun is not None else ""
    if factor is not None:
        graded = alike if alike is not None and alike.kind != "same" else sign if _is_comp(sign) else None
        attr = _graded_attr(graded, named, text) or "price"
        lowers = graded is not None and direction(graded.value, attr) == "<"
        times = 1 / factor.value if lowers and (graded is not sign or factor.value > 1) else factor.value
        if sign is None or sign.kind != "cmp":
            return attr, _no_worse(attr), times, used
        if factor.value > 1 and sign.value == "<" and attribute(attr).better == "lower":  # "costs 10 times less than A"
            return attr, "<=", 1 / factor.value, used
        return attr, _TURNED[sign.value] if lowers else sign.value, times, used  # "at least twice as fast"
    if alike is not None and alike.kind == "same":
        return (named, _no_worse(named), 1.0, used) if named else None
    if alike is not None:
        attr = alike.attr or named or "q.mean"
        way = direction(alike.value, attr)
        if sign is None or sign.kind != "cmp":
            return attr, f"{way}=", 1.0, used
        return attr, _TURNED[sign.value] if way == "<" else sign.value, 1.0, used  # "at most as expensive as A"
    if sign is None:
        return None
    if sign.kind == "cmp":
        than = text[sign.start : sign.end].endswith("than")
        return (named or "price", sign.value, 1.0, used) if named or than else None
    attr = _graded_attr(sign, named, text)
    if not attr:
        return None
    op = direction(sign.value, attr)
    if percent is not None:  # "30 % cheaper", "at most 20 % more expensive"
        share = percent.value / 100
        return attr, _no_worse(attr), 1 - share if op == "<" else 1 + share, [*used, percent]
    return attr, op, 1.0, used


def _is_comp(sign: Mention | None) -> bool:
    return sign is not None and sign.kind == "comp"


def _graded_attr(word: Mention | None, named: str, text: str) -> str:
    """What "cheaper" or "as fast as" is about; what is named counts where the word leaves it open."""
    if word is None:
        return named
    if word.attr and not (word.attr == "released" and named):
        return word.attr
    if named:
        return named
    if word.value in ("better", "worse"):
        return "q.mean"
    return "params_b" if text[word.start : word.end] in SIZES else ""


def bind_to_anchor(phrase: list[Mention], anchor: str, text: str) -> None:
    """Bind factors, shares and likenesses that name no model to the anchor: "like A **at half the price**".

    Comparatives alone are left to :class:`~rectitude.decisions.routing.parsing.sentences.Machine`.
    """
    free = [m for m in phrase if not m.used]
    factor = next((m for m in free if m.kind == "factor"), None)
    percent = next((m for m in free if m.kind == "number" and m.unit == "%"), None)
    sign = next((m for m in free if m.kind == "comp"), None)
    noun = next((m for m in free if m.kind == "noun"), None)
    same = next((m for m in free if m.kind == "same"), None)
    if factor is not None and (noun is not None or sign is not None):
        cmp = next((m for m in free if m.kind == "cmp" and m.start < factor.start), sign)
        made, head = compared(cmp, None, factor, noun, None, text), factor
    elif percent is not None and sign is not None:
        made, head = compared(sign, None, None, noun, percent, text), percent
    elif same is not None and noun is not None:
        made, head = compared(None, same, None, noun, None, text), same
    else:
        return
    if made is not None:
        _become(head, made, anchor)
        head.end = max(head.end, *(part.end for part in made[3]))
        head.used = False
