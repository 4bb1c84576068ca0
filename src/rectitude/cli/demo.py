"""``rectitude demo``: the whole way once, on MovieLens-100K."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rectitude.cli import options
from rectitude.cli.console import emit, line, plural, show, tell

if TYPE_CHECKING:
    from rectitude.data.dataset import Dataset
    from rectitude.evaluation.significance import Comparison
    from rectitude.training.run import Answer, Run

DATA = "ml-100k"
MODELS: dict[str, dict[str, Any]] = {
    "popularity": {},
    "ease": {},
    "sasrec": {"epochs": 30, "patience": 5},
}
"""What is trained, with the settings that differ from the defaults: fewer epochs, for a demo that ends soon."""
TITLES = ("Toy Story", "Star Wars", "Fargo", "Raiders of the Lost Ark", "Blade Runner")
"""A history nobody in the data has, for want of another."""
_K = 10


def demo(
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where the runs go.")] = Path("rectitude-demo"),
    data: Annotated[str, typer.Option("--data", metavar="DATA", help="Other data to do the same with.")] = DATA,
    seed: options.Seed = 1,
    as_json: options.Json = False,
) -> None:
    """Go the whole way once, with MovieLens-100K.

    Popularity, EASE and SASRec are trained and compared, and recommend to a person and from a history of titles. It
    can be run again: runs of an earlier demo are replaced.

    Example:
      rectitude demo
    """
    import torch

    from rectitude.data.readers import load

    torch.set_num_threads(1)  # threads of models this small wait for each other more than they work
    begun = time.perf_counter()
    tell("1. Data")
    dataset = load(data, announce=tell)
    tell(
        f"{plural(dataset.n_users, 'person', 'people')}, {plural(dataset.n_items, 'item')}, "
        f"{plural(dataset.n_interactions, 'interaction')}, from {dataset.source['origin']}. "
        f"Terms: {dataset.source['terms'] or 'not stated'}"
    )
    tell("2. Three models: each person's last item is kept for the test, the one before it for choosing")
    runs = {name: _trained(dataset, name, out / name, seed) for name in MODELS}
    tell("3. The test, once, with everybody's whole history and every item ranked")
    comparison = _judged(dataset, runs)
    if not as_json:
        show("")
        _show_comparison(comparison)
    tell("4. Recommendations")
    answers = _answers(runs, as_json=as_json)
    report = runs["sasrec"].path / "report.html"
    tell(f"{time.perf_counter() - begun:.0f} s in all")
    if as_json:
        emit(
            {
                "runs": {name: str(run.path) for name, run in runs.items()},
                "comparison": comparison.to_dict(),
                "recommendations": {name: _without_notes(answer) for name, answer in answers.items()},
                "report": str(report),
            }
        )
        return
    line("")
    line(f"Report  {report}")
    line(f"Next    rectitude recommend {runs['sasrec'].path} --titles 'Toy Story; Fargo'")


def _trained(dataset: Dataset, name: str, target: Path, seed: int) -> Run:
    from rectitude.workflow.fitting import fit

    run = fit(dataset, name, settings=MODELS[name], split="leave-one-out", seed=seed, out=target, overwrite=True)
    training = run.config["training"]
    epochs = (
        f", {plural(training['epochs'], 'epoch')}, kept epoch {training['best_epoch']}" if training["epochs"] else ""
    )
    tell(f"   {run.model.title}: {training['seconds']:.1f} s{epochs}")
    return run


def _judged(dataset: Dataset, runs: dict[str, Run]) -> Comparison:
    from rectitude.workflow.comparing import compare
    from rectitude.workflow.judging import evaluate

    for run in runs.values():
        seconds = evaluate(run, "test", data=dataset, progress=True).seconds
        tell(f"   {run.model.title}: ranked and measured in {seconds:.1f} s")
    return compare(list(reversed(runs.values())))


def _show_comparison(comparison: Comparison) -> None:
    from rectitude.cli.compare import show_comparison

    show_comparison(comparison)
    show("", *in_words(comparison))


def in_words(comparison: Comparison) -> list[str]:
    """Each test by NDCG@10 as a sentence, whichever way it came out."""
    told = []
    for row in comparison.rows:
        if row.metric != "ndcg@10":
            continue
        if row.p_adjusted < 0.05:
            better, worse = (row.first, row.second) if row.effect.value > 0 else (row.second, row.first)
            told.append(f"{better} ranks better than {worse}; chance alone would hardly show this.")
        else:
            told.append(f"{row.first} and {row.second} cannot be told apart with these people.")
    return told


def _answers(runs: dict[str, Run], *, as_json: bool) -> dict[str, Answer]:
    from rectitude.cli.tables import list_table

    run = runs["sasrec"]
    user = run.user_ids[0]
    known = [run.titles[item] or run.item_ids[item] for item in run.history[0][::-1][:5].tolist()]
    answers = {"user": run.recommend(user, k=_K)}
    history, titles = typed_history(run, ask=not as_json)
    answers["history"] = run.recommend(history=history, k=_K)
    if not as_json:
        show("", f"SASRec for user {user}, who last saw {'; '.join(known)}", "", list_table(answers["user"]))
        show("", f"SASRec for a new person, who saw {'; '.join(titles)}", "", list_table(answers["history"]))
    return answers


def typed_history(run: Run, *, ask: bool) -> tuple[list[str], list[str]]:
    """Ids and titles of a history typed at the terminal, or of the default one where nobody types."""
    from rectitude.cli.options import id_list
    from rectitude.core.errors import QueryError

    if not any(run.titles):
        items = run.history[0][:5].tolist()
        return [run.item_ids[item] for item in items], [run.item_ids[item] for item in items]
    while ask and _somebody_is_there():
        tell("Titles you liked, oldest first, with ';' between them. Enter alone takes: " + "; ".join(TITLES))
        typed = id_list(sys.stdin.readline(), ";")
        if not typed:
            break
        try:
            found = [run.find_title(title) for title in typed]
        except QueryError as error:
            tell(str(error))
            continue
        return found, [_title(run, identifier) for identifier in found]
    found = []
    for title in TITLES:
        try:
            found.append(run.find_title(title))
        except QueryError as error:
            tell(str(error))
    return found, [_title(run, identifier) for identifier in found]


def _somebody_is_there() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _title(run: Run, identifier: str) -> str:
    return run.titles[run.item_ids.index(identifier)] or identifier


def _without_notes(answer: Answer) -> dict[str, Any]:
    return {key: value for key, value in answer.to_dict().items() if key != "notes"}
