from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import rectitude
from rectitude.core.errors import ConfigError, DataError
from rectitude.data.dataset import Dataset
from rectitude.data.groups import activity_groups, attribute_groups
from rectitude.data.split import SplitConfig, split


def people(**columns: list[object]) -> pl.DataFrame:
    n = len(next(iter(columns.values())))
    return pl.DataFrame({"user_id": [str(i) for i in range(n)], **columns}, strict=False)


@pytest.mark.parametrize(("name", "n"), [("movielens", 47), ("epinion", 134), ("gowalla", 56)])
def test_the_published_groups_are_reproduced_exactly(real_data: Callable[[str], Path], name: str, n: int) -> None:
    data = rectitude.load(real_data(f"in-ucds-{name}"))
    found = activity_groups(split(data, SplitConfig(rule="column")))
    published = np.flatnonzero(data.users["advantaged"].to_numpy())
    assert len(published) == n
    assert found.members("advantaged").tolist() == published.tolist()
    by_count = activity_groups(split(data, SplitConfig(rule="column")), key="train_count")
    assert by_count.members("advantaged").tolist() != published.tolist()


def test_only_training_events_make_people_active(tiny: Dataset) -> None:
    divided = split(tiny)
    found = activity_groups(divided, share=0.1, key="train_count")
    lengths = divided.train.lengths
    assert found.sizes.tolist() == [6, 54]
    assert lengths[found.labels == 0].min() >= lengths[found.labels == 1].max()
    sums = np.bincount(divided.train.rows, divided.train_ratings)
    by_value = activity_groups(divided, share=0.1)
    assert sums[by_value.labels == 0].min() >= sums[by_value.labels == 1].max()


@pytest.mark.parametrize(("share", "empty"), [(0.001, "advantaged"), (0.999, "disadvantaged")])
def test_a_group_of_nobody_is_refused(tiny: Dataset, share: float, empty: str) -> None:
    with pytest.raises(ConfigError, match=f"leaves nobody in the {empty} group"):
        activity_groups(split(tiny), share=share)


def test_classes_and_what_is_left_out() -> None:
    table = people(gender=["M"] * 12 + ["F"] * 11 + [None] * 2 + ["X"] * 3)
    found = attribute_groups(table, "gender")
    assert found.names == ("F", "M")
    assert found.sizes.tolist() == [11, 12]
    assert (found.labels == -1).sum() == 5
    assert found.notes == (
        "Classes of gender with fewer than 10 people are left out: 'X' (3)",
        "gender is unknown of 2 of 28 people, who are left out",
    )


def test_numbers_are_cut_where_one_says_or_in_thirds() -> None:
    table = people(age=list(range(18, 78)))
    assert attribute_groups(table, "age:35:46").names == ("below 35", "35 to 45", "46 and above")
    thirds = attribute_groups(table, "age")
    assert len(thirds.names) == 3
    assert thirds.sizes.min() >= 19
    assert attribute_groups(people(code=[1, 2] * 20), "code").names == ("1", "2")


def test_bands_stand_in_the_order_of_their_numbers() -> None:
    bands = ["under 18", "18-24", "56+", "25-34"]
    assert attribute_groups(people(age=bands * 10), "age").names == ("under 18", "18-24", "25-34", "56+")


def test_crossed_groups() -> None:
    table = people(a=["x", "y"] * 20, b=["p"] * 20 + ["q"] * 20)
    both = attribute_groups(table, "a").crossed(attribute_groups(table, "b"))
    assert both.names == ("x, p", "x, q", "y, p", "y, q")
    assert both.sizes.tolist() == [10, 10, 10, 10]


@pytest.mark.parametrize(
    ("columns", "wanted", "error", "message"),
    [
        ({"gender": ["M", "F"] * 10}, "gendr", ConfigError, "Unknown attribute 'gendr'.*Did you mean 'gender'"),
        ({"gender": ["M"] * 20}, "gender", DataError, r"Everybody has the same gender \(M\)"),
        ({"zip": [str(i) for i in range(20)]}, "zip", DataError, "20 of them of one person each"),
        ({"age": [None] * 20}, "age", DataError, "known of nobody"),
        ({"age": list(range(40))}, "age:50:40", ConfigError, "do not rise"),
        ({"age": list(range(40))}, "age:old", ConfigError, "are no edges"),
        ({"band": ["a", "b"] * 10}, "band:3", ConfigError, "is text and cannot be cut"),
        ({"tags": [["a"]] * 20}, "tags", DataError, "holds lists"),
        ({"code": [f"c{i % 60}" for i in range(900)]}, "code", DataError, "60 classes: it names people"),
    ],
)  # fmt: skip
def test_bad_attributes(columns: dict[str, list[object]], wanted: str, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        attribute_groups(people(**columns), wanted)


def test_data_that_say_nothing_of_people() -> None:
    with pytest.raises(ConfigError, match="say nothing of people"):
        attribute_groups(pl.DataFrame({"user_id": ["1"]}), "gender")
