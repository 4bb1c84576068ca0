"""Helpers of the command line's tests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from rectitude.data.dataset import Dataset

SMALL = ("--set", "n_factors=8", "--set", "n_negatives=16", "--set", "n_blocks=1")
"""Settings that make SASRec small enough for tests."""


def start(*words: str | Path, **named: Any) -> subprocess.Popen[str]:
    """The command line as a process of its own."""
    command = [sys.executable, "-m", "rectitude", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **named)


def table(dataset: Dataset) -> pl.DataFrame:
    """The interactions under their own ids."""
    return dataset.interactions.with_columns(
        dataset.users["user_id"].gather(dataset.interactions["user"]).alias("user"),
        dataset.items["item_id"].gather(dataset.interactions["item"]).alias("item"),
    )


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextmanager
def untouched(folder: Path) -> Iterator[None]:
    """A block that must leave a folder as it was."""
    before = contents(folder)
    yield
    assert contents(folder) == before
