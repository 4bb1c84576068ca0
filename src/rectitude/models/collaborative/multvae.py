"""MultVAE: a variational autoencoder of a person's set of items, with a multinomial likelihood.

Source: Liang, Krishnan, Hoffman, Jebara, "Variational Autoencoders for Collaborative Filtering", WWW 2018,
arXiv:1802.05814.

A person's items x (a 0/1 row, scaled to length 1, with dropout) are encoded into a normal distribution over d latent
numbers with mean μ and standard deviation σ (eq. 3 and section 2.2.1); a draw z is decoded into one logit per item. Minimised is the negative
multinomial log-likelihood of the items had, plus β times the divergence of N(μ, σ²) from N(0, 1) (eq. 7). β rises in equal steps
from 0 to its full value, since a full penalty from the beginning keeps the latent numbers empty (section 2.2.2). Scores are the
logits of z = μ (section 2.4).

Departures: the two terms are averaged over the items had by the batch, not over its users; their ratio is the published one.

Cost: a dense decoder of hidden width × I per person, so an epoch is linear in users × items. Limits: the order of the
history is not used; beyond some 100,000 items the softmax over all of them is slow.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from rectitude.data.histories import Histories
from rectitude.models.base import GradientConfig, ModelConfig, Reads, Recommender
from rectitude.models.batches import BatchSource, RowBatch, RowBatches
from rectitude.models.query import Query


class MultVAEConfig(GradientConfig):
    """Settings of MultVAE."""

    n_hidden: int = Field(600, ge=1)
    """Width of the hidden layer on both sides; usual range 200 to 1000."""
    n_factors: int = Field(200, ge=1)
    """d, number of latent numbers; usual range 50 to 300."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Share of a person's items hidden from the encoder; usual range 0.2 to 0.7."""
    beta: float = Field(0.2, ge=0)
    """Final weight β of the divergence; usual range 0.1 to 1."""
    anneal_steps: int = Field(1000, ge=1)
    """Training steps over which β rises from 0; usually a few tens of epochs."""
    epochs: int = Field(200, ge=1)
    """Most passes over the training data; early stopping usually ends sooner."""


class MultVAE(Recommender):
    """Encodes a history and decodes a score for every item; serves anybody who has a history."""

    name: ClassVar[str] = "multvae"
    title: ClassVar[str] = "MultVAE"
    paper: ClassVar[str] = (
        "Liang et al., Variational Autoencoders for Collaborative Filtering, WWW 2018, arXiv:1802.05814"
    )
    Config: ClassVar[type[ModelConfig]] = MultVAEConfig
    reads: ClassVar[frozenset[Reads]] = frozenset({"history"})
    serves_new_users: ClassVar[bool] = True

    config: MultVAEConfig
    steps: Tensor

    def __init__(self, config: MultVAEConfig, n_users: int, n_items: int) -> None:
        super().__init__(config, n_users, n_items)
        self.items = nn.Embedding(n_items, config.n_hidden)  # first layer's weights, one row per item
        self.hidden_bias = nn.Parameter(torch.zeros(config.n_hidden))
        self.latent = nn.Linear(config.n_hidden, 2 * config.n_factors)
        self.decoder = nn.Sequential(
            nn.Linear(config.n_factors, config.n_hidden), nn.Tanh(), nn.Linear(config.n_hidden, n_items)
        )
        for weight in (self.items.weight, self.latent.weight, self.decoder[0].weight, self.decoder[2].weight):
            nn.init.xavier_normal_(weight)
        for layer in (self.latent, self.decoder[0], self.decoder[2]):
            nn.init.zeros_(layer.bias)
        self.register_buffer("steps", torch.tensor(0))  # saved, so that a resumed training goes on annealing

    def batches(self, train: Histories) -> BatchSource:
        """Whole users."""
        return RowBatches(train, self.config.batch_size)

    def encode(self, history: Histories) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance of each row's latent numbers.

        Args:
            history: B rows of distinct items.

        Returns:
            float32 [B, d] each.
        """
        items = torch.from_numpy(history.items.astype(np.int64)).to(self.device)
        offsets = torch.from_numpy(history.offsets[:-1]).to(self.device)
        scale = torch.from_numpy((history.lengths[history.rows] ** -0.5).astype(np.float32)).to(self.device)
        kept = F.dropout(scale, self.config.dropout, self.training)
        hidden = F.embedding_bag(items, self.items.weight, offsets, mode="sum", per_sample_weights=kept)
        mean, log_variance = self.latent(torch.tanh(hidden + self.hidden_bias)).chunk(2, dim=1)
        return mean, log_variance

    def loss(self, batch: RowBatch) -> dict[str, Tensor]:
        """Terms ``multinomial`` and ``divergence``."""
        mean, log_variance = self.encode(batch.history)
        draw = torch.randn_like(mean) if self.training else torch.zeros_like(mean)
        logits = self.decoder(mean + draw * (0.5 * log_variance).exp())  # [B, I]
        rows = torch.from_numpy(batch.history.rows).to(self.device)
        items = torch.from_numpy(batch.history.items.astype(np.int64)).to(self.device)
        multinomial = (logits.logsumexp(1)[rows] - logits[rows, items]).mean()
        if self.training:
            self.steps += 1
        beta = self.config.beta * (self.steps / self.config.anneal_steps).clamp(max=1.0)
        return {"multinomial": multinomial, "divergence": beta * divergence(mean, log_variance) / batch.n_targets}

    def score(self, query: Query) -> Tensor:
        """float32 [B, I], the logits at the mean."""
        mean, _ = self.encode(query.history.unique())
        logits: Tensor = self.decoder(mean)
        return logits


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence of N(mean, variance) from N(0, 1), summed over all entries."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum()
