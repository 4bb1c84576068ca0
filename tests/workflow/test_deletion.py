from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from rectitude.core.errors import QueryError, RunError
from rectitude.data.dataset import Dataset
from rectitude.data.readers import load, write_folder
from rectitude.models.registry import model_class, model_names
from rectitude.runs.folder import HISTORY, IDS
from rectitude.training.run import Run
from rectitude.workflow.deletion import EMPTY, delete_people, folder_hash
from rectitude.workflow.fitting import fit
from rectitude.workflow.judging import evaluate

GONE = ["u3", "u11"]
SMALL = {"n_factors": 8, "epochs": 2}


@pytest.fixture(scope="module")
def folder(tiny: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "tiny"
    write_folder(tiny, path)
    return path


def made(folder: Path, model: str, out: Path, **settings: Any) -> Run:
    return fit(load(folder), model, settings=settings, out=out, seed=3, progress=False)


def without(run: Run, dataset: Dataset) -> Dataset:
    """The data as they would be had the people never been there, but for their empty places."""
    places = [run.user_ids.index(person) for person in GONE]
    return dataset.without_people({place: f"{EMPTY}{place}" for place in places})


@pytest.mark.parametrize("model", ["popularity", "ease", "als"])
def test_a_model_solved_again_is_the_one_made_without_them(folder: Path, tmp_path: Path, model: str) -> None:
    run = made(folder, model, tmp_path / "run")
    done, told = delete_people(run, GONE, out=tmp_path / "new")
    assert told["remedy"] == "solved again"
    assert told["left"][0].startswith("Nothing")
    fresh = fit(without(run, load(folder)), model, out=tmp_path / "fresh", seed=3, progress=False)
    for name, tensor in fresh.model.state_dict().items():
        assert torch.equal(tensor, done.model.state_dict()[name]), name
    assert not torch.equal(run.model.popularity, done.model.popularity)


def test_trained_again_is_the_one_trained_without_them(folder: Path, tmp_path: Path) -> None:
    run = made(folder, "bpr", tmp_path / "run", **SMALL)
    done, told = delete_people(run, GONE, out=tmp_path / "new", retrain=True)
    assert told["remedy"] == "trained again"
    fresh = fit(without(run, load(folder)), "bpr", settings=SMALL, out=tmp_path / "fresh", seed=3, progress=False)
    for name, tensor in fresh.model.state_dict().items():
        assert torch.equal(tensor, done.model.state_dict()[name]), name
    assert not (tmp_path / "new.again").exists()


def test_removed_vectors_are_gone_and_nobody_elses_answer_changes(folder: Path, tmp_path: Path) -> None:
    run = made(folder, "bpr", tmp_path / "run", **SMALL)
    evaluate(run, "test")
    before = folder_hash(run.path)
    done, told = delete_people(run, GONE, out=tmp_path / "new", marks=["digest"])
    assert told["remedy"] == "vectors removed"
    assert [one["stored_vectors"] for one in told["before"]] == [1, 1]
    assert told["after"] == [{"id": 0, "history": 0, "stored_vectors": 0, "lists": 0}] * 2
    assert "learnt with their" in told["left"][0]
    for user in ("u0", "u4", "u59"):
        assert [i.item_id for i in run.recommend(user).items] == [i.item_id for i in done.recommend(user).items]
    for person in GONE:
        with pytest.raises(QueryError, match="Unknown user"):
            done.recommend(person)
    assert folder_hash(run.path) == before == told["files"]["before"]
    assert folder_hash(done.path) == told["files"]["after"]
    assert set(json.loads((done.path / "metrics.json").read_text())) == {"valid", "test"}
    lineage = json.loads((done.path / "lineage.json").read_text())
    assert (lineage["parent"], lineage["without"]) == ("run", ["digest"])


def test_a_model_that_stores_no_vectors_of_people_says_what_was_removed(folder: Path, tmp_path: Path) -> None:
    small = {"n_factors": 8, "epochs": 1, "max_length": 20, "n_negatives": 8, "n_blocks": 1, "n_heads": 1}
    run = made(folder, "sasrec", tmp_path / "run", **small)
    _, told = delete_people(run, GONE, out=tmp_path / "new")
    assert told["remedy"] == "history removed"
    assert told["left"][0].endswith("cannot be taken out without training again.")
    assert told["after"] == [{"id": 0, "history": 0, "stored_vectors": 0, "lists": 0}] * 2


def test_no_file_of_the_new_run_names_them(tiny: Dataset, tmp_path: Path) -> None:
    users = tiny.users.with_columns(("person-" + pl.col("user_id")).alias("user_id"))
    write_folder(Dataset("named", tiny.interactions, users, tiny.items), tmp_path / "named")
    run = made(tmp_path / "named", "ease", tmp_path / "run")
    gone = "person-u0"  # stands in the report's examples
    assert any(gone.encode() in path.read_bytes() for path in run.path.glob("report.html"))
    done, _ = delete_people(run, [gone], out=tmp_path / "new")
    ids = pl.read_parquet(done.path / IDS)
    assert gone not in ids["id"].to_list()
    assert f"{EMPTY}0" in ids["id"].to_list()
    assert 0 not in pl.read_parquet(done.path / HISTORY)["user"].to_list()
    for path in done.path.iterdir():
        assert gone.encode() not in path.read_bytes(), path.name


def test_a_second_deletion_keeps_the_first(folder: Path, tmp_path: Path) -> None:
    run = made(folder, "ease", tmp_path / "run")
    both, _ = delete_people(run, GONE, out=tmp_path / "both")
    first, _ = delete_people(run, GONE[:1], out=tmp_path / "first")
    second, told = delete_people(first, GONE[1:], out=tmp_path / "second")
    assert torch.equal(both.model.weights, second.model.weights)
    assert told["people"] == 1
    dataset = second.dataset()
    index = run.user_ids.index(GONE[0])
    assert index not in dataset.interactions["user"].to_list()
    assert dataset.users["gender"][index] is None
    assert dataset.n_users == 60
    evaluate(second, "test")  # what is computed of the run later leaves them out too
    assert index not in pl.read_parquet(second.path / "evaluation-test.parquet")["user"].to_list()


def test_without_the_data_the_runs_own_history_must_do(folder: Path, tmp_path: Path) -> None:
    dataset = load(folder)
    frame = Dataset("frame", dataset.interactions, dataset.users, dataset.items)  # has no place to be read from
    solved = fit(frame, "ease", out=tmp_path / "a", progress=False)
    done, told = delete_people(solved, GONE, out=tmp_path / "b")
    assert "validation events too" in told["left"][0]
    assert told["after"][0]["history"] == 0
    assert "cannot be read again" in (done.path / "README.md").read_text()
    learnt = fit(frame, "bpr", settings=SMALL, out=tmp_path / "c", progress=False)
    _, told = delete_people(learnt, GONE, out=tmp_path / "d", retrain=True)
    assert (told["remedy"], len(told["left"])) == ("vectors removed", 2)
    assert "cannot be read again" in told["why"]


def test_what_cannot_be_done_leaves_everything_alone(folder: Path, tmp_path: Path) -> None:
    run = made(folder, "popularity", tmp_path / "run")
    for people, why in (([], "Nobody"), (["stranger"], "Unknown user")):
        with pytest.raises(QueryError, match=why):
            delete_people(run, people, out=tmp_path / "new")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter").write_text("Dear")
    with pytest.raises(RunError, match="other than a run"):
        delete_people(run, GONE, out=tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "run"]


def test_names_of_emptied_places_are_nobodys(tiny: Dataset, tmp_path: Path) -> None:
    names = tiny.users["user_id"].to_list()
    names[7] = f"{EMPTY}3"
    users = tiny.users.with_columns(pl.Series("user_id", names))
    write_folder(Dataset("odd", tiny.interactions, users, tiny.items), tmp_path / "odd")
    run = made(tmp_path / "odd", "popularity", tmp_path / "run")
    place = run.user_ids.index("u3")
    run_names = run.user_ids.external.to_list()
    done, _ = delete_people(run, ["u3"], out=tmp_path / "new")
    assert len(set(done.user_ids.external.to_list())) == 60
    assert [name for at, name in enumerate(done.user_ids.external.to_list()) if at != place] == [
        name for at, name in enumerate(run_names) if at != place
    ]


@pytest.mark.parametrize("name", model_names())
def test_every_table_of_people_is_declared(name: str, tiny: Dataset) -> None:
    """A model that stores something per person and does not say so would keep it after a deletion."""
    chosen = model_class(name)
    try:
        model = chosen(chosen.Config(), 1009, tiny.n_items)  # a number of people nothing else has
    except (TypeError, ValueError) as error:
        pytest.skip(f"{name} is not made without more: {error}")
    declared = {table.data_ptr() for table in model.user_tables().values()}
    whole = {
        key
        for key, tensor in model.state_dict().items()
        if 1009 in tensor.shape or (tensor.dim() and tensor.shape[0] == 1009 + tiny.n_items)
    }
    known = {key for key in whole if model.state_dict()[key].data_ptr() in declared}
    known |= {key for key in whole if key.rpartition(".")[2] == "trained_users"}
    assert whole == known, f"{name} stores {whole - known} per person: name it in user_tables()"
