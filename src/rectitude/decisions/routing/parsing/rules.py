"""English feedback to clauses by rules: no model, no network, the same answer every time.

Sentences are cut at full stops, semicolons and "but"; within one, a negation reaches to the next comma, a modal word
("must", "prefer") to the next modal word, and a number looks for its comparator and its attribute in its own phrase.
What is neither understood nor empty of meaning is returned as ``unparsed``; sentences that address the router's rules
instead of saying a wish are returned as ``suspicious`` and not read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from rectitude.core.errors import ConfigError
from rectitude.decisions.routing.attributes import attribute
from rectitude.decisions.routing.catalogue import plain
from rectitude.decisions.routing.clauses import Atom, Clause, Guard
from rectitude.decisions.routing.parsing.lexicon import ATTACK, SOFTENING, STOPWORDS, VERSIONED, Mention, scan
from rectitude.decisions.routing.parsing.sentences import SIZES, Item, Machine, direction

LONGEST = 4000
"""Characters of feedback that are read; more is no wish but a document."""
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
_UNIT_DEFAULT = {
    "$": "price", "$?": "price", "$ input": "price_in", "$ output": "price_out", "job": "job_cost",
    "tokens": "context", "output tokens": "max_output",
    "ms": "latency_ms", "tok/s": "tokens_per_s", "params": "params_b", "date": "released",
}  # fmt: skip
_GUARD = re.compile(
    r"^\W*(?:if|when|whenever) (?:there (?:is|are)|the (?:request|prompt|input|question) (?:has|contains|"
    r"includes|comes with|is about)|i (?:send|attach))"
    r" (?:an? |any |some )?(?P<what>images?|pictures?|pdfs?|audio|tools?|code|math)\b[^,:]{0,20}[,:]"
    r"|^\W*(?:if|when) the (?:prompt|request|input) is (?:over|longer than|more than) (?P<n>[\d,.]+) ?(?P<k>k|"
    r"m)?(?: tokens)?(?: long)?[,:]"
    r"|^\W*for (?P<tag>coding|code|maths?|writing|chat) (?:tasks?|questions?|requests?|work)?[,:]?"
)
_GUARD_FLAGS = {"image": "vision", "picture": "vision", "pdf": "pdf", "audio": "audio_in", "tool": "tool_call"}
_TAGS = {"coding": "code", "maths": "math", "writing": "chat"}


@dataclass
class Parsed:
    """What was read from feedback.

    Attributes:
        clauses: The wishes.
        unparsed: Spans of text that were not understood.
        retracted: Attributes whose earlier wishes were taken back.
        questions: What must be asked back.
        notes: Assumptions that were made.
        suspicious: Spans of text that address the rules; they were not read.
    """

    clauses: list[Clause] = field(default_factory=list)
    unparsed: list[tuple[int, int]] = field(default_factory=list)
    retracted: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    suspicious: list[tuple[int, int]] = field(default_factory=list)


def parse_rules(
    text: str,
    names: Mapping[str, Sequence[int]] | None = None,
    *,
    has_last: bool = False,
    today: date | None = None,
) -> Parsed:
    """Read feedback by rules.

    Args:
        text: What a person wrote.
        names: Names of the catalogue's models in plain writing (:attr:`Catalogue.names`).
        has_last: Is there an earlier answer that "cheaper" can refer to?
        today: What "in the last year" is counted from; the day it is read, if None.

    Raises:
        ConfigError: The text is longer than any feedback.
    """
    if len(text) > LONGEST:
        raise ConfigError(
            f"Feedback of {len(text):,} characters is too long", where="feedback", fix=f"Say it in {LONGEST:,} or fewer"
        )
    reader = _Reader(text, names or {}, has_last=has_last, today=today or date.today())
    return reader.read()


def _lower(text: str) -> str:
    """Lower case and plain quotes, without changing the length."""
    quotes = str.maketrans("’‘`´\t\r–—", "''''  --")
    return "".join(c.lower() if len(c.lower()) == 1 else c for c in text).translate(quotes)


class _Reader:
    def __init__(self, original: str, names: Mapping[str, Sequence[int]], *, has_last: bool, today: date) -> None:
        self.original, self.text, self.names, self.has_last = original, _lower(original), names, has_last
        self.today = today
        self.out = Parsed()
        self.items: list[Item] = []
        self.first_groups = False
        self.guards: dict[int, Guard] = {}
        self.guarded: list[tuple[int, int]] = []
        self._sentence_start = 0

    def read(self) -> Parsed:
        blocked = self._blocked()
        mentions = [*scan(self.text, self.original, self.today), *self._models()]
        mentions = [m for m in mentions if not any(start <= m.start < end for start, end in blocked)]
        chosen = _without_overlap(mentions)
        sentence: list[Mention] = []
        for mention in [*chosen, Mention("stop", len(self.text), len(self.text))]:
            if mention.kind == "stop":
                self._sentence(sentence)
                sentence = []
            elif mention.kind != "fill":
                sentence.append(mention)
        self._clauses()
        self._leftovers(chosen, blocked)
        return self.out

    # ---- what there is -------------------------------------------------------------------------------------------

    def _blocked(self) -> list[tuple[int, int]]:
        spans, start = [], 0
        for match in re.finditer(r"[.;!?\n](?=\s|$)|$", self.text):
            if ATTACK.search(self.text[start : match.end()]):
                spans.append((start, match.end()))
                self.out.suspicious.append((start, match.end()))
            start = match.end()
        return spans

    def _models(self) -> list[Mention]:
        """Names of the catalogue's models, the longest first; two or more words may be the beginning of several."""
        words = [(m.group().rstrip("."), m.start(), m.start() + len(m.group().rstrip(".")))
                 for m in re.finditer(r"[a-z0-9][a-z0-9.:]*", self.text)]  # fmt: skip
        if not self.names or not words:
            return []
        index = _index(self.names)
        found = []
        for first in range(len(words)):
            for last in range(min(len(words), first + 8), first, -1):
                spoken = " ".join(word for word, _, _ in words[first:last])
                start, end = words[first][1], words[last - 1][2]
                plainly = re.fullmatch(r"[\w.:/ -]+", self.text[start:end]) and re.search(r"\d", spoken)
                if not plainly and last - first < 2:
                    continue
                names = index.get(spoken)
                if names and (last - first > 1 or re.search(r"[a-z].*\d", spoken)):
                    found.append(Mention("entity", start, end, attr="model", value=tuple(names)))
                    break
        return found + self._versions(found)

    def _versions(self, found: list[Mention]) -> list[Mention]:
        """Names of a family with a version that are no whole name: the models they begin, or one nobody has."""
        more = []
        for match in VERSIONED.finditer(self.text):
            if any(m.start < match.end() and match.start() < m.end for m in found):
                continue
            spoken = plain(match[0])
            begun = tuple(name for name in self.names if name.startswith(spoken))
            value = begun if 0 < len(begun) <= 40 else (spoken,)
            more.append(Mention("entity", match.start(), match.end(), attr="model", value=value))
        return more

    # ---- one sentence --------------------------------------------------------------------------------------------

    def _sentence(self, mentions: list[Mention]) -> None:
        if not mentions:
            return
        guard = _GUARD.match(self._sentence_text(mentions))
        condition, mentions = self._guarded(guard, mentions)
        mentions = _between(mentions)
        phrases = _phrases(mentions)
        before = len(self.items)
        for phrase in phrases:
            self._relatives(phrase)
        for phrase in phrases:
            self._limits(phrase)
        Machine(self, mentions, phrases).run()
        for item in self.items[before:]:
            item.kind = item.kind if condition is None else f"{item.kind}?"
            if condition is not None:
                self.guards[id(item)] = condition

    def _sentence_text(self, mentions: list[Mention]) -> str:
        start = max(self.text.rfind(stop, 0, mentions[0].start) for stop in ".;!?\n") + 1
        self._sentence_start = start
        return self.text[start:]

    def _guarded(self, match: re.Match[str] | None, mentions: list[Mention]) -> tuple[Guard | None, list[Mention]]:
        if match is None:
            return None, mentions
        end = self._sentence_start + match.end()
        self.guarded.append((self._sentence_start, end))
        if match["n"]:
            number = float(match["n"].replace(",", "")) * {"k": 1e3, "m": 1e6}.get(match["k"] or "", 1.0)
            guard = Guard(tokens_in_over=number)
        elif match["tag"] or match["what"] in ("code", "math"):
            tag = match["tag"] or match["what"]
            if match["tag"] and not match[0].rstrip().endswith((",", ":")):
                return None, mentions
            guard = Guard(tag=_TAGS.get(tag, tag))
        else:
            guard = Guard(needs=_GUARD_FLAGS[match["what"].rstrip("s")])
        return guard, [m for m in mentions if m.start >= end]

    def _relatives(self, phrase: list[Mention]) -> None:
        """Bind models that something is compared with: "cheaper than A", "half the price of A", "as fast as A"."""
        for position, target in enumerate(phrase):
            if not (target.kind == "last" or (target.kind == "entity" and target.attr == "model")):
                continue
            before = [m for m in phrase[:position] if not m.used and m.kind not in ("modal", "neg", "drop")]
            factor = next((m for m in before if m.kind == "factor"), None)
            sign = next(
                (m for m in reversed(before) if m.kind in ("comp", "cmp") and self._compares(m, before, target)), None
            )
            alike = next((m for m in before if m.kind in ("grade", "qual") and self._as_as(m)), None)
            noun = next((m for m in [*before, *phrase[position + 1 :]] if m.kind == "noun" and not m.used), None)
            percent = next((m for m in before if m.kind == "number" and m.unit == "%"), None)
            made = self._compared(sign, alike, factor, noun, percent)
            if made is None:
                continue
            attr, op, times, parts = made
            name = "last" if target.kind == "last" else str(target.value[0])
            for part in parts:
                part.used = True
            target.kind, target.value = "relative", Atom(attr=attr, op=op, ref_model=name, factor=times)
            target.start = min([target.start, *(part.start for part in parts)])

    def _compares(self, sign: Mention, before: list[Mention], target: Mention) -> bool:
        if sign.kind == "cmp":
            after = self.text[sign.end : target.start]
            return (
                any(m.kind == "factor" for m in before)
                or self.text[sign.start : sign.end].endswith("than")
                or len(after) < 6
            )
        return any(m.kind == "than" and m.start > sign.start for m in before)

    def _as_as(self, grade: Mention) -> bool:
        return self.text[: grade.start].endswith("as ") and bool(re.match(r" as\b", self.text[grade.end :]))

    def _compared(
        self,
        sign: Mention | None,
        alike: Mention | None,
        factor: Mention | None,
        noun: Mention | None,
        percent: Mention | None,
    ) -> tuple[str, str, float, list[Mention]] | None:
        used = [m for m in (sign, alike, factor, noun) if m is not None]
        named = (
            {"-latency_ms": "latency_ms", "input": "price_in", "output": "price_out"}.get(noun.attr, noun.attr)
            if noun
            else ""
        )
        if factor is not None:
            attr = named or "price"
            usual = "<=" if attribute(attr).better == "lower" else ">="
            return attr, sign.value if sign is not None and sign.kind == "cmp" else usual, factor.value, used
        if alike is not None:
            attr = alike.attr or named or "q.mean"
            return attr, f"{direction(alike.value, attr)}=", 1.0, used
        if sign is None:
            return None
        if sign.kind == "cmp":
            word = self.text[sign.start : sign.end]
            return (named or "price", sign.value, 1.0, used) if named or word.endswith("than") else None
        attr = sign.attr if sign.attr and not (sign.attr == "released" and named) else named
        if not attr:
            attr = "q.mean" if sign.value in ("better", "worse") else "params_b" if self.said(sign) in SIZES else ""
        if not attr:
            return None
        op = direction(sign.value, attr)
        if percent is not None and op == "<":
            percent.used = True
            return attr, "<=", 1 - percent.value / 100, [*used, percent]
        return attr, op, 1.0, used

    def _limits(self, phrase: list[Mention]) -> None:
        """Bind numbers and dates to a comparator and an attribute."""
        for position, number in enumerate(phrase):
            if number.kind not in ("number", "date") or number.used:
                continue
            sign = self._sign(phrase, position)
            unit = "date" if number.kind == "date" else number.unit
            noun = _noun_for(phrase, position, unit)
            attr = self._limited(noun, unit)
            if number.strength == 1 and phrase[position - 1].kind == "limit":  # the upper end of "between a and b"
                noun, attr = None, phrase[position - 1].value.attr
            if attr is None:
                continue
            about = next((m for m in phrase[:position] if m.kind == "about" and not m.used), None)
            if number.kind == "date" and number.unit == "relative":
                self.out.notes.append(f"'{self.said(number)}' is counted from {self.today}: {number.value}")
            op, parts = self._operator(sign, attr, number)
            value = self._value(number, attr)
            for part in (*parts, noun, about):
                if part is not None:
                    part.used = True
            used = [part for part in (*parts, noun) if part is not None]
            number.kind, number.value = "limit", Atom(attr=attr, op=op, value=value)
            number.strength = 0 if about is not None else 3
            number.start = min([number.start, *(p.start for p in used)])
            number.end = max([number.end, *(p.end for p in used)])

    def _sign(self, phrase: list[Mention], position: int) -> Mention | None:
        for other in reversed(phrase[:position]):
            if other.kind in ("number", "date", "limit", "or"):
                break
            if other.kind in ("cmp", "comp") and not other.used:
                return other
        after = phrase[position + 1 : position + 2]
        if after and after[0].kind == "cmp" and not after[0].used:
            return after[0]
        return None

    def _limited(self, noun: Mention | None, unit: str) -> str | None:
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

    def _operator(self, sign: Mention | None, attr: str, number: Mention) -> tuple[str, list[Mention]]:
        if number.attr:
            return number.attr, []
        if sign is None:
            return ("<=" if attribute(attr).better == "lower" else ">="), []
        if sign.kind == "cmp":
            return str(sign.value), [sign]
        if sign.attr == "latency_ms" and attr == "tokens_per_s":
            return (">" if sign.value == "low" else "<"), [sign]
        return direction(sign.value, attr), [sign]

    def _value(self, number: Mention, attr: str) -> float | str:
        value = number.value
        if isinstance(value, str):
            return value
        if number.unit in ("$?", "") and attribute(attr).unit.startswith("USD per"):
            if 0 < value < 1e-3:
                self.out.notes.append(
                    f"A price of ${value:g} can only be per token: read as ${value * 1e6:g} per million tokens"
                )
                return float(value * 1e6)
            self.out.notes.append(f"${value:g} is read as per million tokens")
        return float(value)

    # ---- clauses -------------------------------------------------------------------------------------------------

    def _clauses(self) -> None:
        for item in _joined(self.items):
            clause = self._clause(item)
            if clause is not None:
                self.out.clauses += clause
        if self.first_groups:
            self.out.notes.append("What was said to come first outweighs all other wishes together")

    def _clause(self, item: Item) -> list[Clause] | None:
        soft_words = (
            item.modal is not None and not item.modal.hard and SOFTENING.search(self.said(item.modal)) is not None
        )
        negative = item.negations % 2 == 1
        graded = item.atoms[0].graded
        limit = item.kind.startswith(("limit", "relative"))
        insisted = bool(item.negations) or limit or item.only or (item.modal is not None and item.modal.hard)
        hard = not graded and insisted and not (soft_words and not item.only) and not item.kind.startswith("softly")
        strength = min(5, item.modal.strength) if item.modal is not None else 3
        if graded and item.modal is not None and item.modal.hard:
            words = self.original[item.start : item.end]
            self.out.notes.append(f"'{words}' has no number, so it is a wish even under '{self.said(item.modal)}'")
        atoms = [_negated(atom) for atom in item.atoms] if negative else item.atoms
        guard = self.guards.get(id(item))
        common: dict[str, Any] = {
            "kind": "hard" if hard else "soft", "strength": strength, "guard": guard, "group": item.group,
            "span": (item.start, item.end),
        }  # fmt: skip
        if negative and len(atoms) > 1:
            return [Clause(any=(atom,), **common) for atom in atoms]
        return [Clause(any=tuple(atoms), **common)]

    def retract(self, attr: str) -> None:
        """Wishes for an attribute are taken back."""
        if attr not in self.out.retracted:
            self.out.retracted.append(attr)

    def said(self, mention: Mention) -> str:
        """The words of a mention."""
        return self.text[mention.start : mention.end]

    def _leftovers(self, mentions: list[Mention], blocked: list[tuple[int, int]]) -> None:
        covered = [
            (m.start, m.end)
            for m in mentions
            if m.used or m.kind not in ("noun", "qual", "number", "date", "comp", "factor")
        ]
        covered += [(item.start, item.end) for item in self.items] + blocked + self.guarded
        run: tuple[int, int] | None = None
        for match in re.finditer(r"[^\W_]+(?:['.-][^\W_]+)*", self.text):
            start, end = match.span()
            known = match[0] in STOPWORDS or match[0].removesuffix("'s") in STOPWORDS
            if known or any(a < end and start < b for a, b in covered):
                if run and not known:
                    self.out.unparsed.append(run)
                    run = None
                continue
            run = (run[0], end) if run else (start, end)
        if run:
            self.out.unparsed.append(run)


def _negated(atom: Atom) -> Atom:
    if atom.op == "is":
        return atom.model_copy(update={"value": not atom.value})
    return atom.model_copy(update={"negate": not atom.negate})


def _noun_for(phrase: list[Mention], position: int, unit: str) -> Mention | None:
    wanted = _UNIT_NOUNS.get(unit)
    free = [m for m in phrase if m.kind == "noun" and not m.used]
    if wanted is not None:
        nouns = [m for m in free if m.attr in wanted]
    else:
        nouns = [m for m in free if m.attr.startswith("q.") or (unit == "" and m.attr not in ("input", "output"))]
    here = phrase[position]
    jobs = [m for m in nouns if m.attr == "job_cost"]
    if jobs and unit in ("$?", "job"):
        return jobs[0]
    nouns = [m for m in nouns if m.attr != "job_cost"]
    ranked = sorted(nouns, key=lambda m: (m.attr == "price" and len(nouns) > 1, abs(m.start - here.start)))
    return ranked[0] if ranked else None


def _between(mentions: list[Mention]) -> list[Mention]:
    """Make of "between a and b" the numbers "at least a" and "at most b" in one phrase."""
    out: list[Mention] = []
    for place, mention in enumerate(mentions):
        kinds = [m.kind for m in mentions[place : place + 3]]
        if kinds == ["number", "and", "number"] and place and mentions[place - 1].kind == "between":
            low, high = mention, mentions[place + 2]
            low.attr, high.attr, high.strength = ">=", "<=", 1
            low.unit = low.unit or high.unit
        if mention.kind == "and" and place + 1 < len(mentions) and mentions[place + 1].strength == 1:
            continue
        out.append(mention)
    return out


def _phrases(mentions: list[Mention]) -> list[list[Mention]]:
    phrases: list[list[Mention]] = [[]]
    for mention in mentions:
        if mention.kind in ("comma", "and"):
            phrases.append([])
        phrases[-1].append(mention)
    return phrases


def _without_overlap(mentions: list[Mention]) -> list[Mention]:
    """The earliest mentions, of those the longest, without overlap."""
    chosen: list[Mention] = []
    for mention in sorted(mentions, key=lambda m: (m.start, -m.end)):
        if not chosen or mention.start >= chosen[-1].end:
            chosen.append(mention)
    return chosen


def _joined(items: list[Item]) -> list[Item]:
    """Join what "or" joins, and lists of names that are wished for."""
    out: list[Item] = []
    for item in items:
        last = out[-1] if out else None
        same = last is not None and last.kind == item.kind and item.negations == last.negations
        names = same and item.kind == "entity" and last is not None and last.atoms[0].attr == item.atoms[0].attr
        positive = item.negations % 2 == 0
        if last is not None and names and item.joined in ("or", "and", ",") and positive and item.modal is last.modal:
            values = tuple(dict.fromkeys([*last.atoms[0].value, *item.atoms[0].value]))  # type: ignore[misc]
            last.atoms = [last.atoms[0].model_copy(update={"value": values})]
            last.end, last.only = item.end, last.only or item.only
        elif last is not None and same and item.joined == "or" and positive and item.kind != "grade":
            last.atoms = [*last.atoms, *item.atoms]
            last.end, last.only = item.end, last.only or item.only
        else:
            out.append(item)
    return out


_INDEXED: dict[int, tuple[Mapping[str, Sequence[int]], dict[str, list[str]]]] = {}


def _index(names: Mapping[str, Sequence[int]]) -> dict[str, list[str]]:
    """Name or beginning of a name (two words or more), cut as text is, to the names it stands for."""
    kept = _INDEXED.get(id(names))
    if kept is not None and kept[0] is names:
        return kept[1]
    index: dict[str, list[str]] = {}
    whole: dict[str, list[str]] = {}
    for name in names:
        words = re.findall(r"[a-z0-9][a-z0-9.:]*", name)
        spoken = " ".join(words)
        whole.setdefault(spoken, []).append(plain(name))
        for count in range(2, len(words)):
            index.setdefault(" ".join(words[:count]), []).append(plain(name))
    index = {key: values for key, values in index.items() if len(values) <= 40} | whole
    _INDEXED.clear()
    _INDEXED[id(names)] = (names, index)
    return index
