"""BERT4Rec: masked-item prediction by bidirectional self-attention.

Source: Sun et al., "BERT4Rec: Sequential Recommendation with Bidirectional Encoder Representations from Transformer",
CIKM 2019, arXiv:1904.06690. Where we depart from it: the default loss is a softmax over sampled negatives with logQ
correction instead of all items (``loss="softmax"`` gives the paper's); blocks are pre-norm; long histories are cut into
windows at random offsets; sequences are padded on the right.

Letters: B batch, L length, d width, I items.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from rectitude.data.histories import Histories
from rectitude.models.batches import SequenceBatch, SequenceBatches
from rectitude.models.query import Query
from rectitude.models.sequential.sasrec import SASRecConfig, SequentialRecommender
from rectitude.nn.losses import NegativeSampler
from rectitude.nn.transformer import Encoder, padding_bias


class BERT4RecConfig(SASRecConfig):
    """Settings of BERT4Rec."""

    mask_rate: float = Field(0.2, gt=0, lt=1)
    """Share of a sequence's items hidden and predicted; usual 0.15 to 0.6, more for short sequences."""
    last_rate: float = Field(0.1, ge=0, le=1)
    """Share of windows of which only the last item is hidden, as it is when a recommendation is asked for."""


class ClozeBatches(SequenceBatches):
    """Windows with hidden items: the inputs hold the mask where the targets hold the item.

    Args:
        train: U rows.
        n_items: I, the padding index; I + 1 is the mask.
        config: Of the model.
        sampler: Draws the negatives of a batch.
    """

    def __init__(self, train: Histories, n_items: int, config: BERT4RecConfig, sampler: NegativeSampler) -> None:
        # A window of n targets spans n + 1 items, and all of them are read here.
        super().__init__(
            train,
            n_items,
            config.batch_size,
            config.max_length - 1,
            sampler,
            last_window_only=config.last_window_only,
        )
        self.mask_rate, self.last_rate = config.mask_rate, config.last_rate

    def _cut(
        self,
        users: npt.NDArray[np.int64],
        begins: npt.NDArray[np.int64],
        counts: npt.NDArray[np.int64],
        generator: torch.Generator,
    ) -> SequenceBatch:
        column = np.arange(self._width(int(counts.max())) + 1)
        inside = column <= counts[:, None]
        items = np.where(inside, self.train.items[np.where(inside, begins[:, None] + column, 0)], self.n_items)
        draws = torch.rand(items.shape, generator=generator).numpy()
        last_only = torch.rand(len(items), generator=generator).numpy() < self.last_rate
        last = column == counts[:, None]
        # The smallest draw of a row is always hidden, so that every window teaches something.
        least = draws == np.where(inside, draws, 2.0).min(axis=1, keepdims=True)
        hidden = np.where(last_only[:, None], last, inside & ((draws < self.mask_rate) | least))
        inputs = np.where(hidden, self.n_items + 1, items).astype(np.int64)
        targets = np.where(hidden, items, -1).astype(np.int64)
        return SequenceBatch(
            torch.from_numpy(inputs), torch.from_numpy(targets), torch.from_numpy(users), self.sampler.draw(generator)
        )


class BERT4Rec(SequentialRecommender):
    """Bidirectional self-attention; a mask behind the history asks for the next item.

    Cost: O(L²·d + L·d²) per sequence and block; only the hidden share of positions is learnt from in a step, so it
    needs more epochs than a causal model.

    Source: arXiv:1904.06690.
    """

    name: ClassVar[str] = "bert4rec"
    title: ClassVar[str] = "BERT4Rec"
    paper: ClassVar[str] = (
        "Sun et al., BERT4Rec: Sequential Recommendation with Bidirectional Encoder Representations from Transformer, "
        "CIKM 2019, arXiv:1904.06690"
    )
    Config: ClassVar[type[BERT4RecConfig]] = BERT4RecConfig
    causal: ClassVar[bool] = False
    config: BERT4RecConfig

    def __init__(self, config: BERT4RecConfig, n_users: int, n_items: int) -> None:
        super().__init__(config, n_users, n_items)
        self.mask = nn.Parameter(torch.empty(1, config.n_factors).normal_(std=0.02))
        self.encoder = Encoder(
            config.n_factors,
            config.n_blocks,
            config.n_heads,
            config.max_length,
            config.dropout,
            hidden=4 * config.n_factors,
            activation=F.gelu,
        )

    def batches(self, train: Histories) -> ClozeBatches:
        """Windows with hidden items and shared negatives."""
        sampler = NegativeSampler(self.popularity.cpu(), self.config.n_negatives, self.config.negative_power)
        return ClozeBatches(train, self.n_items, self.config, sampler)

    def states(self, inputs: Tensor) -> Tensor:
        """Int64 [B, L], right-padded with I, masks as I + 1, to [B, L, d]. Every position reads every item."""
        return self._encoded(inputs)

    def states_at(self, inputs: Tensor, places: Tensor) -> Tensor:
        """[B, d]; the last block works for one place of each row."""
        return self._encoded(inputs, places)

    def _encoded(self, inputs: Tensor, places: Tensor | None = None) -> Tensor:
        embedded = self.embed(inputs, torch.cat([self.items.weight, self.mask]))
        states: Tensor = self.encoder(embedded, padding_bias(inputs == self.n_items), places)
        return states

    def _last_states(self, query: Query) -> Tensor:
        """State at a mask put behind the last ``max_length`` - 1 items of each history."""
        inputs, lengths = query.window(self.config.max_length - 1, self.n_items)
        inputs = F.pad(inputs, (0, 1), value=self.n_items)
        rows = torch.arange(len(query), device=inputs.device)
        inputs[rows, lengths] = self.n_items + 1
        return self.states_at(inputs, lengths)
