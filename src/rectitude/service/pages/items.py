"""Items as pages show them: title, a few words, a picture; and lists with what moved between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from rectitude.service.serving.catalogue import Catalogue, as_texts
from rectitude.training.run import Recommended

_YEAR = ("year", "release_year", "released")
_KIND = ("genres", "genre", "categories", "category", "brand", "artist", "author")
_MOST_WORDS = 3


@dataclass(frozen=True)
class ItemView:
    """An item.

    Attributes:
        id: Its id in the data.
        title: Or its id where it has none.
        about: Year and kind, as far as they are known.
        picture: Address of its picture, None where there is none.
        initial: What stands in place of a picture.
    """

    id: str
    title: str
    about: str
    picture: str | None
    initial: str


def item_view(catalogue: Catalogue, slot: str, identifier: str) -> ItemView:
    """An item of a run, also where nothing is known of it."""
    found = catalogue.item(identifier)
    title = found.title if found is not None and found.title else f"Item {identifier}"
    picture = f"{found.picture}?slot={quote(slot, safe='')}" if found is not None and found.picture else None
    initial = next((sign for sign in title if sign.isalnum()), "?").upper()
    return ItemView(identifier, title, _about(found.attributes) if found is not None else "", picture, initial)


def _about(attributes: Mapping[str, Any]) -> str:
    year = next((as_texts(attributes[name]) for name in _YEAR if attributes.get(name) is not None), ())
    kind = next((as_texts(attributes[name]) for name in _KIND if attributes.get(name)), ())
    return " · ".join(text for text in (*year, ", ".join(kind[:_MOST_WORDS])) if text)


@dataclass(frozen=True)
class Place:
    """One place of a list.

    Attributes:
        rank: 1 on top.
        item: What stands there.
        moved: Places it stands higher than in the other list; None where it does not stand there, or there is none.
        new: Is it not in the other list?
    """

    rank: int
    item: ItemView
    moved: int | None = None
    new: bool = False


def places(
    catalogue: Catalogue, slot: str, items: Sequence[Recommended], other: Sequence[Recommended] | None = None
) -> list[Place]:
    """A list, with what moved against another one."""
    ranks = {item.item_id: item.rank for item in other or ()}
    return [
        Place(
            item.rank,
            item_view(catalogue, slot, item.item_id),
            ranks[item.item_id] - item.rank if item.item_id in ranks else None,
            other is not None and item.item_id not in ranks,
        )
        for item in items
    ]


@dataclass(frozen=True)
class Reason:
    """An item of a history that speaks for another.

    Attributes:
        title: Of the item.
        strength: Against the strongest one.
    """

    title: str
    strength: float


@dataclass(frozen=True)
class Why:
    """Why an item is shown.

    Attributes:
        title: Of the item.
        reasons: What of the history speaks for it, the strongest first.
        shares: Part of the model to what it counts.
        method: How this was found, in words.
        rank: Its place among all that may be shown.
        among: How many these are.
        notes: What must be known besides.
    """

    title: str
    reasons: Sequence[Reason]
    shares: Mapping[str, float]
    method: str
    rank: int | None
    among: int
    notes: Sequence[str]


_METHODS = {
    "score lost when the item is left out of the history": (
        "Found by asking the model again without each of these, one at a time."
    ),
    "likeness to the item": "Found by likeness: the model does not say what of a history it goes by.",
}


def why_view(told: Mapping[str, Any]) -> Why:
    """What :func:`rectitude.service.serving.explaining.explain` told, for people."""
    strongest = max((reason["effect"] for reason in told["reasons"]), default=0.0)
    reasons = [
        Reason(reason["title"] or f"Item {reason['item_id']}", reason["effect"] / strongest)
        for reason in told["reasons"]
    ]
    return Why(
        told["title"] or f"Item {told['item_id']}",
        reasons,
        dict(sorted(told["shares"].items(), key=lambda pair: -pair[1])),
        _METHODS.get(told["method"], told["method"]),
        told["rank"],
        told["of"],
        told["notes"],
    )
