"""Label, attribute and features are told, and what was guessed is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from rectitude.core.errors import DataError
from rectitude.federated.encoder import Encoder
from rectitude.federated.tables import KNOWN, codes_of, read_people, read_table


def small(**columns: object) -> pl.DataFrame:
    given = {"x": [1.0, 2.0, 3.0, 4.0], "gender": ["f", "m", "m", "f"], "label": ["no", "yes", "no", "yes"]}
    return pl.DataFrame({**given, **columns})


def test_label_and_attribute_are_guessed_and_said() -> None:
    said: list[str] = []
    people = read_people(small(), announce=said.append)
    assert (people.label, people.attribute) == ("label", "gender")
    assert (people.classes, people.groups) == (("no", "yes"), ("f", "m"))
    np.testing.assert_array_equal(people.y, [0, 1, 0, 1])
    np.testing.assert_array_equal(people.a, [0, 1, 1, 0])
    assert people.frame.columns == ["x"]
    assert "The label is guessed to be column 'label'" in said
    assert "The attribute is guessed to be column 'gender'" in said


def test_attributes_are_crossed_and_groups_nobody_is_in_are_none() -> None:
    people = read_people(small(race=["p", "q", "q", "p"]), attribute="gender,race")
    assert people.groups == ("f × p", "m × q")
    np.testing.assert_array_equal(people.a, [0, 1, 1, 0])


def test_one_value_against_all_others_and_a_threshold() -> None:
    frame = small(race=["p", "q", "r", "p"], age=[20, 40, 60, 80])
    one = read_people(frame, attribute="race:q")
    assert one.groups == ("not q", "q")
    np.testing.assert_array_equal(one.a, [0, 1, 0, 0])
    old = read_people(frame, attribute="age>=40")
    assert old.groups == ("age<40", "age>=40")
    np.testing.assert_array_equal(old.a, [0, 1, 1, 1])


def test_rows_without_label_or_attribute_are_left_out_and_said() -> None:
    said: list[str] = []
    people = read_people(small(gender=["f", None, "m", "f"]), announce=said.append)
    assert len(people) == 3
    assert "Left out: 1 row without label or attribute" in said


def test_columns_that_can_be_no_features_are_said() -> None:
    said: list[str] = []
    frame = pl.concat([small()] * 30).with_columns(
        pl.int_range(pl.len()).cast(pl.String).alias("id"), pl.lit(None).cast(pl.Date).alias("day")
    )
    people = read_people(frame, announce=said.append)
    assert people.frame.columns == ["x"]
    assert "Not used as features: id, day" in said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"label": "lable"}, "There is no column 'lable'.*Did you mean 'label'"),
        ({"attribute": "gander"}, "There is no column 'gander'.*Did you mean 'gender'"),
        ({"attribute": "gender:x"}, "Nobody has 'x' in 'gender'"),
        ({"attribute": "gender>=3"}, "compares no numbers"),
        ({"drop": ["x"]}, "No column is left to be a feature"),
    ],
)
def test_what_cannot_be_told(given: dict[str, object], said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_people(small(), **given)  # type: ignore[arg-type]


def test_a_group_that_is_no_number_is_no_group() -> None:
    frame = small().with_columns(gender=pl.Series([1.0, 2.0, float("nan"), 1.0]))
    said: list[str] = []
    people = read_people(frame, announce=said.append)
    assert people.groups == ("1", "2")
    assert "Left out: 1 row without label or attribute" in said


def test_too_many_values_and_too_few() -> None:
    frame = pl.DataFrame({"x": range(80), "gender": range(80), "label": [0, 1] * 40})
    with pytest.raises(DataError, match=r"80 values; the attribute may have 60.*gender>=39.5"):
        read_people(frame)
    towns = frame.with_columns(gender=pl.format("town {}", pl.col("gender") // 1))
    with pytest.raises(DataError, match=r"80 values; .*--attribute 'gender:town 0'"):
        read_people(towns)
    with pytest.raises(DataError, match=r"80 values; the label may have 50.*binned first"):
        read_people(frame.with_columns(label=pl.col("x") / 7), attribute="label>=3", label="x")
    with pytest.raises(DataError, match="'gender' is the label and the sensitive attribute"):
        read_people(small(), label="gender")
    with pytest.raises(DataError, match="The label has only one class"):
        read_people(small(label=["no"] * 4))
    with pytest.raises(DataError, match="The attribute has only one group"):
        read_people(small(gender=["f"] * 4))
    with pytest.raises(DataError, match="No column can be taken for the label"):
        read_people(small().rename({"label": "z"}))


def test_files_and_folders(tmp_path: Path) -> None:
    small().write_csv(tmp_path / "people.csv")
    from_text = read_people(tmp_path / "people.csv")
    assert from_text.frame["x"].dtype == pl.Float64
    np.testing.assert_array_equal(from_text.y, read_people(small()).y)
    assert read_people(tmp_path).name == "people"
    small().write_parquet(tmp_path / "more.parquet")
    with pytest.raises(DataError, match=r"must hold one table; it holds more\.parquet, people\.csv"):
        read_people(tmp_path)
    small().write_parquet(tmp_path / "data.parquet")
    assert read_people(tmp_path).name == "data"
    with pytest.raises(DataError, match="There is no table 'nowhere'"):
        read_table("nowhere")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="cannot be read"):
        read_table(tmp_path / "broken.parquet")


def test_encoding_by_hand() -> None:
    train = pl.DataFrame({"n": [1.0, 3.0, None], "t": ["p", "q", "p"], "b": [True, False, True]})
    encoder = Encoder.fit(train)
    assert encoder.n_features == 2 + 2 + 1
    new = pl.DataFrame({"n": [3.0, None], "t": ["q", "unseen"], "b": [False, True]})
    b = [(0 - 2 / 3) / np.sqrt(2 / 9), (1 - 2 / 3) / np.sqrt(2 / 9)]
    np.testing.assert_allclose(encoder.transform(new), [[1, 0, 0, 1, b[0]], [0, 1, 0, 0, b[1]]], rtol=1e-6)
    with pytest.raises(DataError, match="There is no column 't'"):
        encoder.transform(new.drop("t"))
    with pytest.raises(DataError, match="Column 'n' holds no numbers"):
        encoder.transform(new.with_columns(pl.lit("x").alias("n")))


def test_a_column_without_spread_or_values_is_zero() -> None:
    train = pl.DataFrame({"c": [5.0, 5.0], "e": pl.Series([None, None], dtype=pl.Float64)})
    out = Encoder.fit(train).transform(train)
    np.testing.assert_array_equal(out, [[0, 0, 1], [0, 0, 1]])


def test_groups_of_new_rows_are_those_of_the_model() -> None:
    people = read_people(small())
    np.testing.assert_array_equal(codes_of(small()[1:3], "gender", people.groups), [1, 1])
    with pytest.raises(DataError, match="groups the model does not know: x"):
        codes_of(small(gender=["x"] * 4), "gender", people.groups)
    one = small(gender=["f"] * 4)
    np.testing.assert_array_equal(codes_of(one, "gender:m", ("not m", "m")), [0] * 4)


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_known_sets(name: str, real_data: Callable[[str], Path]) -> None:
    rows = {"adult": 48_842, "compas": 6_172, "nursery": 12_960, "celeba-attributes": 202_599, "health": 171_067}
    classes = {"nursery": 5}
    real_data(name)
    people = read_people(name)
    assert len(people) == rows[name]
    assert len(people.classes) == classes.get(name, 2)
    assert len(people.groups) == 2
    leaks = [
        column for column in people.frame.columns if "Charlson" in column or "recid" in column or "decile" in column
    ]
    assert leaks == []


@pytest.mark.parametrize("scaling", ["standard", "minmax"])
def test_numbers_are_scaled_as_asked_by_the_training_rows(scaling: Any) -> None:
    numbers = np.array([2.0, 4.0, 10.0])
    encoder = Encoder.fit(pl.DataFrame({"age": numbers}), scaling)
    seen = encoder.transform(pl.DataFrame({"age": [2.0, 10.0, 18.0]}))[:, 0]
    at, by = (numbers.mean(), numbers.std()) if scaling == "standard" else (2.0, 8.0)
    np.testing.assert_allclose(seen, (np.array([2.0, 10.0, 18.0]) - at) / by, rtol=1e-6)
