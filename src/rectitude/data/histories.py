"""Ragged rows of integers (one row per user or query) as one flat array and offsets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class Histories:
    """Rows of item indices in time order, oldest first.

    Attributes:
        items: int32 [n_events], all rows end to end.
        offsets: int64 [n_rows + 1]; row ``r`` is ``items[offsets[r]:offsets[r + 1]]``.
    """

    items: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]

    @classmethod
    def from_rows(cls, rows: Iterable[Sequence[int] | Integers]) -> Histories:
        """Build from one sequence per row."""
        arrays = [np.asarray(row, dtype=np.int32) for row in rows]
        lengths = [len(array) for array in arrays]
        flat = np.concatenate(arrays) if arrays else np.empty(0, np.int32)
        return cls(flat, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))

    @classmethod
    def from_pairs(cls, rows: Integers, items: Integers, n_rows: int) -> Histories:
        """Build from parallel arrays; the order of equal ``rows`` is kept.

        Args:
            rows: [n_events] row of each event, in any order.
            items: [n_events] item of each event.
            n_rows: Number of rows, empty ones included.
        """
        if len(rows) and np.any(rows[1:] < rows[:-1]):
            order = np.argsort(rows, kind="stable")
            rows, items = rows[order], items[order]
        counts = np.bincount(rows, minlength=n_rows)
        return cls(np.asarray(items, np.int32), np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> npt.NDArray[np.int32]:
        return self.items[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """int64 [n_rows], events per row."""
        return np.diff(self.offsets)

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """int64 [n_events], the row of each event."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def take(self, rows: Integers) -> Histories:
        """The given rows, in the given order (repeats allowed)."""
        rows = np.asarray(rows, dtype=np.int64)
        lengths = self.lengths[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        source = np.repeat(self.offsets[rows] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return Histories(self.items[source], offsets)

    def slice(self, start: int, stop: int) -> Histories:
        """Rows ``start`` to ``stop`` without copying the events."""
        offsets = self.offsets[start : stop + 1]
        return Histories(self.items[offsets[0] : offsets[-1]], offsets - offsets[0])

    def append(self, other: Histories) -> Histories:
        """Row by row, the events of ``other`` after ours."""
        rows = np.concatenate([self.rows, other.rows])
        return Histories.from_pairs(rows, np.concatenate([self.items, other.items]), len(self))

    def padded(self, length: int, padding: int) -> npt.NDArray[np.int32]:
        """The last ``length`` events of each row, left-padded.

        Returns:
            int32 [n_rows, length].
        """
        kept = np.minimum(self.lengths, length)
        table = np.full((len(self), length), padding, dtype=np.int32)
        column = np.arange(length)
        inside = column >= (length - kept)[:, None]
        source = (self.offsets[1:, None] - length + column)[inside]
        table[inside] = self.items[source]
        return table

    def unique(self) -> Histories:
        """Each row's distinct items in ascending order: the rows of a binary user-item matrix."""
        n_columns = int(self.items.max(initial=-1)) + 1
        # Sorted by hand: numpy's unique goes through a hash table, which takes a hundred times as long here.
        keys = np.sort(self.rows * np.int64(max(n_columns, 1)) + self.items)
        keys = keys[np.diff(keys, prepend=-1) != 0]
        rows, items = np.divmod(keys, max(n_columns, 1))
        return Histories.from_pairs(rows, items, len(self))
