"""English feedback to clauses by rules: no model, no network, the same answer every time.

Sentences are cut at full stops, semicolons and "but"; within one, a negation reaches to the next comma, a modal word
("must", "prefer") to the next modal word, and a number looks for its comparator and its attribute in its own phrase.
Comparatives are about the model that the text compares with, where there is one.
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
from rectitude.decisions.routing.clauses import Atom, Clause, Guard, merged
from rectitude.decisions.routing.parsing.lexicon import ATTACK, SOFTENING, STOPWORDS, Mention, scan
from rectitude.decisions.routing.parsing.limits import bind_limits
from rectitude.decisions.routing.parsing.names import model_mentions
from rectitude.decisions.routing.parsing.relative import bind_relatives, bind_to_anchor
from rectitude.decisions.routing.parsing.sentences import Item, Machine

LONGEST = 4000
"""Characters of feedback that are read; more is no wish but a document."""
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
_OTHERWISE = ("comp", "factor", "number")
"""What may follow the bare name of a model that something should be like."""


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


@dataclass
class _Sentence:
    """A sentence with its mentions, the same cut at commas and "and", and what it is on condition of."""

    mentions: list[Mention]
    phrases: list[list[Mention]]
    guard: Guard | None


class _Reader:
    def __init__(self, original: str, names: Mapping[str, Sequence[int]], *, has_last: bool, today: date) -> None:
        self.original, self.text, self.names, self.has_last = original, _lower(original), names, has_last
        self.today = today
        self.out = Parsed()
        self.items: list[Item] = []
        self.anchor: str | None = None
        self.first_groups = False
        self.guards: dict[int, Guard] = {}
        self.guarded: list[tuple[int, int]] = []
        self._sentence_start = 0

    def read(self) -> Parsed:
        blocked = self._blocked()
        mentions = [*scan(self.text, self.original, self.today), *model_mentions(self.text, self.names)]
        mentions = [m for m in mentions if not any(start <= m.start < end for start, end in blocked)]
        chosen = _without_overlap(mentions)
        sentences: list[list[Mention]] = [[]]
        for mention in chosen:
            if mention.kind == "stop":
                sentences.append([])
            elif mention.kind != "fill":
                sentences[-1].append(mention)
        self._read([self._opened(sentence) for sentence in sentences if sentence])
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

    # ---- one sentence --------------------------------------------------------------------------------------------

    def _opened(self, mentions: list[Mention]) -> _Sentence:
        guard = _GUARD.match(self._sentence_text(mentions))
        condition, mentions = self._guarded(guard, mentions)
        mentions = _between(mentions)
        return _Sentence(mentions, _phrases(mentions), condition)

    def _read(self, sentences: list[_Sentence]) -> None:
        """What is compared with is looked for in all sentences before any is read: "cheaper, otherwise like A"."""
        spoken: list[str] = []
        anchors = [bind_relatives(sentence.phrases, self.text, spoken) for sentence in sentences]
        self.anchor = next((anchor for anchor in anchors if anchor is not None), None)
        if self.anchor is None:
            self.anchor = self._bare_anchor([mention for sentence in sentences for mention in sentence.mentions])
        for sentence in sentences:
            for phrase in sentence.phrases:
                if self.anchor is not None:
                    bind_to_anchor(phrase, self.anchor, self.text)
                self.out.notes += bind_limits(phrase, self.text, self.today)
            before = len(self.items)
            Machine(self, sentence.mentions, sentence.phrases).run()
            if sentence.guard is None:
                continue
            for item in self.items[before:]:
                item.kind = f"{item.kind}?"
                self.guards[id(item)] = sentence.guard

    def _bare_anchor(self, mentions: list[Mention]) -> str | None:
        """As in "A, only cheaper": a model by itself at the beginning, then what should be otherwise."""
        rest = [m for m in mentions if m.kind not in ("comma", "only", "modal")]
        if len(rest) < 2 or rest[0].kind != "entity" or rest[0].attr != "model" or rest[1].kind not in _OTHERWISE:
            return None
        if not re.search(r"(?:but|only|just|though|,)\W", self.text[rest[0].end : rest[1].start]):
            return None
        name = str(rest[0].value[0])
        rest[0].kind, rest[0].value = "alike", Atom(attr="model", op="like", value=(name,))
        return name

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

    # ---- clauses -------------------------------------------------------------------------------------------------

    def _clauses(self) -> None:
        for item in _joined(self.items):
            clause = self._clause(item)
            if clause is not None:
                self.out.clauses += clause
        self.out.clauses = merged(self.out.clauses)
        if self.first_groups:
            self.out.notes.append("What was said to come first outweighs all other wishes together")

    def _clause(self, item: Item) -> list[Clause] | None:
        soft_words = (
            item.modal is not None and not item.modal.hard and SOFTENING.search(self.said(item.modal)) is not None
        )
        negative = item.negations % 2 == 1
        graded = item.atoms[0].only_soft
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
            if m.used or m.kind not in ("noun", "qual", "number", "date", "comp", "factor", "like", "likeness", "same")
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
        elif last is not None and same and item.joined == "or" and positive and item.kind not in ("grade", "alike"):
            last.atoms = [*last.atoms, *item.atoms]
            last.end, last.only = item.end, last.only or item.only
        else:
            out.append(item)
    return out
