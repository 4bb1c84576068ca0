"""Publishers' own files to the tables every known set has."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

import polars as pl

from rectitude.data.atomic import parse_atomic
from rectitude.data.columns import ITEM_ID, RATING, TIMESTAMP, TITLE, USER_ID

_AGES = {1: "under 18", 18: "18-24", 25: "25-34", 35: "35-44", 45: "45-49", 50: "50-55", 56: "56+"}
_OCCUPATIONS = (
    *("other", "academic/educator", "artist", "clerical/admin", "college/grad student", "customer service"),
    *("doctor/health care", "executive/managerial", "farmer", "homemaker", "K-12 student", "lawyer", "programmer"),
    *("retired", "sales/marketing", "scientist", "self-employed", "technician/engineer", "tradesman/craftsman"),
    *("unemployed", "writer"),
)


@dataclass(frozen=True)
class Frames:
    """The three tables, ids as integers, before they are written."""

    interactions: pl.DataFrame
    users: pl.DataFrame
    items: pl.DataFrame


def _events(frame: pl.DataFrame) -> pl.DataFrame:
    """Columns in order: user, item, rating, time."""
    types = {USER_ID: pl.Int32, ITEM_ID: pl.Int32, RATING: pl.Int8, TIMESTAMP: pl.Int64}
    return frame.select(
        frame[column].cast(pl.Float64).cast(dtype).alias(name)
        for column, (name, dtype) in zip(frame.columns, types.items(), strict=True)
    )


def _lines(archive: zipfile.ZipFile, member: str, separator: str) -> list[list[str]]:
    return [line.split(separator) for line in archive.read(member).decode("latin-1").splitlines() if line]


def _columns(rows: list[list[str]], names: list[str]) -> pl.DataFrame:
    return pl.DataFrame([row[: len(names)] for row in rows], schema=dict.fromkeys(names, pl.String), orient="row")


def _titled(items: pl.DataFrame) -> pl.DataFrame:
    """``Toy Story (1995)`` as title and year."""
    written = items[TITLE].str.strip_chars()
    return items.with_columns(
        written.str.replace(r"\s*\(\d{4}\)$", "").alias(TITLE),
        written.str.extract(r"\((\d{4})\)$").cast(pl.Int16).alias("year"),
    )


def ml_100k_wheel(archive: zipfile.ZipFile) -> Frames:
    """MovieLens 100K as the recbole wheel carries it."""
    folder = PurePosixPath("recbole/dataset_example/ml-100k")

    def table(suffix: str) -> pl.DataFrame:
        path = folder / f"ml-100k.{suffix}"
        return parse_atomic(path, archive.read(str(path))).frame

    users = table("user").rename({"zip_code": "zip"})
    items = table("item").rename({"movie_title": TITLE, "release_year": "year", "class": "genres"})
    return Frames(
        _events(table("inter")),
        users.with_columns(pl.col(USER_ID).cast(pl.Int32), pl.col("age").cast(pl.Int16)),
        items.with_columns(pl.col(ITEM_ID).cast(pl.Int32), pl.col("year").cast(pl.Int16, strict=False)),
    )


def ml_100k_zip(archive: zipfile.ZipFile) -> Frames:
    """MovieLens 100K as GroupLens publishes it."""
    users = _columns(_lines(archive, "ml-100k/u.user", "|"), [USER_ID, "age", "gender", "occupation", "zip"])
    genres = [row[0] for row in _lines(archive, "ml-100k/u.genre", "|") if row[0]]
    rows = _lines(archive, "ml-100k/u.item", "|")
    labels = [[genre for genre, flag in zip(genres, row[5:], strict=True) if flag == "1"] for row in rows]
    items = _titled(_columns(rows, [ITEM_ID, TITLE])).with_columns(pl.Series("genres", labels, pl.List(pl.String)))
    events = _columns(_lines(archive, "ml-100k/u.data", "\t"), [USER_ID, ITEM_ID, RATING, TIMESTAMP])
    return Frames(
        _events(events),
        users.with_columns(pl.col(USER_ID).cast(pl.Int32), pl.col("age").cast(pl.Int16)),
        items.with_columns(pl.col(ITEM_ID).cast(pl.Int32)),
    )


def ml_1m_zip(archive: zipfile.ZipFile) -> Frames:
    """MovieLens 1M as GroupLens publishes it, cut to the 5-core on which sequential recommenders are compared."""
    events = _events(_columns(_lines(archive, "ml-1m/ratings.dat", "::"), [USER_ID, ITEM_ID, RATING, TIMESTAMP]))
    size = -1
    while size != len(events):
        size = len(events)
        events = events.filter(pl.len().over(ITEM_ID) >= 5).filter(pl.len().over(USER_ID) >= 5)
    columns = [USER_ID, "gender", "age_code", "occupation_code", "zip"]
    users = _columns(_lines(archive, "ml-1m/users.dat", "::"), columns)
    users = users.with_columns(pl.col(USER_ID).cast(pl.Int32), pl.col("age_code", "occupation_code").cast(pl.Int8))
    items = _titled(_columns(_lines(archive, "ml-1m/movies.dat", "::"), [ITEM_ID, TITLE, "genres"]))
    return Frames(
        events,
        users.with_columns(
            pl.col("age_code").replace_strict(_AGES, return_dtype=pl.String).alias("age"),
            pl.col("occupation_code")
            .replace_strict(dict(enumerate(_OCCUPATIONS)), return_dtype=pl.String)
            .alias("occupation"),
        ),
        items.with_columns(pl.col(ITEM_ID).cast(pl.Int32), pl.col("genres").str.split("|")),
    )


CONVERTERS: dict[tuple[str, str], Callable[[zipfile.ZipFile], Frames]] = {
    ("ml-100k", "wheel"): ml_100k_wheel,
    ("ml-100k", "zip"): ml_100k_zip,
    ("ml-1m", "zip"): ml_1m_zip,
}
"""(set, form of the archive) to what reads it."""
