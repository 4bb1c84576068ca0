"""Vectors kept by what they were made from, so that nothing is encoded twice and what was stopped goes on.

One folder per encoder, named by its identity; in it, parts: ``.npz`` files written whole, each the keys and vectors of
some batches. Two encoders never share a folder.

Letters: n rows, d width.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rectitude.core.errors import DataError
from rectitude.core.files import write_bytes
from rectitude.data.obtain import cache_folder

Matrix = npt.NDArray[np.float32]


def key_of(*pieces: bytes | str) -> str:
    """Name of a content: the same pieces give the same name, and a cut elsewhere another."""
    digest = hashlib.sha256()
    for piece in pieces:
        raw = piece.encode() if isinstance(piece, str) else piece
        digest.update(len(raw).to_bytes(8, "big"))
        digest.update(raw)
    return digest.hexdigest()[:32]


def default_cache() -> Path:
    """Where vectors are kept between commands."""
    return cache_folder() / "encodings"


class VectorCache:
    """The vectors of one encoder.

    Args:
        folder: Of all encoders.
        identity: Of this one: model, version of its input, precision.

    Raises:
        DataError: A part is damaged.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self.folder = folder / f"{re.sub(r'[^A-Za-z0-9.-]+', '-', identity)[:60]}-{key_of(identity)[:8]}"
        self._rows: dict[str, Matrix] = {}
        self._fresh: list[str] = []
        for part in sorted(self.folder.glob("*.npz")):
            try:
                with np.load(part, allow_pickle=False) as held:
                    self._rows.update(zip(held["keys"].tolist(), held["vectors"], strict=True))
            except (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
                raise DataError(
                    "Kept vectors are damaged", where=str(part), fix="Remove the file and encode again"
                ) from error

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, keys: Iterable[str], vectors: Matrix) -> None:
        """Take vectors in; :meth:`keep` writes them."""
        for key, vector in zip(keys, vectors, strict=True):
            self._rows[key] = vector
            self._fresh.append(key)

    def keep(self) -> None:
        """Write what came in since the last time as one part."""
        if not self._fresh:
            return
        buffer = io.BytesIO()
        np.savez(buffer, keys=np.asarray(self._fresh), vectors=self.gather(self._fresh))
        name = f"{key_of(*self._fresh)[:16]}-{os.getpid()}.npz"
        write_bytes(self.folder / name, buffer.getvalue())
        self._fresh = []

    def gather(self, keys: Sequence[str]) -> Matrix:
        """float32 [n, d], the vectors of the keys in order."""
        return np.stack([self._rows[key] for key in keys]).astype(np.float32)
