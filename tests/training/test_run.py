from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from rectitude.core.errors import ConfigError, QueryError, RunError
from rectitude.data.dataset import Dataset
from rectitude.training.run import Run
from rectitude.workflow import fit


@pytest.fixture(scope="module")
def made(tiny: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = {"n_factors": 8, "n_blocks": 1, "max_length": 10, "epochs": 2, "n_negatives": 10}
    out = tmp_path_factory.mktemp("runs") / "small"
    return fit(tiny, "sasrec", settings=settings, out=out, progress=False).path


@pytest.fixture(scope="module")
def run(made: Path) -> Run:
    return Run.load(made)


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copy"))


def ids(answer: object) -> list[str]:
    return [item.item_id for item in answer.items]  # type: ignore[attr-defined]


# ---- questions -------------------------------------------------------------------------------------------------------


def test_a_known_person_is_answered_with_what_they_have_not_seen(run: Run, tiny: Dataset) -> None:
    answer = run.recommend("u3", k=5)
    assert answer.query == {"user": "u3", "k": 5, "exclude_seen": True}
    assert answer.answered_by == "SASRec"
    assert answer.notes == []
    assert [item.rank for item in answer.items] == [1, 2, 3, 4, 5]
    scores = [item.score for item in answer.items]
    assert scores == sorted(scores, reverse=True)
    seen = {run.item_ids[item] for item in run.history[3]}
    assert not seen & set(ids(answer))
    assert all(item.title == f"Title {item.item_id[1:]}" for item in answer.items)


def test_what_a_person_may_be_asked_with_is_all_but_the_test_answer(run: Run, tiny: Dataset) -> None:
    whole = tiny.histories()
    for user in range(tiny.n_users):
        assert run.history[user].tolist() == whole[user][:-1].tolist()


def test_a_person_and_their_history_are_the_same_question(run: Run) -> None:
    history = [run.item_ids[item] for item in run.history[3]]
    assert ids(run.recommend("u3")) == ids(run.recommend(history=history))


def test_the_order_of_a_history_matters(run: Run) -> None:
    one, other = run.recommend(history=["i1", "i20"]), run.recommend(history=["i20", "i1"])
    assert one.items != other.items


def test_seen_items_can_be_let_in(run: Run) -> None:
    everything = run.recommend("u3", k=1000, exclude_seen=False)
    assert len(everything.items) == 40
    n_seen = len(set(run.history[3].tolist()))
    assert len(run.recommend("u3", k=1000).items) == 40 - n_seen  # a list too long ends where candidates do


def test_a_list_can_be_limited_to_some_items(run: Run) -> None:
    answer = run.recommend(history=["i1"], only=["i1", "i5", "i7", "nonsense"], k=10)
    assert set(ids(answer)) == {"i5", "i7"}
    assert answer.notes == ["1 of 4 items of the allowed list are unknown and were left out: nonsense"]
    with pytest.raises(QueryError, match="Nothing is left to recommend"):
        run.recommend(history=["i1"], only=["i1"])
    assert ids(run.recommend(history=["i1"], only=["i1"], exclude_seen=False)) == ["i1"]
    with pytest.raises(QueryError, match="Nothing is left"):
        run.recommend("u3", only=[])


def test_unknown_items_of_a_history_are_left_out_and_said(run: Run) -> None:
    answer = run.recommend(history=["x1", "i5", "x2", "x3", "x4", "x5", "x6"])
    assert answer.items == run.recommend(history=["i5"]).items
    assert answer.notes == [
        "6 of 7 items of the history are unknown and were left out: x1, x2, x3, x4, x5, …",
    ]
    assert answer.query["history"][0] == "x1"


@pytest.mark.parametrize("history", [[], ["x1", "x2"]])
def test_popularity_answers_where_nothing_is_known_and_says_so(run: Run, history: list[str]) -> None:
    answer = run.recommend(history=history, k=3)
    assert answer.answered_by == "popularity (no known history)"
    popularity = run.model.popularity.numpy()
    best = sorted(range(len(popularity)), key=lambda item: (-popularity[item], item))[:3]
    assert ids(answer) == [f"i{item}" for item in best]


def test_ids_may_be_numbers(tiny: Dataset, tmp_path: Path) -> None:
    frame = pl.DataFrame({"user_id": np.repeat(np.arange(10), 6), "item_id": np.tile(np.arange(12), 5)})
    run = fit(frame, "popularity", out=tmp_path / "run", progress=False)
    assert run.recommend(3).items == run.recommend("3").items
    assert run.recommend(history=[1, 2]).query["history"] == ["1", "2"]
    with pytest.raises(RunError, match="made from a frame in memory"):
        run.dataset()
    with pytest.raises(QueryError, match="have no titles"):
        run.find_title("Alien")


def test_a_model_that_knows_only_its_people_says_why_it_does_not_answer(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(run.model), "reads", frozenset({"user", "history"}))
    monkeypatch.setattr(type(run.model), "serves_new_users", False)
    answer = run.recommend(history=["i1"])
    assert answer.answered_by == "popularity (SASRec does not serve people it was not trained with)"
    assert run.recommend("u3").answered_by == "SASRec"


def test_questions_that_cannot_be_asked(run: Run) -> None:
    with pytest.raises(QueryError, match="either a user or a history"):
        run.recommend()
    with pytest.raises(QueryError, match="either a user or a history"):
        run.recommend("u3", history=["i1"])
    with pytest.raises(QueryError, match=r"Unknown user 'u33x'.*Did you mean 'u33'"):
        run.recommend("u33x")
    for k in (0, -3):
        with pytest.raises(QueryError, match="cannot be made"):
            run.recommend("u3", k=k)


def test_an_answer_as_a_dictionary(run: Run) -> None:
    answer = json.loads(json.dumps(run.recommend("u3", k=2).to_dict()))
    assert answer.keys() == {"query", "answered_by", "items", "notes"}
    assert answer["items"][0].keys() == {"rank", "item_id", "score", "title"}


def test_titles_are_found_by_case_and_by_beginning(run: Run) -> None:
    assert run.find_title("Title 17") == "i17"
    assert run.find_title("  tITLE 3 ") == "i3"  # not the beginning of "Title 30" only
    with pytest.raises(QueryError, match=r"'title' is the beginning of 40 titles.*Title 0; Title 1"):
        run.find_title("title")
    with pytest.raises(QueryError, match=r"No item is titled 'Titel 17'\. Did you mean 'Title 17'\?"):
        run.find_title("Titel 17")
    with pytest.raises(QueryError, match="Write it as the data does"):
        run.find_title("Amélie")


def test_the_only_title_that_begins_so_is_meant(run: Run) -> None:
    film = Run(run.folder, run.model, run.user_ids, run.item_ids, ["Alien (1979)", *[None] * 38, "Brazil"], run.history)
    assert film.find_title("alien") == "i0"
    assert film.find_title("braz") == "i39"


# ---- reading a run again -------------------------------------------------------------------------------------------


def test_a_loaded_run_is_the_run(made: Path, tiny: Dataset) -> None:
    run = Run.load(str(made))
    assert run.name == "small"
    assert not run.model.training
    assert run.model.config.n_factors == 8
    assert run.config["settings"]["n_factors"] == {"value": 8, "origin": "settings"}
    assert run.config["settings"]["dropout"]["origin"] == "default"
    assert len(run.user_ids) == tiny.n_users
    assert run.titles == tiny.titles()
    assert run.config["data"]["hash"] == tiny.hash


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("model.safetensors", "missing", r"The run has no model\.safetensors"),
        ("model.safetensors", "truncated", "The model cannot be read"),
        ("ids.parquet", "missing", r"The run has no ids\.parquet"),
        ("ids.parquet", "truncated", r"ids\.parquet is damaged"),
        ("history.parquet", "missing", r"The run has no history\.parquet"),
        ("history.parquet", "truncated", r"history\.parquet is damaged"),
        ("config.json", "missing", "it is no run"),
        ("config.json", "truncated", r"config\.json is damaged"),
    ],
)
def test_a_damaged_run_is_refused(copy: Path, name: str, damage: str, message: str) -> None:
    content = (copy / name).read_bytes()
    (copy / name).unlink()
    if damage == "truncated":
        (copy / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(RunError, match=message) as caught:
        Run.load(copy)
    assert str(copy) in str(caught.value)


def configure(path: Path, **changes: object) -> None:
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | changes))


def test_runs_of_other_kinds_models_and_settings_are_refused(copy: Path) -> None:
    settings = json.loads((copy / "config.json").read_text())["settings"]
    configure(copy, settings=settings | {"n_factors": {"value": 16, "origin": "--set"}})
    with pytest.raises(RunError, match=r"cannot be read: Error.* SASRec: size mismatch for items\.weight"):
        Run.load(copy)
    configure(copy, settings=settings | {"n_factor": {"value": 16, "origin": "--set"}})
    with pytest.raises(ConfigError, match=r"Unknown setting 'n_factor'.*Did you mean 'n_factors'"):
        Run.load(copy)
    configure(copy, model="sasrek")
    with pytest.raises(ConfigError, match=r"Unknown model 'sasrek'.*sasrec"):
        Run.load(copy)
    configure(copy, kind="router")
    with pytest.raises(RunError, match="The run is a router, not a recommender"):
        Run.load(copy)
    configure(copy, format=2)
    with pytest.raises(RunError, match="of format 2, and this version reads format 1"):
        Run.load(copy)


def test_no_pickle_is_read(copy: Path) -> None:
    torch.save({"a": torch.ones(1)}, copy / "model.safetensors")
    with pytest.raises(RunError, match="The model cannot be read"):
        Run.load(copy)


# ---- its data --------------------------------------------------------------------------------------------------------


@pytest.fixture
def table(tiny: Dataset, tmp_path: Path) -> Path:
    path = tmp_path / "clicks.csv"
    tiny.interactions.select(user_id="user", item_id="item", timestamp="timestamp").write_csv(path)
    return path


def test_the_data_are_read_again_and_known_by_their_hash(table: Path, tmp_path: Path) -> None:
    run = fit(str(table), "popularity", out=tmp_path / "run", progress=False)
    again = Run.load(run.path).dataset()
    assert again.hash == run.config["data"]["hash"]
    moved = table.rename(tmp_path / "moved.csv")
    with pytest.raises(RunError, match=r"The data of the run cannot be read again.*--data"):
        run.dataset()
    assert run.dataset(moved).hash == again.hash
    before = run.config["data"]["hash"]
    lines = moved.read_text().splitlines()
    moved.write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(RunError, match=f"The data has changed.*its hash is [0-9a-f]{{16}}, it was {before}"):
        run.dataset(moved)


def test_a_relative_path_is_found_from_another_folder(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(table.parent)
    run = fit(table.name, "popularity", out=tmp_path / "run", progress=False)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run.dataset().hash == run.config["data"]["hash"]


def test_a_dataset_made_by_hand_has_no_place(run: Run) -> None:
    with pytest.raises(RunError, match="cannot be read again"):
        run.dataset()


def test_the_split_is_made_again(run: Run, tiny: Dataset) -> None:
    again = run.split(tiny)
    assert again.protocol() == run.config["split"]
    assert again.known.items.tolist() == run.history.items.tolist()
