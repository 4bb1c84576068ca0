"""MultVAE: a variational autoencoder of a person's set of items, with a multinomial likelihood.

Source: Liang, Krishnan, Hoffman, Jebara, "Variational Autoencoders for Collaborative Filtering", WWW 2018,
arXiv:1802.05814.

A person's items x (a 0/1 row, scaled to length 1, with dropout) are encoded into a normal distribution over d latent
numbers with mean μ and standard deviation σ (eq. 3 and section 2.2.1), and a draw z from it is decoded into one logit
per item. Minimised is the negative multinomial log-likelihood of the items had, plus β times the divergence of
N(μ, σ²) from N(0, 1) (eq. 7). Scores are the logits of z = μ (section 2.4).

Departures: β is constant and small. The paper raises it from 0 over 200,000 steps and stops where validation is best;
early stopping ends our trainings long before such a rise gets anywhere.

Cost: a dense decoder of hidden width × I for every person, so an epoch is linear in users × items (ML-100K: 0.25 CPU
seconds). Limits: the order of the history is not used; beyond some 100,000 items the softmax over all of them is slow.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from rectitude.data.histories import Histories
from rectitude.models.base import Choice, GradientConfig, ModelConfig, Range, Reads, Recommender
from rectitude.models.batches import BatchSource, RowBatch, RowBatches
from rectitude.models.query import Query


class MultVAEConfig(GradientConfig):
    """Settings of MultVAE."""

    search: ClassVar[dict[str, Range | Choice]] = {
        "n_hidden": Choice((200, 400, 600, 800)),
        "n_factors": Choice((50, 100, 200)),
        "dropout": Range(0.2, 0.8),
        "kl_weight": Range(1e-3, 1.0, log=True),
    }

    n_hidden: int = Field(600, ge=1)
    """Width of the hidden layer on both sides; usual range 200 to 1000."""
    n_factors: int = Field(200, ge=1)
    """d, number of latent numbers; usual range 50 to 300."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Share of a person's items hidden from the encoder; usual range 0.2 to 0.7."""
    kl_weight: float = Field(0.02, ge=0)
    """β, weight of the divergence; usual range 0 to 0.2."""
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

    def __init__(self, config: MultVAEConfig, n_users: int, n_items: int) -> None:
        super().__init__(config, n_users, n_items)
        self.inputs = nn.Parameter(torch.empty(n_items, config.n_hidden))
        self.inputs_bias = nn.Parameter(torch.zeros(config.n_hidden))
        self.code = nn.Linear(config.n_hidden, 2 * config.n_factors)
        self.expand = nn.Linear(config.n_factors, config.n_hidden)
        self.outputs = nn.Linear(config.n_hidden, n_items)
        nn.init.xavier_normal_(self.inputs)
        for layer in (self.code, self.expand, self.outputs):
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)

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
        share = torch.from_numpy((history.lengths[history.rows] ** -0.5).astype(np.float32)).to(self.device)
        share = F.dropout(share, self.config.dropout, self.training)
        hidden = F.embedding_bag(items, self.inputs, offsets, mode="sum", per_sample_weights=share)  # [B, n_hidden]
        mean, log_variance = self.code(torch.tanh(hidden + self.inputs_bias)).chunk(2, dim=1)
        return mean, log_variance

    def decode(self, code: Tensor) -> Tensor:
        """One logit per item, float32 [B, I], from float32 [B, d]."""
        logits: Tensor = self.outputs(torch.tanh(self.expand(code)))
        return logits

    def loss(self, batch: RowBatch) -> dict[str, Tensor]:
        """Terms ``reconstruction`` and ``kl``, means over the people of the batch."""
        mean, log_variance = self.encode(batch.history)
        logits = self.decode(mean + torch.randn_like(mean) * (0.5 * log_variance).exp())
        rows = torch.from_numpy(batch.history.rows).to(self.device)
        items = torch.from_numpy(batch.history.items.astype(np.int64)).to(self.device)
        surprise = logits.logsumexp(1)[rows] - logits[rows, items]  # one number per item had
        return {
            "reconstruction": surprise.sum() / len(mean),
            "kl": self.config.kl_weight * divergence(mean, log_variance).mean(),
        }

    def user_vectors(self, query: Query) -> Tensor:
        """float32 [B, d], the means μ their histories are encoded to, without dropout."""
        training = self.training
        self.eval()
        mean, _ = self.encode(query.history.unique())
        self.train(training)
        return mean

    def score(self, query: Query) -> Tensor:
        """float32 [B, I], the logits at the mean."""
        mean, _ = self.encode(query.history.unique())
        return self.decode(mean)


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence of N(mean, variance) from N(0, 1), [B] from [B, d] each."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
