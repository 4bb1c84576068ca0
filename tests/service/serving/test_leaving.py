from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rectitude.data.histories import Histories
from rectitude.models.query import Query
from rectitude.service.serving import leaving
from rectitude.service.serving.asking import Ask
from rectitude.service.serving.explaining import explained
from rectitude.service.serving.leaving import MOST_LEFT_OUT, left_out
from rectitude.service.serving.served import ServedRun


def one_at_a_time(served: ServedRun, query: Query, items: np.ndarray) -> tuple[list[int], np.ndarray]:
    """The same by a call of the model for each item that is left out."""
    history = query.history[0]
    places = list(dict.fromkeys(history[::-1].tolist()))[:MOST_LEFT_OUT]
    whole = served.run.model.answer(query)[0][0, items].detach().numpy()
    effects = []
    for place in places:
        left = Query(query.users, Histories.from_rows([history[history != place]]))
        lost = whole - served.run.model.answer(left)[0][0, items].detach().numpy()
        effects.append(lost * served.run.model.serves(left))
    return places, np.stack(effects)


@pytest.fixture(params=["sasrec", "ease", "bpr"])
def served(request: pytest.FixtureRequest, runs: dict[str, Path]) -> ServedRun:
    return ServedRun.load(runs[request.param])


@pytest.mark.parametrize("at_once", [leaving._SCORES_AT_ONCE, 40 * 3])
@pytest.mark.parametrize("history", [(4,), (4, 5, 4, 9), tuple(range(35)) * 2])
def test_what_is_lost_is_what_asking_one_at_a_time_loses(
    served: ServedRun, history: tuple[int, ...], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaving, "_SCORES_AT_ONCE", at_once)
    user = 3 if "user" in served.run.model.reads else -1
    query = Query(np.array([user]), Histories.from_rows([history]))
    items = np.array([2, 30, 7])
    places, effects = one_at_a_time(served, query, items)
    with torch.inference_mode():
        found = left_out(served.retrieval, served.run.model, query, items, scale=1.0)
    if not effects.any():  # its own vector is read, or nothing is left to read
        assert found is None
        return
    assert found is not None
    assert found[0].tolist() == places
    np.testing.assert_allclose(found[1], effects, rtol=1e-4, atol=1e-5)


def test_a_list_is_explained_by_two_calls_of_the_model(runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    served = ServedRun.load(runs["sasrec"])
    sizes: list[int] = []
    vectors = served.run.model.query_vectors

    def counted(query: Query) -> Any:
        sizes.append(len(query))
        return vectors(query)

    monkeypatch.setattr(served.run.model, "query_vectors", counted)
    history = tuple(f"i{n}" for n in range(20))
    answer = served.answer([Ask(history=history, explain=True)], {})[0]
    assert answer.explanation is not None
    assert sizes == [1, 21]
    sizes.clear()
    explained(served, Ask(history=history), None, answer.items[0].item_id)
    assert sizes == [1, 21]
