from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from rectitude.data.dataset import Dataset


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """Folder of a real data set; skips, saying so, where the sets are not at hand."""

    def find(name: str) -> Path:
        root = os.environ.get("RECTITUDE_DATA")
        if not root:
            pytest.skip("RECTITUDE_DATA is not set: no real data here")
        folder = Path(root) / name
        if not folder.is_dir():
            pytest.skip(f"RECTITUDE_DATA has no '{name}'")
        return folder

    return find


def planted(n_users: int = 60, n_items: int = 40, length: int = 20, seed: int = 0) -> Dataset:
    """People who walk round a ring of items, mostly by one step: order, taste and popularity can all be learnt."""
    rng = np.random.default_rng(seed)
    steps = rng.choice([1, 2, 5], p=[0.8, 0.15, 0.05], size=(n_users, length))
    start = rng.integers(n_items, size=(n_users, 1))
    items = (start + np.cumsum(steps, axis=1)) % n_items
    keep = np.arange(length) < rng.integers(6, length + 1, size=n_users)[:, None]
    user = np.broadcast_to(np.arange(n_users)[:, None], items.shape)[keep]
    interactions = pl.DataFrame(
        {
            "user": user.astype(np.int32),
            "item": items[keep].astype(np.int32),
            "timestamp": (1_000_000 + np.arange(n_users * length).reshape(n_users, length)[keep] * 60).astype(np.int64),
            "rating": rng.integers(1, 6, size=keep.sum()).astype(np.float32),
        }
    )
    users = pl.DataFrame(
        {"user_id": [f"u{i}" for i in range(n_users)], "gender": ["F" if i % 2 else "M" for i in range(n_users)]}
    )
    items_table = pl.DataFrame(
        {"item_id": [f"i{i}" for i in range(n_items)], "title": [f"Title {i}" for i in range(n_items)]}
    )
    return Dataset("tiny", interactions, users, items_table, content=ring_content(n_items, rng))


def ring_content(n_items: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Two modalities that both tell where on the ring an item is; one item has no picture."""
    angle = 2 * np.pi * np.arange(n_items) / n_items
    waves = np.stack([wave(n * angle) for n in (1, 2, 3, 5, 8) for wave in (np.sin, np.cos)], 1)
    text = np.hstack([waves, 0.2 * rng.normal(size=(n_items, 6))]).astype(np.float32)
    image = np.hstack([waves[:, 4:], 0.2 * rng.normal(size=(n_items, 4))]).astype(np.float32)
    image[7] = np.nan
    return {"text": text, "image": image}


@pytest.fixture(scope="session")
def tiny() -> Dataset:
    """60 people, 40 items, planted order."""
    return planted()
