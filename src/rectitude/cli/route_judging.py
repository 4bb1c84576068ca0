"""``rectitude route audit`` and ``priors``: what other recommenders of models do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rectitude.cli import options
from rectitude.cli.console import emit, grid, line, show
from rectitude.cli.route_options import CatalogueFile, FreePrices, PriceUnit, catalogue_of

_SOMEBODY = "the recommender"
Name = Annotated[str, typer.Option("--name", metavar="NAME", help="Of the recommender, for the report.")]
Report = Annotated[Path | None, typer.Option("--report", metavar="FILE", help="Write an HTML page.")]


def audit(
    recommendations: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="JSON (or JSON lines): feedback, models named, and its clauses if known."),
    ],
    catalog: CatalogueFile,
    name: Name = _SOMEBODY,
    delta: Annotated[float, typer.Option("--delta", min=0, max=1, metavar="D", help="Regret of near-feasible.")] = 0.1,
    seed: options.Seed = 0,
    report: Report = None,
    price_unit: PriceUnit = None,
    free_prices: FreePrices = "unknown",
    as_json: options.Json = False,
) -> None:
    """Judge what a recommender named: hard violations, coverage, regret, and whether it beats random sets.

    Example:
      rectitude route audit named.json --catalog models.csv --report audit.html
    """
    from rectitude.decisions.routing.auditing import audit as judge
    from rectitude.decisions.routing.auditing import read_recommendations
    from rectitude.decisions.routing.problem import Policy

    known = catalogue_of(catalog, price_unit, free_prices)
    cases = read_recommendations(_entries(recommendations), known)
    found = judge(known, cases, Policy(delta=delta, defaults=False), seed)
    if report is not None:
        from rectitude.core.files import write_text
        from rectitude.decisions.routing.report import audit_report

        write_text(report, audit_report(name, found))
    if as_json:
        emit(found)
        return
    table = grid("measure", "value", "95 %", "of", right=(1, 3))
    for measure, value in found["summary"].items():
        ends = "–" if value["low"] is None else f"{value['low']:.3f}–{value['high']:.3f}"
        table.add_row(measure.replace("_", " "), f"{value['value']:.3f}", ends, str(value["n"]))
    show(table)
    if report is not None:
        line(f"Report  {report}")


def priors(
    catalog: CatalogueFile,
    named: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]", help="JSON: for each run without feedback the models named; our router if omitted."
        ),
    ] = None,
    name: Name = _SOMEBODY,
    permutations: Annotated[
        int, typer.Option("--permutations", min=100, metavar="N", help="Shuffles of the test.")
    ] = 10_000,
    seed: options.Seed = 0,
    report: Report = None,
    price_unit: PriceUnit = None,
    free_prices: FreePrices = "unknown",
    as_json: options.Json = False,
) -> None:
    """Measure what a recommender favours when nothing is wished for: lifts with permutation tests.

    Example:
      rectitude route priors --catalog models.csv
    """
    from dataclasses import asdict

    from rectitude.decisions.routing.priors import lifts
    from rectitude.decisions.routing.router import Router

    known = catalogue_of(catalog, price_unit, free_prices)
    if named is None:
        ranking = Router(known).route("").ranking
        runs = [[ranked.model for ranked in ranking[:5]]]
        name = "this router" if name == _SOMEBODY else name
    else:
        runs = _runs(_entries(named), named)
    found = lifts(known, runs, permutations=permutations, seed=seed)
    if report is not None:
        from rectitude.core.files import write_text
        from rectitude.decisions.routing.report import priors_report

        write_text(report, priors_report(name, found))
    if as_json:
        emit({"runs": len(runs), "catalogue": known.hash, "lifts": [asdict(each) for each in found]})
        return
    table = grid("value", "recommended", "present", "lift", "p", "q", right=(1, 2, 3, 4, 5), wrap=(0,))
    for each in found[:15]:
        shares = f"{each.recommended:.0%}", f"{each.present:.0%}"
        table.add_row(each.says, *shares, f"{each.lift:+.2f}", f"{each.p:.4f}", f"{each.q:.4f}")
    show(table)
    if report is not None:
        line(f"Report  {report}")


def _entries(path: Path) -> list[Any]:
    """A JSON list, or one JSON value a line."""
    import json

    from rectitude.core.errors import ConfigError

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The file cannot be read: {error}", where=str(path)) from error
    try:
        value = json.loads(text)
        return value if isinstance(value, list) else [value]
    except ValueError:
        pass
    found = []
    for number, row in enumerate(text.splitlines(), start=1):
        if row.strip():
            try:
                found.append(json.loads(row))
            except ValueError as error:
                raise ConfigError(f"Line {number} is not JSON: {error}", where=str(path)) from error
    return found


def _runs(entries: list[Any], path: Path) -> list[list[str]]:
    from rectitude.core.errors import ConfigError

    found = [entry.get("models") if isinstance(entry, dict) else entry for entry in entries]
    if found and all(isinstance(each, str) for each in found):
        return [[str(each) for each in found]]
    if not all(isinstance(each, list) for each in found):
        raise ConfigError("Each run is a list of models", where=str(path), fix='For example [["a", "b"], ["b", "c"]]')
    return [[str(name) for name in each] for each in found if each]
