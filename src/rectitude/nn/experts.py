"""Interaction experts: what each modality says alone, what they share, and what only shows in both together.

Source: "PRISM: Personalized Recommendation via Information Synergy Module", WWW 2026, arXiv:2601.10944, equations of
the interaction expert layer, after I2MoE (ICML 2025). The paper has two modalities. Here there are M ≥ 2: one expert
unique to each, one synergistic, one redundant; a masked pass hides one modality at a time, which for two is the
paper's.

Letters: N items, M modalities, E experts, d width, h hidden width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

Distance = Literal["cosine", "euclidean"]
MaskWith = Literal["noise", "mean", "zero"]

SYNERGY, REDUNDANCY = "synergy", "redundancy"

_ROWS_AT_ONCE = 1024
"""Positions worked on together: few enough to stay in the cache."""


class _Cosine(torch.autograd.Function):
    """Cosines whose gradient is written down: of few rows, many small operations cost more than their arithmetic."""

    @staticmethod
    def forward(ctx: Any, one: Tensor, other: Tensor) -> Tensor:
        """Cosines of the rows of two tensors, the first of which may be repeated along dimensions where it has one."""
        lengths, other_lengths = (x.square().sum(-1, keepdim=True).sqrt_().clamp_(min=1e-6) for x in (one, other))
        scale = (lengths * other_lengths).reciprocal_()
        cosines = (one * other).sum(-1, keepdim=True).mul_(scale)
        ctx.save_for_backward(one, other, lengths, other_lengths, scale, cosines)
        return cosines.squeeze(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """d cos / d x = (y / |y| - cos · x / |x|) / |x|, and the same for y."""
        one, other, lengths, other_lengths, scale, cosines = ctx.saved_tensors
        pull, push = gradient[..., None] * scale, gradient[..., None] * cosines
        to_one = (pull * other).sum_to_size(one.shape)
        to_one.addcmul_((push / lengths.square()).sum_to_size(lengths.shape), one, value=-1)
        return to_one, (pull * one).addcmul_(push / other_lengths.square(), other, value=-1)


def distance(kind: Distance, one: Tensor, other: Tensor) -> Tensor:
    """Between the rows of two tensors [..., d]: 1 - cosine, or the Euclidean length of the difference."""
    if kind == "cosine":
        apply: Callable[..., Tensor] = _Cosine.apply
        return 1 - apply(one, other)
    return (one - other).square().sum(-1).add(1e-14).sqrt()


class _Mix(torch.autograd.Function):
    """Weighted rows, summed as they are looked up: a look-up of all experts' rows at all positions is never written."""

    @staticmethod
    def forward(ctx: Any, outputs: Tensor, weights: Tensor, place: Tensor) -> Tensor:
        """[P, d]."""
        ctx.save_for_backward(outputs, weights, place)
        n_experts, n_items, width = outputs.shape
        rows = place[:, None] + n_items * torch.arange(n_experts, device=place.device)
        return F.embedding_bag(rows, outputs.view(-1, width), mode="sum", per_sample_weights=weights.T.contiguous())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        """To an output: the weighted gradients where its item stands. To a weight: an inner product."""
        outputs, weights, place = ctx.saved_tensors
        n_experts, n_items, _ = outputs.shape
        order = place.argsort()  # positions, those of an item together
        ends = place.bincount(minlength=n_items).cumsum(0)
        starts = F.pad(ends[:-1], (1, 0)) + len(place) * torch.arange(n_experts, device=place.device)[:, None]
        to_outputs = F.embedding_bag(
            order.repeat(n_experts),
            gradient,
            starts.flatten(),
            mode="sum",
            per_sample_weights=weights.index_select(1, order).flatten(),
        )
        to_weights = torch.empty_like(weights)
        for start in range(0, len(place), _ROWS_AT_ONCE):
            block = slice(start, start + _ROWS_AT_ONCE)
            for table, into in zip(outputs, to_weights, strict=True):
                torch.sum(table.index_select(0, place[block]).mul_(gradient[block]), 1, out=into[block])
        return to_outputs.view_as(outputs), to_weights, None


def mix(outputs: Tensor, weights: Tensor, place: Tensor) -> Tensor:
    """Σ_j w_jp y_j(item of p) for every position p, float [P, d].

    Args:
        outputs: float [E, U, d], of the experts on U distinct items.
        weights: float [E, P].
        place: int64 [P], which of the U stands at p.
    """
    apply: Callable[..., Tensor] = _Mix.apply
    return apply(outputs, weights, place)


class InteractionExperts(nn.Module):
    """E small networks of equal shape and independent weights over the modalities of an item.

    Expert j is W2_j GELU(Σ_m W1_jm z_m + b1_j) + b2_j: the first layer over the concatenation is a sum over modalities,
    so a masked pass computes only the part of what is hidden.

    Args:
        modalities: Their names, M ≥ 2.
        width: d.
        hidden: h.
        left_out: Experts not to have, by name: a modality's, ``synergy`` or ``redundancy``.
    """

    taken: Tensor

    def __init__(self, modalities: Sequence[str], width: int, hidden: int, left_out: Sequence[str] = ()) -> None:
        super().__init__()
        self.modalities = tuple(modalities)
        self.names = tuple(name for name in (*modalities, SYNERGY, REDUNDANCY) if name not in left_out)
        n_modalities, n_experts = len(self.modalities), len(self.names)
        self.inner = nn.Parameter(torch.empty(n_modalities, n_experts, width, hidden))
        self.inner_bias = nn.Parameter(torch.zeros(n_experts, 1, hidden))
        self.outer = nn.Parameter(torch.empty(n_experts, hidden, width))
        self.outer_bias = nn.Parameter(torch.zeros(n_experts, 1, width))
        # What is summed to a hidden layer, by pass: all modalities, or all but one and what stands for that one.
        hidden_one = torch.eye(n_modalities)
        taken = torch.cat([torch.ones(1, n_modalities), 1 - hidden_one]), F.pad(hidden_one, (0, 0, 1, 0))
        self.register_buffer("taken", torch.cat(taken, 1), persistent=False)
        nn.init.normal_(self.inner, std=(n_modalities * width) ** -0.5)
        nn.init.normal_(self.outer, std=0.02 * hidden**-0.5 * 2)  # outputs start as small as item embeddings

    def forward(self, content: Tensor) -> Tensor:
        """[E, N, d] from [M, N, d]."""
        hidden = self.inner_bias.flatten()
        for modality, weight in zip(content, self.inner.transpose(1, 2).flatten(2), strict=True):
            hidden = torch.addmm(hidden, modality, weight)  # [N, E·h], the experts' side by side
        return self._last(hidden.view(len(hidden), len(self.names), -1).transpose(0, 1))

    def _last(self, hidden: Tensor) -> Tensor:
        """[E, N, d] from what the first layers give, [E, N, h]."""
        return torch.baddbmm(self.outer_bias, F.gelu(hidden), self.outer)

    def passes(self, content: Tensor, mask_with: MaskWith = "noise") -> tuple[Tensor, Tensor]:
        """The outputs on whole items and with each modality hidden in turn.

        Args:
            content: [M, …, N, d], entries of about unit variance, which is also that of the noise.
            mask_with: ``noise`` drawn afresh for every expert and pass, the ``mean`` of the N items, or ``zero``.

        Returns:
            [E, …, N, d] and [E, M, …, N, d].
        """
        n_modalities, n_experts, width, n_hidden = self.inner.shape
        read = content.reshape(1, n_modalities, -1, width).expand(n_experts, -1, -1, -1)
        first = self.inner.transpose(0, 1)
        if mask_with == "noise":
            read = torch.cat([read, torch.randn(read.shape, device=read.device)], 1)
            parts = torch.matmul(read, torch.cat([first, first], 1))
        else:
            own = torch.matmul(read, first)
            mean = own.view(*own.shape[:2], *content.shape[1:-1], n_hidden).mean(-2, keepdim=True)
            instead = mean.expand(-1, -1, *content.shape[1:-1], -1).reshape(own.shape)
            parts = torch.cat([own, instead if mask_with == "mean" else torch.zeros_like(own)], 1)
        hidden = (self.taken @ parts.flatten(2)).view(n_experts, -1, n_hidden)
        outputs = self._last(hidden + self.inner_bias).view(n_experts, 1 + n_modalities, *content.shape[1:])
        whole, masked = outputs.split((1, n_modalities), 1)
        return whole.squeeze(1), masked

    def losses(
        self, whole: Tensor, masked: Tensor, *, margin: float = 0.3, kind: Distance = "cosine"
    ) -> dict[str, Tensor]:
        """What each expert owes its name, per item.

        Unique to m: hiding another modality must not move it, hiding m must (triplet; over several others, their mean).
        Synergy: hiding any one moves it, mean cosine to the masked outputs, in [-1, 1]. Redundancy: hiding one does
        not, 1 - that mean, in [0, 2].

        Args:
            whole: [E, N, d].
            masked: [E, M, N, d].
            margin: Of the triplets.
            kind: Distance of the triplets.

        Returns:
            [N] for each expert's name.
        """
        moved = distance(kind, whole.unsqueeze(1), masked)  # [E, M, N], by hiding a modality
        turned = moved if kind == "cosine" else distance("cosine", whole.unsqueeze(1), masked)
        found = {}
        for name, by_hiding, angle in zip(self.names, moved.unbind(), turned.unbind(), strict=True):
            if name in (SYNERGY, REDUNDANCY):
                found[name] = 1 - angle.mean(0) if name == SYNERGY else angle.mean(0)
                continue
            others = list(by_hiding.unbind())
            own = others.pop(self.modalities.index(name))
            found[name] = torch.stack([F.relu(margin + other - own) for other in others]).mean(0)
        return found
