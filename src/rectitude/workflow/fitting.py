"""``fit``: data in, a trained, validated, saved and explained run out."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rectitude.core.config import build, origins
from rectitude.core.errors import ConfigError, DataError, RunError
from rectitude.data.columns import SPLIT
from rectitude.data.content import FOLDER as CONTENT
from rectitude.data.content import describe_content
from rectitude.data.dataset import Dataset
from rectitude.data.readers import load
from rectitude.data.split import Split, SplitConfig
from rectitude.data.split import split as make_split
from rectitude.models.base import Recommender
from rectitude.models.registry import model_class
from rectitude.runs.folder import LINEAGE, METRICS, RunFolder, now
from rectitude.training.checkpoint import Checkpoint
from rectitude.training.loggers import CsvLogger, Logger, MlflowLogger, TensorBoardLogger, Tracker
from rectitude.training.methods import ConfiguredMethod, Method
from rectitude.training.registry import new_method, parted
from rectitude.training.run import Run
from rectitude.training.saving import describe_training, write_trained
from rectitude.training.trainer import Trainer
from rectitude.training.tuning import new_model
from rectitude.workflow.judging import judge

Layers = Mapping[str, Mapping[str, Any]]
"""Settings by where they came from, weakest first: ``{"file run.toml": {…}, "--set": {…}}``."""


def fit(
    data: str | Path | Dataset | Any,
    model: str = "sasrec",
    *,
    settings: Mapping[str, Any] | None = None,
    layers: Layers | None = None,
    split: str | SplitConfig | Mapping[str, Any] | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    methods: Sequence[Method | str] = (),
    device: str = "auto",
    tracker: Tracker | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    announce: Callable[[str], None] | None = None,
) -> Run:
    """Train a recommender, judge it on the validation fold, and save it as a run folder.

    A training that was interrupted has left its state beside ``out``; the same call with ``resume=True`` goes on as if
    it had never stopped.

    Args:
        data: What :func:`rectitude.load` takes, or a dataset.
        model: Name; see ``rectitude models``.
        settings: Of the model; unknown names are refused.
        layers: Settings by origin, for callers with several; ``settings`` come after them.
        split: Rule, or a whole configuration; by default the data's own ``split`` column if it has one, else
            leave-one-out.
        seed: Of first parameters, batches, negatives and dropout.
        out: Run folder; ``runs/DATA-MODEL-sSEED`` by default.
        methods: Training plug-ins, or their names; settings of a named one are given as ``NAME.key``.
        device: ``auto``, ``cpu`` or ``cuda``.
        tracker: ``tensorboard`` or ``mlflow`` besides the CSV curve.
        resume: Go on with an interrupted training.
        overwrite: Replace a run that is there, and drop an interrupted training.
        progress: Show bars.
        announce: Called with each sentence about what was guessed or dropped.

    Raises:
        ConfigError: A name or setting is unknown or does not fit.
        DataError: The data cannot be used, or lacks content the model needs.
        RunError: Something is where the run should go.
    """
    chosen = model_class(model)
    layers = {**(layers or {}), **({"settings": settings} if settings else {})}
    named = [method for method in methods if isinstance(method, str)]
    if methods and chosen.trained_by != "gradient":
        raise ConfigError(
            f"{chosen.title} is solved by a formula, and training methods attach to training by gradient",
            where="--method",
            fix="Use a model trained by gradient; 'rectitude models' says which are",
        )
    layers, of_methods = parted(layers, named)
    values = {key: value for layer in layers.values() for key, value in layer.items()}
    dataset = data if isinstance(data, Dataset) else load(data, announce=announce)
    target = Path(out) if out is not None else default_place(dataset, model, seed)
    is_main = int(os.environ.get("RANK", "0")) == 0
    if is_main:
        RunFolder.check_target(target, overwrite=overwrite or (resume and epochs_kept(target) > 0))
    divided = divide(dataset, split)
    for note in divided.notes if announce is not None else ():
        announce(note)  # type: ignore[misc]
    fresh = new_model(model, values, divided, seed, where=", ".join(layers) or "defaults")
    _check_content(dataset, fresh)

    where = ", ".join(layers) or "defaults"
    plugs = [
        new_method(method, of_methods[method], dataset, where=where) if isinstance(method, str) else method
        for method in methods
    ]
    state = _TrainingState(target, resume=resume, overwrite=overwrite, is_main=is_main)
    # A plug-in without settings watches; it does not make another training of it.
    shaping = _about_methods([method for method in plugs if isinstance(method, ConfiguredMethod)])
    trainer = Trainer(
        fresh,
        divided.development(),
        seed=seed,
        content=dataset.content,
        methods=plugs,
        device=device,
        checkpoint=state.checkpoint if fresh.trained_by == "gradient" else None,
        resume=resume,
        identity=_identity(dataset, divided, fresh, seed) | ({"methods": shaping} if shaping else {}),
        loggers=_loggers(state, tracker, fresh, target) if is_main and fresh.trained_by == "gradient" else (),
        progress=progress,
    )
    result = trainer.train()
    if not is_main:
        raise SystemExit(0)

    config = {
        "kind": "recommender",
        "model": model,
        "settings": origins(fresh.config, {layer: list(keys) for layer, keys in layers.items()}),
        "seed": seed,
        "split": divided.protocol(),
        "data": _about(dataset, fresh),
        "training": describe_training(fresh, result),
        "methods": _about_methods(plugs),
        "notes": [*dataset.notes, *divided.notes],
    }

    def write(folder: RunFolder) -> None:
        write_trained(folder.path, fresh, dataset, divided, result)
        folder.write_json(METRICS, {})
        folder.write_json(LINEAGE, {"parent": None, "made_by": "fit", "at": now()})
        state.keep_events(folder.path)
        run = Run(folder, fresh, dataset.user_ids, dataset.item_ids, dataset.titles(), divided.known)
        judge(run, dataset, divided, "valid", seed=seed, name=str(target))

    RunFolder.create(target, config, write, overwrite=overwrite or resume)
    state.remove()
    return Run.load(target, device=str(trainer.device))


def divide(dataset: Dataset, rule: str | SplitConfig | Mapping[str, Any] | None = None) -> Split:
    """Split a dataset by a rule, or by its own ``split`` column where it has one and no rule is given.

    Raises:
        ConfigError: A setting is unknown or does not fit.
        DataError: Nothing is left to train on or to ask about.
    """
    return make_split(dataset, _split_config(dataset, rule))


def default_place(dataset: Dataset, model: str, seed: int) -> Path:
    """Where a run goes for which no place is given."""
    return Path("runs") / f"{dataset.name}-{model}-s{seed}"


def epochs_kept(target: Path) -> int:
    """Epochs of an interrupted training that ``resume`` goes on from; 0 where there is none."""
    return Checkpoint.epochs(_state_folder(target) / _CHECKPOINT)


_CHECKPOINT = "checkpoint.safetensors"


def _state_folder(target: Path) -> Path:
    return target.with_name(f"{target.name}.training")


class _TrainingState:
    """The folder beside the run that holds an unfinished training.

    Args:
        target: Where the run will be.
        resume: It may be there.
        overwrite: It is removed if it is there.
        is_main: Only the first process touches it.
    """

    def __init__(self, target: Path, *, resume: bool, overwrite: bool, is_main: bool) -> None:
        self.folder = _state_folder(target)
        if not is_main:
            return
        if overwrite and not resume:
            self.remove()
        if self.checkpoint.exists() and not resume:
            raise RunError(
                "A training of this run was interrupted",
                where=str(self.folder),
                fix="Add --resume to go on with it, or --overwrite to start again",
            )

    @property
    def checkpoint(self) -> Path:
        return self.folder / _CHECKPOINT

    @property
    def curve(self) -> Path:
        return self.folder / "curve.csv"

    @property
    def events(self) -> Path:
        return self.folder / "tensorboard"

    def keep_events(self, folder: Path) -> None:
        """Move TensorBoard's files into the run."""
        if self.events.exists():
            shutil.copytree(self.events, folder / "tensorboard")

    def remove(self) -> None:
        """The training has ended, or is to begin anew."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _split_config(dataset: Dataset, given: str | SplitConfig | Mapping[str, Any] | None) -> SplitConfig:
    if isinstance(given, SplitConfig):
        return given
    if given is None:
        given = "column" if SPLIT in dataset.interactions.columns else "leave-one-out"
    return build(SplitConfig, {"rule": given} if isinstance(given, str) else given, where="split")


def _check_content(dataset: Dataset, fresh: Recommender) -> None:
    for modality in fresh.content_read(fresh.config):
        if modality not in dataset.content:
            have = ", ".join(dataset.content) or "none"
            raise DataError(
                f"{fresh.title} reads item content '{modality}', and '{dataset.name}' has {have}",
                fix="Make it with 'rectitude encode' and name its place with --content, or choose other modalities",
            )


def _content(dataset: Dataset, fresh: Recommender) -> dict[str, Any]:
    return describe_content(dataset, fresh.content_read(fresh.config))


def _identity(dataset: Dataset, divided: Split, model: Recommender, seed: int) -> dict[str, Any]:
    settings = model.config.model_dump(mode="json")
    for free in ("epochs", "patience"):  # a longer training may go on from a shorter one
        settings.pop(free, None)
    identity = {
        "data": dataset.hash,
        "split": divided.protocol(),
        "model": model.name,
        "settings": settings,
        "seed": seed,
    }
    read = {name: about["hash"] for name, about in _content(dataset, model).items()}
    return {**identity, "content": read} if read else identity


def _about_methods(methods: Sequence[Method]) -> list[dict[str, Any]]:
    """Names and, where they have any, settings."""
    return [
        {"name": method.name, "settings": method.config.model_dump(mode="json")}
        if isinstance(method, ConfiguredMethod)
        else {"name": method.name}
        for method in methods
    ]


def _loggers(state: _TrainingState, tracker: Tracker | None, model: Recommender, target: Path) -> list[Logger]:
    loggers: list[Logger] = [CsvLogger(state.curve)]
    if tracker == "tensorboard":
        loggers.append(TensorBoardLogger(state.events))
    elif tracker == "mlflow":
        loggers.append(MlflowLogger(target.name, model.config.model_dump(mode="json")))
    return loggers


def _about(dataset: Dataset, fresh: Recommender) -> dict[str, Any]:
    about = {
        "name": dataset.name,
        "hash": dataset.hash,
        "users": dataset.n_users,
        "items": dataset.n_items,
        "interactions": dataset.n_interactions,
        "source": {name: value for name, value in dataset.source.items() if name != CONTENT},
    }
    read = _content(dataset, fresh)
    return {**about, "content": read} if read else about
