"""Products of a fixed sparse matrix with a table, with gradients, and graphs of the nearest items.

Letters: R rows, C columns, I items, d width, k neighbours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sparse
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


class SparseMatrix(nn.Module):
    """A constant matrix [R, C]; its buffers are not saved with a model, they come from the training data.

    Args:
        matrix: Any SciPy sparse matrix.
    """

    def __init__(self, matrix: Any) -> None:
        super().__init__()
        self.shape = tuple(matrix.shape)
        for name, part in (("forth", sparse.csr_array(matrix)), ("back", sparse.csr_array(matrix.T))):
            self.register_buffer(f"{name}_columns", torch.from_numpy(part.indices.astype(np.int32)), persistent=False)
            self.register_buffer(f"{name}_offsets", torch.from_numpy(part.indptr.astype(np.int32)), persistent=False)
            self.register_buffer(f"{name}_weights", torch.from_numpy(part.data.astype(np.float32)), persistent=False)

    def product(self, table: Tensor, *, transposed: bool = False) -> Tensor:
        """The matrix, or its transpose, times float [C, d]; no gradient passes."""
        name = "back" if transposed else "forth"
        return F.embedding_bag(
            getattr(self, f"{name}_columns"),
            table.detach().contiguous(),
            getattr(self, f"{name}_offsets"),
            mode="sum",
            per_sample_weights=getattr(self, f"{name}_weights").to(table.dtype),
            include_last_offset=True,
        )

    def forward(self, table: Tensor) -> Tensor:
        """[R, d] from float [C, d]; gradients pass to the table."""
        product: Tensor = _Product.apply(table, self)  # type: ignore[no-untyped-call]
        return product


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, matrix: SparseMatrix) -> Tensor:
        ctx.matrix = matrix
        return matrix.product(table)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.matrix.product(gradient, transposed=True), None


def nearest_items(vectors: npt.NDArray[np.float32], k: int, block: int = 2048) -> Any:
    """Graph of each item's k most alike, itself among them, weighed by cosine.

    An item without a vector (a row of zeros or NaN) has itself only. Weights are no less than zero.

    Args:
        vectors: float32 [I, d].
        k: Neighbours of an item.
        block: Rows compared at a time.

    Returns:
        SciPy CSR [I, I].

    Cost: I²·d operations, ``block``·I numbers of memory.
    """
    rows = torch.from_numpy(np.nan_to_num(vectors).astype(np.float32))
    lengths = rows.norm(dim=1, keepdim=True)
    rows = rows / lengths.clamp(min=1e-12)
    k = min(k, len(rows))
    weights, columns = [], []
    for start in range(0, len(rows), block):
        likeness = rows[start : start + block] @ rows.T
        own = torch.arange(len(likeness))
        likeness[own, start + own] = 2.0  # first among its own, whatever rounding and twins say
        value, column = likeness.topk(k)
        value[:, 0] = 1.0
        weights.append(value.clamp(min=0))
        columns.append(column)
    value, column = torch.cat(weights), torch.cat(columns)
    value[(lengths == 0).squeeze(1), 1:] = 0.0
    graph = sparse.csr_array(
        (value.numpy().ravel(), column.numpy().ravel(), np.arange(len(rows) + 1) * k), (len(rows), len(rows))
    )
    graph.eliminate_zeros()
    graph.sort_indices()
    return graph


def by_row_degree(graph: Any) -> Any:
    """w_ij / √(deg_i deg_j) with the row sums as degrees of both ends, as FREEDOM and AnchorRec have it."""
    scale = 1 / np.sqrt(np.maximum(np.asarray(graph.sum(1)).ravel(), 1e-12))
    return sparse.csr_array(sparse.diags_array(scale) @ graph @ sparse.diags_array(scale))
