"""Losses of next-item prediction, as parts: a state and its target in, a mean over targets out.

Negatives are shared by the whole batch: one draw of N items serves all T positions, so that scoring them is one matrix
product. Letters: T targets, N negatives, I items, d width.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

LossName = Literal["sampled_softmax", "softmax", "gbce", "bce", "bpr"]

_ROWS_AT_ONCE = 1024
"""Positions whose probabilities exist together: few enough to stay in the cache."""

SMALLEST = torch.finfo(torch.float32).tiny


@dataclass(frozen=True, eq=False)
class Negatives:
    """A draw of negatives with what is needed to undo its bias.

    Attributes:
        items: int64 [N], distinct, ascending.
        log_weight: float32 [N], log(times drawn / (draws · q(item))): the importance weight that makes a sum over the
            draw an unbiased estimate of the sum over all items.
    """

    items: Tensor
    log_weight: Tensor

    def to(self, device: torch.device) -> Negatives:
        """The draw on a device."""
        return Negatives(self.items.to(device), self.log_weight.to(device))


class NegativeSampler:
    """Draws negatives in proportion to popularity to a power.

    Args:
        popularity: float32 [I], training interactions per item.
        n_negatives: Draws, with replacement; the distinct ones are returned, so N is a little less.
        power: 0 draws uniformly, 1 in proportion to popularity.
        seen_only: Never draw what nobody has chosen. A model that ranks new items by their content would learn from
            such draws that whatever is like them is never chosen.
    """

    def __init__(self, popularity: Tensor, n_negatives: int, power: float = 0.0, *, seen_only: bool = False) -> None:
        self.n_negatives = n_negatives
        self.n_items = len(popularity)
        weight = popularity.double().clamp(min=1).pow(power)
        if seen_only:
            weight *= popularity > 0
        self._log_q = (weight / weight.sum()).log()
        cumulative = weight.cumsum(0)
        self._cumulative = cumulative / cumulative[-1] if power or seen_only else None

    def draw(self, generator: torch.Generator) -> Negatives:
        """One draw."""
        if self._cumulative is None:
            drawn = torch.randint(self.n_items, (self.n_negatives,), generator=generator)
        else:
            points = torch.rand(self.n_negatives, generator=generator, dtype=torch.float64)
            drawn = torch.searchsorted(self._cumulative, points, right=True).clamp_(max=self.n_items - 1)
        items, counts = drawn.unique(return_counts=True)
        log_weight = counts.double().log() - math.log(self.n_negatives) - self._log_q[items]
        return Negatives(items, log_weight.float())


def _collisions(targets: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column of each target that is among the (ascending, distinct) negatives."""
    column = torch.searchsorted(items, targets).clamp_(max=len(items) - 1)
    row = torch.nonzero(items[column] == targets).squeeze(1)
    return row, column[row]


def _rounded(size: int, step: int) -> int:
    return -(-size // step) * step


def _padded(states: Tensor) -> Tensor:
    """[T, d] with zero rows up to a multiple of 256.

    Matrix products on a CPU compile a kernel for each shape they meet: with T different in every batch, that costs
    more time than the products and memory without end.
    """
    return F.pad(states, (0, 0, 0, _rounded(len(states), 256) - len(states)))


class _FusedLoss(torch.autograd.Function):
    """A mean loss of (states, table, three things without gradient) whose forward pass makes and keeps the gradients.

    The probabilities are the largest thing in a training step: they are written once and never kept.
    """

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        states_gradient, table_gradient = ctx.saved_tensors
        return gradient * states_gradient, gradient * table_gradient, None, None, None


class _SampledSoftmax(_FusedLoss):
    """Cross-entropy of the target against the negatives, a block of rows at a time."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, table: Tensor, targets: Tensor, items: Tensor, log_weight: Tensor) -> Tensor:
        n_targets, n_items = len(targets), len(items)
        # One row more than negatives stands for each position's own target; its vector is zero and filled in below. One
        # column more holds the correction, met by a one in every state: a sum inside the product costs nothing, while
        # adding the correction to it is a pass over the scores.
        width, d = _rounded(n_items + 1, 32), table.shape[1]
        corrected = table.new_zeros(width, d + 1)
        corrected[:n_items, :d], corrected[:n_items, d] = table[items], log_weight
        corrected[n_items:-1, d] = float("-inf")
        negative = corrected[:, :d]
        wanted = any(ctx.needs_input_grad[:2])
        states_gradient, table_gradient = torch.empty_like(states), torch.zeros_like(table)
        negative_gradient = torch.zeros_like(negative)
        total = states.new_zeros((), dtype=torch.float64)
        for start in range(0, n_targets, _ROWS_AT_ONCE):
            block = slice(start, start + _ROWS_AT_ONCE)
            target, rows = targets[block], _padded(states[block])
            here, positive = slice(len(target)), table[target]
            logits = F.pad(rows, (0, 1), value=1.0) @ corrected.T
            logits[here, -1] = (rows[here] * positive).sum(1)
            logits[_collisions(target, items)] = float("-inf")
            probabilities = torch.softmax(logits, dim=1)
            hit = probabilities[here, -1]
            total -= hit.clamp(min=SMALLEST).log().sum()
            if wanted:
                pull = (hit - 1)[:, None]
                # The stand-in's row is zero, so it adds nothing to the products; its own part is the second term.
                states_gradient[block] = (probabilities @ negative)[here] + pull * positive
                table_gradient.index_add_(0, target, pull * rows[here])
                negative_gradient.addmm_(probabilities.T, rows)
        if wanted:
            table_gradient.index_add_(0, items, negative_gradient[:n_items])
            ctx.save_for_backward(states_gradient.div_(n_targets), table_gradient.div_(n_targets))
        return (total / n_targets).to(states.dtype)


def sampled_softmax(states: Tensor, table: Tensor, targets: Tensor, negatives: Negatives) -> Tensor:
    """Softmax cross-entropy against a sample, corrected for how it was drawn (logQ).

    The denominator is exp(s⁺) + Σ_j w_j exp(s_j) over the negatives other than the target, with importance weights
    w_j: an unbiased estimate of the full softmax's. Source: Bengio & Senécal 2008; Yi et al., RecSys 2019 (logQ
    correction).

    Args:
        states: float [T, d].
        table: float [≥ I, d], item vectors; rows past I (padding) get no gradient.
        targets: int64 [T].
        negatives: Shared by all targets.
    """
    apply: Callable[..., Tensor] = _SampledSoftmax.apply
    return apply(states, table, targets, negatives.items, negatives.log_weight)


class _ChunkedSoftmax(_FusedLoss):
    """Full cross-entropy over row chunks; only one chunk's probabilities exist at a time."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, table: Tensor, targets: Tensor, n_items: int, chunk: int) -> Tensor:
        items = table[:n_items]
        wanted = any(ctx.needs_input_grad[:2])
        states_gradient = torch.empty_like(states) if wanted else None
        table_gradient = torch.zeros_like(table) if wanted else None
        total = states.new_zeros((), dtype=torch.float64)
        for start in range(0, len(states), chunk):
            target = targets[start : start + chunk, None]
            n_targets = len(target)
            part = _padded(states[start : start + chunk])
            probabilities = torch.softmax(part @ items.T, dim=1)
            hit = probabilities[:n_targets].gather(1, target)
            total -= hit.clamp(min=SMALLEST).log().sum()
            if states_gradient is not None and table_gradient is not None:
                probabilities[:n_targets].scatter_add_(1, target, -torch.ones_like(hit))
                states_gradient[start : start + chunk] = (probabilities @ items)[:n_targets]
                table_gradient[:n_items].addmm_(probabilities.T, part)
        if states_gradient is not None and table_gradient is not None:
            ctx.save_for_backward(states_gradient.div_(len(states)), table_gradient.div_(len(states)))
        return (total / len(states)).to(states.dtype)


def softmax(states: Tensor, table: Tensor, targets: Tensor, n_items: int, chunk: int = _ROWS_AT_ONCE) -> Tensor:
    """Cross-entropy over all items, T·I·d operations, at most ``chunk`` · I numbers of memory at a time.

    Args:
        states: float [T, d].
        table: float [≥ I, d]; rows past ``n_items`` are no candidates.
        targets: int64 [T].
        n_items: I.
        chunk: Positions scored at a time.
    """
    apply: Callable[..., Tensor] = _ChunkedSoftmax.apply
    return apply(states, table, targets, n_items, chunk)


def _scores(states: Tensor, table: Tensor, targets: Tensor, negatives: Negatives) -> tuple[Tensor, Tensor, Tensor]:
    """Score of each target [T], of each negative [T, N], and False where a negative is the target."""
    positive = (states * F.embedding(targets, table)).sum(1)
    negative = (_padded(states) @ F.embedding(negatives.items, table).T)[: len(states)]
    valid = torch.ones(negative.shape, dtype=torch.bool, device=states.device)
    valid[_collisions(targets, negatives.items)] = False
    return positive, negative, valid


def gbce(
    states: Tensor, table: Tensor, targets: Tensor, negatives: Negatives, n_items: int, calibration: float = 0.75
) -> Tensor:
    """Generalised binary cross-entropy, which takes back the overconfidence that sampling causes.

    -(β log σ(s⁺) + Σ_j log(1 - σ(s_j))) with β = α(t(1 - 1/α) + 1/α) and sampling rate α = N/(I - 1).
    Source: Petrov & Macdonald, gSASRec, RecSys 2023, arXiv:2308.07192, eq. 7 to 9.

    Args:
        states: float [T, d].
        table: float [≥ I, d].
        targets: int64 [T].
        negatives: Shared by all targets.
        n_items: I.
        calibration: t; 0 is plain binary cross-entropy, 1 fully calibrated; usual 0.75.
    """
    rate = min(1.0, len(negatives.items) / max(1, n_items - 1))
    power = rate * (calibration * (1 - 1 / rate) + 1 / rate)
    positive, negative, valid = _scores(states, table, targets, negatives)
    misses = F.softplus(negative).masked_fill(~valid, 0.0).sum(1)
    return (power * F.softplus(-positive) + misses).mean()


def bce(states: Tensor, table: Tensor, targets: Tensor, negatives: Negatives) -> Tensor:
    """Binary cross-entropy with the negatives averaged, so that they weigh as much as the target.

    Source: Kang & McAuley, SASRec, ICDM 2018, arXiv:1808.09781, eq. 6 (there with one negative per position).

    Args:
        states: float [T, d].
        table: float [≥ I, d].
        targets: int64 [T].
        negatives: Shared by all targets.
    """
    positive, negative, valid = _scores(states, table, targets, negatives)
    misses = F.softplus(negative).masked_fill(~valid, 0.0).sum(1) / valid.sum(1).clamp(min=1)
    return (F.softplus(-positive) + misses).mean()


def bpr(states: Tensor, table: Tensor, targets: Tensor, negatives: Negatives) -> Tensor:
    """Pairwise loss -log σ(s⁺ - s_j), mean over the negatives. Source: Rendle et al., UAI 2009, arXiv:1205.2618.

    Args:
        states: float [T, d].
        table: float [≥ I, d].
        targets: int64 [T].
        negatives: Shared by all targets.
    """
    positive, negative, valid = _scores(states, table, targets, negatives)
    losses = F.softplus(negative - positive[:, None]).masked_fill(~valid, 0.0)
    return (losses.sum(1) / valid.sum(1).clamp(min=1)).mean()


def next_item_loss(
    name: LossName, states: Tensor, table: Tensor, targets: Tensor, negatives: Negatives, n_items: int
) -> Tensor:
    """The loss of a given name, for models that let the user choose.

    Args:
        name: One of ``LossName``.
        states: float [T, d].
        table: float [≥ I, d].
        targets: int64 [T].
        negatives: Shared by all targets; unused by ``softmax``.
        n_items: I.
    """
    if name == "softmax":
        return softmax(states, table, targets, n_items)
    if name == "sampled_softmax":
        return sampled_softmax(states, table, targets, negatives)
    if name == "gbce":
        return gbce(states, table, targets, negatives, n_items)
    if name == "bce":
        return bce(states, table, targets, negatives)
    return bpr(states, table, targets, negatives)
