"""Item content made ready for a model: gaps filled and flagged, widths and scales made alike.

Letters: I items, d width of a modality as it comes, w width that is kept, M modalities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rectitude.core.errors import DataError
from rectitude.data.content import filled

Content = Mapping[str, npt.NDArray[np.float32]]


def take(content: Content | None, names: Sequence[str], n_items: int, *, title: str) -> list[npt.NDArray[np.float32]]:
    """The matrices a model reads, in its order.

    Raises:
        DataError: One is not there, or is missing for all items.
    """
    found = []
    for name in names:
        if not content or name not in content:
            have = ", ".join(content) if content else "none"
            raise DataError(
                f"{title} reads item content '{name}', and there is {have}",
                fix="Make it with 'rectitude encode', or choose other modalities",
            )
        matrix = content[name]
        if len(matrix) != n_items:
            raise DataError(f"Content '{name}' has {len(matrix)} rows for {n_items} items")
        if np.isnan(matrix).any(1).all():
            raise DataError(f"Content '{name}' is missing for all items", fix="Encode it again, or leave it out")
        found.append(matrix)
    return found


def principal(matrix: npt.NDArray[np.float32], width: int) -> Tensor:
    """A modality as w principal components and a flag.

    Rows are centred on the items that have the modality and turned to its directions of largest variance; the scale is
    one for the whole modality, so that the components have mean square 1. An item without it has zeros, the mean, and
    flag 1. Directions are turned so that their largest entry is positive: the same content gives the same components.

    Args:
        matrix: float32 [I, d], rows of NaN where an item has nothing.
        width: w; with fewer directions than that the rest is zero.

    Returns:
        float32 [I, w + 1], the flag last.
    """
    whole, missing = filled(matrix)
    known = ~missing
    centred = whole.astype(np.float64) - whole[known].astype(np.float64).mean(0)
    _, directions = np.linalg.eigh(centred[known].T @ centred[known])
    directions = directions[:, ::-1][:, :width]
    largest = np.abs(directions).argmax(0)
    directions = directions * np.where(directions[largest, np.arange(directions.shape[1])] < 0, -1.0, 1.0)
    components = centred @ directions
    components /= max(float(np.sqrt(np.square(components[known]).mean())), 1e-12)
    out = np.zeros((len(matrix), width + 1), np.float32)
    out[known, : components.shape[1]] = components[known]
    out[missing, width] = 1.0
    return torch.from_numpy(out)


def unit(vectors: Tensor) -> Tensor:
    """Rows of length one; a row of zeros stays one.

    Args:
        vectors: float [..., d].
    """
    lengths: Tensor = vectors.norm(dim=-1, keepdim=True)
    return vectors / lengths.clamp(min=1e-12)


def centred_unit(matrix: npt.NDArray[np.float32], removed: int = 0) -> Tensor:
    """Unit rows without what all items share: unit length, minus the mean, minus leading directions, unit length again.

    Sentence vectors of the texts of one shop have a large part in common, which says nothing about preference.

    Args:
        matrix: float32 [I, d], rows of NaN where an item has nothing.
        removed: Leading principal directions to take out besides the mean.

    Returns:
        float32 [I, d]; zeros where an item has nothing.
    """
    whole, missing = filled(matrix)
    rows = unit(torch.from_numpy(whole))
    known = torch.from_numpy(~missing)
    rows = rows - rows[known].mean(0)
    if removed:
        directions = torch.linalg.svd(rows[known], full_matrices=False)[2][:removed]
        rows = rows - rows @ directions.T @ directions
    return unit(rows) * known[:, None]
