from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rectitude.data.histories import Histories
from rectitude.models.query import Query

ROWS = [[4, 2, 7, 2], [], [1], [0, 3, 5, 6, 8]]


@pytest.fixture
def query() -> Query:
    return Query.of_users(np.array([5, 0, 2, 9], np.int32), Histories.from_rows(ROWS))


def test_known_people_and_strangers(query: Query) -> None:
    assert query.users.dtype == np.int64
    assert query.user_tensor().tolist() == [5, 0, 2, 9]
    strangers = Query.of_histories(query.history)
    assert strangers.users.tolist() == [-1] * 4
    assert strangers.user_tensor().tolist() == [0] * 4
    assert len(strangers) == 4


def test_a_slice_is_some_of_the_questions(query: Query) -> None:
    part = query.slice(1, 4)
    assert part.users.tolist() == [0, 2, 9]
    assert [part.history[row].tolist() for row in range(3)] == ROWS[1:]
    assert len(query.slice(2, 2)) == 0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 8), max_size=20), min_size=1, max_size=5), st.integers(1, 25))
def test_a_window_is_the_most_recent_items_padded_on_the_right(rows: list[list[int]], length: int) -> None:
    items, lengths = Query.of_histories(Histories.from_rows(rows)).window(length, 9)
    kept = [row[-length:] for row in rows]
    assert lengths.tolist() == [len(row) for row in kept]
    longest, width = max(map(len, kept)), items.shape[1]
    assert max(1, longest) <= width <= length
    assert width in (1, length) or width % 8 == 0
    assert width < longest + 8
    assert items.tolist() == [row + [9] * (width - len(row)) for row in kept]
    assert items.dtype == lengths.dtype == torch.int64


def test_multi_hot_marks_what_a_history_holds(query: Query) -> None:
    matrix = query.multi_hot(9)
    assert matrix.dtype == torch.float32
    assert [set(row.nonzero().flatten().tolist()) for row in matrix] == [set(row) for row in ROWS]
    assert set(matrix.unique().tolist()) == {0.0, 1.0}
