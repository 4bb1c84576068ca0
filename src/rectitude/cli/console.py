"""What a verb says: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import math
import os
import sys
from typing import TYPE_CHECKING, Any

from rectitude.core.errors import RectitudeError

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table


class Stopped(RectitudeError):  # noqa: N818 -- not an error
    """The person at the terminal stopped the command."""


def emit(value: Any) -> None:
    """Print a result as JSON; a number that is not finite becomes null."""
    utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    text = json.dumps(_finite(value), indent=2, ensure_ascii=not utf8, allow_nan=False)
    sys.stdout.write(text + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return value


def show(*parts: RenderableType) -> None:
    """Print a result for people."""
    from rich.console import Console

    console = Console(markup=False, highlight=False, emoji=False)
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    sys.stdout.write("\n".join(row.rstrip(" ") for row in captured.get().split("\n")))


def line(text: str) -> None:
    """Print a line that is never broken, because it holds a path or a command to copy."""
    sys.stdout.write(text + "\n")


def tell(message: str) -> None:
    """A sentence beside the result, on standard error; only the first of several processes speaks."""
    from rectitude.core.progress import console

    if os.environ.get("RANK", "0") == "0":
        console.print(message, highlight=False, markup=False, emoji=False, soft_wrap=not console.is_terminal)


def fail(error: RectitudeError, *, as_json: bool) -> None:
    """Say on standard error what is wrong: one line, or one JSON object."""
    if as_json:
        text = json.dumps({"error": {"what": error.what, "where": error.where, "fix": error.fix}})
    else:
        text = " ".join(str(error).split())
        text = text if isinstance(error, Stopped) else f"Error: {text}"
    sys.stderr.write(text + "\n")


def grid(*columns: str, right: tuple[int, ...] = (), wrap: tuple[int, ...] = ()) -> Table:
    """An empty table without rules, as wide as what it holds.

    Args:
        columns: Headers.
        right: Positions of columns of numbers.
        wrap: Positions of columns that may be broken into lines; the others keep theirs whole.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for position, header in enumerate(columns):
        table.add_column(
            header, justify="right" if position in right else "left", no_wrap=position not in wrap, overflow="fold"
        )
    return table


def terminal_width() -> int:
    """Columns of the terminal, 80 where there is none."""
    from rich.console import Console

    return Console().width


def facts(pairs: dict[str, Any]) -> Table:
    """Names and values, one a line."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs.items():
        table.add_row(name, str(value))
    return table


def plural(count: int, one: str, many: str | None = None) -> str:
    """``1 person`` or ``1,682 items``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
