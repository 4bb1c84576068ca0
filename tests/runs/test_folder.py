from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rectitude.core.errors import RectitudeError, RunError
from rectitude.runs.folder import CONFIG, FORMAT, IDS, METRICS, RunFolder, versions

CONFIGURATION = {"kind": "recommender", "model": "popularity"}


def make(path: Path, text: str = "one", **options: Any) -> RunFolder:
    return RunFolder.create(path, CONFIGURATION, lambda folder: folder.write_text("note.txt", text), **options)


def everything(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_a_run_is_what_was_written_and_how_it_came_to_be(tmp_path: Path) -> None:
    folder = make(tmp_path / "deep" / "run")
    again = RunFolder(folder.path)
    assert (folder.path / "note.txt").read_text() == "one"
    assert again.config == folder.config
    assert again.config["format"] == FORMAT
    assert again.config["kind"] == "recommender"
    assert again.config["created"].endswith("+00:00")
    assert again.config["versions"] == versions()
    assert {"python", "system", "torch", "numpy", "polars"} <= set(versions())


def test_the_folder_is_not_in_its_place_while_it_is_written(tmp_path: Path) -> None:
    target, seen = tmp_path / "run", []

    def write(folder: RunFolder) -> None:
        seen.append((folder.path == target, target.exists(), folder.config["model"]))

    RunFolder.create(target, CONFIGURATION, write)
    assert seen == [(False, False, "popularity")]


def test_an_exception_while_writing_leaves_the_old_run_or_none(tmp_path: Path) -> None:
    def fail(folder: RunFolder) -> None:
        folder.write_text("note.txt", "half")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        RunFolder.create(tmp_path / "fresh", CONFIGURATION, fail)
    assert list(tmp_path.iterdir()) == []
    path = make(tmp_path / "run").path
    before = everything(path)
    with pytest.raises(RuntimeError, match="power cut"):
        RunFolder.create(path, CONFIGURATION, fail, overwrite=True)
    assert everything(path) == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_run_is_replaced_only_when_asked_and_then_whole(tmp_path: Path) -> None:
    path = make(tmp_path / "run").path
    (path / "stale.txt").write_text("of the old run")
    before = everything(path)
    with pytest.raises(RunError, match=r"A run is there already.*--overwrite"):
        make(path, "two")
    assert everything(path) == before
    make(path, "two", overwrite=True)
    assert (path / "note.txt").read_text() == "two"
    assert not (path / "stale.txt").exists()


def test_what_is_no_run_is_never_replaced(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("precious")
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "aunt.jpg").write_bytes(b"precious")
    for path in (file, photos):
        with pytest.raises(RunError, match="Something other than a run is there"):
            make(path, overwrite=True)
    assert file.read_text() == "precious"
    assert (photos / "aunt.jpg").exists()
    empty = tmp_path / "empty"
    empty.mkdir()
    assert make(empty).path == empty


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (CONFIG, None, "The folder has no config.json, so it is no run"),
        (CONFIG, b'{"format": 1, "ki', "config.json is damaged"),
        (CONFIG, b"\xff\xfe\x00", "config.json is damaged"),
        (CONFIG, b"[1, 2]", "of format None, and this version reads format 1"),
        (CONFIG, b'{"format": 99}', "of format 99, and this version reads format 1"),
        (CONFIG, b"{}", "of format None"),
    ],
)
def test_a_damaged_or_foreign_run_is_refused(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    path = make(tmp_path / "run").path
    (path / name).unlink()
    if content is not None:
        (path / name).write_bytes(content)
    with pytest.raises(RunError, match=message) as caught:
        RunFolder(path)
    assert str(path) in str(caught.value.where)
    assert caught.value.fix


def test_a_run_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"There is no such run.*rectitude fit"):
        RunFolder(tmp_path / "nowhere")


def test_reading_and_writing_its_files(tmp_path: Path) -> None:
    folder = make(tmp_path / "run")
    assert folder.read_json(METRICS, default={}) == {}
    folder.write_json(METRICS, {"valid": {"ndcg@10": 0.5}})
    assert folder.read_json(METRICS)["valid"] == {"ndcg@10": 0.5}
    assert json.loads(folder.file(METRICS).read_text())["valid"]
    with pytest.raises(RunError, match=r"The run has no model\.safetensors"):
        folder.file("model.safetensors")
    with pytest.raises(RunError, match=r"The run has no ids\.parquet"):
        folder.read_table(IDS)
    pl.DataFrame({"id": ["a", "b"]}).write_parquet(folder.path / IDS)
    assert folder.read_table(IDS)["id"].to_list() == ["a", "b"]
    (folder.path / IDS).write_bytes((folder.path / IDS).read_bytes()[:50])
    with pytest.raises(RunError, match=r"ids\.parquet is damaged"):
        folder.read_table(IDS)


def test_numbers_that_json_does_not_know_are_refused_and_nothing_is_changed(tmp_path: Path) -> None:
    folder = make(tmp_path / "run")
    folder.write_json(METRICS, {"a": 1})
    with pytest.raises((ValueError, RectitudeError)):
        folder.write_json(METRICS, {"a": float("nan")})
    assert folder.read_json(METRICS) == {"a": 1}


def test_a_replacement_cut_off_between_its_renames_is_undone(tmp_path: Path) -> None:
    path = make(tmp_path / "run").path
    path.rename(tmp_path / ".run.old")
    assert RunFolder(path).config["model"] == "popularity"
