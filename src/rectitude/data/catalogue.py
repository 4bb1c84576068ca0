"""The catalogue as verbs: list the known sets, get one, describe one, import one's own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rectitude.data.dataset import Dataset
from rectitude.data.describe import describe
from rectitude.data.known import CATALOGUE, KnownSet, known_set
from rectitude.data.obtain import cache_folder
from rectitude.data.readers import load, write_folder

__all__ = ["CATALOGUE", "KnownSet", "availability", "describe", "get", "import_data", "known_set", "known_sets"]


def known_sets() -> list[KnownSet]:
    """Every set we know by name."""
    return list(CATALOGUE.values())


def availability(known: KnownSet) -> str:
    """How a set can be had here: ``at hand``, ``cached``, ``can be fetched`` or ``by hand``."""
    at_hand = os.environ.get("RECTITUDE_DATA")
    if at_hand and (Path(at_hand) / known.name / "interactions.parquet").exists():
        return "at hand"
    if (cache_folder() / known.name / "interactions.parquet").exists():
        return "cached"
    return "can be fetched" if known.download or known.carried_by else "by hand"


def get(name: str, *, announce: Callable[[str], None] | None = None) -> Dataset:
    """Load a known set, fetching it first where it must be.

    Raises:
        DataError: The name is unknown, or the set cannot be had here.
    """
    known_set(name)
    return load(name, announce=announce)


def import_data(data: str | Path | Any, out: str | Path, **options: Any) -> Dataset:
    """Load data of any form and save it as a folder of Parquet tables that ``load`` reads again.

    Args:
        data: As for ``load``.
        out: Folder to write; new, empty, or one written by this function.
        options: As for ``load``.

    Raises:
        DataError: The data cannot be used.
        RectitudeError: The folder holds something else.
    """
    dataset = load(data, **options)
    write_folder(dataset, out)
    return dataset
