"""What is known of the items of a run: titles, attributes, pictures, and what was told to the service since.

Letters: I items of the run.
"""

from __future__ import annotations

import threading
import unicodedata
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from rectitude.core.errors import QueryError, did_you_mean
from rectitude.data.columns import ITEM_ID, TITLE
from rectitude.data.dataset import Ids
from rectitude.service.serving.asking import Between, Condition

if TYPE_CHECKING:
    from rectitude.service.store import ItemFacts

MASKS_KEPT = 256
"""Conditions whose items are remembered; the least lately used goes first."""
_PICTURES = ("poster", "picture", "image", "photo")
_PICTURE_TYPES = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Item:
    """What is known of an item.

    Attributes:
        id: External id.
        title: None where unknown.
        attributes: From the data of the run, overlaid by what was told to the service.
        withdrawn: Is it never shown?
        in_run: Can the run rank it?
        picture: Address of its picture under the service, None where there is none.
    """

    id: str
    title: str | None
    attributes: dict[str, Any]
    withdrawn: bool
    in_run: bool
    picture: str | None


def fold(text: str) -> str:
    """Text as it is searched: without case and accents."""
    return "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))


@dataclass
class Upserts:
    """Items as they were told to the service; one for all runs of a process, read again when the store has changed.

    Attributes:
        items: Id to its facts.
        version: Raised by each change.
    """

    items: dict[str, ItemFacts] = field(default_factory=dict)
    version: int = 0

    def replace(self, items: Mapping[str, ItemFacts]) -> None:
        """All of them at once."""
        self.items = dict(items)
        self.version += 1

    def apply(self, items: Sequence[ItemFacts]) -> None:
        """Some of them, new or changed."""
        self.items = {**self.items, **{item.id: item for item in items}}
        self.version += 1


class Catalogue:
    """The items of one run.

    Args:
        ids: Of the run's items.
        titles: Of the run's items.
        table: Attributes, row i of item i; None where the data cannot be read.
        folder: Where the paths of pictures in the table start from.
        pictures: Folder with pictures named by the items' ids; instead of the table's.
        upserts: What was told to the service.
    """

    def __init__(
        self,
        ids: Ids,
        titles: Sequence[str | None],
        table: pl.DataFrame | None = None,
        folder: Path | None = None,
        pictures: Path | None = None,
        upserts: Upserts | None = None,
    ) -> None:
        self.ids, self.folder, self.pictures = ids, folder, pictures
        self._own_titles = list(titles)
        self._table = None if table is None else table.drop([c for c in (ITEM_ID, TITLE) if c in table.columns])
        self._picture = next(
            (name for name in _PICTURES if self._table is not None and name in self._table.columns), None
        )
        self._upserts = upserts or Upserts()
        self._seen_version = -1
        self._lock = threading.Lock()
        self._refresh()

    def __len__(self) -> int:
        return len(self.ids)

    def _refresh(self) -> None:
        """Take in what was told since; called before every use, and cheap where nothing was."""
        if self._upserts.version != self._seen_version:
            with self._lock:
                self._take_in(self._upserts.version)

    def _take_in(self, version: int) -> None:
        told = self._upserts.items
        changed = {index: told[item] for item in told if (index := self.ids.find(item)) is not None}
        titles = list(self._own_titles)
        for index, item in changed.items():
            titles[index] = item.title or titles[index]
        withdrawn = np.zeros(len(self.ids), bool)
        withdrawn[[index for index, item in changed.items() if item.withdrawn]] = True
        self.titles, self._changed, self._withdrawn = titles, changed, withdrawn
        self._masks: OrderedDict[tuple[str, Condition], Mask] = OrderedDict()
        self._columns: dict[str, list[Any]] = {}
        self._folded: list[tuple[str, str]] | None = None
        self._seen_version = version

    @property
    def attributes(self) -> list[str]:
        """Names of everything that is known of some item, but for pictures."""
        own = [] if self._table is None else [name for name in self._table.columns if name != self._picture]
        told = {name for item in self._upserts.items.values() for name in item.facts}
        return [*own, *sorted(told - set(own))]

    def identifiers(self, start: int, count: int) -> list[str]:
        """Some ids, those of the run in its order first, then those it does not know by their ids."""
        found = self.ids.external[start : start + count].to_list()
        if len(found) < count:
            others = sorted(name for name in self._upserts.items if self.ids.find(name) is None)
            begin = max(0, start - len(self.ids))
            found += others[begin : begin + count - len(found)]
        return found

    def withdrawn(self) -> Mask | None:
        """Items that are not to be shown: bool [I], None where all may be."""
        self._refresh()
        return self._withdrawn if self._withdrawn.any() else None

    def column(self, attribute: str) -> list[Any]:
        """Value of an attribute for each item, None where unknown.

        Raises:
            QueryError: No item has such an attribute.
        """
        self._refresh()
        found = self._columns.get(attribute)
        if found is not None:
            return found
        if attribute not in self.attributes:
            raise QueryError(
                f"Items have no attribute '{attribute}'", where="where", fix=self._attribute_hint(attribute)
            )
        table = self._table
        has = table is not None and attribute in table.columns
        values = table[attribute].to_list() if table is not None and has else [None] * len(self.ids)
        for index, item in self._changed.items():
            values[index] = item.facts.get(attribute, values[index])
        self._columns[attribute] = values
        return values

    def _attribute_hint(self, attribute: str) -> str:
        known = self.attributes
        return did_you_mean(attribute, known) if known else "The data of the run could not be read, so none is known"

    def values(self, attribute: str, index: int) -> tuple[str, ...]:
        """Values of an attribute of one item, as text."""
        return as_texts(self.column(attribute)[index])

    def mask(self, attribute: str, condition: Condition) -> Mask:
        """Items that meet a condition: bool [I].

        Raises:
            QueryError: No item has such an attribute.
        """
        self._refresh()
        key = (attribute, condition)
        if key in self._masks:
            self._masks.move_to_end(key)
            return self._masks[key]
        column = self.column(attribute)
        if isinstance(condition, Between):
            found = np.array([_within(value, condition) for value in column], bool)
        else:
            wanted = set(condition)
            found = np.array([not wanted.isdisjoint(as_texts(value)) for value in column], bool)
        self._masks[key] = found
        if len(self._masks) > MASKS_KEPT:
            self._masks.popitem(last=False)
        return found

    def item(self, identifier: str) -> Item | None:
        """What is known of an item, None where nothing is."""
        self._refresh()
        index, told = self.ids.find(identifier), self._upserts.items.get(identifier)
        if index is None and told is None:
            return None
        attributes: dict[str, Any] = {}
        title = told.title if told else None
        if index is not None:
            title = self.titles[index]
            if self._table is not None:
                attributes = {k: v for k, v in self._table.row(index, named=True).items() if k != self._picture}
        if told is not None:
            attributes |= told.facts
        picture = f"/v1/items/{_quoted(identifier)}/picture" if self.picture_path(identifier) else None
        return Item(identifier, title, attributes, bool(told and told.withdrawn), index is not None, picture)

    def picture_path(self, identifier: str) -> Path | None:
        """File of an item's picture, None where there is none."""
        if self.pictures is not None:
            if identifier in (".", "..") or any(sign in identifier for sign in "/\\\0"):
                return None  # an id is no path
            named = (self.pictures / f"{identifier}{suffix}" for suffix in _PICTURE_TYPES)
            return next((path for path in named if _is_file(path)), None)
        index = self.ids.find(identifier)
        if index is None or self._table is None or self._picture is None or self.folder is None:
            return None
        value = self._table[self._picture][index]
        path = self.folder / str(value) if value else None
        return path if path is not None and path.suffix.lower() in _PICTURE_TYPES and _is_file(path) else None

    def picture_type(self, path: Path) -> str:
        """Media type of a picture."""
        return _PICTURE_TYPES[path.suffix.lower()]

    def search(self, text: str, limit: int = 10) -> list[Item]:
        """Items whose title holds the text: those that are it, begin with it, have a word that does, and the rest."""
        self._refresh()
        wanted = fold(text.strip())
        if not wanted:
            return []
        if self._folded is None:
            own = [(fold(title), self.ids[i]) for i, title in enumerate(self.titles) if title]
            told = [(fold(item.title), item.id) for item in self._upserts.items.values() if item.title]
            self._folded = own + [entry for entry in told if self.ids.find(entry[1]) is None]
        found: tuple[list[str], ...] = ([], [], [], [])
        for title, identifier in self._folded:
            place = title.find(wanted)
            if place >= 0:
                inside = 2 if place and not title[place - 1].isalnum() else 3
                found[inside if place else int(title != wanted)].append(identifier)
        best = [identifier for rank in found for identifier in rank][:limit]
        return [item for identifier in best if (item := self.item(identifier)) is not None]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # ids may be longer than names of files
        return False


def as_texts(value: Any) -> tuple[str, ...]:
    """Values of an attribute as text: none, one, or each of a list."""
    if value is None:
        return ()
    if isinstance(value, list | tuple | set):
        return tuple(str(entry) for entry in value if entry is not None)
    if isinstance(value, bool):
        return (str(value).lower(),)
    return (str(value),)


def _within(value: Any, bounds: Between) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return (bounds.low is None or value >= bounds.low) and (bounds.high is None or value <= bounds.high)


def _quoted(identifier: str) -> str:
    from urllib.parse import quote

    return quote(identifier, safe="")
