"""``rectitude reproduce``: a published comparison, computed again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rectitude.cli import options
from rectitude.cli.console import emit, line, tell


def reproduce(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Of a grid, or a TOML file; lists the grids if not given.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where cells and tables go.")] = Path("reproduced"),
    full: Annotated[bool, typer.Option("--full", help="With the companion's own training settings: longer.")] = False,
    backbone: Annotated[str | None, typer.Option("--backbone", metavar="NAME,…", help="Only these models.")] = None,
    method: Annotated[str | None, typer.Option("--method", metavar="NAME,…", help="Only these methods.")] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", metavar="N", min=1, help="Only the first N seeds.")] = None,
    as_json: options.Json = False,
) -> None:
    """Compute a published comparison again, resumably.

    All methods on all backbones and seeds; the table has the published figures beside ours.

    What is there is not computed again, so it can be stopped at any time and called once more.

    Examples:
      rectitude reproduce
      rectitude reproduce in_ucds/movielens --backbone pmf --seeds 1
      rectitude reproduce attribute_unlearning/ml-1m --method original,d2d
    """
    from rectitude.workflow.reproduced import markdown
    from rectitude.workflow.reproducing import grids
    from rectitude.workflow.reproducing import reproduce as compute

    if name is None:
        known = list(grids())
        if as_json:
            emit({"grids": known})
            return
        for each in known:
            line(each)
        return
    backbones, methods = (options.id_list(given) if given else None for given in (backbone, method))
    made = compute(name, out, full=full, backbones=backbones, methods=methods, most_seeds=seeds, announce=tell)
    if as_json:
        emit(made)
        return
    line(markdown(made))
    line(f"Table  {out / (made['name'] + ('-full' if full else '')) / 'table.md'}")
