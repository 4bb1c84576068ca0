from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rectitude.audit.slices import by_activity, by_popularity


@settings(deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=80), st.integers(1, 6))
def test_activity_groups_part_people_by_history_length(lengths: list[int], n_groups: int) -> None:
    found = np.array(lengths)
    values = found / 30.0
    groups = by_activity(values, found, n_groups=n_groups)
    assert 1 <= len(groups) <= n_groups
    assert sum(group.n for group in groups) == len(lengths)
    ranges = [tuple(int(end) for end in group.label.split(" to ")) for group in groups]
    assert all(before[-1] < after[0] for before, after in pairwise(ranges))
    for group, bounds in zip(groups, ranges, strict=True):
        inside = (found >= bounds[0]) & (found <= bounds[-1])
        assert group.n == inside.sum()
        assert group.value == pytest.approx(values[inside].mean())


def test_activity_groups_are_about_equal_where_lengths_differ() -> None:
    groups = by_activity(np.zeros(1000), np.arange(1000), n_groups=4)
    assert [group.n for group in groups] == [250] * 4
    assert [group.label for group in groups] == ["0 to 249", "250 to 499", "500 to 749", "750 to 999"]


def test_activity_intervals_agree_with_the_normal_ones_in_large_groups() -> None:
    rng = np.random.default_rng(0)
    values = rng.random(4000)
    (group,) = by_activity(values, np.full(4000, 7), seed=1)
    reach = 1.96 * values.std() / np.sqrt(len(values))
    assert group.label == "7"
    assert group.low == pytest.approx(values.mean() - reach, abs=reach / 5)
    assert group.high == pytest.approx(values.mean() + reach, abs=reach / 5)
    assert by_activity(values, np.full(4000, 7), seed=1) == [group]


def test_one_person_has_no_interval() -> None:
    (group,) = by_activity(np.array([0.5]), np.array([3]))
    assert (group.n, group.value, group.low, group.high) == (1, 0.5, None, None)


@pytest.mark.parametrize(("values", "lengths"), [([], []), ([0.1, 0.2], [1])])
def test_activity_needs_a_length_per_value(values: list[float], lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="one history length per value"):
        by_activity(np.array(values), np.array(lengths))


def test_popularity_shares_by_hand() -> None:
    popularity = np.array([1, 50, 9, 20, 10, 0, 0, 5, 3, 2])
    lists = np.array([[1, 3, 5], [1, 4, -1]], dtype=np.int32)
    groups = by_popularity(lists, popularity, bounds=(0.1, 0.3, 1.0))
    assert [group.label for group in groups] == [
        "most popular 10\N{NO-BREAK SPACE}%",
        "next 20\N{NO-BREAK SPACE}%",
        "least popular 70\N{NO-BREAK SPACE}%",
    ]
    assert [group.n_items for group in groups] == [1, 2, 7]
    assert [group.recommended for group in groups] == pytest.approx([2 / 5, 2 / 5, 1 / 5])
    assert [group.interactions for group in groups] == pytest.approx([0.5, 0.3, 0.2])


@settings(deadline=None)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=60), st.integers(0, 2**32 - 1))
def test_popularity_groups_share_out_everything(counts: list[int], seed: int) -> None:
    popularity = np.array([*counts, 1])
    lists = np.random.default_rng(seed).integers(-1, len(popularity), size=(7, 5))
    lists[0, 0] = 0
    groups = by_popularity(lists, popularity)
    assert sum(group.n_items for group in groups) == len(popularity)
    assert sum(group.recommended for group in groups) == pytest.approx(1)
    assert sum(group.interactions for group in groups) == pytest.approx(1)
    per_item = [group.interactions / group.n_items for group in groups]
    assert per_item == pytest.approx(sorted(per_item, reverse=True))


def test_popularity_refuses_what_has_no_shares() -> None:
    with pytest.raises(ValueError, match="at least one recommendation"):
        by_popularity(np.full((2, 3), -1), np.array([1, 2]))
    with pytest.raises(ValueError, match="at least one recommendation and one interaction"):
        by_popularity(np.array([[0]]), np.array([0, 0]))
    for bounds in ((0.5, 0.1, 1.0), (0.1, 0.5), (0.0, 1.0), ()):
        with pytest.raises(ValueError, match="do not rise"):
            by_popularity(np.array([[0]]), np.array([1, 2]), bounds=bounds)
