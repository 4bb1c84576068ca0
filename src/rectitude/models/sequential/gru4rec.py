"""GRU4Rec: next-item prediction by a recurrent network.

Source: Hidasi et al., "Session-based Recommendations with Recurrent Neural Networks", ICLR 2016, arXiv:1511.06939.

Departures: sequences are a person's history rather than a session; batches are windows rather than parallel sessions;
item vectors are shared between input and output; the default loss is a softmax over sampled negatives with logQ
correction, in the spirit of the authors' own later losses (Hidasi & Karatzoglou, CIKM 2018, arXiv:1706.03847).

Letters: B batch, L length, d width, h hidden units, I items.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor, nn

from rectitude.models.sequential.sasrec import SequentialConfig, SequentialRecommender
from rectitude.nn.dropout import Dropout


class GRU4RecConfig(SequentialConfig):
    """Settings of GRU4Rec."""

    n_layers: int = Field(1, ge=1)
    """Stacked recurrent layers; usual 1 or 2."""
    n_hidden: int = Field(128, ge=1)
    """Hidden units of a layer; usual 64 to 512."""


class GRU4Rec(SequentialRecommender):
    """Gated recurrent units over the last ``max_length`` items, mapped back to the width of item vectors.

    Cost: O(L·h²) per sequence, and L steps that cannot run at the same time.

    Source: arXiv:1511.06939.
    """

    name: ClassVar[str] = "gru4rec"
    title: ClassVar[str] = "GRU4Rec"
    paper: ClassVar[str] = (
        "Hidasi et al., Session-based Recommendations with Recurrent Neural Networks, ICLR 2016, arXiv:1511.06939"
    )
    Config: ClassVar[type[GRU4RecConfig]] = GRU4RecConfig
    config: GRU4RecConfig

    def __init__(self, config: GRU4RecConfig, n_users: int, n_items: int) -> None:
        super().__init__(config, n_users, n_items)
        self.input_dropout = Dropout(config.dropout)
        self.recurrent = nn.GRU(config.n_factors, config.n_hidden, config.n_layers, batch_first=True)
        self.output_dropout = Dropout(config.dropout)
        self.project = nn.Linear(config.n_hidden, config.n_factors)

    def states(self, inputs: Tensor) -> Tensor:
        """Int64 [B, L] to [B, L, d]; padding is on the right, where it cannot be read."""
        embedded = self.input_dropout(self.embed(inputs))
        hidden, _ = self.recurrent(embedded)
        states: Tensor = self.project(self.output_dropout(hidden))
        return states
