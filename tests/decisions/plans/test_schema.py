from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sleepers import meaning, survey

from rectitude.core.errors import ConfigError, DataError
from rectitude.decisions.plans.conditions import Condition
from rectitude.decisions.plans.encode import Encoder
from rectitude.decisions.plans.guess import guess_schema, ordered_labels
from rectitude.decisions.plans.schema import (
    dump_schema,
    known_schemas,
    parse_schema,
    read_schema,
    write_schema,
)
from rectitude.decisions.plans.table import clean, read_survey


@pytest.mark.parametrize("suffix", [".toml", ".json"])
def test_a_schema_is_read_as_it_was_written(tmp_path: Path, suffix: str) -> None:
    schema = meaning(
        rules=[
            {"if": "exercise days >= 1", "then": "screen_hours <= 4"},
            {"never": ["smoking == Yes", "exercise days >= 5"], "name": "no \"smoking\" athletes"},
            {"sum": {"exercise days": 1, "screen_hours": 0.5}, "at_most": 6.5},
        ],
        keep=["age >= 20"],
    )  # fmt: skip
    path = tmp_path / f"schema{suffix}"
    write_schema(schema, path)
    assert read_schema(path) == schema
    assert read_schema(path).rules[0].written() == {"if": "exercise days >= 1", "then": "screen_hours <= 4"}


def test_every_configuration_of_the_package_can_be_read() -> None:
    assert {"nhanes", "yrbss", "sleep-efficiency", "sleep-study", "compas", "adult"} <= set(known_schemas())
    for name in known_schemas():
        assert read_schema(name).mutable()


@pytest.mark.parametrize(
    ("text", "value", "holds"),
    [
        ("a >= 2", 2.0, True),
        ("a>2", 2.0, False),
        ("a = Yes", "Yes", True),
        ("a != 1", 1.0, False),
        ("x y <= 3", 2.0, True),
    ],
)
def test_conditions(text: str, value: object, holds: bool) -> None:
    assert Condition.parse(text, where="test").holds(value) is holds


def test_conditions_on_ordered_labels_follow_their_order() -> None:
    levels = ("<5", "5", "6", "10+")
    condition = Condition.parse("hours >= 6", where="test")
    assert [condition.holds(level, levels) for level in levels] == [False, False, True, True]
    with pytest.raises(ConfigError, match="no order"):
        condition.holds("many")


@pytest.mark.parametrize(
    ("labels", "order"),
    [
        (["2_hr", "More_4_hr", "0_hrs", "0_to_1_hr"], ["0_hrs", "0_to_1_hr", "2_hr", "More_4_hr"]),
        (["10+", "<5", "7", "5"], ["<5", "5", "7", "10+"]),
        (["Most", "None", "Several"], ["None", "Several", "Most"]),
        (["30", "1-2", "did not drive", "0"], ["did not drive", "0", "1-2", "30"]),
        (["red", "green", "blue"], None),
    ],
)
def test_labels_that_speak_of_amounts_are_put_in_order(labels: list[str], order: list[str] | None) -> None:
    assert ordered_labels(labels) == order


def test_guess_finds_kinds_habits_and_leaks(sleepers: pl.DataFrame) -> None:
    good = (sleepers["good_sleep"] == "Yes").to_numpy()
    rng = np.random.default_rng(1)
    table = sleepers.with_columns(
        pl.Series("diagnosis", np.where(good ^ (rng.random(len(good)) < 0.02), "well", "ill")),
        pl.Series("hours_slept_sleep", rng.normal(size=len(good))),
        screen_band=pl.when(pl.col("screen_hours") > 3)
        .then(pl.lit("many"))
        .when(pl.col("screen_hours") > 0)
        .then(pl.lit("few"))
        .otherwise(pl.lit("none")),
    )  # fmt: skip
    frame, _ = read_survey(table)
    schema = guess_schema(frame, "good_sleep")
    assert schema.target.good == "Yes"
    assert schema.id_column() == "id"
    assert schema.features["diagnosis"].role == "forbidden"
    assert "gives the outcome away" in schema.features["diagnosis"].why
    assert "copy of 'screen_hours'" in schema.features["screen_band"].why
    assert "shares the word 'sleep'" in schema.features["hours_slept_sleep"].why
    assert {"smoking", "screen_hours", "exercise days"} <= set(schema.mutable())
    assert "age" not in schema.mutable()
    assert schema.features["smoking"].levels == ("No", "Yes")
    assert parse_schema(dump_schema(schema), where="test") == schema


def test_guess_turns_an_unwanted_outcome_round() -> None:
    frame, _ = read_survey(survey(60).rename({"good_sleep": "sleep_trouble"}))
    assert guess_schema(frame, "sleep_trouble").target.good == "No"


def test_a_label_that_looks_like_a_comparison_is_a_label() -> None:
    frame, _ = read_survey(pl.DataFrame({"income": ["<=50K", ">50K"] * 40, "x": np.arange(80.0) % 7}))
    target = guess_schema(frame, "income", good=">50K").target
    assert [target.is_good(label) for label in ("<=50K", ">50K")] == [False, True]


BAD_SCHEMAS = [
    ({"features": {"age": {"kind": "integer", "mutible": True}}}, "Did you mean 'mutable'"),
    ({"features": {"age": {"kind": "binary", "levels": ["a", "b", "c"]}}}, "two levels"),
    ({"features": {"age": {"kind": "integer", "levels": [3, 1]}}}, "ascend"),
    ({"features": {"age": {"kind": "integer"}}, "rules": [{"if": "age >= 3"}]}, "a rule is"),
    ({"features": {"age": {"kind": "integer"}}, "rules": [{"if": "ag >= 3", "then": "age >= 1"}]}, "no feature"),
    ({"features": {"age": {"kind": "integer"}}, "rulez": []}, "Did you mean 'rules'"),
    ({"features": {"age": {"kind": "integer", "role": "forbidden"}}}, "no column is left"),
    ({"features": {"y": {"kind": "integer"}}}, "among the features"),
]


@pytest.mark.parametrize(("values", "says"), BAD_SCHEMAS)
def test_a_faulty_schema_is_refused(values: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_schema({"target": {"column": "y", "good": 1}, **values}, where="test")


def test_a_faulty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    path.write_text(json.dumps({"features": {}}))
    with pytest.raises(ConfigError, match="no target"):
        read_schema(path)
    with pytest.raises(ConfigError, match="Did you mean 'nhanes'"):
        read_schema("nhane")


def test_tables_that_cannot_be_used_are_refused(sleepers: pl.DataFrame, tmp_path: Path) -> None:
    schema = meaning()
    with pytest.raises(DataError, match="no such table"):
        read_survey(tmp_path / "none.csv")
    with pytest.raises(DataError, match="no rows"):
        read_survey(sleepers.head(0))
    frame, _ = read_survey(sleepers)
    with pytest.raises(DataError, match=r"no column 'smoking'.*Did you mean 'smokin'"):
        clean(frame.rename({"smoking": "smokin"}), schema)
    with pytest.raises(DataError, match="too few"):
        clean(frame.head(20), schema)
    with pytest.raises(DataError, match="Only 0 of"):
        clean(frame.filter(pl.col("good_sleep") == "No"), schema)
    with pytest.raises(DataError, match="names two rows alike"):
        clean(pl.concat([frame, frame.with_columns(age=pl.col("age") + 1)]), schema)
    with pytest.raises(DataError, match="'Maybe' is not an answer to 'smoking'"):
        Encoder.fit(schema, frame.with_columns(smoking=pl.lit("Maybe")))


def test_copies_and_unknown_outcomes_are_left_out_and_said(sleepers: pl.DataFrame) -> None:
    frame, _ = read_survey(sleepers)
    twice = pl.concat([frame, frame.head(7).with_columns(id=pl.lit("x") + pl.col("id"))])
    twice = twice.with_columns(good_sleep=pl.when(pl.col("id") == "p30").then(None).otherwise("good_sleep"))
    people = clean(twice, meaning(keep=["age >= 30"]))
    young = (frame["age"] < 30).sum() + (frame["age"].head(7) < 30).sum()
    assert len(people.good) <= 400 - (frame["age"] < 30).sum()
    assert f"{young} of 407 rows" in people.notes[0]
    assert any("exact copies" in note for note in people.notes)


def test_csv_and_parquet_mean_the_same(sleepers: pl.DataFrame, tmp_path: Path) -> None:
    sleepers.write_csv(tmp_path / "a.csv")
    sleepers.write_parquet(tmp_path / "a.parquet")
    one, other = (read_survey(tmp_path / name)[0] for name in ("a.csv", "a.parquet"))
    assert one.equals(other)


def test_times_of_day_run_through_midnight() -> None:
    frame, notes = read_survey(
        pl.DataFrame({"bed": ["2021-01-01 23:30:00", "2021-01-02 01:00:00"]}).with_columns(
            pl.col("bed").str.to_datetime()
        )
    )
    assert frame["bed"].to_list() == [11.5, 13.0]
    assert notes == ["Column 'bed' is read as hours after noon"]


@given(
    codes=st.lists(st.one_of(st.none(), st.integers(0, 2)), min_size=3, max_size=20).filter(
        lambda c: any(v is not None for v in c)
    )
)
def test_encoding_a_table_is_encoding_its_rows(codes: list[int | None]) -> None:
    labels = ["blue", "green", "red"]
    table = pl.DataFrame(
        {
            "age": [30.0] * len(codes),
            "exercise days": [None if code is None else float(code) for code in codes],
            "screen_hours": [1.5] * len(codes),
            "smoking": ["No"] * len(codes),
            "colour": [None if code is None else labels[code] for code in codes],
        },
        schema_overrides={"colour": pl.String, "exercise days": pl.Float64},
    )
    encoder = Encoder.fit(meaning(), table)
    matrix = encoder.matrix(table)
    assert np.array_equal(matrix, np.stack([encoder.row(row) for row in table.iter_rows(named=True)]))
    assert not np.isnan(matrix).any()
    again = Encoder.from_dict(json.loads(json.dumps(encoder.to_dict())), meaning())
    assert np.array_equal(again.matrix(table), matrix)


@pytest.mark.parametrize(
    ("name", "target", "good", "forbidden"),
    [
        ("compas", "two_year_recid", None, {"is_recid", "r_charge_degree", "decile_score", "end", "event"}),
        ("adult", "income", ">50K", {"fnlwgt"}),
        ("sleep-efficiency", "Sleep efficiency", ">= 0.85", {"Awakenings", "Deep sleep percentage", "Sleep duration"}),
        ("nhanes-2009-2012", "SleepTrouble", None, {"SleepHrsNight", "WTINT2YR"}),
    ],
)
def test_leaks_of_real_tables_are_flagged(
    real_data: Callable[[str], Path], name: str, target: str, good: str | None, forbidden: set[str]
) -> None:
    frame, _ = read_survey(real_data(name))
    schema = guess_schema(frame, target, good=good)
    assert forbidden <= {column for column, feature in schema.features.items() if feature.role == "forbidden"}
