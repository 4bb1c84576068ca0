"""``rectitude report``: where the report of a run is."""

from __future__ import annotations

from rectitude.cli import options
from rectitude.cli.console import emit, line


def report(run: options.RunPath, as_json: options.Json = False) -> None:
    """Print where the report of a run is.

    One file for a browser, which can be sent to anybody.

    Example:
      rectitude report runs/sasrec
    """
    from rectitude.runs.folder import CARD, REPORT, RunFolder

    folder = RunFolder(run)
    found = folder.file(REPORT).resolve()
    if as_json:
        emit({"report": str(found), "card": str(folder.file(CARD).resolve())})
        return
    line(str(found))
