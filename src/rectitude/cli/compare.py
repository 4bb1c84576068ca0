"""``rectitude compare``: several runs on the same questions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rectitude.cli import options
from rectitude.cli.console import emit, show, tell

if TYPE_CHECKING:
    from rectitude.evaluation.significance import Comparison


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN…", help="Folders of runs.")],
    fold: Annotated[options.FoldName, typer.Option("--fold", help="Fold they are compared on.")] = "test",
    metrics: Annotated[
        str, typer.Option("--metrics", metavar="M,M,…", help="Metrics to compare by.")
    ] = "ndcg@10,recall@10,mrr@10",
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", metavar="RUN", help="Test the others against this run only, not every pair."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Compare runs person by person, with paired tests.

    Figures have intervals, and p-values are corrected for the number of tests. A run that has not been judged on the
    fold is judged first.

    Example:
      rectitude compare runs/popularity runs/ease runs/sasrec --baseline runs/popularity
    """
    from rectitude.workflow.comparing import compare as side_by_side

    chosen = options.id_list(metrics)
    comparison = side_by_side(runs, fold=fold, metrics=chosen, baseline=baseline, announce=tell)
    if as_json:
        emit(comparison.to_dict())
        return
    show_comparison(comparison)


def show_comparison(comparison: Comparison) -> None:
    """Print the figures of each run and the tests between them."""
    from rectitude.cli.tables import asked, figures_table, tests_table

    show(asked(comparison.protocol), "", figures_table(comparison))
    if comparison.rows:
        show("", tests_table(comparison), "")
        n_tests = len(comparison.rows)
        show(
            f"Intervals of 95 % for people like these, not for other training seeds. "
            f"p-values are corrected for {'the one test' if n_tests == 1 else f'all {n_tests} tests'} (Holm)."
        )
