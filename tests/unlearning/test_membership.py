from __future__ import annotations

import numpy as np
import pytest
import torch

from rectitude.data.histories import Histories
from rectitude.models.base import ModelConfig
from rectitude.models.collaborative.ease import EASE, EASEConfig
from rectitude.models.collaborative.popularity import Popularity
from rectitude.unlearning.membership import membership


def rows(n_users: int = 300, n_items: int = 200, seed: int = 0) -> Histories:
    rng = np.random.default_rng(seed)
    return Histories.from_rows([rng.choice(n_items, 8, replace=False) for _ in range(n_users)])


def trained(train: Histories, kind: type = EASE) -> EASE | Popularity:
    model = EASE(EASEConfig(l2=1.0), len(train), 200) if kind is EASE else Popularity(ModelConfig(), len(train), 200)
    model.prepare(train)
    model.fit(train, torch.Generator())
    return model.eval()


def test_popularity_alone_tells_nothing() -> None:
    train = rows()
    found = [membership(trained(train, Popularity), user, train[user], train[user]) for user in range(40)]
    values = [one["asked_by_name"] for one in found if one["asked_by_name"] is not None]
    assert np.mean(values) == pytest.approx(0.5, abs=0.08)
    assert all(one["asked_with_half"] is None for one in found)


def test_a_model_asked_with_what_it_stores_tells_and_one_that_stores_nothing_does_not() -> None:
    train = rows()
    model = trained(train)
    nothing = np.empty(0, np.int32)
    stored = np.mean([membership(model, user, train[user], train[user])["asked_by_name"] for user in range(40)])
    emptied = np.mean([membership(model, user, nothing, train[user])["asked_by_name"] for user in range(40)])
    assert stored > emptied
    assert emptied == pytest.approx(0.5, abs=0.08)


def test_no_question_no_figure() -> None:
    train = rows()
    model = trained(train)
    nothing = np.empty(0, np.int32)
    assert membership(model, 0, nothing, nothing) == {"asked_by_name": None, "asked_with_half": None}
    everything = np.arange(200, dtype=np.int32)
    assert membership(model, 0, everything, everything)["asked_by_name"] is None
    assert membership(model, 0, everything[:1], everything[:1])["asked_with_half"] is None
