"""Propagation over the user-item graph, and pooling over the items of a history.

Letters: B rows, I items, U users, N = U + I nodes, d width.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from rectitude.data.histories import Histories


def pool(table: Tensor, history: Histories, weights: Tensor | None = None) -> Tensor:
    """Sum of the table's rows over the distinct items of each history: the product of a binary matrix and a table.

    Args:
        table: float [I, d].
        history: B rows.
        weights: float [I], what each item counts for; 1 by default.

    Returns:
        float [B, d] on the table's device, zero for an empty history.
    """
    distinct = history.unique()
    items = torch.from_numpy(distinct.items.astype(np.int64)).to(table.device)
    offsets = torch.from_numpy(distinct.offsets[:-1]).to(table.device)
    if not len(items):
        return table.new_zeros(len(history), table.shape[1])
    per_item = None if weights is None else weights.to(table.dtype)[items]
    return F.embedding_bag(items, table, offsets, mode="sum", per_sample_weights=per_item)
