"""One look for everything that takes time: a bar on standard error with count, speed and time left."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

console = Console(stderr=True)
"""Where people read along; standard output is kept for results."""


def say(message: str) -> None:
    """Tell the person at the terminal something; never part of a command's result."""
    console.print(message, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def progress_bar(*, visible: bool = True) -> Iterator[Progress]:
    """A rich progress display that stays silent where nobody watches (pipes, tests, ``visible=False``)."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        transient=False,
        disable=not (visible and sys.stderr.isatty()),
    ) as progress:
        yield progress
