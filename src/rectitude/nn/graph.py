"""Propagation over the user-item graph, and pooling over the items of a history.

Both are products of a sparse and a dense matrix, computed as sums of bags of table rows: on one core that is four times
quicker than torch's own compressed sparse rows.

Letters: B rows, I items, U users, N = U + I nodes, E directed edges, K layers, d width.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from rectitude.data.histories import Histories


def pool(table: Tensor, history: Histories) -> Tensor:
    """Sum of the table's rows over the distinct items of each history: a binary matrix times a table.

    Args:
        table: float [I, d].
        history: B rows.

    Returns:
        float [B, d] on the table's device, zero for an empty history.
    """
    distinct = history.unique()
    if not len(distinct.items):
        return table.new_zeros(len(history), table.shape[1])
    items = torch.from_numpy(distinct.items.astype(np.int64)).to(table.device)
    offsets = torch.from_numpy(distinct.offsets[:-1]).to(table.device)
    return F.embedding_bag(items, table, offsets, mode="sum")


class BipartiteGraph(nn.Module):
    """Users and items as nodes, an edge in both directions for every observed pair.

    Node u is user u and node U + i is item i. The edge between them weighs 1 / √(degree u · degree i), which makes the
    adjacency A [N, N] symmetric. Its buffers are not saved with a model: they come from the training data.

    Args:
        train: U rows; repeats count once.
        n_items: I.
    """

    neighbours: Tensor
    offsets: Tensor
    weights: Tensor

    def __init__(self, train: Histories, n_items: int) -> None:
        super().__init__()
        distinct = train.unique()
        users, items, n_users = distinct.rows, distinct.items, len(distinct)
        by_item = np.argsort(items, kind="stable")
        of_users = np.maximum(distinct.lengths, 1)
        of_items = np.maximum(np.bincount(items, minlength=n_items), 1)
        weights = 1.0 / np.sqrt(of_users[users] * of_items[items])
        degrees = np.concatenate([distinct.lengths, np.bincount(items, minlength=n_items)])
        arrays = {
            "neighbours": np.concatenate([items + n_users, users[by_item]]).astype(np.int32),  # [E]
            "offsets": np.concatenate([[0], np.cumsum(degrees)]).astype(np.int32),  # [N + 1]
            "weights": np.concatenate([weights, weights[by_item]]).astype(np.float32),  # [E]
        }
        for name, array in arrays.items():
            self.register_buffer(name, torch.from_numpy(array), persistent=False)

    @property
    def degrees(self) -> Tensor:
        """int32 [N], distinct neighbours of each node."""
        return self.offsets.diff()

    def step(self, nodes: Tensor) -> Tensor:
        """A times ``nodes``, float [N, d]; no gradient passes."""
        return F.embedding_bag(
            self.neighbours,
            nodes.detach(),  # or twice the work would be done, for a gradient
            self.offsets,
            mode="sum",
            per_sample_weights=self.weights.to(nodes.dtype),
            include_last_offset=True,
        )

    def forward(self, nodes: Tensor, n_layers: int) -> Tensor:
        """Mean of the node vectors over the layers 0 to K: (1 + A + A² + … + A^K) · nodes / (K + 1).

        Args:
            nodes: float [N, d].
            n_layers: K.

        Returns:
            float [N, d]; gradients pass to ``nodes``.
        """
        mean: Tensor = _Propagation.apply(nodes, self, n_layers)  # type: ignore[no-untyped-call]
        return mean


class _Propagation(torch.autograd.Function):
    """A polynomial of a symmetric matrix is its own transpose, so backward is forward and nothing is stored."""

    @staticmethod
    def forward(ctx: Any, nodes: Tensor, graph: BipartiteGraph, n_layers: int) -> Tensor:
        """Mean over the layers."""
        ctx.graph, ctx.n_layers = graph, n_layers
        return _mean_of_layers(nodes, graph, n_layers)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """The same mean of the gradient."""
        return _mean_of_layers(gradient.contiguous(), ctx.graph, ctx.n_layers), None, None


def _mean_of_layers(nodes: Tensor, graph: BipartiteGraph, n_layers: int) -> Tensor:
    """nodes + A (nodes + A (nodes + …)), by Horner's rule, over their number."""
    summed = nodes if n_layers else nodes.clone()
    for _ in range(n_layers):
        summed = graph.step(summed).add_(nodes)
    return summed.div_(n_layers + 1)
