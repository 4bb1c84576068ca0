from __future__ import annotations

import numpy as np
import torch

from rectitude.data.histories import Histories
from rectitude.models.base import ModelConfig
from rectitude.models.collaborative.popularity import Popularity
from rectitude.models.query import Query

TRAIN = Histories.from_rows([[0, 1, 1], [1, 2], []])


def test_scores_are_interaction_counts_for_everybody() -> None:
    model = Popularity(ModelConfig(), n_users=3, n_items=4)
    model.prepare(TRAIN)
    model.fit(TRAIN, torch.Generator())
    query = Query(np.array([0, 2, -1]), Histories.from_rows([[3], [], []]))
    scores, answered = model.answer(query)
    assert scores.tolist() == [[1.0, 3.0, 1.0, 0.0]] * 3
    assert answered.all()


def test_scores_may_be_masked_in_place() -> None:
    model = Popularity(ModelConfig(), n_users=3, n_items=4)
    model.prepare(TRAIN)
    model.score(Query.of_histories(Histories.from_rows([[0], [1]]))).fill_(-1.0)
    assert model.popularity.tolist() == [1.0, 3.0, 1.0, 0.0]
