"""``reproduce``: every method on every backbone and seed of a published comparison, as a grid that resumes.

A grid is a TOML file. Each cell leaves one JSON file below the output folder when it is done; a cell that is there with
the settings the grid has now is not computed again, and the table is written from the files.
"""

from __future__ import annotations

import json
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save

import rectitude
from rectitude.audit.checks.leakage import LISTS, representations
from rectitude.core.config import build
from rectitude.core.errors import ConfigError, did_you_mean
from rectitude.core.files import write_bytes, write_json, write_text
from rectitude.data.dataset import Dataset
from rectitude.data.groups import ADVANTAGED, Groups, activity_groups, attribute_groups, default_key
from rectitude.data.readers import load
from rectitude.data.split import Split
from rectitude.evaluation.evaluator import evaluate_fold
from rectitude.evaluation.intervals import bootstrap_interval
from rectitude.fairness.metrics import f1
from rectitude.fairness.protocol import first_rows, sampled_metrics, sampled_ranks
from rectitude.fairness.ufr import NoChoiceError, Reranked, rates_by_place, rerank, reranked_lists
from rectitude.models.base import Recommender
from rectitude.models.query import Query
from rectitude.models.ranking import masked_topk
from rectitude.training.registry import method_class, new_method
from rectitude.training.trainer import Trainer
from rectitude.training.tuning import new_model
from rectitude.unlearning.attackers import ATTACKERS, attack, list_features
from rectitude.unlearning.attribute import Target, UnlearningConfig, unlearn
from rectitude.workflow.fitting import divide
from rectitude.workflow.judging import fold_of
from rectitude.workflow.reproduced import fairness_rows, markdown, unlearning_rows

K = 10
_REMEDIES = ("d2d", "u2u", "noise", "shuffle")
_DEALINGS = 5
"""Random labels of each seed that show what an attack reaches by chance."""


@dataclass(frozen=True)
class Cell:
    """One training, or one remedy of a trained model.

    Attributes:
        backbone: Model name.
        method: Name of the method in the grid.
        seed: Of everything random.
        attribute: What is unlearnt, None in grids about fairness.
    """

    backbone: str
    method: str
    seed: int
    attribute: str | None = None

    @property
    def name(self) -> str:
        """Of its file."""
        about = f"-{self.attribute.replace(':', '_')}" if self.attribute else ""
        return f"{self.backbone}-{self.method}{about}-s{self.seed}"


def grids() -> dict[str, Path]:
    """Every grid that comes with the package, by name."""
    home = Path(rectitude.__file__).parent
    folders = (home / "configs" / "reproduce", home.parents[1] / "configs" / "reproduce")
    folder = next((place for place in folders if place.is_dir()), None)
    if folder is None:
        return {}
    return {str(path.relative_to(folder).with_suffix("")): path for path in sorted(folder.rglob("*.toml"))}


def read_grid(name: str, *, full: bool) -> tuple[str, dict[str, Any]]:
    """A grid by name or file.

    Raises:
        ConfigError: It is unknown or no grid.
    """
    known = grids()
    path = known.get(name) or (Path(name) if name.endswith(".toml") else None)
    if path is None or not path.is_file():
        raise ConfigError(f"There is no grid '{name}'", fix=did_you_mean(name, known))
    try:
        grid = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"The grid is not TOML: {error}", where=str(path)) from error
    for part in ("kind", "data", "backbones", "methods"):
        if part not in grid:
            raise ConfigError(f"The grid has no '{part}'", where=str(path))
    if full:
        for backbone, settings in grid.get("full", {}).items():
            grid["backbones"].setdefault(backbone, {}).update(settings)
    return path.stem if name.endswith(".toml") else name, grid


def cells(grid: Mapping[str, Any]) -> Iterator[Cell]:
    """Every cell, seed by seed, so that a table is complete for few seeds first."""
    most = max(len(_seeds(grid, backbone)) for backbone in grid["backbones"])
    for at in range(most):
        for backbone in grid["backbones"]:
            seeds = _seeds(grid, backbone)
            if at < len(seeds):
                for method in grid["methods"]:
                    yield from (Cell(backbone, method, seeds[at], about) for about in grid.get("attributes", [None]))


def _model_settings(grid: Mapping[str, Any], backbone: str) -> dict[str, Any]:
    return {key: value for key, value in grid["backbones"][backbone].items() if key not in ("seeds", "methods")}


def _method_settings(grid: Mapping[str, Any], cell: Cell) -> dict[str, Any]:
    """Settings of the cell's method, the backbone's own over the grid's."""
    own = grid["backbones"][cell.backbone].get("methods", {}).get(cell.method, {})
    return {**grid["methods"][cell.method], **own}


def _asked(grid: Mapping[str, Any], cell: Cell) -> dict[str, Any]:
    """What makes a cell itself: one of other settings, or of a method with other defaults, is computed again."""
    method = _method_settings(grid, cell)
    kind = method.get("method", cell.method)
    if kind in _REMEDIES:
        method |= _remedy(kind, method).model_dump(mode="json")
    elif kind not in ("original", "ufr"):
        about = {"attribute": cell.attribute} if cell.attribute else {}
        own = {key: value for key, value in method.items() if key != "method"}
        method |= build(method_class(kind).Config, {**about, **own}, where="methods").model_dump(mode="json")
    return {
        "data": grid["data"],
        "split": grid.get("split"),
        "model": _model_settings(grid, cell.backbone),
        "method": method,
    }


def _remedy(kind: str, settings: Mapping[str, Any]) -> UnlearningConfig:
    own = {key: value for key, value in settings.items() if key != "method"}
    return build(UnlearningConfig, {**own, "loss": kind}, where="methods")


def _read(file: Path, asked: Mapping[str, Any]) -> dict[str, Any] | None:
    """A cell that is done, None where it is not there or was made with other settings."""
    if not file.exists():
        return None
    held: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return held if held.get("asked") == asked else None


def _seeds(grid: Mapping[str, Any], backbone: str) -> list[int]:
    seeds: list[int] = grid["backbones"][backbone].get("seeds", grid.get("seeds", [1]))
    return seeds


def reproduce(
    name: str,
    out: str | Path,
    *,
    full: bool = False,
    backbones: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    most_seeds: int | None = None,
    announce: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Compute what is missing of a grid and write its table.

    Args:
        name: Of a grid that comes with the package, or a TOML file.
        out: Folder of the cells and of ``table.md``.
        full: With the companion's own training settings, which take longer.
        backbones: Only these.
        methods: Only these.
        most_seeds: Only so many seeds of each.
        announce: Told each cell when it is done.

    Returns:
        ``{"name", "kind", "rows": […], "published": […], "cells": done, "missing": not asked for, "failed": {…}}``, the
        last with what a cell that cannot be computed said.

    Raises:
        ConfigError: The grid or a name in it is unknown.
    """
    name, grid = read_grid(name, full=full)
    for part, chosen in (("backbone", backbones), ("method", methods)):
        for one in chosen or ():
            if one not in grid[f"{part}s"]:
                raise ConfigError(f"The grid has no {part} '{one}'", fix=did_you_mean(one, grid[f"{part}s"]))
    folder = Path(out) / (f"{name}-full" if full else name)
    everything = list(cells(grid))
    wanted = [
        cell
        for cell in everything
        if (not backbones or cell.backbone in backbones)
        and (not methods or cell.method in methods)
        and (most_seeds is None or cell.seed in _seeds(grid, cell.backbone)[:most_seeds])
    ]
    maker: _Grid | None = None
    for number, cell in enumerate(wanted, 1):
        file, asked = folder / "cells" / f"{cell.name}.json", _asked(grid, cell)
        if _read(file, asked) is not None:
            continue
        maker = maker or (_FairnessGrid if grid["kind"] == "in_ucds" else _UnlearningGrid)(grid, folder)
        began = time.process_time()
        try:
            made = maker.cell(cell)
        except NoChoiceError as error:  # of one cell; the others say what they have to say
            made = {"failed": str(error)}
        write_json(file, {**made, "cell_cpu_seconds": round(time.process_time() - began, 2), "asked": asked})
        if announce is not None:
            announce(f"{number} of {len(wanted)}: {cell.name}, {time.process_time() - began:.0f} CPU seconds")
    found = {cell: _read(folder / "cells" / f"{cell.name}.json", _asked(grid, cell)) for cell in everything}
    done = {cell: values for cell, values in found.items() if values is not None and "failed" not in values}
    rows = (fairness_rows if grid["kind"] == "in_ucds" else unlearning_rows)(done)
    table = {
        "name": name,
        "kind": grid["kind"],
        "rows": rows,
        "published": grid.get("published", []),
        "cells": sum(values is not None for values in found.values()),
        "missing": sum(values is None for values in found.values()),
        "failed": {cell.name: values["failed"] for cell, values in found.items() if values and "failed" in values},
    }
    write_text(folder / "table.md", markdown(table))
    return table


class _Grid:
    """What the cells of a grid share."""

    def __init__(self, grid: Mapping[str, Any], folder: Path) -> None:
        self.grid, self.folder = grid, folder
        self.dataset: Dataset = load(grid["data"])
        self.split: Split = divide(self.dataset, grid.get("split"))

    def settings(self, backbone: str) -> dict[str, Any]:
        return _model_settings(self.grid, backbone)

    def of_method(self, cell: Cell) -> dict[str, Any]:
        return _method_settings(self.grid, cell)

    def train(self, cell: Cell, method: str | None, settings: Mapping[str, Any]) -> tuple[Recommender, float]:
        """A trained model and its CPU seconds."""
        plugs = [new_method(method, settings, self.dataset)] if method else []
        model = new_model(cell.backbone, self.settings(cell.backbone), self.split, cell.seed)
        began = time.process_time()
        Trainer(model, self.split.development(), seed=cell.seed, methods=plugs, device="cpu", progress=False).train()
        return model, time.process_time() - began

    def original(self, cell: Cell) -> tuple[Recommender, float]:
        """The unprotected model of a backbone and seed: trained once, then read again."""
        file = self.folder / "models" / f"{cell.backbone}-s{cell.seed}.safetensors"
        cost, settings = file.with_suffix(".json"), self.settings(cell.backbone)
        held = _read(cost, settings)
        if file.exists() and held is not None:
            model = new_model(cell.backbone, settings, self.split, cell.seed)
            model.load_state_dict(load_file(file))
            return model.eval(), float(held["cpu_seconds"])
        model, seconds = self.train(cell, None, {})
        write_bytes(file, save({name: tensor.contiguous() for name, tensor in model.state_dict().items()}))
        write_json(cost, {"cpu_seconds": seconds, "asked": settings})
        return model, seconds

    def cell(self, cell: Cell) -> dict[str, Any]:
        raise NotImplementedError


class _FairnessGrid(_Grid):
    """Original, In-UCDS, In-Naive, S-DRO and UFR."""

    def __init__(self, grid: Mapping[str, Any], folder: Path) -> None:
        super().__init__(grid, folder)
        self.groups = activity_groups(self.split, key=default_key(self.split))
        self.asked = fold_of(self.split, "test")
        self.positives = first_rows(self.dataset, self.asked, "test")

    def cell(self, cell: Cell) -> dict[str, Any]:
        if cell.method in ("original", "ufr"):
            model, seconds = self.original(cell)
        else:
            model, seconds = self.train(cell, cell.method, self.of_method(cell))
        judged = evaluate_fold(model, self.asked, ks=(K, 50))
        metrics = {
            "ndcg": judged.per_user[f"ndcg@{K}"],
            "f1": f1(judged.per_user[f"precision@{K}"], self.asked.targets.lengths, K),
        }
        solver = {}
        if cell.method == "ufr":
            began = time.process_time()
            best = self._reranked(model, judged.lists, judged.list_scores, self.of_method(cell))
            metrics = _list_metrics(reranked_lists(judged.lists, best.chosen, K), self.asked, self.split.n_items)
            seconds += time.process_time() - began
            told = {"status": best.status, "value": best.value, "bound": best.bound, "candidates_asked": best.asked}
            solver = {"solver": told}
        else:
            ranks = sampled_metrics(sampled_ranks(model, self.asked, self.positives), K)
            metrics |= {f"sampled_{name}": values for name, values in ranks.items()}
        advantaged = self.groups.labels[judged.users] == self.groups.names.index(ADVANTAGED)
        return {
            "advantaged": advantaged.tolist(),
            "per_person": {name: np.round(values, 6).tolist() for name, values in metrics.items()},
            "training_cpu_seconds": round(seconds, 2),
            "protocol": judged.protocol,
            **solver,
        }

    def _reranked(self, model: Recommender, lists: Any, scores: Any, settings: Mapping[str, Any]) -> Reranked:
        """UFR with hit rates by group and place from the validation fold."""
        valid = self.split.valid
        candidates = evaluate_fold(model, valid, ks=(K, 50)).lists
        targets = valid.targets.unique()
        keys = targets.rows * self.split.n_items + targets.items
        hits = np.isin(np.arange(len(valid))[:, None] * np.int64(self.split.n_items) + candidates, keys)
        label = self.groups.names.index(ADVANTAGED)
        rates = rates_by_place(hits, self.groups.labels[valid.users] == label)
        advantaged = self.groups.labels[self.asked.users] == label
        relevance = np.where(advantaged[:, None], rates[0], rates[1])
        usable = np.where(np.isfinite(scores), scores, np.nanmin(np.where(np.isfinite(scores), scores, np.nan)))
        standard = (usable - usable.mean(1, keepdims=True)) / np.maximum(usable.std(1, keepdims=True), 1e-9)
        lengths = self.asked.targets.lengths
        return rerank(standard, relevance, lengths, advantaged, k=K, **settings)


def _list_metrics(lists: Any, asked: Any, n_items: int) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    from rectitude.evaluation.metrics import accuracy, hits

    targets = asked.targets.unique()
    queries, ranks = hits(lists.astype(np.int32), targets.rows, targets.items, n_items)
    found = accuracy(queries, ranks, targets.lengths, (K,))
    return {"ndcg": found[f"ndcg@{K}"], "f1": f1(found[f"precision@{K}"], targets.lengths, K)}


class _UnlearningGrid(_Grid):
    """Original, remedies afterwards, protection in training, and the bounds."""

    def cell(self, cell: Cell) -> dict[str, Any]:
        if cell.attribute is None:
            raise ConfigError("A grid about unlearning needs 'attributes'", where="grid")
        groups = attribute_groups(self.dataset.users, cell.attribute)
        settings = self.of_method(cell)
        kind = settings.pop("method", cell.method)
        trained = 0.0
        if kind == "original":
            model, trained = self.original(cell)
            remedy = 0.0
        elif kind in _REMEDIES:
            model, trained = self.original(cell)
            config = _remedy(kind, settings)
            done = unlearn(model, [Target(groups.attribute, groups.labels)], self.split.train, config, seed=cell.seed)
            remedy = done.cpu_seconds
        else:
            settings = {"attribute": cell.attribute, **settings}
            model, remedy = self.train(cell, kind, settings)
        return {
            "ndcg": self._ndcg(model),
            "attacks": self._attacks(model, groups, cell.seed),
            "remedy_cpu_seconds": round(remedy, 2),
            "training_cpu_seconds": round(trained, 2),
            "classes": len(groups.names),
            "by_chance": self._by_chance(model, groups, cell.seed) if kind == "original" else [],
        }

    def _ndcg(self, model: Recommender) -> dict[str, Any]:
        judged = evaluate_fold(model, fold_of(self.split, "test"), ks=(K,))
        return {
            f"{metric}@{K}": bootstrap_interval(judged.per_user[f"{metric}@{K}"], 0).to_dict()
            for metric in ("ndcg", "hr")
        }

    def _attacks(self, model: Recommender, groups: Groups, seed: int) -> dict[str, Any]:
        query = Query.of_users(np.arange(self.split.n_users), self.split.train)
        sources = representations(model, query)
        lists = []
        for start in range(0, len(query), 512):
            some = query.slice(start, min(start + 512, len(query)))
            with torch.no_grad():
                scores, _ = model.answer(some)
            lists.append(masked_topk(scores, some.history, 20, overwrite=True)[0].numpy().astype(np.int32))
        sources[LISTS] = list_features(np.concatenate(lists), self.split.n_items).astype(np.float64)
        attackers = (*ATTACKERS, "rbf")
        return {
            name: {
                attacker: found.to_dict()
                for attacker, found in attack(features, groups.labels, attackers=attackers, draws=2, seed=seed).items()
            }
            for name, features in sources.items()
        }

    def _by_chance(self, model: Recommender, groups: Groups, seed: int) -> list[list[float]]:
        """Accuracies of all attackers on labels that were dealt out at random, once per dealing."""
        features = next(iter(model.user_tables().values())).detach().double().numpy()
        generator = np.random.default_rng(seed)
        known = np.flatnonzero(groups.labels >= 0)
        dealings = []
        for _ in range(_DEALINGS):
            labels = groups.labels.copy()
            labels[known] = generator.permutation(labels[known])
            found = attack(features, labels, attackers=(*ATTACKERS, "rbf"), draws=2, seed=seed)
            dealings.append([one.accuracy for one in found.values()])
        return dealings
