from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sleepers import QUICK, meaning, survey

from rectitude.decisions.plans.classifier import Candidate, fit_score
from rectitude.decisions.plans.prescriber import Prescriber
from rectitude.decisions.plans.problem import Choice, Problem
from rectitude.decisions.plans.score import Score


@pytest.fixture(scope="session")
def sleepers() -> pl.DataFrame:
    return survey()


@pytest.fixture(scope="session")
def kept(sleepers: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Prescriber:
    """A prescriber kept as a run that nobody changes."""
    place = tmp_path_factory.mktemp("plans") / "run"
    return Prescriber.fit(sleepers, schema=meaning(), settings=QUICK, out=place)


@pytest.fixture(scope="session")
def place(kept: Prescriber) -> Path:
    assert kept.path is not None
    return kept.path


@pytest.fixture(scope="session")
def ensemble() -> Callable[..., tuple[Score, Problem]]:
    """Trained trees over features of which every one may change, and a person."""

    def make(
        seed: int = 0, *, p: int = 4, n_levels: int = 4, n_trees: int = 15, depth: int = 3, family: str = "boosted"
    ) -> tuple[Score, Problem]:
        rng = np.random.default_rng(seed)
        x = rng.integers(0, n_levels, size=(300, p)).astype(float)
        odds = np.sin(2 * x[:, 0]) + (x[:, 1] > 1) * (x[:, 2] < 2) * 1.5 - 0.4 * x[:, -1]
        y = (rng.random(300) < 1 / (1 + np.exp(-(odds - odds.mean())))).astype(int)
        candidate = Candidate(family=family, n_trees=n_trees, depth=depth, min_leaf=5, learning_rate=0.2)
        score = fit_score(candidate, x, y, monotone=np.zeros(p, dtype=int), seed=seed)
        if family == "forest":
            score = score.stretched(4.0, -2.0)
        row = x[rng.integers(300)]
        codes = np.arange(n_levels, dtype=float)
        choices = tuple(
            Choice(
                name=f"x{j}", values=tuple(codes.tolist()), codes=codes, vectors=codes[:, None],
                columns=slice(j, j + 1),
                current=int(row[j]), effort=np.abs(codes - row[j]) / (n_levels - 1), hours=0.5 * (codes - row[j]),
                resistance=1.0 + j, gain=rng.normal(size=n_levels) * (codes != row[j]), unit=f"x{j}",
            )
            for j in range(p)
        )  # fmt: skip
        return score, Problem(row, choices)

    return make
