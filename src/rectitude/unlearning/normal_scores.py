"""The unit in which vectors are edited: normal scores of each coordinate.

Letters: n people of the table, m people asked about, d width, k knots.
"""

from __future__ import annotations

import torch
from torch import Tensor


class NormalScores:
    """Each coordinate of a table as the normal quantile of its rank, and back, both linear between the table's values.

    Where many people stand close together, a move that the kernels do not see would tell their class; after this map
    nobody stands closer together than in a normal sample. Coordinates with less than 1e-4 of the usual spread have no
    scores: they are 0, and come back as their mean.

    Args:
        table: float [n, d].
    """

    def __init__(self, table: Tensor) -> None:
        n = len(table)
        spread = table.double().std(0)
        # A whole table may have shrunk to next to nothing, so the thresholds below are in its own unit.
        self.unit = float(spread.median().clamp(min=1e-30))
        self.live = spread > 1e-4 * self.unit
        table = table / self.unit
        spread = (spread / self.unit).to(table.dtype)
        self.mean = table.mean(0)
        spread = spread.clamp(min=1e-8)
        values = table.sort(0).values.T
        steps = torch.arange(n, device=table.device, dtype=values.dtype)
        values = values + (1e-6 * spread[:, None]) * steps / n  # equal values stay in order
        quantiles = torch.special.ndtri((torch.arange(n, device=table.device, dtype=torch.float64) + 0.5) / n)
        scores = quantiles.to(values.dtype)
        tail = 3.0  # beyond the table's ends, one standard deviation for one normal score
        self.values = torch.cat(
            [values[:, :1] - tail * spread[:, None], values, values[:, -1:] + tail * spread[:, None]], 1
        )
        self.scores = torch.cat([scores[:1] - tail, scores, scores[-1:] + tail]).expand(len(spread), -1).contiguous()

    def forward(self, vectors: Tensor) -> Tensor:
        """Normal scores, float [m, d] from [m, d]."""
        return torch.where(self.live, _interpolated(vectors / self.unit, self.values, self.scores), 0.0)

    def back(self, scores: Tensor) -> Tensor:
        """The vectors of these scores, with gradients."""
        return self.unit * torch.where(self.live, _interpolated(scores, self.scores, self.values), self.mean)


def _interpolated(points: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Piecewise linear maps of each column: knots ``start`` [d, k] go to ``end`` [d, k]; linear beyond them."""
    columns = points.T.contiguous()
    right = torch.searchsorted(start, columns.detach()).clamp(1, start.shape[1] - 1)
    x0, x1, y0, y1 = (t.gather(1, at) for t in (start, end) for at in (right - 1, right))
    return (y0 + (columns - x0) * (y1 - y0) / (x1 - x0).clamp(min=1e-12)).T
