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
_AT_ONCE = 8
_ROUNDING = 1e-5


def left_out(
    retrieval: Retrieval, model: Recommender, query: Query, items: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]] | None:
    """What the scores of some items lose when an item of the history is left out.

    Args:
        retrieval: Asked for the scores.
        model: The model.
        query: One question.
        items: int64 [n].

    Returns:
        Items of the history int64 [m], latest first, and their effects float32 [m, n]; None where leaving out changes
        nothing, because the model does not read this person's history.
    """
    history = query.history[0]
    places = np.array(list(dict.fromkeys(history[::-1].tolist()))[:MOST_LEFT_OUT], np.int64)
    scores = retrieval.scores(query)[0].float().numpy()
    effects = np.zeros((len(places), len(items)), np.float32)
    for start in range(0, len(places), _AT_ONCE):
        group = places[start : start + _AT_ONCE]
        rows = Histories.from_rows([history[history != place] for place in group])
        without = Query(np.repeat(query.users, len(group)), rows, query.device)
        able = model.serves(without)  # nothing may be left to read
        lost = scores[items] - retrieval.scores(without)[:, items].float().numpy()
        effects[start : start + _AT_ONCE] = lost * able[:, None]
    if np.abs(effects).max(initial=0.0) <= _ROUNDING * np.abs(scores).max(initial=0.0):
        return None
    return places, effects
