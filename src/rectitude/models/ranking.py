"""The best k items of each row, with one order for ties wherever lists are made.

Letters: B rows, I items, k list length.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rectitude.core.errors import RectitudeError
from rectitude.data.histories import Histories

NO_ITEM = -1
"""Fills a list that has fewer candidates than places."""

_LOW_BITS = 2**31 - 1


class NotANumberError(RectitudeError):
    """A candidate's score is NaN.

    Args:
        row: Row of the scores it was found in.
    """

    def __init__(self, row: int) -> None:
        self.row = row
        super().__init__("A score is not a number", where=f"row {row} of the scores")


def masked_topk(
    scores: Tensor,
    history: Histories | None,
    k: int,
    allowed: npt.NDArray[np.bool_] | None = None,
    *,
    last: Histories | None = None,
    overwrite: bool = False,
) -> tuple[Tensor, Tensor]:
    """The k best candidates of each row, exactly and in one order: score descending, then item index ascending.

    Scores are compared as float32. An item scored -inf is no candidate.

    Args:
        scores: [B, I], higher is better.
        history: B rows of items that are no candidates; None leaves all of them in.
        k: Length of a list.
        allowed: bool [I]; items that are no candidates in any row are False.
        last: B rows of items that stand after others of equal score. Evaluation gives the held-out items here, so that
            a tie never favours them.
        overwrite: Write the mask into ``scores`` and save a copy of them.

    Returns:
        Items int64 [B, k], ``NO_ITEM`` where a row has fewer than k candidates, and their scores float32 [B, k], -inf
        in the same places.

    Raises:
        NotANumberError: A candidate's score is not a number.
    """
    n_items = scores.shape[1]
    own = scores.float().contiguous()
    if own is scores and not overwrite:
        own = scores.clone()
    if history is not None:
        own.view(-1).index_fill_(0, _flat(history, n_items).to(own.device), -torch.inf)
    if allowed is not None:
        own.masked_fill_(torch.from_numpy(~np.asarray(allowed, bool)).to(own.device), -torch.inf)

    width = min(k, n_items)
    values, items = own.topk(min(k + 1, n_items))  # NaN sorts first, and the place after k shows a tie at the boundary
    if (broken := values.isnan().any(1)).any():
        raise NotANumberError(int(broken.nonzero()[0]))
    tied = ((values[:, 1:] == values[:, :-1]) & (values[:, 1:] > -torch.inf)).any(1).nonzero().squeeze(1)
    items = items[:, :width].contiguous()
    if len(tied):
        _order_ties(own, items, tied, last)
    values = own.gather(1, items)
    items.masked_fill_(values == -torch.inf, NO_ITEM)
    missing = (0, k - width)
    return (
        torch.nn.functional.pad(items, missing, value=NO_ITEM),
        torch.nn.functional.pad(values, missing, value=-torch.inf),
    )


def _flat(rows: Histories, n_items: int) -> Tensor:
    """int64, places of the rows' items in a flattened [B, I] matrix."""
    return torch.from_numpy(rows.rows * n_items + rows.items)


def _order_ties(scores: Tensor, items: Tensor, tied: Tensor, last: Histories | None) -> None:
    """Rank the ``tied`` rows again by a key that no two items share, and write them into ``items``.

    The key is an int64: the float's bits made to sort as an integer above, then one bit that is 0 for the items to
    place last, then the item index reversed. A few rows at a time, because a key is twice as wide as a score.
    """
    n_rows, n_items = scores.shape
    low = (_LOW_BITS - torch.arange(n_items, device=scores.device)) + 2**31
    for rows in torch.split(tied, max(1, n_rows // 8)):
        bits = (scores[rows] + 0.0).view(torch.int32)  # adding zero makes -0.0 equal to 0.0
        keys = (bits ^ ((bits >> 31) & _LOW_BITS)).long() << 32
        keys += low
        if last is not None:
            places = _flat(last.take(rows.cpu().numpy()), n_items).to(scores.device)
            keys.view(-1)[places] -= 2**31
        items[rows] = _LOW_BITS - (keys.topk(items.shape[1]).values & _LOW_BITS)
