from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rectitude.data.histories import Histories

few_items = st.lists(st.integers(0, 9), max_size=5)
rows_of_items = st.lists(st.lists(st.integers(0, 30), max_size=8), max_size=8)


def as_lists(histories: Histories) -> list[list[int]]:
    return [histories[row].tolist() for row in range(len(histories))]


@given(rows_of_items)
def test_rows_come_back(rows: list[list[int]]) -> None:
    histories = Histories.from_rows(rows)
    assert as_lists(histories) == rows
    assert histories.lengths.tolist() == [len(row) for row in rows]
    assert histories.rows.tolist() == [r for r, row in enumerate(rows) for _ in row]
    assert histories.items.dtype == np.int32
    assert histories.offsets.dtype == np.int64


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 30)), max_size=40), st.randoms())
def test_pairs_are_grouped_and_keep_their_order(pairs: list[tuple[int, int]], random: object) -> None:
    rows = np.array([row for row, _ in pairs], np.int64)
    items = np.array([item for _, item in pairs], np.int64)
    expected = [[item for row, item in pairs if row == wanted] for wanted in range(7)]
    assert as_lists(Histories.from_pairs(rows, items, 7)) == expected


@given(rows_of_items, st.lists(st.integers(0, 7), max_size=10))
def test_take_repeats_and_reorders(rows: list[list[int]], wanted: list[int]) -> None:
    wanted = [row for row in wanted if row < len(rows)]
    taken = Histories.from_rows(rows).take(np.array(wanted, np.int64))
    assert as_lists(taken) == [rows[row] for row in wanted]


@given(rows_of_items, st.integers(0, 8), st.integers(0, 8))
def test_slice_is_a_range_of_rows(rows: list[list[int]], start: int, stop: int) -> None:
    start, stop = min(start, len(rows)), min(max(start, stop), len(rows))
    assert as_lists(Histories.from_rows(rows).slice(start, stop)) == rows[start:stop]


@given(
    st.lists(st.tuples(st.lists(st.integers(0, 9), max_size=5), st.lists(st.integers(0, 9), max_size=5)), max_size=6)
)
def test_append_puts_later_events_after_ours(pairs: list[tuple[list[int], list[int]]]) -> None:
    one = Histories.from_rows([first for first, _ in pairs])
    other = Histories.from_rows([second for _, second in pairs])
    assert as_lists(one.append(other)) == [first + second for first, second in pairs]


@given(rows_of_items, st.integers(1, 10))
def test_padded_is_the_end_of_each_row_on_the_right(rows: list[list[int]], length: int) -> None:
    table = Histories.from_rows(rows).padded(length, padding=-7)
    assert table.shape == (len(rows), length)
    for row, expected in zip(table.tolist(), rows, strict=True):
        kept = expected[-length:]
        assert row == [-7] * (length - len(kept)) + kept


@given(rows_of_items)
def test_unique_is_the_sorted_set_of_each_row(rows: list[list[int]]) -> None:
    assert as_lists(Histories.from_rows(rows).unique()) == [sorted(set(row)) for row in rows]


@pytest.mark.parametrize("n_rows", [0, 3])
def test_nothing_happened(n_rows: int) -> None:
    empty = Histories.from_pairs(np.empty(0, np.int32), np.empty(0, np.int32), n_rows)
    assert len(empty) == n_rows
    assert as_lists(empty.unique()) == [[]] * n_rows
    assert empty.padded(3, 0).shape == (n_rows, 3)
