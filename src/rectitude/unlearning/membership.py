"""Does a model tell what one person did? Two simple attackers, for the proof of a deletion."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rectitude.data.histories import Histories
from rectitude.models.base import Recommender
from rectitude.models.query import Query

Items = npt.NDArray[np.int32]

_NEAREST = 10
"""Items of like popularity that each item of the history is compared with."""


@torch.no_grad()
def membership(model: Recommender, user: int, stored: Items, history: Items) -> dict[str, float | None]:
    """How often an item of a person's history scores above items of like popularity that they never had.

    One half is what somebody who knows popularity alone would guess; equal scores count a half.

    Args:
        model: In evaluation mode.
        user: Index of the person.
        stored: What the run itself has of their history, which the model would be asked with.
        history: What they did in truth.

    Returns:
        ``asked_by_name`` for an attacker who names the person, and ``asked_with_half`` for one who knows every other
        item of the history and asks about the rest; None where the question cannot be put.
    """
    mine = np.unique(history)
    others = np.setdiff1d(np.arange(model.n_items), mine)
    if not len(mine) or not len(others):
        return {"asked_by_name": None, "asked_with_half": None}
    named = Query.of_users(np.array([user]), Histories.from_rows([stored]), model.device)
    halves = None
    if len(mine) > 1 and "history" in model.reads:
        strangers = Query.of_histories(Histories.from_rows([mine[::2]]), model.device)
        halves = _above(model, strangers, mine[1::2], others)
    return {"asked_by_name": _above(model, named, mine, others), "asked_with_half": halves}


def _above(model: Recommender, query: Query, mine: npt.NDArray[Any], others: npt.NDArray[Any]) -> float:
    scores = model.answer(query)[0][0].double().cpu().numpy()
    popularity = model.popularity.double().cpu().numpy()
    distance = np.abs(popularity[mine][:, None] - popularity[others][None, :])
    rivals = others[np.argsort(distance, axis=1, kind="stable")[:, :_NEAREST]]
    apart = scores[mine][:, None] - scores[rivals]
    return round(float(np.mean((apart > 0) + 0.5 * (apart == 0))), 4)
