"""A start in closed form: each class given the mean and the covariance of what was dealt to it.

Of all maps that give a normal cloud another mean and covariance, the affine one that moves it least is known:
x → m' + (x − m) A with A = Σ^(−1/2) (Σ^(1/2) Σ' Σ^(1/2))^(1/2) Σ^(−1/2). A class that is mapped so is beyond linear and
quadratic attackers at once, at the price of some eigenvalue problems in d, and gradients are left with the rest.

Sampled moments hold noise, and the fewer people the more. Of a class's own deviation from everybody, D, and that of its
deal, D', both squared in units of the common covariance, a share s = 1 − |D'|² / |D|² is not explained by chance. The
aim is (1 − s) D + √s D': what tells goes, the noise left is as large as chance's, and where nothing tells nobody moves.

Source: Olkin and Pukelsheim, "The distance between two random vectors with given dispersion matrices", Linear Algebra
and its Applications 1982 (the map). The aim is ours.

Letters: n people of known class, n_c of class c, d width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_FLOOR = 1e-3
"""Added to variances, in shares of the mean one."""


@torch.no_grad()
def aligned(start: Tensor, people: Sequence[Tensor], into: Sequence[Tensor]) -> Tensor:
    """The vectors with each class's mean and covariance at its aim.

    Args:
        start: float [n, d].
        people: Per class the positions of its people, int64 [n_c].
        into: Per class the positions of the people dealt into it, int64 [n_c].

    Returns:
        float [n, d].
    """
    vectors = start.double()
    mean, common = _moments(vectors)
    whiten = _power(common, -0.5)
    found = vectors.clone()
    for rows, dealt in zip(people, into, strict=True):
        own_mean, own_spread = _moments(vectors[rows])
        chance_mean, chance_spread = _moments(vectors[dealt])
        apart, chance = own_mean - mean, chance_mean - mean
        aim_mean = mean + _aim(apart, chance, whiten @ apart, whiten @ chance)
        apart, chance = own_spread - common, chance_spread - common
        aim_spread = common + _aim(apart, chance, whiten @ apart @ whiten, whiten @ chance @ whiten)
        half, back = _power(own_spread, 0.5), _power(own_spread, -0.5)
        found[rows] = (vectors[rows] - own_mean) @ (back @ _power(half @ aim_spread @ half, 0.5) @ back) + aim_mean
    return found.to(start.dtype)


def _moments(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [d] and covariance [d, d]."""
    spread = torch.cov(vectors.T).reshape(vectors.shape[1], -1)
    floor = _FLOOR * spread.diagonal().mean().clamp(min=1e-30)
    return vectors.mean(0), spread + floor * torch.eye(len(spread), dtype=spread.dtype, device=spread.device)


def _aim(own: Tensor, chance: Tensor, own_units: Tensor, chance_units: Tensor) -> Tensor:
    """The deviation to have: (1 − s) of one's own and √s of the deal's."""
    tells = (1 - chance_units.square().sum() / own_units.square().sum().clamp(min=1e-30)).clamp(min=0.0)
    return (1 - tells) * own + tells.sqrt() * chance


def _power(matrix: Tensor, exponent: float) -> Tensor:
    """A power of a symmetric matrix that has no negative eigenvalue but by rounding."""
    values, directions = torch.linalg.eigh(matrix)
    powers: Tensor = values.clamp(min=1e-12 * float(values[-1])).pow(exponent)
    found: Tensor = (directions * powers) @ directions.T
    return found
