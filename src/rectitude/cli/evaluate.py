"""``rectitude evaluate``: judge a run."""

from __future__ import annotations

from typing import Annotated

import typer

from rectitude.cli import options
from rectitude.cli.console import emit, line, show, tell


def evaluate(
    run: options.RunPath,
    fold: Annotated[
        options.FoldName, typer.Option("--fold", help="test breaks the seal; valid is what training looked at.")
    ] = "test",
    data: options.MovedData = None,
    as_json: options.Json = False,
) -> None:
    """Judge a run: every item ranked for everybody in a fold.

    The figures with their intervals are printed, and written into the run with a new report and model card.

    Example:
      rectitude evaluate runs/sasrec --fold test
    """
    from rectitude.cli.tables import asked, evaluation_table
    from rectitude.runs.folder import REPORT
    from rectitude.training.run import Run
    from rectitude.workflow.judging import evaluate as judge

    loaded = Run.load(run)
    evaluation = judge(loaded, fold, data=data, progress=True)
    tell(f"Ranked and measured in {evaluation.seconds:.1f} s")
    if as_json:
        emit(evaluation.to_dict())
        return
    show(f"{loaded.model.title} ({loaded.path})", asked(evaluation.protocol), "", evaluation_table(evaluation), "")
    line(f"Report  {loaded.path / REPORT}")
