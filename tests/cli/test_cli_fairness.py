"""``audit``, ``unlearn`` and ``fit --method`` from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from command_line import contents, table
from typer.testing import Result

from rectitude.data.dataset import Dataset

Cli = Callable[..., Result]
Refusal = Callable[..., str]


@pytest.fixture(scope="module")
def place(tiny: Dataset, tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    """A data folder with people's attributes, and a run made from it."""
    folder = tmp_path_factory.mktemp("fair")
    (folder / "data").mkdir()
    events = table(tiny).rename({"user": "user_id", "item": "item_id"})
    events.unique(["user_id", "item_id"], maintain_order=True).write_parquet(folder / "data" / "interactions.parquet")
    people = tiny.users.with_columns(pl.lit("x").alias("same"), pl.Series("one", [str(i) for i in range(60)]))
    people.write_parquet(folder / "data" / "users.parquet")
    cli("fit", folder / "data", "-m", "pmf", "--set", "epochs=2", "--set", "n_factors=4", "--out", folder / "run")
    return folder


def test_an_audit_as_json_is_a_list_of_findings(place: Path, answer: Callable[..., Any]) -> None:
    words = ("--attribute", "gender", "--checks", "accuracy-gap,m-uof", "--json")
    found = answer("audit", place / "run", *words)
    assert [(one["check"], one["attribute"]) for one in found] == [
        ("accuracy-gap", "activity"),
        ("accuracy-gap", "gender"),
        ("m-uof", "activity"),
        ("m-uof", "activity"),
    ]
    assert {"check", "attribute", "groups", "value", "low", "high", "floor", "verdict"} <= set(found[0])


def test_an_audit_for_people(place: Path, cli: Cli) -> None:
    shown = cli("audit", place / "run", "--checks", "accuracy-gap,calibration", width=120)
    assert "accuracy-gap" in shown.stdout
    assert "Not checked: calibration: The data do not say what kind of thing each item is" in shown.stderr
    assert "No attribute was named; the data have gender, same, one" in shown.stderr


def test_unlearning_writes_a_new_run(place: Path, answer: Callable[..., Any], tmp_path: Path) -> None:
    before = contents(place / "run")
    words = ("--attribute", "gender", "--set", "steps=2", "--set", "check_every=2", "--out", tmp_path / "new", "--json")
    told = answer("unlearn", "attribute", place / "run", *words)
    assert told["run"] == str(tmp_path / "new")
    assert told["steps"] == 2
    assert contents(place / "run") == before
    assert json.loads((tmp_path / "new" / "lineage.json").read_text())["parent"] == "run"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("audit", "RUN", "--attribute", "gendr"), "Unknown attribute 'gendr' (users). Did you mean 'gender'?"),
        (("audit", "RUN", "--attribute", "same"), "Everybody has the same same (x)"),
        (("audit", "RUN", "--attribute", "one"), "60 of them of one person each"),
        (("audit", "RUN", "--checks", "gap"), "Unknown check 'gap' (--checks)"),
        (("audit", "RUN", "--share", "0"), "leaves nobody in the advantaged group"),
        (("unlearn", "attribute", "RUN", "--attribute", "sex"), "Unknown attribute 'sex'"),
        (("unlearn", "attribute", "RUN", "--attribute", "gender", "--set", "balance=3", "--loss", "u2u"), "balance"),
        (("unlearn", "attribute", "RUN", "--attribute", "gender", "--out", "RUN"), "would replace its parent"),
        (("fit", "DATA", "-m", "pmf", "--method", "in-ucd"), "Unknown method 'in-ucd' (--method). Did you mean"),
        (("fit", "DATA", "-m", "pmf", "--set", "in-ucds.weight=1"), "Add --method in-ucds"),
        (("fit", "DATA", "-m", "pmf", "--method", "in-ucds", "--set", "in-ucds.wight=1"), "Did you mean 'weight'?"),
        (("fit", "DATA", "-m", "ease", "--method", "in-ucds"), "EASE is solved by a formula"),
        (("fit", "DATA", "-m", "pmf", "--method", "adversarial", "--set", "adversarial.attribute=sex"), "'sex'"),
        (("reproduce", "in_ucds/movie"), "There is no grid 'in_ucds/movie'. Did you mean 'in_ucds/movielens'?"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    words: tuple[str, ...], message: str, place: Path, refusal: Refusal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = contents(place)
    given = [{"RUN": str(place / "run"), "DATA": str(place / "data")}.get(word, word) for word in words]
    assert message in refusal(*given)
    assert contents(place) == before
    assert not list(tmp_path.iterdir())
