"""``audit``, ``unlearn attribute`` and ``reproduce`` from end to end, on data with a planted attribute."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import rectitude
from rectitude.audit.checks.finding import Finding
from rectitude.audit.checks.lists import kl_divergence, mix
from rectitude.audit.checks.registry import CHECKS
from rectitude.core.errors import ConfigError, DataError, RunError
from rectitude.data.dataset import Dataset
from rectitude.data.histories import Histories
from rectitude.fairness.ufr import NoChoiceError
from rectitude.training.run import Run
from rectitude.workflow import auditing, reproducing
from rectitude.workflow.auditing import audit
from rectitude.workflow.reproducing import cells, grids, read_grid, reproduce
from rectitude.workflow.unlearning import unlearn_attribute


def shop() -> Dataset:
    """A hundred people of two sexes who choose from two halves of forty items, mostly their own; women less often."""
    rng = np.random.default_rng(0)
    users, items = [], []
    for user in range(100):
        n = 8 if user % 2 else 14
        own = rng.random(n) < 0.85
        chosen = rng.choice(20, n, replace=False) + 20 * ((user % 2) ^ ~own)
        users += [user] * n
        items += chosen.tolist()
    interactions = pl.DataFrame(
        {
            "user": np.array(users, np.int32),
            "item": np.array(items, np.int32),
            "timestamp": np.arange(len(users), dtype=np.int64),
        }
    )
    people = pl.DataFrame(
        {
            "user_id": [f"u{i}" for i in range(100)],
            "gender": ["F" if i % 2 else "M" for i in range(100)],
            "age": list(range(18, 68)) * 2,
            "same": ["x"] * 100,
        }
    )
    things = pl.DataFrame(
        {"item_id": [f"i{i}" for i in range(40)], "genres": [["left" if i < 20 else "right"] for i in range(40)]}
    )
    return Dataset("shop", interactions, people, things)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return shop()


@pytest.fixture(scope="module")
def run(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    settings = {"n_factors": 8, "epochs": 15, "batch_size": 128, "validate_every": 5, "learning_rate": 0.02}
    out = tmp_path_factory.mktemp("runs") / "bpr"
    return rectitude.fit(data, "bpr", settings=settings, out=out, progress=False)


@pytest.fixture(scope="module")
def made(run: Run, data: Dataset) -> auditing.Audit:
    return audit(run, attributes=["gender", "age:35"], data=data)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# ---- audit ---------------------------------------------------------------------------------------------------------


def test_every_check_finds_something_and_says_what_would_change_it(made: auditing.Audit) -> None:
    assert {finding.check for finding in made.findings} == set(CHECKS)
    assert made.impossible == []
    for finding in made.findings:
        told = finding.to_dict()
        assert {"check", "attribute", "groups", "value", "low", "high", "floor", "verdict"} <= set(told)
        assert told["low"] <= told["value"] <= told["high"]
        assert finding.groups
        assert len(finding.verdict) > 60
        assert Finding.from_dict(json.loads(json.dumps(told))).to_dict() == told
        assert finding.figure().svg
    uof = [finding.metric for finding in made.findings if finding.check == "m-uof"]
    assert uof == ["NDCG@10", "F1@10"]


def test_what_is_planted_is_found(made: auditing.Audit) -> None:
    leaks = {(f.attribute, f.metric): f for f in made.findings if f.check == "attribute-leakage"}
    vectors = leaks["gender", "balanced accuracy from stored vectors (users)"]
    lists = leaks["gender", "balanced accuracy from recommended lists"]
    for finding in (vectors, lists):
        assert finding.value > 0.8 > (finding.floor or 0)
    age = leaks["age", "balanced accuracy from recommended lists"]
    assert age.value < vectors.value - 0.1


def test_findings_go_into_run_report_and_card(made: auditing.Audit, run: Run) -> None:
    kept = json.loads((run.path / "findings.json").read_text())
    assert kept["findings"] == [finding.to_dict() for finding in made.findings]
    report = (run.path / "report.html").read_text()
    assert "Is it fair, and what does it tell of people?" in report
    assert "tell gender" in report
    assert "Audit: " in (run.path / "README.md").read_text()


def test_checks_may_be_chosen_and_the_impossible_is_said(run: Run, data: Dataset) -> None:
    found = audit(run, checks=["accuracy-gap", "attribute-leakage"], data=data)
    assert [finding.attribute for finding in found.findings] == ["activity"]
    assert found.impossible[0].startswith("attribute-leakage: No attribute was named")
    plain = replace(data, items=data.items.select("item_id"))
    found = audit(run, checks=["calibration"], data=plain)
    assert "do not say what kind of thing each item is" in found.impossible[0]


def test_a_model_without_user_vectors_is_attacked_by_its_lists(data: Dataset, tmp_path: Path) -> None:
    run = rectitude.fit(data, "ease", out=tmp_path / "ease", progress=False)
    found = audit(run, attributes=["gender"], checks=["attribute-leakage"], data=data)
    assert [finding.metric for finding in found.findings] == ["balanced accuracy from recommended lists"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"checks": ["calibratoin"]}, ConfigError, r"Unknown check 'calibratoin'.*Did you mean 'calibration'"),
        ({"attributes": ["sex"]}, ConfigError, "Unknown attribute 'sex'"),
        ({"attributes": ["same"]}, DataError, "Everybody has the same"),
        ({"attributes": ["age:1:2:3"]}, DataError, "too few|Everybody|same"),
        ({"share": 0.001}, ConfigError, "leaves nobody in the advantaged group"),
        ({"fold": "train"}, ConfigError, "no fold 'train'"),
    ],
)
def test_bad_input_of_an_audit(options: dict[str, Any], error: type, message: str, run: Run, data: Dataset) -> None:
    before = contents(run.path)
    with pytest.raises(error, match=message):
        audit(run, data=data, **options)
    assert contents(run.path) == before


def test_divergence_by_hand() -> None:
    shares = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    own = mix(Histories.from_rows([[0, 0, 1], [], [2]]), shares)
    np.testing.assert_allclose(own, [[5 / 6, 1 / 6], [0, 0], [0, 1]])
    assert kl_divergence(own[[2]], own[[2]])[0] == pytest.approx(0)
    expected = np.log(1 / 0.01)
    assert kl_divergence(np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]]))[0] == pytest.approx(expected)


# ---- unlearn -------------------------------------------------------------------------------------------------------

QUICK = {"steps": 40, "check_every": 20, "learning_rate": 0.1, "tolerance": 1e-6}


@pytest.fixture(scope="module")
def unlearnt(run: Run, data: Dataset) -> tuple[Run, dict[str, Any]]:
    before = contents(run.path)
    made, told = unlearn_attribute(run, ["gender"], settings=QUICK, data=data, out=run.path.with_name("less"))
    assert contents(run.path) == before
    return made, told


def test_a_new_run_forgets_and_knows_its_parent(unlearnt: tuple[Run, dict[str, Any]], run: Run) -> None:
    made, told = unlearnt
    rows = {row["figure"]: row for row in told["rows"]}
    leak = rows["gender from stored vectors (users)"]
    assert leak["after"]["value"] < leak["before"]["value"] - 0.1
    assert {"ndcg@10", "gap by activity", "gap by gender", "gender from recommended lists"} <= set(rows)
    lineage = made.folder.read_json("lineage.json")
    assert lineage["parent"] == run.name
    assert lineage["made_by"] == "unlearn attribute gender"
    assert made.config["remedies"][0]["attributes"] == ["gender"]
    report = (made.path / "report.html").read_text()
    assert "What did the remedy change?" in report
    card = (made.path / "README.md").read_text()
    assert "attribute unlearning (d2d) of gender" in card
    assert "gender from stored vectors (users) 0." in card
    assert made.recommend("u3").items
    assert not made.path.with_name("less.unlearning").exists()


def test_an_interrupted_unlearning_resumes(run: Run, data: Dataset, tmp_path: Path) -> None:
    def stop(row: dict[str, float]) -> None:
        if row["step"] == 20:
            raise KeyboardInterrupt

    before = contents(run.path)
    whole, _ = unlearn_attribute(run, ["gender"], settings=QUICK, data=data, out=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        unlearn_attribute(run, ["gender"], settings=QUICK, data=data, out=tmp_path / "part", on_check=stop)
    assert contents(run.path) == before
    assert not (tmp_path / "part").exists()
    with pytest.raises(RunError, match=r"was interrupted.*--resume"):
        unlearn_attribute(run, ["gender"], settings=QUICK, data=data, out=tmp_path / "part")
    part, told = unlearn_attribute(run, ["gender"], settings=QUICK, data=data, out=tmp_path / "part", resume=True)
    assert told["steps"] == 40
    assert (part.path / "model.safetensors").read_bytes() == (whole.path / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("attributes", "options", "error", "message"),
    [
        ([], {}, ConfigError, "No attribute was named"),
        (["sex"], {}, ConfigError, "Unknown attribute 'sex'"),
        (["same"], {}, DataError, "Everybody has the same"),
        (["gender"], {"settings": {"stepz": 3}}, ConfigError, r"Unknown setting 'stepz'.*Did you mean 'steps'"),
        (["gender"], {"settings": {"loss": "u2u", "balance": 2}}, ConfigError, "balance"),
    ],
)
def test_bad_input_of_unlearning(
    attributes: list[str], options: dict[str, Any], error: type, message: str, run: Run, data: Dataset, tmp_path: Path
) -> None:
    before = contents(run.path)
    with pytest.raises(error, match=message):
        unlearn_attribute(run, attributes, data=data, out=tmp_path / "new", **options)
    assert contents(run.path) == before
    assert list(tmp_path.iterdir()) == []


def test_the_parent_may_not_be_replaced(run: Run, data: Dataset) -> None:
    with pytest.raises(RunError, match="would replace its parent"):
        unlearn_attribute(run, ["gender"], data=data, out=run.path, overwrite=True)


def test_models_that_store_nothing_are_refused(data: Dataset, tmp_path: Path) -> None:
    run = rectitude.fit(data, "ease", out=tmp_path / "ease", progress=False)
    with pytest.raises(DataError, match=r"EASE stores nothing of people.*Only its lists can leak"):
        unlearn_attribute(run, ["gender"], data=data)


# ---- reproduce -----------------------------------------------------------------------------------------------------

FAIR = """
kind = "in_ucds"
data = "{data}"
split = {{ rule = "leave-one-out" }}
seeds = [1, 2]
[backbones.pmf]
n_factors = 4
epochs = 2
[methods]
original = {{}}
in-ucds = {{ weight = 0.1 }}
in-naive = {{}}
s-dro = {{}}
ufr = {{ epsilon = 0.5 }}
[[published]]
backbone = "pmf"
method = "original"
source = "somewhere"
ndcg = 0.5
advantaged = 0.6
disadvantaged = 0.4
m_uof = 0.2
f1 = 0.1
m_uof_f1 = 0.05
"""

FORGET = """
kind = "attribute_unlearning"
data = "{data}"
attributes = ["gender"]
[backbones.pmf]
n_factors = 4
epochs = 2
[methods]
original = {{}}
d2d = {{ steps = 2, check_every = 2 }}
shuffle = {{}}
d2d-training = {{}}
"""


@pytest.fixture(scope="module")
def stored(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "shop"
    from rectitude.data.readers import write_folder

    write_folder(data, folder)
    return folder


def test_the_grids_name_models_methods_and_settings_that_exist(real_data: Callable[[str], Path]) -> None:
    from rectitude.core.config import build
    from rectitude.models.registry import model_class

    known = grids()
    assert set(known) >= {
        *(f"in_ucds/{name}" for name in ("movielens", "epinion", "gowalla")),
        *(f"attribute_unlearning/{name}" for name in ("ml-100k", "ml-1m")),
    }
    for name in known:
        for full in (False, True):
            _, grid = read_grid(name, full=full)
            assert len(list(cells(grid))) > 10
            for backbone, settings in grid["backbones"].items():
                own = {key: value for key, value in settings.items() if key not in ("seeds", "methods")}
                build(model_class(backbone).Config, own)


def test_a_grid_about_fairness_is_computed_once(stored: Path, tmp_path: Path) -> None:
    grid = tmp_path / "fair.toml"
    grid.write_text(FAIR.format(data=stored))
    told: list[str] = []
    table = reproduce(str(grid), tmp_path / "out", most_seeds=1, announce=told.append)
    assert (table["cells"], table["missing"]) == (5, 5)
    assert len(told) == 5
    assert {row["method"] for row in table["rows"]} == {"original", "in-ucds", "in-naive", "s-dro", "ufr"}
    first = table["rows"][0]
    assert abs(first["ndcg"]["advantaged"] - first["ndcg"]["disadvantaged"]) == pytest.approx(
        first["ndcg"]["m_uof"]["value"]
    )
    assert "somewhere" in (tmp_path / "out" / "fair" / "table.md").read_text()
    again: list[str] = []
    assert reproduce(str(grid), tmp_path / "out", most_seeds=1, announce=again.append) == table
    assert again == []
    grid.write_text(FAIR.format(data=stored).replace("weight = 0.1", "weight = 0.2"))
    reproduce(str(grid), tmp_path / "out", most_seeds=1, announce=again.append)
    assert len(again) == 1
    assert "in-ucds" in again[0]


def test_a_cell_without_a_choice_is_told_and_does_not_end_the_grid(
    stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise NoChoiceError("No choice of lists")

    grid, table = tmp_path / "fair.toml", tmp_path / "out" / "fair" / "table.md"
    grid.write_text(FAIR.format(data=stored))
    with monkeypatch.context() as patch:
        patch.setattr(reproducing, "rerank", refuse)
        found = reproduce(str(grid), tmp_path / "out", most_seeds=1)
    assert found["failed"] == {"pmf-ufr-s1": "No choice of lists"}
    assert (found["cells"], found["missing"]) == (5, 5)
    assert "ufr" not in {row["method"] for row in found["rows"]}
    assert "pmf-ufr-s1 could not be computed: No choice of lists." in table.read_text()
    grid.write_text(FAIR.format(data=stored).replace("epsilon = 0.5", "epsilon = 0.4"))
    told = {row["method"]: row for row in reproduce(str(grid), tmp_path / "out", most_seeds=1)["rows"]}
    assert [one["status"] for one in told["ufr"]["solver"]] == ["optimal"]
    assert "ufr on pmf: the best choice in 1 of 1 cells." in table.read_text()


def test_methods_are_compared_person_by_person(stored: Path, tmp_path: Path) -> None:
    grid = tmp_path / "fair.toml"
    grid.write_text(FAIR.format(data=stored))
    rows = {row["method"]: row for row in reproduce(str(grid), tmp_path / "out")["rows"]}
    assert rows["original"]["against"].keys() == {"in-naive"}
    for metric in ("ndcg", "m_uof"):
        fair, plain = (
            rows[name]["ndcg"] if metric == "ndcg" else rows[name]["ndcg"][metric] for name in ("in-ucds", "original")
        )
        found = rows["in-ucds"]["against"]["original"][metric]
        assert found["value"] == pytest.approx(fair["value"] - plain["value"])
        assert found["low"] <= found["value"] <= found["high"]
    assert "| pmf | in-ucds | in-naive |" in (tmp_path / "out" / "fair" / "table.md").read_text()


def test_a_grid_about_unlearning(stored: Path, tmp_path: Path) -> None:
    grid = tmp_path / "forget.toml"
    grid.write_text(FORGET.format(data=stored))
    table = reproduce(str(grid), tmp_path / "out")
    assert (table["cells"], table["missing"]) == (4, 0)
    assert all("recommended lists" in row["attacks"] for row in table["rows"])
    assert "| pmf | gender | d2d | 1 |" in (tmp_path / "out" / "forget" / "table.md").read_text()
    rows = {row["method"]: row for row in table["rows"]}
    band = rows["original"]["by_chance"]
    assert band["low"] < 0.5 < band["high"]
    assert rows["d2d"]["by_chance"] is None
    vectors = rows["original"]["attacks"]["stored vectors (users)"].values()
    assert rows["original"]["furthest"] == pytest.approx(max(abs(accuracy - 0.5) for accuracy in vectors))
    assert rows["original"]["furthest_of_a_seed"] == pytest.approx(rows["original"]["furthest"])


def test_some_methods_of_a_grid_and_again_where_a_default_changed(
    stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = tmp_path / "forget.toml"
    grid.write_text(FORGET.format(data=stored))
    with pytest.raises(ConfigError, match="no method 'd2e'"):
        reproduce(str(grid), tmp_path / "out", methods=["d2e"])
    found = reproduce(str(grid), tmp_path / "out", methods=["original", "d2d"])
    assert (found["cells"], found["missing"]) == (2, 2)
    again: list[str] = []
    remedy = reproducing._remedy
    monkeypatch.setattr(reproducing, "_remedy", lambda kind, settings: remedy(kind, {"margin": 0.07, **settings}))
    reproduce(str(grid), tmp_path / "out", methods=["original", "d2d"], announce=again.append)
    assert [told.split()[3].rstrip(",") for told in again] == ["pmf-d2d-gender-s1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("kind = 3 4", "not TOML"), ('kind = "in_ucds"', "has no 'data'")],
)
def test_bad_grids(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "grid.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        reproduce(str(file), tmp_path / "out")
    with pytest.raises(ConfigError, match="no grid 'in_ucds/movie'"):
        reproduce("in_ucds/movie", tmp_path / "out")
    assert not (tmp_path / "out").exists()
