"""What a space of item vectors keeps of the content it was made from.

Source: the claims of AnchorRec (arXiv:2603.12726) and the measures of its authors' development repository. "Positional
collapse", an item's modalities ending in one place whatever they say, has no formula in what could be read; it is
measured here by the gap between an item's own two vectors and those of two items, and by how many directions are used.

Letters: I items, d width, k neighbours.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from rectitude.data.content import filled, present


def _nearest(vectors: Tensor, k: int) -> Tensor:
    """int64 [I, k], the most alike other items by cosine."""
    rows = F.normalize(vectors, dim=1)
    likeness = rows @ rows.T
    likeness.fill_diagonal_(-torch.inf)
    return likeness.topk(k).indices


def neighbourhood_preservation(vectors: Tensor, content: npt.NDArray[np.float32], k: int = 10) -> float:
    """Share of an item's k nearest in a modality that are among its k nearest in the space, mean over items.

    Args:
        vectors: float [I, d], the space.
        content: float32 [I, d'], the modality; items without it are left out.
        k: Neighbours.
    """
    known = torch.from_numpy(present(content))
    space, raw = vectors[known], torch.from_numpy(content)[known]
    k = min(k, len(space) - 1)
    one, other = _nearest(space, k), _nearest(raw, k)
    return float((one[:, :, None] == other[:, None]).any(2).float().mean())


def neighbour_likeness(vectors: Tensor, content: npt.NDArray[np.float32], k: int = 3) -> list[float]:
    """Mean cosine, in a modality, of an item and its first to k-th nearest in the space.

    Args:
        vectors: float [I, d], the space.
        content: float32 [I, d'], the modality; items without it are left out.
        k: Neighbours.
    """
    known = torch.from_numpy(present(content))
    raw = F.normalize(torch.from_numpy(filled(content)[0])[known], dim=1)
    nearest = _nearest(vectors[known], min(k, int(known.sum()) - 1))
    return [float((raw * raw[nearest[:, place]]).sum(1).mean()) for place in range(nearest.shape[1])]


def collapse(one: Tensor, other: Tensor) -> float:
    """Mean cosine of an item's two vectors minus that of two different items' vectors.

    Near 0 where the second vector does not tell which item it belongs to, 1 where both are one.

    Args:
        one: float [I, d].
        other: float [I, d].
    """
    likeness = F.normalize(one, dim=1) @ F.normalize(other, dim=1).T
    n_items = len(likeness)
    own = likeness.diagonal().mean()
    rest = (likeness.sum() - likeness.diagonal().sum()) / (n_items * (n_items - 1))
    return float(own - rest)


def effective_rank(vectors: Tensor) -> float:
    """exp of the entropy of the singular values' shares: how many directions a space uses, 1 to d.

    Source: Roy & Vetterli, "The effective rank", EUSIPCO 2007.

    Args:
        vectors: float [I, d].
    """
    strength = torch.linalg.svdvals(vectors.double() - vectors.double().mean(0))
    shares = strength / strength.sum()
    return float(torch.exp(-(shares * shares.clamp(min=1e-300).log()).sum()))
