"""``rectitude encode`` and what reads its vectors, as somebody would type them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from rectitude.cli.main import app
from rectitude.data.dataset import Dataset
from rectitude.data.readers import write_folder


@pytest.fixture
def place(tiny: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of data without vectors, with genres and a column of pictures that are not there."""
    items = tiny.items.with_columns(
        pl.Series("genres", [[f"g{i // 5}", "all"] for i in range(tiny.n_items)]),
        pl.Series("picture", [f"{i}.jpg" for i in range(tiny.n_items)]),
    )
    write_folder(replace(tiny, items=items, content={}), tmp_path / "shop")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(words))
    return done.exit_code, done.stdout, done.stderr


def test_from_columns_to_a_list_with_its_reasons(place: Path) -> None:
    code, out, _ = run("encode", "shop", "--attributes", "genres", "--json")
    assert code == 0
    told = json.loads(out)
    assert told["folder"] == "content/tiny"
    assert told["content"][0] | {"file": ""} == {
        "name": "attributes", "file": "", "items": 40, "of": 40, "width": 8, "from_cache": 0, "left_out": {},
        "examples": [],
    }  # fmt: skip
    reads = ("--content", "content/tiny", "--set", 'modalities=["attributes"]')
    code, out, error = run("fit", "shop", "-m", "vlm4rec", *reads, "--out", "runs/v", "--json")
    assert code == 0, error
    read = json.loads(out)["data"]["content"]["attributes"]
    assert read["items"] == 40
    assert read["file"] == "content/tiny/attributes.npz"
    assert read["made_by"]["fields"] == ["genres"]
    (place / "content" / "tiny" / "attributes.npz").unlink()  # the run carries what it read
    assert run("evaluate", "runs/v", "--json")[0] == 0
    code, out, _ = run("recommend", "runs/v", "--history", "i1,i2", "-k", "3", "--explain", "--json")
    assert code == 0
    answer = json.loads(out)
    assert set(answer["explanation"]["because"].values()) <= {"i1", "i2"}
    assert len(answer["items"]) == 3
    code, out, _ = run("recommend", "runs/v", "--history", "i1,i2", "-k", "3", "--explain")
    assert "because of" in out


def test_a_model_that_cannot_tell_why_says_so(place: Path) -> None:
    assert run("fit", "shop", "-m", "ease", "--out", "runs/e")[0] == 0
    code, out, error = run("recommend", "runs/e", "--user", "u1", "--explain", "--json")
    assert code == 0
    assert "explanation" not in json.loads(out)
    assert "EASE cannot tell why" in error


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "Nothing is to be encoded"),
        (("--attributes", "genre"), "The items have no column 'genre'. Did you mean 'genres'?"),
        (("--image", "picture"), "None of the 40 pictures is there"),
        (("--image", "picture", "--image-folder", "nowhere"), "There is no such folder of pictures"),
        (("--caption", "http://x/v1"), "Captions need pictures"),
        (("--caption", "http://x/v1", "--image", "picture"), "Captions need a model"),
        (("--caption", "template"), "A template needs metadata"),
        (("--image", "picture", "--image-model", "resnet"), "'resnet' is no image encoder"),
    ],
)
def test_what_cannot_be_encoded_is_refused_in_one_line(words: tuple[str, ...], said: str, place: Path) -> None:
    code, out, error = run("encode", "shop", *words)
    assert code != 0
    assert out == ""
    assert said in error.splitlines()[-1]
    assert not (place / "content").exists()


def test_vectors_that_are_not_there_are_refused(place: Path) -> None:
    code, _, error = run("fit", "shop", "-m", "prism", "--out", "runs/p")
    assert code == 1
    assert "PRISM reads item content 'text', and 'tiny' has none" in error
    code, _, error = run("fit", "shop", "-m", "prism", "--content", "nothing", "--out", "runs/p")
    assert code == 1
    assert "There is no such content (nothing)" in error
    assert not (place / "runs").exists()
