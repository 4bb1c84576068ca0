"""Deleting people from a run: a new run in which nothing stored is theirs, and what became of the model.

Four remedies. ``solved again``: a model that is solved by a formula is solved without them, from the same seed; it is
the model that would have been made had they never been there. ``trained again``: the same for a model trained by
gradient, at the price of a training. ``vectors removed``: what the model stores of them is emptied; the parameters that
all people share were learnt with their events too, and stay. ``history removed``: the same for a model that stores
nothing of anybody but their history.

Places in the tables stay where they were, emptied, so that nobody else's index moves.
"""

from __future__ import annotations

import copy
import hashlib
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from safetensors.torch import save

from rectitude.core.errors import QueryError, RunError
from rectitude.core.files import sha256, write_bytes, write_text
from rectitude.data.columns import ITEM, USER
from rectitude.data.dataset import Dataset
from rectitude.data.histories import Histories
from rectitude.data.split import Split
from rectitude.models.base import Recommender
from rectitude.runs.folder import CARD, CURVE, FINDINGS, HISTORY, IDS, LINEAGE, METRICS, MODEL, REMEDY, RunFolder, now
from rectitude.training.run import Run
from rectitude.unlearning.membership import membership
from rectitude.workflow.fitting import fit
from rectitude.workflow.judging import judge

Remedy = Literal["solved again", "trained again", "vectors removed", "history removed"]
DELETION = "deletion.json"
"""What was done to the run, in its folder."""


@dataclass(frozen=True)
class _Data:
    """The run's data without the people.

    Attributes:
        dataset: None where it cannot be read again.
        split: Of the dataset.
        why_not: Why it cannot be read.
    """

    dataset: Dataset | None
    split: Split | None
    why_not: str | None


def delete_people(
    run: Run | str | Path,
    people: Sequence[str],
    *,
    out: str | Path,
    retrain: bool = False,
    marks: Sequence[str] = (),
    data: str | Path | Dataset | None = None,
    overwrite: bool = False,
) -> tuple[Run, dict[str, Any]]:
    """Make a run without some people; the parent is only read.

    Args:
        run: A trained run or its folder.
        people: External ids; all must be known to the run.
        out: The new run.
        retrain: Train a gradient model again without them, where its data can be read.
        marks: What the new run's lineage may remember of them, e.g. keyed digests.
        data: Where the data is now, if it has moved.
        overwrite: Replace a run that is there.

    Returns:
        The new run, and what was done: ``remedy``, ``why``, counts ``before`` and ``after`` and membership for each
        person in the order given, files with their hashes, and ``left`` in plain sentences.

    Raises:
        QueryError: Nobody is named, or somebody is unknown to the run.
        RunError: The run cannot be read, or something is where the new run should go.
    """
    parent = Run.load(run.path if isinstance(run, Run) else run)
    target = Path(out)
    RunFolder.check_target(target, overwrite=overwrite)
    if not people:
        raise QueryError("Nobody was named", fix="Name at least one person")
    gone = np.array([parent.user_ids.index(person) for person in people], np.int64)
    names = emptied_names(parent, gone)
    began = time.perf_counter()
    read = _data(parent, gone, names, data, content=retrain)
    before = [held(parent, int(index)) for index in gone]
    told_before = [_told(parent, int(index), parent.history[int(index)], parent.history[int(index)]) for index in gone]
    events = sum(one["history"] for one in before)
    remedy, model, why = _repaired(parent, read, gone, retrain, target)

    history = _history(parent, read, gone)
    ids = parent.folder.read_table(IDS)
    places = pl.col("kind") == USER
    renamed = {int(index): name for index, name in zip(gone, names, strict=True)}
    masked = pl.col("index").replace_strict(renamed, default=pl.col("id"), return_dtype=pl.String)
    ids = ids.with_columns(pl.when(places).then(masked).otherwise(pl.col("id")).alias("id"))
    lineage = {
        "parent": parent.path.name,
        "parent_model": sha256(parent.folder.file(MODEL)),
        "made_by": f"deletion of {len(gone)} {'person' if len(gone) == 1 else 'people'}: {remedy}",
        "at": now(),
        "without": [*parent.folder.read_json(LINEAGE, default={}).get("without", ()), *marks],
    }
    told: dict[str, Any] = {
        "remedy": remedy,
        "why": why,
        "people": len(gone),
        "left": _left(remedy, model, events, read),
    }

    def write(folder: RunFolder) -> None:
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
        write_bytes(folder.path / MODEL, save(state))
        ids.write_parquet(folder.path / IDS)
        pl.DataFrame({USER: history.rows.astype(np.int32), ITEM: history.items}).write_parquet(folder.path / HISTORY)
        folder.write_json(LINEAGE, lineage)
        folder.write_json(DELETION, told)
        _carry_over(parent, folder)
        _judge_again(parent, Run.load(folder.path), read, str(target))

    config = {key: value for key, value in parent.config.items() if key not in ("format", "created", "versions")}
    config["remedies"] = [*config.get("remedies", []), {"remedy": f"deletion ({remedy})", "people": len(gone)}]
    RunFolder.create(target, config, write, overwrite=overwrite)
    shutil.rmtree(_scratch(target), ignore_errors=True)
    made = Run.load(target)
    after = [held(made, int(index)) for index in gone]
    stored = [parent.history[int(index)] for index in gone]
    told |= {
        "before": before,
        "after": after,
        "membership": [
            {"before": first, "after": _told(made, int(index), made.history[int(index)], rows)}
            for first, index, rows in zip(told_before, gone, stored, strict=True)
        ],
        "files": {
            "before": folder_hash(parent.path),
            "after": folder_hash(made.path),
        },
        "seconds": round(time.perf_counter() - began, 2),
    }
    return made, told


def held(run: Run, index: int) -> dict[str, int]:
    """What a run's folder holds of the person at an index.

    Returns:
        ``id`` 1 where their external id stands, ``history`` events, ``stored_vectors`` that are not empty, and
        ``lists`` of theirs kept with evaluations.
    """
    tables = run.model.user_tables().values()
    named = not run.user_ids[index].startswith(EMPTY)
    lists = 0
    for path in run.path.glob("evaluation-*.parquet"):
        lists += pl.scan_parquet(path).filter(pl.col(USER) == index).select(pl.len()).collect().item()
    return {
        "id": int(named),
        "history": len(run.history[index]),
        "stored_vectors": sum(int(bool(table[index].abs().sum() > 0)) for table in tables),
        "lists": lists,
    }


EMPTY = "deleted person "
"""How an emptied place in a run's table of people is called, with its number after it."""


def emptied_names(run: Run, gone: npt.NDArray[np.int64]) -> list[str]:
    """Names of emptied places, none of which anybody has."""
    names = [f"{EMPTY}{index}" for index in gone]
    return [name if run.user_ids.find(name) is None else f"{name} (place)" for name in names]


def folder_hash(path: Path) -> str:
    """SHA-256 over the names and contents of a run's files."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        if file.is_file():
            digest.update(f"{file.relative_to(path)}\0{sha256(file)}\n".encode())
    return digest.hexdigest()


def _data(
    parent: Run, gone: npt.NDArray[np.int64], names: list[str], data: str | Path | Dataset | None, *, content: bool
) -> _Data:
    try:
        dataset = parent.dataset(data, content=content)
        dataset = dataset.without_people(dict(zip(gone.tolist(), names, strict=True)))
        return _Data(dataset, parent.split(dataset), None)
    except RunError as error:
        return _Data(None, None, error.what)


def _repaired(
    parent: Run, read: _Data, gone: npt.NDArray[np.int64], retrain: bool, target: Path
) -> tuple[Remedy, Recommender, str]:
    """The remedy that ran, the model it made, and why this one."""
    if parent.model.trained_by == "fit":
        source = "its data" if read.split is not None else f"the run's own history ({read.why_not})"
        return "solved again", _solved(parent, read, gone), f"a model solved by a formula; solved from {source}"
    unlearnt = [name for remedy in parent.config.get("remedies", ()) for name in remedy.get("attributes", ())]
    why = "configured so"
    if retrain and unlearnt:
        why = f"training again would undo that {', '.join(unlearnt)} was unlearnt"
    elif retrain and read.dataset is not None:
        return "trained again", _trained(parent, read.dataset, target), why
    elif retrain:
        why = f"its data cannot be read again: {read.why_not}"
    return "vectors removed" if parent.model.user_tables() else "history removed", _emptied(parent, read, gone), why


def _settings(parent: Run) -> dict[str, Any]:
    return {name: entry["value"] for name, entry in parent.config["settings"].items()}


def _solved(parent: Run, read: _Data, gone: npt.NDArray[np.int64]) -> Recommender:
    train = read.split.train if read.split is not None else _without(parent.history, gone)
    model = parent.model.__class__(parent.model.config, parent.model.n_users, parent.model.n_items)
    model.prepare(train)
    model.fit(train, torch.Generator().manual_seed(parent.config["seed"]))
    model.eval()
    model.finish()
    return model


def _scratch(target: Path) -> Path:
    return target.with_name(f"{target.name}.again")


def _trained(parent: Run, dataset: Dataset, target: Path) -> Recommender:
    """Train as the parent was; what an interrupted training left is taken up."""
    scratch = _scratch(target)
    if not (scratch / MODEL).exists():
        settings = _settings(parent)
        for method in parent.config["methods"]:
            settings |= {f"{method['name']}.{key}": value for key, value in method.get("settings", {}).items()}
        fit(
            dataset,
            parent.config["model"],
            settings=settings,
            split=parent.config["split"],
            seed=parent.config["seed"],
            methods=[method["name"] for method in parent.config["methods"] if "settings" in method],
            out=scratch,
            device="cpu",
            resume=True,
            progress=False,
        )
    return Run.load(scratch).model


@torch.no_grad()
def _emptied(parent: Run, read: _Data, gone: npt.NDArray[np.int64]) -> Recommender:
    """A copy of the model whose tables of people are zero where they were, and whose counts are without theirs."""
    model = copy.deepcopy(parent.model)
    rows = torch.from_numpy(gone)
    for table in model.user_tables().values():
        table[rows] = 0.0
    for name, tensor in model.state_dict().items():  # a model inside a model says whom it was trained with too
        if name.rpartition(".")[2] == "trained_users":
            tensor[rows] = False
    if read.split is not None:
        counts = np.bincount(read.split.train.items, minlength=model.n_items)
        model.popularity.copy_(torch.from_numpy(counts.astype(np.float32)))
    return model


def _without(history: Histories, gone: npt.NDArray[np.int64]) -> Histories:
    """The same rows, those of these people emptied."""
    keep = ~np.isin(history.rows, gone)
    return Histories.from_pairs(history.rows[keep], history.items[keep], len(history))


def _history(parent: Run, read: _Data, gone: npt.NDArray[np.int64]) -> Histories:
    return _without(read.split.known if read.split is not None else parent.history, gone)


def _told(run: Run, index: int, stored: npt.NDArray[np.int32], history: npt.NDArray[np.int32]) -> dict[str, Any]:
    return dict(membership(run.model, index, stored, history))


def _left(remedy: Remedy, model: Recommender, events: int, read: _Data) -> list[str]:
    """What of the people is left in the new run, in plain sentences."""
    if remedy == "solved again" and read.split is not None:
        return [f"Nothing: {model.title} was solved again as if they had never been there."]
    if remedy == "solved again":
        return [
            f"Nothing: {model.title} was solved again from the histories of the others. These hold their validation "
            "events too, which the first model was not made from."
        ]
    if remedy == "trained again":
        return ["Nothing: the model was trained again from the same seed without them."]
    emptied = f" Emptied: {', '.join(model.user_tables())}." if model.user_tables() else ""
    left = [
        f"The parameters that all people share (of items, of networks) were learnt with their {events:,} events too; "
        f"their part cannot be taken out without training again.{emptied}"
    ]
    if read.split is None:
        left.append("The counts of how often each item was used still hold theirs, for the data cannot be read again.")
    return left


def _carry_over(parent: Run, folder: RunFolder) -> None:
    """Curve and findings, which tell of everybody together; the findings say whom they were measured on."""
    for name in (CURVE, REMEDY):
        if (parent.path / name).exists():
            shutil.copyfile(parent.path / name, folder.path / name)
    findings = parent.folder.read_json(FINDINGS, default={"findings": []})
    for finding in findings["findings"]:
        note = f"Measured on {parent.name}, before people were deleted from it"
        finding["notes"] = [*(text for text in finding["notes"] if "before people were deleted" not in text), note]
    if findings["findings"]:
        folder.write_json(FINDINGS, findings)


def _judge_again(parent: Run, made: Run, read: _Data, name: str) -> None:
    """The figures of the folds the parent was judged on; without the data only those of the parent, said so."""
    judged: Mapping[str, Any] = parent.folder.read_json(METRICS, default={})
    if read.dataset is not None and read.split is not None:
        made.folder.write_json(METRICS, {})
        for fold in ("valid", "test"):
            if fold in judged:
                judge(made, read.dataset, read.split, fold, seed=parent.config["seed"], name=name)
        return
    made.folder.write_json(METRICS, judged)
    write_text(
        made.path / CARD,
        f"# {name}\n\nPeople were deleted from {parent.name}; this run is what is left. Its data cannot be read again "
        f"({read.why_not}), so the figures in {METRICS} are still those of before.\n",
    )
