"""Why an item stands where it does in somebody's list, and which items are like an item."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from rectitude.core.errors import QueryError
from rectitude.service.serving.asking import Ask
from rectitude.service.serving.leaving import left_out
from rectitude.service.serving.served import Person, ServedRun
from rectitude.service.serving.shelf import Shelf

MOST_REASONS = 5
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
        scale = float(scores.abs().max())
        found = left_out(served.retrieval, served.run.model, query, np.array([index]), scale) if able else None
        by_model = found is not None
        if found is not None:
            effects = {int(place): float(effect) for place, (effect,) in zip(*found, strict=True)}
        else:
            effects = _like(served, person, index)
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
