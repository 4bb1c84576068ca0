"""Which column of a table plays which part: named by the caller, or guessed from names and types and said."""

from __future__ import annotations

import re
from collections.abc import Mapping

import polars as pl

from rectitude.core.errors import DataError, did_you_mean
from rectitude.data.columns import (
    BEHAVIOR,
    ITEM,
    POSITION,
    RATING,
    SCENARIO,
    SESSION,
    SPLIT,
    TIMESTAMP,
    TITLE,
    USER,
)

NAMES: dict[str, tuple[str, ...]] = {
    USER: (
        *("user", "userid", "uid", "userno", "customer", "customerid", "clientid", "memberid", "reviewerid"),
        *("visitorid", "accountid", "personid", "readerid", "listenerid", "buyerid"),
    ),
    ITEM: (
        *(
            "item",
            "itemid",
            "iid",
            "itemno",
            "product",
            "productid",
            "movie",
            "movieid",
            "filmid",
            "artistid",
            "trackid",
        ),
        *("songid", "bookid", "isbn", "asin", "parentasin", "articleid", "newsid", "videoid", "businessid", "placeid"),
        *("locationid", "poiid", "venueid", "gameid", "recipeid", "courseid", "sku", "goodsid"),
    ),
    TIMESTAMP: (
        *("timestamp", "time", "ts", "datetime", "date", "unixtime", "unixreviewtime", "reviewtime", "eventtime"),
        *("createdat", "visittime", "ratedat", "epoch"),
    ),
    POSITION: ("position", "pos", "step"),
    RATING: ("rating", "ratings", "stars", "score", "value", "weight"),
    SPLIT: ("split", "fold"),
    BEHAVIOR: ("behavior", "behaviour", "behaviortype", "event", "eventtype", "action", "actiontype"),
    SESSION: ("session", "sessionid"),
    SCENARIO: ("scenario", "scenarioid"),
}
"""Part to the column names that are taken for it, letters and digits only, the most usual first."""

TITLES = ("title", "movietitle", "itemtitle", "itemname", "productname", "name", "text")
"""Names of item columns that can be shown to a person, best first."""

_UNNAMED = re.compile(r"column_\d+")
_NUMBER = re.compile(r"\s*[-+]?\d+(\.\d+)?([eE][-+]?\d+)?\s*")


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _named(columns: list[str], names: tuple[str, ...], taken: set[str]) -> str | None:
    by_plain = {_plain(column): column for column in reversed(columns) if column not in taken}
    return next((by_plain[name] for name in names if name in by_plain), None)


def is_header(cells: list[str]) -> bool:
    """Whether a first line names columns: one of its cells is a usual name, or none is a number."""
    if any(_plain(cell) in (*NAMES[USER], *NAMES[ITEM]) for cell in cells):
        return True
    return not any(_NUMBER.fullmatch(cell) for cell in cells)


def map_columns(
    frame: pl.DataFrame, chosen: Mapping[str, str | None] | None, *, where: str
) -> tuple[dict[str, str], list[str]]:
    """Decide which column is the user, the item, the time and so on.

    Args:
        frame: The interactions as read.
        chosen: Part to column name as the caller gave it; None instead of a name leaves the part out.
        where: File or frame, for messages.

    Returns:
        Part to column name, and a sentence on what was guessed (none where every column bears its usual name).

    Raises:
        DataError: A part is unknown, a named column is missing, or user or item cannot be told.
    """
    chosen = dict(chosen or {})
    _check_choice(frame.columns, chosen, where)
    mapping = {part: column for part, column in chosen.items() if column is not None}
    if all(_UNNAMED.fullmatch(column) for column in frame.columns):
        guessed = _by_place(frame, mapping, chosen)
    else:
        guessed = _by_name(frame, mapping, chosen)
    mapping |= guessed
    for part in (USER, ITEM):
        if part not in mapping:
            raise DataError(
                f"No column can be taken for the {part}; the columns are {', '.join(frame.columns)}",
                where=where,
                fix=_suggest(part, frame.columns),
            )
    notes = []
    if unusual := [f"{part} = '{column}'" for part, column in guessed.items() if _plain(column) not in _usual(part)]:
        notes.append(f"Columns guessed: {', '.join(unusual)}")
    if TIMESTAMP in mapping and POSITION in mapping:
        unused = mapping.pop(TIMESTAMP if POSITION in chosen and TIMESTAMP not in chosen else POSITION)
        notes.append(f"Column '{unused}' is not used: another column gives the order")
    return mapping, notes


def _usual(part: str) -> tuple[str, ...]:
    return (part, f"{part}id")


def _check_choice(columns: list[str], chosen: Mapping[str, str | None], where: str) -> None:
    for part, column in chosen.items():
        if part not in NAMES:
            raise DataError(f"'{part}' is not a part a column can play", where="columns", fix=did_you_mean(part, NAMES))
        if column is not None and column not in columns:
            raise DataError(
                f"There is no column '{column}' for the {part}", where=where, fix=did_you_mean(column, columns)
            )
    named = [column for column in chosen.values() if column is not None]
    if twice := next((column for column in named if named.count(column) > 1), None):
        raise DataError(f"Column '{twice}' is named for two parts", where="columns", fix="Name each column once")


def _by_name(frame: pl.DataFrame, mapping: dict[str, str], chosen: Mapping[str, str | None]) -> dict[str, str]:
    taken = set(mapping.values())
    guessed: dict[str, str] = {}
    for part, names in NAMES.items():
        if part in chosen:
            continue
        column = _named(frame.columns, names, taken)
        if column is None and part == TIMESTAMP:
            dated = [name for name, dtype in frame.schema.items() if dtype in (pl.Date, pl.Datetime)]
            column = dated[0] if len(dated) == 1 and dated[0] not in taken else None
        if column is not None:
            guessed[part] = column
            taken.add(column)
    return guessed


def _by_place(frame: pl.DataFrame, mapping: dict[str, str], chosen: Mapping[str, str | None]) -> dict[str, str]:
    """Without a header: user, item, then rating and timestamp told apart by their size."""
    free = [column for column in frame.columns if column not in mapping.values()]
    guessed: dict[str, str] = {}
    for part in (USER, ITEM):
        if part not in chosen and free:
            guessed[part] = free.pop(0)
    for column in free:
        largest = frame[column].head(1000).cast(pl.Float64, strict=False).max()
        if largest is None:
            continue
        part = TIMESTAMP if isinstance(largest, float) and largest >= 1e8 else RATING
        if part not in chosen and part not in guessed:
            guessed[part] = column
    return guessed


def _suggest(part: str, columns: list[str]) -> str:
    near = did_you_mean(part, columns)
    guess = near.split("'")[1] if near.startswith("Did") else "NAME"
    question = f"{near} " if near.startswith("Did") else ""
    return f"{question}Say which it is: columns={{'{part}': '{guess}'}}, or --columns {part}={guess}"


def id_column(frame: pl.DataFrame, part: str, name_in_interactions: str | None, *, where: str) -> str:
    """The column of a users or items table that holds the id.

    Raises:
        DataError: There is none.
    """
    if name_in_interactions in frame.columns:
        return str(name_in_interactions)
    column = _named(frame.columns, NAMES[part], set())
    if column is None:
        raise DataError(
            f"The {part}s table has no id column; its columns are {', '.join(frame.columns)}",
            where=where,
            fix=f"Call it '{part}_id'",
        )
    return column


def with_title(items: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """The items table with a ``title`` column where one can be told, and a sentence if it was guessed."""
    column = _named(items.columns[1:], TITLES, set())
    if column is None or column == TITLE or items[column].dtype != pl.String:
        return items, []
    return items.with_columns(pl.col(column).alias(TITLE)), [f"Item titles are taken from column '{column}'"]
