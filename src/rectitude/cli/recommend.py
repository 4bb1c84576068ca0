"""``rectitude recommend``: ask a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rectitude.cli import options
from rectitude.cli.console import emit, show, tell
from rectitude.core.errors import QueryError


def recommend(
    run: options.RunPath,
    user: Annotated[str | None, typer.Option("--user", metavar="ID", help="A person of the training data.")] = None,
    history: Annotated[
        str | None, typer.Option("--history", metavar="ID,ID,…", help="Items of anybody, oldest first.")
    ] = None,
    titles: Annotated[
        str | None, typer.Option("--titles", metavar="'T; T; …'", help="The same by title, or how a title begins.")
    ] = None,
    k: Annotated[int, typer.Option("-k", metavar="K", help="Length of the list.")] = 10,
    exclude_seen: Annotated[
        bool, typer.Option("--exclude-seen/--include-seen", help="Leave out what is in the history.")
    ] = True,
    only: Annotated[
        Path | None, typer.Option("--only", metavar="FILE", help="File of the item ids allowed, one a line.")
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Tell why, as far as the model can.")] = False,
    as_json: options.Json = False,
) -> None:
    """Recommend to a known person, or to anybody with a history.

    Examples:
      rectitude recommend runs/sasrec --user 196 -k 5
      rectitude recommend runs/prism --user 196 --explain
      rectitude recommend runs/sasrec --history 50,172,181
      rectitude recommend runs/sasrec --titles "Star Wars; Toy Story"
    """
    if sum(given is not None for given in (user, history, titles)) != 1:
        raise QueryError("Ask with one of a user, a history and titles", fix="Give --user, --history or --titles")
    allowed = None if only is None else _read_ids(only)

    from rectitude.training.run import Run

    loaded = Run.load(run)
    items = None
    if history is not None:
        items = options.id_list(history)
    elif titles is not None:
        items = [loaded.find_title(title) for title in options.id_list(titles, ";")]
    answer = loaded.recommend(user, history=items, k=k, exclude_seen=exclude_seen, only=allowed, explain=explain)
    for note in answer.notes:
        tell(note)
    if as_json:
        emit({key: value for key, value in answer.to_dict().items() if key != "notes"})
        return

    from rectitude.cli.tables import list_table

    asked = f"user {user}" if user is not None else "this history"
    show(f"For {asked}, answered by {answer.answered_by}", "", list_table(answer))
    if answer.explanation is not None and answer.explanation.shares:
        counted = sorted(answer.explanation.shares.items(), key=lambda entry: -entry[1])
        show("", f"What counted: {', '.join(f'{name} {share:.0%}' for name, share in counted)}")


def _read_ids(path: Path) -> list[str]:
    """Item ids, one a line.

    Raises:
        QueryError: The file cannot be read or is empty.
    """
    try:
        ids = options.id_list(path.read_text(encoding="utf-8"), "\n")
    except UnicodeDecodeError as error:
        raise QueryError("The list of allowed items is not UTF-8 text", where=str(path)) from error
    except OSError as error:
        raise QueryError(
            f"The list of allowed items cannot be read: {error.strerror}",
            where=str(path),
            fix="Give one item id a line",
        ) from error
    if not ids:
        raise QueryError("The list of allowed items is empty", where=str(path), fix="Give one item id a line")
    return ids
