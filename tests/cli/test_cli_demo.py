"""The demo, on a small set in MovieLens' place."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from rectitude.cli import demo

Cli = Callable[..., Result]


@pytest.fixture
def stage(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small set called ml-100k, and models small enough for it."""
    shutil.copytree(shop, tmp_path / "data" / "ml-100k")
    monkeypatch.setenv("RECTITUDE_DATA", str(tmp_path / "data"))
    small = {"n_factors": 8, "n_negatives": 16, "n_blocks": 1, "epochs": 2}
    monkeypatch.setitem(demo.MODELS, "sasrec", small)
    monkeypatch.setattr(demo, "TITLES", ("Title 3", "No such title", "title 21"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_demo_goes_the_whole_way_and_can_go_it_again(cli: Cli, answer: Callable[..., Any], stage: Path) -> None:
    result = cli("demo")
    told, shown = " ".join(result.stderr.split()), " ".join(result.stdout.split())
    assert "from RECTITUDE_DATA. Terms: GroupLens" in told
    assert "No item is titled 'No such title'" in told
    for part in ("NDCG@10", "p (Holm)", "SASRec for user u0, who last saw Title", "who saw Title 3; Title 21"):
        assert part in shown
    assert "Report rectitude-demo/sasrec/report.html" in shown
    assert (stage / "rectitude-demo" / "sasrec" / "report.html").is_file()

    given = answer("demo", "--out", stage / "rectitude-demo")
    assert set(given) == {"runs", "comparison", "recommendations", "report"}
    assert set(given["runs"]) == {"popularity", "ease", "sasrec"}
    assert given["comparison"]["protocol"]["fold"] == "test"
    assert len(given["recommendations"]["history"]["items"]) == 10


@pytest.mark.parametrize(
    ("typed", "history"),
    [("titel 5\ntitle 5; Title 6\n", "Title 5; Title 6"), ("\n", "Title 3; Title 21"), ("", "Title 3; Title 21")],
)
def test_somebody_at_the_terminal_types_a_history(
    typed: str, history: str, runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rectitude.training.run import Run

    monkeypatch.setattr(demo, "_somebody_is_there", lambda: True)
    monkeypatch.setattr(demo, "TITLES", ("Title 3", "Title 21"))
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    run = Run.load(runs / "ease")
    _, titles = demo.typed_history(run, ask=True)
    assert "; ".join(titles) == history
    assert ("Did you mean 'Title 5'?" in " ".join(capsys.readouterr().err.split())) == typed.startswith("titel")


def test_each_outcome_of_a_test_is_told_as_it_is() -> None:
    from rectitude.evaluation.intervals import Interval
    from rectitude.evaluation.significance import Comparison, Difference

    rows = tuple(
        Difference("ndcg@10", first, second, Interval(effect, effect - 0.01, effect + 0.01), p, p)
        for first, second, effect, p in (("a", "b", 0.1, 0.001), ("a", "c", -0.1, 0.001), ("b", "c", 0.1, 0.2))
    )
    assert demo.in_words(Comparison({}, rows, {})) == [
        "a ranks better than b; chance alone would hardly show this.",
        "c ranks better than a; chance alone would hardly show this.",
        "b and c cannot be told apart with these people.",
    ]
