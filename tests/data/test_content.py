from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rectitude
from rectitude.core.errors import DataError
from rectitude.data.content import describe_content, filled, fingerprint, present, read_file, write_content
from rectitude.data.dataset import Dataset
from rectitude.data.readers import write_folder


@pytest.fixture
def folder(tiny: Dataset, tmp_path: Path) -> Path:
    write_folder(tiny, tmp_path / "shop")
    return tmp_path / "shop"


def matrix_of(dataset: Dataset, width: int = 3) -> np.ndarray:
    """Row of item 'i7' is 7, 7, 7."""
    numbers = np.array([int(item[1:]) for item in dataset.items["item_id"]], np.float32)
    return np.repeat(numbers[:, None], width, axis=1)


def test_rows_of_an_npz_find_their_items_by_id(folder: Path, tmp_path: Path) -> None:
    ids = [f"i{i}" for i in reversed(range(0, 40, 2))]
    write_content(tmp_path / "even.npz", [*ids, "unknown"], np.array([[float(i[1:])] for i in ids] + [[9.0]]))
    data = rectitude.load(folder, content=[tmp_path / "even.npz"])
    found = data.content["even"]
    known = present(found)
    assert [item for item, has in zip(data.items["item_id"], known, strict=True) if has] == sorted(
        ids, key=data.items["item_id"].to_list().index
    )
    assert (found[known] == matrix_of(data, 1)[known]).all()
    assert np.isnan(found[~known]).all()
    assert "Content 'even': vectors of 20 of 40 items, width 1; 1 of its ids are of no item here" in data.notes


def test_rows_of_an_npy_belong_to_the_rows_of_the_items_table(folder: Path, tiny: Dataset) -> None:
    (folder / "content").mkdir(exist_ok=True)
    np.save(folder / "content" / "number.npy", matrix_of(tiny))
    whole = rectitude.load(folder)  # what lies beside the tables is read without being asked for
    assert (whole.content["number"] == matrix_of(whole)).all()
    part = rectitude.load(folder, min_rating=5)  # renumbered items keep their own rows
    assert part.n_items <= whole.n_items
    assert (part.content["number"] == matrix_of(part)).all()
    assert rectitude.load(folder, content=[]).content == {}


def test_items_described_without_interactions_do_not_shift_the_rows(folder: Path, tiny: Dataset) -> None:
    more = pl.concat([pl.DataFrame({"item_id": ["nobody"], "title": ["Nobody's"]}), tiny.items])
    more.write_parquet(folder / "items.parquet")
    (folder / "content").mkdir(exist_ok=True)
    np.save(folder / "content" / "number.npy", np.vstack([np.full((1, 3), -1.0), matrix_of(tiny)]))
    data = rectitude.load(folder)
    assert (data.content["number"] == matrix_of(data)).all()


def test_a_dataset_with_content_comes_back_from_its_folder(tiny: Dataset, tmp_path: Path) -> None:
    matrix = matrix_of(tiny)
    matrix[3] = np.nan
    write_folder(replace(tiny, content={"number": matrix}), tmp_path / "shop")
    again = rectitude.load(tmp_path / "shop")
    assert again.hash == tiny.hash
    assert np.array_equal(again.content["number"], matrix, equal_nan=True)
    assert describe_content(again, ["number"])["number"]["items"] == tiny.n_items - 1
    assert fingerprint(again.content["number"]) == fingerprint(matrix)


def test_a_file_may_be_given_another_name_and_a_later_one_wins(folder: Path, tiny: Dataset, tmp_path: Path) -> None:
    for name, factor in (("one", 1), ("two", 2)):
        np.save(tmp_path / f"{name}.npy", matrix_of(tiny) * factor)
    data = rectitude.load(folder, content=[f"look={tmp_path / 'one.npy'}", f"look={tmp_path / 'two.npy'}"])
    assert list(data.content) == ["look"]
    assert (data.content["look"] == 2 * matrix_of(data)).all()
    assert data.source["options"]["content"] == [f"look={tmp_path / 'one.npy'}", f"look={tmp_path / 'two.npy'}"]


@given(st.lists(st.booleans(), min_size=1, max_size=20))
def test_gaps_are_filled_with_the_mean_and_flagged(known: list[bool]) -> None:
    matrix = np.random.default_rng(0).normal(size=(len(known), 4)).astype(np.float32)
    matrix[~np.array(known)] = np.nan
    whole, missing = filled(matrix)
    assert (missing == ~np.array(known)).all()
    assert np.isfinite(whole).all()
    assert np.array_equal(whole[~missing], matrix[~missing])
    if any(known):
        np.testing.assert_allclose(whole.mean(0), matrix[~missing].mean(0), atol=1e-5)


BAD = {
    "rows that do not match": (lambda path: np.save(path, np.zeros((3, 2))), "npy", "3 rows for 40 rows of the items"),
    "ids of other items": (lambda p: write_content(p, ["x"], np.zeros((1, 2))), "npz", "has none of the 40 items.*'x'"),
    "missing for all": (
        lambda p: write_content(p, [f"i{i}" for i in range(40)], np.full((40, 2), np.nan)),
        "npz",
        "missing for all items",
    ),
    "pickled objects": (lambda p: np.save(p, np.array([[{}]], object), allow_pickle=True), "npy", "cannot be read"),
    "no archive": (lambda p: p.write_bytes(b"PK\x03\x04 and no more"), "npz", "cannot be read"),
    "a row of numbers": (lambda p: np.save(p, np.zeros(40)), "npy", "not a matrix of numbers"),
    "text": (lambda p: np.save(p, np.full((40, 2), "a")), "npy", "not a matrix of numbers"),
    "infinities": (lambda p: np.save(p, np.full((40, 2), np.inf)), "npy", "infinite"),
    "other arrays": (lambda p: np.savez(p, a=np.zeros(2), b=np.zeros(2)), "npz", "holds a, b, not ids and vectors"),
    "an id twice": (lambda p: write_content(p, ["i1", "i1"], np.zeros((2, 2))), "npz", "has item 'i1' twice"),
    "too few ids": (lambda p: write_content(p, ["i1"], np.zeros((2, 2))), "npz", "1 ids for 2 rows"),
}


@pytest.mark.parametrize("case", BAD)
def test_content_that_cannot_be_used_is_refused(case: str, folder: Path, tmp_path: Path) -> None:
    write, suffix, said = BAD[case]
    path = tmp_path / f"bad.{suffix}"
    write(path)
    with pytest.raises(DataError, match=said):
        rectitude.load(folder, content=[path])


def test_places_without_content_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such content"):
        rectitude.load(folder, content=[tmp_path / "nothing"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no \.npz or \.npy"):
        rectitude.load(folder, content=[tmp_path / "empty"])


def test_what_made_the_vectors_is_read_with_them(tmp_path: Path) -> None:
    write_content(tmp_path / "a.npz", ["i1"], np.zeros((1, 2)), {"encoder": "mine"})
    assert read_file("a", tmp_path / "a.npz").about == {"encoder": "mine"}
