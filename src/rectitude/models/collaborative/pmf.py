"""PMF: matrix factorisation that gives the probability of an interaction.

Source: Salakhutdinov & Mnih, "Probabilistic Matrix Factorization", NIPS 2007.

The score of item i for user u is p_u · q_i, with independent normal priors on both (eq. 3 and 4), which are an L2
penalty on the vectors (eq. 5).

Departures: what is observed is whether a person chose an item, not a rating, so the likelihood is Bernoulli with
probability σ(p_u · q_i) instead of normal, and items a person did not choose are drawn as zeros. This is the form in
which the fairness literature uses the model (In-UCDS and its rivals).

Cost: linear in pairs, in negatives and in d. Limits: serves only people it was trained with; the order of the history
is not used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field
from torch import Tensor, nn

from rectitude.data.histories import Histories
from rectitude.models.base import Choice, GradientConfig, ModelConfig, Range, Reads, Recommender
from rectitude.models.batches import BatchSource, PairBatch, PairBatches
from rectitude.models.query import Query
from rectitude.nn.pairwise import l2_penalty, pair_cross_entropy


class PMFConfig(GradientConfig):
    """Settings of PMF."""

    search: ClassVar[dict[str, Range | Choice]] = {
        "n_factors": Choice((16, 32, 64)),
        "l2": Range(1e-4, 0.1, log=True),
    }

    n_factors: int = Field(32, ge=1)
    """d, width of the user and item vectors; usual range 16 to 128."""
    l2: float = Field(2e-3, ge=0)
    """Weight of half the squared length of the vectors a pair involves; usual range 0 to 0.1."""
    learning_rate: float = Field(5e-3, gt=0)
    """Step size of Adam; usual range 1e-4 to 1e-2."""
    batch_size: int = Field(1024, ge=1)
    """Observed pairs per step, each with its negatives; usual range 256 to 8192."""
    n_negatives: int = Field(4, ge=1)
    """Items drawn per pair that the person has not touched; usual range 1 to 10."""


class PMF(Recommender):
    """User and item vectors under a cross-entropy loss; serves the people it was trained with."""

    name: ClassVar[str] = "pmf"
    title: ClassVar[str] = "PMF"
    paper: ClassVar[str] = "Salakhutdinov & Mnih, Probabilistic Matrix Factorization, NIPS 2007"
    Config: ClassVar[type[ModelConfig]] = PMFConfig
    reads: ClassVar[frozenset[Reads]] = frozenset({"user"})
    serves_new_users: ClassVar[bool] = False

    config: PMFConfig

    def __init__(self, config: PMFConfig, n_users: int, n_items: int) -> None:
        super().__init__(config, n_users, n_items)
        self.users = nn.Embedding(n_users, config.n_factors)
        self.items = nn.Embedding(n_items, config.n_factors)
        for table in (self.users, self.items):
            nn.init.normal_(table.weight, std=0.1)

    def batches(self, train: Histories) -> BatchSource:
        """Observed pairs with negatives."""
        return PairBatches(train, self.n_items, self.config.batch_size, self.config.n_negatives)

    def loss(self, batch: PairBatch) -> dict[str, Tensor]:
        """Terms ``cross_entropy`` and ``l2``."""
        user = self.users(batch.users)  # [B, d]
        positive, negative = self.items(batch.positives), self.items(batch.negatives)  # [B, d], [B, N, d]
        entropy = pair_cross_entropy((user * positive).sum(1), (negative @ user[:, :, None]).squeeze(2))
        return {"cross_entropy": entropy, "l2": self.config.l2 * l2_penalty(user, positive, negative)}

    def query_vectors(self, query: Query) -> Tensor:
        """float32 [B, d], the learnt vectors."""
        vectors: Tensor = self.users(query.user_tensor())
        return vectors

    def item_vectors(self) -> Tensor:
        """float32 [I, d]."""
        return self.items.weight

    def user_tables(self) -> dict[str, Tensor]:
        """The learnt vectors."""
        return {"users": self.users.weight}

    def score_pairs(self, tables: Mapping[str, Tensor], items: Tensor) -> Tensor:
        """float32 [B, K], inner products."""
        scores: Tensor = (self.items(items) @ tables["users"][:, :, None]).squeeze(2)
        return scores
