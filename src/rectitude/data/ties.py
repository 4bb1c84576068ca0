"""Events of one person at the same moment: what their order in the file means, and what to do where it means nothing.

Files sorted by user, time and item id put tied events in the order of their ids. Leave-one-out then holds out the
largest id of the last tie, and sequence models learn to count upwards. MovieLens-100K, where half of all events are
tied, is such a file in more than one distribution; ``docs/results.md`` has the figures with and without.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from rectitude.data.columns import ITEM, TIMESTAMP, USER
from rectitude.data.dataset import Dataset

Ties = Literal["auto", "file", "scramble"]

_ENOUGH = 30
"""Fewer ties than this are not judged."""
_SORTED_SHARE = 0.99


def settle_ties(dataset: Dataset, ties: Ties = "auto") -> Dataset:
    """Put events of one person and moment into an order that means what it says.

    Args:
        dataset: Sorted by user and time.
        ties: ``file`` keeps the order of the file; ``scramble`` replaces it by one that depends on the pair of user and
            item only, the same every time; ``auto`` scrambles where the file's order is that of the item ids.
    """
    if ties == "file" or TIMESTAMP not in dataset.interactions.columns or dataset.source.get("time") != "timestamp":
        return dataset
    user, item, time = (dataset.interactions[name].to_numpy() for name in (USER, ITEM, TIMESTAMP))
    tied = (user[1:] == user[:-1]) & (time[1:] == time[:-1])
    n_tied = int(tied.sum())
    if not n_tied:
        return dataset
    ascending = int((item[1:] >= item[:-1])[tied].sum())
    if ties == "auto" and (n_tied < _ENOUGH or ascending < _SORTED_SHARE * n_tied):
        return dataset
    order = np.lexsort((_scrambled(user, item), time, user))
    note = f"{n_tied} events share user and time with the one before"
    if ties == "auto":
        note += "; the file has them in the order of item ids, which says nothing of what came first"
    note += ": their order is scrambled (ties=file keeps that of the file)"
    return replace(dataset, interactions=dataset.interactions[order], notes=(*dataset.notes, note))


def _scrambled(user: npt.NDArray[np.int32], item: npt.NDArray[np.int32]) -> npt.NDArray[np.uint64]:
    """A fixed 64-bit hash of each pair (the finaliser of SplitMix64)."""
    value = (user.astype(np.uint64) << np.uint64(32)) | item.astype(np.uint64)
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
