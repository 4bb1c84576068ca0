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


def in_batch_softmax(queries: Tensor, items: Tensor, ids: Tensor, n_negatives: int) -> Tensor:
    """Softmax cross-entropy of each pair's own item against items of other pairs of the same batch.

    Negatives are met as often as they are observed, so popular items are pushed down: no correction is made.

    Source: Wu et al., On the Effectiveness of Sampled Softmax Loss for Item Recommendation, arXiv:2201.02327, eq. 4.

    Args:
        queries: float [B, d], already divided by the temperature.
        items: float [B, d], vectors of the observed items.
        ids: int64 [B], which items they are; the same item is never its own negative.
        n_negatives: The first so many pairs lend their items.

    Returns:
        Scalar.
    """
    own = (queries * items).sum(1, keepdim=True)  # [B, 1]
    others = queries @ items[:n_negatives].T  # [B, N]
    others = others.masked_fill(ids[:, None] == ids[:n_negatives], -torch.inf)
    return (torch.logsumexp(torch.cat([own, others], 1), 1) - own[:, 0]).mean()


def l2_penalty(*vectors: Tensor) -> Tensor:
    """Half the squared length of the vectors a batch touches, per pair.

    Args:
        vectors: float [B, …, d] each.

    Returns:
        Scalar.
    """
    return torch.stack([vector.square().sum() for vector in vectors]).sum() / (2 * len(vectors[0]))
