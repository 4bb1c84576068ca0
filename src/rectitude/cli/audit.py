"""``rectitude audit``: whom a run serves worse, and what it tells of people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rectitude.cli import options
from rectitude.cli.console import emit, grid, line, show, tell

if TYPE_CHECKING:
    from rectitude.audit.checks.finding import Finding


def audit(
    run: options.RunPath,
    attribute: Annotated[
        str | None,
        typer.Option(
            "--attribute", metavar="NAME,…", help="Of the users table; a number may be cut: gender,age:35:46."
        ),
    ] = None,
    checks: Annotated[
        str | None, typer.Option("--checks", metavar="NAME,…", help="Only these: accuracy-gap, attribute-leakage, …")
    ] = None,
    fold: Annotated[
        options.FoldName, typer.Option("--fold", help="valid may be used to choose a remedy; test breaks the seal.")
    ] = "valid",
    share: Annotated[
        float, typer.Option("--share", metavar="S", min=0.0, max=1.0, help="Most active people called advantaged.")
    ] = 0.05,
    seed: options.Seed = 0,
    data: options.MovedData = None,
    as_json: options.Json = False,
) -> None:
    """Check whom a run serves worse and what it tells of people.

    Accuracy gaps, M_UOF, the worst-off group, calibration, popularity bias, exposure, and what attackers can read off
    its vectors, lists and scores; each with an interval and with what chance alone would show. The findings go into
    the run's report and model card.

    Examples:
      rectitude audit runs/bpr --attribute gender,age:35:46
      rectitude audit runs/bpr --attribute gender --checks attribute-leakage --json
    """
    from rectitude.runs.folder import REPORT
    from rectitude.training.run import Run
    from rectitude.workflow.auditing import audit as check

    loaded = Run.load(run)
    made = check(
        loaded,
        attributes=options.id_list(attribute or ""),
        checks=options.id_list(checks) if checks is not None else None,
        fold=fold,
        share=share,
        data=data,
        seed=seed,
        announce=tell,
    )
    for sentence in made.impossible:
        tell(f"Not checked: {sentence}")
    if as_json:
        emit([finding.to_dict() for finding in made.findings])
        return
    table = grid("check", "by", "finding", "value (95 %)", "floor", wrap=(2,))
    for finding in made.findings:
        table.add_row(finding.check, finding.attribute or "–", finding.title, *_figures(finding))
    show(f"{loaded.model.title} ({loaded.path}), {fold} fold", "", table, "")
    line(f"Report  {loaded.path / REPORT}")


def _figures(finding: Finding) -> tuple[str, str]:
    from rectitude.reporting.numbers import number

    ends = ""
    if finding.low is not None and finding.high is not None:
        ends = f" ({number(finding.low, 3)} to {number(finding.high, 3)})"
    floor = "–" if finding.floor is None else number(finding.floor, 3)
    return f"{number(finding.value, 4)}{ends}", floor
