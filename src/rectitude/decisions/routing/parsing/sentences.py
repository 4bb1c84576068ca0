"""Reading a sentence from left to right: what modal words, negations and conjunctions do to the wishes between them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from rectitude.decisions.routing.attributes import ATTRIBUTES, attribute
from rectitude.decisions.routing.clauses import Atom
from rectitude.decisions.routing.parsing.lexicon import Mention

_FLIP = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}
_RETRACTS = {"-latency_ms": ("latency_ms", "tokens_per_s"), "latency_ms": ("latency_ms", "tokens_per_s"),
             "price": ("price", "price_in", "price_out", "job_cost")}  # fmt: skip
_POST = re.compile(
    r"required|mandatory|essential|a must|non-negotiable|preferred|preferable|nice|possible|would be|will be|bonus|"
    r"if you|needed|necessary|critical|crucial|vital|important|matters|must (?:both |all )?work|are better|is better|"
    r"concern|priority|requirement|be (?:there|supported|included|available|hosted there)"
)
_PRONOUNS = ("that is ", "that's ", "which is ", "this is ", "it is ", "it's ")
_PRONOMINAL = ("be there", "be hosted there", "be supported", "be included", "be available")
_WEIGHTY = re.compile(r"important|critical|crucial|vital|matters|concern|priority")
SIZES = ("smaller", "bigger", "larger")
"""Comparatives that speak of a model's size where nothing else is named."""


class Reader(Protocol):
    """What the machine needs of the reader of a whole text."""

    text: str
    has_last: bool
    first_groups: bool
    anchor: str | None
    items: list[Item]

    def said(self, mention: Mention) -> str:
        """The words of a mention."""

    def retract(self, attr: str) -> None:
        """Wishes for an attribute are taken back."""


@dataclass
class Item:
    """An atom on its way to become a clause."""

    atoms: list[Atom]
    start: int
    end: int
    negations: int
    modal: Mention | None
    only: bool
    kind: str
    chunk: int
    joined: str = ""
    group: int = 0


def direction(value: str, attr: str) -> str:
    """The sign "<" or ">" for low, high, better and worse of an attribute."""
    if value in ("low", "high"):
        return "<" if value == "low" else ">"
    good = ">" if attribute(attr.removeprefix("-")).better != "lower" else "<"
    return good if value == "better" else {"<": ">", ">": "<"}[good]


class Machine:
    """Reads a sentence from left to right and hands its items to the reader."""

    def __init__(self, reader: Reader, mentions: list[Mention], phrases: list[list[Mention]]) -> None:
        self.reader, self.mentions = reader, mentions
        self.phrase_of = {id(m): phrase for phrase in phrases for m in phrase}
        self.modal: Mention | None = None
        self.negations, self.only, self.dropping, self.chunk = 0, False, False, 0
        self.carried = False  # was the modal word said before a comma?
        self.joiner = ""
        self.previous: Mention | None = None
        self.made: list[Item] = []
        self.group = 0
        self.negated_kind = ""

    def run(self) -> None:
        """Every mention in its turn."""
        for position, mention in enumerate(self.mentions):
            self.position = position
            handler = getattr(self, f"_on_{mention.kind}", None)
            if handler is not None:
                handler(mention)
            self.previous = mention
        self.reader.items += self.made

    def _next(self) -> Mention | None:
        return self.mentions[self.position + 1] if self.position + 1 < len(self.mentions) else None

    # ---- words that change what others mean ----------------------------------------------------------------------

    def _on_comma(self, mention: Mention) -> None:
        if not self._list_goes_on():
            self.negations, self.dropping = 0, False
            if self.modal is not None and not self.modal.hard:
                self.modal = None
        self.joiner, self.carried = ",", True
        self.chunk += 1
        self.only = False

    def _list_goes_on(self) -> bool:
        """Is it "no A, B or C"?"""
        if not (self.negations or self.only) or not self.made or self.made[-1].kind != "entity":
            return False
        kinds = [m.kind for m in self.mentions[self.position + 1 :]]
        return bool(re.match(r"(?:entity comma )*entity (?:or|and) entity", " ".join(kinds)))

    def _on_and(self, mention: Mention) -> None:
        self.joiner = "and"

    def _on_or(self, mention: Mention) -> None:
        self.joiner = "or"

    def _on_neg(self, mention: Mention) -> None:
        if self.joiner == "or" and self.negations and self.made:  # "without A or without B" excludes both
            self.joiner = "and"
            return
        if self.joiner in ("and", ","):
            self.negations = 0
        self.joiner = ""
        self.negations += 1

    def _on_modal(self, mention: Mention) -> None:
        words = self.reader.said(mention)
        recent = [item for item in self.made if item.chunk == self.chunk]
        said_of_it = self.reader.text[: mention.start].endswith(_PRONOUNS)
        if words.endswith(_PRONOMINAL) or said_of_it:  # "we rely on tools, it has to be there", ", that is a must"
            recent = recent or [item for item in self.made if item.chunk == self.made[-1].chunk]
        if recent and _POST.search(words):
            if words in ("needed", "necessary", "required") and all(item.negations % 2 for item in recent):
                self.made = [item for item in self.made if item not in recent]  # "no vision needed" wishes for nothing
                for atom in (atom for item in recent for atom in item.atoms):
                    self.reader.retract(atom.attr)
                return
            for item in recent:
                item.modal = mention
            return
        adjacent = (
            self.previous is not None
            and self.previous.kind == "neg"
            and (not self.reader.text[self.previous.end : mention.start].strip())
        )
        if not adjacent:
            self.negations = 0
        self.modal, self.dropping, self.carried = mention, False, False
        self.chunk += 1
        self.joiner = ""

    def _on_only(self, mention: Mention) -> None:
        phrase = self.phrase_of.get(id(mention), [])
        ahead = [m for m in phrase if m.start > mention.start and m.kind in ("entity", "flag", "limit", "relative")]
        if ahead or not self.made:
            self.only = True
            return
        for item in [item for item in self.made if item.chunk == self.chunk] or self.made[-1:]:
            item.only = True

    def _on_first(self, mention: Mention) -> None:
        self.reader.first_groups = True
        for item in self.reader.items:
            item.group = max(item.group, 1)
        if self.reader.said(mention) == "more important":
            self.group = 1

    def _on_then(self, mention: Mention) -> None:
        if self.reader.first_groups:
            self.group += 1

    def _on_drop(self, mention: Mention) -> None:
        self.dropping, self.negations = True, 0

    def _on_undo(self, mention: Mention) -> None:
        for other in reversed(self.mentions[: self.position]):
            if other.kind in ("comma", "modal"):
                break
            if other.kind in ("noun", "grade", "flag", "comp", "entity"):
                self._retract(other)
                self.made = [item for item in self.made if not item.start <= other.start < item.end]
                other.used = True

    def _retract(self, mention: Mention) -> None:
        mention.used = True
        if mention.attr and mention.attr not in ("input", "output"):
            for attr in _RETRACTS.get(mention.attr, (mention.attr,)):
                self.reader.retract(attr)

    def _on_off(self, mention: Mention) -> None:
        for item in self.made:
            if item.chunk == self.chunk and item.kind == "flag":
                item.negations += 1

    def _on_barred(self, mention: Mention) -> None:
        last = next((item for item in reversed(self.made) if item.kind in ("flag", "entity")), None)
        if last is None:
            return
        for item in self.made:
            if item.kind == last.kind and item.chunk == last.chunk:
                item.negations, item.modal = 1, None

    def _on_hosted(self, mention: Mention) -> None:
        mention.used = True

    # ---- wishes --------------------------------------------------------------------------------------------------

    def _add(self, mention: Mention, atom: Atom, kind: str, start: int | None = None, end: int | None = None) -> None:
        if self.dropping:
            self._retract(mention)
            return
        if self.joiner == "and" and self.made and self.negated_kind and self.negated_kind != kind:
            self.negations = 0
        modal = None if kind == "grade" and self.carried else self.modal  # "must see images, fast": fast is no must
        item = Item(
            [atom], mention.start if start is None else start, mention.end if end is None else end,
            self.negations, modal, self.only or mention.hard, kind, self.chunk, self.joiner, self.group,
        )  # fmt: skip
        mention.used = True
        self.made.append(item)
        self.negated_kind = kind if self.negations else ""
        self.joiner = ""

    def _on_flag(self, mention: Mention) -> None:
        self._add(mention, Atom(attr=mention.attr, op="is", value=mention.value), "flag")

    def _on_entity(self, mention: Mention) -> None:
        kind = ATTRIBUTES[mention.attr].kind
        attr, op = mention.attr, "has" if kind == "set" else "in"
        if attr == "vendor" and self.previous is not None and self.previous.kind == "hosted":
            attr, op = "provider", "in"
        self._add(mention, Atom(attr=attr, op=op, value=mention.value), "entity")

    def _on_limit(self, mention: Mention) -> None:
        atom: Atom = mention.value
        if mention.strength == 0 and isinstance(atom.value, float):  # "around 2 dollars": within 20 %, and only a wish
            for op, factor in (("<=", 1.2), (">=", 0.8)):
                near = Atom(attr=atom.attr, op=op, value=atom.value * factor)
                self._add(mention, near, "softly")
            return
        self._flip(mention, atom, "limit")

    def _on_relative(self, mention: Mention) -> None:
        self._flip(mention, mention.value, "relative")

    def _on_alike(self, mention: Mention) -> None:
        atom: Atom = mention.value
        if self.negations % 2:  # "nothing like A"
            self._add(mention, Atom(attr="model", op="in", value=atom.value), "entity")
            return
        self._add(mention, atom, "alike")
        if mention.hard:  # an alternative to A is not A
            self.negations += 1
            self._add(mention, Atom(attr="model", op="in", value=atom.value), "entity")
            self.negations -= 1

    def _flip(self, mention: Mention, atom: Atom, kind: str, start: int | None = None, end: int | None = None) -> None:
        if self.negations % 2:
            atom = atom.model_copy(update={"op": _FLIP.get(atom.op, atom.op)})
        negations, self.negations = self.negations, 0
        self._add(mention, atom, kind, start, end)
        self.negations = negations if self._next() is not None and self._next().kind == "or" else 0  # type: ignore[union-attr]

    def _grade(self, mention: Mention, attr: str, op: str, start: int | None = None, end: int | None = None) -> None:
        turned = self.negations % 2 == 1
        op = {"low": "high", "high": "low"}[op] if turned else op
        negations, self.negations = self.negations, 0
        self._add(mention, Atom(attr=attr, op=op), "grade", start, end)
        self.negations, self.negated_kind = negations, "grade" if negations else ""

    def _on_grade(self, mention: Mention) -> None:
        if mention.used:
            return
        attr, op, noun = mention.attr, mention.value, self._noun_near(mention)
        if attr == "released" and noun is not None and noun.attr in ("q.knowledge", "knowledge_cutoff"):
            attr, noun.used = "knowledge_cutoff", True
        elif (
            noun is not None and noun.attr in ("latency_ms", "price", "released", "q.mean") and noun.start > mention.end
        ):
            noun.used = True
        self._grade(mention, attr, op)

    def _on_comp(self, mention: Mention) -> None:
        if mention.used:
            return
        noun = self._noun_near(mention)
        attr = mention.attr
        if noun is not None and (not attr or noun.attr.startswith(("q.", "knowledge"))):
            known = "knowledge_cutoff" if attr == "released" else noun.attr
            attr, noun.used = known, True
        if not attr:
            word = self.reader.said(mention)
            if mention.value in ("better", "worse") and word in ("better", "stronger", "worse"):
                attr = "q.mean"
            elif word in SIZES:
                attr = "params_b"
            else:
                return
        self._directed(mention, attr, mention.value, noun)

    def _directed(self, mention: Mention, attr: str, value: str, noun: Mention | None) -> None:
        flipped = attr == "-latency_ms"
        attr = {"-latency_ms": "latency_ms", "output": "max_output", "input": "context"}.get(attr, attr)
        sign = direction(value, attr)
        if flipped and value in ("high", "low"):
            sign = {"<": ">", ">": "<"}[sign]
        start = min(mention.start, noun.start) if noun is not None else None
        end = max(mention.end, noun.end) if noun is not None else None
        bare = mention.kind == "comp" and not self.reader.text[: mention.start].endswith("the ")
        if bare and self.reader.anchor is not None:
            self._flip(mention, Atom(attr=attr, op=sign, ref_model=self.reader.anchor), "relative", start, end)
            return
        if bare and self.reader.has_last:
            op = {"<": "<", ">": ">"}[sign]
            self._add(mention, Atom(attr=attr, op=op, ref_model="last"), "softly", start, end)
            return
        self._grade(mention, attr, "low" if sign == "<" else "high", start, end)

    def _on_qual(self, mention: Mention) -> None:
        if mention.used:
            return
        noun = self._noun_near(mention)
        if noun is not None:
            noun.used = True
            attr = noun.attr
            if attr == "job_cost" and mention.value in ("better", "worse"):
                return
            self._directed(mention, attr, mention.value, noun)
            return
        ahead = self.reader.text[mention.end :]
        following = self._next()
        if mention.value in ("high", "low"):
            if re.match(r"\s*(?:models?\b|one\b|[.,;!?]|$)", ahead) and self.reader.said(mention) not in (
                "long",
                "short",
                "high",
                "low",
                "wide",
            ):
                self._directed(mention, "params_b", mention.value, None)
            return
        if (
            following is not None
            and following.kind in ("grade", "flag", "comp")
            and len(self.reader.text[mention.end : following.start].split()) <= 1
        ):
            return
        if self.reader.said(mention) not in ("well", "a lot of", "top"):
            self._directed(mention, "q.mean", mention.value, None)

    def _on_noun(self, mention: Mention) -> None:
        if mention.used:
            return
        if self.dropping:
            self._retract(mention)
            return
        after = self._next()
        near = after is not None and after in self.phrase_of[id(mention)]
        if after is not None and (
            after.kind == "undo"
            or (near and after.kind in ("qual", "comp"))
            or (near and after.kind in ("neg", "modal") and self._qual_later(mention))
        ):
            return
        weighed = self.reader.first_groups or (
            after is not None
            and after.kind in ("modal", "first")
            and _WEIGHTY.search(self.reader.said(after)) is not None
        )
        if mention.attr.startswith("q.") or (weighed and mention.attr not in ("input", "output", "job_cost")):
            self._directed(mention, mention.attr, "better", None)
        elif mention.attr == "context" and self.reader.said(mention).startswith(("long ", "large ")):
            self._directed(mention, "context", "high", None)

    def _qual_later(self, noun: Mention) -> bool:
        return any(
            m.kind in ("qual", "comp", "grade") and m.start > noun.start and not m.used
            for m in self.phrase_of[id(noun)]
        )

    def _noun_near(self, mention: Mention) -> Mention | None:
        """The noun a word speaks of: the next one in its phrase, else one before it that is still free."""
        phrase = self.phrase_of.get(id(mention), [])
        place = phrase.index(mention)
        for other in phrase[place + 1 :]:
            if other.kind == "noun" and not other.used:
                return other
            if other.kind in ("grade", "flag", "limit", "entity", "relative", "qual", "comp", "or"):
                break
        for other in reversed(phrase[:place]):
            if other.kind == "noun" and not other.used and other.attr != "job_cost":
                return other
        return None
