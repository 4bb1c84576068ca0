"""NeuMF: a generalised inner product and a small network on user and item vectors, fused.

Source: He, Liao, Zhang, Nie, Hu, Chua, "Neural Collaborative Filtering", WWW 2017, arXiv:1708.05031.

A person has two vectors, one for each half. GMF multiplies its user and item vectors coordinate by coordinate (eq. 8
and 9); the MLP half sends the concatenated vectors of its own tables through layers of rectified units (eq. 10). The
score is a linear function of both results (eq. 12), and binary cross-entropy with sampled negatives is minimised
(eq. 7).

Departures: no pre-training of the halves; Adam throughout. Ranking the whole catalogue computes the first layer of the
MLP once for users and once for items and adds them, because it is linear in the concatenation.

Cost: scores of all items for one person take I passes through the MLP, some 30 times an inner product. Limits: serves
only people it was trained with; the order of the history is not used.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from rectitude.data.histories import Histories
from rectitude.models.base import Choice, GradientConfig, ModelConfig, Range, Reads, Recommender
from rectitude.models.batches import BatchSource, PairBatch, PairBatches
from rectitude.models.query import Query
from rectitude.nn.pairwise import pair_cross_entropy

_SCORES_AT_ONCE = 1 << 17
"""Pairs sent through the MLP together: more fall out of the cache."""


class NeuMFConfig(GradientConfig):
    """Settings of NeuMF."""

    search: ClassVar[dict[str, Range | Choice]] = {
        "n_factors": Choice((16, 32, 64)),
        "weight_decay": Range(1e-7, 1e-4, log=True),
    }

    n_factors: int = Field(32, ge=1)
    """d, width of each of the four tables; usual range 8 to 64."""
    n_layers: int = Field(3, ge=1)
    """Layers of the MLP, each half as wide as the one before it, from 2d on; usual range 1 to 4."""
    init_std: float = Field(0.1, gt=0)
    """Spread of the first vectors; 1 is what the In-UCDS companion uses; usual range 0.01 to 1."""
    learning_rate: float = Field(1e-3, gt=0)
    """Step size of Adam; usual range 1e-4 to 5e-3."""
    weight_decay: float = Field(1e-5, ge=0)
    """L2 penalty added by the optimiser; usual range 0 to 1e-4."""
    batch_size: int = Field(1024, ge=1)
    """Observed pairs per step, each with its negatives; usual range 256 to 8192."""
    n_negatives: int = Field(4, ge=1)
    """Items drawn per pair that the person has not touched; usual range 1 to 10."""


class NeuMF(Recommender):
    """GMF and MLP halves with tables of their own; serves the people it was trained with."""

    name: ClassVar[str] = "neumf"
    title: ClassVar[str] = "NeuMF"
    paper: ClassVar[str] = "He et al., Neural Collaborative Filtering, WWW 2017, arXiv:1708.05031"
    Config: ClassVar[type[ModelConfig]] = NeuMFConfig
    reads: ClassVar[frozenset[Reads]] = frozenset({"user"})
    serves_new_users: ClassVar[bool] = False

    config: NeuMFConfig

    def __init__(self, config: NeuMFConfig, n_users: int, n_items: int) -> None:
        super().__init__(config, n_users, n_items)
        width = config.n_factors
        self.gmf_users, self.gmf_items = nn.Embedding(n_users, width), nn.Embedding(n_items, width)
        self.mlp_users, self.mlp_items = nn.Embedding(n_users, width), nn.Embedding(n_items, width)
        for table in (self.gmf_users, self.gmf_items, self.mlp_users, self.mlp_items):
            nn.init.normal_(table.weight, std=config.init_std)
        widths = [max(1, 2 * width >> layer) for layer in range(config.n_layers + 1)]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.fuse = nn.Linear(width + widths[-1], 1)
        for layer in (*self.layers, self.fuse):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def batches(self, train: Histories) -> BatchSource:
        """Observed pairs with negatives."""
        return PairBatches(train, self.n_items, self.config.batch_size, self.config.n_negatives)

    def loss(self, batch: PairBatch) -> dict[str, Tensor]:
        """Term ``cross_entropy``."""
        items = torch.cat([batch.positives[:, None], batch.negatives], 1)  # [B, 1 + N]
        scores = self._scores(self.gmf_users(batch.users), self.mlp_users(batch.users), items)
        return {"cross_entropy": pair_cross_entropy(scores[:, 0], scores[:, 1:])}

    def score(self, query: Query) -> Tensor:
        """float32 [B, I], logits."""
        user = query.user_tensor()
        everything = torch.arange(self.n_items, device=self.device)
        step = max(1, _SCORES_AT_ONCE // self.n_items)
        parts = [
            self._scores(self.gmf_users(some), self.mlp_users(some), everything.expand(len(some), -1))
            for some in user.split(step)
        ]
        return torch.cat(parts) if parts else self.popularity.new_zeros(0, self.n_items)

    def user_vectors(self, query: Query) -> Tensor:
        """float32 [B, 2d], both halves."""
        user = query.user_tensor()
        return torch.cat([self.gmf_users(user), self.mlp_users(user)], 1)

    def user_tables(self) -> dict[str, Tensor]:
        """The vectors of both halves."""
        return {"gmf": self.gmf_users.weight, "mlp": self.mlp_users.weight}

    def score_pairs(self, tables: Mapping[str, Tensor], items: Tensor) -> Tensor:
        """float32 [B, K], logits."""
        return self._scores(tables["gmf"], tables["mlp"], items)

    def _scores(self, gmf: Tensor, mlp: Tensor, items: Tensor) -> Tensor:
        """float32 [B, K] for people [B, d] twice and items [B, K]."""
        first, *others = self.layers
        of_user, of_item = first.weight.split(self.config.n_factors, 1)  # type: ignore[operator]
        hidden: Tensor = (self.mlp_items.weight @ of_item.T + first.bias)[items] + (mlp @ of_user.T)[:, None]
        hidden = hidden.relu()
        for layer in others:
            hidden = layer(hidden).relu()
        product_weight, mlp_weight = self.fuse.weight[0].split([self.config.n_factors, hidden.shape[-1]])
        product: Tensor = (self.gmf_items(items) @ (gmf * product_weight)[:, :, None]).squeeze(2)
        scores: Tensor = product + hidden @ mlp_weight + self.fuse.bias
        return scores
