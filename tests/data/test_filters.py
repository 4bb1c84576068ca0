from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from rectitude.core.errors import DataError
from rectitude.data.dataset import Dataset
from rectitude.data.filters import k_core, min_rating
from rectitude.data.readers import load

Pairs = list[tuple[int, int]]


def dataset_of(pairs: Pairs) -> Dataset:
    frame = pl.DataFrame(pairs, schema=["user", "item"], orient="row")
    return load(frame.with_columns(timestamp=pl.int_range(pl.len())))


def brute_force_core(pairs: Pairs, k: int) -> Pairs:
    """Remove one offending event after another until none is left."""
    pairs = list(pairs)
    while True:
        users, items = Counter(user for user, _ in pairs), Counter(item for _, item in pairs)
        left = [(user, item) for user, item in pairs if users[user] >= k and items[item] >= k]
        if left == pairs:
            return pairs
        pairs = left


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=60), st.integers(1, 4))
def test_k_core_is_the_brute_force_one(pairs: Pairs, k: int) -> None:
    dataset = dataset_of(pairs)
    expected = brute_force_core(pairs, k)
    try:
        core = k_core(dataset, k)
    except DataError:
        assert not expected
        return
    users = core.user_ids.take(core.interactions["user"].to_numpy())
    items = core.item_ids.take(core.interactions["item"].to_numpy())
    found = sorted(zip(map(int, users), map(int, items), strict=True))
    assert found == sorted(expected)
    assert set(map(int, core.users["user_id"])) == {user for user, _ in expected}
    assert np.bincount(core.interactions["user"]).min() >= k
    assert np.bincount(core.interactions["item"]).min() >= k


def test_a_core_already_there_is_left_as_it_is(tiny: Dataset) -> None:
    assert k_core(tiny, 1) is tiny


def test_min_rating_keeps_what_is_rated_enough_and_says_so(tiny: Dataset) -> None:
    kept = min_rating(tiny, 4)
    assert kept.n_interactions == (tiny.interactions["rating"] >= 4).sum()
    assert kept.interactions["rating"].min() >= 4
    assert kept.notes[-1] == f"{tiny.n_interactions - kept.n_interactions} interactions rated below 4 are left out"
    assert set(kept.users["user_id"]) <= set(tiny.users["user_id"])


def test_unrated_interactions_are_not_kept() -> None:
    frame = pl.DataFrame({"user": [1, 2], "item": [1, 2], "rating": [5, None]})
    assert min_rating(load(frame), 1).n_interactions == 1
