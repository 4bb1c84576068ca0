"""STOSA: items as Gaussians, attention and ranking by the Wasserstein distance between them.

Source: Fan et al., "Sequential Recommendation via Stochastic Self-Attention", WWW 2022, arXiv:2201.06035. An item is
N(μ, Σ) with diagonal Σ = ELU(s) + 1. The distance is W²(1, 2) = ‖μ1 - μ2‖² + ‖√Σ1 - √Σ2‖² (eq. 4), which is the squared
Euclidean distance of the stacked vectors [μ; √Σ], so that ranking by it is an inner product: of [2μ; 2√Σ; 1] of the
person with [μ; √Σ; -‖μ‖² - ‖√Σ‖²] of the item.

Where we depart from it: the encoder normalises its inputs (pre-norm) as our SASRec does, sequences are padded on the
right and cut at random offsets, and the default loss is the sampled softmax over distances; ``loss="bpr"`` is the
paper's. The released encoder assigns the new mean to a misspelt name and so returns its input as the mean; here the
mean is what attention makes of it.

Letters: B batch, L length, d width, H heads, I items.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from rectitude.models.batches import SequenceBatch
from rectitude.models.sequential.sasrec import SASRecConfig, SequentialRecommender
from rectitude.nn.dropout import Dropout
from rectitude.nn.losses import next_item_loss
from rectitude.nn.transformer import causal_bias


class STOSAConfig(SASRecConfig):
    """Settings of STOSA."""

    n_blocks: int = Field(1, ge=1)
    """Self-attention blocks; usual 1 or 2."""
    spread_weight: float = Field(0.005, ge=0)
    """Weight of the loss that keeps a person nearer to the next item than it is to a negative; usual 0.001 to 0.01."""


def positive(spread: Tensor) -> Tensor:
    """ELU + 1, no less than 1e-12: below that its root would have no gradient."""
    return (F.elu(spread) + 1).clamp(min=1e-12)


class StochasticBlock(nn.Module):
    """Self-attention over Gaussians, weights by Wasserstein distance, and a feed-forward layer for each parameter.

    Args:
        n_factors: d.
        n_heads: H.
        dropout: After attention and after the feed-forward layers.
    """

    def __init__(self, n_factors: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.norms = nn.ModuleList(nn.LayerNorm(n_factors) for _ in range(4))
        self.query_key_value = nn.ModuleList(nn.Linear(n_factors, 3 * n_factors) for _ in range(2))
        self.attention_out = nn.ModuleList(nn.Linear(n_factors, n_factors) for _ in range(2))
        self.expand = nn.ModuleList(nn.Linear(n_factors, n_factors) for _ in range(2))
        self.contract = nn.ModuleList(nn.Linear(n_factors, n_factors) for _ in range(2))
        self.dropout = Dropout(dropout)

    def _heads(self, x: Tensor, part: int) -> tuple[Tensor, ...]:
        batch, length, _ = x.shape
        projected = self.query_key_value[part](self.norms[part](x)).view(batch, length, 3, self.n_heads, -1)
        return tuple(projected.permute(2, 0, 3, 1, 4))

    def forward(self, mean: Tensor, spread: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and raw spread [B, L, d] each to the same; ``bias`` is added to the attention logits."""
        query, key, value = self._heads(mean, 0)
        spread_query, spread_key, spread_value = (positive(x) for x in self._heads(spread, 1))
        asked = torch.cat([query, spread_query.sqrt()], -1)
        offered = torch.cat([key, spread_key.sqrt()], -1)
        # |a - b|² without |a|², which the softmax does not see
        near = 2 * asked @ offered.transpose(-1, -2) - offered.square().sum(-1)[..., None, :]
        weights = torch.softmax(near * query.shape[-1] ** -0.5 + bias, dim=-1)
        mixed = (weights @ value, weights.square() @ spread_value)
        out = []
        for part, (x, heads) in enumerate(zip((mean, spread), mixed, strict=True)):
            x = x + self.dropout(self.attention_out[part](heads.transpose(1, 2).flatten(2)))
            inner = F.elu(self.expand[part](self.norms[2 + part](x)))
            out.append(x + self.dropout(self.contract[part](inner)))
        return out[0], out[1]


class STOSA(SequentialRecommender):
    """Causal stochastic self-attention over the last ``max_length`` items.

    Cost: about twice that of SASRec at equal width. Vectors have width 2d + 1.

    Source: arXiv:2201.06035.
    """

    name: ClassVar[str] = "stosa"
    title: ClassVar[str] = "STOSA"
    paper: ClassVar[str] = (
        "Fan et al., Sequential Recommendation via Stochastic Self-Attention, WWW 2022, arXiv:2201.06035"
    )
    Config: ClassVar[type[STOSAConfig]] = STOSAConfig
    n_paths: ClassVar[int] = 2
    config: STOSAConfig

    def __init__(self, config: STOSAConfig, n_users: int, n_items: int) -> None:
        super().__init__(config, n_users, n_items)
        width = config.n_factors
        self.spreads = nn.Embedding(n_items + 1, width, padding_idx=n_items)
        nn.init.normal_(self.spreads.weight, std=0.02)
        with torch.no_grad():
            self.spreads.weight[n_items].zero_()
        self.positions = nn.Parameter(torch.empty(2, config.max_length, width).normal_(std=0.02))
        self.input_norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.output_norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            StochasticBlock(width, config.n_heads, config.dropout) for _ in range(config.n_blocks)
        )

    def states(self, inputs: Tensor) -> Tensor:
        """Int64 [B, L] to [B, L, 2d + 1]: what is multiplied with item vectors to give minus the distance."""
        embedded = (self.embed(inputs), self.embed(inputs, self.spreads.weight, path=1))
        mean, spread = (
            self.dropout(norm(x) + place[: inputs.shape[1]])
            for norm, x, place in zip(self.input_norms, embedded, self.positions, strict=True)
        )
        bias = causal_bias(inputs.shape[1], inputs.device)
        for block in self.blocks:
            mean, spread = block(mean, spread, bias)
        mean, spread = self.output_norms[0](mean), positive(self.output_norms[1](spread)).sqrt()
        return torch.cat([2 * mean, 2 * spread, torch.ones_like(mean[..., :1])], -1)

    def item_table(self) -> Tensor:
        """float [I + 1, 2d + 1]."""
        spreads = positive(self.scored(self.spreads.weight, path=1))
        points = torch.cat([self.scored(self.items.weight), spreads.sqrt()], 1)
        return torch.cat([points, -points.square().sum(1, keepdim=True)], 1)

    def loss(self, batch: SequenceBatch) -> dict[str, Tensor]:
        """Next-item loss over distances, and the paper's regulariser (its eq. 14)."""
        real = batch.targets >= 0
        states, targets = self.states(batch.inputs)[real], batch.targets[real]
        table = self.item_table()
        terms = {"next_item": next_item_loss(self.config.loss, states, table, targets, batch.negatives, self.n_items)}
        if self.config.spread_weight:
            drawn = batch.negatives.items[
                torch.randint(len(batch.negatives.items), targets.shape, device=states.device)
            ]
            person, item, other = states[:, :-1] / 2, table[targets, :-1], table[drawn, :-1]
            excess = F.relu((person - item).square().sum(1) - (item - other).square().sum(1))
            terms["spread"] = self.config.spread_weight * excess.mean()
        return terms
