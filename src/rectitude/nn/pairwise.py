"""Losses on observed user-item pairs.

Letters: B pairs, N negatives, d width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def bpr_loss(positive: Tensor, negative: Tensor) -> Tensor:
    """Bayesian personalised ranking: −log σ(positive − negative), averaged.

    Source: Rendle et al., BPR, UAI 2009, arXiv:1205.2618, section 4.1.

    Args:
        positive: float [B], scores of observed items.
        negative: float [B, N], scores of items not observed.

    Returns:
        Scalar.
    """
    return F.softplus(negative - positive[:, None]).mean()


def pair_cross_entropy(positive: Tensor, negative: Tensor) -> Tensor:
    """Binary cross-entropy of observed pairs as ones and drawn ones as zeros, averaged over all B (1 + N).

    Source: He et al., Neural Collaborative Filtering, WWW 2017, arXiv:1708.05031, eq. 7.

    Args:
        positive: float [B], scores (logits) of observed items.
        negative: float [B, N], scores of items not observed.

    Returns:
        Scalar.
    """
    return (F.softplus(-positive).sum() + F.softplus(negative).sum()) / (positive.numel() + negative.numel())


def l2_penalty(*vectors: Tensor) -> Tensor:
    """Half the squared length of the vectors a batch touches, per pair.

    Args:
        vectors: float [B, …, d] each.

    Returns:
        Scalar.
    """
    return torch.stack([vector.square().sum() for vector in vectors]).sum() / (2 * len(vectors[0]))
