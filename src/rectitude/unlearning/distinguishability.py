"""How far apart groups of people are in a space of vectors, as losses: U2U by pairs, D2D by distributions.

Source: Chen, Sun, Liu et al., "Making Users Indistinguishable: Attribute-wise Unlearning in Recommender Systems",
ACM MM 2023, arXiv:2310.05847; "Post-Training Attribute Unlearning in Recommender Systems", TOIS 2024,
arXiv:2403.06737 (several classes).

Letters: n people, C classes, n_c people of class c, d width, μ_c mean and v_c mean squared distance to μ_c of class c.
"""

from __future__ import annotations

from itertools import combinations
from typing import Literal

import torch
from torch import Tensor

from rectitude.core.errors import ConfigError

N_KERNELS = 5
"""Gaussian kernels summed, each with twice the bandwidth of the one before."""

Anchor = Literal["largest", "pooled", "all"]


def u2u(vectors: Tensor, labels: Tensor, *, balance: float = 1.0) -> Tensor:
    """User-to-user: people of different classes are pulled together, those of the same class pushed apart.

    Per pair of classes, mean of ‖θ_i − θ_j‖² over people of different classes, minus ``balance`` times the mean over
    people of the same class; averaged over pairs of classes. Sums make it linear in n:
    ‖μ_1 − μ_2‖² + (1 − balance)(v_1 + v_2).

    Args:
        vectors: float [n, d].
        labels: int64 [n], class of each, none unknown.
        balance: 0 is the released form, which draws everybody to one point; 1 matches the means alone.

    Raises:
        ConfigError: ``balance`` is above 1, where the loss has no lower end.
    """
    if balance > 1:
        raise ConfigError(f"A balance of {balance:g} has no minimum", where="balance", fix="Use 0 to 1")
    means, spreads = [], []
    for label in labels.unique().tolist():
        inside = vectors[labels == label]
        means.append(inside.mean(0))
        spreads.append((inside - means[-1]).square().sum(1).mean())
    pairs = [
        (means[a] - means[b]).square().sum() + (1 - balance) * (spreads[a] + spreads[b])
        for a, b in combinations(range(len(means)), 2)
    ]
    return torch.stack(pairs).mean()


def bandwidth(vectors: Tensor) -> Tensor:
    """Mean squared distance between two different people over 4: the narrowest kernel's, a constant to the gradient."""
    kept = vectors.detach()
    n = len(kept)
    spread = (kept - kept.mean(0)).square().sum(1).mean()
    return 2 * spread * n / (max(n - 1, 1) * 4)


def kernel(first: Tensor, second: Tensor, width: Tensor) -> Tensor:
    """Sum of :data:`N_KERNELS` Gaussian kernels exp(−‖x − y‖² / (b 2^m)), float [n, m] from [n, d] and [m, d]."""
    squared = (first.square().sum(1)[:, None] + second.square().sum(1)[None] - 2 * first @ second.T).clamp(min=0.0)
    # Bandwidths double, so each kernel is the square of the next wider one.
    widest = torch.exp(-squared / (width * 2 ** (N_KERNELS - 1)).clamp(min=1e-30))
    total = widest
    for _ in range(N_KERNELS - 1):
        widest = widest * widest
        total = total + widest
    return total


def mmd2(first: Tensor, second: Tensor, width: Tensor | None = None) -> Tensor:
    """Squared maximum mean discrepancy of two samples, diagonals included.

    Args:
        first: float [n_1, d].
        second: float [n_2, d].
        width: Of the narrowest kernel; :func:`bandwidth` of both samples together if None.

    Source:
        Gretton et al., "A Kernel Two-Sample Test", JMLR 2012, eq. 5.
    """
    width = bandwidth(torch.cat([first, second])) if width is None else width
    return (
        kernel(first, first, width).mean()
        + kernel(second, second, width).mean()
        - 2 * kernel(first, second, width).mean()
    )


def by_chance(first: Tensor, second: Tensor, width: Tensor) -> Tensor:
    """What :func:`mmd2` is on average when the same people are dealt out at random: (1/n_1 + 1/n_2)(k_0 − k̄).

    k_0 is the kernel of a vector with itself and k̄ the mean kernel of two different people. A constant to the gradient.
    """
    pooled = torch.cat([first, second]).detach()
    n = len(pooled)
    everybody = kernel(pooled, pooled, width)
    off = (everybody.sum() - everybody.diagonal().sum()) / max(n * (n - 1), 1)
    return (1 / len(first) + 1 / len(second)) * (N_KERNELS - off)


def d2d(
    vectors: Tensor,
    labels: Tensor,
    *,
    anchor: Anchor = "largest",
    most: int | None = None,
    to_chance: bool = True,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Distribution-to-distribution: the classes' distributions made the same, by MMD².

    Args:
        vectors: float [n, d].
        labels: int64 [n], class of each, none unknown.
        anchor: Each class against the largest one (C − 1 terms), against everybody with stopped gradient (``pooled``),
            or every pair of classes (``all``).
        most: People drawn of each class; all of them if None. Cost is quadratic in it.
        to_chance: Stop where random classes of these sizes would be: a smaller MMD² makes people tell-tale again,
            because who is missing from a sample then shows. False minimises to zero, as released.
        generator: Of the draws.

    Returns:
        Mean over the terms.
    """
    classes, counts = labels.unique(return_counts=True)
    samples = [_draw(vectors[labels == label], most, generator) for label in classes.tolist()]
    if anchor == "pooled":
        everybody = _draw(vectors.detach(), most, generator)
        pairs = [(sample, everybody) for sample in samples]
    elif anchor == "all":
        pairs = list(combinations(samples, 2))
    else:
        largest = int(counts.argmax())
        pairs = [(sample, samples[largest]) for at, sample in enumerate(samples) if at != largest]
    terms = []
    for first, second in pairs:
        width = bandwidth(torch.cat([first, second]))
        term = mmd2(first, second, width)
        terms.append((term - by_chance(first, second, width)).clamp(min=0.0) if to_chance else term)
    return torch.stack(terms).mean()


def _draw(people: Tensor, most: int | None, generator: torch.Generator | None) -> Tensor:
    if most is None or len(people) <= most:
        return people
    return people[torch.randperm(len(people), generator=generator)[:most].to(people.device)]
