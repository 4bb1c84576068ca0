from __future__ import annotations

import numpy as np
import pytest
import torch

from rectitude.core.errors import RectitudeError
from rectitude.data.dataset import Dataset
from rectitude.data.histories import Histories
from rectitude.models.collaborative import ease
from rectitude.models.collaborative.ease import EASE, EASEConfig
from rectitude.models.query import Query


def fitted(train: Histories, n_items: int, l2: float) -> EASE:
    model = EASE(EASEConfig(l2=l2), len(train), n_items)
    model.prepare(train)
    model.fit(train, torch.Generator())
    return model


@pytest.mark.parametrize("l2", [0.5, 20.0])
def test_weights_solve_the_constrained_ridge_regression_of_every_column(tiny: Dataset, l2: float) -> None:
    train = tiny.histories()
    seen = Query.of_histories(train).multi_hot(tiny.n_items).double().numpy()
    expected = np.zeros((tiny.n_items, tiny.n_items))
    for item in range(tiny.n_items):  # ridge of column `item` on all other columns
        others = np.delete(seen, item, axis=1)
        normal = others.T @ others + l2 * np.eye(tiny.n_items - 1)
        expected[np.arange(tiny.n_items) != item, item] = np.linalg.solve(normal, others.T @ seen[:, item])
    weights = fitted(train, tiny.n_items, l2).weights.numpy()
    assert np.abs(weights - expected).max() < 1e-6
    assert not weights.diagonal().any()


def test_scores_are_the_history_times_the_weights_for_known_people_and_strangers(tiny: Dataset) -> None:
    train = tiny.histories()
    model = fitted(train, tiny.n_items, 10.0)
    stranger = Query.of_histories(train)
    expected = stranger.multi_hot(tiny.n_items) @ model.weights
    assert torch.allclose(model.score(stranger), expected, atol=1e-5)
    known = Query.of_users(np.arange(tiny.n_users), train)
    assert torch.equal(model.score(known), model.score(stranger))


def test_repeats_count_once_and_an_item_without_interactions_explains_nothing() -> None:
    once = fitted(Histories.from_rows([[0, 1], [1, 2], [0]]), 4, 1.0)
    twice = fitted(Histories.from_rows([[0, 1, 0], [1, 2, 2], [0, 0]]), 4, 1.0)
    assert torch.equal(once.weights, twice.weights)
    assert not once.weights[3].any()
    assert not once.weights[:, 3].any()
    repeated, plain = Histories.from_rows([[1, 1, 1]]), Histories.from_rows([[1]])
    assert torch.equal(once.score(Query.of_histories(repeated)), once.score(Query.of_histories(plain)))


def test_an_empty_history_is_answered_by_popularity() -> None:
    model = fitted(Histories.from_rows([[0, 1], [1, 2]]), 3, 1.0)
    scores, answered = model.answer(Query.of_histories(Histories.from_rows([[], [0]])))
    assert answered.tolist() == [False, True]
    assert scores[0].tolist() == [1.0, 2.0, 1.0]


def test_a_catalogue_that_cannot_fit_is_refused_with_advice() -> None:
    with pytest.raises(RectitudeError, match=r"EASE weights of 10,000,000 items needs about .* GiB.*als"):
        EASE(EASEConfig(), 2, 10_000_000)


def test_fitting_is_refused_where_only_the_weights_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    model = EASE(EASEConfig(), 2, 3)

    def refuse(n_bytes: float, purpose: str, *, fix: str) -> None:
        raise RectitudeError(f"{purpose}: {n_bytes:.0f} bytes", fix=fix)

    monkeypatch.setattr(ease, "reserve", refuse)
    with pytest.raises(RectitudeError, match="Fitting EASE to 3 items: 144 bytes"):
        model.fit(Histories.from_rows([[0], [1]]), torch.Generator())
    assert not model.weights.any()
