from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from rectitude.data.readers import load


def table(*, ordered_ties: bool, n_users: int = 20, seed: int = 0) -> pl.DataFrame:
    """Each person has six events at three moments, so every second event is tied with the one before."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(n_users):
        items = rng.permutation(30)[:6].reshape(3, 2)
        if ordered_ties:
            items = np.sort(items, axis=1)
        rows += [(user, int(item), 1_000_000 + moment) for moment, pair in enumerate(items) for item in pair]
    return pl.DataFrame(rows, schema=["user", "item", "timestamp"], orient="row")


def pairs(frame: pl.DataFrame, ties: str | None) -> list[tuple[str, ...]]:
    dataset = load(frame, ties=ties)  # type: ignore[arg-type]
    return [tuple(dataset.item_ids[item] for item in row) for row in map(dataset.histories().__getitem__, range(20))]


def test_an_order_by_item_id_is_scrambled_and_said() -> None:
    frame = table(ordered_ties=True)
    kept, settled = pairs(frame, "file"), pairs(frame, None)
    assert kept != settled
    for before, after in zip(kept, settled, strict=True):  # only within a moment
        assert [set(before[i : i + 2]) for i in (0, 2, 4)] == [set(after[i : i + 2]) for i in (0, 2, 4)]
    ascending = np.mean([int(row[i]) < int(row[i + 1]) for row in settled for i in (0, 2, 4)])
    assert 0.3 < ascending < 0.7
    assert any("scrambled" in note for note in load(frame).notes)


def test_an_order_that_is_not_of_ids_is_kept() -> None:
    frame = table(ordered_ties=False)
    assert pairs(frame, None) == pairs(frame, "file")
    assert not any("scrambled" in note for note in load(frame).notes)
    assert pairs(frame, "scramble") != pairs(frame, "file")


def test_the_scramble_depends_on_the_pair_alone() -> None:
    frame = table(ordered_ties=True)
    turned = frame[::-1]
    assert pairs(frame, "scramble") == pairs(turned, "scramble")
    assert load(frame, ties="scramble").hash == load(turned, ties="scramble").hash


def test_too_few_ties_are_left_alone() -> None:
    frame = table(ordered_ties=True, n_users=5).filter(pl.col("user") < 5)
    assert not any("scrambled" in note for note in load(frame).notes)


@pytest.mark.parametrize("column", ["position", None])
def test_without_clock_time_there_are_no_ties(column: str | None) -> None:
    frame = table(ordered_ties=True).with_row_index("position").drop("timestamp")
    frame = frame if column else frame.drop("position")
    assert not any("scrambled" in note for note in load(frame).notes)


def test_movielens_is_such_a_file(real_data: Callable[[str], Path]) -> None:
    dataset = load(real_data("ml-100k"))
    assert any("50561 events" in note for note in dataset.notes)
    histories = dataset.histories()
    last = np.array([histories[user][-2:] for user in range(dataset.n_users)])
    kept = load(real_data("ml-100k"), ties="file").histories()
    in_file = np.array([kept[user][-2:] for user in range(dataset.n_users)])
    assert (in_file[:, 0] < in_file[:, 1]).mean() > (last[:, 0] < last[:, 1]).mean() + 0.1
