"""LightGCN: user and item vectors smoothed over the graph of who has what.

Source: He, Deng, Wang, Li, Zhang, Wang, "LightGCN: Simplifying and Powering Graph Convolution Network for
Recommendation", SIGIR 2020, arXiv:2002.02126.

With learnt vectors E⁰ [U + I, d] and the symmetrically normalised adjacency A of the user-item graph, layer k + 1 is
E^(k+1) = A E^(k) (eq. 7) and the final vectors are the mean of layers 0 to K (eq. 8 with α = 1 / (K + 1)). The score is
the inner product of a user's and an item's final vectors.

Two losses. ``sampled_softmax``, the default: cross-entropy of the observed item against items drawn uniformly, with the
cosine of the final vectors over a temperature as score (Wu et al., "On the Effectiveness of Sampled Softmax Loss for
Item Recommendation", TOIS 2024, arXiv:2201.02327); it needs far fewer epochs and ranks better. ``bpr``: the paper's own
(eq. 15), with the inner product as score.

Departures: none with ``bpr``. A stranger has no learnt vector, so theirs is what the graph would send a new node with
their history and a zero vector of its own: the sum over the history's items i and the layers k < K of
e_i^(k) / √(degree of i · length of the history), over K + 1. Trained people keep their vector.

Cost: each step propagates over the whole graph forth and back, 8 K d operations per observed pair whatever the batch
size, so large batches make short epochs. Limits: the order of the history is not used, and what trained people do later
changes nothing until the next training.
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
from rectitude.nn.graph import BipartiteGraph, pool
from rectitude.nn.losses import NegativeSampler, sampled_softmax
from rectitude.nn.pairwise import bpr_loss, l2_penalty


class LightGCNConfig(GradientConfig):
    """Settings of LightGCN."""

    search: ClassVar[dict[str, Range | Choice]] = {
        "n_factors": Choice((32, 64, 128)),
        "n_layers": Choice((1, 2, 3)),
        "temperature": Range(0.05, 0.3, log=True),
    }

    n_factors: int = Field(64, ge=1)
    """d, width of the vectors; usual range 32 to 256."""
    n_layers: int = Field(2, ge=1)
    """K, propagation steps; usual range 1 to 4."""
    loss: Literal["sampled_softmax", "bpr"] = "sampled_softmax"
    """Which loss; bpr is the paper's, sampled_softmax converges in far fewer epochs."""
    temperature: float = Field(0.1, gt=0)
    """What cosines are divided by (sampled_softmax only); usual range 0.05 to 0.3."""
    n_shared_negatives: int = Field(512, ge=1)
    """Items drawn per batch, everybody's negatives (sampled_softmax only); usual range 256 to 4096."""
    n_negatives: int = Field(1, ge=1)
    """Items drawn per pair that the person has not touched (bpr only); usual range 1 to 10."""
    l2: float = Field(0.0, ge=0)
    """Weight of half the squared length of the learnt vectors E⁰ a pair involves; with bpr usually 1e-5 to 1e-2."""
    learning_rate: float = Field(1e-2, gt=0)
    """Step size of Adam; usual range 5e-4 to 1e-2, growing with the batch size."""
    batch_size: int = Field(2048, ge=1)
    """Observed pairs per step; usual range 1024 to 16384."""
    epochs: int = Field(300, ge=1)
    """Most passes over the training data; early stopping usually ends sooner."""


class LightGCN(Recommender):
    """Graph-smoothed vectors; serves trained people by their vector and strangers by their history."""

    name: ClassVar[str] = "lightgcn"
    title: ClassVar[str] = "LightGCN"
    paper: ClassVar[str] = (
        "He et al., LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation, SIGIR 2020, "
        "arXiv:2002.02126"
    )
    Config: ClassVar[type[ModelConfig]] = LightGCNConfig
    reads: ClassVar[frozenset[Reads]] = frozenset({"user", "history"})
    serves_new_users: ClassVar[bool] = True

    config: LightGCNConfig
    graph: BipartiteGraph
    users: Tensor
    items: Tensor
    messages: Tensor

    def __init__(self, config: LightGCNConfig, n_users: int, n_items: int) -> None:
        super().__init__(config, n_users, n_items)
        self.nodes = nn.Embedding(n_users + n_items, config.n_factors)  # E⁰
        nn.init.normal_(self.nodes.weight, std=0.1)
        self.register_buffer("users", torch.zeros(n_users, config.n_factors))
        self.register_buffer("items", torch.zeros(n_items, config.n_factors))
        self.register_buffer("messages", torch.zeros(n_items, config.n_factors))

    def prepare(self, train: Histories, content: Mapping[str, npt.NDArray[np.float32]] | None = None) -> None:
        """Build the graph."""
        super().prepare(train, content)
        self.graph = BipartiteGraph(train, self.n_items).to(self.device)

    def batches(self, train: Histories) -> BatchSource:
        """Observed pairs with negatives: each its own, or all the same."""
        if self.config.loss == "bpr":
            return PairBatches(train, self.n_items, self.config.batch_size, self.config.n_negatives)
        sampler = NegativeSampler(self.popularity.cpu(), self.config.n_shared_negatives)
        return PairBatches(train, self.n_items, self.config.batch_size, 0, sampler)

    def loss(self, batch: PairBatch) -> dict[str, Tensor]:
        """Terms ``softmax`` or ``bpr``, and ``l2``."""
        final = self.graph(self.nodes.weight, self.config.n_layers)
        touched = [batch.users, batch.positives + self.n_users]
        if self.config.loss == "bpr":
            touched.append((batch.negatives + self.n_users).flatten())
        # One look-up for all: each costs a gradient as large as the table.
        nodes, sizes = torch.cat(touched), [len(part) for part in touched]
        user, positive, *negative = F.embedding(nodes, final).split(sizes)
        if self.config.loss == "bpr":
            drawn = negative[0].view(*batch.negatives.shape, -1)  # [B, N, d]
            ranking = {"bpr": bpr_loss((user * positive).sum(1), (user[:, None] * drawn).sum(2))}
        else:
            if batch.shared is None:
                raise ValueError("the sampled softmax needs a batch with shared negatives")
            states = F.normalize(user, dim=1) / self.config.temperature
            items = F.normalize(final[self.n_users :], dim=1)
            ranking = {"softmax": sampled_softmax(states, items, batch.positives, batch.shared)}
        return ranking | {"l2": self.config.l2 * l2_penalty(*self.nodes(nodes).split(sizes))}

    @torch.no_grad()
    def finish(self) -> None:
        """Propagate and keep what serving needs, so that a loaded model does without the graph."""
        n_layers = self.config.n_layers
        users, items = self.graph(self.nodes.weight, n_layers).split([self.n_users, self.n_items])
        self.users.copy_(self._scored(users))
        self.items.copy_(self._scored(items))
        sent = self.graph(self.nodes.weight, n_layers - 1) * (n_layers / (n_layers + 1))
        self.messages.copy_((sent / self.graph.degrees.clamp(min=1).sqrt()[:, None])[self.n_users :])

    def query_vectors(self, query: Query) -> Tensor:
        """float32 [B, d]: the final vector of a trained person, the folded-in history of anybody else."""
        user = query.user_tensor()
        known = self.trained_users[user] & torch.from_numpy(query.users >= 0).to(user.device)
        length = torch.from_numpy(query.history.unique().lengths).to(user.device)
        stranger = pool(self.messages, query.history) / length.clamp(min=1).sqrt()[:, None]
        return torch.where(known[:, None], self.users[user], self._scored(stranger))

    def item_vectors(self) -> Tensor:
        """float32 [I, d], final vectors."""
        return self.items

    def user_vectors(self, query: Query) -> Tensor:
        """float32 [B, d]: propagated anew in training, the kept ones afterwards."""
        if not self.training:
            return self.query_vectors(query)
        nodes: Tensor = self.graph(self.nodes.weight, self.config.n_layers)
        return nodes[query.user_tensor()]

    def user_tables(self) -> dict[str, Tensor]:
        """The final vectors, which are served, and the learnt ones they were made from."""
        return {"final": self.users, "learnt": self.nodes.weight[: self.n_users]}

    def score_pairs(self, tables: Mapping[str, Tensor], items: Tensor) -> Tensor:
        """float32 [B, K], inner products of final vectors."""
        return (self.items[items] @ tables["final"][:, :, None]).squeeze(2)

    def _scored(self, vectors: Tensor) -> Tensor:
        """Vectors whose inner product is the score that was trained."""
        return vectors if self.config.loss == "bpr" else F.normalize(vectors, dim=1)
