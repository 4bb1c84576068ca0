from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rectitude.core.errors import RectitudeError
from rectitude.data.dataset import Dataset
from rectitude.data.readers import load, read_table, write_folder

CSV = "user_id,item_id,rating,timestamp\nb,x,4,300\na,y,5,200\na,x,3,100\nb,z,1,250\n"


def written(folder: Path, text: str, name: str = "ratings.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def events(dataset: Dataset) -> list[tuple[str, str]]:
    """(user, item) by external id, in the dataset's order."""
    users = dataset.user_ids.take(dataset.interactions["user"].to_numpy())
    items = dataset.item_ids.take(dataset.interactions["item"].to_numpy())
    return list(zip(users, items, strict=True))


def test_csv(tmp_path: Path) -> None:
    dataset = load(written(tmp_path, CSV))
    assert dataset.name == "ratings"
    assert dataset.interactions.schema == {
        "user": pl.Int32,
        "item": pl.Int32,
        "timestamp": pl.Int64,
        "rating": pl.Float32,
    }
    assert events(dataset) == [("a", "x"), ("a", "y"), ("b", "z"), ("b", "x")]
    assert dataset.interactions["rating"].to_list() == [3, 5, 1, 4]
    assert dataset.users["user_id"].to_list() == ["a", "b"]
    assert dataset.items["item_id"].to_list() == ["x", "y", "z"]
    assert dataset.source["time"] == "timestamp"
    assert not any("guessed" in note for note in dataset.notes)


@pytest.mark.parametrize(
    ("separator", "spoken"), [("\t", "tab"), (";", "semicolon"), ("|", "'|'"), (" ", "space"), ("::", "'::'")]
)
def test_the_separator_is_found_and_said(tmp_path: Path, separator: str, spoken: str) -> None:
    dataset = load(written(tmp_path, CSV.replace(",", separator), "ratings.txt"))
    assert dataset.hash == load(written(tmp_path, CSV)).hash
    assert any(note == f"Fields are separated by {spoken}" for note in dataset.notes)


def test_every_form_gives_the_same_data(tmp_path: Path) -> None:
    expected = load(written(tmp_path, CSV))
    (tmp_path / "ratings.csv.gz").write_bytes(gzip.compress(CSV.encode()))
    frame = pl.read_csv(CSV.encode())
    frame.write_parquet(tmp_path / "ratings.parquet")
    header = "user_id:token,item_id:token,rating:float,timestamp:float"
    atomic = CSV.replace("user_id,item_id,rating,timestamp", header).replace(",", "\t")
    written(tmp_path, atomic, "ratings.inter")
    written(tmp_path, "\ufeff" + CSV, "bom.csv")
    (tmp_path / "utf16.csv").write_text(CSV, encoding="utf-16")
    same = [
        load(tmp_path / "ratings.csv.gz"),
        load(tmp_path / "ratings.parquet"),
        load(tmp_path / "ratings.inter"),
        load(tmp_path / "bom.csv"),
        load(tmp_path / "utf16.csv", encoding="utf-16"),
        load(frame),
        load(frame.lazy()),
        load(frame.to_pandas()),
    ]
    assert {dataset.hash for dataset in same} == {expected.hash}


@given(st.permutations(range(8)))
def test_the_order_of_rows_does_not_matter_where_times_differ(order: list[int]) -> None:
    frame = pl.DataFrame({"user": list("aabbccdd"), "item": list("xyxzyzxw"), "timestamp": range(8)})
    assert load(frame[order]).hash == load(frame).hash


def test_ties_in_time_keep_the_order_of_the_source() -> None:
    frame = pl.DataFrame({"user": ["a"] * 4, "item": list("dbca"), "timestamp": [5, 5, 1, 5]})
    assert [item for _, item in events(load(frame))] == list("cdba")


def test_guessed_columns_are_said(tmp_path: Path) -> None:
    said: list[str] = []
    path = written(tmp_path, CSV.replace("user_id", "customerId").replace("item_id", "productID"))
    dataset = load(path, announce=said.append)
    assert events(dataset)[0] == ("a", "x")
    assert "Columns guessed: user = 'customerId', item = 'productID'" in said


def test_named_columns_win(tmp_path: Path) -> None:
    text = "user_id,who,what,when,rating\n1,a,x,9,2\n1,b,y,8,3\n"
    dataset = load(
        written(tmp_path, text), columns={"user": "who", "item": "what", "timestamp": "when", "rating": None}
    )
    assert events(dataset) == [("a", "x"), ("b", "y")]
    assert set(dataset.interactions.columns) == {"user", "item", "timestamp"}
    assert dataset.source["options"]["columns"]["user"] == "who"


def test_a_file_without_header(tmp_path: Path) -> None:
    path = written(tmp_path, "196\t242\t3\t881250949\n186\t302\t4\t891717742\n", "u.data")
    dataset = load(path)
    assert events(dataset) == [("186", "302"), ("196", "242")]
    assert dataset.interactions["rating"].to_list() == [4, 3]
    assert dataset.interactions["timestamp"].to_list() == [891717742, 881250949]
    assert any("no header line" in note for note in dataset.notes)
    swapped = load(path, columns={"user": "column_2", "item": "column_1"})
    assert events(swapped)[0] == ("242", "196")


def test_a_header_may_hold_numbers(tmp_path: Path) -> None:
    dataset = load(written(tmp_path, "user,item,2020\na,x,p\nb,y,q\n"))
    assert events(dataset) == [("a", "x"), ("b", "y")]


def test_a_file_of_text_without_header_can_be_read(tmp_path: Path) -> None:
    path = written(tmp_path, "anna,tea\nbert,milk\n")
    dataset = load(path, columns={"user": "column_1", "item": "column_2"})
    assert events(dataset) == [("anna", "tea"), ("bert", "milk")]


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (["10", "9", "-3"], ["-3", "9", "10"]),
        (["007", "7", "10"], ["007", "7", "10"]),
        (["10", "9", "b"], ["10", "9", "b"]),
        (["3.0", "20.0", "100.0"], ["3", "20", "100"]),
        ([3.0, 20.0, 1e9], ["3", "20", "1000000000"]),
        ([1_000_000_000, 2**62, -5], ["-5", "1000000000", str(2**62)]),
        (["99999999999999999999999", "5", "é ü"], ["5", "99999999999999999999999", "é ü"]),
    ],
)
def test_ids_are_text_as_written(ids: list[Any], expected: list[str]) -> None:
    dataset = load(pl.DataFrame({"user": ids, "item": ["x", "y", "z"]}))
    assert dataset.users["user_id"].to_list() == expected
    assert [dataset.user_ids.find(identifier) for identifier in expected] == [0, 1, 2]


def test_huge_ids_take_no_more_memory(tmp_path: Path) -> None:
    rows = "".join(f"{10**9 * (n + 1)},{10**17 + n}\n" for n in range(50))
    dataset = load(written(tmp_path, "user,item\n" + rows))
    assert (dataset.n_users, dataset.n_items) == (50, 50)
    assert dataset.interactions["user"].max() == 49
    assert dataset.user_ids.index(10**9) == 0


def test_pandas_floats_and_headers_of_numbers() -> None:
    dataset = load(pd.DataFrame({0: [1.0, 2.0], 1: [5, 6]}).rename(columns={0: "user", 1: "item"}))
    assert dataset.users["user_id"].to_list() == ["1", "2"]
    with pytest.raises(RectitudeError, match="No column can be taken for the user"):
        load(pd.DataFrame({0: [1.0, 2.0], 1: [5, 6]}))


def test_blanks_after_the_separator(tmp_path: Path) -> None:
    dataset = load(written(tmp_path, CSV.replace(",", ", ")))
    assert dataset.hash == load(written(tmp_path, CSV)).hash
    assert "Blanks around the ids of 'item_id' are left out" in dataset.notes


def test_blank_lines_are_passed_over(tmp_path: Path) -> None:
    assert load(written(tmp_path, CSV.replace("\na,y", "\n\na,y") + "\n\n")).hash == load(written(tmp_path, CSV)).hash


def test_quotes_and_line_ends_of_other_systems(tmp_path: Path) -> None:
    text = 'user,item,title\r\na,x,"One, ""two"""\r\nb,y,"A\nB"\r\n'
    (tmp_path / "log.csv").write_bytes(text.encode())
    assert load(tmp_path / "log.csv").titles() == ['One, "two"', "A\nB"]


def test_a_lone_quote_in_a_tab_file_is_a_character(tmp_path: Path) -> None:
    path = written(tmp_path, 'user\titem\ttitle\na\tx\t"Weird\nb\ty\tAl" and 5"\n', "log.tsv")
    assert load(path).titles() == ['"Weird', 'Al" and 5"']


def test_form_is_told_by_content_where_the_name_deceives(tmp_path: Path) -> None:
    expected = load(written(tmp_path, CSV)).hash
    pl.read_csv(CSV.encode()).write_parquet(tmp_path / "data.csv")
    (tmp_path / "packed.csv").write_bytes(gzip.compress(CSV.encode()))
    assert load(tmp_path / "data.csv").hash == load(tmp_path / "packed.csv").hash == expected


def test_very_long_lines(tmp_path: Path) -> None:
    lines = [f"u{user} " + " ".join(str(n) for n in range(user, 60_000)) for user in range(2)]
    assert load(written(tmp_path, "\n".join(lines), "log.txt")).n_interactions == 119_999
    text = "user,item,review\na,x," + "word " * 60_000 + "\nb,y,short\n"
    assert load(written(tmp_path, text)).n_interactions == 2


def test_sequence_file(tmp_path: Path) -> None:
    path = written(tmp_path, "u1 7 3 7\nu0 3\nu2 9 7\nu3\n", "beauty.txt")
    dataset = load(path)
    assert events(dataset) == [("u0", "3"), ("u1", "7"), ("u1", "3"), ("u1", "7"), ("u2", "9"), ("u2", "7")]
    assert dataset.source["time"] == "position"
    assert dataset.interactions["timestamp"].to_list() == [0, 0, 1, 2, 0, 1]
    assert any("one sequence per line" in note for note in dataset.notes)
    assert any("1 users without items" in note for note in dataset.notes)


def test_sequences_of_equal_length_need_a_word(tmp_path: Path) -> None:
    path = written(tmp_path, "1 7 3 4\n2 3 7 9\n")
    assert load(path, format="sequences").n_interactions == 6


def test_atomic_folder(tmp_path: Path) -> None:
    folder = tmp_path / "toy"
    folder.mkdir()
    written(folder, "user_id:token\titem_id:token\ttimestamp:float\n2\t10\t5.0\n1\t11\t6.5\n1\t10\t6.25\n", "toy.inter")
    written(folder, "user_id:token\tage:float\n2\t40\n1\t30\n3\t20\n", "toy.user")
    written(
        folder,
        'item_id:token\tmovie_title:token_seq\tclass:token_seq\tv:float_seq\n10\tToy "2"\tA B\t1 2.5\n',
        "toy.item",
    )
    dataset = load(folder)
    assert dataset.name == "toy"
    assert events(dataset) == [("2", "10"), ("1", "10"), ("1", "11")]
    assert dataset.users.to_dict(as_series=False) == {"user_id": ["2", "1"], "age": [40.0, 30.0]}
    assert dataset.items["class"].to_list() == [["A", "B"], None]
    assert dataset.items["v"].to_list() == [[1.0, 2.5], None]
    assert dataset.titles() == ['Toy "2"', None]
    assert any(note.startswith("1 described users") for note in dataset.notes)
    assert any(note.startswith("1 items with interactions are not described") for note in dataset.notes)
    assert load(folder / "toy.inter").hash == dataset.hash


def test_folder_of_parquet(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    pl.DataFrame(
        {"user_id": [1, 1, 2], "item_id": [5, 6, 5], "position": [1, 0, 0], "split": ["test", "train", "train"]}
    ).write_parquet(folder / "interactions.parquet")
    pl.DataFrame({"user_id": [2, 1, 9]}).write_parquet(folder / "users.parquet")
    pl.DataFrame({"item_id": [6, 5], "tags": [["a"], []]}).write_parquet(folder / "items.parquet")
    dataset = load(folder)
    assert events(dataset) == [("2", "5"), ("1", "6"), ("1", "5")]
    assert dataset.source["time"] == "position"
    assert dataset.interactions["split"].to_list() == ["train", "train", "test"]
    assert dataset.items["tags"].to_list() == [["a"], []]


def test_columns_that_describe_items_or_users_become_attributes(tmp_path: Path) -> None:
    text = "user,item,title,country,device,timestamp\na,x,Ex,FR,phone,1\na,y,Why,FR,desk,2\nb,x,Ex,DE,desk,3\n"
    dataset = load(written(tmp_path, text))
    assert dataset.titles() == ["Ex", "Why"]
    assert dataset.users["country"].to_list() == ["FR", "DE"]
    assert "Columns not used: device" in dataset.notes


def test_duplicates_dropped_or_kept(tmp_path: Path) -> None:
    path = written(tmp_path, CSV + "a,y,2,200\na,y,5,201\n")
    dropped, kept = load(path, duplicates="drop"), load(path, duplicates="keep")
    assert (dropped.n_interactions, kept.n_interactions) == (5, 6)
    assert dropped.interactions.filter(pl.col("timestamp") == 200)["rating"].to_list() == [5], "the first row stays"
    assert any("1 rows that repeat" in note for note in dropped.notes)


def test_another_behavior_at_the_same_time_is_no_duplicate() -> None:
    frame = pl.DataFrame({"user": ["a", "a"], "item": ["x", "x"], "timestamp": [1, 1], "behavior": ["view", "buy"]})
    assert load(frame).n_interactions == 2


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.integers(0, 2)), min_size=1, max_size=25))
def test_drop_is_the_first_of_each(rows: list[tuple[str, str, int]]) -> None:
    frame = pl.DataFrame(rows, schema=["user", "item", "timestamp"], orient="row")
    dataset = load(frame, duplicates="drop")
    assert sorted(zip(*zip(*events(dataset), strict=True), dataset.interactions["timestamp"], strict=True)) == sorted(
        set(rows)
    )


def test_filters_are_options(tmp_path: Path) -> None:
    dataset = load(written(tmp_path, CSV), min_rating=3)
    assert dataset.interactions["rating"].min() == 3
    assert dataset.n_items == 2
    assert dataset.source["options"] == {"min_rating": 3}


def test_loading_again_from_what_the_source_says(tmp_path: Path) -> None:
    path = written(tmp_path, CSV.replace("user_id", "who") + "a,y,2,200\n")
    first = load(str(path), columns={"user": "who"}, duplicates="drop", min_rating=2)
    assert load(first.source["data"], **first.source["options"]).hash == first.hash


@pytest.mark.parametrize("time", ["timestamp", "position", "order"])
def test_written_folders_come_back(tmp_path: Path, time: str) -> None:
    frame = pl.read_csv(CSV.encode()).with_columns(split=pl.lit("train"))
    if time == "position":
        frame = frame.rename({"timestamp": "position"})
    if time == "order":
        frame = frame.drop("timestamp")
    dataset = load(frame)
    write_folder(dataset, tmp_path / "out")
    again = load(tmp_path / "out")
    assert again.hash == dataset.hash
    assert again.source["time"] == time
    write_folder(again, tmp_path / "out")
    assert load(tmp_path / "out").hash == dataset.hash


def test_a_folder_with_other_things_is_not_overwritten(tmp_path: Path, tiny: Dataset) -> None:
    written(tmp_path, "precious", "thesis.txt")
    with pytest.raises(RectitudeError, match="holds something else"):
        write_folder(tiny, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_read_table_names_its_data() -> None:
    assert read_table(pl.DataFrame({"user": [1], "item": [2]}), name="mine").name == "mine"


def test_a_million_rows_are_numbered_as_few(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    user, item = rng.integers(0, 500, 20_000), rng.integers(0, 900, 20_000)
    frame = pl.DataFrame({"user": user, "item": item, "timestamp": np.arange(20_000)})
    dataset = load(frame)
    order = np.lexsort((np.arange(20_000), user))
    assert np.array_equal(dataset.interactions["user"].to_numpy(), np.unique(user, return_inverse=True)[1][order])
    assert np.array_equal(dataset.interactions["item"].to_numpy(), np.unique(item, return_inverse=True)[1][order])
