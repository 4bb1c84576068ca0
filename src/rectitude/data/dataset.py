"""A Dataset: who did what with which item, as integers inside and the data's own ids outside."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from rectitude.core.errors import DataError, QueryError, did_you_mean
from rectitude.data.columns import ITEM, ITEM_ID, TITLE, USER, USER_ID
from rectitude.data.histories import Histories


@dataclass(frozen=True, eq=False)
class Ids:
    """The data's own ids (as text) of one kind of entity, and back.

    Attributes:
        kind: ``"user"`` or ``"item"``, for messages.
        external: Text ids; position i is entity i.
    """

    kind: str
    external: pl.Series

    def __len__(self) -> int:
        return len(self.external)

    def __getitem__(self, index: int) -> str:
        return str(self.external[int(index)])

    @cached_property
    def _index(self) -> dict[str, int]:
        return {identifier: i for i, identifier in enumerate(self.external.to_list())}

    def find(self, identifier: str | int) -> int | None:
        """Index of an external id, or None."""
        return self._index.get(str(identifier))

    def index(self, identifier: str | int) -> int:
        """Index of an external id.

        Raises:
            QueryError: The id is unknown.
        """
        found = self.find(identifier)
        if found is None:
            known = self.external.head(2000).to_list()
            hint = did_you_mean(str(identifier), known)
            fix = hint if hint.startswith("Did") else f"For example: {known[0]}"
            raise QueryError(f"Unknown {self.kind} '{identifier}'", fix=fix)
        return found

    def take(self, indices: npt.NDArray[Any]) -> list[str]:
        """External ids of many indices."""
        return [str(identifier) for identifier in self.external.gather(indices).to_list()]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Interactions with the tables of users and items they speak of.

    Attributes:
        name: What to call it in tables and reports.
        interactions: Columns ``user`` and ``item`` (int32), optional ``timestamp`` (int64 seconds or a position),
            ``rating`` (float32), ``split``, ``behavior``, ``session``, ``scenario`` (text). Sorted by user, then time,
            then the order of the source.
        users: Row i describes user i; first column ``user_id`` (text), the rest attributes.
        items: Row i describes item i; first column ``item_id`` (text), ``title`` where known, the rest attributes.
        content: Named item matrices, float32 [n_items, d]; a row of NaN is an item without (see ``data.content``).
        source: Where it came from (``origin``, ``location``, ``terms``, ``options``), enough to load it again.
        notes: What was guessed, dropped or changed on the way in, one sentence each.
    """

    name: str
    interactions: pl.DataFrame
    users: pl.DataFrame
    items: pl.DataFrame
    content: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, matrix in self.content.items():
            if len(matrix) != self.n_items:
                raise DataError(
                    f"Content '{name}' has {len(matrix)} rows for {self.n_items} items",
                    fix="Give one row per item, in the order of the items table",
                )

    @property
    def n_users(self) -> int:
        """Number of users."""
        return len(self.users)

    @property
    def n_items(self) -> int:
        """Number of items."""
        return len(self.items)

    @property
    def n_interactions(self) -> int:
        """Number of interactions."""
        return len(self.interactions)

    @cached_property
    def user_ids(self) -> Ids:
        """External ids of users."""
        return Ids("user", self.users[USER_ID])

    @cached_property
    def item_ids(self) -> Ids:
        """External ids of items."""
        return Ids("item", self.items[ITEM_ID])

    def titles(self) -> list[str | None]:
        """Title of each item, None where unknown."""
        if TITLE not in self.items.columns:
            return [None] * self.n_items
        return self.items[TITLE].cast(pl.String).to_list()

    def histories(self) -> Histories:
        """Every user's items in time order."""
        return Histories.from_pairs(
            self.interactions[USER].to_numpy(), self.interactions[ITEM].to_numpy(), self.n_users
        )

    @cached_property
    def hash(self) -> str:
        """First 16 hex digits of a SHA-256 over ids and interactions: equal hash, equal data."""
        digest = hashlib.sha256()
        for column in (self.users[USER_ID], self.items[ITEM_ID]):
            digest.update("\x00".join(column.to_list()).encode())
            digest.update(b"\x01")
        for name in sorted(self.interactions.columns):
            digest.update(name.encode())
            column = self.interactions[name]
            if column.dtype == pl.String or column.dtype == pl.Categorical:
                digest.update("\x00".join(column.cast(pl.String).fill_null("").to_list()).encode())
            else:
                digest.update(column.fill_null(0).to_numpy().tobytes())
        return digest.hexdigest()[:16]

    def with_notes(self, *notes: str) -> Dataset:
        """The same data with further notes."""
        return replace(self, notes=(*self.notes, *notes))

    def subset(self, keep: pl.Series | npt.NDArray[np.bool_], *notes: str) -> Dataset:
        """The interactions where ``keep`` is true; users and items left without any are dropped and renumbered."""
        kept = self.interactions.filter(pl.Series(keep))
        return _compact(replace(self, interactions=kept, notes=(*self.notes, *notes)))

    def without_people(self, emptied: Mapping[int, str]) -> Dataset:
        """The same data without what some people did and are; their places stay, so that no index moves.

        Args:
            emptied: Index of each person to what their emptied place is called.
        """
        gone = pl.Series(list(emptied), dtype=pl.Int64)
        place = pl.int_range(pl.len(), dtype=pl.Int64)
        name = place.replace_strict(dict(emptied), default=pl.col(USER_ID), return_dtype=pl.String)
        others = [
            pl.when(place.is_in(gone.implode())).then(None).otherwise(pl.col(column)).alias(column)
            for column in self.users.columns
            if column != USER_ID
        ]
        return replace(
            self,
            interactions=self.interactions.filter(~pl.col(USER).is_in(gone.implode())),
            users=self.users.with_columns(name.alias(USER_ID), *others),
        )


def _compact(dataset: Dataset) -> Dataset:
    """Drop users and items without interactions and renumber the rest, keeping their order."""
    tables: dict[str, pl.DataFrame] = {}
    interactions = dataset.interactions
    kept_items = np.empty(0, np.int64)
    for name, table in ((USER, dataset.users), (ITEM, dataset.items)):
        present = np.bincount(interactions[name].to_numpy(), minlength=len(table)) > 0
        renumber = np.cumsum(present, dtype=np.int32) - 1
        interactions = interactions.with_columns(
            pl.Series(name, renumber[interactions[name].to_numpy()].astype(np.int32))
        )
        tables[name] = table.filter(pl.Series(present))
        kept_items = np.flatnonzero(present)
    content = {name: matrix[kept_items] for name, matrix in dataset.content.items()}
    return replace(dataset, interactions=interactions, users=tables[USER], items=tables[ITEM], content=content)
