"""The stamp on every number: what was asked, of what, how, and with which versions."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from rectitude.core.about import __version__
from rectitude.core.errors import RectitudeError
from rectitude.data.split import Fold

TIES = "held-out items after all others of equal score, then by item index"
MUST_AGREE = ("data", "split", "fold", "queries", "candidates", "seen_items", "ties")
"""Fields without which two figures do not speak of the same thing."""


def fold_hash(fold: Fold) -> str:
    """First 16 hex digits of a SHA-256 over users, histories and held-out items: equal hash, equal questions."""
    digest = hashlib.sha256()
    for array in (fold.users, fold.history.offsets, fold.history.items, fold.targets.offsets, fold.targets.items):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def versions() -> dict[str, str]:
    """Versions of what computed the figures."""
    return {
        "rectitude": __version__,
        "torch": version("torch"),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def stamp(
    fold: Fold,
    *,
    ks: Sequence[int],
    mask_seen: bool,
    seed: int,
    n_items: int,
    n_fallback: int = 0,
    data_hash: str | None = None,
    split: Mapping[str, Any] | None = None,
    fold_name: str | None = None,
) -> dict[str, Any]:
    """Everything that must be known to read a figure, ready for JSON.

    Args:
        fold: The questions.
        ks: Cut-offs.
        mask_seen: Whether items of the history were left out of the ranking.
        seed: Of the intervals.
        n_items: Size of the catalogue, all of it ranked.
        n_fallback: Questions that the model could not answer and popularity answered.
        data_hash: ``Dataset.hash``.
        split: ``Split.protocol``.
        fold_name: ``"valid"`` or ``"test"``.
    """
    return {
        "data": data_hash,
        "split": dict(split) if split is not None else None,
        "fold": fold_name,
        "queries": {"count": len(fold), "held_out_items": len(fold.targets.items), "hash": fold_hash(fold)},
        "candidates": f"all {n_items} items",
        "seen_items": "left out" if mask_seen else "ranked",
        "ties": TIES,
        "k": sorted(ks),
        "seed": seed,
        "answered": {"by_model": len(fold) - n_fallback, "by_fallback": n_fallback, "fallback": "popularity"},
        "versions": versions(),
    }


def require_same(protocols: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse to compare figures of different questions.

    Args:
        protocols: Name of a run to its stamp.

    Raises:
        RectitudeError: A field of :data:`MUST_AGREE` differs; the message says which and how.
    """
    names = list(protocols)
    for name in names[1:]:
        for field in MUST_AGREE:
            ours, theirs = protocols[names[0]].get(field), protocols[name].get(field)
            if ours != theirs:
                raise RectitudeError(
                    f"'{names[0]}' and '{name}' were not evaluated alike: '{field}' is {ours} for one and {theirs} "
                    "for the other",
                    where="protocol stamp",
                    fix="Evaluate both on the same data, split and fold with the same masking",
                )
