"""PRISM: unique, shared and synergistic content, weighed by person, in any sequential model.

Source: "PRISM: Personalized Recommendation via Information Synergy Module", WWW 2026, arXiv:2601.10944: interaction
expert layer, interaction losses, adaptive fusion layer, L = L_rec + L_exp (eq. 12). It is a module between the item
embeddings and the encoder of a sequential model, whose own loss and scoring stay as they are.

Where we depart from it:

- Experts read items, not sequence means, and the preference vector is the mean of the item embeddings up to a position.
  The released code averages both over the whole sequence, padding included, and adds the result at every position, so
  that a position is told its own answer; ``granularity="sequence"`` with ``preference="sequence-mean"`` is that form
  (without the padding).
- Item-level experts run once per distinct item of a batch, and the first layer of the gate is split into an item's part
  and a person's, which gives the same numbers for a fraction of the work. Interaction losses are taken on
  ``n_masked`` of a batch's items.
- Experts have 32 hidden units for d = 64, as the paper's 128 for d = 256; so has the gate, where the paper's has 2d.
- Content is frozen and reduced to principal components; a flag says where an item lacks a modality. Expert inputs are
  normalised, so that the noise N(0, I) of masked passes is of their scale.
- Triplets use the cosine distance of the paper, margin 0.3; the code's is ``distance="euclidean"``, margin 1.
- M modalities ≥ 2 instead of two (see ``nn.experts``).

Letters: B batch, L length, d width, I items, U distinct items of a batch, M modalities, E experts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from rectitude.core.config import build
from rectitude.core.errors import ConfigError
from rectitude.data.histories import Histories
from rectitude.models.base import Choice, ModelConfig, Range, Recommender
from rectitude.models.batches import SequenceBatch, SequenceBatches
from rectitude.models.query import Query
from rectitude.models.registry import model_class
from rectitude.models.sequential.sasrec import SequentialConfig, SequentialRecommender
from rectitude.nn.content import principal, take
from rectitude.nn.experts import REDUNDANCY, SYNERGY, Distance, InteractionExperts, MaskWith, mix

Backbone = Literal["sasrec", "gru4rec", "bert4rec", "stosa", "indirec"]


class PRISMConfig(SequentialConfig):
    """Settings of PRISM; those it shares with its backbone are the backbone's too."""

    search: ClassVar[dict[str, Range | Choice]] = {
        "unique_weight": Range(0.01, 1.0, log=True),
        "synergy_weight": Range(0.01, 1.0, log=True),
        "redundancy_weight": Range(0.01, 1.0, log=True),
    }

    backbone: Backbone = "sasrec"
    """Sequential model that PRISM is put into: sasrec, gru4rec, bert4rec, stosa or indirec."""
    backbone_settings: dict[str, Any] = Field(default_factory=dict)
    """Settings of the backbone that PRISM does not have, e.g. {"n_blocks": 1}."""
    modalities: tuple[str, ...] = Field(("text", "image"), min_length=2)
    """Content it reads, two or more names of the dataset's."""
    n_content: int = Field(64, ge=1)
    """Principal components kept of each modality; usual 32 to 128."""
    n_expert_hidden: int = Field(32, ge=1)
    """Hidden units of an expert; usual half of n_factors (the paper's 128 for 256) to twice."""
    left_out: tuple[str, ...] = ()
    """Experts left out: a modality's name, synergy, redundancy; all of them leaves the plain sum of the content."""
    adaptive: bool = True
    """Weigh experts by person and position; false takes their mean."""
    shortcut: bool = True
    """Add the projected content itself besides what the experts make of it, as the released code does."""
    score_content: bool = False
    """Score items by embedding, content and mean expert, as they are read; false, as the paper, by embedding."""
    granularity: Literal["item", "sequence"] = "item"
    """Experts read each item, or (released code) the mean of the sequence, which shows positions their future."""
    preference: Literal["prefix-mean", "sequence-mean", "none"] = "prefix-mean"
    """What the gate knows of a person: mean embedding up to the position, of the whole sequence, or nothing."""
    n_gate_hidden: int = Field(32, ge=1)
    """Hidden units of the gate, computed at every position; usual half of n_factors to twice that (the paper's)."""
    temperature: float = Field(0.7, gt=0)
    """Of the softmax over experts; usual 0.3 to 1."""
    gate_dropout: float = Field(0.3, ge=0, lt=1)
    """Share of the gate's hidden units dropped in training, the same for a whole sequence."""
    unique_weight: float = Field(0.1, ge=0)
    """Weight of the loss of each modality's unique expert; usual 0.01 to 1."""
    synergy_weight: float = Field(0.1, ge=0)
    """Weight of the synergy loss; usual 0.01 to 1."""
    redundancy_weight: float = Field(0.1, ge=0)
    """Weight of the redundancy loss; usual 0.01 to 1."""
    n_masked: int = Field(128, ge=0)
    """Items of a batch on which interaction losses are taken; 0 is all of them."""
    mask_with: MaskWith = "noise"
    """What stands for a hidden modality: noise, mean or zero."""
    distance: Distance = "cosine"
    """Of the triplets: cosine (paper) or euclidean (released code)."""
    margin: float = Field(0.3, gt=0)
    """Of the triplets; usual 0.2 to 0.5 for cosine, 1 for euclidean."""

    @model_validator(mode="after")
    def _parts_fit(self) -> PRISMConfig:
        if len(set(self.modalities)) < len(self.modalities) or {SYNERGY, REDUNDANCY} & set(self.modalities):
            raise ValueError("modalities must differ, and none may be called synergy or redundancy")
        if unknown := set(self.left_out) - {*self.modalities, SYNERGY, REDUNDANCY}:
            raise ValueError(f"left_out names no expert: {', '.join(sorted(unknown))}")
        if both := set(self.backbone_settings) & set(type(self).model_fields):
            raise ValueError(f"give {', '.join(sorted(both))} as PRISM's own setting")
        self.of_backbone()
        return self

    def of_backbone(self) -> SequentialConfig:
        """The backbone's configuration.

        Raises:
            ConfigError: It does not know one of ``backbone_settings``.
        """
        config = model_class(self.backbone).Config
        shared = {key: getattr(self, key) for key in type(self).model_fields if key in config.model_fields}
        made = build(config, {**shared, **self.backbone_settings}, where="backbone_settings")
        if not isinstance(made, SequentialConfig):
            raise ConfigError(f"'{self.backbone}' is no sequential model", where="backbone")
        return made


class Fusion(nn.Module):
    """Projections of the content, one set for each embedding path of the backbone, and experts and gate for all.

    Args:
        config: Of PRISM.
        n_paths: Embeddings of an item that the backbone reads side by side.
    """

    def __init__(self, config: PRISMConfig, n_paths: int) -> None:
        super().__init__()
        self.config = config
        width, n_modalities = config.n_factors, len(config.modalities)
        self.project = nn.Parameter(torch.empty(n_paths, n_modalities, config.n_content + 1, width))
        nn.init.normal_(self.project, std=0.02 * config.n_content**-0.5)
        experts = InteractionExperts(config.modalities, width, config.n_expert_hidden, config.left_out)
        self.experts = experts if experts.names else None
        gated = config.adaptive and len(experts.names) > 1
        self.gate = Gate(len(experts.names), width, config) if gated else None
        self.known: tuple[Tensor, Tensor, Tensor, Tensor] | None = None

    def contents(self, features: Tensor, path: int) -> tuple[Tensor, Tensor]:
        """Projected content [M, N, d] from [M, N, n_content + 1], as it is added and as experts read it."""
        projected = torch.bmm(features, self.project[path])
        return projected, F.layer_norm(projected, projected.shape[-1:], eps=1e-12)

    def occurring(self, inputs: Tensor, features: Tensor, n_items: int) -> tuple[Tensor, Tensor, Tensor]:
        """The ids that occur [U], their content [M, U, n_content + 1], and which of them stands where.

        Looked up once for all who ask about the same batch. Paddings follow up to a multiple of 128 ids: products of
        matrices on a CPU compile a kernel for each shape they meet, which costs more than a product of this size.
        """
        known = self.known
        if known is None or known[0] is not inputs:
            items, place = inputs.unique(return_inverse=True)
            items = F.pad(items, (0, -len(items) % 128), value=n_items)
            self.known = known = inputs, items, rows(features, items), place
        return known[1:]  # not what another thread may have put in the attribute by now

    def mixed(
        self, embedded: Tensor, inputs: Tensor, features: Tensor, n_items: int, path: int, *, causal: bool
    ) -> Tensor:
        """What is added to the embeddings, [B, L, d], nothing where there is no item."""
        _, content, place = self.occurring(inputs, features, n_items)
        real = inputs < n_items
        projected, read = self.contents(content, path)
        shortcut = projected.sum(0)  # nothing where there is no content
        if self.experts is None or self.config.granularity == "sequence":
            added = shortcut.index_select(0, place.flatten()).view_as(embedded) * self.config.shortcut
            if self.experts is None:
                return added
            weights, outputs = self._of_sequences(self.experts, embedded, place, real, read)
            return added + (weights[..., None] * outputs).sum(0)[:, None] * real[..., None]
        outputs = self.experts(read)  # [E, U, d]
        weights = self._weights(embedded, place, real, outputs, causal=causal) * real
        if self.config.shortcut:
            outputs = outputs + shortcut  # weights sum to one: what is added to every output is added once
        return mix(outputs, weights.flatten(1), place.flatten()).view_as(embedded)

    def weights(self, embedded: Tensor, inputs: Tensor, features: Tensor, n_items: int, *, causal: bool) -> Tensor:
        """Expert weights [B, L, E], rows summing to one."""
        _, content, place = self.occurring(inputs, features, n_items)
        real = inputs < n_items
        _, read = self.contents(content, 0)
        if self.experts is None:
            raise ConfigError("There are no experts whose weights could be told", where="left_out")
        if self.config.granularity == "sequence":
            weights, _ = self._of_sequences(self.experts, embedded, place, real, read)
            return weights.T[:, None].expand(-1, inputs.shape[1], -1)
        return self._weights(embedded, place, real, self.experts(read), causal=causal).permute(1, 2, 0)

    def _weights(self, embedded: Tensor, place: Tensor, real: Tensor, outputs: Tensor, *, causal: bool) -> Tensor:
        """[E, B, L]."""
        if self.gate is None:
            return outputs.new_full((len(outputs), *place.shape), 1 / len(outputs))
        kind = self.config.preference if causal else "sequence-mean"
        weights: Tensor = self.gate(outputs, place, embedded, real, kind)
        return weights

    def _of_sequences(
        self, experts: InteractionExperts, embedded: Tensor, place: Tensor, real: Tensor, read: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Weights [E, B] and outputs [E, B, d] of experts that read a sequence's mean."""
        share = real.to(read.dtype) / real.sum(1, keepdim=True).clamp(min=1)
        means = torch.stack(
            [F.embedding_bag(place, table, mode="sum", per_sample_weights=share) for table in read]
        )  # [M, B, d]
        outputs = experts(means)
        if self.gate is None:
            return outputs.new_full(outputs.shape[:2], 1 / len(outputs)), outputs
        rows = torch.arange(outputs.shape[1], device=place.device)[:, None]
        return self.gate(outputs, rows, embedded, real, "sequence-mean")[:, :, 0], outputs


def rows(features: Tensor, items: Tensor) -> Tensor:
    """[M, U, w] of [M, I, w]; a look-up along the second dimension takes several times as long."""
    return torch.stack([table.index_select(0, items) for table in features])


def preference(embedded: Tensor, real: Tensor, kind: str) -> Tensor:
    """What is known of a person: mean of the item embeddings up to each position, or of all that is an item.

    Args:
        embedded: [B, L, d], padded on the right.
        real: bool [B, L], where there is an item.
        kind: ``prefix-mean`` or ``sequence-mean``.

    Returns:
        [B, L, d] or [B, 1, d].
    """
    if kind == "prefix-mean":
        length = embedded.shape[1]
        means = (
            torch.ones(length, length, device=embedded.device)
            .tril_()
            .div_(torch.arange(1, length + 1, device=embedded.device)[:, None])
        )
        return means @ embedded
    held = embedded * real[..., None]
    return held.sum(1, keepdim=True) / real.sum(1).clamp(min=1)[:, None, None]


class Gate(nn.Module):
    """Adaptive fusion layer: softmax over experts of W4 Dropout(GELU(W3 [y_1; …; y_E; u])) / T.

    Args:
        n_experts: E.
        width: d.
        config: Of PRISM.
    """

    def __init__(self, n_experts: int, width: int, config: PRISMConfig) -> None:
        super().__init__()
        hidden = config.n_gate_hidden
        self.of_item = nn.Linear(n_experts * width, hidden)
        self.of_person = None if config.preference == "none" else nn.Linear(width, hidden, bias=False)
        self.out = nn.Linear(hidden, n_experts)
        self.dropout = config.gate_dropout
        self.temperature = config.temperature

    def forward(self, outputs: Tensor, place: Tensor, embedded: Tensor, real: Tensor, kind: str) -> Tensor:
        """Weights [E, B, L].

        Args:
            outputs: [E, U, d] of the experts.
            place: int64 [B, L], which of the U stands where.
            embedded: [B, L, d], of what the person chose.
            real: bool [B, L], where there is an item.
            kind: Of the :func:`preference`.
        """
        n_experts, _, width = outputs.shape
        by_expert = self.of_item.weight.view(-1, n_experts, width).permute(1, 2, 0)  # [E, d, h]
        by_item = torch.bmm(outputs, by_expert).sum(0) + self.of_item.bias
        hidden = by_item.index_select(0, place.flatten()).view(*place.shape, -1)
        if self.of_person is not None:  # the mean of projections costs less than the projection of means
            hidden = hidden + preference(self.of_person(embedded), real, kind)
        hidden = F.gelu(hidden)
        if self.training and self.dropout:  # the same units for all positions of a sequence
            kept = torch.rand(len(hidden), 1, hidden.shape[2], device=hidden.device) >= self.dropout
            hidden = hidden * (kept / (1 - self.dropout))
        # over the first dimension: a softmax over rows of four numbers takes ten times as long
        logits = torch.addmm(self.out.bias[:, None], self.out.weight, hidden.flatten(0, 1).T)
        return torch.softmax(logits / self.temperature, dim=0).view(-1, *place.shape)


class PRISM(SequentialRecommender):
    """A sequential model whose item embeddings are joined by what experts make of the items' content.

    Items are scored by the backbone's embeddings, with ``score_content`` by their content too; neither serves an item
    that nobody has chosen well. Cost: the backbone's step and about a quarter more, half where windows are short; with
    ``score_content`` that of all items' experts besides.

    Source: arXiv:2601.10944.
    """

    name: ClassVar[str] = "prism"
    title: ClassVar[str] = "PRISM"
    paper: ClassVar[str] = (
        "PRISM: Personalized Recommendation via Information Synergy Module, WWW 2026, arXiv:2601.10944"
    )
    Config: ClassVar[type[PRISMConfig]] = PRISMConfig
    content_needed: ClassVar[tuple[str, ...]] = ("text", "image")
    config: PRISMConfig
    features: Tensor

    def __init__(self, config: PRISMConfig, n_users: int, n_items: int) -> None:
        Recommender.__init__(self, config, n_users, n_items)  # the item embeddings are the backbone's
        made = model_class(config.backbone)(config.of_backbone(), n_users, n_items)
        if not isinstance(made, SequentialRecommender):
            raise ConfigError(f"'{config.backbone}' is no sequential model", where="backbone")
        self.backbone = made
        # Two rows more: padding and BERT4Rec's mask have no content.
        shape = (len(config.modalities), n_items + 2, config.n_content + 1)
        self.register_buffer("features", torch.zeros(shape))
        self.fusion = Fusion(config, made.n_paths)
        made.enrich = self._enrich
        made.enrich_table = self._enrich_table if config.score_content else None

    @property
    def items(self) -> nn.Embedding:  # type: ignore[override]
        """The backbone's item embeddings."""
        return self.backbone.items

    @classmethod
    def content_read(cls, config: ModelConfig) -> tuple[str, ...]:
        """The modalities of the settings."""
        return config.modalities if isinstance(config, PRISMConfig) else cls.content_needed

    def prepare(self, train: Histories, content: Mapping[str, npt.NDArray[np.float32]] | None = None) -> None:
        """Take the content in."""
        super().prepare(train, content)
        self.backbone.prepare(train, content)
        for place, matrix in enumerate(take(content, self.config.modalities, self.n_items, title=self.title)):
            self.features[place, : self.n_items] = principal(matrix, self.config.n_content).to(self.device)
        self.fusion.known = None

    def batches(self, train: Histories) -> SequenceBatches:
        """The backbone's."""
        return self.backbone.batches(train)

    def loss(self, batch: SequenceBatch) -> dict[str, Tensor]:
        """The backbone's terms and one per kind of expert."""
        return self.backbone.loss(batch) | self.interaction_losses(batch.inputs)

    def interaction_losses(self, inputs: Tensor) -> dict[str, Tensor]:
        """Weighted interaction losses on items of a batch that have all modalities; mean over paths and items."""
        config = self.config
        weights = {
            "unique": config.unique_weight,
            SYNERGY: config.synergy_weight,
            REDUNDANCY: config.redundancy_weight,
        }
        experts = self.fusion.experts
        if experts is None or not any(weights.values()):
            return {}
        items, content, _ = self.fusion.occurring(inputs, self.features, self.n_items)
        items = ((items < self.n_items) & ~content[..., -1].any(0)).nonzero().squeeze(1)
        if config.n_masked and len(items) > config.n_masked:
            items = items[torch.randperm(len(items), device=items.device)[: config.n_masked]]
        features = rows(content, items)
        read = torch.stack([self.fusion.contents(features, path)[1] for path in range(self.backbone.n_paths)], 1)
        outputs = experts.passes(read, config.mask_with)
        found: dict[str, list[Tensor]] = {}
        for name, values in experts.losses(*outputs, margin=config.margin, kind=config.distance).items():
            found.setdefault(name if name in (SYNERGY, REDUNDANCY) else "unique", []).append(values)
        n_summed = max(1, len(items) * self.backbone.n_paths)
        return {name: weights[name] / n_summed * torch.stack(v).sum() for name, v in found.items() if weights[name]}

    def states(self, inputs: Tensor) -> Tensor:
        """Int64 [B, L] to [B, L, d], by the backbone."""
        return self.backbone.states(inputs)

    def item_table(self) -> Tensor:
        """The backbone's."""
        return self.backbone.item_table()

    def query_vectors(self, query: Query) -> Tensor:
        """The backbone's."""
        return self.backbone.query_vectors(query)

    def finish(self) -> None:
        """The backbone's."""
        self.backbone.finish()

    @torch.no_grad()
    def shares(self, query: Query) -> dict[str, Tensor]:
        """Mean weight of each expert over the positions of each history, float32 [B]."""
        if self.fusion.experts is None:
            return {}
        inputs, _ = query.window(self.config.max_length, self.n_items)
        embedded = F.embedding(inputs, self.items.weight)
        weights = self.fusion.weights(embedded, inputs, self.features, self.n_items, causal=self.backbone.causal)
        real = (inputs < self.n_items)[..., None]
        mean = (weights * real).sum(1) / real.sum(1).clamp(min=1)
        return dict(zip(self.fusion.experts.names, mean.unbind(1), strict=True))

    def _enrich(self, embedded: Tensor, inputs: Tensor, path: int) -> Tensor:
        mixed = self.fusion.mixed(embedded, inputs, self.features, self.n_items, path, causal=self.backbone.causal)
        return embedded + mixed

    def _enrich_table(self, table: Tensor, path: int) -> Tensor:
        """What is added where an item is read, with all experts weighed alike: nobody in particular asks."""
        projected, read = self.fusion.contents(self.features[:, : len(table)], path)
        added = projected.sum(0) * self.config.shortcut
        if self.fusion.experts is not None and self.config.granularity == "item":
            added = added + self.fusion.experts(read).mean(0)
        return table + added
