"""VLM4Rec: what the pictures show, in words; the words as vectors; people as what they chose; matched by cosine.

Source: "VLM4Rec: Multimodal Semantic Representation for Recommendation with Large Vision-Language Models",
arXiv:2603.12625 (abstract; the full text was not at hand) and its released scripts. The offline half, picture → caption
→ sentence vector, is ``rectitude encode DATA --image … --caption … --text …``; here is the half that is asked: with
unit vectors x_i, profile p_u = mean of x_i over the history, score = cos(p_u, x_i).

Where we depart from it: vectors lose the catalogue's mean before matching (``centre``), because texts of one shop share
a large part; besides the plain mean there are a recency-weighted one and attention to the last k items; the whole
catalogue is ranked and what was seen is left out, which the scripts do not always do.

Letters: B batch, I items, d width, n events of a batch's histories.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from rectitude.core.errors import ConfigError
from rectitude.data.histories import Histories
from rectitude.models.base import Choice, ModelConfig, Range, Reads, Recommender
from rectitude.models.query import Query
from rectitude.nn.content import centred_unit, take, unit

Pooling = Literal["mean", "recency", "attention"]


class ProfileConfig(ModelConfig):
    """Settings of how a history becomes a profile."""

    search: ClassVar[dict[str, Range | Choice]] = {
        "pooling": Choice(("mean", "recency", "attention")),
        "last": Choice((0, 5, 10, 20)),
        "half_life": Range(1.0, 20.0, log=True),
    }

    pooling: Pooling = "recency"
    """mean (the paper's), recency (older items count less) or attention (by likeness to the last item)."""
    last: int = Field(0, ge=0)
    """Most recent items that make the profile; 0 is all of them, usual 5 to 50."""
    half_life: float = Field(3.0, gt=0)
    """Items after which one counts half (recency only); usual 1 to 20."""
    temperature: float = Field(0.2, gt=0)
    """Of the softmax over cosines with the last item (attention only); usual 0.05 to 1."""


class VLM4RecConfig(ProfileConfig):
    """Settings of VLM4Rec."""

    modalities: tuple[str, ...] = Field(("text",), min_length=1)
    """Content that is matched; "caption" or "text" for the paper's way, several to fuse them."""
    fusion: Literal["concatenation", "sum"] = "concatenation"
    """How several modalities become one vector; sum needs equal widths."""
    centre: bool = True
    """Take the catalogue's mean out of the vectors before matching."""
    removed: int = Field(0, ge=0)
    """Leading principal directions taken out besides the mean; usual 0 to 3."""


def event_weights(history: Histories, config: ProfileConfig, vectors: Tensor) -> Tensor:
    """How much each event counts in its person's profile: float32 [n], summing to one over a history.

    Args:
        history: B rows.
        config: Pooling and its settings.
        vectors: float [I, d], unit rows.
    """
    rows = history.rows
    age = history.offsets[1:][rows] - 1 - np.arange(len(rows))
    within = torch.from_numpy(age < config.last if config.last else np.ones(len(rows), bool)).to(vectors.device)
    row = torch.from_numpy(rows).to(vectors.device)
    if config.pooling == "attention":
        items = torch.from_numpy(history.items.astype(np.int64)).to(vectors.device)
        final = torch.from_numpy(history.items[(history.offsets[1:] - 1)[rows]].astype(np.int64)).to(vectors.device)
        raw = ((vectors[items] * vectors[final]).sum(1) - 1).div(config.temperature).exp()
    elif config.pooling == "recency":
        raw = torch.from_numpy(np.exp2(-age / config.half_life).astype(np.float32)).to(vectors.device)
    else:
        raw = torch.ones(len(rows), device=vectors.device)
    raw = raw * within
    total = torch.zeros(len(history), device=vectors.device).index_add_(0, row, raw)
    return raw / total[row].clamp(min=1e-12)


def profiles(history: Histories, config: ProfileConfig, vectors: Tensor) -> Tensor:
    """Unit profiles float [B, d]: the weighted mean of the history's vectors; zeros for an empty history.

    Args:
        history: B rows, oldest first.
        config: Pooling and its settings.
        vectors: float [I, d], unit rows.
    """
    if not len(history.items):
        return vectors.new_zeros(len(history), vectors.shape[1])
    items = torch.from_numpy(history.items.astype(np.int64)).to(vectors.device)
    offsets = torch.from_numpy(history.offsets[:-1]).to(vectors.device)
    weights = event_weights(history, config, vectors.detach()).to(vectors.dtype)
    return unit(F.embedding_bag(items, vectors, offsets, mode="sum", per_sample_weights=weights))


def nearest_in_history(query: Query, items: Tensor, vectors: Tensor) -> Tensor:
    """For each listed item the item of the history most like it.

    Args:
        query: B questions.
        items: int64 [B, k], -1 where a list has no item.
        vectors: float [I, d], unit rows.

    Returns:
        int64 [B, k], -1 where the list has no item or the history is empty.
    """
    found = torch.full_like(items, -1)
    for place in range(len(query)):
        history = torch.from_numpy(query.history[place].astype(np.int64)).to(vectors.device)
        if len(history):
            likeness = vectors[items[place].clamp(min=0)] @ vectors[history].T
            found[place] = torch.where(items[place] >= 0, history[likeness.argmax(1)], -1)
    return found


class VLM4Rec(Recommender):
    """Matches the mean of a history's content vectors with every item's; nothing is trained.

    Serves anybody with a history and ranks items nobody has chosen yet. Cost: one product of [B, d] and [d, I].

    Source: arXiv:2603.12625.
    """

    name: ClassVar[str] = "vlm4rec"
    title: ClassVar[str] = "VLM4Rec"
    paper: ClassVar[str] = (
        "VLM4Rec: Multimodal Semantic Representation for Recommendation with Large Vision-Language Models, "
        "arXiv:2603.12625"
    )
    Config: ClassVar[type[VLM4RecConfig]] = VLM4RecConfig
    reads: ClassVar[frozenset[Reads]] = frozenset({"history"})
    serves_new_users: ClassVar[bool] = True
    serves_new_items: ClassVar[bool] = True
    trained_by: ClassVar[Literal["gradient", "fit"]] = "fit"
    content_needed: ClassVar[tuple[str, ...]] = ("text",)
    config: VLM4RecConfig
    vectors: Tensor

    def __init__(self, config: VLM4RecConfig, n_users: int, n_items: int) -> None:
        super().__init__(config, n_users, n_items)
        self.register_buffer("vectors", torch.zeros(n_items, 1))

    @classmethod
    def content_read(cls, config: ModelConfig) -> tuple[str, ...]:
        """The modalities of the settings."""
        return config.modalities if isinstance(config, VLM4RecConfig) else cls.content_needed

    def prepare(self, train: Histories, content: Mapping[str, npt.NDArray[np.float32]] | None = None) -> None:
        """Put the modalities together, every one of unit length."""
        super().prepare(train, content)
        config = self.config
        parts = [
            centred_unit(matrix, config.removed) if config.centre else unit(torch.from_numpy(np.nan_to_num(matrix)))
            for matrix in take(content, config.modalities, self.n_items, title=self.title)
        ]
        if config.fusion == "sum":
            joined = torch.stack(same_width(parts, config.modalities)).sum(0)
        else:
            joined = torch.cat(parts, 1)
        self.vectors = unit(joined).to(self.device)

    def fit(self, train: Histories, generator: torch.Generator) -> None:
        """Nothing is left to do."""

    def query_vectors(self, query: Query) -> Tensor:
        """float32 [B, d], unit profiles."""
        return profiles(query.history, self.config, self.vectors)

    def item_vectors(self) -> Tensor:
        """float32 [I, d], unit rows."""
        return self.vectors

    def reasons(self, query: Query, items: Tensor) -> Tensor:
        """The item of the history whose content is most like each listed one's."""
        return nearest_in_history(query, items, self.vectors)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        """The width of the content is known only from what was saved."""
        saved = state_dict.get(f"{prefix}vectors")
        if saved is not None:
            self.vectors = torch.empty_like(saved, device=self.vectors.device)
        super()._load_from_state_dict(state_dict, prefix, *rest)


def same_width(parts: list[Tensor], names: tuple[str, ...]) -> list[Tensor]:
    """The parts as they are.

    Raises:
        ConfigError: Their widths differ.
    """
    widths = {name: part.shape[1] for name, part in zip(names, parts, strict=True)}
    if len(set(widths.values())) > 1:
        told = ", ".join(f"{name} {width}" for name, width in widths.items())
        raise ConfigError(f"Vectors of unequal width cannot be summed: {told}", where="fusion", fix="Use concatenation")
    return parts
