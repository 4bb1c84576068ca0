"""``rectitude plan`` as somebody would type it."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from command_line import untouched
from typer.testing import Result

QUICK = ("--set", "outer_folds=0", "--set", "inner_folds=2", "--set", "n_bootstraps=3", "--set", 'families=["boosted"]')


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory, cli: Callable[..., Result]) -> Path:
    """A survey under the name the examples speak of, a schema, and a run."""
    folder = tmp_path_factory.mktemp("plan")
    rng = np.random.default_rng(0)
    n = 300
    exercise, smoking = rng.integers(0, 6, n), rng.random(n) < 0.4
    odds = 0.8 * (exercise - 2.5) - 1.5 * (smoking - 0.4)
    pl.DataFrame(
        {
            "age": rng.integers(20, 70, n),
            "exercise_days": exercise,
            "smoking": np.where(smoking, "Yes", "No"),
            "good_sleep": (rng.random(n) < 1 / (1 + np.exp(-odds))).astype(int),
        }
    ).write_csv(folder / "survey.csv")
    cli("plan", "schema", folder / "survey.csv", "--target", "good_sleep", "--out", folder / "schema.toml")
    cli(
        "plan",
        "fit",
        folder / "survey.csv",
        "--schema",
        folder / "schema.toml",
        "--out",
        folder / "runs" / "sleep",
        *QUICK,
    )
    return folder


def test_every_example_of_help_runs(
    cli: Callable[..., Result], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workplace)
    for verb in ("schema", "fit", "for", "report"):
        for example in re.findall(r"^ +rectitude (.*)$", cli("plan", verb, "--help").stdout, re.MULTILINE):
            words = shlex.split(example)
            extra = (
                [*QUICK, "--overwrite"]
                if verb == "fit"
                else ["--overwrite"]
                if "--out" in words and verb == "schema"
                else []
            )
            words = ["3" if word == "50" else word for word in words]
            assert cli(*words, *extra).stdout, example
    assert len((workplace / "plans.jsonl").read_text().splitlines()) == 300
    assert "Plans for" in (workplace / "runs/sleep/report.html").read_text()
    assert (workplace / "runs/sleep/people/2.html").exists()


def test_a_plan_as_json_has_what_was_promised(answer: Callable[..., Any], workplace: Path) -> None:
    made = answer("plan", "for", workplace / "runs/sleep", "--row", "17", "--policy", "draws=5")
    assert {"p0", "p1", "p1_judge", "plan", "frontier", "status"} <= set(made)
    assert made["status"] == "optimal"
    for item in made["plan"]:
        assert {"feature", "from", "to", "effort", "gain", "sentence"} <= set(item)
    assert made["frontier"][0]["changes"] == 0


def test_answers_come_from_a_file(answer: Callable[..., Any], workplace: Path, tmp_path: Path) -> None:
    person = {"answers": {"age": 40, "exercise_days": 0, "smoking": "Yes"}, "locked": ["smoking"]}
    (tmp_path / "me.json").write_text(json.dumps(person))
    made = answer(
        "plan", "for", workplace / "runs/sleep", "--answers", tmp_path / "me.json", "--page", tmp_path / "me.html"
    )
    assert {item["feature"] for item in made["plan"]} <= {"exercise_days"}
    assert "Plan for person me" in (tmp_path / "me.html").read_text()


def test_the_written_schema_can_be_edited(workplace: Path) -> None:
    values = tomllib.loads((workplace / "schema.toml").read_text())
    assert values["target"] == {"column": "good_sleep", "good": 1}
    assert values["features"]["exercise_days"]["mutable"] is True
    assert "mutable" not in values["features"]["age"]


REFUSALS = [
    (("fit", "survey.csv", "--target", "good_slep"), "no column 'good_slep'. Did you mean 'good_sleep'"),
    (("fit", "survey.csv"), "The outcome is not named"),
    (("fit", "survy.csv", "--target", "good_sleep"), "Did you mean 'survey.csv'"),
    (("fit", "survey.csv", "--target", "age"), "say which are wanted"),
    (("fit", "survey.csv", "--target", "good_sleep", "--set", "folds=3"), "Unknown setting 'folds'"),
    (("fit", "survey.csv", "--target", "good_sleep", "--set", "outer_folds=many"), "outer_folds"),
    (("fit", "survey.csv", "--target", "good_sleep", "--out", "runs/sleep"), "A run is there already"),
    (("fit", "survey.csv", "--target", "good_sleep", "--schema", "none.toml"), "does not exist"),
    (("fit", "survey.csv", "--target", "age", "--schema", "schema.toml"), "target is 'good_sleep'"),
    (("schema", "survey.csv", "--target", "good_sleep", "--out", "schema.toml"), "A file is there already"),
    (("for", "runs/none", "--row", "1"), "no such run"),
    (("for", "runs/sleep"), "one of a row, answers and a table"),
    (("for", "runs/sleep", "--row", "99999"), "no row '99999'"),
    (("for", "runs/sleep", "--row", "1", "--lock", "age"), "not something a plan can change"),
    (("for", "runs/sleep", "--row", "1", "--wish", "smoke == No"), "Did you mean 'smoking'"),
    (("for", "runs/sleep", "--row", "1", "--policy", "max_change=1"), "Did you mean 'max_changes'"),
    (("for", "runs/sleep", "--row", "1", "--target", "1.5"), "target"),
]


@pytest.mark.parametrize(("words", "says"), REFUSALS)
def test_what_cannot_be_done_is_said_in_one_line(
    refusal: Callable[..., str], workplace: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], says: str
) -> None:
    monkeypatch.chdir(workplace)
    with untouched(workplace):
        assert re.search(says, refusal("plan", *words))
