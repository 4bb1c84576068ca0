from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from rectitude.data.histories import Histories
from rectitude.models.base import Choice, GradientConfig, ModelConfig, Range, Reads, Recommender
from rectitude.models.query import Query

TRAIN = Histories.from_rows([[0, 1, 1], [], [1, 2]])


class ByVectors(Recommender):
    """Scores by inner products, as simply as can be."""

    name = title = paper = "by-vectors"
    reads: ClassVar[frozenset[Reads]] = frozenset({"history"})
    serves_new_users = True

    def query_vectors(self, query: Query) -> Tensor:
        return query.multi_hot(self.n_items)

    def item_vectors(self) -> Tensor:
        return -torch.eye(self.n_items)


def made(reads: set[Reads], *, new_users: bool) -> ByVectors:
    model = ByVectors(ModelConfig(), len(TRAIN), 4)
    model.prepare(TRAIN)
    kind = type("Kind", (ByVectors,), {"reads": frozenset(reads), "serves_new_users": new_users})
    model.__class__ = kind
    return model


QUERY = Query(np.array([0, 0, 1, -1, -1]), Histories.from_rows([[], [3], [3], [3], []]))
"""A trained person without and with a history, one never trained with, and two strangers."""


@pytest.mark.parametrize(
    ("reads", "new_users", "expected"),
    [
        (set(), True, [True] * 5),
        ({"history"}, True, [False, True, True, True, False]),
        ({"user"}, False, [True, True, False, False, False]),
        ({"user", "history"}, True, [True, True, True, True, False]),
        ({"user", "history"}, False, [False, True, False, False, False]),
    ],
)
def test_whom_a_model_serves_follows_from_its_flags(reads: set[Reads], new_users: bool, expected: list[bool]) -> None:
    assert made(reads, new_users=new_users).serves(QUERY).tolist() == expected


def test_popularity_answers_where_the_model_cannot() -> None:
    model = made({"history"}, new_users=True)
    scores, able = model.answer(QUERY)
    assert able.tolist() == [False, True, True, True, False]
    assert scores[0].tolist() == scores[4].tolist() == [1, 3, 1, 0]
    assert scores[1].tolist() == [0, 0, 0, -1]
    assert not scores.requires_grad


def test_preparing_counts_what_was_trained_with() -> None:
    model = made({"history"}, new_users=True)
    assert model.popularity.tolist() == [1, 3, 1, 0]
    assert model.trained_users.tolist() == [True, False, True]
    assert set(model.state_dict()) == {"popularity", "trained_users"}
    assert model.n_parameters == 0
    assert model.device == torch.device("cpu")


def test_what_a_model_does_not_write_it_cannot_do() -> None:
    model = Recommender(ModelConfig(), 2, 3)
    model.title = "Half a model"  # type: ignore[misc]
    calls = [
        lambda: model.fit(TRAIN, torch.Generator()),
        lambda: model.batches(TRAIN),
        lambda: model.loss(None),
        lambda: model.query_vectors(QUERY),
        lambda: model.item_vectors(),
        lambda: model.score(QUERY),
    ]
    for call in calls:
        with pytest.raises(NotImplementedError, match="Half a model"):
            call()


def test_the_search_space_is_inherited_and_can_be_overridden() -> None:
    class Mine(GradientConfig):
        search: ClassVar[dict[str, Range | Choice]] = {"width": Choice((1, 2)), "learning_rate": Range(1, 2)}

        width: int = 1

    assert Mine.search_space() == {"learning_rate": Range(1, 2), "width": Choice((1, 2))}
    assert GradientConfig.search_space().keys() == {"learning_rate"}
    assert ModelConfig.search_space() == {}
