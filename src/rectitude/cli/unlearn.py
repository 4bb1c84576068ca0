"""``rectitude unlearn``: make a trained run forget."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from rectitude.cli import options
from rectitude.cli.command import Verb, Verbs
from rectitude.cli.console import Stopped, emit, grid, line, show, tell

unlearn = typer.Typer(
    cls=Verbs,
    help="Make a trained run forget; the run itself stays as it is.\n\nExample:\n"
    "  rectitude unlearn attribute runs/bpr --attribute gender",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@unlearn.command(cls=Verb)
def attribute(
    ctx: typer.Context,
    run: options.RunPath,
    attribute: Annotated[
        str, typer.Option("--attribute", metavar="NAME,…", help="Of the users table; a number may be cut: age:35:46.")
    ],
    loss: Annotated[
        Literal["d2d", "u2u", "noise", "shuffle"],
        typer.Option("--loss", help="Distributions, pairs, or a bound to compare with."),
    ] = "d2d",
    regulariser: Annotated[
        Literal["order", "scores", "l2"] | None, typer.Option("--regulariser", help="What of the model is kept.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="K=V", help="One setting of the unlearning, e.g. weight=3.")
    ] = None,
    seed: options.Seed = 0,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="RUN", help="The new run; RUN-without-ATTRIBUTE if not given.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted unlearning.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a run that is there.")] = False,
    data: options.MovedData = None,
    as_json: options.Json = False,
) -> None:
    """Edit the vectors a run stores of people until attackers can no longer tell an attribute from them.

    A new run is written, with its parent's name in its lineage and a before-and-after table; the parent is only read.
    Lists and scores may still tell, and the table says whether they do.

    Example:
      rectitude unlearn attribute runs/bpr --attribute gender --loss d2d --out runs/bpr-unlearnt
    """
    from rectitude.core.config import parse_assignments
    from rectitude.workflow.unlearning import unlearn_attribute

    given: dict[str, Any] = {"loss": loss, **({"regulariser": regulariser} if regulariser else {})}
    given |= parse_assignments(settings or ())
    try:
        made, told = unlearn_attribute(
            run,
            options.id_list(attribute),
            settings=given,
            seed=seed,
            out=out,
            data=data,
            resume=resume,
            overwrite=overwrite,
            announce=tell,
            on_check=_look,
        )
    except KeyboardInterrupt as interrupt:
        words = ctx.obj if "--resume" in ctx.obj else [*ctx.obj, "--resume"]
        raise Stopped(
            "Stopped; the parent run is as it was", fix=f"Go on with: rectitude {shlex.join(words)}"
        ) from interrupt
    if as_json:
        emit({"run": str(made.path), **told})
        return
    table = grid("", "before (95 %)", "after (95 %)", wrap=(0,))
    for row in told["rows"]:
        table.add_row(row["figure"], _written(row["before"]), _written(row["after"]))
    show(table, "")
    tell(f"{told['steps']} steps, {told['cpu_seconds']:.1f} CPU seconds (ended by: {told['stopped']})")
    line(f"Run     {made.path}")
    line(f"Next    rectitude audit {shlex.quote(str(made.path))} --attribute {attribute}")


def _look(row: dict[str, float]) -> None:
    seen = ", ".join(f"{name} {value:.3f}" for name, value in row.items() if name not in ("step", "loss"))
    tell(f"Step {row['step']:.0f}: loss {row['loss']:.4f}; {seen}")


def _written(figure: dict[str, float]) -> str:
    from rectitude.reporting.numbers import number

    ends = "" if figure["low"] is None else f" ({number(figure['low'], 3)} to {number(figure['high'], 3)})"
    return f"{number(figure['value'], 4)}{ends}"
