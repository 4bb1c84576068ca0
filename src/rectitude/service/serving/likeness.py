"""Items like an item: by the model's own vectors where it has them, else by who chose both."""

from __future__ import annotations

from collections import OrderedDict
from functools import cached_property

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch
from torch import Tensor

from rectitude.models.base import Recommender
from rectitude.training.run import Run

KEPT = 512
"""Items whose likeness to all others is remembered; the least lately used goes first."""


class Likeness:
    """Cosines between the items of a run, made when first asked for.

    Args:
        run: The run.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._by_vectors = type(run.model).item_vectors is not Recommender.item_vectors
        self._kept: OrderedDict[int, npt.NDArray[np.float32]] = OrderedDict()

    @property
    def method(self) -> str:
        """How likeness is told, in words."""
        return "cosine of item vectors" if self._by_vectors else "cosine of who chose both"

    @cached_property
    def _vectors(self) -> Tensor:
        with torch.inference_mode():
            return torch.nn.functional.normalize(self._run.model.item_vectors().float(), dim=1).cpu()

    @cached_property
    def _chosen(self) -> sp.csc_array:
        """People by items, columns of unit length."""
        history = self._run.history.unique()
        shape = len(history), self._run.model.n_items
        ones = np.ones(len(history.items), np.float32)
        matrix = sp.csr_array((ones, history.items.astype(np.int64), history.offsets), shape=shape).tocsc()
        norms = np.sqrt(np.maximum(np.diff(matrix.indptr), 1)).astype(np.float32)
        matrix.data /= np.repeat(norms, np.diff(matrix.indptr))
        return matrix

    def to(self, item: int) -> npt.NDArray[np.float32]:
        """float32 [I], likeness of every item to one."""
        found = self._kept.pop(item, None)
        if found is None:
            if self._by_vectors:
                found = (self._vectors @ self._vectors[item]).numpy()
            else:
                matrix = self._chosen
                found = np.asarray(matrix.T @ matrix[:, [item]].toarray()[:, 0], np.float32)
        self._kept[item] = found
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return found
