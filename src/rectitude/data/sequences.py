"""Sequence files: one line per user, the user first and then the items in time order."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl

from rectitude.core.errors import DataError
from rectitude.data.columns import ITEM, POSITION, USER
from rectitude.data.place import Source
from rectitude.data.textfiles import head

_WIDEST_TABLE = 1000


def looks_like_sequences(content: bytes) -> bool:
    """Whether lines are blank-separated words of varying number: the sign of one sequence per line."""
    lines = head(content)
    if any(sign in line for line in lines for sign in ("\t", ",", ";", "|", "::")):
        return False
    widths = {len(line.split()) for line in lines}
    return len(widths) > 1 or max(widths, default=0) > _WIDEST_TABLE


def read_sequences(path: Path, content: bytes) -> Source:
    """Read ``user item item …`` lines into one row per event with its position.

    Raises:
        DataError: No line holds an item, or a user has two lines.
    """
    users: list[str] = []
    items: list[str] = []
    lengths: list[int] = []
    empty = 0
    for line in content.decode().splitlines():
        user, *events = line.split() or [""]
        if not events:
            empty += bool(user)
            continue
        users.append(user)
        items.extend(events)
        lengths.append(len(events))
    if not items:
        raise DataError(
            "No line holds a user and items", where=path.name, fix="Write one line per user: user item item …"
        )
    if len(set(users)) < len(users):
        twice = Counter(users).most_common(1)[0][0]
        raise DataError(
            f"User '{twice}' has two lines", where=path.name, fix="Join the lines of each user in time order"
        )
    ends = np.cumsum(lengths)
    frame = pl.DataFrame(
        {
            USER: pl.Series(users, dtype=pl.String).gather(np.repeat(np.arange(len(users)), lengths)),
            ITEM: pl.Series(items, dtype=pl.String),
            POSITION: np.arange(len(items)) - np.repeat(ends - lengths, lengths),
        }
    )
    notes = ["Read as one sequence per line: the user, then the items in time order"]
    if empty:
        notes.append(f"{empty} users without items are dropped")
    return Source(frame, path.name, unit="event", notes=notes)
