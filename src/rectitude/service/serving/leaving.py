"""What speaks for an item, for any model that reads histories: ask again with each item of the history left out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rectitude.data.histories import Histories
from rectitude.models.base import Recommender
from rectitude.models.query import Query
from rectitude.service.serving.retrieval import Retrieval

MOST_LEFT_OUT = 50
"""Items of a history, the latest, that are left out one at a time."""
_SCORES_AT_ONCE = 1 << 24
"""Of all items, at most so many: one call up to 300,000 items, a few beyond."""
_ROUNDING = 1e-5


def left_out(
    retrieval: Retrieval, model: Recommender, query: Query, items: npt.NDArray[np.int64], scale: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]] | None:
    """What the scores of some items lose when an item of the history is left out.

    The shortened histories are rows of one question, the whole history is its first.

    Args:
        retrieval: Asked for the scores.
        model: The model.
        query: One question.
        items: int64 [n].
        scale: Size of the question's largest scores; what is lost in rounding them is no effect.

    Returns:
        Items of the history int64 [m], latest first, and their effects float32 [m, n]; None where leaving out changes
        nothing, because the model does not read this person's history.
    """
    history = query.history[0]
    places = np.array(list(dict.fromkeys(history[::-1].tolist()))[:MOST_LEFT_OUT], np.int64)
    rows = Histories.from_rows([history, *(history[history != place] for place in places)])
    asked = Query(np.repeat(query.users, len(rows)), rows, query.device)
    step = max(1, _SCORES_AT_ONCE // model.n_items)
    parts = [asked.slice(start, min(start + step, len(rows))) for start in range(0, len(rows), step)]
    scores = np.concatenate([retrieval.scores(part, items).float().numpy() for part in parts])
    able = model.serves(asked)[1:]  # nothing may be left to read
    effects = np.where(able[:, None], scores[0] - scores[1:], np.float32(0))
    if np.abs(effects).max(initial=0.0) <= _ROUNDING * scale:
        return None
    return places, effects
