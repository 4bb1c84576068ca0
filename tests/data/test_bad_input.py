"""Each kind of bad input gives one line: what, where, what to do."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

from rectitude.core.errors import ConfigError, DataError
from rectitude.data.readers import load


def refusal(data: Any, **options: Any) -> str:
    """The one line that ``load`` answers with."""
    with pytest.raises(DataError) as caught:
        load(data, **options)
    line = str(caught.value)
    assert "\n" not in line
    assert caught.value.fix, line
    return line


def csv(folder: Path, text: str | bytes, name: str = "log.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


CASES: dict[str, tuple[str | bytes, dict[str, Any], list[str]]] = {
    "missing column": (
        "user_id,rating\na,1\n",
        {},
        ["No column can be taken for the item", "user_id, rating", "log.csv"],
    ),
    "misspelt column": ("usr,item\na,x\n", {}, ["taken for the user", "Did you mean 'usr'?", "--columns user=usr"]),
    "misnamed column": (
        "user,item\na,x\n",
        {"columns": {"user": "usre"}},
        ["There is no column 'usre' for the user", "Did you mean 'user'?"],
    ),
    "unknown part": ("user,item\na,x\n", {"columns": {"usr": "user"}}, ["'usr' is not a part", "Did you mean 'user'?"]),
    "one column for two parts": (
        "user,item\na,x\n",
        {"columns": {"user": "user", "item": "user"}},
        ["'user' is named for two parts"],
    ),
    "wrong separator": ("user\titem\na\tx\n", {"separator": ";"}, ["Separator ';' does not occur", "line 1", "tab"]),
    "no separator": ("user\na\n", {}, ["only one field", "line 1", "--separator"]),
    "too many fields": ("user,item\na,x\nb,y,z\n", {}, ["3 fields where the first has 2", "log.csv, line 3", "quotes"]),
    "too few fields": ("user,item\na,x\nb\n", {}, ["have no item id", "log.csv, line 3, column 'item'"]),
    "column twice": ("user,item,item\na,x,y\n", {}, ["Two columns are called 'item'", "line 1"]),
    "not UTF-8": (
        b"user,item\na,caf\xe9\n",
        {},
        ["0xe9) is not UTF-8", "log.csv, line 2", "encoding='latin-1'"],
    ),
    "UTF-16": ("user,item\na,x\n".encode("utf-16"), {}, ["is not UTF-8", "encoding='utf-16'"]),
    "unknown encoding": ("user,item\na,x\n", {"encoding": "utf-9"}, ["Unknown encoding 'utf-9'", "latin-1"]),
    "empty file": ("", {}, ["The file is empty", "log.csv"]),
    "blank file": ("\n  \n", {}, ["The file is empty"]),
    "header only": ("user,item\n", {}, ["nothing below it", "log.csv"]),
    "empty user": ("user,item\na,x\n,y\n,z\n", {}, ["2 of 3 rows have no user id", "log.csv, line 3, column 'user'"]),
    "empty user after blank lines": (
        "user,item\na,x\n\n\nb,y\n\n,z\n",
        {},
        ["1 of 3 rows have no user id", "log.csv, line 7, column 'user'"],
    ),
    "NaN item": ("user,item\na,x\nb,NaN\n", {}, ["1 of 2 rows have no item id", "line 3, column 'item'"]),
    "null item": ("user,item\na,x\nb,null\n", {}, ["1 of 2 rows have no item id", "line 3"]),
    "duplicate rows": (
        "user,item,timestamp\na,x,1\nb,y,2\na,x,1\n",
        {},
        ["1 rows repeat", "user 'a' with item 'x'", "line 4", "--duplicates drop|keep"],
    ),
    "duplicate pairs without time": (
        "user,item\na,x\nb,y\na,x\n",
        {},
        ["1 rows repeat", "user and item", "line 4"],
    ),
    "unknown way with duplicates": (
        "user,item\na,x\n",
        {"duplicates": "first"},
        ["'first' is unknown", "error, drop or keep"],
    ),
    "time that is no time": (
        "user,item,timestamp\na,x,2020-01-01\nb,y,soon\n",
        {},
        ["'soon' cannot be read as a time", "line 3, column 'timestamp'", "time_format"],
    ),
    "missing time": ("user,item,timestamp\na,x,5\nb,y,\n", {}, ["1 of 2 interactions have no timestamp", "line 3"]),
    "mixed units of time": (
        "user,item,timestamp\na,x,1600000000\nb,y,1600000000000\n",
        {},
        ["mix units", "line 3, column 'timestamp'"],
    ),
    "time out of this world": ("user,item,timestamp\na,x,99999999999999999999\n", {}, ["is no timestamp", "line 2"]),
    "infinite time": ("user,item,timestamp\na,x,1.5\nb,y,inf\n", {}, ["infinite", "line 3"]),
    "day or month first": ("user,item,date\na,x,01/02/2020\nb,y,03/04/2020\n", {}, ["can be read as", "time_format="]),
    "position that is no number": (
        "user,item,position\na,x,1\nb,y,two\n",
        {},
        ["'two' is not a whole", "line 3"],
    ),
    "rating that is no number": (
        "user,item,rating\na,x,1\nb,y,good\n",
        {},
        ["'good'", "line 3, column 'rating'"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_text_file(case: str, tmp_path: Path) -> None:
    text, options, parts = CASES[case]
    path = csv(tmp_path, text)
    before = path.read_bytes()
    line = refusal(path, **options)
    for part in parts:
        assert part in line
    assert path.read_bytes() == before


def test_latin_1_is_read_when_said(tmp_path: Path) -> None:
    dataset = load(csv(tmp_path, b"user,item\na,caf\xe9\n"), encoding="latin-1")
    assert dataset.items["item_id"].to_list() == ["café"]


def test_a_chosen_time_format_settles_day_and_month(tmp_path: Path) -> None:
    path = csv(tmp_path, "user,item,date\na,x,01/02/2020\n")
    assert load(path, time_format="%d/%m/%Y").interactions["timestamp"].to_list() == [1580515200]


def test_missing_file_suggests_its_neighbour(tmp_path: Path) -> None:
    csv(tmp_path, "user,item\na,x\n", "ratings.csv")
    assert "Did you mean 'ratings.csv'?" in refusal(tmp_path / "rating.csv")


def test_unknown_name_suggests_the_nearest_set() -> None:
    line = refusal("ml-100")
    assert "no such file, folder or known set" in line
    assert "Did you mean 'ml-100k'?" in line


def test_cut_gzip(tmp_path: Path) -> None:
    whole = gzip.compress(b"user,item\n" + b"a,x\n" * 100)
    assert "not gzip, or it is cut off" in refusal(csv(tmp_path, whole[:-12], "log.csv.gz"))
    assert "not gzip" in refusal(csv(tmp_path, b"user,item\na,x\n", "log.csv.gz"))


def test_cut_parquet(tmp_path: Path) -> None:
    pl.DataFrame({"user": range(50), "item": range(50)}).write_parquet(tmp_path / "whole.parquet")
    whole = (tmp_path / "whole.parquet").read_bytes()
    assert "not Parquet, or it is cut off" in refusal(csv(tmp_path, whole[:-20], "log.parquet"))


def test_workbook(tmp_path: Path) -> None:
    assert "an Excel workbook, not text" in refusal(csv(tmp_path, b"PK\x03\x04rest of it", "log.xlsx"))


def test_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = csv(tmp_path, "user,item\na,x\n")

    def refuse(self: Path, *_: Any) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    assert "cannot be read: Permission denied" in refusal(path)


def test_folder_without_interactions(tmp_path: Path) -> None:
    csv(tmp_path, "x", "notes.md")
    line = refusal(tmp_path)
    assert "no interactions.parquet; it holds notes.md" in line


@pytest.mark.parametrize(
    ("frame", "part"),
    [
        (
            pl.DataFrame({"user": [1.0, float("nan")], "item": [1, 2]}),
            "1 of 2 rows have no user id",
        ),
        (pl.DataFrame({"user": [1, None], "item": [1, 2]}), "the frame, row 2, column 'user'"),
        (pl.DataFrame({"user": [1e300, 2.0], "item": [1, 2]}), "1e+300 is no user id"),
        (pl.DataFrame({"user": [1.5, 2.0], "item": [1, 2]}), "1.5 is no user id"),
        (pl.DataFrame({"user": [[1], [2]], "item": [1, 2]}), "List(Int64), not user ids"),
        (pl.DataFrame({"user": [True, False], "item": [1, 2]}), "Boolean, not user ids"),
        (pl.DataFrame({"user": [1], "item": [1], "timestamp": [[5]]}), "not times"),
        (pl.DataFrame({"user": [], "item": []}, schema={"user": pl.Int64, "item": pl.Int64}), "no rows"),
        (pd.DataFrame({"user": [1, "a"], "item": [1, 2]}), "mixes types"),
        ({"user": [1], "item": [2]}, "A dict is not a table"),
    ],
)
def test_frame(frame: Any, part: str) -> None:
    assert part in refusal(frame)


def test_sequence_file_with_a_user_twice(tmp_path: Path) -> None:
    assert "User 'u1' has two lines" in refusal(csv(tmp_path, "u1 3 4\nu2 3\nu1 5 6 7\n", "seq.txt"))


def test_atomic_header_without_types(tmp_path: Path) -> None:
    line = refusal(csv(tmp_path, "user_id\titem_id:token\n1\t2\n", "toy.inter"))
    assert "'user_id' has no type" in line
    line = refusal(csv(tmp_path, "user_id:tokn\titem_id:token\n1\t2\n", "toy.inter"))
    assert "Did you mean 'token'?" in line


def test_atomic_number_that_is_none(tmp_path: Path) -> None:
    line = refusal(csv(tmp_path, "user_id:token\titem_id:token\trating:float\n1\t2\tfive\n", "toy.inter"))
    assert "'five' is not a number (toy.inter, line 2, column 'rating:float')" in line


def test_item_described_twice(tmp_path: Path) -> None:
    pl.DataFrame({"user_id": [1], "item_id": [7]}).write_parquet(tmp_path / "interactions.parquet")
    pl.DataFrame({"item_id": [7, 7], "title": ["a", "b"]}).write_parquet(tmp_path / "items.parquet")
    assert "Item '7' is described twice (items.parquet, row 1, column 'item_id')" in refusal(tmp_path)


def test_description_without_id(tmp_path: Path) -> None:
    pl.DataFrame({"user_id": [1], "item_id": [7]}).write_parquet(tmp_path / "interactions.parquet")
    pl.DataFrame({"colour": ["red"]}).write_parquet(tmp_path / "items.parquet")
    assert "The items table has no id column; its columns are colour" in refusal(tmp_path)


def test_times_may_be_missing_only_where_the_split_says_test() -> None:
    frame = pl.DataFrame(
        {"user": [1, 1, 1], "item": [1, 2, 3], "timestamp": [None, 9, 8], "split": ["test", "train", "train"]}
    )
    assert load(frame).interactions["timestamp"].to_list() == [8, 9, None]
    assert re.search("1 of 3 .* row 1", refusal(frame.with_columns(split=pl.lit("train"))))


def test_filters_that_leave_nothing() -> None:
    frame = pl.DataFrame({"user": [1, 2], "item": [1, 2], "rating": [1, 2]})
    assert "No interaction is rated 9 or more" in refusal(frame, min_rating=9)
    assert "No 3-core is left" in refusal(frame, k_core=3)
    with pytest.raises(ConfigError, match="no ratings to filter by"):
        load(frame.drop("rating"), min_rating=2)
    with pytest.raises(ConfigError, match="k_core=0 is no count"):
        load(frame, k_core=0)


def test_a_file_larger_than_memory_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rectitude.core import memory
    from rectitude.core.errors import RectitudeError

    path = csv(tmp_path, "user,item\n" + "a,x\n" * 1000)
    monkeypatch.setattr(memory, "total_memory", lambda: 1000)
    with pytest.raises(RectitudeError, match=r"Reading log.csv needs about .* this machine has 1000 B"):
        load(path)
