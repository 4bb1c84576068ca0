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


def distance(kind: Distance, one: Tensor, other: Tensor) -> Tensor:
    """[…, N], between the rows of two […, N, d]: 1 - cosine, or the Euclidean length of the difference."""
    if kind == "cosine":
        lengths = one.norm(dim=-1) * other.norm(dim=-1)
        likeness: Tensor = (one * other).sum(-1) / lengths.clamp(min=1e-8)
        return 1 - likeness
    return (one - other).square().sum(-1).add(1e-14).sqrt()


class _Mix(torch.autograd.Function):
    """Weighted rows, summed as they are looked up: a look-up of all experts' rows at all positions is never written."""

    @staticmethod
    def forward(ctx: Any, outputs: Tensor, weights: Tensor, place: Tensor) -> Tensor:
        """[P, d]."""
        ctx.save_for_backward(outputs, weights, place)
        mixed = weights.new_zeros(len(place), outputs.shape[2])
        for expert in range(len(outputs)):
            mixed.addcmul_(outputs[expert].index_select(0, place), weights[expert, :, None])
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        """One expert at a time."""
        outputs, weights, place = ctx.saved_tensors
        to_outputs, to_weights = torch.zeros_like(outputs), torch.empty_like(weights)
        for expert in range(len(outputs)):
            torch.sum(outputs[expert].index_select(0, place).mul_(gradient), 1, out=to_weights[expert])
            to_outputs[expert].index_add_(0, place, gradient * weights[expert, :, None])
        return to_outputs, to_weights, None


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

    def __init__(self, modalities: Sequence[str], width: int, hidden: int, left_out: Sequence[str] = ()) -> None:
        super().__init__()
        self.modalities = tuple(modalities)
        self.names = tuple(name for name in (*modalities, SYNERGY, REDUNDANCY) if name not in left_out)
        n_modalities, n_experts = len(self.modalities), len(self.names)
        self.inner = nn.Parameter(torch.empty(n_modalities, n_experts, width, hidden))
        self.inner_bias = nn.Parameter(torch.zeros(n_experts, 1, hidden))
        self.outer = nn.Parameter(torch.empty(n_experts, hidden, width))
        self.outer_bias = nn.Parameter(torch.zeros(n_experts, 1, width))
        nn.init.normal_(self.inner, std=(n_modalities * width) ** -0.5)
        nn.init.normal_(self.outer, std=0.02 * hidden**-0.5 * 2)  # outputs start as small as item embeddings

    def _parts(self, content: Tensor) -> Tensor:
        """[M, E, N, h] from [M, N, d]: what each modality adds to the hidden layers."""
        n_modalities, n_experts, width, hidden = self.inner.shape
        weights = self.inner.permute(0, 2, 1, 3).reshape(n_modalities, width, n_experts * hidden)
        return torch.bmm(content, weights).view(n_modalities, -1, n_experts, hidden).permute(0, 2, 1, 3)

    def _out(self, hidden: Tensor) -> Tensor:
        """[E, N, d] from the sum of the parts, [E, N, h]."""
        return torch.baddbmm(self.outer_bias, F.gelu(hidden + self.inner_bias), self.outer)

    def forward(self, content: Tensor) -> Tensor:
        """[E, N, d] from [M, N, d]."""
        return self._out(self._parts(content).sum(0))

    def passes(self, content: Tensor, mask_with: MaskWith = "noise") -> tuple[Tensor, Tensor]:
        """The outputs on whole items and with each modality hidden in turn.

        Args:
            content: [M, N, d], entries of about unit variance, which is also that of the noise.
            mask_with: ``noise`` drawn afresh for every expert and pass, the ``mean`` of the N items, or ``zero``.

        Returns:
            [E, N, d] and [M, E, N, d].
        """
        parts = self._parts(content)
        whole = parts.sum(0)
        if mask_with == "noise":
            n_modalities, n_experts = self.inner.shape[:2]
            noise = torch.randn(n_modalities, n_experts, *content.shape[1:], device=content.device)
            instead = torch.matmul(noise, self.inner)
        elif mask_with == "mean":
            instead = parts.mean(2, keepdim=True)
        else:
            instead = torch.zeros_like(parts[:, :, :1])
        hidden = whole - parts + instead  # [M, E, N, h]
        out = torch.matmul(F.gelu(hidden + self.inner_bias), self.outer) + self.outer_bias
        return self._out(whole), out

    def losses(
        self, whole: Tensor, masked: Tensor, *, margin: float = 0.3, kind: Distance = "cosine"
    ) -> dict[str, Tensor]:
        """What each expert owes its name, per item.

        Unique to m: hiding another modality must not move it, hiding m must (triplet; over several others, their mean).
        Synergy: hiding any one moves it, mean cosine to the masked outputs, in [-1, 1]. Redundancy: hiding one does
        not, 1 - that mean, in [0, 2].

        Args:
            whole: [E, N, d].
            masked: [M, E, N, d].
            margin: Of the triplets.
            kind: Distance of the triplets.

        Returns:
            [N] for each expert's name.
        """
        moved = distance(kind, whole, masked)  # [M, E, N], by hiding a modality
        likeness = 1 - (moved if kind == "cosine" else distance("cosine", whole, masked)).mean(0)
        found = {}
        for place, name in enumerate(self.names):
            if name in (SYNERGY, REDUNDANCY):
                found[name] = likeness[place] if name == SYNERGY else 1 - likeness[place]
                continue
            own = self.modalities.index(name)
            others = [other for other in range(len(self.modalities)) if other != own]
            found[name] = F.relu(margin + moved[others, place] - moved[own, place]).mean(0)
        return found
