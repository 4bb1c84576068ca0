"""NGCF: user and item vectors sent along the graph of who has what, transformed at every step.

Source: Wang, He, Wang, Feng, Chua, "Neural Graph Collaborative Filtering", SIGIR 2019, arXiv:1905.08108.

With learnt vectors E⁰ [U + I, d] and the symmetrically normalised adjacency L, layer k + 1 is
E^(k+1) = LeakyReLU((L + 1) E^(k) W₁ + (L E^(k) ⊙ E^(k)) W₂) (eq. 7), and a node's final vector is the concatenation of
its layers (eq. 9). The score is the inner product of a user's and an item's final vectors (eq. 10).

Departures: each layer's output is scaled to length 1 before it is concatenated and messages are dropped at random, both
as in the authors' code; the adjacency is that of the training pairs. The loss is binary cross-entropy with sampled
negatives, as in the In-UCDS companion, or the paper's own BPR (eq. 11). Serves only people it was trained with.

Cost: each step propagates over the whole graph forth and back, so large batches make short epochs. Limits: the order of
the history is not used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from rectitude.data.histories import Histories
from rectitude.models.base import Choice, GradientConfig, ModelConfig, Range, Reads, Recommender
from rectitude.models.batches import BatchSource, PairBatch, PairBatches
from rectitude.models.query import Query
from rectitude.nn.graph import BipartiteGraph
from rectitude.nn.pairwise import bpr_loss, l2_penalty, pair_cross_entropy


class NGCFConfig(GradientConfig):
    """Settings of NGCF."""

    search: ClassVar[dict[str, Range | Choice]] = {
        "n_factors": Choice((16, 32, 64)),
        "n_layers": Choice((1, 2, 3)),
        "l2": Range(1e-5, 0.1, log=True),
    }

    n_factors: int = Field(32, ge=1)
    """d, width of the learnt vectors and of each layer; usual range 16 to 64."""
    n_layers: int = Field(1, ge=1)
    """K, propagation steps; usual range 1 to 3."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Share of a layer's messages dropped in training; usual range 0 to 0.5."""
    loss: Literal["cross_entropy", "bpr"] = "cross_entropy"
    """Which loss; bpr is the paper's, cross_entropy the In-UCDS companion's."""
    l2: float = Field(1e-3, ge=0)
    """Weight of half the squared length of the learnt vectors E⁰ a pair involves; usual range 0 to 0.1."""
    learning_rate: float = Field(5e-3, gt=0)
    """Step size of Adam; usual range 5e-4 to 1e-2."""
    batch_size: int = Field(2048, ge=1)
    """Observed pairs per step; usual range 1024 to 16384."""
    n_negatives: int = Field(4, ge=1)
    """Items drawn per pair that the person has not touched; usual range 1 to 10."""


class NGCF(Recommender):
    """Graph-propagated vectors with learnt transformations; serves the people it was trained with."""

    name: ClassVar[str] = "ngcf"
    title: ClassVar[str] = "NGCF"
    paper: ClassVar[str] = "Wang et al., Neural Graph Collaborative Filtering, SIGIR 2019, arXiv:1905.08108"
    Config: ClassVar[type[ModelConfig]] = NGCFConfig
    reads: ClassVar[frozenset[Reads]] = frozenset({"user"})
    serves_new_users: ClassVar[bool] = False

    config: NGCFConfig
    graph: BipartiteGraph
    users: Tensor
    items: Tensor

    def __init__(self, config: NGCFConfig, n_users: int, n_items: int) -> None:
        super().__init__(config, n_users, n_items)
        width = config.n_factors
        self.nodes = nn.Embedding(n_users + n_items, width)  # E⁰
        nn.init.normal_(self.nodes.weight, std=0.1)
        self.passed = nn.ModuleList(nn.Linear(width, width) for _ in range(config.n_layers))  # W₁
        self.shared = nn.ModuleList(nn.Linear(width, width) for _ in range(config.n_layers))  # W₂
        for layer in (*self.passed, *self.shared):
            nn.init.xavier_uniform_(layer.weight)
        self.register_buffer("users", torch.zeros(n_users, width * (config.n_layers + 1)))
        self.register_buffer("items", torch.zeros(n_items, width * (config.n_layers + 1)))

    def prepare(self, train: Histories, content: Mapping[str, npt.NDArray[np.float32]] | None = None) -> None:
        """Build the graph."""
        super().prepare(train, content)
        self.graph = BipartiteGraph(train, self.n_items).to(self.device)

    def batches(self, train: Histories) -> BatchSource:
        """Observed pairs with negatives."""
        return PairBatches(train, self.n_items, self.config.batch_size, self.config.n_negatives)

    def propagate(self) -> Tensor:
        """Final vectors of all nodes, float32 [U + I, d (K + 1)]."""
        nodes = self.nodes.weight
        layers = [nodes]
        for passed, shared in zip(self.passed, self.shared, strict=True):
            with_own = 2 * self.graph(nodes, 1)  # (L + 1) E
            nodes = F.leaky_relu(passed(with_own) + shared((with_own - nodes) * nodes), 0.2)
            nodes = F.dropout(nodes, self.config.dropout, self.training)
            layers.append(F.normalize(nodes))
        return torch.cat(layers, 1)

    def loss(self, batch: PairBatch) -> dict[str, Tensor]:
        """Terms ``cross_entropy`` or ``bpr``, and ``l2``."""
        final = self.propagate()
        nodes = torch.cat([batch.users, batch.positives + self.n_users, (batch.negatives + self.n_users).flatten()])
        sizes = [len(batch.users), len(batch.users), batch.negatives.numel()]
        user, positive, drawn = F.embedding(nodes, final).split(sizes)
        negative = (drawn.view(*batch.negatives.shape, -1) @ user[:, :, None]).squeeze(2)
        compared = bpr_loss if self.config.loss == "bpr" else pair_cross_entropy
        ranking = compared((user * positive).sum(1), negative)
        return {self.config.loss: ranking, "l2": self.config.l2 * l2_penalty(*self.nodes(nodes).split(sizes))}

    @torch.no_grad()
    def finish(self) -> None:
        """Propagate and keep the final vectors, so that a loaded model does without the graph."""
        users, items = self.propagate().split([self.n_users, self.n_items])
        self.users.copy_(users)
        self.items.copy_(items)

    def query_vectors(self, query: Query) -> Tensor:
        """float32 [B, d (K + 1)], final vectors."""
        return self.users[query.user_tensor()]

    def item_vectors(self) -> Tensor:
        """float32 [I, d (K + 1)], final vectors."""
        return self.items

    def user_vectors(self, query: Query) -> Tensor:
        """float32 [B, d (K + 1)]: propagated anew in training, the kept ones afterwards."""
        return self.propagate()[query.user_tensor()] if self.training else self.query_vectors(query)

    def user_tables(self) -> dict[str, Tensor]:
        """The final vectors, which are served, and the learnt ones they were made from."""
        return {"final": self.users, "learnt": self.nodes.weight[: self.n_users]}

    def score_pairs(self, tables: Mapping[str, Tensor], items: Tensor) -> Tensor:
        """float32 [B, K], inner products of final vectors."""
        return (self.items[items] @ tables["final"][:, :, None]).squeeze(2)
