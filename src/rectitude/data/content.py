"""Item vectors kept beside the tables: ``.npz`` and ``.npy`` files read into ``Dataset.content``.

A ``.npz`` file holds ``ids`` (text, external item ids) and ``vectors`` [n, d]; rows find their items by id, in
whatever order. A ``.npy`` file holds a bare matrix whose row i belongs to row i of the items table of the data folder
(or, without one, to item i of the data). An item without a row gets a row of NaN: models fill it with the mean and a
flag.

Letters: I items, d width.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from rectitude.core.errors import DataError
from rectitude.core.files import write_bytes
from rectitude.data.dataset import Dataset

FOLDER = "content"
"""Name of the folder that is looked for beside the tables."""

IDS, VECTORS, ABOUT = "ids", "vectors", "about"
_SUFFIXES = (".npz", ".npy")

Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ContentFile:
    """Vectors as they lie in a file.

    Attributes:
        name: Of the modality.
        path: The file.
        ids: External item ids of the rows, None in a bare matrix.
        vectors: float32 [n, d].
        about: What made them, where the file says so.
    """

    name: str
    path: Path
    ids: list[str] | None
    vectors: Matrix
    about: dict[str, Any]


def present(matrix: Matrix) -> npt.NDArray[np.bool_]:
    """bool [I], items that have a vector."""
    return np.asarray(~np.isnan(matrix).any(1))


def filled(matrix: Matrix) -> tuple[Matrix, npt.NDArray[np.bool_]]:
    """A matrix without gaps and what was a gap: items without a vector get the mean of the others.

    Returns:
        float32 [I, d] and bool [I], True where nothing was known.
    """
    known = present(matrix)
    whole = np.array(matrix, np.float32)
    whole[~known] = whole[known].mean(0) if known.any() else 0.0
    return whole, ~known


def fingerprint(matrix: Matrix) -> str:
    """First 16 hex digits of a SHA-256 over shape and values."""
    digest = hashlib.sha256(str(matrix.shape).encode())
    digest.update(np.ascontiguousarray(matrix, np.float32).tobytes())
    return digest.hexdigest()[:16]


def describe_content(dataset: Dataset, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """What a run remembers of the content it read: items with a vector, width, fingerprint, and where it came from."""
    files = dataset.source.get(FOLDER) or {}
    return {
        name: {
            "items": int(present(dataset.content[name]).sum()),
            "width": int(dataset.content[name].shape[1]),
            "hash": fingerprint(dataset.content[name]),
            **files.get(name, {}),
        }
        for name in names
        if name in dataset.content
    }


def write_content(
    path: str | Path, ids: Sequence[str], vectors: Matrix, about: Mapping[str, Any] | None = None
) -> None:
    """Write vectors with the ids of their items, whole or not at all.

    Args:
        path: A ``.npz`` file; its stem names the modality.
        ids: External item ids, n.
        vectors: float [n, d].
        about: What made them.
    """
    buffer = io.BytesIO()
    written = {
        IDS: np.asarray(ids, dtype=np.str_),
        VECTORS: np.asarray(vectors, np.float32),
        ABOUT: np.asarray(json.dumps(dict(about or {}))),
    }
    np.savez(buffer, allow_pickle=False, **written)
    write_bytes(path, buffer.getvalue())


def content_files(places: Iterable[str | Path]) -> list[tuple[str, Path]]:
    """Name and file of each modality in folders, files and ``name=file`` entries; a later one replaces an earlier.

    Raises:
        DataError: A place does not exist or holds no vectors.
    """
    found: dict[str, Path] = {}
    for place in places:
        given, equals, rest = str(place).partition("=")
        path = Path(rest if equals else given).expanduser()
        if path.is_dir():
            inside = sorted(entry for entry in path.iterdir() if entry.suffix in _SUFFIXES)
            if not inside:
                raise DataError(
                    "The folder holds no .npz or .npy file", where=str(path), fix="Make one: rectitude encode"
                )
            found.update({entry.stem: entry for entry in inside})
        elif path.is_file():
            found[given if equals else path.stem] = path
        else:
            raise DataError(
                "There is no such content", where=str(path), fix="Make it: rectitude encode DATA --out FOLDER"
            )
    return list(found.items())


def read_file(name: str, path: Path) -> ContentFile:
    """Read one file; nothing pickled is accepted.

    Raises:
        DataError: It is not a matrix of finite numbers with, in a ``.npz``, one id per row.
    """
    try:
        held = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
        arrays = {key: held[key] for key in held.files} if isinstance(held, np.lib.npyio.NpzFile) else {VECTORS: held}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"Content '{name}' cannot be read: {str(error).splitlines()[0]}",
            where=str(path),
            fix="Write it with numpy.save, or numpy.savez(file, ids=…, vectors=…), without objects",
        ) from error
    vectors, ids = arrays.get(VECTORS), arrays.get(IDS)
    if vectors is None or (path.suffix == ".npz" and ids is None):
        raise DataError(
            f"Content '{name}' holds {', '.join(arrays) or 'nothing'}, not ids and vectors",
            where=str(path),
            fix="Write it with numpy.savez(file, ids=…, vectors=…)",
        )
    if vectors.ndim != 2 or not vectors.shape[1] or not np.issubdtype(vectors.dtype, np.number):
        raise DataError(
            f"Content '{name}' is {vectors.dtype} of shape {vectors.shape}, not a matrix of numbers",
            where=str(path),
            fix="Give one row of numbers per item",
        )
    if np.isinf(vectors).any():
        raise DataError(f"Content '{name}' holds infinite numbers", where=str(path), fix="Encode it again")
    listed = None
    if ids is not None:
        listed = [str(identifier) for identifier in ids.tolist()]
        if len(listed) != len(vectors):
            raise DataError(f"Content '{name}' has {len(listed)} ids for {len(vectors)} rows", where=str(path))
        if len(set(listed)) != len(listed):
            twice = next(identifier for identifier in listed if listed.count(identifier) > 1)
            raise DataError(f"Content '{name}' has item '{twice}' twice", where=str(path), fix="Keep one row per item")
    about = json.loads(str(arrays[ABOUT])) if ABOUT in arrays else {}
    return ContentFile(name, path, listed, np.asarray(vectors, np.float32), about)


def with_content(dataset: Dataset, places: Iterable[str | Path], table_ids: Sequence[str] | None = None) -> Dataset:
    """The dataset with the vectors of its items.

    Args:
        dataset: Its items receive the vectors.
        places: Folders, files and ``name=file`` entries.
        table_ids: Item ids of the items table as it lies on the disk: what the rows of bare matrices belong to.

    Raises:
        DataError: A file cannot be read, or its rows do not match the items.
    """
    content, files, notes = dict(dataset.content), {}, []
    for name, path in content_files(places):
        file = read_file(name, path)
        matrix, said = _aligned(file, dataset, table_ids)
        content[name] = matrix
        files[name] = {"file": str(path), **({"made_by": file.about} if file.about else {})}
        notes.append(said)
    source = {**dataset.source, FOLDER: {**(dataset.source.get(FOLDER) or {}), **files}}
    return replace(dataset, content=content, source=source, notes=(*dataset.notes, *notes))


def _aligned(file: ContentFile, dataset: Dataset, table_ids: Sequence[str] | None) -> tuple[Matrix, str]:
    """Float32 [I, d] in the order of the items, NaN where there is none, and a sentence on how many there are."""
    ids = file.ids
    if ids is None:
        ids = list(table_ids) if table_ids is not None else [str(i) for i in dataset.item_ids.external.to_list()]
        if len(ids) != len(file.vectors):
            raise DataError(
                f"Content '{file.name}' has {len(file.vectors)} rows for {len(ids)} rows of the items table",
                where=str(file.path),
                fix="Give one row per item in the table's order, or a .npz with ids",
            )
    row = pl.DataFrame({"id": ids, "row": np.arange(len(ids))})
    asked = pl.DataFrame({"id": dataset.item_ids.external.cast(pl.String)})
    rows = asked.join(row, on="id", how="left", maintain_order="left")["row"]
    known = rows.is_not_null().to_numpy()
    if not known.any():
        raise DataError(
            f"Content '{file.name}' has none of the {dataset.n_items} items: "
            f"it knows '{ids[0] if ids else 'nothing'}', the data know '{dataset.item_ids[0]}'",
            where=str(file.path),
            fix="Give the content of these data, with the ids of their items",
        )
    matrix = np.full((dataset.n_items, file.vectors.shape[1]), np.nan, np.float32)
    matrix[known] = file.vectors[rows.drop_nulls().to_numpy()]
    count = int(present(matrix).sum())
    if not count:
        raise DataError(f"Content '{file.name}' is missing for all items", where=str(file.path), fix="Encode it again")
    said = f"Content '{file.name}': vectors of {count} of {dataset.n_items} items, width {matrix.shape[1]}"
    foreign = len(ids) - int(known.sum())
    if file.ids is not None and foreign:
        said += f"; {foreign} of its ids are of no item here"
    return matrix, said
