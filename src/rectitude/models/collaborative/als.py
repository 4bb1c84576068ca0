"""ALS: matrix factorisation of implicit feedback by alternating least squares.

Source: Hu, Koren, Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008,
doi:10.1109/ICDM.2008.22.

Every cell of the user-item matrix is fitted, observed ones (1) with weight 1 + α and the others (0) with weight 1,
under an L2 penalty λ (eq. 3). With the item vectors fixed in the rows of Y [I, d], the best vector of a user who has
the items H, the rows Y_H, solves (eq. 4)

    (S + α Y_Hᵀ Y_H) x = (1 + α) Y_Hᵀ 1     with S = YᵀY + λ·1 shared by all users,

and the items' vectors follow likewise from the users'. Where H is smaller than d the equal form
x = (1 + α) S⁻¹ Y_Hᵀ (1 + α Y_H S⁻¹ Y_Hᵀ)⁻¹ 1 leaves a smaller system to solve.

Departures: repeated interactions count once. No user vectors are kept: a person's vector is solved from the history
they bring, which serves strangers and later events alike, and gives trained people what training would give them.

Cost per iteration: d² operations per interaction, and the cube of d (of the history's length, where that is smaller)
for every user and item; ML-1M takes 2 CPU
seconds for 6 iterations. Limits: the order of the history is not used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor

from rectitude.data.histories import Histories
from rectitude.models.base import Choice, ModelConfig, Range, Reads, Recommender
from rectitude.models.query import Query


class ALSConfig(ModelConfig):
    """Settings of ALS."""

    search: ClassVar[dict[str, Range | Choice]] = {
        "n_factors": Choice((16, 32, 64, 128)),
        "confidence": Range(0.1, 40.0, log=True),
        "l2": Range(0.1, 200.0, log=True),
    }

    n_factors: int = Field(32, ge=1)
    """d, width of the vectors; usual range 16 to 256, more for larger catalogues."""
    confidence: float = Field(4.0, ge=0)
    """α, how much more an observed pair weighs than one that was not observed; usual range 0 to 40."""
    l2: float = Field(20.0, gt=0)
    """λ, penalty on the vectors; usual range 0.01 to 100."""
    iterations: int = Field(6, ge=1)
    """Rounds of solving for users and items; usual range 5 to 20."""


class ALS(Recommender):
    """Item vectors by alternating least squares; a person's vector is solved from their history."""

    name: ClassVar[str] = "als"
    title: ClassVar[str] = "ALS"
    paper: ClassVar[str] = (
        "Hu et al., Collaborative Filtering for Implicit Feedback Datasets, ICDM 2008, doi:10.1109/ICDM.2008.22"
    )
    Config: ClassVar[type[ModelConfig]] = ALSConfig
    reads: ClassVar[frozenset[Reads]] = frozenset({"history"})
    serves_new_users: ClassVar[bool] = True
    trained_by: ClassVar[Literal["gradient", "fit"]] = "fit"

    config: ALSConfig
    items: Tensor

    def __init__(self, config: ALSConfig, n_users: int, n_items: int) -> None:
        super().__init__(config, n_users, n_items)
        self.register_buffer("items", torch.zeros(n_items, config.n_factors))

    def fit(self, train: Histories, generator: torch.Generator) -> None:
        """Alternate, beginning with random item vectors."""
        of_users = train.unique()
        of_items = Histories.from_pairs(of_users.items, of_users.rows, self.n_items)
        self.items.copy_(0.01 * torch.randn(self.items.shape, generator=generator))
        for _ in range(self.config.iterations):
            users = self._solve(self.items, of_users)
            self.items.copy_(self._solve(users, of_items))

    def query_vectors(self, query: Query) -> Tensor:
        """float32 [B, d], solved from each history; zero for an empty one."""
        return self._solve(self.items, query.history.unique())

    def item_vectors(self) -> Tensor:
        """float32 [I, d]."""
        return self.items

    def _solve(self, fixed: Tensor, rows: Histories) -> Tensor:
        """The vectors [R, d] that fit R rows of distinct indices best, given the vectors of the other side."""
        alpha, width = self.config.confidence, self.config.n_factors
        shared = fixed.T @ fixed + self.config.l2 * torch.eye(width, device=fixed.device)  # S
        padded = torch.cat([fixed, fixed.new_zeros(1, width)])
        spread = torch.cholesky_solve(padded.T, torch.linalg.cholesky(shared)).T  # rows S⁻¹ y
        solved = fixed.new_zeros(len(rows), width)
        for chosen, table in _blocks(rows, padding=len(fixed)):
            index = torch.from_numpy(table).to(fixed.device)
            known = padded[index]  # [b, L, d]
            if index.shape[1] < width:
                one = torch.eye(index.shape[1], device=fixed.device)
                systems = torch.baddbmm(one, spread[index], known.mT, alpha=alpha)  # [b, L, L]
                weights = _solve(systems, one.new_ones(*index.shape, 1))
                vectors = (weights * spread[index]).sum(1)
            else:
                systems = torch.baddbmm(shared, known.mT, known, alpha=alpha)  # [b, d, d]
                vectors = _solve(systems, known.sum(1)[:, :, None])[:, :, 0]
            solved[torch.from_numpy(chosen).to(fixed.device)] = (1 + alpha) * vectors
        return solved


def _solve(systems: Tensor, right: Tensor) -> Tensor:
    """Solve symmetric positive definite systems [b, n, n] for [b, n, 1]."""
    return torch.cholesky_solve(right, torch.linalg.cholesky(systems))


_BLOCK = 1 << 14
"""Padded entries worked on together: their vectors stay in the processor's cache."""


def _blocks(rows: Histories, padding: int) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Rows of like length together, as a padded table."""
    order = np.argsort(rows.lengths, kind="stable")
    order = order[rows.lengths[order] > 0]
    while len(order):
        # Lengths ascend, so the last row of a block is its width.
        area = rows.lengths[order] * np.arange(1, len(order) + 1)
        count = max(1, int(np.searchsorted(area, _BLOCK, side="right")))
        chosen, order = order[:count], order[count:]
        block = rows.take(chosen)
        yield chosen, block.padded(int(block.lengths[-1]), padding).astype(np.int64)
