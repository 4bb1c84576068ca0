"""From a table with named columns to a Dataset: ids numbered, events ordered, attributes aligned, faults named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from rectitude.core.errors import DataError
from rectitude.data.columnmap import id_column, map_columns, with_title
from rectitude.data.columns import (
    BEHAVIOR,
    ITEM,
    ITEM_ID,
    POSITION,
    RATING,
    SCENARIO,
    SESSION,
    SPLIT,
    TIMESTAMP,
    USER,
    USER_ID,
)
from rectitude.data.dataset import Dataset
from rectitude.data.place import Source
from rectitude.data.times import parse_times

Duplicates = Literal["error", "drop", "keep"]

_MISSING = ("", "nan", "NaN", "NAN", "null", "NULL", "None", "<NA>")
_WHOLE = r"^-?\d+$"
_WHOLE_AS_DECIMAL = r"^-?\d+\.0$"


@dataclass
class Tables:
    """What a reader found: interactions, and the tables of users and items where there are any."""

    interactions: Source
    users: Source | None = None
    items: Source | None = None
    columns: Mapping[str, str | None] | None = None
    notes: list[str] = field(default_factory=list)


def assemble(tables: Tables, name: str, *, duplicates: Duplicates = "error", time_format: str | None = None) -> Dataset:
    """Build the dataset.

    Users and items take the order of their table where there is one; those it lacks follow in the order of their ids.

    Args:
        tables: What was read.
        name: What to call the data.
        duplicates: What to do with a row that repeats an earlier one's user, item and time.
        time_format: strftime pattern of text times that could be read in more than one way.

    Raises:
        DataError: A column or value cannot be used; says which and where.
    """
    if duplicates not in ("error", "drop", "keep"):
        raise DataError(f"duplicates='{duplicates}' is unknown", where="duplicates", fix="Use error, drop or keep")
    source = tables.interactions
    mapping, notes = map_columns(source.frame, tables.columns, where=source.name)
    notes = [*tables.notes, *source.notes, *notes]
    if not len(source.frame):
        raise DataError("The table has no rows", where=source.name, fix="Give at least a few interactions")

    numbered: dict[str, npt.NDArray[np.int32]] = {}
    described: dict[str, pl.DataFrame] = {}
    for part, table in ((USER, tables.users), (ITEM, tables.items)):
        ids, said = read_ids(source, mapping[part], part)
        numbered[part], described[part], more = _number(ids, part, table, mapping[part])
        notes += said + more

    columns: dict[str, Any] = dict(numbered)
    order_by, time, seconds, said = _order(source, mapping, time_format)
    notes += said
    if seconds is not None:
        columns[TIMESTAMP] = seconds
    if RATING in mapping:
        columns[RATING] = _ratings(source, mapping[RATING], notes)
    for part in (SPLIT, BEHAVIOR, SESSION, SCENARIO):
        if part in mapping:
            columns[part] = source.frame[mapping[part]].cast(pl.String)
    interactions = pl.DataFrame(columns)
    _check_times(source, mapping, interactions, time)

    repeated = _repeated(interactions, order_by, len(described[ITEM]))
    keep = _without_duplicates(source, mapping, interactions, repeated, duplicates, notes)
    extras = [column for column in source.frame.columns if column not in mapping.values()]
    _spread(source.frame.select(extras), numbered, described, notes)

    described[ITEM], said = with_title(described[ITEM])
    interactions = _sorted(interactions, order_by, keep)
    return Dataset(
        name, interactions, described[USER], described[ITEM], source={"time": time}, notes=tuple(notes + said)
    )


def read_ids(source: Source, column: str, part: str) -> tuple[pl.Series, list[str]]:
    """A column of ids as text; whole numbers never with '.0'.

    Raises:
        DataError: An id is missing, or the column holds something that is no id.
    """
    values = source.frame[column]
    if values.dtype.is_nested() or values.dtype == pl.Boolean:
        raise DataError(
            f"Column '{column}' holds {values.dtype}, not {part} ids", where=source.name, fix="Name another: columns="
        )
    if values.dtype.is_float():
        _refuse_first(source, column, part, values.is_null() | values.is_nan() | values.is_infinite())
        broken = (values != values.floor()) | (values.abs() >= 2**63)
        if broken.any():
            row = int(broken.arg_max() or 0)
            raise DataError(
                f"{values[row]} is no {part} id", where=source.at(row, column), fix="Ids are text or whole numbers"
            )
        return values.cast(pl.Int64).cast(pl.String), []
    if values.dtype.is_integer():
        _refuse_first(source, column, part, values.is_null())
        return values.cast(pl.String), []
    values = values.cast(pl.String)
    distinct = values.unique()
    if distinct.null_count() or distinct.is_in(_MISSING).any():
        _refuse_first(source, column, part, values.is_null() | values.is_in(_MISSING).fill_null(value=True))
    if (distinct != distinct.str.strip_chars()).any():
        values = values.str.strip_chars()
        return values, [f"Blanks around the ids of '{column}' are left out"]
    if distinct.str.contains(_WHOLE_AS_DECIMAL).all():
        return values.str.strip_suffix(".0"), [f"Ids of '{column}' are written as decimals; '.0' is left out"]
    return values, []


def _refuse_first(source: Source, column: str, part: str, missing: pl.Series) -> None:
    if count := int(missing.sum()):
        row = int(missing.arg_max() or 0)
        raise DataError(
            f"{count} of {len(missing)} rows have no {part} id, the first of them here",
            where=source.at(row, column),
            fix="Fill the id in or leave the row out",
        )


def _number(
    ids: pl.Series, part: str, table: Source | None, column: str
) -> tuple[npt.NDArray[np.int32], pl.DataFrame, list[str]]:
    """Numbers of the ids, the table in that order, and what had to be dropped or filled with nulls."""
    id_name = USER_ID if part == USER else ITEM_ID
    distinct = ids.unique()
    if table is None:
        order = natural_order(distinct).alias(id_name)
        return _codes(ids, order), order.to_frame(), []
    known = _described(table, part, column, id_name)
    kept = known.filter(known[id_name].is_in(distinct.implode()))
    rest = distinct.filter(~distinct.is_in(known[id_name].implode()))
    frame = pl.concat([kept, natural_order(rest).alias(id_name).to_frame()], how="diagonal")
    notes = []
    if unused := len(known) - len(kept):
        notes.append(f"{unused} described {part}s without interactions are left out")
    if len(rest):
        notes.append(f"{len(rest)} {part}s with interactions are not described")
    return _codes(ids, frame[id_name]), frame, notes


def _codes(ids: pl.Series, order: pl.Series) -> npt.NDArray[np.int32]:
    return ids.cast(pl.Enum(order)).to_physical().to_numpy().astype(np.int32)


def natural_order(ids: pl.Series) -> pl.Series:
    """Distinct ids sorted: as numbers where all are whole numbers that fit 64 bits, otherwise as text."""
    numbers = ids.cast(pl.Int64, strict=False)
    if numbers.null_count() or not ids.str.contains(_WHOLE).all():
        return ids.sort()
    return pl.DataFrame({"number": numbers, "id": ids}).sort("number", "id")["id"]


def _described(table: Source, part: str, column: str, id_name: str) -> pl.DataFrame:
    """The users or items table with its id first, as text, each once."""
    id_here = id_column(table.frame, part, column, where=table.name)
    ids, _ = read_ids(table, id_here, part)
    twice = ids.is_duplicated()
    if twice.any():
        row = int(twice.arg_max() or 0)
        raise DataError(
            f"{part.capitalize()} '{ids[row]}' is described twice", where=table.at(row, id_here), fix="Keep one row"
        )
    others = [name for name in table.frame.columns if name not in (id_here, id_name)]
    return table.frame.select(ids.alias(id_name), *others)


def _order(
    source: Source, mapping: Mapping[str, str], time_format: str | None
) -> tuple[pl.Series | None, str, pl.Series | None, list[str]]:
    """What orders a user's events, what kind of time that is, and the ``timestamp`` column."""
    if TIMESTAMP in mapping:
        exact, seconds, notes = parse_times(source, mapping[TIMESTAMP], time_format=time_format)
        return exact, "timestamp", seconds, notes
    if POSITION in mapping:
        column = mapping[POSITION]
        position = _stripped(source.frame[column]).cast(pl.Int64, strict=False)
        if position.null_count():
            row = int(position.is_null().arg_max() or 0)
            raise DataError(
                f"Position '{source.frame[column][row]}' is not a whole number",
                where=source.at(row, column),
                fix="Number each user's events from the oldest on",
            )
        return position, "position", position, []
    return None, "order", None, ["No column gives the time: the order of the rows is taken for the order of events"]


def _stripped(values: pl.Series) -> pl.Series:
    return values.str.strip_chars() if values.dtype == pl.String else values


def _ratings(source: Source, column: str, notes: list[str]) -> pl.Series:
    values = _stripped(source.frame[column])
    ratings = values.cast(pl.Float32, strict=False)
    wrong = ratings.is_null() & values.is_not_null()
    if wrong.any():
        row = int(wrong.arg_max() or 0)
        raise DataError(
            f"Rating '{values[row]}' is not a number",
            where=source.at(row, column),
            fix="Correct it, or leave ratings out: columns={'rating': None}",
        )
    ratings = ratings.fill_nan(None)
    if ratings.null_count():
        notes.append(f"{ratings.null_count()} interactions have no rating")
    return ratings


def _check_times(source: Source, mapping: Mapping[str, str], interactions: pl.DataFrame, time: str) -> None:
    """A missing time is accepted only on rows that a split column marks as test: they come last anyway."""
    if time != "timestamp":
        return
    missing = interactions[TIMESTAMP].is_null()
    if SPLIT in interactions.columns:
        missing &= (interactions[SPLIT] != "test").fill_null(value=True)
    if missing.any():
        raise DataError(
            f"{missing.sum()} of {len(missing)} interactions have no timestamp, the first of them here",
            where=source.at(int(missing.arg_max() or 0), mapping[TIMESTAMP]),
            fix="Fill the times in, leave the rows out, or go by the order of the rows: columns={'timestamp': None}",
        )


def _repeated(interactions: pl.DataFrame, order_by: pl.Series | None, n_items: int) -> pl.Series:
    """bool [n_interactions], rows that repeat an earlier one's user, item, time and behaviour."""
    pair = interactions[USER].cast(pl.Int64) * n_items + interactions[ITEM]
    suspects = pair.is_duplicated()
    if not suspects.any():
        return suspects
    keys = pl.DataFrame({"pair": pair, "row": np.arange(len(pair))})
    if order_by is not None:
        keys = keys.with_columns(order_by.alias("time"))
    keys = keys.with_columns(interactions[part] for part in (BEHAVIOR, SESSION) if part in interactions.columns)
    kept = keys.filter(suspects).unique(subset=[name for name in keys.columns if name != "row"], keep="first")["row"]
    first = ~suspects.to_numpy()
    first[kept.to_numpy()] = True
    return pl.Series(~first)


def _without_duplicates(
    source: Source,
    mapping: Mapping[str, str],
    interactions: pl.DataFrame,
    repeated: pl.Series,
    duplicates: Duplicates,
    notes: list[str],
) -> pl.Series | None:
    """Which rows to keep, None for all."""
    if not (count := int(repeated.sum())):
        return None
    what = "user, item and time" if TIMESTAMP in interactions.columns else "user and item"
    if duplicates == "error":
        row = int(repeated.arg_max() or 0)
        user, item = (source.frame[mapping[part]][row] for part in (USER, ITEM))
        raise DataError(
            f"{count} rows repeat an earlier one's {what}, first user '{user}' with item '{item}'",
            where=source.at(row),
            fix="Say what to do with them: duplicates='drop' or 'keep' (--duplicates drop|keep)",
        )
    notes.append(
        f"{count} rows that repeat an earlier one's {what} are {'dropped' if duplicates == 'drop' else 'kept'}"
    )
    return ~repeated if duplicates == "drop" else None


def _spread(
    extras: pl.DataFrame,
    numbered: Mapping[str, npt.NDArray[np.int32]],
    described: dict[str, pl.DataFrame],
    notes: list[str],
) -> None:
    """Columns that say one thing per item, or per user, become attributes; what is left is dropped and said."""
    dropped = []
    for column in extras:
        for part in (ITEM, USER):
            if column.name in described[part].columns:
                continue
            first = np.zeros(len(described[part]), np.int64)
            first[numbered[part][::-1]] = np.arange(len(column))[::-1]
            values = column.gather(first)
            if values.gather(numbered[part]).equals(column):
                described[part] = described[part].with_columns(values)
                notes.append(f"Column '{column.name}' says one thing per {part} and is kept as its attribute")
                break
        else:
            dropped.append(column.name)
    if dropped:
        notes.append(f"Columns not used: {', '.join(dropped)}")


def _sorted(interactions: pl.DataFrame, order_by: pl.Series | None, keep: pl.Series | None) -> pl.DataFrame:
    """Rows by user, then time (missing last), then the order of the source."""
    user = interactions[USER].to_numpy()
    if order_by is None:
        order = np.argsort(user, kind="stable")
    else:
        last = np.iinfo(np.int64).max if order_by.dtype.is_integer() else np.inf
        order = np.lexsort((order_by.fill_null(last).to_numpy(), user))
    if keep is not None:
        order = order[keep.to_numpy()[order]]
    return interactions[order]
