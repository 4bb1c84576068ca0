"""Learnt fusion of content, matched by profile: the rivals VLM4Rec measures itself against.

Source: the fusion baselines of VLM4Rec (arXiv:2603.12625): attention over modalities, x = ReLU(LN(W Σ w_m a_m)) with
w = softmax(MLP([a; b])), gating, where the weights are one per dimension, and the average, where they are equal. The
released ones are trained to tell an item from others, with the item itself as the positive, so that no person enters;
here they are trained to recommend: from the profile of what came before, the next item (sampled softmax over cosines).
The last ReLU is left out, because cosines of vectors without a negative entry are never negative.

Letters: B batch, L length, d width, I items, M modalities.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from rectitude.data.histories import Histories
from rectitude.models.base import Choice, GradientConfig, ModelConfig, Range, Reads, Recommender
from rectitude.models.batches import SequenceBatch, SequenceBatches
from rectitude.models.multimodal.vlm4rec import ProfileConfig, nearest_in_history, profiles
from rectitude.models.query import Query
from rectitude.nn.content import principal, take
from rectitude.nn.dropout import Dropout
from rectitude.nn.losses import NegativeSampler, sampled_softmax


class FusedConfig(GradientConfig):
    """Settings of the fused profile."""

    search: ClassVar[dict[str, Range | Choice]] = {
        "half_life": Range(1.0, 20.0, log=True),
        "dropout": Range(0.0, 0.5),
    }

    modalities: tuple[str, ...] = Field(("text", "image"), min_length=1)
    """Content that is fused."""
    fusion: Literal["average", "gating", "attention"] = "attention"
    """Weigh modalities alike (average), by item (attention), or by item and dimension (gating)."""
    n_factors: int = Field(64, ge=2)
    """d, width of the fused vectors; usual 64 to 256."""
    n_content: int = Field(64, ge=1)
    """Principal components kept of each modality; usual 64 to 256."""
    half_life: float = Field(3.0, gt=0)
    """Items after which one counts half in a profile; usual 1 to 20."""
    max_length: int = Field(50, ge=2)
    """Most recent items read; usual 20 to 100."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Share of the projected content dropped in training."""
    n_negatives: int = Field(512, ge=1)
    """Items drawn per batch as negatives; usual 256 to 4096."""
    temperature: float = Field(0.07, gt=0)
    """Of the softmax over cosines; usual 0.05 to 0.2."""


class FusedProfile(Recommender):
    """Cosine of the recency-weighted profile of fused content with every item's.

    Serves anybody with a history and ranks items nobody has chosen yet, since no item has a vector of its own.

    Source: arXiv:2603.12625, baselines.
    """

    name: ClassVar[str] = "fused"
    title: ClassVar[str] = "Fused profile"
    paper: ClassVar[str] = (
        "Learnt fusion baselines of VLM4Rec: Multimodal Semantic Representation for Recommendation with Large "
        "Vision-Language Models, arXiv:2603.12625"
    )
    Config: ClassVar[type[FusedConfig]] = FusedConfig
    reads: ClassVar[frozenset[Reads]] = frozenset({"history"})
    serves_new_users: ClassVar[bool] = True
    serves_new_items: ClassVar[bool] = True
    content_needed: ClassVar[tuple[str, ...]] = ("text", "image")
    config: FusedConfig
    features: Tensor
    vectors: Tensor

    def __init__(self, config: FusedConfig, n_users: int, n_items: int) -> None:
        super().__init__(config, n_users, n_items)
        n_modalities, width = len(config.modalities), config.n_factors
        self.project = nn.Parameter(torch.empty(n_modalities, config.n_content + 1, width))
        nn.init.xavier_uniform_(self.project)
        self.weigh: nn.Sequential | None = None
        if config.fusion != "average":
            outputs = n_modalities * (width if config.fusion == "gating" else 1)
            self.weigh = nn.Sequential(nn.Linear(n_modalities * width, width), nn.ReLU(), nn.Linear(width, outputs))
        self.out = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.dropout = Dropout(config.dropout)
        self.register_buffer("features", torch.zeros(n_modalities, n_items, config.n_content + 1))
        self.register_buffer("vectors", torch.zeros(n_items, width))

    @classmethod
    def content_read(cls, config: ModelConfig) -> tuple[str, ...]:
        """The modalities of the settings."""
        return config.modalities if isinstance(config, FusedConfig) else cls.content_needed

    def prepare(self, train: Histories, content: Mapping[str, npt.NDArray[np.float32]] | None = None) -> None:
        """Take the content in."""
        super().prepare(train, content)
        for place, matrix in enumerate(take(content, self.config.modalities, self.n_items, title=self.title)):
            self.features[place] = principal(matrix, self.config.n_content).to(self.device)

    def batches(self, train: Histories) -> SequenceBatches:
        """Shifted windows with shared negatives that somebody chose."""
        config = self.config
        sampler = NegativeSampler(self.popularity.cpu(), config.n_negatives, seen_only=True)
        return SequenceBatches(train, self.n_items, config.batch_size, config.max_length, sampler)

    def fused(self) -> Tensor:
        """Unit item vectors, float [I, d]."""
        content = self.dropout(torch.bmm(self.features, self.project)).transpose(0, 1)  # [I, M, d]
        if self.weigh is None:
            mixed = content.mean(1)
        else:
            weights = self.weigh(content.flatten(1)).view(*content.shape[:2], -1)
            mixed = (torch.softmax(weights, dim=1) * content).sum(1)
        return F.normalize(self.norm(self.out(mixed)), dim=1)

    def loss(self, batch: SequenceBatch) -> dict[str, Tensor]:
        """Next item from the profile of the window up to each position."""
        vectors = self.fused()
        table = F.pad(vectors, (0, 0, 0, 1))
        length = batch.inputs.shape[1]
        place = torch.arange(length, device=vectors.device)
        shares = torch.exp2((place - place[:, None]) / self.config.half_life).tril()
        summed = (shares / shares.sum(1, keepdim=True)) @ F.embedding(batch.inputs, table)
        real = batch.targets >= 0
        states = F.normalize(summed[real], dim=1) / self.config.temperature
        return {"next_item": sampled_softmax(states, vectors, batch.targets[real], batch.negatives)}

    @torch.no_grad()
    def finish(self) -> None:
        """Keep the item vectors."""
        training = self.training
        self.eval()
        self.vectors.copy_(self.fused())
        self.train(training)

    def query_vectors(self, query: Query) -> Tensor:
        """float32 [B, d], unit profiles."""
        pooling = ProfileConfig(pooling="recency", half_life=self.config.half_life, last=self.config.max_length)
        return profiles(query.history, pooling, self.vectors)

    def item_vectors(self) -> Tensor:
        """float32 [I, d], unit rows."""
        return self.vectors

    def reasons(self, query: Query, items: Tensor) -> Tensor:
        """The item of the history whose fused content is most like each listed one's."""
        return nearest_in_history(query, items, self.vectors)
