"""``rectitude classify``: decide about rows with the classifier of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rectitude.cli import options
from rectitude.cli.console import emit, grid, line, plural, show, tell


def classify(
    run: options.RunPath,
    rows: Annotated[str, typer.Argument(metavar="ROWS", help="Table with the columns the run was made from.")],
    client: Annotated[
        str | None,
        typer.Option("--client", metavar="NAME", help="Whose rows they are; the shared part alone decides otherwise."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the decisions as CSV or Parquet.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Decide about rows with the classifier of a federation.

    Flower is not needed. Without --out the number of rows of each decision is printed.

    Example:
      rectitude classify runs/adult-fedfact-post-s0 adult --client client-0
    """
    from rectitude.federated.model import FederatedModel
    from rectitude.federated.tables import read_table

    model = FederatedModel.load(run)
    frame = read_table(rows)
    decided = model.predict(frame, client=client)
    counts = {name: int((decided == name).sum()) for name in model.plan.problem.classes}
    if out is not None:
        _write(out, decided.tolist())
    if as_json:
        emit({"run": str(run), "client": client, "rows": len(decided), "decisions": counts})
        return
    table = grid("Decision", "Rows", right=(1,))
    for name, count in counts.items():
        table.add_row(name, f"{count:,}")
    tell(f"{plural(len(decided), 'row')} decided")
    show(table, "")
    if out is not None:
        line(f"Decisions  {out}")


def _write(out: Path, decided: list[str]) -> None:
    import io

    import polars as pl

    from rectitude.core.files import write_bytes

    frame = pl.DataFrame({"row": range(len(decided)), "decision": decided})
    content = io.BytesIO()
    if out.suffix == ".parquet":
        frame.write_parquet(content)
    else:
        frame.write_csv(content)
    write_bytes(out, content.getvalue())
