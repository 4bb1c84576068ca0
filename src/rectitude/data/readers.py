"""Every way data comes in: catalogue names, folders, Parquet, delimited text, atomic and sequence files, frames.

:func:`load` is the entry. What was guessed, dropped or filled on the way is in ``Dataset.notes``; where the data came
from and how to load it again is in ``Dataset.source``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import polars as pl

from rectitude.core.errors import DataError, RectitudeError, did_you_mean
from rectitude.core.files import replace_folder, write_json
from rectitude.core.memory import reserve
from rectitude.data import filters
from rectitude.data.assemble import Duplicates, Tables, assemble, read_ids
from rectitude.data.atomic import read_atomic
from rectitude.data.columnmap import id_column
from rectitude.data.columns import ITEM, ITEM_ID, POSITION, TIMESTAMP, USER, USER_ID
from rectitude.data.content import FOLDER as CONTENT
from rectitude.data.content import present, with_content, write_content
from rectitude.data.dataset import Dataset
from rectitude.data.known import CATALOGUE
from rectitude.data.obtain import locate
from rectitude.data.place import Source
from rectitude.data.sequences import looks_like_sequences, read_sequences
from rectitude.data.textfiles import read_bytes, read_text_table
from rectitude.data.ties import Ties, settle_ties

Format = Literal["table", "sequences", "atomic", "parquet"]
_PARQUET = (".parquet", ".pq")
_TEXT = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
MANIFEST = "dataset.json"
"""What :func:`write_folder` puts beside the tables."""


def load(
    data: str | Path | Any,
    *,
    columns: Mapping[str, str | None] | None = None,
    duplicates: Duplicates | None = None,
    min_rating: float | None = None,
    k_core: int | None = None,
    separator: str | None = None,
    encoding: str = "utf-8",
    format: Format | None = None,  # noqa: A002 -- the word every reader uses
    time_format: str | None = None,
    ties: Ties | None = None,
    content: Sequence[str | Path] | None = None,
    announce: Callable[[str], None] | None = None,
) -> Dataset:
    """Load a dataset, whatever form it has.

    Args:
        data: Name of a known set (``ml-100k``; a folder of that name is ``./ml-100k``), a folder with
            ``interactions.parquet`` (and ``users``, ``items``), one table (CSV, TSV, Parquet, gzipped or not), a
            RecBole atomic file or folder, a file with one sequence per line, or a pandas or polars frame.
        columns: Part to column name where it cannot be guessed, ``{"user": "customer"}``; None leaves a part out.
        duplicates: ``error``, ``drop`` or ``keep`` rows that repeat user, item and time. Default: error; known sets
            and imported folders, whose repeats are known, keep.
        min_rating: Keep only interactions rated at least this.
        k_core: Keep only users and items with at least this many interactions.
        separator: What stands between fields of text files; guessed by default.
        encoding: Of text files.
        format: ``table``, ``sequences``, ``atomic`` or ``parquet`` where the file's looks deceive.
        time_format: strftime pattern of text times that could be read in more than one way.
        ties: Order of events of one user at the same time: ``file``, ``scramble``, or ``auto`` (the default), which
            scrambles where the file's order is merely that of the item ids.
        content: Item vectors to read: folders, ``.npz`` and ``.npy`` files, or ``name=file``; see
            :mod:`rectitude.data.content`. By default those of the folder ``content`` beside the tables, if there is
            one; an empty list reads none.
        announce: Called with each sentence about what was guessed, dropped or fetched.

    Raises:
        DataError: The data cannot be found or used; says what, where and what to do.
    """
    options = {
        "columns": dict(columns) if columns else None,
        "duplicates": duplicates,
        "min_rating": min_rating,
        "k_core": k_core,
        "separator": separator,
        "encoding": None if encoding == "utf-8" else encoding,
        "format": format,
        "time_format": time_format,
        "ties": ties,
        "content": [str(place) for place in content] if content else None,
    }
    reading: dict[str, Any] = {
        "columns": columns,
        "separator": separator,
        "encoding": encoding,
        "format": format,
        "time_format": time_format,
    }
    if not isinstance(data, str | Path):
        dataset = read_table(data, duplicates=duplicates or "error", **reading)
        origin = {"data": None, "origin": "frame", "location": None, "terms": None}
    elif isinstance(data, str) and data in CATALOGUE:
        place = locate(data, announce=announce)
        dataset = _read_path(place.folder, duplicates=duplicates or "keep", **reading)
        dataset = replace(dataset, name=data, notes=(*place.notes, *dataset.notes))
        origin = {"data": data, "origin": place.origin, "location": str(place.folder), "terms": place.terms}
    else:
        path = _existing(data)
        dataset = _read_path(path, duplicates=duplicates, **reading)
        origin = {"data": str(data), "origin": "folder" if path.is_dir() else "file", "location": str(path.resolve())}
        origin["terms"] = dataset.source.get("terms")
    folder = Path(origin["location"]) if origin["location"] else None
    dataset = _with_content(dataset, content, folder)
    dataset = settle_ties(dataset, ties or "auto")
    if min_rating is not None:
        dataset = filters.min_rating(dataset, min_rating)
    if k_core is not None:
        dataset = filters.k_core(dataset, k_core)
    given = {name: value for name, value in options.items() if value is not None}
    kept = {name: dataset.source[name] for name in ("time", CONTENT) if name in dataset.source}
    dataset = replace(dataset, source={**origin, "options": given, **kept})
    if announce is not None:
        for note in dataset.notes:
            announce(note)
    return dataset


def _with_content(dataset: Dataset, places: Sequence[str | Path] | None, folder: Path | None) -> Dataset:
    """The dataset with the vectors asked for, or with those beside its tables."""
    if places is None:
        beside = folder / CONTENT if folder is not None and folder.is_dir() else None
        places = [beside] if beside is not None and beside.is_dir() else []
    if not places:
        return dataset
    items = _attributes(folder, "items", "utf-8") if folder is not None and folder.is_dir() else None
    table_ids = None
    if items is not None:
        ids, _ = read_ids(items, id_column(items.frame, ITEM, None, where=items.name), ITEM)
        table_ids = ids.to_list()
    return with_content(dataset, places, table_ids)


def read_table(
    table: str | Path | Any,
    *,
    columns: Mapping[str, str | None] | None = None,
    name: str | None = None,
    duplicates: Duplicates = "error",
    separator: str | None = None,
    encoding: str = "utf-8",
    format: Format | None = None,  # noqa: A002
    time_format: str | None = None,
) -> Dataset:
    """Read one table of interactions: a file of any known form, or a pandas or polars frame.

    See :func:`load` for the arguments.

    Raises:
        DataError: It cannot be found or used; says what, where and what to do.
    """
    if isinstance(table, str | Path):
        path = _existing(table)
        tables = _read_file(path, columns, separator=separator, encoding=encoding, format=format)
        name = name or _stem(path)
    else:
        tables = Tables(Source(_to_polars(table), "the frame"), columns=columns)
    return assemble(tables, name or "data", duplicates=duplicates, time_format=time_format)


def _stem(path: Path) -> str:
    return path.name.split(".")[0] or path.name


def _to_polars(frame: Any) -> pl.DataFrame:
    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    if isinstance(frame, pl.DataFrame):
        return frame
    if type(frame).__module__.partition(".")[0] != "pandas" or not hasattr(frame, "columns"):
        raise DataError(
            f"A {type(frame).__name__} is not a table",
            fix="Give a path, a known set's name, or a pandas or polars frame",
        )
    if not all(isinstance(column, str) for column in frame.columns):
        frame = frame.rename(columns=str)
    try:
        return pl.from_pandas(frame)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"A column of the frame mixes types: {str(error).splitlines()[0]}",
            where="the frame",
            fix="Give each column one type, for example with astype(str)",
        ) from error


def _existing(data: str | Path) -> Path:
    path = Path(data).expanduser()
    if path.exists():
        return path
    beside = path.parent
    near = [entry.name for entry in beside.iterdir()] if beside.is_dir() else []
    hint = did_you_mean(path.name, near)
    if not hint.startswith("Did"):
        bare = isinstance(data, str) and len(path.parts) == 1
        hint = did_you_mean(path.name, CATALOGUE) if bare else "Check the path"
    raise DataError("There is no such file, folder or known set", where=str(data), fix=hint)


def _read_path(path: Path, *, duplicates: Duplicates | None, **reading: Any) -> Dataset:
    try:
        if path.is_dir():
            return _read_folder(path, duplicates=duplicates, **reading)
        return read_table(path, duplicates=duplicates or "error", **reading)
    except OSError as error:
        what = f"The data cannot be read: {error.strerror or error}"
        raise DataError(what, where=str(error.filename or path), fix="Check that you may read it") from error


def _read_file(
    path: Path,
    columns: Mapping[str, str | None] | None,
    *,
    separator: str | None,
    encoding: str,
    format: Format | None,  # noqa: A002
) -> Tables:
    if format == "parquet" or (format is None and (path.suffix in _PARQUET or _is_parquet(path))):
        return Tables(_read_parquet(path), columns=columns)
    if format == "atomic" or (format is None and path.suffix == ".inter"):
        return _read_atomic_tables(path, columns, encoding)
    content = read_bytes(path, encoding)
    if format == "sequences" or (format is None and separator is None and looks_like_sequences(content)):
        return Tables(read_sequences(path, content), columns=columns)
    unnamed = any(re.fullmatch(r"column_\d+", column or "") for column in (columns or {}).values())
    return Tables(read_text_table(path, content, separator=separator, unnamed=unnamed), columns=columns)


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _read_parquet(path: Path) -> Source:
    try:
        lazy = pl.scan_parquet(path)
        n_columns = len(lazy.collect_schema())
        n_rows = lazy.select(pl.len()).collect().item()
        reserve(n_rows * (n_columns * 16 + 110), f"Reading {path.name}", fix="Keep fewer columns or rows")
        return Source(lazy.collect(), path.name)
    except pl.exceptions.PolarsError as error:
        raise DataError("The file is not Parquet, or it is cut off", where=str(path), fix="Write it again") from error


def _read_atomic_tables(path: Path, columns: Mapping[str, str | None] | None, encoding: str) -> Tables:
    users, items = (path.with_suffix(suffix) for suffix in (".user", ".item"))
    return Tables(
        read_atomic(path, encoding=encoding),
        read_atomic(users, encoding=encoding) if users.exists() else None,
        read_atomic(items, encoding=encoding) if items.exists() else None,
        columns,
    )


def _read_folder(
    folder: Path,
    *,
    duplicates: Duplicates | None,
    columns: Mapping[str, str | None] | None,
    separator: str | None,
    encoding: str,
    format: Format | None,  # noqa: A002
    time_format: str | None,
) -> Dataset:
    """Read a folder of tables, or of atomic files."""
    manifest = _read_manifest(folder)
    atomic = sorted(folder.glob("*.inter"))
    interactions = _table_in(folder, "interactions")
    if interactions is not None:
        tables = _read_file(interactions, columns, separator=separator, encoding=encoding, format=format)
        tables.users, tables.items = (_attributes(folder, name, encoding) for name in ("users", "items"))
    elif len(atomic) == 1:
        tables = _read_atomic_tables(atomic[0], columns, encoding)
    else:
        inside = ", ".join(sorted(entry.name for entry in folder.iterdir())[:10]) or "nothing"
        raise DataError(
            f"The folder has no interactions.parquet; it holds {inside}",
            where=str(folder),
            fix="Name one table file, or call it interactions.parquet",
        )
    dataset = assemble(
        tables,
        manifest.get("name", folder.resolve().name),
        duplicates=duplicates or ("keep" if manifest else "error"),
        time_format=time_format,
    )
    return replace(dataset, source={**dataset.source, "terms": manifest.get("source", {}).get("terms")})


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.exists():
        return {}
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(
            "The description of the data is not JSON", where=str(path), fix="Import the data again"
        ) from error
    return manifest if isinstance(manifest, dict) else {}


def _table_in(folder: Path, name: str) -> Path | None:
    return next((path for suffix in (*_PARQUET, *_TEXT) if (path := folder / f"{name}{suffix}").exists()), None)


def _attributes(folder: Path, name: str, encoding: str) -> Source | None:
    path = _table_in(folder, name)
    if path is None:
        return None
    if path.suffix in _PARQUET:
        return _read_parquet(path)
    return read_text_table(path, read_bytes(path, encoding))


def write_folder(dataset: Dataset, folder: str | Path) -> None:
    """Save a dataset as Parquet tables, content files and one JSON; :func:`load` gives back the same, hash included.

    Raises:
        RectitudeError: The folder holds something else, or cannot be written; it is left as it was.
    """
    folder = Path(folder)
    if folder.exists() and not ((folder / MANIFEST).exists() or (folder.is_dir() and not any(folder.iterdir()))):
        raise RectitudeError("The folder holds something else", where=str(folder), fix="Give a new or an empty folder")
    time = POSITION if dataset.source.get("time") == "position" else TIMESTAMP
    interactions = dataset.interactions.with_columns(
        dataset.user_ids.external.gather(dataset.interactions[USER]).alias(USER),
        dataset.item_ids.external.gather(dataset.interactions[ITEM]).alias(ITEM),
    ).rename({USER: USER_ID, ITEM: ITEM_ID, TIMESTAMP: time}, strict=False)
    with replace_folder(folder) as building:
        interactions.write_parquet(building / "interactions.parquet")
        dataset.users.write_parquet(building / "users.parquet")
        dataset.items.write_parquet(building / "items.parquet")
        for name, matrix in dataset.content.items():
            known = present(matrix)
            (building / CONTENT).mkdir(exist_ok=True)
            ids = dataset.item_ids.external.filter(pl.Series(known)).to_list()
            write_content(building / CONTENT / f"{name}.npz", ids, matrix[known])
        write_json(
            building / MANIFEST,
            {
                "name": dataset.name,
                "hash": dataset.hash,
                "users": dataset.n_users,
                "items": dataset.n_items,
                "interactions": dataset.n_interactions,
                "source": dict(dataset.source),
                "notes": list(dataset.notes),
            },
        )
