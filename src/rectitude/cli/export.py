"""``rectitude export``: the judged lists as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rectitude.cli import options
from rectitude.cli.console import emit, line, plural


def export(
    run: options.RunPath,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Parquet file of the lists.")],
    truth: Annotated[
        Path | None, typer.Option("--truth", metavar="FILE", help="Parquet file of the held-out items.")
    ] = None,
    k: Annotated[int, typer.Option("-k", metavar="K", min=1, help="Length of a list.")] = 20,
    fold: Annotated[options.FoldName, typer.Option("--fold", help="Whose lists.")] = "test",
    data: options.MovedData = None,
    as_json: options.Json = False,
) -> None:
    """Write everybody's list as a table.

    Parquet with user_id, rank, item_id and score, from which any metric can be computed again; --truth writes the
    held-out items as user_id and item_id.

    Example:
      rectitude export runs/sasrec --out lists.parquet --truth truth.parquet -k 10
    """
    from rectitude.workflow.exporting import export as write

    evaluation = write(run, out, truth=truth, fold=fold, k=k, data=data)
    n_rows = int((evaluation.lists[:, :k] >= 0).sum())
    if as_json:
        emit(
            {
                "out": str(out),
                "truth": str(truth) if truth is not None else None,
                "users": len(evaluation.users),
                "rows": n_rows,
                "k": k,
                "protocol": evaluation.protocol,
            }
        )
        return
    people = plural(len(evaluation.users), "person", "people")
    line(f"{plural(n_rows, 'row')} for {people} of the {fold} fold in {out}")
    if truth is not None:
        line(f"What they chose in {truth}")
