"""BPR-MF: matrix factorisation trained to rank what a person chose above what they did not.

Source: Rendle, Freudenthaler, Gantner, Schmidt-Thieme, "BPR: Bayesian Personalized Ranking from Implicit Feedback",
UAI 2009, arXiv:1205.2618.

The score of item i for user u is the inner product p_u · q_i (section 4.3.1). For an observed pair (u, i) and an item j
that u has not touched, −ln σ(p_u · q_i − p_u · q_j) is minimised with an L2 penalty on the three vectors (section 4.1).

Departures: mini-batches and Adam instead of single draws and plain gradient steps; every observed pair once per epoch.
A stranger has no p_u, so theirs is made from their history: the sum of its item vectors over the root of their number,
times the matrix W that best turns the trained people's histories into their own vectors (least squares, fitted when
training ends). Trained people keep their p_u.

Cost: linear in pairs and in d (ML-100K: 0.25 CPU seconds an epoch). Limits: the order of the history is not used, and
what trained people do later changes nothing until the next training.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor, nn

from rectitude.data.histories import Histories
from rectitude.models.base import Choice, GradientConfig, ModelConfig, Range, Reads, Recommender
from rectitude.models.batches import BatchSource, PairBatch, PairBatches
from rectitude.models.query import Query
from rectitude.nn.graph import pool
from rectitude.nn.pairwise import bpr_loss, l2_penalty


class BPRConfig(GradientConfig):
    """Settings of BPR-MF."""

    search: ClassVar[dict[str, Range | Choice]] = {
        "n_factors": Choice((32, 64, 128)),
        "l2": Range(1e-3, 0.1, log=True),
        "n_negatives": Choice((1, 2, 4)),
    }

    n_factors: int = Field(64, ge=1)
    """d, width of the user and item vectors; usual range 16 to 256."""
    l2: float = Field(1e-2, ge=0)
    """Weight of half the squared length of the vectors a pair involves; usual range 0 to 0.1."""
    learning_rate: float = Field(5e-3, gt=0)
    """Step size of Adam; usual range 1e-3 to 1e-2."""
    batch_size: int = Field(1024, ge=1)
    """Observed pairs per step, each with its negatives; usual range 256 to 8192."""
    n_negatives: int = Field(1, ge=1)
    """Items drawn per pair that the person has not touched; usual range 1 to 10."""


class BPR(Recommender):
    """User and item vectors; serves trained people by their vector and strangers by their history."""

    name: ClassVar[str] = "bpr"
    title: ClassVar[str] = "BPR-MF"
    paper: ClassVar[str] = (
        "Rendle et al., BPR: Bayesian Personalized Ranking from Implicit Feedback, UAI 2009, arXiv:1205.2618"
    )
    Config: ClassVar[type[ModelConfig]] = BPRConfig
    reads: ClassVar[frozenset[Reads]] = frozenset({"user", "history"})
    serves_new_users: ClassVar[bool] = True

    config: BPRConfig
    fold_in: Tensor

    def __init__(self, config: BPRConfig, n_users: int, n_items: int) -> None:
        super().__init__(config, n_users, n_items)
        self.users = nn.Embedding(n_users, config.n_factors)
        self.items = nn.Embedding(n_items, config.n_factors)
        for table in (self.users, self.items):
            nn.init.normal_(table.weight, std=0.1 / config.n_factors**0.5)
        self.register_buffer("fold_in", torch.zeros(config.n_factors, config.n_factors))  # W

    def prepare(self, train: Histories, content: Mapping[str, npt.NDArray[np.float32]] | None = None) -> None:
        """Keep the histories that :meth:`finish` fits the map for strangers to."""
        super().prepare(train, content)
        self._train = train

    def batches(self, train: Histories) -> BatchSource:
        """Observed pairs with negatives."""
        return PairBatches(train, self.n_items, self.config.batch_size, self.config.n_negatives)

    def loss(self, batch: PairBatch) -> dict[str, Tensor]:
        """Terms ``bpr`` and ``l2``."""
        user = self.users(batch.users)  # [B, d]
        positive, negative = self.items(batch.positives), self.items(batch.negatives)  # [B, d], [B, N, d]
        bpr = bpr_loss((user * positive).sum(1), (negative @ user[:, :, None]).squeeze(2))
        return {"bpr": bpr, "l2": self.config.l2 * l2_penalty(user, positive, negative)}

    @torch.no_grad()
    def finish(self) -> None:
        """Fit the map from a history to a user vector on the trained users."""
        histories = self._pooled(self._train)
        gram = (histories.T @ histories).double()
        target = (histories.T @ self.users.weight).double()
        self.fold_in.copy_(torch.linalg.pinv(gram, rtol=1e-6, hermitian=True) @ target)

    def query_vectors(self, query: Query) -> Tensor:
        """float32 [B, d]: the learnt vector of a trained person, the folded-in history of anybody else."""
        user = query.user_tensor()
        known = self.trained_users[user] & torch.from_numpy(query.users >= 0).to(user.device)
        return torch.where(known[:, None], self.users(user), self._pooled(query.history) @ self.fold_in)

    def item_vectors(self) -> Tensor:
        """float32 [I, d]."""
        return self.items.weight

    def user_vectors(self, query: Query) -> Tensor:
        """float32 [B, d], the learnt vectors of trained people."""
        return self.query_vectors(query) if not self.training else self.users(query.user_tensor())

    def user_tables(self) -> dict[str, Tensor]:
        """The learnt vectors."""
        return {"users": self.users.weight}

    def score_pairs(self, tables: Mapping[str, Tensor], items: Tensor) -> Tensor:
        """float32 [B, K], inner products."""
        scores: Tensor = (self.items(items) @ tables["users"][:, :, None]).squeeze(2)
        return scores

    def _pooled(self, history: Histories) -> Tensor:
        """Sum of the item vectors over the root of their number, [B, d]."""
        n_items = torch.from_numpy(history.unique().lengths).to(self.device)
        return pool(self.items.weight, history) / n_items.clamp(min=1).sqrt()[:, None]
