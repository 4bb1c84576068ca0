"""A catalogue of model endpoints in columns, in which what is not known stays unknown."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rectitude.core.config import Settings
from rectitude.core.errors import ConfigError, did_you_mean
from rectitude.decisions.routing.attributes import MEAN_QUALITY, QUALITY, attribute

Floats = NDArray[np.float64]
Truth = NDArray[np.int8]
"""Three-valued: 1 true, 0 false, -1 unknown."""
UNKNOWN = np.int8(-1)
_BLEND = (3.0, 1.0)
"""Input to output tokens of a request nothing is known of."""


class Request(Settings):
    """What is known of a request before a model is chosen; gives hard clauses of its own."""

    tokens_in: int | None = Field(default=None, ge=0)
    """Tokens of the prompt."""
    tokens_out: int | None = Field(default=None, ge=0)
    """Tokens of the longest answer wanted."""
    needs: frozenset[str] = frozenset()
    """Flags the request cannot do without: vision, audio_in, pdf, tool_call, structured_output, streaming …"""
    tags: frozenset[str] = frozenset()
    """What the request is about, for guards: code, math …"""


@dataclass(frozen=True, eq=False)
class Catalogue:
    """M endpoints, one per row.

    Attributes:
        ids: Name of each endpoint, unique.
        titles: The same for people.
        ordered: Flags (0, 1), numbers and dates (days since year 1), float64 [M]; NaN is unknown.
        categories: Codes int32 [M], -1 unknown, and the values they stand for.
        sets: Truth int8 [M, V] of "has value v", and the V values.
        source: Where the facts are from.
        as_of: The day they were true.
        notes: What was assumed or dropped while reading.
        cell_sources: Attribute to the source of each of its cells, where the table said.
    """

    ids: tuple[str, ...]
    titles: tuple[str, ...]
    ordered: Mapping[str, Floats]
    categories: Mapping[str, tuple[NDArray[np.int32], tuple[str, ...]]]
    sets: Mapping[str, tuple[Truth, tuple[str, ...]]]
    source: str = ""
    as_of: str | None = None
    notes: tuple[str, ...] = ()
    cell_sources: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of every fact, shortened: two decisions with the same hash saw the same catalogue."""
        digest = hashlib.sha256("\n".join(self.ids).encode())
        for name, values in sorted(self.ordered.items()):
            digest.update(name.encode() + values.tobytes())
        for name, (codes, values_of) in sorted(self.categories.items()):
            digest.update(name.encode() + codes.tobytes() + "\n".join(values_of).encode())
        for name, (cells, values_of) in sorted(self.sets.items()):
            digest.update(name.encode() + cells.tobytes() + "\n".join(values_of).encode())
        return digest.hexdigest()[:16]

    @cached_property
    def position(self) -> dict[str, int]:
        """Row of each endpoint."""
        return {name: row for row, name in enumerate(self.ids)}

    @cached_property
    def name_order(self) -> NDArray[np.int64]:
        """Rank of each id in alphabetical order, the last key of ties."""
        rank = np.empty(len(self), np.int64)
        rank[sorted(range(len(self)), key=self.ids.__getitem__)] = np.arange(len(self))
        return rank

    @cached_property
    def _sorted(self) -> dict[tuple[str, int | None, int | None], Floats]:
        return {}

    def known(self, name: str, request: Request | None = None) -> Floats:
        """The known values of an ordered attribute, sorted; kept, because staircases ask for them again and again."""
        priced = request if name in ("price", "job_cost") else None
        key = (name, priced.tokens_in, priced.tokens_out) if priced else (name, None, None)
        if key not in self._sorted:
            self._sorted[key] = _known(self.column(name, priced))
        return self._sorted[key]

    def column(self, name: str, request: Request | None = None) -> Floats:
        """An ordered attribute, float64 [M], derived where it must be; all NaN where the catalogue has none.

        Raises:
            ConfigError: There is no such attribute, or its values have no order.
        """
        if name in self.ordered:
            return self.ordered[name]
        if name == "price":
            return _price(self, request)
        if name == "job_cost":
            return _job_cost(self, request)
        if name == MEAN_QUALITY:
            return self.mean_quality
        if attribute(name).kind in ("category", "set"):
            raise ConfigError(f"The values of '{name}' have no order")
        return np.full(len(self), np.nan)

    @cached_property
    def mean_quality(self) -> Floats:
        """Mean of each endpoint's scores; unknown where one that others have is missing: it would not compare."""
        scores = [values for name, values in self.ordered.items() if name.startswith(QUALITY) and name != MEAN_QUALITY]
        return np.mean(scores, axis=0) if scores else np.full(len(self), np.nan)

    def value(self, name: str, row: int, request: Request | None = None) -> Any:
        """One cell as people write it; None where unknown."""
        kind = attribute(name).kind
        if kind == "category":
            if name == "model":
                return self.ids[row]
            codes, values = self.categories.get(name, (None, ()))
            return None if codes is None or codes[row] < 0 else values[codes[row]]
        if kind == "set":
            cells, values = self.sets.get(name, (None, ()))
            return None if cells is None else [v for v, has in zip(values, cells[row], strict=True) if has == 1]
        found = float(self.column(name, request)[row])
        if np.isnan(found):
            return None
        if kind == "flag":
            return bool(found)
        return date.fromordinal(int(found)).isoformat() if kind == "date" else found

    def row(self, name: str) -> int:
        """Row of an endpoint by its id, its title, or the end of its id where that is unique.

        Raises:
            ConfigError: No endpoint is called so, or several are.
        """
        if name in self.position:
            return self.position[name]
        rows = self.rows_named(name)
        if len(rows) == 1:
            return rows[0]
        if rows:
            shown = ", ".join(self.ids[row] for row in rows[:5])
            raise ConfigError(f"'{name}' is the name of {len(rows)} endpoints: {shown}", fix="Give the whole name")
        near = did_you_mean(name, self.ids)
        fix = near if near.startswith("Did") else f"It has {len(self.ids):,}, for example {self.ids[0]}"
        raise ConfigError(f"The catalogue has no model '{name}'", fix=fix)

    def rows_named(self, name: str) -> list[int]:
        """Rows whose id, bare model name or title is the name, whatever the case."""
        return self._names.get(plain(name), [])

    @cached_property
    def _names(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for row, names in enumerate(self._spoken):
            for spoken in names:
                found.setdefault(spoken, []).append(row)
        return found

    @cached_property
    def _spoken(self) -> list[set[str]]:
        return [
            {plain(each) for each in (name, name.rpartition("/")[2], name.rpartition(":")[2], title)}
            for name, title in zip(self.ids, self.titles, strict=True)
        ]

    @property
    def names(self) -> Mapping[str, Sequence[int]]:
        """Every name by which people may mean an endpoint, in plain writing, with its rows."""
        return self._names

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> Catalogue:
        """The catalogue of some rows only."""
        index = np.asarray(rows, dtype=np.int64)
        return replace(
            self,
            ids=tuple(self.ids[row] for row in index),
            titles=tuple(self.titles[row] for row in index),
            ordered={name: values[index] for name, values in self.ordered.items()},
            categories={name: (codes[index], values) for name, (codes, values) in self.categories.items()},
            sets={name: (cells[index], values) for name, (cells, values) in self.sets.items()},
            cell_sources={name: tuple(cells[row] for row in index) for name, cells in self.cell_sources.items()},
        )

    @cached_property
    def peers(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Family and provider code of each row, int32 [M]; rows without one are alone."""
        return self._codes("family"), self._codes("provider")

    def _codes(self, name: str) -> NDArray[np.int32]:
        codes, values = self.categories.get(name, (np.full(len(self), -1, np.int32), ()))
        alone = len(values) + np.arange(len(self), dtype=np.int32)
        return np.where(codes < 0, alone, codes).astype(np.int32)

    def records(self) -> list[dict[str, Any]]:
        """One mapping per endpoint, None where unknown: what :func:`build_catalogue` reads back as the same facts."""
        names = [
            "provider",
            "maker",
            "family",
            "region",
            "licence",
            *self.ordered,
            *(n for n in self.sets if n != "vendor"),
        ]
        kept = [name for name in names if name in self.ordered or name in self.categories or name in self.sets]
        found = []
        for row, (name, title) in enumerate(zip(self.ids, self.titles, strict=True)):
            cells = {each: self.value(each, row) for each in kept}
            provider = cells.get("provider")
            record = {"model": name.removeprefix(f"{provider}:") if provider else name, "name": title}
            joined = {key: "|".join(cell) if isinstance(cell, list) else cell for key, cell in cells.items()}
            found.append({**record, **joined})
        return found

    def completeness(self) -> dict[str, float]:
        """Share of known cells of each attribute."""
        shares = {name: float(np.mean(~np.isnan(values))) for name, values in self.ordered.items()}
        shares |= {name: float(np.mean(codes >= 0)) for name, (codes, _) in self.categories.items()}
        return shares | {name: float(np.mean(cells >= 0)) for name, (cells, _) in self.sets.items() if cells.size}


def plain(name: str) -> str:
    """A name without case, brackets and kinds of hyphen and space: ``GPT-5 Mini`` is ``gpt 5 mini``."""
    bare = name.casefold().partition(" (")[0]
    return " ".join(bare.replace("-", " ").replace("_", " ").split())


def _known(values: Floats) -> Floats:
    return np.sort(values[~np.isnan(values)])


def _price(catalogue: Catalogue, request: Request | None) -> Floats:
    """Mean price of a token of the request, USD per million; of three tokens in and one out where it is not known."""
    share_in, share_out = _BLEND
    if request is not None and (request.tokens_in or 0) + (request.tokens_out or 0) > 0:
        share_in, share_out = float(request.tokens_in or 0), float(request.tokens_out or 0)
    price_in, price_out = catalogue.column("price_in"), catalogue.column("price_out")
    return (share_in * price_in + share_out * price_out) / (share_in + share_out)


def _job_cost(catalogue: Catalogue, request: Request | None) -> Floats:
    """``price_in · tokens_in / 10⁶ + price_out · tokens_out / 10⁶`` in USD; unknown where the tokens are."""
    if request is None or request.tokens_in is None or request.tokens_out is None:
        return np.full(len(catalogue), np.nan)
    price_in, price_out = catalogue.column("price_in"), catalogue.column("price_out")
    return (price_in * request.tokens_in + price_out * request.tokens_out) / 1e6
