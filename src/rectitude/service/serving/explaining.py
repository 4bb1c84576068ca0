"""Why an item stands where it does in somebody's list, and which items are like an item."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from rectitude.core.errors import QueryError
from rectitude.data.histories import Histories
from rectitude.models.query import Query
from rectitude.service.serving.asking import Ask
from rectitude.service.serving.served import Person, ServedRun
from rectitude.service.serving.shelf import Shelf

MOST_LEFT_OUT = 50
"""Items of a history, the latest, that are left out one at a time."""
MOST_REASONS = 5
_ROUNDING = 1e-5
_LEFT_OUT = "score lost when the item is left out of the history"
_LIKE = "likeness to the item"


async def explain(shelf: Shelf, slot: str, ask: Ask, item: str) -> dict[str, Any]:
    """Why an item stands where it does.

    A model that reads histories is asked again with each of the last items left out: what lowers the item's score most
    speaks for it most. For a model that reads none, the items of the history most like it are named.

    Raises:
        QueryError: The run does not know the item, or the question cannot be answered.
    """
    served = shelf[slot]
    return await shelf.compute(lambda: explained(served, ask, shelf.state(ask), item))


def explained(served: ServedRun, ask: Ask, state: Any, item: str) -> dict[str, Any]:
    """The same, where it is computed."""
    index = served.run.item_ids.find(item)
    if index is None:
        raise QueryError(f"{served.name} does not know the item '{item}'", where="item")
    person = served.person(ask, state)
    with torch.inference_mode():
        query = served.query([person])
        scores = served.retrieval.scores(query)[0].float()
        able = bool(served.run.model.serves(query)[0])
        effects = _left_out(served, person, index, float(scores[index])) if able and served.reads_history else {}
        # A model may read histories of strangers only; what is left then is rounding.
        by_model = max(map(abs, effects.values()), default=0.0) > _ROUNDING * float(scores.abs().max())
        effects = effects if by_model else _like(served, person, index)
        shares = {name: float(value[0]) for name, value in served.run.model.shares(query).items()} if able else {}
    candidates = served.candidates([ask], [person])
    allowed = candidates.allows(0, np.arange(len(scores)))
    better = (scores > scores[index]).numpy() | ((scores == scores[index]).numpy() & (np.arange(len(scores)) < index))
    best = sorted(effects.items(), key=lambda entry: -entry[1])[:MOST_REASONS]
    titles = served.catalogue.titles
    return {
        "item_id": item,
        "title": titles[index],
        "rank": int((better & allowed).sum()) + 1 if allowed[index] else None,
        "score": float(scores[index]),
        "of": int(allowed.sum()),
        "answered_by": served.answered_by(query, able=able),
        "method": _LEFT_OUT if by_model else _LIKE,
        "reasons": [
            {"item_id": served.run.item_ids[place], "title": titles[place], "effect": round(effect, 6)}
            for place, effect in best
            if effect > 0
        ],
        "shares": shares,
        "notes": person.notes,
    }


def _left_out(served: ServedRun, person: Person, item: int, score: float) -> dict[int, float]:
    """Item of the history to what the score loses without it."""
    history = person.history
    places: dict[int, None] = dict.fromkeys(history[::-1].tolist())
    left_out = list(places)[:MOST_LEFT_OUT]
    effects: dict[int, float] = {}
    for start in range(0, len(left_out), 8):
        group = left_out[start : start + 8]
        rows = Histories.from_rows([history[history != place] for place in group])
        query = Query(np.full(len(group), person.index, np.int64), rows, served.run.model.device)
        without = served.retrieval.scores(query)[:, item]
        able = served.run.model.serves(query)
        effects |= {place: score - float(without[row]) for row, place in enumerate(group) if able[row]}
    return effects


def _like(served: ServedRun, person: Person, item: int) -> dict[int, float]:
    likeness = served.likeness.to(item)
    return {int(place): float(likeness[place]) for place in set(person.history.tolist()) if place != item}


def similar(served: ServedRun, item: str, k: int) -> Sequence[dict[str, Any]]:
    """The k items most like an item of the run, without itself and what is withdrawn."""
    index = served.run.item_ids.index(item)
    likeness = served.likeness.to(index).copy()
    likeness[index] = -np.inf
    common = served.common()
    if common is not None:
        likeness[~common] = -np.inf
    best = np.argsort(-likeness, kind="stable")[:k]
    titles, ids = served.catalogue.titles, served.run.item_ids
    return [
        {"rank": rank, "item_id": ids[place], "title": titles[place], "likeness": round(float(likeness[place]), 6)}
        for rank, place in enumerate(best.tolist(), 1)
        if likeness[place] > -np.inf
    ]
