"""From records to a catalogue: names, units and gaps of public tables as our attributes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, Literal

import numpy as np

from rectitude.core.errors import DataError
from rectitude.decisions.routing.attributes import ATTRIBUTES, DERIVED, FAMILIES, QUALITY, attribute, company
from rectitude.decisions.routing.catalogue import Catalogue, Floats, Truth

PriceUnit = Literal["token", "thousand", "million"]
FreePrices = Literal["unknown", "free"]

_PER_MILLION = {"token": 1e6, "thousand": 1e3, "million": 1.0}
ALIASES = {
    "id": "model", "model_id": "model", "model_name": "model", "litellm_provider": "provider",
    "release_date": "released", "knowledge": "knowledge_cutoff", "deprecation_date": "deprecation",
    "license": "licence", "input_modalities": "modalities_in", "output_modalities": "modalities_out",
    "context_window": "context", "context_length": "context", "max_input_tokens": "context",
    "max_output_tokens": "max_output", "max_completion_tokens": "max_output",
    "tools": "tool_call", "function_calling": "tool_call", "json": "structured_output", "parameters_b": "params_b",
    "supports_function_calling": "tool_call", "supports_reasoning": "reasoning", "supports_vision": "vision",
    "supports_prompt_caching": "prompt_cache", "supports_response_schema": "structured_output",
    "supports_audio_input": "audio_in", "supports_pdf_input": "pdf", "supports_video_input": "video_in",
    "supports_native_streaming": "streaming",
}  # fmt: skip
"""Names that public tables give our attributes."""
PRICES = {
    "price_in": ("price_in", None), "price_out": ("price_out", None), "price_cached": ("price_cached", None),
    "cost_in": ("price_in", "million"), "cost_out": ("price_out", "million"),
    "cost_cache_read": ("price_cached", "million"),
    "input_cost_per_token": ("price_in", "token"), "output_cost_per_token": ("price_out", "token"),
    "cache_read_input_token_cost": ("price_cached", "token"),
    "price_in_per_million": ("price_in", "million"), "price_out_per_million": ("price_out", "million"),
    "price_in_per_1k": ("price_in", "thousand"), "price_out_per_1k": ("price_out", "thousand"),
}  # fmt: skip
"""Columns of prices: our attribute, and the tokens they are for where the name says it."""
_IGNORED = {"name", "title", "series", "attachment", "temperature", "status", "cost_cache_write", "mode", "source"}
_IGNORED |= {"as_of", "kind", "owned_by", "object", "created", "description", "base_url"}
_EMPTY = {"", "?", "-", "–", "na", "n/a", "nan", "null", "none", "unknown"}
_YES, _NO = {"true", "yes", "y", "1", "1.0", "t"}, {"false", "no", "n", "0", "0.0", "f"}
_LEAST, _MOST = 1e-3, 1e4
"""USD per million tokens between which a price is believed; outside it is probably in another unit."""


def build_catalogue(
    records: Iterable[Mapping[str, Any]],
    *,
    source: str = "records",
    where: str = "catalogue",
    price_unit: PriceUnit | None = None,
    free_prices: FreePrices = "unknown",
    lenient: bool = False,
) -> Catalogue:
    """A catalogue from one mapping per endpoint; see :func:`read_catalogue`.

    Args:
        records: Attribute (or a name of it that litellm or models.dev uses) to cell; None, empty and "unknown" are
            unknown. ``<attribute>.source`` may say where a cell is from.
        source: Where the facts are from.
        where: For messages.
        price_unit: Of columns whose names do not say it.
        free_prices: What a price of 0 means.
        lenient: A price that cannot be in its unit is unknown and noted, instead of refused.

    Raises:
        DataError: See :func:`read_catalogue`.
    """
    rows = [dict(record) for record in records]
    if not rows:
        raise DataError("The catalogue has no model", where=where)
    table = _Table(rows, where, lenient=lenient)
    ids, titles = table.names()
    reader = _Prices(table, ids, price_unit, free_prices, lenient=lenient)
    ordered: dict[str, Floats] = {}
    categories: dict[str, Any] = {}
    sets: dict[str, Any] = {}
    for column, name in table.known_columns():
        kind = attribute(name).kind
        if kind == "category":
            categories[name] = _coded(table.texts(column))
        elif kind == "set":
            sets[name] = _members(table.cells(column))
        elif name not in ordered or np.isnan(ordered[name]).all():
            ordered[name] = table.numbers(column, name)
    ordered |= reader.columns()
    table.comparable(ordered)
    _derive(table, ids, ordered, categories, sets)
    return Catalogue(
        ids, titles, {name: values for name, values in ordered.items() if not np.isnan(values).all()},
        categories, sets, source=source, as_of=table.as_of(), notes=tuple(table.notes),
        cell_sources=table.sources(),
    )  # fmt: skip


class _Table:
    """Records with the faults of their cells named by row and column."""

    def __init__(self, rows: list[dict[str, Any]], where: str, *, lenient: bool) -> None:
        self.rows, self.where, self.lenient, self.notes = rows, where, lenient, list[str]()
        self.all = list(dict.fromkeys(key for row in rows for key in row))

    def known_columns(self) -> list[tuple[str, str]]:
        """Columns we read, with the attribute each is."""
        found, dropped = [], []
        for column in self.all:
            name = ALIASES.get(column, column)
            if column in PRICES or column in _IGNORED or name == "model" or column.endswith((".source", ".as_of")):
                continue
            ours = name in ATTRIBUTES and (name not in DERIVED or name == "job_cost")
            if ours or (name.startswith(QUALITY) and len(name) > len(QUALITY)):
                found.append((column, name))
            else:
                dropped.append(column)
        if dropped:
            self.notes.append(f"Not read, because they are no attributes of a model: {', '.join(dropped)}")
        return found

    def cells(self, column: str) -> list[Any]:
        """Cells, None where unknown."""
        found = (row.get(column) for row in self.rows)
        return [None if cell is None or str(cell).strip().casefold() in _EMPTY else cell for cell in found]

    def texts(self, column: str) -> list[str | None]:
        """Cells as text."""
        return [None if cell is None else str(cell).strip() for cell in self.cells(column)]

    def numbers(self, column: str, name: str) -> Floats:
        """Cells of a flag, number or date."""
        kind = attribute(name).kind
        read = {"flag": _flag, "number": _number, "date": _day}[kind]
        values = np.full(len(self.rows), np.nan)
        for row, cell in enumerate(self.cells(column)):
            if cell is None:
                continue
            value = read(cell)
            if value is None:
                wanted = {"flag": "true, false or nothing", "number": "a number", "date": "a date (YYYY-MM-DD)"}[kind]
                at = f"{self.where}, row {row + 1}, column '{column}'"
                if self.lenient:
                    self.notes.append(f"'{cell}' is not {wanted}, so it is taken as unknown ({at})")
                    continue
                raise DataError(f"'{cell}' is not {wanted}", where=at, fix="Leave the cell empty if it is not known")
            values[row] = value
        if name in ("context", "max_output", "params_b", "tokens_per_s", "latency_ms"):
            values[values <= 0] = np.nan  # public tables write 0 for what they do not know
        if name.startswith(QUALITY) and (bad := values[(values < 0) | (values > 100)]).size:
            raise DataError(f"A score of {bad[0]:g} is not in 0 to 100", where=f"{self.where}, column '{column}'")
        return values

    def model_column(self) -> str:
        """The column that names the models."""
        column = next((each for each in self.all if ALIASES.get(each, each) == "model"), None)
        if column is None:
            shown = ", ".join(self.all[:8])
            raise DataError(f"The catalogue has no column 'model'; it has {shown}", where=self.where)
        return column

    def names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Ids and titles."""
        column = self.model_column()
        models, given = (
            self.texts(column),
            next((each for each in ("provider", "litellm_provider") if each in self.all), ""),
        )
        providers = self.texts(given)
        for row, model in enumerate(models, start=1):
            if model is None:
                raise DataError("A model has no name", where=f"{self.where}, row {row}")
        counts = Counter(models)
        ids = [
            model if counts[model] == 1 or provider is None else f"{provider}:{model}"
            for model, provider in zip(models, providers, strict=True)
        ]
        twice = [name for name, count in Counter(ids).items() if count > 1]
        if twice:
            fix = "Keep one row per endpoint, or tell them apart by 'provider'"
            raise DataError(f"The endpoint '{twice[0]}' is there more than once", where=self.where, fix=fix)
        titles = self.texts("name") if "name" in self.all else [None] * len(ids)
        return tuple(str(each) for each in ids), tuple(
            title or str(name) for title, name in zip(titles, ids, strict=True)
        )

    def comparable(self, ordered: dict[str, Floats]) -> None:
        """Scores of several sources cannot be compared: keep those of the commonest, and say so."""
        for name in [each for each in ordered if each.startswith(QUALITY)]:
            sources = [each or "" for each in self.texts(f"{name}.source")]
            counts = Counter(each for each, value in zip(sources, ordered[name], strict=True) if not math.isnan(value))
            if len(counts) > 1:
                kept = counts.most_common(1)[0][0]
                ordered[name] = np.where([each == kept for each in sources], ordered[name], np.nan)
                lost = sum(counts.values()) - counts[kept]
                self.notes.append(f"{name}: {lost} scores from other sources than '{kept}' are taken as unknown")

    def sources(self) -> dict[str, tuple[str | None, ...]]:
        """Where cells are from, where the table says."""
        columns = [each for each in self.all if each.endswith(".source")]
        return {each.removesuffix(".source"): tuple(self.texts(each)) for each in columns}

    def as_of(self) -> str | None:
        """The latest day the table gives for its facts."""
        return max((each for each in self.texts("as_of") if each), default=None) if "as_of" in self.all else None


class _Prices:
    """Columns of prices, all in USD per million tokens."""

    def __init__(
        self, table: _Table, ids: tuple[str, ...], unit: PriceUnit | None, free: FreePrices, *, lenient: bool
    ) -> None:
        self.table, self.ids, self.unit, self.free, self.lenient = table, ids, unit, free, lenient

    def columns(self) -> dict[str, Floats]:
        """Attribute to prices."""
        found: dict[str, Floats] = {}
        for column in self.table.all:
            if column in PRICES:
                name, unit = PRICES[column]
                values = self.table.numbers(column, name) * _PER_MILLION[unit or self.unit or "million"]
                found[name] = self._believed(column, values)
        nothing = [name for name in ("price_in", "price_out") if name in found]
        free = np.all([found[name] == 0 for name in nothing], axis=0) if nothing else np.zeros(len(self.ids), bool)
        called_free = np.array([name.endswith(":free") for name in self.ids])
        doubtful = free & ~called_free if self.free == "unknown" else np.zeros(len(self.ids), bool)
        if doubtful.any():
            for name in found:
                found[name] = np.where(doubtful, np.nan, found[name])
            self.table.notes.append(
                f"A price of 0 is taken as not known ({int(doubtful.sum())} of {len(self.ids)} models); --free-prices "
                "free believes it"
            )
        if called_free.any():
            self.table.notes.append(f"What is called ':free' is limited in its rate ({int(called_free.sum())} models)")
        return found

    def _believed(self, column: str, values: Floats) -> Floats:
        wrong = (values < 0) | ((values > 0) & ((values < _LEAST) | (values > _MOST)))
        if not wrong.any():
            return values
        row = int(np.flatnonzero(wrong)[0])
        if self.lenient:
            self.table.notes.append(
                f"{column}: {int(wrong.sum())} prices that cannot be per million tokens are taken as unknown, "
                f"for example {values[row]:.3g} of {self.ids[row]}"
            )
            return np.where(wrong, np.nan, values)
        if values[row] < 0:
            raise DataError("A price is negative", where=f"{self.table.where}, column '{column}', {self.ids[row]}")
        raise DataError(
            f"{values[row]:.3g} USD per million tokens cannot be the price of {self.ids[row]}: the unit has slipped",
            where=f"{self.table.where}, column '{column}'",
            fix="Say what the prices are for with --price-unit token, thousand or million",
        )


def _flag(cell: Any) -> float | None:
    text = str(cell).strip().casefold()
    return 1.0 if text in _YES else 0.0 if text in _NO else None


def _number(cell: Any) -> float | None:
    text = str(cell).strip().removeprefix("$").replace(",", "").replace("_", "")
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _day(cell: Any) -> float | None:
    """A day as its ordinal; a month or a year counts as its first day."""
    text = str(cell).strip()[:10]
    parts = text.split("-")
    try:
        return float(date.fromisoformat("-".join([*parts, "01", "01"][:3]) if len(parts) < 3 else text).toordinal())
    except ValueError:
        return None


def _coded(values: list[str | None]) -> tuple[Any, tuple[str, ...]]:
    vocabulary = {value: code for code, value in enumerate(sorted({value.casefold() for value in values if value}))}
    codes = [-1 if value is None else vocabulary[value.casefold()] for value in values]
    return np.array(codes, dtype=np.int32), tuple(vocabulary)


def _members(cells: list[Any]) -> tuple[Truth, tuple[str, ...]]:
    split = [None if cell is None else _parts(cell) for cell in cells]
    vocabulary = tuple(sorted({part for parts in split if parts for part in parts}))
    truth = np.full((len(cells), len(vocabulary)), -1, np.int8)
    for row, parts in enumerate(split):
        if parts is not None:
            truth[row] = [value in parts for value in vocabulary]
    return truth, vocabulary


def _parts(cell: Any) -> set[str]:
    parts = cell if isinstance(cell, list | tuple) else str(cell).replace(",", "|").replace(";", "|").split("|")
    return {str(part).strip().casefold() for part in parts if str(part).strip()}


def _brand(model: str) -> str | None:
    """Family of a model by its name."""
    words = model.casefold().rpartition("/")[2].partition(":")[0]
    pieces = words.replace("_", "-").replace(" ", "-").replace(".", "-").split("-")
    for family, (_, starts) in FAMILIES.items():
        if any(words.startswith(start) for start in starts):
            return family
    for family, (_, starts) in FAMILIES.items():
        if any(piece == start for piece in pieces for start in starts):
            return family
    return None


def _derive(
    table: _Table, ids: tuple[str, ...], ordered: dict[str, Floats], categories: dict[str, Any], sets: dict[str, Any]
) -> None:
    """Fill in what follows from other cells: flags from modalities, caching from its price, family, maker, vendor."""
    count = len(ids)
    if "modalities_in" in sets:
        cells, values = sets["modalities_in"]
        for flag, modality in (("vision", "image"), ("audio_in", "audio"), ("video_in", "video"), ("pdf", "pdf")):
            told = ordered.get(flag, np.full(count, np.nan))
            seen = cells[:, values.index(modality)] if modality in values else np.where(cells.max(axis=1) < 0, -1, 0)
            ordered[flag] = np.where(np.isnan(told), np.where(seen < 0, np.nan, seen), told)
    if "price_cached" in ordered:
        told = ordered.get("prompt_cache", np.full(count, np.nan))
        ordered["prompt_cache"] = np.where(np.isnan(told) & ~np.isnan(ordered["price_cached"]), 1.0, told)
    if "status" in table.all:
        status = table.texts("status")
        ordered.setdefault("deprecated", np.array([float(each == "deprecated") for each in status]))
    models = [str(name) for name in table.texts(table.model_column())]
    family = [_brand(name) for name in models]
    if "family" in categories:
        codes, values = categories["family"]
        own = [None if code < 0 else values[code] for code in codes]
        family = [
            brand or (_brand(given) or given if given else None) for brand, given in zip(family, own, strict=True)
        ]
    categories["family"] = _coded(family)
    if "maker" not in categories:
        categories["maker"] = _coded([_maker(name, brand) for name, brand in zip(models, family, strict=True)])
    codes, values = categories["maker"]
    makers = [None if code < 0 else company(values[code]) for code in codes]
    providers: list[str | None] = [None] * count
    if "provider" in categories:
        given, named = categories["provider"]
        providers = [None if code < 0 else company(named[code]) for code in given]
    vocabulary = tuple(sorted({name for name in (*makers, *providers) if name}))
    truth = np.zeros((count, len(vocabulary)), np.int8)
    for row, (maker, provider) in enumerate(zip(makers, providers, strict=True)):
        truth[row] = -1 if maker is None or (provider is None and "provider" in categories) else 0
        for name in (maker, provider):
            if name:
                truth[row, vocabulary.index(name)] = 1
    sets["vendor"] = (truth, vocabulary)


def _maker(name: str, family: str | None) -> str | None:
    if family in FAMILIES:
        return FAMILIES[family][0]
    path = name.split("/")
    known = {company(part) for part in path[:-1]} & {maker for maker, _ in FAMILIES.values()}
    return known.pop() if len(known) == 1 else None
