"""Where in a source a value stands, for messages that can be acted on."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl


@dataclass(frozen=True)
class Source:
    """A table as it was read, with what is needed to name a place in it.

    Attributes:
        frame: One row per interaction.
        name: File name, or ``"the frame"``.
        first: Number of the first row in the reader's terms (2: a text file with a header).
        unit: ``"line"`` for text files, ``"row"`` otherwise.
        notes: What was guessed while reading, one sentence each.
        passed_over: Numbers, from 0, of rows of the source that are not in the frame (blank lines), ascending.
    """

    frame: pl.DataFrame
    name: str
    first: int = 1
    unit: str = "row"
    notes: list[str] = field(default_factory=list)
    passed_over: tuple[int, ...] = ()

    def at(self, row: int, column: str | None = None) -> str:
        """``ratings.csv, line 17, column 'rating'``."""
        for blank in self.passed_over:
            row += blank <= row
        place = f"{self.name}, {self.unit} {row + self.first}"
        return f"{place}, column '{column}'" if column else place
