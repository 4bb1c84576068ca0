from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rectitude.core.errors import DataError, QueryError
from rectitude.data.dataset import Dataset
from rectitude.data.readers import load


def external(dataset: Dataset) -> list[tuple[str, str]]:
    users = dataset.user_ids.take(dataset.interactions["user"].to_numpy())
    items = dataset.item_ids.take(dataset.interactions["item"].to_numpy())
    return list(zip(users, items, strict=True))


@given(st.integers(0, 1000), st.sampled_from([0.0, 0.01, 0.05, 0.5, 1.0]))
def test_a_subset_keeps_what_was_chosen_and_drops_what_is_left_alone(tiny: Dataset, seed: int, share: float) -> None:
    keep = np.random.default_rng(seed).random(len(tiny.interactions)) < share
    content = np.arange(tiny.n_items, dtype=np.float32)[:, None]
    part = replace(tiny, content={"number": content}).subset(keep, "chosen")
    expected = [pair for pair, kept in zip(external(tiny), keep, strict=True) if kept]
    assert external(part) == expected
    assert set(part.users["user_id"]) == {user for user, _ in expected}
    assert set(part.items["item_id"]) == {item for _, item in expected}
    assert [f"i{int(row)}" for row in part.content["number"][:, 0]] == part.items["item_id"].to_list()
    assert part.titles() == [f"Title {identifier[1:]}" for identifier in part.items["item_id"]]
    assert part.notes[-1] == "chosen"


def test_ids_lead_there_and_back(tiny: Dataset) -> None:
    assert [tiny.item_ids.index(tiny.item_ids[i]) for i in range(tiny.n_items)] == list(range(tiny.n_items))
    assert tiny.user_ids.find("nobody") is None
    with pytest.raises(QueryError, match=r"Unknown user 'u1000'. Did you mean 'u1"):
        tiny.user_ids.index("u1000")
    numbers = load(pl.DataFrame({"user": [5, 6], "item": [7, 8]}))
    assert numbers.user_ids.index(6) == numbers.user_ids.index("6") == 1


def test_histories_are_the_rows_in_order(tiny: Dataset) -> None:
    histories = tiny.histories()
    user, item = tiny.interactions["user"].to_numpy(), tiny.interactions["item"].to_numpy()
    for row in range(tiny.n_users):
        assert histories[row].tolist() == item[user == row].tolist()


def test_items_without_titles_have_none() -> None:
    assert load(pl.DataFrame({"user": [1, 2], "item": [7, 8]})).titles() == [None, None]


def test_content_must_fit_the_items(tiny: Dataset) -> None:
    with pytest.raises(DataError, match="Content 'text' has 3 rows for 40 items"):
        replace(tiny, content={"text": np.zeros((3, 2), np.float32)})
