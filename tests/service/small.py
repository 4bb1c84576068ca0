"""Small data and small runs of it, for the tests of the service and for what holds it against its promises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from rectitude.data.dataset import Dataset
from rectitude.data.readers import load, write_folder
from rectitude.workflow.fitting import fit

KINDS = ("Red", "Green", "Blue")
SETTINGS: dict[str, dict[str, Any]] = {
    "sasrec": {"n_factors": 8, "epochs": 2, "max_length": 20, "n_negatives": 16, "n_blocks": 1, "n_heads": 1},
    "bpr": {"n_factors": 8, "epochs": 2},
    "ease": {},
}
"""One run of each kind that answers in a way of its own."""


def write_small(data: Dataset, folder: Path) -> Path:
    """Data as a folder, its items with attributes and titles that are not only Latin."""
    items = data.items.with_columns(
        pl.Series("kind", [KINDS[i % 3] for i in range(data.n_items)]),
        pl.Series("year", [1990 + i for i in range(data.n_items)]),
        pl.Series("genres", [["even" if i % 2 == 0 else "odd", "all"] for i in range(data.n_items)]),
    )
    titles = items["title"].to_list()
    titles[1], titles[2] = "ألف ليلة وليلة", "<script>alert('x')</script> & \"Café\""
    items = items.with_columns(pl.Series("title", titles))
    write_folder(Dataset("tiny", data.interactions, data.users, items), folder)
    return folder


def fit_small(folder: Path, root: Path) -> dict[str, Path]:
    """A run of each kind, by name."""
    data = load(folder)
    return {
        name: fit(data, name, settings=settings, out=root / name, progress=False).path
        for name, settings in SETTINGS.items()
    }
