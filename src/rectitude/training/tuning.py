"""Search for settings on the validation fold. The test fold is not there to be looked at."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from rectitude.core.config import build
from rectitude.core.errors import ConfigError, MissingExtraError
from rectitude.data.dataset import Dataset
from rectitude.data.split import Split
from rectitude.evaluation.evaluator import evaluate_fold
from rectitude.models.base import Choice, Range, Recommender
from rectitude.models.registry import model_class
from rectitude.training.trainer import Trainer, cut_off, pick_device, seeded


def new_model(
    name: str, settings: Mapping[str, Any], split: Split, seed: int, *, where: str = "settings"
) -> Recommender:
    """A fresh model of a given name whose first parameters follow from the seed.

    Raises:
        ConfigError: The name or a setting is unknown, or a value does not fit.
    """
    chosen = model_class(name)
    config = build(chosen.Config, settings, where=where)
    with seeded(seed, pick_device("cpu")):
        return chosen(config, split.n_users, split.n_items)


def tune(
    dataset: Dataset,
    split: Split,
    model: str,
    *,
    n_trials: int = 20,
    settings: Mapping[str, Any] | None = None,
    metric: str = "ndcg@10",
    seed: int = 0,
    device: str = "auto",
    storage: str | None = None,
    report: Callable[[int, dict[str, Any], float], None] | None = None,
) -> dict[str, Any]:
    """Vary what the model's ``Config.search`` names and keep what validates best; the first trial is the defaults.

    Args:
        dataset: For its content.
        split: Its test fold is not used; give :meth:`Split.development`.
        model: Name.
        n_trials: Trainings.
        settings: Held fixed; a searched setting given here is not searched.
        metric: On the validation fold.
        seed: Of the search and of every training.
        device: Where to train.
        storage: Optuna storage address (``sqlite:///tune.db``) to keep trials in; the same search goes on from there.
        report: Called after each trial with its number, settings and value.

    Returns:
        ``{"best": settings, "value": best value, "metric", "trials": [{"number", "settings", "value"}, …]}``.

    Raises:
        ConfigError: There is nothing to search, or no such metric.
        MissingExtraError: Optuna is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise MissingExtraError("optuna", "tune", "Tuning") from error
    fixed = dict(settings or {})
    chosen = model_class(model).Config
    space = {key: where for key, where in chosen.search_space().items() if key not in fixed}
    if not space:
        raise ConfigError(f"'{model}' has no setting left to search", fix="Give fewer settings with --set")
    split = split.development()
    cut_off(metric)

    def objective(trial: Any) -> float:
        values = dict(fixed)
        for key, where in space.items():
            if isinstance(where, Choice):
                values[key] = trial.suggest_categorical(key, list(where.options))
            elif isinstance(where.low, int) and isinstance(where.high, int):
                values[key] = trial.suggest_int(key, where.low, where.high, log=where.log)
            else:
                values[key] = trial.suggest_float(key, where.low, where.high, log=where.log)
        trained = new_model(model, values, split, seed)
        Trainer(
            trained, split, seed=seed, content=dataset.content, device=device, metric=metric, progress=False
        ).train()
        value = evaluate_fold(trained, split.valid, ks=(cut_off(metric),)).mean(metric)
        trial.set_user_attr("settings", values)
        if report is not None:
            report(trial.number, values, value)
        return value

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize",
        storage=storage,
        study_name=_study_name(model, dataset, split, fixed, metric, seed),
        load_if_exists=True,
    )
    if not study.trials:
        defaults = {key: chosen.model_fields[key].default for key in space}
        study.enqueue_trial({key: value for key, value in defaults.items() if _inside(space[key], value)})
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials))  # the same again would be drawn again
    study.optimize(objective, n_trials=n_trials)
    trials = [
        {"number": trial.number, "settings": trial.user_attrs["settings"], "value": trial.value}
        for trial in study.trials
        if trial.value is not None
    ]
    best = study.best_trial
    return {"best": best.user_attrs["settings"], "value": best.value, "metric": metric, "trials": trials}


def _inside(where: Range | Choice, value: Any) -> bool:
    return value in where.options if isinstance(where, Choice) else where.low <= value <= where.high


def _study_name(model: str, dataset: Dataset, split: Split, fixed: Mapping[str, Any], metric: str, seed: int) -> str:
    """A name that two searches share only if their trials can be compared."""
    about = json.dumps([dataset.hash, split.protocol(), dict(fixed), metric, seed], sort_keys=True, default=str)
    return f"{model}-{hashlib.sha256(about.encode()).hexdigest()[:16]}"
