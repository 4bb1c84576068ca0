"""SASRec: next-item prediction by causal self-attention.

Source: Kang & McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018, arXiv:1808.09781.
Where we depart from it:

- The default loss is a softmax over sampled negatives with logQ correction, not binary cross-entropy with one
  negative; the loss alone lifts NDCG@10 on MovieLens-1M by about half (Klenitskiy & Vasilev, RecSys 2023,
  arXiv:2309.07602). ``loss="bce"`` gives the paper's.
- Item embeddings are normalised on the way in, and layers normalise their input (pre-norm), and queries come from the
  same normalised input as keys and values.
- Every event of a long history is a target once per epoch, by windows at random offsets; ``last_window_only=true``
  trains on the last ``max_length`` events only, as the paper does.
- Sequences are padded on the right, so causality alone hides the padding, and positions count from the oldest item of
  a window.
- No dropout on attention weights.

Letters: B batch, L length, d width, I items.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from rectitude.data.histories import Histories
from rectitude.models.base import Choice, GradientConfig, Range, Reads, Recommender
from rectitude.models.batches import SequenceBatch, SequenceBatches
from rectitude.models.query import Query
from rectitude.nn.losses import LossName, NegativeSampler, next_item_loss
from rectitude.nn.transformer import Encoder, causal_bias

_TOKENS_AT_ONCE = 1024
"""Positions encoded together when answering: few enough to stay in the cache, whatever the number of questions."""


class SequentialConfig(GradientConfig):
    """Settings that sequential models share."""

    search: ClassVar[dict[str, Range | Choice]] = {
        "n_factors": Choice((32, 64, 128)),
        "dropout": Range(0.1, 0.5),
        "n_negatives": Choice((256, 1024, 4096)),
    }

    n_factors: int = Field(64, ge=2)
    """Width of item vectors and states; usual 32 to 256."""
    max_length: int = Field(50, ge=2)
    """Most recent items read; usual 50 to 200."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Share of activations dropped in training; more for small data, usual 0.1 to 0.5."""
    loss: LossName = "sampled_softmax"
    """sampled_softmax, softmax (all items), gbce, bce or bpr."""
    n_negatives: int = Field(1024, ge=1)
    """Items drawn per batch as negatives, for every loss but softmax; more learn faster, usual 256 to 4096."""
    learning_rate: float = Field(2e-3, gt=0)
    """Step size of Adam; usual 5e-4 to 5e-3."""
    negative_power: float = Field(0.0, ge=0, le=1)
    """Negatives are drawn in proportion to popularity to this power; 0 is uniform."""
    last_window_only: bool = False
    """Train on the last max_length + 1 events of each person only."""


class SASRecConfig(SequentialConfig):
    """Settings of SASRec."""

    search: ClassVar[dict[str, Range | Choice]] = {"n_blocks": Choice((1, 2, 3)), "n_heads": Choice((1, 2, 4))}

    n_blocks: int = Field(2, ge=1)
    """Self-attention blocks; usual 1 to 4."""
    n_heads: int = Field(2, ge=1)
    """Attention heads, a divisor of n_factors."""

    @model_validator(mode="after")
    def _heads_divide_factors(self) -> SASRecConfig:
        if self.n_factors % self.n_heads:
            raise ValueError(f"n_heads={self.n_heads} does not divide n_factors={self.n_factors}")
        return self


class SequentialRecommender(Recommender):
    """What models share that turn a history into one vector and compare it with item vectors.

    They write ``states``: inputs [B, L] to states [B, L, d]; and ``states_at`` where one of a row costs less than all.
    """

    causal: ClassVar[bool] = True
    """The state at t has read positions 0 to t only; what the shifted targets of :meth:`batches` demand."""
    n_paths: ClassVar[int] = 1
    """Embeddings of an item that the encoder reads side by side; each can be enriched."""
    reads: ClassVar[frozenset[Reads]] = frozenset({"history"})
    serves_new_users: ClassVar[bool] = True
    config: SequentialConfig

    def __init__(self, config: SequentialConfig, n_users: int, n_items: int) -> None:
        super().__init__(config, n_users, n_items)
        self.enrich: Callable[[Tensor, Tensor, int], Tensor] | None = None
        self.enrich_table: Callable[[Tensor, int], Tensor] | None = None
        self.items = nn.Embedding(n_items + 1, config.n_factors, padding_idx=n_items)
        nn.init.normal_(self.items.weight, std=0.02)
        with torch.no_grad():
            self.items.weight[n_items].zero_()

    def states(self, inputs: Tensor) -> Tensor:
        """Int64 [B, L], right-padded with I, to [B, L, d]."""
        raise NotImplementedError

    def states_at(self, inputs: Tensor, places: Tensor) -> Tensor:
        """[B, d], the state at one place (int64 [B]) of each row."""
        return self.states(inputs)[torch.arange(len(inputs), device=inputs.device), places]

    def embed(self, inputs: Tensor, table: Tensor | None = None, path: int = 0) -> Tensor:
        """What the encoder reads at each position: the item's embedding and whatever a module around the model adds.

        Args:
            inputs: int64 [B, L].
            table: float [≥ I + 1, d] to look up in, the item embeddings if None.
            path: Which of the ``n_paths`` embeddings it is.
        """
        table = self.items.weight if table is None else table
        embedded = F.embedding(inputs, table, padding_idx=self.n_items)
        return embedded if self.enrich is None else self.enrich(embedded, inputs, path)

    def scored(self, table: Tensor, path: int = 0) -> Tensor:
        """A table of embeddings as items are scored by it: with whatever a module around the model adds.

        Args:
            table: float [≥ I + 1, d].
            path: Which of the ``n_paths`` embeddings it is.
        """
        return table if self.enrich_table is None else self.enrich_table(table, path)

    def item_table(self) -> Tensor:
        """float [≥ I, d], what states are compared with in training."""
        return self.scored(self.items.weight)

    def batches(self, train: Histories) -> SequenceBatches:
        """Shifted windows with shared negatives."""
        config = self.config
        sampler = NegativeSampler(self.popularity.cpu(), config.n_negatives, config.negative_power)
        return SequenceBatches(
            train,
            self.n_items,
            config.batch_size,
            config.max_length,
            sampler,
            last_window_only=config.last_window_only,
        )

    def loss(self, batch: SequenceBatch) -> dict[str, Tensor]:
        """Next-item loss at every position that has a target."""
        states = self.states(batch.inputs).flatten(0, 1)
        targets = batch.targets.flatten()
        real = targets >= 0
        if not bool(real.all()):
            states, targets = states[real], targets[real]
        loss = next_item_loss(self.config.loss, states, self.item_table(), targets, batch.negatives, self.n_items)
        return {"next_item": loss}

    def query_vectors(self, query: Query) -> Tensor:
        """State at the last item of each history; zeros where the history is empty."""
        rows = max(1, _TOKENS_AT_ONCE // self.config.max_length)
        parts = [self._last_states(query.slice(start, start + rows)) for start in range(0, max(1, len(query)), rows)]
        return torch.cat(parts)

    def _last_states(self, query: Query) -> Tensor:
        inputs, lengths = query.window(self.config.max_length, self.n_items)
        last = self.states_at(inputs, (lengths - 1).clamp(min=0))
        return last * (lengths > 0).to(last.dtype)[:, None]

    def item_vectors(self) -> Tensor:
        """The input embeddings serve as output weights too."""
        return self.item_table()[: self.n_items]


class SASRec(SequentialRecommender):
    """Causal self-attention over the last ``max_length`` items.

    Cost: O(L²·d + L·d²) per sequence and block; training scores N negatives per position.

    Source: arXiv:1808.09781.
    """

    name: ClassVar[str] = "sasrec"
    title: ClassVar[str] = "SASRec"
    paper: ClassVar[str] = "Kang & McAuley, Self-Attentive Sequential Recommendation, ICDM 2018, arXiv:1808.09781"
    Config: ClassVar[type[SASRecConfig]] = SASRecConfig
    config: SASRecConfig

    def __init__(self, config: SASRecConfig, n_users: int, n_items: int) -> None:
        super().__init__(config, n_users, n_items)
        self.encoder = Encoder(config.n_factors, config.n_blocks, config.n_heads, config.max_length, config.dropout)

    def states(self, inputs: Tensor) -> Tensor:
        """Int64 [B, L] to [B, L, d]."""
        return self._encoded(inputs)

    def states_at(self, inputs: Tensor, places: Tensor) -> Tensor:
        """[B, d]; the last block works for one place of each row."""
        return self._encoded(inputs, places)

    def _encoded(self, inputs: Tensor, places: Tensor | None = None) -> Tensor:
        states: Tensor = self.encoder(self.embed(inputs), causal_bias(inputs.shape[1], inputs.device), places)
        return states
