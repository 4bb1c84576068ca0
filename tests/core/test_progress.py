from __future__ import annotations

import pytest

from rectitude.core.progress import progress_bar, say


def test_what_is_said_never_mixes_with_results(capsys: pytest.CaptureFixture[str]) -> None:
    say("[bold]read[/bold] 3 of 5 :-)")
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "[bold]read[/bold] 3 of 5 :-)\n"


def test_a_bar_is_silent_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar() as bar:
        task = bar.add_task("train", total=3, note="")
        bar.advance(task, 3)
    assert capsys.readouterr() == ("", "")
