"""AnchorRec: interaction graph and item-item graphs, with modalities aligned through an anchor in a space of its own.

Source: "Anchored Alignment: Preventing Positional Collapse in Multimodal Recommender Systems", arXiv:2603.12726 (the
abstract; the full text was not at hand) and its released code. Ranking embeddings stay apart; contrast is taken between
projections of them: ID with anchor, and a mix of text and picture with anchor, never ID with text or picture.

With LightGCN's c (mean of layers) and, for each modality k, x_k = S_k^n (E_i ⊙ σ(Q h_k)), h_k = P_k f_k, z_k = R x_k:

    user = c_u + z_m + z_t        item = c_i + x_m + x_t + ρ Dec(W_m x_m)

m is the anchor (fused text and picture), t the first modality and v the second, which as in the released code enters
only the losses. Losses: ranking, user-item margin, L2, anchor alignment (AAL, weight λ1), modality preservation (AMP,
weight λ2), smoothness over the anchor's graph. Each can be switched off by its weight: those are the ablations.

Where we depart from it: features are frozen and reduced to principal components (37 of its 39 million parameters were
raw features); the anchor is a named modality or, without one, text and picture side by side, each of unit length
(BEiT-3's vectors are not public for most data); AAL and AMP are taken on distinct items of a batch, at most
``n_aligned``; AMP compares with cosines of the components; the default ranking loss is our LightGCN's, a sampled
softmax over cosines (``loss="bpr"`` is the code's); a person the model was not trained with is folded in as in our
LightGCN.

Letters: B batch, I items, U users, d width, N = U + I nodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import scipy.sparse as sparse
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from rectitude.data.content import filled
from rectitude.data.histories import Histories
from rectitude.models.base import Choice, ModelConfig, Range
from rectitude.models.batches import PairBatch
from rectitude.models.collaborative.lightgcn import LightGCN, LightGCNConfig
from rectitude.models.query import Query
from rectitude.nn.content import principal, take
from rectitude.nn.losses import sampled_softmax
from rectitude.nn.pairwise import bpr_loss, l2_penalty
from rectitude.nn.sparse import SparseMatrix, by_row_degree, nearest_items

ANCHOR = "anchor"


class AnchorRecConfig(LightGCNConfig):
    """Settings of AnchorRec."""

    search: ClassVar[dict[str, Range | Choice]] = {
        "n_item_layers": Choice((1, 2, 3)),
        "align_weight": Range(1e-4, 1.0, log=True),
        "preserve_weight": Range(1e-3, 1.0, log=True),
    }

    modalities: tuple[str, str] = ("text", "image")
    """Content in the roles t and v: the first is added to the item, the second enters the losses only."""
    anchor: str | None = None
    """Content that fuses both; the two side by side if not given."""
    n_content: int = Field(64, ge=1)
    """Principal components kept of each modality; usual 64 to 256."""
    n_neighbours: int = Field(10, ge=1)
    """Most alike items each is joined with, itself among them."""
    n_item_layers: int = Field(1, ge=0)
    """Steps over the item-item graphs; usual 1 to 3."""
    inputs: Literal["gated", "content", "both"] = "gated"
    """What spreads over the item graphs: IDs gated by content, content alone (VBPR's sum), or both added."""
    align_weight: float = Field(1e-3, ge=0)
    """λ1, of the anchor alignment; usual 1e-4 to 1."""
    preserve_weight: float = Field(0.1, ge=0)
    """λ2, of the modality preservation; usual 1e-3 to 1."""
    smooth_weight: float = Field(0.1, ge=0)
    """Of the smoothness over the anchor's graph."""
    margin_weight: float = Field(0.01, ge=0)
    """Of the user-item margin."""
    decoder_weight: float = Field(5e-4, ge=0)
    """ρ, of the decoded projection in the item vector."""
    project: bool = True
    """Align projections; false aligns the embeddings themselves (the ablation PROJ)."""
    align_temperature: float = Field(0.2, gt=0)
    """τ of the contrast; usual 0.05 to 0.5."""
    n_aligned: int = Field(512, ge=2)
    """Distinct items of a batch on which alignment and preservation are taken."""

    @model_validator(mode="after")
    def _roles_differ(self) -> AnchorRecConfig:
        if len({*self.modalities, self.anchor}) < 3:
            raise ValueError("the two modalities and the anchor must differ")
        return self


class AnchorRec(LightGCN):
    """LightGCN with content-gated item vectors from item-item graphs, aligned through an anchor.

    Serves trained people by their vector and strangers by their history; an item nobody has chosen gets only its
    neighbours' vectors, which on real data does not lift it into anybody's list. Cost: LightGCN's, three small
    graphs and their losses.

    Source: arXiv:2603.12726.
    """

    name: ClassVar[str] = "anchorrec"
    title: ClassVar[str] = "AnchorRec"
    paper: ClassVar[str] = (
        "Anchored Alignment: Preventing Positional Collapse in Multimodal Recommender Systems, arXiv:2603.12726"
    )
    Config: ClassVar[type[ModelConfig]] = AnchorRecConfig
    content_needed: ClassVar[tuple[str, ...]] = ("text", "image")
    config: AnchorRecConfig
    features: Tensor
    views: Tensor

    def __init__(self, config: AnchorRecConfig, n_users: int, n_items: int) -> None:
        super().__init__(config, n_users, n_items)
        width = config.n_factors
        self.roles = self._roles(config)
        inputs = {role: nn.Linear(config.n_content + 1, width) for role in self.roles}
        self.content = nn.ModuleDict(inputs)
        gated = config.inputs != "content"
        self.gates = nn.ModuleDict({role: nn.Linear(width, width) for role in self.roles} if gated else {})
        if config.align_weight and config.project:
            self.project = nn.ModuleDict({role: _mlp(width, width) for role in ("id", ANCHOR)})
        elif config.decoder_weight and config.project:
            self.project = nn.ModuleDict({ANCHOR: _mlp(width, width)})
        if config.align_weight:
            self.project_features = nn.ModuleDict({role: _mlp(config.n_content + 1, width) for role in "tv"})
        if config.decoder_weight and config.project:
            self.decode = nn.Linear(width, width)
        self.register_buffer("features", torch.zeros(3, n_items, config.n_content + 1))  # t, v, anchor
        self.register_buffer("views", torch.zeros(3, n_items, width))  # x_t, x_v, x_anchor, for who looks at the space

    @staticmethod
    def _roles(config: AnchorRecConfig) -> tuple[str, ...]:
        """Branches that something reads."""
        return ("t", "v", ANCHOR) if config.preserve_weight else ("t", ANCHOR)

    @classmethod
    def content_read(cls, config: ModelConfig) -> tuple[str, ...]:
        """The modalities of the settings, and the anchor where it is one."""
        if not isinstance(config, AnchorRecConfig):
            return cls.content_needed
        return config.modalities + ((config.anchor,) if config.anchor else ())

    def prepare(self, train: Histories, content: Mapping[str, npt.NDArray[np.float32]] | None = None) -> None:
        """Build the graphs and take the content in."""
        super().prepare(train, content)
        config = self.config
        matrices = take(content, self.content_read(config), self.n_items, title=self.title)
        if len(matrices) == 2:
            matrices.append(side_by_side(matrices))
        for place, (role, matrix) in enumerate(zip(("t", "v", ANCHOR), matrices, strict=True)):
            self.features[place] = principal(matrix, config.n_content).to(self.device)
            graph = by_row_degree(nearest_items(matrix, config.n_neighbours))
            setattr(self, f"graph_{role}", SparseMatrix(graph).to(self.device))
            if role == ANCHOR:
                self.anchor_rows = torch.from_numpy(np.asarray(graph.sum(1)).ravel().astype(np.float32)).to(self.device)
                self.anchor_columns = torch.from_numpy(np.asarray(graph.sum(0)).ravel().astype(np.float32)).to(
                    self.device
                )
                self.n_edges = int(graph.nnz)
        self.of_users = SparseMatrix(_user_block(train, self.n_items)).to(self.device)

    def _spread(self) -> dict[str, Tensor]:
        """x_k [I, d] of each branch."""
        items = self.nodes.weight[self.n_users :]
        spread = {}
        for role in self.roles:
            place = ("t", "v", ANCHOR).index(role)
            content = self.content[role](self.features[place])
            x = content if self.config.inputs == "content" else items * torch.sigmoid(self.gates[role](content))
            if self.config.inputs == "both":
                x = x + content
            graph = getattr(self, f"graph_{role}")
            for _ in range(self.config.n_item_layers):
                x = graph(x)
            spread[role] = x
        return spread

    def _final(self) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        """Final users [U, d], final items [I, d], collaborative items c_i [I, d], and the branches."""
        config = self.config
        users, items = self.graph(self.nodes.weight, config.n_layers).split([self.n_users, self.n_items])
        spread = self._spread()
        added = spread["t"] + spread[ANCHOR]
        final = items + added
        if config.decoder_weight and config.project:
            final = final + config.decoder_weight * self.decode(self.project[ANCHOR](spread[ANCHOR]))
        return users + self.of_users(added), final, items, spread

    def loss(self, batch: PairBatch) -> dict[str, Tensor]:
        """Ranking, ``l2``, ``margin``, ``align``, ``preserve`` and ``smooth``, those that have a weight."""
        config = self.config
        users, items, collaborative, spread = self._final()
        user, positive = F.embedding(batch.users, users), F.embedding(batch.positives, items)
        if config.loss == "bpr":
            negative = F.embedding(batch.negatives[:, 0], items)
            every = (user[:, None] * F.embedding(batch.negatives, items)).sum(2)
            terms = {"bpr": bpr_loss((user * positive).sum(1), every)}
        else:
            if batch.shared is None:
                raise ValueError("the sampled softmax needs a batch with shared negatives")
            shared = batch.shared.items
            negative = F.embedding(shared[torch.randint(len(shared), batch.positives.shape, device=user.device)], items)
            states = F.normalize(user, dim=1) / config.temperature
            terms = {"softmax": sampled_softmax(states, F.normalize(items, dim=1), batch.positives, batch.shared)}
        if config.l2:
            terms["l2"] = config.l2 * l2_penalty(user, positive, negative)
        if config.margin_weight:
            nearer = F.cosine_similarity(user.detach(), positive) - F.cosine_similarity(user.detach(), negative)
            terms["margin"] = config.margin_weight * F.relu(0.2 - nearer).mean()
        chosen = batch.positives.unique()
        if len(chosen) > config.n_aligned:
            chosen = chosen[torch.randperm(len(chosen), device=chosen.device)[: config.n_aligned]]
        if config.align_weight:
            terms["align"] = config.align_weight * self._alignment(collaborative, spread[ANCHOR], chosen)
        if config.preserve_weight:
            terms["preserve"] = config.preserve_weight * self._preservation(spread, chosen)
        if config.smooth_weight:
            terms["smooth"] = config.smooth_weight * self._roughness(spread[ANCHOR])
        return terms

    def _alignment(self, collaborative: Tensor, anchored: Tensor, chosen: Tensor) -> Tensor:
        """NCE(anchor, ID) + NCE(anchor without gradient, 0.25 v + 0.75 t) on the chosen items."""
        by_id, anchor = F.embedding(chosen, collaborative), F.embedding(chosen, anchored)
        if self.config.project:
            by_id, anchor = self.project["id"](by_id), self.project[ANCHOR](anchor)
        mixed = 0.75 * self.project_features["t"](self.features[0, chosen])
        mixed = mixed + 0.25 * self.project_features["v"](self.features[1, chosen])
        temperature = self.config.align_temperature
        return nce(anchor, by_id, temperature) + nce(anchor.detach(), mixed, temperature)

    def _preservation(self, spread: dict[str, Tensor], chosen: Tensor) -> Tensor:
        """Sim(x_m, m) + 0.03 Sim(x_t, t) + 0.01 Sim(x_v, v)."""
        shares = {"t": 0.03, "v": 0.01, ANCHOR: 1.0}
        parts = []
        for place, (role, share) in enumerate(shares.items()):
            target = F.normalize(self.features[place, chosen], dim=1)
            parts.append(share * dissimilarity(F.embedding(chosen, spread[role]), target))
        return torch.stack(parts).sum()

    def _roughness(self, x: Tensor) -> Tensor:
        """Mean over the anchor's edges of w_ij ‖x_i - x_j‖², without writing an edge down."""
        squares = x.square().sum(1)
        graph = getattr(self, f"graph_{ANCHOR}")
        total: Tensor = (self.anchor_rows + self.anchor_columns) @ squares - 2 * (x * graph(x)).sum()
        return total / self.n_edges

    @torch.no_grad()
    def finish(self) -> None:
        """Propagate and keep what serving needs."""
        users, items, _, spread = self._final()
        self.users.copy_(self._scored(users))
        self.items.copy_(self._scored(items))
        layers = self.config.n_layers
        sent = self.graph(self.nodes.weight, layers - 1)[self.n_users :] * (layers / (layers + 1))
        degrees = self.graph.degrees[self.n_users :].clamp(min=1).sqrt()[:, None]
        self.messages.copy_((sent + spread["t"] + spread[ANCHOR]) / degrees)
        for place, role in enumerate(("t", "v", ANCHOR)):
            if role in spread:
                self.views[place] = spread[role]

    def user_vectors(self, query: Query) -> Tensor:
        """float32 [B, d]: made anew in training, the kept ones afterwards."""
        if not self.training:
            return self.query_vectors(query)
        return self._final()[0][query.user_tensor()]


def _mlp(inputs: int, width: int) -> nn.Sequential:
    """Two layers with a ReLU between them, Xavier weights."""
    first, second = nn.Linear(inputs, width), nn.Linear(width, width)
    for layer in (first, second):
        nn.init.xavier_uniform_(layer.weight)
    return nn.Sequential(first, nn.ReLU(), second)


def nce(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """Mean over rows of -log softmax over the rows q of cos(one_p, other_q) / τ at q = p.

    Args:
        one: float [B, d].
        other: float [B, d].
        temperature: τ.
    """
    logits = F.normalize(one, dim=1) @ F.normalize(other, dim=1).T / temperature
    return F.cross_entropy(logits, torch.arange(len(one), device=one.device))


def dissimilarity(x: Tensor, target: Tensor) -> Tensor:
    """‖x xᵀ - f fᵀ‖_F / B with unit rows f: x is not normalised, which is what sets its scale.

    Args:
        x: float [B, d].
        target: float [B, w], unit rows.
    """
    return (x @ x.T - target @ target.T).square().sum().add(1e-12).sqrt() / len(x)


def side_by_side(matrices: list[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """Modalities of unit length after their mean is taken out, one beside the other; NaN where an item has none."""
    parts, known = [], []
    for matrix in matrices:
        whole, missing = filled(matrix)
        centred = whole - whole[~missing].mean(0)
        parts.append(centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12))
        known.append(~missing)
    joined = np.hstack(parts).astype(np.float32)
    joined[~np.any(known, axis=0)] = np.nan
    return joined


def _user_block(train: Histories, n_items: int) -> sparse.csr_array:
    """R [U, I], 1 / √(degree of the person · degree of the item) for each observed pair."""
    distinct = train.unique()
    of_items = np.bincount(distinct.items, minlength=n_items)
    weights = 1 / np.sqrt(distinct.lengths[distinct.rows] * of_items[distinct.items])
    return sparse.csr_array((weights, distinct.items, distinct.offsets), (len(distinct), n_items))
