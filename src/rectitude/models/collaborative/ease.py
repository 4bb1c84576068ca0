"""EASE: a linear item-to-item model with a closed-form solution.

Source: Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019, arXiv:1905.03375.

With X [U, I] binary (who has which item), the weights B [I, I] minimise ‖X − XB‖² + λ‖B‖² with a zero diagonal, so
that no item may explain itself (eq. 2 and 3). With P = (XᵀX + λ·1)⁻¹ the solution is B_ij = −P_ij / P_jj off the
diagonal (eq. 8), and a person's scores are the sum of the rows of B of the items in their history (eq. 1).

Departures: none. Repeated interactions count once.

Cost: I³ multiplications, once (3,416 items: 3 CPU seconds). Limits: dense I × I, 16 bytes an entry while it is fitted
and 4 afterwards, so 20,000 items take 6.4 GB to fit and 1.6 GB to serve; the order of the history is not used.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from scipy.sparse import csr_array
from torch import Tensor

from rectitude.core.memory import reserve
from rectitude.data.histories import Histories
from rectitude.models.base import Choice, ModelConfig, Range, Reads, Recommender
from rectitude.models.query import Query
from rectitude.nn.graph import pool

_TOO_MANY = "EASE is for catalogues up to some ten thousand items: use als, or keep popular items only (k_core)"


class EASEConfig(ModelConfig):
    """Settings of EASE."""

    search: ClassVar[dict[str, Range | Choice]] = {"l2": Range(20.0, 5000.0, log=True)}

    l2: float = Field(500.0, gt=0)
    """λ, added to the diagonal of the item-item counts; usual range 50 to 2000, growing with the number of users."""


class EASE(Recommender):
    """Scores are sums of learnt item-to-item weights over the history; serves anybody who has one."""

    name: ClassVar[str] = "ease"
    title: ClassVar[str] = "EASE"
    paper: ClassVar[str] = "Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019, arXiv:1905.03375"
    Config: ClassVar[type[ModelConfig]] = EASEConfig
    reads: ClassVar[frozenset[Reads]] = frozenset({"history"})
    serves_new_users: ClassVar[bool] = True
    trained_by: ClassVar[Literal["gradient", "fit"]] = "fit"

    config: EASEConfig
    weights: Tensor

    def __init__(self, config: EASEConfig, n_users: int, n_items: int) -> None:
        super().__init__(config, n_users, n_items)
        reserve(4.0 * n_items**2, f"The EASE weights of {n_items:,} items", fix=_TOO_MANY)
        self.register_buffer("weights", torch.zeros(n_items, n_items))

    def fit(self, train: Histories, generator: torch.Generator) -> None:
        """Solve for the weights in double precision.

        Raises:
            RectitudeError: The I × I matrices do not fit into memory.
        """
        reserve(16.0 * self.n_items**2, f"Fitting EASE to {self.n_items:,} items", fix=_TOO_MANY)
        distinct = train.unique()
        ones = np.ones(len(distinct.items), np.float32)  # counts are whole numbers, exact in single precision
        seen = csr_array((ones, distinct.items, distinct.offsets), shape=(len(distinct), self.n_items))
        inverse = torch.from_numpy((seen.T @ seen).toarray()).to(self.device, torch.float64)
        inverse.diagonal().add_(self.config.l2)
        torch.linalg.cholesky(inverse, out=inverse)
        torch.cholesky_inverse(inverse, out=inverse)  # P
        inverse /= -inverse.diagonal().clone()
        inverse.fill_diagonal_(0.0)
        self.weights.copy_(inverse)

    def score(self, query: Query) -> Tensor:
        """float32 [B, I]."""
        return pool(self.weights, query.history)
