"""``evaluate``: the only way to the test fold, and what is written into the run when it has been taken."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from rectitude.audit.card import recommender_card
from rectitude.audit.checks.finding import Finding
from rectitude.audit.findings import Example, ReportInput, Shown
from rectitude.audit.report import recommender_report
from rectitude.audit.slices import by_activity, by_popularity
from rectitude.core.errors import ConfigError
from rectitude.data.dataset import Dataset
from rectitude.data.split import Fold, Split
from rectitude.evaluation.evaluator import Evaluation, evaluate_fold
from rectitude.evaluation.store import write_evaluation
from rectitude.models.base import ModelConfig
from rectitude.models.collaborative.popularity import Popularity
from rectitude.models.query import Query
from rectitude.runs.folder import CARD, CURVE, FINDINGS, LINEAGE, METRICS, REMEDY, REPORT
from rectitude.training.run import Run

FoldName = Literal["valid", "test"]
KS = (5, 10, 20)
_N_EXAMPLES = 10
_N_SHARES = 1000
NOTHING_TO_ASK = "The run was trained on the validation part too, so there is nothing to ask it"


def evaluate(
    run: Run | str | Path,
    fold: FoldName = "test",
    *,
    ks: Sequence[int] = KS,
    mask_seen: bool = True,
    data: str | Path | Dataset | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Evaluation:
    """Rank the whole catalogue for every question of a fold and write the figures into the run.

    Metrics, model card and report of the run are replaced by ones that hold the new figures.

    Args:
        run: A run or its folder.
        fold: ``test`` breaks the seal; ``valid`` is what training looked at.
        ks: Cut-offs; 10 is needed for the report.
        mask_seen: Leave out what is in a person's history.
        data: Where the data is now, if it has moved.
        seed: Of the bootstrap intervals.
        progress: Show a bar.

    Raises:
        RunError: The run or its data cannot be read, or the data has changed.
    """
    run = run if isinstance(run, Run) else Run.load(run)
    if fold not in ("valid", "test"):
        raise ConfigError(f"There is no fold '{fold}'", fix="Use valid or test")
    dataset = run.dataset(data)
    divided = run.split(dataset)
    judged = judge(run, dataset, divided, fold, ks=ks, mask_seen=mask_seen, seed=seed, progress=progress)
    if judged is None:
        raise ConfigError(NOTHING_TO_ASK, fix="Use test")
    return judged


def evaluation_file(run: Run, fold: FoldName) -> Path:
    """Where the lists and per-person figures of a fold are kept."""
    return run.path / f"evaluation-{fold}.parquet"


def judge(
    run: Run,
    dataset: Dataset,
    divided: Split,
    fold: FoldName,
    *,
    ks: Sequence[int] = KS,
    mask_seen: bool = True,
    seed: int = 0,
    progress: bool = False,
    name: str | None = None,
) -> Evaluation | None:
    """Evaluate a run on a fold and write lists, metrics, model card and report into its folder.

    Args:
        run: The run.
        dataset: Its data.
        divided: Its split.
        fold: ``valid`` or ``test``.
        ks: Cut-offs.
        mask_seen: Leave out what is in a person's history.
        seed: Of the bootstrap intervals.
        progress: Show a bar.
        name: What card and report call the run; its path if None.

    Returns:
        The evaluation, or None where the fold has no question (a run trained on its validation part).
    """
    asked = fold_of(divided, fold)
    evaluation = None
    if len(asked):
        evaluation = rank_fold(run, dataset, divided, fold, ks=ks, mask_seen=mask_seen, seed=seed, progress=progress)
        write_evaluation(evaluation_file(run, fold), evaluation)
        run.folder.write_json(METRICS, {**run.folder.read_json(METRICS), fold: evaluation.to_dict()})
    explain(run, dataset, divided, fold, evaluation, name)
    return evaluation


def explain(
    run: Run, dataset: Dataset, divided: Split, fold: FoldName, evaluation: Evaluation | None, name: str | None = None
) -> None:
    """Write model card and report from an evaluation and from the findings that are in the folder.

    Args:
        run: The run.
        dataset: Its data.
        divided: Its split.
        fold: Which was judged.
        evaluation: Of that fold, None where there is none.
        name: What card and report call the run; its path if None.
    """
    told = report_input(run, dataset, name or str(run.path))
    if evaluation is not None:
        told = replace(told, **_judged(run, divided, fold, evaluation, fold_of(divided, fold)))
    run.folder.write_text(CARD, recommender_card(told))
    run.folder.write_text(REPORT, recommender_report(told))


def fold_of(divided: Split, fold: FoldName) -> Fold:
    """The questions of a fold; asking for the test fold here is what opens it."""
    with divided.opened():
        return divided.test if fold == "test" else divided.valid


def rank_fold(
    run: Run,
    dataset: Dataset,
    divided: Split,
    fold: FoldName,
    *,
    ks: Sequence[int] = KS,
    mask_seen: bool = True,
    seed: int = 0,
    progress: bool = False,
) -> Evaluation:
    """Lists and metrics of a fold; nothing is written.

    Raises:
        ConfigError: The fold has no question, because the run was trained on its validation part too.
    """
    asked = fold_of(divided, fold)
    if not len(asked):
        raise ConfigError(NOTHING_TO_ASK, fix="Use test")
    return evaluate_fold(
        run.model,
        asked,
        ks=ks,
        mask_seen=mask_seen,
        seed=seed,
        data_hash=dataset.hash,
        split=divided.protocol(),
        fold_name=fold,
        show_progress=progress,
    )


def report_input(run: Run, dataset: Dataset, name: str) -> ReportInput:
    """What report and card tell of a run before it is judged."""
    model, config = run.model, run.config
    source = config["data"]["source"]
    return ReportInput(
        name=name,
        model=model.name,
        model_title=model.title,
        paper=model.paper,
        reads=sorted(model.reads),
        serves_new_users=model.serves_new_users,
        serves_new_items=model.serves_new_items,
        dataset={
            "name": dataset.name,
            "people": dataset.n_users,
            "items": dataset.n_items,
            "interactions": dataset.n_interactions,
            "hash": dataset.hash,
            "origin": source.get("origin"),
            "terms": source.get("terms"),
        },
        config=config["settings"],
        protocol={},
        summary={},
        curve=_curve(run),
        training=config["training"],
        notes=config["notes"],
        lineage=run.folder.read_json(LINEAGE, default={}),
        findings=[
            Finding.from_dict(one) for one in run.folder.read_json(FINDINGS, default={"findings": ()})["findings"]
        ],
        remedy=run.folder.read_json(REMEDY, default={}),
        versions=config["versions"],
    )


def _judged(run: Run, divided: Split, fold: FoldName, evaluation: Evaluation, asked: Fold) -> dict[str, Any]:
    """The parts of :class:`ReportInput` that an evaluation fills in, with popularity beside it."""
    model = run.model
    ks = evaluation.protocol["k"]
    k = 10 if 10 in ks else ks[-1]
    metric = f"ndcg@{k}"
    lengths = asked.history.lengths
    activity = {model.title: by_activity(evaluation.per_user[metric], lengths)}
    baselines = {}
    if model.name != Popularity.name:
        rival = _popularity(divided)
        masked = evaluation.protocol["seen_items"] == "left out"
        beside = evaluate_fold(rival, asked, ks=ks, mask_seen=masked, seed=evaluation.seed)
        baselines[rival.title] = beside.summary()
        activity[rival.title] = by_activity(beside.per_user[metric], lengths)
    return {
        "protocol": evaluation.protocol,
        "summary": evaluation.summary(),
        "fold": fold,
        "single_target": bool((asked.targets.lengths == 1).all()),
        "baselines": baselines,
        "activity": activity,
        "activity_metric": metric,
        "popularity": by_popularity(evaluation.lists[:, :k], model.popularity.cpu().numpy().astype(np.int64)),
        "examples": _examples(run, evaluation, asked, k),
        "shares": _shares(run, asked),
        "fallback_share": float((~evaluation.answered).mean()),
    }


def _popularity(divided: Split) -> Popularity:
    rival = Popularity(ModelConfig(), divided.n_users, divided.n_items)
    rival.prepare(divided.train)
    rival.fit(divided.train, torch.Generator())
    rival.eval()
    rival.finish()
    return rival


def _curve(run: Run) -> list[dict[str, float | None]]:
    path = run.path / CURVE
    if not path.exists():
        return []
    rows: list[dict[str, float | None]] = []
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            valid = next((value for name, value in row.items() if name.startswith("valid_")), "")
            rows.append(
                {
                    "epoch": float(row["epoch"]),
                    "loss": float(row["loss"]),
                    "valid_metric": float(valid) if valid else None,
                    "seconds": float(row["seconds"]),
                }
            )
    return rows


def _shares(run: Run, asked: Fold) -> dict[str, list[float]]:
    """How much each part of the model counts for people at even distances through the fold."""
    chosen = np.unique(np.linspace(0, len(asked) - 1, min(_N_SHARES, len(asked))).astype(np.int64))
    query = Query.of_users(asked.users[chosen], asked.history.take(chosen), run.model.device)
    return {name: values.tolist() for name, values in run.model.shares(query).items()}


def _examples(run: Run, evaluation: Evaluation, asked: Fold, k: int) -> list[Example]:
    """People drawn at even distances through the fold, so that nobody chose them."""
    chosen = np.unique(np.linspace(0, len(asked) - 1, min(_N_EXAMPLES, len(asked))).astype(np.int64))

    def title(item: int) -> str:
        return run.titles[item] or f"item {run.item_ids[item]}"

    examples: list[Any] = []
    for row in chosen.tolist():
        held_out = set(asked.targets[row].tolist())
        shown = [
            Shown(rank, title(item), item in held_out)
            for rank, item in enumerate(evaluation.lists[row, :k].tolist(), 1)
            if item >= 0
        ]
        history = [title(item) for item in asked.history[row][::-1][:8].tolist()]
        user = run.user_ids[int(asked.users[row])]
        examples.append(Example(user, history, shown, [title(item) for item in sorted(held_out)][:8]))
    return examples
