from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rectitude.data.histories import Histories
from rectitude.models.base import ModelConfig, Recommender
from rectitude.models.query import Query
from rectitude.models.ranking import masked_topk
from rectitude.service.serving import retrieval
from rectitude.service.serving.retrieval import (
    Approximate,
    Blocked,
    Candidates,
    Exact,
    choose,
    in_order,
    mapped,
    sample_of,
)


class Vectors(Recommender):
    """People and items as given vectors."""

    name, title, paper = "vectors", "Vectors", "none"
    reads = frozenset({"user"})
    serves_new_users = False
    trained_by = "fit"

    def __init__(self, users: Tensor, items: Tensor) -> None:
        super().__init__(ModelConfig(), len(users), len(items))
        self.users, self.items = users, items
        self.trained_users.fill_(True)
        self.popularity.copy_(torch.arange(len(items), dtype=torch.float32) % 7)

    def query_vectors(self, query: Query) -> Tensor:
        return self.users[torch.from_numpy(np.maximum(query.users, 0))]

    def item_vectors(self) -> Tensor:
        return self.items


def model(n_items: int, n_users: int = 30, width: int = 8, seed: int = 0, decimals: int = 6) -> Vectors:
    random = np.random.default_rng(seed)
    centres = random.normal(size=(40, width))  # items come in kinds, as they do
    items = centres[random.integers(40, size=n_items)] + 0.3 * random.normal(size=(n_items, width))
    users = centres[random.integers(40, size=n_users)] + 0.3 * random.normal(size=(n_users, width))
    return Vectors(*(torch.from_numpy(rows.round(decimals).astype(np.float32)) for rows in (users, items)))


def query(users: int, unknown: bool = False) -> Query:
    known = np.arange(users)
    known[0] = -1 if unknown else 0
    return Query.of_users(known, Histories.from_rows([[]] * users))


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 60), st.integers(1, 30), st.integers(1, 20), st.integers(0, 2**31), st.booleans())
def test_blocks_rank_as_one(n_items: int, block: int, k: int, seed: int, rounded: bool) -> None:
    asked, random = model(n_items, 5, 3, seed, 0 if rounded else 6), np.random.default_rng(seed)  # rounded: many ties
    hidden = Histories.from_rows([random.choice(n_items, random.integers(n_items), replace=False) for _ in range(5)])
    common = random.random(n_items) < 0.8
    own: Mapping[int, np.ndarray] = {2: random.random(n_items) < 0.5}
    scores = asked.answer(query(5, unknown=True))[0]
    scores[2].masked_fill_(torch.from_numpy(~own[2]), -torch.inf)
    wanted, values = masked_topk(scores, hidden, k, common)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieval, "BLOCK", block)
        found, their, able = Blocked(asked, asked.items).best(
            query(5, unknown=True), Candidates(hidden, common, own), k
        )
    assert found.tolist() == wanted.tolist()
    np.testing.assert_allclose(their.numpy(), values.numpy(), rtol=1e-5)
    assert able.tolist() == [False, True, True, True, True]


def test_order_of_ties() -> None:
    items, values = in_order(torch.tensor([[5, 1, -1, 3]]), torch.tensor([[2.0, 2.0, -torch.inf, 4.0]]), 5)
    assert items.tolist() == [[3, 1, 5, -1, -1]]
    assert values.tolist()[0][:3] == [4.0, 2.0, 2.0]


def test_small_catalogues_are_searched_exactly_and_a_mapped_file_is_used_again(tmp_path: Path) -> None:
    asked = model(500)
    way, notes = choose(asked, "key", tmp_path, query(5))
    assert isinstance(way, Blocked)
    assert notes == []
    assert [file.name for file in tmp_path.iterdir()] == ["items-key.npy"]
    asked.items = torch.zeros_like(asked.items)  # the file is what is read
    assert torch.equal(mapped(asked, "key", tmp_path), way.matrix)
    assert way.matrix.abs().sum() > 0


def test_files_not_used_for_longest_are_removed(tmp_path: Path) -> None:
    asked = model(10)
    for number in range(12):
        mapped(asked, f"{number:02}", tmp_path)
    assert len(list(tmp_path.iterdir())) == 8
    assert (tmp_path / "items-11.npy").is_file()


def test_vectors_stay_in_memory_where_no_file_can_be_written(tmp_path: Path) -> None:
    asked = model(10)
    (tmp_path / "file").write_text("")
    assert torch.equal(mapped(asked, "key", tmp_path / "file"), asked.items)


def test_beyond_the_limit_an_index_answers_with_its_recall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    monkeypatch.setattr(retrieval, "EXACT_UP_TO", 2000)
    asked = model(6000, 200)
    way, notes = choose(asked, "key", tmp_path, query(100))
    assert isinstance(way, Approximate)
    assert notes == []
    assert way.recall >= 0.98
    assert f"recall@10 against exact {way.recall:.3f} on 100 questions" in way.title
    exact = Exact(asked)
    random = np.random.default_rng(1)
    hidden = Histories.from_rows([random.choice(6000, 30, replace=False) for _ in range(200)])
    common = random.random(6000) < 0.9
    candidates = Candidates(hidden, common, {3: random.random(6000) < 0.01})
    items, values, able = way.best(query(200, unknown=True), candidates, 10)
    wanted, their, as_able = exact.best(query(200, unknown=True), candidates, 10)
    assert able.tolist() == as_able.tolist()
    shared = [len(set(a) & set(b)) / 10 for a, b in zip(items.tolist(), wanted.tolist(), strict=True)]
    assert np.mean(shared) > 0.97
    assert (items[0].tolist(), items[3].tolist()) == (wanted[0].tolist(), wanted[3].tolist())  # those two are exact
    assert all(candidates.allows(row, items[row].numpy()).all() for row in range(200))
    same = items == wanted
    np.testing.assert_allclose(values[same].numpy(), their[same].numpy(), rtol=1e-5)


def test_without_faiss_it_is_said_that_all_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "EXACT_UP_TO", 100)
    monkeypatch.setitem(sys.modules, "faiss", None)
    way, notes = choose(model(200), "key", tmp_path, query(5))
    assert isinstance(way, Blocked)
    assert "pip install 'rectitude[ann]'" in notes[0]


def test_a_sample_is_spread_over_people_with_a_history() -> None:
    history = Histories.from_rows([[1], [], [2], [3], [4]])
    sample = sample_of(history, np.array([True, True, False, True, True]), 2)
    assert sample.users.tolist() == [0, 4]
    assert sample.history.items.tolist() == [1, 4]
