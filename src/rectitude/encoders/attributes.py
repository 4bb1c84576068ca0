"""Item attributes (genres, brands, categories) to vectors, without any model.

Each distinct value of each field is a feature, weighed by how rare it is, and the matrix of items and features is
reduced to its leading directions (latent semantic analysis, Deerwester et al., JASIS 1990).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import scipy.sparse as sparse
from scipy.sparse.linalg import svds

from rectitude.core.errors import ConfigError, DataError, did_you_mean


def encode_attributes(
    items: pl.DataFrame, fields: Sequence[str], width: int = 64
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Vectors of what the fields say.

    Args:
        items: Row i describes item i.
        fields: Columns of values or lists of values.
        width: Most directions to keep; a value of a single item says nothing about others and is left out.

    Returns:
        float32 [I, d], unit rows, and bool [I], items of which nothing is known.

    Raises:
        ConfigError: A field is no column.
        DataError: No two items share a value.
    """
    rows: list[int] = []
    values: list[str] = []
    for field in fields:
        if field not in items.columns:
            raise ConfigError(f"The items have no column '{field}'", fix=did_you_mean(field, items.columns))
        for row, value in enumerate(items[field].to_list()):
            for entry in _entries(value):
                rows.append(row)
                values.append(f"{field}={entry}")
    _, columns, counts = np.unique(np.asarray(values, dtype=np.str_), return_inverse=True, return_counts=True)
    shared = counts > 1
    if not shared.any():
        raise DataError(f"No two items share a value of {', '.join(fields)}", fix="Name other columns")
    kept = shared[columns]
    place = np.cumsum(shared) - 1
    rarity = np.log((1 + len(items)) / (1 + counts)) + 1
    matrix = sparse.csr_matrix(
        (rarity[columns[kept]], (np.asarray(rows)[kept], place[columns[kept]])), (len(items), int(shared.sum()))
    )
    lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(1)).ravel())
    matrix = sparse.diags_array(1 / np.maximum(lengths, 1e-12)) @ matrix
    rank = min(width, *(size - 1 for size in matrix.shape))
    if rank < 1:
        vectors = matrix.toarray()
    else:
        left, strength, _ = svds(matrix, k=rank, v0=np.ones(min(matrix.shape)))
        vectors = (left * strength)[:, ::-1]
        largest = np.abs(vectors).argmax(0)
        vectors = vectors * np.where(vectors[largest, np.arange(vectors.shape[1])] < 0, -1.0, 1.0)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(norms, 1e-12)).astype(np.float32), np.asarray(lengths == 0)


def _entries(value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, list):
        return [str(entry) for entry in value if entry is not None]
    return [str(value)]
