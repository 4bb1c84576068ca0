"""Survey tables in: a file or a frame as columns of numbers and labels, and the rows a schema keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from rectitude.core.errors import DataError, did_you_mean
from rectitude.data.textfiles import read_bytes, read_text_table
from rectitude.decisions.plans.conditions import Answer, Condition, spoken
from rectitude.decisions.plans.schema import Schema

ROW = "row"
"""Name under which rows are known where the table has no id."""
_MISSING = ("", "?", "NA", "N/A", "nan", "NaN", "null")
"""How tables write that there is no answer; 'None' is an answer."""
_TABLES = (".parquet", ".pq", ".csv", ".tsv", ".txt", ".gz")


@dataclass(frozen=True)
class People:
    """Rows that can be learnt from.

    Attributes:
        ids: Name of each row, as text, n of them.
        answers: One column per feature and household, Float64 or String; n rows.
        good: 1 where the outcome is the wanted one, int8 [n].
        notes: What was dropped, one sentence each.
    """

    ids: list[str]
    answers: pl.DataFrame
    good: np.ndarray
    notes: tuple[str, ...]


def read_survey(table: str | Path | Any) -> tuple[pl.DataFrame, list[str]]:
    """Read a table as columns of numbers (Float64) and labels (String), with what was guessed on the way.

    Times of day become hours after noon, so that midnight is 12 and one o'clock follows it.

    Args:
        table: A CSV, TSV or Parquet file, a folder with ``data.parquet``, or a polars or pandas frame.

    Raises:
        DataError: It is missing, unreadable or empty.
    """
    notes: list[str] = []
    if isinstance(table, str | Path):
        frame = _read_file(Path(table), notes)
    elif isinstance(table, pl.DataFrame):
        frame = table
    elif hasattr(table, "columns") and hasattr(table, "to_dict"):
        frame = pl.from_pandas(table)
    else:
        raise DataError(f"A {type(table).__name__} is not a table", fix="Give a path, or a pandas or polars frame")
    if not len(frame) or not frame.width:
        raise DataError("The table has no rows", where=str(table) if isinstance(table, str | Path) else "the frame")
    return frame.select(_plain(frame[name], notes) for name in frame.columns), notes


def _read_file(path: Path, notes: list[str]) -> pl.DataFrame:
    path = path.expanduser()
    if path.is_dir():
        path = path / "data.parquet"
    if not path.is_file():
        beside = path.parent
        near = [entry.name for entry in beside.iterdir()] if beside.is_dir() else []
        hint = did_you_mean(path.name, near)
        raise DataError("There is no such table", where=str(path), fix=hint if hint.startswith("Did") else None)
    with path.open("rb") as file:
        parquet = file.read(4) == b"PAR1"
    try:
        if parquet:
            return pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise DataError("The file is not Parquet, or it is cut off", where=str(path), fix="Write it again") from error
    source = read_text_table(path, read_bytes(path, "utf-8"))
    notes += source.notes
    return source.frame


def _plain(column: pl.Series, notes: list[str]) -> pl.Series:
    """A column as numbers or labels."""
    kind = column.dtype
    if kind in (pl.Datetime, pl.Time):
        notes.append(f"Column '{column.name}' is read as hours after noon")
        times = column.dt.time() if kind == pl.Datetime else column
        hours = times.cast(pl.Int64).cast(pl.Float64) / 3.6e12
        return ((hours - 12.0) % 24.0).alias(column.name)
    if kind.is_numeric():
        numbers = column.cast(pl.Float64)
        return numbers.set(~numbers.is_finite(), None)
    if kind == pl.Boolean:
        return column.cast(pl.String)
    text = column.cast(pl.String).str.strip_chars()
    text = text.set(text.is_in(_MISSING), None)
    numbers = text.cast(pl.Float64, strict=False)
    whole = text.null_count() < len(text) and numbers.null_count() == text.null_count() and numbers.is_finite().all()
    return numbers if whole else text


def clean(table: pl.DataFrame, schema: Schema, *, where: str = "the table", known: bool = True) -> People:
    """The rows that can be learnt from, as the schema says.

    Args:
        table: As :func:`read_survey` gives it.
        schema: What it means.
        where: The table's name, for messages.
        known: Keep only rows whose outcome is known, each respondent once.

    Raises:
        DataError: A column is missing, no row is left, or all outcomes are the same.
    """
    used = schema.used()
    notes: list[str] = []
    needed = [*used, *([schema.target.column] if known else []), *([schema.household] if schema.household else [])]
    needed += [Condition.parse(text, where="keep").name for text in schema.keep] if known else []
    for name in dict.fromkeys(needed):
        if name not in table.columns:
            raise DataError(f"The table has no column '{name}'", where=where, fix=did_you_mean(name, table.columns))
    id_column = schema.id_column()
    ids = pl.Series(ROW, [str(number) for number in range(len(table))])
    if id_column is not None and id_column in table.columns:
        ids = pl.Series(ROW, [spoken(value) for value in table[id_column]])
        if ids.n_unique() < len(ids):
            raise DataError(f"Column '{id_column}' names two rows alike", where=where, fix="Give it another role")
    table = table.with_columns(ids.alias("\0id"))
    if known:
        table = _kept(table, schema, notes)
        table = _once(table, [name for name in table.columns if name not in ("\0id", id_column)], notes)
    good = np.zeros(len(table), dtype=np.int8)
    if known:
        good = _outcome(table, schema, where)
    names = [*used, *([schema.household] if schema.household and schema.household not in used else [])]
    return People(table["\0id"].to_list(), table.select(names), good, tuple(notes))


def _kept(table: pl.DataFrame, schema: Schema, notes: list[str]) -> pl.DataFrame:
    before = len(table)
    for text in schema.keep:
        condition = Condition.parse(text, where="keep")
        kept = [value is not None and condition.holds(value) for value in table[condition.name].to_list()]
        table = table.filter(pl.Series(kept, dtype=pl.Boolean))
    if len(table) < before:
        notes.append(f"{before - len(table):,} of {before:,} rows are left out by 'keep'")
    unknown = table[schema.target.column].null_count()
    if unknown:
        notes.append(f"{unknown:,} rows without an answer to '{schema.target.column}' are left out")
    return table.filter(table[schema.target.column].is_not_null())


def _once(table: pl.DataFrame, columns: list[str], notes: list[str]) -> pl.DataFrame:
    """Exact copies leak from one fold into another."""
    once = table.unique(subset=columns, keep="first", maintain_order=True)
    if len(once) < len(table):
        notes.append(f"{len(table) - len(once):,} exact copies of other rows are left out")
    return once


def _outcome(table: pl.DataFrame, schema: Schema, where: str) -> np.ndarray:
    condition, column = schema.target.condition(), schema.target.column
    values = table[column].to_list()
    verdict = {value: schema.target.is_good(value) for value in set(values)}
    good = np.array([verdict[value] for value in values], dtype=np.int8)
    if len(good) < 50:
        raise DataError(f"{len(good)} rows are too few to learn from", where=where, fix="Give 50 at least")
    least = int(min(good.sum(), len(good) - good.sum()))
    if least < 10:
        some: list[Answer] = sorted(verdict, key=str)[:8]
        raise DataError(
            f"Only {least} of {len(good):,} rows have {'the' if good.mean() < 0.5 else 'another than the'} outcome "
            f"'{condition}'",
            where=where,
            fix=f"Set target.good (--good); '{column}' holds {', '.join(spoken(value) for value in some)}",
        )
    return good


def answers_of(values: Mapping[str, Any], schema: Schema, *, where: str) -> dict[str, Answer | None]:
    """One person's answers, checked by name; those not given are missing.

    Raises:
        DataError: A name is no column, or a value is neither a number nor a label.
    """
    allowed = [*schema.features, schema.target.column]
    for name, value in values.items():
        if name not in allowed:
            raise DataError(f"There is no question '{name}'", where=where, fix=did_you_mean(name, allowed))
        if not isinstance(value, str | int | float | None):
            raise DataError(f"The answer to '{name}' is no number or label", where=where, fix="Give one value")
    found: dict[str, Answer | None] = {}
    for name in schema.used():
        value = values.get(name)
        if isinstance(value, bool):
            value = str(value).lower()
        elif isinstance(value, int):
            value = float(value)
        found[name] = None if isinstance(value, str) and value.strip() in _MISSING else value
    return found
