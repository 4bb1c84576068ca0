"""The examples of ``--help``, one after the other, as somebody would type them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from command_line import SMALL
from typer.testing import Result

ORDER = ("data list", "data get", "data describe", "data import", "fit", "evaluate", "compare", "recommend", "export")
ORDER += ("report", "tune", "models", "doctor")
SHORTER = {"epochs=5": "epochs=1", "epochs=30": "epochs=1", "20": "1"}
"""What the examples ask for, and what is enough for a test."""


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with data under the names, ids and titles that the examples speak of."""
    rng = np.random.default_rng(0)
    n_users, n_items, length = 60, 200, 10
    items = (rng.integers(n_items, size=(n_users, 1)) + np.cumsum(rng.integers(1, 4, (n_users, length)), 1)) % n_items
    log = pl.DataFrame(
        {
            "user_id": np.repeat(np.arange(150, 150 + n_users), length),
            "item_id": items.ravel() + 1,
            "rating": rng.integers(4, 6, n_users * length),
            "timestamp": 880_000_000 + np.arange(n_users * length) * 60,
        }
    )
    films = tmp_path / "sets" / "ml-100k"
    films.mkdir(parents=True)
    log.write_parquet(films / "interactions.parquet")
    titles = {1: "Toy Story (1995)", 50: "Star Wars (1977)"}
    ids = list(range(1, n_items + 1))
    pl.DataFrame({"item_id": ids, "title": [titles.get(i, f"Film {i}") for i in ids]}).write_parquet(
        films / "items.parquet"
    )
    for modality in ("text", "image"):
        (films / "content").mkdir(exist_ok=True)
        vectors = rng.normal(size=(n_items, 8)).astype(np.float32)
        np.savez(films / "content" / f"{modality}.npz", ids=np.array([str(i) for i in ids]), vectors=vectors)
    log.rename({"user_id": "customer", "item_id": "sku"}).write_csv(tmp_path / "ratings.csv")
    monkeypatch.setenv("RECTITUDE_DATA", str(tmp_path / "sets"))
    monkeypatch.setenv("RECTITUDE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_example_of_help_runs(cli: Callable[..., Result], workplace: Path) -> None:
    cli("fit", "ml-100k", "--model", "popularity", "--out", "runs/popularity")
    cli("fit", "ml-100k", "--model", "ease", "--out", "runs/ease")
    cli("fit", "ml-100k", "--model", "prism", "--out", "runs/prism", "--set", "epochs=1", "--set", "n_factors=8")
    for verb in ORDER:
        examples = re.findall(r"^ +rectitude (.*)$", cli(*verb.split(), "--help").stdout, re.MULTILINE)
        for example in examples:
            words = [SHORTER.get(word, word) for word in shlex.split(example)]
            result = cli(*words, *(SMALL if "sasrec" in words and "--model" in words else ()))
            assert result.stdout, example
    assert {path.name for path in workplace.iterdir()} >= {
        "runs",
        "shop",
        "lists.parquet",
        "truth.parquet",
        "best.json",
    }
