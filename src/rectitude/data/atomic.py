"""Atomic files of RecBole: tab-separated tables whose header carries types (``user_id:token``)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePath

import polars as pl

from rectitude.core.errors import DataError, did_you_mean
from rectitude.data.place import Source
from rectitude.data.textfiles import read_bytes, read_text_table

_TYPES = ("token", "token_seq", "float", "float_seq")
_WRITTEN = ("title", "name", "text", "description")
"""Word sequences whose column speaks of these are text to read, not a set of labels."""


def read_atomic(path: Path, *, encoding: str = "utf-8") -> Source:
    """Read one ``.inter``, ``.user`` or ``.item`` file.

    Raises:
        DataError: The header lacks types, or a type is unknown.
    """
    return parse_atomic(path, read_bytes(path, encoding))


def parse_atomic(path: PurePath, content: bytes) -> Source:
    """The same from the file's content."""
    source = read_text_table(path, content, separator="\t", quoted=False)
    columns = []
    for header in source.frame.columns:
        name, colon, kind = header.rpartition(":")
        if not colon or kind not in _TYPES:
            raise DataError(
                f"Column '{header}' has no type that an atomic file can have",
                where=f"{path.name}, line 1",
                fix=f"Write it as name:type; {did_you_mean(kind, _TYPES)}",
            )
        columns.append(_typed(source, header, name, kind))
    return replace(source, frame=pl.DataFrame(columns))


def _typed(source: Source, header: str, name: str, kind: str) -> pl.Series:
    values = source.frame[header].alias(name)
    if kind == "token" or (kind == "token_seq" and any(word in name.lower() for word in _WRITTEN)):
        return values
    if kind == "token_seq":
        return values.str.split(" ")
    numbers = values.str.split(" ").cast(pl.List(pl.Float64), strict=False) if kind == "float_seq" else None
    if numbers is not None:
        return numbers
    parsed = values.cast(pl.Float64, strict=False)
    wrong = parsed.is_null() & values.is_not_null()
    if wrong.any():
        row = int(wrong.arg_max() or 0)
        raise DataError(f"'{values[row]}' is not a number", where=source.at(row, header), fix="Correct the value")
    return parsed
