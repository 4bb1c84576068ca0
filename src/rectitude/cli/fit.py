"""``rectitude fit``: train a recommender."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rectitude.cli import options
from rectitude.cli.console import Stopped, emit, line, plural, show, tell

if TYPE_CHECKING:
    from rectitude.data.dataset import Dataset
    from rectitude.training.run import Run


def fit(
    ctx: typer.Context,
    data: options.Data,
    model: options.Model,
    config: options.Config = None,
    settings: options.Set = None,
    method: Annotated[
        list[str] | None,
        typer.Option("--method", metavar="NAME", help="Training method, e.g. in-ucds; its settings: --set NAME.key=V."),
    ] = None,
    split: options.Split = None,
    split_set: options.SplitSet = None,
    seed: options.Seed = 0,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="RUN", help="Run folder; runs/DATA-MODEL-sSEED if not given.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted training.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a run that is there.")] = False,
    device: options.Device = "auto",
    tracker: Annotated[
        Literal["tensorboard", "mlflow"] | None, typer.Option("--tracker", help="Also log the learning curve there.")
    ] = None,
    columns: options.Columns = None,
    duplicates: options.Duplicates = None,
    min_rating: options.MinRating = None,
    k_core: options.KCore = None,
    separator: options.Separator = None,
    encoding: options.Encoding = "utf-8",
    form: options.Format = None,
    time_format: options.TimeFormat = None,
    ties: options.Ties = None,
    content: options.Content = None,
    as_json: options.Json = False,
) -> None:
    """Train a recommender and save it as a run.

    The run is judged on the validation fold. What was guessed about the data, and every setting with where it came
    from, is said first. Ctrl-C stops; --resume goes on as if nothing had happened.

    Examples:
      rectitude fit ml-100k --model sasrec --set epochs=5 --seed 1 --out runs/sasrec
      rectitude fit ml-100k --model pmf --method in-ucds --set in-ucds.weight=1 --out runs/fair
      rectitude fit ratings.csv --model ease --columns user=customer,item=sku --min-rating 4
    """
    given = options.layers(config, settings)
    divided_by = options.split_settings(split, split_set)
    how = options.reading(
        columns, duplicates, min_rating, k_core, separator, encoding, form, time_format, ties, content
    )
    own, theirs = _check_settings(model, given, method or [])

    from rectitude.data.readers import load
    from rectitude.workflow.fitting import default_place, epochs_kept
    from rectitude.workflow.fitting import fit as train

    dataset = load(data, announce=tell, **how)
    target = out or default_place(dataset, model, seed)
    _announce(dataset, model, own, theirs, target, resume=resume)
    begun = time.perf_counter()
    try:
        run = train(
            dataset,
            model,
            layers=given,
            methods=method or (),
            split=divided_by,
            seed=seed,
            out=target,
            device=device,
            tracker=tracker,
            resume=resume,
            overwrite=overwrite,
            announce=tell,
        )
    except KeyboardInterrupt as interrupt:
        raise _stopped(epochs_kept(target), ctx.obj) from interrupt
    _result(run, time.perf_counter() - begun, as_json=as_json)


Layers = dict[str, dict[str, Any]]


def _check_settings(model: str, given: Layers, methods: list[str]) -> tuple[Layers, Layers]:
    """Refuse a mistyped name or setting before any data are read; the model's settings and those of each method."""
    from rectitude.core.config import build
    from rectitude.models.registry import model_class
    from rectitude.training.registry import method_class, parted

    chosen = model_class(model).Config
    known = {name: method_class(name) for name in methods}
    own, theirs = parted(given, methods)
    for name, values in theirs.items():
        build(known[name].Config, values, where="--set")
    merged: dict[str, Any] = {}
    for origin, values in own.items():
        merged |= values
        build(chosen, merged, where=origin)
    return own, theirs


def _announce(dataset: Dataset, model: str, given: Layers, methods: Layers, target: Path, *, resume: bool) -> None:
    """Say what is about to be done, with the origin of each setting."""
    from rectitude.core.config import origins
    from rectitude.models.registry import model_class
    from rectitude.workflow.fitting import epochs_kept

    chosen = model_class(model)
    tell(
        f"{chosen.title} on {dataset.name}: {plural(dataset.n_users, 'person', 'people')}, "
        f"{plural(dataset.n_items, 'item')}, {plural(dataset.n_interactions, 'interaction')}"
    )
    merged = {key: value for layer in given.values() for key, value in layer.items()}
    effective = origins(chosen.Config(**merged), {layer: list(keys) for layer, keys in given.items()})
    by_origin: dict[str, list[str]] = {}
    for key, entry in effective.items():
        by_origin.setdefault(entry["origin"], []).append(f"{key}={_written(entry['value'])}")
    for origin, settings in sorted(by_origin.items(), key=lambda entry: entry[0] == "default"):
        tell(f"Settings by {origin}: {', '.join(settings)}")
    for name, values in methods.items():
        told = ", ".join(f"{key}={_written(value)}" for key, value in values.items())
        tell(f"Method {name}: {told or 'as by default'}")
    if resume:
        kept = epochs_kept(target)
        tell(f"Going on after epoch {kept}" if kept else "No interrupted training is here; starting at the beginning")


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _stopped(epochs: int, words: list[str]) -> Stopped:
    if not epochs:
        return Stopped("Stopped before the first epoch ended; nothing was kept")
    words = words if "--resume" in words else [*words, "--resume"]
    return Stopped(f"Stopped after epoch {epochs}", fix=f"Go on with: rectitude {shlex.join(words)}")


def _result(run: Run, seconds: float, *, as_json: bool) -> None:
    from rectitude.cli.tables import asked, evaluation_table
    from rectitude.evaluation.store import read_evaluation
    from rectitude.runs.folder import REPORT
    from rectitude.workflow.judging import evaluation_file

    file = evaluation_file(run, "valid")
    judged = read_evaluation(file) if file.exists() else None  # there is none where validation was trained on too
    config = run.config
    training = config["training"]
    if as_json:
        figures = judged.to_dict() if judged is not None else {"protocol": None, "metrics": {}}
        emit(
            {
                "run": str(run.path),
                "model": run.model.name,
                "fold": "valid",
                **figures,
                "training": training,
                "settings": config["settings"],
                "split": config["split"],
                "seed": config["seed"],
                "data": config["data"],
                "notes": config["notes"],
            }
        )
        return
    parts = [plural(training["epochs"], "epoch")] if training["epochs"] else []
    parts += [f"kept epoch {training['best_epoch']}"] if training["best_epoch"] else []
    parts += [f"{training['parameters']:,} parameters"] if training["parameters"] else []
    judging = f"judged in {judged.seconds:.1f} s; " if judged is not None else ""
    tell(
        f"Trained in {training['seconds']:.1f} s ({', '.join([*parts, training['device']])}), "
        f"{judging}{seconds:.1f} s in all"
    )
    if judged is not None:
        show(asked(judged.protocol), "", evaluation_table(judged), "")
    line(f"Run     {run.path}")
    line(f"Report  {run.path / REPORT}")
    line(f"Next    rectitude evaluate {shlex.quote(str(run.path))}")
