"""``rectitude plan``: which small change goes with a better outcome, and is it worth it?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rectitude.cli import options
from rectitude.cli.command import Verb
from rectitude.cli.console import emit, facts, grid, line, plural, show, tell
from rectitude.core.errors import ConfigError, QueryError

if TYPE_CHECKING:
    from rich.table import Table as Shown

    from rectitude.decisions.plans.building import Person
    from rectitude.decisions.plans.policy import Policy
    from rectitude.decisions.plans.prescriber import Prescriber

plan = typer.Typer(help="Predict an outcome and plan the smallest change worth it.", no_args_is_help=True)

Table = Annotated[
    str, typer.Argument(metavar="TABLE", help="Survey: CSV, TSV or Parquet file, or folder with data.parquet.")
]
Target = Annotated[str | None, typer.Option("--target", metavar="COLUMN", help="Column of the outcome.")]
Good = Annotated[
    str | None,
    typer.Option("--good", metavar="VALUE", help="The wanted outcome: a value, or a comparison such as '>= 0.85'."),
]
PolicySet = Annotated[
    list[str] | None,
    typer.Option("--policy", metavar="K=V", help="How to weigh: max_changes, resistance_weight, min_gain, budget, …"),
]
Jobs = Annotated[int, typer.Option("--jobs", metavar="N", min=1, help="Parallel processes.")]
Method = Annotated[
    Literal["surrogate", "embedded", "robust", "consensus"] | None,
    typer.Option(
        "--method",
        help="Level curves (milliseconds), the trained model, its bootstraps, or regression and trees together.",
    ),
]


@plan.command("schema", cls=Verb)
def schema(
    table: Table,
    target: Annotated[str, typer.Option("--target", metavar="COLUMN", help="Column of the outcome.")],
    good: Good = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write it there (.toml or .json).")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
    as_json: options.Json = False,
) -> None:
    """Guess what a table means, to be edited: kinds, levels, what may change, and what must not be used.

    Examples:
      rectitude plan schema survey.csv --target good_sleep --out schema.toml
      rectitude plan schema survey.csv --target good_sleep --json
    """
    from rectitude.decisions.plans.conditions import number_or_text
    from rectitude.decisions.plans.guess import guess_schema, note_lines
    from rectitude.decisions.plans.schema import dump_schema, toml_text, write_schema
    from rectitude.decisions.plans.table import read_survey

    if out is not None and out.exists() and not overwrite:
        raise ConfigError("A file is there already", where=str(out), fix="Choose another --out, or add --overwrite")
    frame, notes = read_survey(table)
    found = guess_schema(frame, target, good=None if good is None else _wanted(frame[target].to_list(), good)
                         if target in frame.columns else number_or_text(good))  # fmt: skip
    for note in (*notes, *note_lines(found)):
        tell(note)
    if out is not None:
        write_schema(found, out)
    if as_json:
        emit(dump_schema(found))
    elif out is not None:
        line(f"Schema  {out}")
    else:
        line(toml_text(dump_schema(found)).rstrip("\n"))


def _wanted(values: list[Any], good: str) -> Any:
    """A number where the column holds numbers, else the label."""
    from rectitude.decisions.plans.conditions import number_or_text

    return number_or_text(good) if any(isinstance(value, float) for value in values) else good


@plan.command("fit", cls=Verb)
def fit(
    table: Table,
    target: Target = None,
    good: Good = None,
    schema: Annotated[
        str | None, typer.Option("--schema", metavar="FILE", help="What the table means; guessed if not given.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Run folder.")] = Path("runs/plan"),
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="K=V", help="outer_folds, inner_folds, n_bootstraps, families, …"),
    ] = None,
    policy: PolicySet = None,
    seed: options.Seed = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a run that is there.")] = False,
    as_json: options.Json = False,
) -> None:
    """Fit a calibrated classifier, an independent judge and everything plans need.

    Examples:
      rectitude plan fit survey.csv --target good_sleep --out runs/sleep
      rectitude plan fit survey.csv --target good_sleep --schema schema.toml --set outer_folds=0 --out runs/quick
    """
    from rectitude.core.config import build, parse_assignments
    from rectitude.decisions.plans.conditions import number_or_text
    from rectitude.decisions.plans.fitting import FitSettings
    from rectitude.decisions.plans.prescriber import Prescriber

    given = parse_assignments(settings or ())
    build(FitSettings, given, where="--set")
    weighed = _policy({}, policy, None)
    found = Prescriber.fit(
        table,
        target,
        good=None if good is None else number_or_text(good),
        schema=schema,
        settings=given,
        policy=weighed,
        seed=seed,
        out=out,
        overwrite=overwrite,
        announce=tell,
    )
    if as_json:
        metrics = found.metrics
        emit({"run": str(out), "model": found.config["model"], "judge": found.config["judge"], "metrics": metrics,
              "mutable": list(found.schema.mutable()), "notes": found.config["notes"]})  # fmt: skip
        return
    show(_prediction_table(found), "")
    line(f"Run     {out}")
    line(f"Schema  {out / 'schema.toml'}")
    line(f"Next    rectitude plan for {out} --row {found.ids('test')[0]}")


def _prediction_table(found: Prescriber) -> Any:
    import numpy as np

    nested = found.metrics["nested_cv"]
    shown = grid("measure", "nested CV", "test people", "always the commoner", right=(1, 2, 3))
    for key, value in found.metrics["test"].items():
        crossed = f"{np.mean([row[key] for row in nested]):.3f}" if nested else "–"
        shown.add_row(key, crossed, f"{value:.3f}", f"{found.metrics['test_majority'][key]:.3f}")
    return shown


@plan.command("for", cls=Verb)
def for_(
    run: options.RunPath,
    row: Annotated[str | None, typer.Option("--row", metavar="ID", help="A person of the training table.")] = None,
    answers: Annotated[
        Path | None, typer.Option("--answers", metavar="FILE", help="JSON or TOML: answers, locked, wishes, readiness.")
    ] = None,
    table: Annotated[str | None, typer.Option("--table", metavar="FILE", help="Many people: a survey table.")] = None,
    target: Annotated[
        float | None,
        typer.Option("--target", metavar="P", help="Least effort to reach this chance, instead of advice."),
    ] = None,
    method: Method = None,
    lock: Annotated[list[str] | None, typer.Option("--lock", metavar="COLUMN", help="Do not change this.")] = None,
    wish: Annotated[
        list[str] | None, typer.Option("--wish", metavar="'COLUMN >= V'", help="The plan must fulfil this.")
    ] = None,
    policy: PolicySet = None,
    sweep: Annotated[
        bool, typer.Option("--sensitivity", help="Also plan with each weight moved: effort, charge, changes, budget.")
    ] = False,
    page: Annotated[
        Path | None, typer.Option("--page", metavar="FILE", help="Also write the person's page there.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="With --table: JSON lines go there.")
    ] = None,
    jobs: Jobs = 1,
    as_json: options.Json = False,
) -> None:
    """Plan for one person, or for everybody of a table.

    Examples:
      rectitude plan for runs/sleep --row 17 --json
      rectitude plan for runs/sleep --row 17 --target 0.8 --lock smoking
      rectitude plan for runs/sleep --row 17 --sensitivity
      rectitude plan for runs/sleep --table survey.csv --method surrogate --jobs 2 --out plans.jsonl
    """
    if sum(given is not None for given in (row, answers, table)) != 1:
        raise QueryError("Ask with one of a row, answers and a table", fix="Give --row, --answers or --table")
    from rectitude.decisions.plans.prescriber import Prescriber

    found = Prescriber.load(run)
    extra: dict[str, Any] = {} if target is None else {"target": target}
    weighed = _policy(found.config["policy"], policy, method, extra)
    if table is not None:
        _many(found, table, weighed, jobs, out, as_json=as_json)
        return
    person = _one(found, row, answers, lock or [], wish or [])
    made = found.planner(person, weighed).plan().to_dict()
    if sweep:
        from rectitude.decisions.plans.sensitivity import sensitivity

        made["sensitivity"] = [swept.to_dict() for swept in sensitivity(found, person, weighed)]
    if page is not None:
        from rectitude.core.files import write_text
        from rectitude.decisions.plans.report import person_page

        write_text(page, person_page(found, row or (answers.stem if answers else "?"), person, made))
    if as_json:
        emit(made)
        return
    _tell_plan(made)
    if sweep:
        _tell_sensitivity(made["sensitivity"])


def _policy(
    base: dict[str, Any], assignments: list[str] | None, method: str | None, extra: dict[str, Any] | None = None
) -> Policy:
    from rectitude.core.config import build, parse_assignments
    from rectitude.decisions.plans.policy import Policy

    given = parse_assignments(assignments or (), where="--policy")
    chosen = {} if method is None else {"method": method}
    return build(Policy, {**base, **given, **chosen, **(extra or {})}, where="--policy")


def _one(found: Prescriber, row: str | None, answers: Path | None, lock: list[str], wish: list[str]) -> Person:
    from rectitude.core.config import read_config
    from rectitude.decisions.plans.building import Person

    if row is not None:
        person = found.person(row)
    else:
        assert answers is not None  # noqa: S101 -- for the type checker; the caller has looked
        person = found.read_person(read_config(answers), where=str(answers))
    return Person(
        person.answers, locked=(*person.locked, *lock), wishes=(*person.wishes, *wish), resistance=person.resistance
    )


def _many(found: Prescriber, table: str, weighed: Policy, jobs: int, out: Path | None, *, as_json: bool) -> None:
    import sys

    from rectitude.core.files import write_text
    from rectitude.decisions.plans.building import Person
    from rectitude.decisions.plans.cohort import plans
    from rectitude.decisions.plans.table import clean, read_survey

    frame, notes = read_survey(table)
    for note in notes:
        tell(note)
    people = clean(frame, found.schema, where=table, known=False)
    rows = people.answers.select(list(found.schema.used())).iter_rows(named=True)
    named = [(name, Person(answers)) for name, answers in zip(people.ids, rows, strict=True)]
    made = plans(found, named, weighed, jobs=jobs)
    text = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in made)
    if out is None:
        sys.stdout.write(text)
        return
    write_text(out, text)
    summary = _summary(made)
    if as_json:
        emit({"out": str(out), **summary})
        return
    show(_shown(summary), "")
    line(f"Plans   {out}")


def _summary(made: list[dict[str, Any]]) -> dict[str, Any]:
    fine = [entry for entry in made if "error" not in entry]
    advised = [entry for entry in fine if entry["plan"]]
    return {
        "people": len(made),
        "failed": len(made) - len(fine),
        "share_changing_nothing": 1 - len(advised) / len(fine) if fine else None,
        "mean_changes": sum(len(entry["plan"]) for entry in advised) / len(advised) if advised else None,
        "mean_gain": _mean(advised, "gain"),
        "mean_judge_gain": _mean(advised, "judge_gain"),
    }


def _shown(summary: dict[str, Any]) -> Shown:
    """The summary for people: three places, a dash where nobody is advised anything."""
    told = {
        key.replace("_", " "): "–" if value is None else f"{value:.3f}" if isinstance(value, float) else value
        for key, value in summary.items()
    }
    return facts(told)


def _mean(plans: list[dict[str, Any]], key: str) -> float | None:
    return sum(entry[key] for entry in plans) / len(plans) if plans else None


def _tell_plan(made: dict[str, Any]) -> None:
    from rectitude.decisions.plans.sentences import chance

    for note in made["notes"]:
        tell(note)
    parts: list[Any] = [made["verdict"] + ".", ""]
    if made["plan"]:
        shown = grid("change", "adds", "chosen again", "", right=(1, 2), wrap=(0,))
        for item in made["plan"]:
            share = "–" if item["chosen"] is None else f"{100 * item['chosen']:.0f} %"
            shown.add_row(item["sentence"], f"{item['gain']:+.2f}", share, "uncertain" if item["uncertain"] else "")
        parts += [shown, ""]
    ends = made["p1_interval"]
    between = f" ({chance(ends[0])} to {chance(ends[1])})" if ends else ""
    parts.append(
        facts({
            "chance now": chance(made["p0"]),
            "chance after": chance(made["p1"]) + between,
            "by the judge": f"{chance(made['p0_judge'])} → {chance(made['p1_judge'])}",
            "status": made["status"] if not made["gap"] else f"{made['status']} (gap {made['gap']:.3f})",
        })
    )  # fmt: skip
    if made["alternatives"]:
        other = grid("instead", "chance after", "judged gain", right=(1, 2), wrap=(0,))
        for entry in made["alternatives"]:
            other.add_row(" ".join(entry["plan"]), chance(entry["p1"]), f"{entry['judge_gain']:+.2f}")
        parts += ["", other]
    if len(made["frontier"]) > 1:
        front = grid("changes", "effort", "gain", "chance", "", right=(0, 1, 2, 3))
        for point in made["frontier"]:
            front.add_row(str(point["changes"]), f"{point['effort']:.2f}", f"{point['gain']:+.2f}", chance(point["p1"]),
                          "knee" if point["knee"] else "")  # fmt: skip
        parts += ["", front]
    show(*parts)
    tell(made["caution"])


def _tell_sensitivity(rows: list[dict[str, Any]]) -> None:
    table = grid("weight", "value", "chance", "effort", "plan", right=(1, 2, 3), wrap=(4,))
    for row in rows:
        value = "no limit" if row["value"] is None else f"{row['value']:g}"
        told = "the same" if row["same"] else " ".join(row["plan"]) or "change nothing"
        name = row["weight"].replace("_", " ") + (" *" if row["used"] else "")
        table.add_row(name, value, f"{row['p1']:.0%}", f"{row['effort']:.2f}", told)
    show("", table, "* as the plan above was made")


@plan.command("report", cls=Verb)
def report(
    run: options.RunPath,
    people: Annotated[int, typer.Option("--people", metavar="N", min=1, help="How many people to plan for.")] = 200,
    fold: Annotated[
        Literal["planner", "judge", "test"],
        typer.Option("--fold", help="Whose plans; nobody learnt from the test people."),
    ] = "test",
    pages: Annotated[int, typer.Option("--pages", metavar="N", min=0, help="Pages of single people.")] = 5,
    method: Method = None,
    policy: PolicySet = None,
    jobs: Jobs = 1,
    as_json: options.Json = False,
) -> None:
    """Plan for a cohort of the run, and write report.html with a page per person.

    Example:
      rectitude plan report runs/sleep --people 50 --pages 3
    """
    from rectitude.core.files import write_text
    from rectitude.decisions.plans.cohort import plans
    from rectitude.decisions.plans.prescriber import Prescriber
    from rectitude.decisions.plans.report import cohort_page, person_page
    from rectitude.runs.folder import REPORT

    found = Prescriber.load(run)
    weighed = _policy(found.config["policy"], policy, method)
    names = found.ids(fold)[:people]
    quick = weighed.model_copy(update={"alternatives": 0, "draws": min(weighed.draws, 20), "frontier": "none"})
    made = plans(found, [(name, found.person(name)) for name in names], quick, jobs=jobs)
    links = {}
    for number, name in enumerate(names[:pages]):
        person = found.person(name)
        full = found.planner(person, weighed).plan().to_dict()
        links[name] = f"people/{number}.html"
        write_text(run / links[name], person_page(found, name, person, full))
    write_text(run / "plans.jsonl", "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in made))
    write_text(run / REPORT, cohort_page(found, made, links))
    if as_json:
        emit(
            {
                "report": str(run / REPORT),
                "plans": str(run / "plans.jsonl"),
                "pages": list(links.values()),
                **_summary(made),
            }
        )
        return
    tell(f"Plans for {plural(len(made), 'person', 'people')}")
    show(_shown(_summary(made)), "")
    line(f"Report  {run / REPORT}")
