"""``rectitude tune``: search for settings."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from rectitude.cli import options
from rectitude.cli.console import Stopped, emit, facts, line, show, tell
from rectitude.core.errors import ConfigError, did_you_mean


def tune(
    ctx: typer.Context,
    data: options.Data,
    model: options.Model,
    trials: Annotated[int, typer.Option("--trials", metavar="N", min=1, help="Trainings to try.")] = 20,
    config: options.Config = None,
    settings: options.Set = None,
    split: options.Split = None,
    split_set: options.SplitSet = None,
    metric: Annotated[
        str, typer.Option("--metric", metavar="M", help="Of the validation fold, to be large.")
    ] = "ndcg@10",
    seed: options.Seed = 0,
    device: options.Device = "auto",
    storage: Annotated[
        str | None,
        typer.Option("--storage", metavar="URL", help="Where to keep trials, e.g. sqlite:///tune.db, to go on later."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="JSON file for the best settings, for 'fit --config'.")
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
    """Search for the settings that validate best.

    Settings given are held fixed. The test fold takes no part.

    Example:
      rectitude tune ml-100k --model sasrec --trials 20 --set epochs=30 --out best.json
    """
    from rectitude.core.files import write_json
    from rectitude.data.readers import load
    from rectitude.training.tuning import tune as search
    from rectitude.workflow.fitting import divide

    fixed: dict[str, Any] = {}
    for values in options.layers(config, settings).values():
        fixed |= values
    divided_by = options.split_settings(split, split_set)
    _check(model, fixed, metric)
    how = options.reading(
        columns, duplicates, min_rating, k_core, separator, encoding, form, time_format, ties, content
    )
    dataset = load(data, announce=tell, **how)
    divided = divide(dataset, divided_by)
    begun = time.perf_counter()

    def told(number: int, values: dict[str, Any], value: float) -> None:
        tried = ", ".join(f"{key}={_short(entry)}" for key, entry in values.items() if key not in fixed)
        tell(f"Trial {number + 1} of {trials}: {metric} {value:.4f} with {tried}")

    try:
        found = search(
            dataset,
            divided.development(),
            model,
            n_trials=trials,
            settings=fixed,
            metric=metric,
            seed=seed,
            device=device,
            storage=storage,
            report=told,
        )
    except KeyboardInterrupt as interrupt:
        again = "The same command goes on from the trials kept" if storage else "With --storage trials are kept"
        raise Stopped("Stopped", fix=again) from interrupt
    tell(f"{len(found['trials'])} trials in {time.perf_counter() - begun:.1f} s")
    if out is not None:
        write_json(out, found["best"])
    if as_json:
        emit({"model": model, "data": dataset.hash, "split": divided.protocol(), "seed": seed, **found})
        return
    show(f"Best {metric} of the validation fold: {found['value']:.4f} (chosen as the best of several, so too kind)", "")
    show(facts({key: _short(value) for key, value in found["best"].items()}), "")
    chosen = ["--config", str(out)] if out is not None else _as_options(found["best"])
    line(f"Next    rectitude {shlex.join([*_to_fit(ctx.obj), *chosen])}")


def _check(model: str, fixed: dict[str, Any], metric: str) -> None:
    """Refuse a mistyped name, setting or metric before any data are read."""
    from rectitude.core.config import build
    from rectitude.evaluation.metrics import ACCURACY, LISTS
    from rectitude.models.registry import model_class

    chosen = model_class(model).Config
    build(chosen, fixed, where="--config, --set")
    if not set(chosen.search_space()) - set(fixed):
        raise ConfigError(
            f"'{model}' has no setting left to search", where="--set", fix="Give fewer settings, or another model"
        )
    name, _, k = metric.partition("@")
    if name not in (*ACCURACY, *LISTS) or not k.isdigit() or int(k) < 1:
        raise ConfigError(
            f"'{metric}' is no metric",
            where="--metric",
            fix=f"{did_you_mean(name, (*ACCURACY, *LISTS))}, as in ndcg@10",
        )


def _to_fit(words: list[str]) -> list[str]:
    """The same command line for ``fit``, without what only a search takes and what the best settings hold already."""
    dropped = {"--trials", "--metric", "--storage", "--out", "--config", "--set"}
    kept: list[str] = []
    value_follows = False
    for word in ["fit", *words[1:]]:
        name, equals, _ = word.partition("=")
        if name not in dropped and not value_follows:
            kept.append(word)
        value_follows = name in dropped and not equals
    return kept


def _as_options(settings: dict[str, Any]) -> list[str]:
    return [word for key, value in settings.items() for word in ("--set", f"{key}={json.dumps(value)}")]


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
