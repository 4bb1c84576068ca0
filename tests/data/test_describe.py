from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from rectitude.data.catalogue import describe
from rectitude.data.dataset import Dataset
from rectitude.data.readers import load


def test_figures_are_those_of_the_table() -> None:
    frame = pl.DataFrame(
        {
            "user": ["a", "a", "a", "b"],
            "item": ["x", "y", "x", "x"],
            "timestamp": [0, 86400, 172800, 5],
            "rating": [1, 5, 5, None],
        }
    )
    summary = describe(load(frame))
    assert (summary["users"], summary["items"], summary["interactions"], summary["pairs"]) == (2, 2, 4, 3)
    assert summary["density"] == 0.75
    assert summary["per_user"] == {
        "min": 1,
        "p25": 1.5,
        "median": 2,
        "p75": 2.5,
        "p95": pytest.approx(2.9),
        "max": 3,
        "mean": 2,
    }
    assert summary["time"] == {
        "kind": "timestamp",
        "first": "1970-01-01T00:00:00+00:00",
        "last": "1970-01-03T00:00:00+00:00",
        "days": 2.0,
    }
    assert summary["ratings"] == [{"rating": 1.0, "interactions": 1}, {"rating": 5.0, "interactions": 2}]
    missing = {column["name"]: column["missing"] for column in summary["columns"]["interactions"]}
    assert missing == {"user": 0, "item": 0, "timestamp": 0, "rating": 1}
    assert "1 interactions have no rating" in summary["notes"]


def test_it_is_json(tiny: Dataset) -> None:
    summary = describe(tiny)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["hash"] == tiny.hash
    assert summary["per_item"]["mean"] == tiny.n_interactions / tiny.n_items


def test_data_without_time_say_what_orders_them() -> None:
    assert describe(load(pl.DataFrame({"user": [1], "item": [2]})))["time"] == {"kind": "order"}
    positions = load(pl.DataFrame({"user": [1], "item": [2], "position": [0]}))
    assert describe(positions)["time"] == {"kind": "position"}


def test_the_hash_sees_interactions_and_ids_only(tiny: Dataset) -> None:
    other = Dataset("other name", tiny.interactions, tiny.users.drop("gender"), tiny.items.drop("title"), notes=("n",))
    assert other.hash == tiny.hash
    changed = tiny.interactions.with_columns(pl.Series("item", np.roll(tiny.interactions["item"].to_numpy(), 1)))
    assert Dataset("tiny", changed, tiny.users, tiny.items).hash != tiny.hash
    renamed = tiny.items.with_columns(pl.col("item_id") + "!")
    assert Dataset("tiny", tiny.interactions, tiny.users, renamed).hash != tiny.hash
