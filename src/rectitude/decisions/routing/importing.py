"""Catalogues from CSV, JSON, Parquet, and from the formats of litellm and models.dev."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from rectitude.core.errors import DataError, did_you_mean
from rectitude.decisions.routing.building import ALIASES, PRICES, FreePrices, PriceUnit, build_catalogue
from rectitude.decisions.routing.catalogue import Catalogue

Format = Literal["table", "litellm", "models.dev"]


def read_catalogue(
    path: str | Path,
    *,
    form: Format | None = None,
    price_unit: PriceUnit | None = None,
    free_prices: FreePrices = "unknown",
) -> Catalogue:
    """Read a catalogue of endpoints.

    Args:
        path: CSV, TSV, Parquet, JSON (a list of objects, or one with the key ``models``), or the JSON of litellm
            (``model_prices_and_context_window``) or models.dev (``api.json``); gzipped or not.
        form: What the file is, where it should not be found out.
        price_unit: Tokens the columns price_in, price_out and price_cached are for; a million if not said. Columns
            whose names say it (``input_cost_per_token``, ``cost_in``) are read by their names.
        free_prices: Whether a price of 0 is free or, as often in public tables, not known. Models called ``…:free``
            are free in any case.

    Raises:
        DataError: The file is missing, of no known form, names no model, names one twice, or has a price that cannot
            be in the unit it is given in.
    """
    path = Path(path)
    records, found = _records(path, form)
    if found == "litellm":
        records, source = _from_litellm(records), "litellm"
    elif found == "models.dev":
        records, source = _from_models_dev(records), "models.dev"
    else:
        source = path.name
    return build_catalogue(
        records, source=source, where=path.name, price_unit=price_unit, free_prices=free_prices,
        lenient=found != "table" or _is_models_dev_table(records),
    )  # fmt: skip


def _records(path: Path, form: Format | None) -> tuple[Any, Format]:
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except FileNotFoundError as error:
        near = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = did_you_mean(path.name, near)
        fix = hint if hint.startswith("Did") else "Check the path"
        raise DataError("There is no such catalogue", where=str(path), fix=fix) from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"The catalogue cannot be read: {error}", where=str(path)) from error
    if content[:4] == b"PAR1":
        import polars as pl

        try:
            return pl.read_parquet(io.BytesIO(content)).to_dicts(), "table"
        except pl.exceptions.PolarsError as error:
            raise DataError("The file is not Parquet, or it is cut off", where=str(path)) from error
    text = _text(content, path)
    if text.lstrip()[:1] in ("{", "["):
        return _from_json(text, path, form)
    return _from_text(text, path), "table"


def _text(content: bytes, path: Path) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError("The catalogue is not UTF-8 text", where=str(path), fix="Save it as CSV in UTF-8") from error
    if not text.strip():
        raise DataError("The catalogue is empty", where=str(path), fix="Give a table with a column 'model'")
    return text


def _from_json(text: str, path: Path, form: Format | None) -> tuple[Any, Format]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"The catalogue is not JSON: {error}", where=str(path)) from error
    if isinstance(value, dict) and isinstance(value.get("models"), list):
        value = value["models"]
    if isinstance(value, list):
        if not all(isinstance(entry, dict) for entry in value):
            raise DataError("Each model must be a JSON object", where=str(path))
        return value, form or "table"
    entries = [entry for entry in value.values() if isinstance(entry, dict)]
    if form is None and entries:
        nested = sum(isinstance(entry.get("models"), dict) for entry in entries)
        prices = sum("litellm_provider" in entry for entry in entries)
        form = "models.dev" if 2 * nested > len(entries) else "litellm" if 2 * prices > len(entries) else None
    if form not in ("litellm", "models.dev"):
        fix = "Give a list of objects with a 'model' each, or say --format litellm or models.dev"
        raise DataError("The JSON is no catalogue of a known form", where=str(path), fix=fix)
    return value, form


def _from_text(text: str, path: Path) -> list[dict[str, Any]]:
    head = text.splitlines()[0]
    separator = max(",;\t", key=head.count)
    rows = list(csv.reader(io.StringIO(text), delimiter=separator))
    names = [name.strip() for name in rows[0]]
    records = []
    for line, row in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(names):
            what = f"Line {line} has {len(row)} fields, and the head has {len(names)}"
            raise DataError(what, where=path.name, fix="Quote fields that hold the separator")
        records.append(dict(zip(names, row, strict=True)))
    return records


def _is_models_dev_table(records: list[dict[str, Any]]) -> bool:
    return bool(records) and {"cost_in", "cost_out", "input_modalities"} <= set(records[0])


def _from_litellm(entries: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Chat entries; ``supports_*`` is written mostly where true, so what is absent is unknown."""
    kept = []
    for name, entry in entries.items():
        if name == "sample_spec" or not isinstance(entry, dict) or entry.get("mode") not in ("chat", "responses"):
            continue
        record = {key: entry[key] for key in (*ALIASES, *PRICES) if key in entry}
        provider = entry.get("litellm_provider")
        bare = name.removeprefix(f"{provider}/")
        regions = entry.get("supported_regions")
        region = regions[0] if isinstance(regions, list) and len(regions) == 1 else None
        streams = True if entry.get("supports_native_streaming") else None
        kept.append({**record, "id": name, "name": bare, "region": region, "streaming": streams})
    return kept


def _from_models_dev(providers: Mapping[str, Any]) -> list[dict[str, Any]]:
    """``api.json``: a provider to its models; prices are per million tokens."""
    kept = []
    for provider, about in providers.items():
        for name, entry in (about.get("models") or {}).items() if isinstance(about, dict) else ():
            if not isinstance(entry, dict):
                continue
            cost, limit, modalities = (entry.get(key) or {} for key in ("cost", "limit", "modalities"))
            kept.append(
                {
                    **{key: entry.get(key) for key in ("name", "family", "release_date", "knowledge", "open_weights")},
                    **{key: entry.get(key) for key in ("reasoning", "tool_call", "structured_output", "status")},
                    "provider": provider, "model": name,
                    "context": limit.get("context"), "max_output": limit.get("output"),
                    "cost_in": cost.get("input"), "cost_out": cost.get("output"),
                    "cost_cache_read": cost.get("cache_read"),
                    "input_modalities": modalities.get("input"), "output_modalities": modalities.get("output"),
                }
            )  # fmt: skip
    return kept
