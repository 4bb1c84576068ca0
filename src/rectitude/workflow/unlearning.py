"""``unlearn``: a remedy on a trained run; a new run with its parent's name, and before and after side by side."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save

from rectitude.audit.checks.leakage import LISTS, representations
from rectitude.core.config import build
from rectitude.core.errors import ConfigError, RunError
from rectitude.core.files import sha256, write_bytes
from rectitude.data.dataset import Dataset
from rectitude.data.groups import Groups, activity_groups, attribute_groups, default_key
from rectitude.data.split import Split
from rectitude.evaluation.evaluator import evaluate_fold
from rectitude.fairness.metrics import gap
from rectitude.models.query import Query
from rectitude.models.ranking import masked_topk
from rectitude.runs.folder import CURVE, HISTORY, IDS, LINEAGE, METRICS, MODEL, REMEDY, RunFolder, now
from rectitude.training.run import Run
from rectitude.unlearning.attackers import ATTACKERS, attack, list_features, strongest
from rectitude.unlearning.attribute import Target, Unlearning, UnlearningConfig, check_possible
from rectitude.unlearning.attribute import unlearn as edit
from rectitude.workflow.judging import fold_of, judge

K = 10


@dataclass(frozen=True)
class Measured:
    """A run before or after a remedy.

    Attributes:
        figures: Name to value with interval: accuracy, gaps, the strongest attacker on each representation.
        attackers: Attribute, then representation, then attacker to its accuracy.
    """

    figures: dict[str, dict[str, float | None]]
    attackers: dict[str, dict[str, dict[str, float]]]


def unlearn_attribute(
    run: Run | str | Path,
    attributes: Sequence[str],
    *,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    data: str | Path | Dataset | None = None,
    resume: bool = False,
    overwrite: bool = False,
    announce: Callable[[str], None] | None = None,
    on_check: Callable[[dict[str, float]], None] | None = None,
) -> tuple[Run, dict[str, Any]]:
    """Make a run whose stored vectors no longer tell attributes; the parent is only read.

    Before and after are measured on the validation fold, so that settings may be chosen by them.

    Args:
        run: A trained run or its folder.
        attributes: Columns of the users table, unlearnt together; ``NAME:EDGE:EDGE`` cuts a number.
        settings: Of :class:`UnlearningConfig`.
        seed: Of draws and attackers.
        out: The new run; the parent's name with ``-without-ATTRIBUTE`` if None.
        data: Where the data is now, if it has moved.
        resume: Go on with one that was interrupted.
        overwrite: Replace a run that is there.
        announce: Told what was left out.
        on_check: Told each look of the validation attacker.

    Returns:
        The new run, and the before-and-after table that is in its ``remedy.json``.

    Raises:
        ConfigError: An attribute or setting is unknown.
        DataError: The model stores no user vectors, or an attribute makes no groups.
        RunError: Something is where the new run should go, or an interrupted unlearning is.
    """
    parent = Run.load(run.path if isinstance(run, Run) else run)  # a model of our own, since it is edited in memory
    config = build(UnlearningConfig, dict(settings or {}), where="--set")
    if not attributes:
        raise ConfigError("No attribute was named", where="--attribute", fix="Name one, e.g. --attribute gender")
    check_possible(parent.model)
    names = "-".join(wanted.partition(":")[0] for wanted in attributes)
    target = Path(out) if out is not None else parent.path.with_name(f"{parent.path.name}-without-{names}")
    if target.resolve() == parent.path.resolve():
        raise RunError("The new run would replace its parent", where=str(target), fix="Choose another --out")
    state = target.with_name(f"{target.name}.unlearning") / "state.safetensors"
    RunFolder.check_target(target, overwrite=overwrite or (resume and state.exists()))
    if overwrite and not resume:
        shutil.rmtree(state.parent, ignore_errors=True)
    if state.exists() and not resume:
        raise RunError(
            "An unlearning of this run was interrupted",
            where=str(state.parent),
            fix="Add --resume to go on with it, or --overwrite to start again",
        )

    dataset = parent.dataset(data)
    divided = parent.split(dataset)
    groups = [attribute_groups(dataset.users, wanted) for wanted in attributes]
    for note in (note for found in groups for note in found.notes) if announce is not None else ():
        announce(note)  # type: ignore[misc]
    before = measure(parent, divided, groups, seed)
    lineage = {
        "parent": parent.path.name,
        "parent_model": sha256(parent.folder.file(MODEL)),
        "made_by": f"unlearn attribute {','.join(attributes)}",
        "at": now(),
    }
    identity = {
        "parent": lineage["parent_model"],
        "attributes": list(attributes),
        "settings": config.model_dump(mode="json"),
        "seed": seed,
    }
    done = edit(
        parent.model,
        [Target(found.attribute, found.labels) for found in groups],
        divided.train,
        config,
        seed=seed,
        checkpoint=state,
        resume=resume,
        identity=identity,
        on_check=on_check,
    )
    after = measure(parent, divided, groups, seed)
    told = _table(config, attributes, done, before, after, parent)
    made = _write(parent, target, dataset, divided, lineage, told, seed, overwrite=overwrite or resume)
    shutil.rmtree(state.parent, ignore_errors=True)
    return made, told


def measure(run: Run, divided: Split, groups: Sequence[Groups], seed: int) -> Measured:
    """Accuracy, gaps and leakage of a model on the validation fold.

    Args:
        run: With the model as it is now.
        divided: Its split.
        groups: Attributes to attack and to compare by.
        seed: Of resamplings and attackers.
    """
    asked = fold_of(divided, "valid")
    judged = evaluate_fold(run.model, asked, ks=(K,), seed=seed)
    summary = judged.summary()
    figures = {metric: summary[f"{metric}@{K}"].to_dict() for metric in ("ndcg", "hr", "recall")}
    figures = {f"{metric}@{K}": figures[metric] for metric in figures}
    activity = activity_groups(divided, key=default_key(divided))
    for found in (activity, *groups):
        labels = found.labels[judged.users]
        if len(np.unique(labels[labels >= 0])) > 1:
            apart = gap(judged.per_user[f"ndcg@{K}"], labels, found.names, seed)
            figures[f"gap by {found.attribute}"] = {"value": apart.value, "low": apart.low, "high": apart.high}
    everybody = np.arange(divided.n_users)
    query = Query.of_users(everybody, divided.train, run.model.device)
    sources = representations(run.model, query)
    sources[LISTS] = list_features(_lists(run, query, 20), divided.n_items).astype(np.float64)
    attackers: dict[str, dict[str, dict[str, float]]] = {}
    for found in groups:
        attackers[found.attribute] = {}
        for name, features in sources.items():
            attacks = attack(features, found.labels, attackers=ATTACKERS, draws=2, seed=4 + seed)
            attackers[found.attribute][name] = {attacker: one.accuracy for attacker, one in attacks.items()}
            best = strongest(attacks)
            low, high = best.ends
            figures[f"{found.attribute} from {name}"] = {"value": best.leakage, "low": low, "high": high}
    return Measured(figures, attackers)


def _lists(run: Run, query: Query, k: int) -> np.ndarray[Any, np.dtype[np.int32]]:
    parts = []
    for start in range(0, len(query), 512):
        some = query.slice(start, min(start + 512, len(query)))
        scores, _ = run.model.answer(some)
        parts.append(masked_topk(scores, some.history, k, overwrite=True)[0].cpu().numpy().astype(np.int32))
    return np.concatenate(parts)


def _table(
    config: UnlearningConfig,
    attributes: Sequence[str],
    done: Unlearning,
    before: Measured,
    after: Measured,
    parent: Run,
) -> dict[str, Any]:
    rows = [
        {"figure": name, "before": before.figures[name], "after": after.figures[name]}
        for name in before.figures
        if name in after.figures
    ]
    return {
        "remedy": f"attribute unlearning ({config.loss})",
        "attributes": list(attributes),
        "settings": config.model_dump(mode="json"),
        "fold": "valid",
        "rows": rows,
        "attackers": {"before": before.attackers, "after": after.attackers},
        "steps": done.steps,
        "stopped": done.stopped,
        "seconds": round(done.seconds, 3),
        "cpu_seconds": round(done.cpu_seconds, 3),
        "parent_training_cpu_seconds": parent.config["training"].get("cpu_seconds"),
        "trace": done.trace,
    }


def _write(
    parent: Run,
    target: Path,
    dataset: Dataset,
    divided: Split,
    lineage: dict[str, Any],
    told: dict[str, Any],
    seed: int,
    *,
    overwrite: bool,
) -> Run:
    config = {key: value for key, value in parent.config.items() if key not in ("format", "created", "versions")}
    config["remedies"] = [*config.get("remedies", []), {key: told[key] for key in ("remedy", "attributes", "settings")}]

    def write(folder: RunFolder) -> None:
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in parent.model.state_dict().items()}
        write_bytes(folder.path / MODEL, save(state))
        for name in (IDS, HISTORY, CURVE):
            if (parent.path / name).exists():
                shutil.copyfile(parent.path / name, folder.path / name)
        folder.write_json(METRICS, {})
        folder.write_json(LINEAGE, lineage)
        folder.write_json(REMEDY, told)
        judge(Run.load(folder.path), dataset, divided, "valid", seed=seed, name=str(target))

    RunFolder.create(target, config, write, overwrite=overwrite)
    return Run.load(target)
