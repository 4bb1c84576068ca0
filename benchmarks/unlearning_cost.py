"""Attribute unlearning against training again with protection: CPU seconds of both, in one process.

The unprotected model and the protected one (D2D in training) are trained until the validation fold no longer gets
better, or for the epochs asked for. CPU seconds of a training are those of its epochs alone, without the looks at the
validation fold; those up to the epoch that is kept are told apart. CPU seconds of unlearning are those of the whole
call. The unprotected model is unlearnt with one seed before and with the others after the protected training, since a
busy machine is not as quick at all times.

OMP_NUM_THREADS=1 python benchmarks/unlearning_cost.py --data ml-1m --model bpr --out ../unlearning-cost.jsonl
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from rectitude.audit.checks.leakage import representations
from rectitude.data.dataset import Dataset
from rectitude.data.groups import attribute_groups
from rectitude.data.readers import load
from rectitude.data.split import Split
from rectitude.evaluation.evaluator import evaluate_fold
from rectitude.models.base import Recommender
from rectitude.models.query import Query
from rectitude.training.registry import new_method
from rectitude.training.trainer import Trainer
from rectitude.training.tuning import new_model
from rectitude.unlearning.attackers import ATTACKERS, attack
from rectitude.unlearning.attribute import Target, unlearn
from rectitude.workflow.fitting import divide


def trained(name: str, split: Split, plugs: list[Any], settings: dict[str, Any]) -> tuple[Recommender, dict[str, Any]]:
    """A model, and what it cost."""
    model = new_model(name, settings, split, 1)
    result = Trainer(model, split, seed=1, methods=plugs, device="cpu", progress=False).train()
    seconds = [row["cpu_seconds"] for row in result.curve]
    best = result.best_epoch or len(seconds)
    return model, {
        "epochs": len(seconds),
        "best_epoch": best,
        "cpu_seconds": round(sum(seconds), 1),
        "cpu_seconds_to_best": round(sum(seconds[:best]), 1),
    }


def judged(model: Recommender, split: Split, dataset: Dataset, attributes: list[str]) -> dict[str, Any]:
    """Accuracy on the validation fold, and the balanced accuracy of every attacker on every representation."""
    sources = representations(model, Query.of_users(np.arange(split.n_users), split.train))
    told = {
        attribute: {
            source: {
                name: round(one.accuracy, 3)
                for name, one in attack(
                    features,
                    attribute_groups(dataset.users, attribute).labels,
                    attackers=(*ATTACKERS, "rbf"),
                    draws=1,
                    seed=31,
                ).items()
            }
            for source, features in sources.items()
        }
        for attribute in attributes
    }
    return {"ndcg@10": round(float(evaluate_fold(model, split.valid, ks=(10,)).mean("ndcg@10")), 4), "told": told}


def unlearnt(
    model: Recommender, state: dict[str, Any], split: Split, dataset: Dataset, attribute: str, seed: int
) -> dict[str, Any]:
    """What one unlearning of the trained model cost and left."""
    model.load_state_dict(state)
    groups = attribute_groups(dataset.users, attribute)
    began = time.process_time()
    done = unlearn(model, [Target(groups.attribute, groups.labels)], split.train, seed=seed)
    cost = time.process_time() - began
    row = {"attribute": attribute, "seed": seed, "cpu_seconds": round(cost, 2), "steps": done.steps, "kept": done.kept}
    row |= {"stopped": done.stopped, "trace": [(round(one["step"]), round(one["worst"], 3)) for one in done.trace]}
    row |= judged(model, split, dataset, [attribute])
    print(json.dumps(row), flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="ml-1m")
    parser.add_argument("--model", default="bpr")
    parser.add_argument("--attribute", default="gender")
    parser.add_argument("--also", nargs="*", default=[], help="attributes to unlearn without training with protection")
    parser.add_argument("--seeds", type=int, default=2, help="of the unlearning, two or more")
    parser.add_argument("--epochs", type=int, default=100, help="most epochs")
    parser.add_argument("--batch-size", type=int, default=4096)
    parser.add_argument("--learning-rate", type=float, help="of the model; its own default if not given")
    parser.add_argument("--out", type=Path, help="JSON lines to append to")
    arguments = parser.parse_args()
    dataset = load(arguments.data)
    split = divide(dataset, {"rule": "leave-one-out"}).development()
    settings = {"epochs": arguments.epochs, "validate_every": 5, "patience": 2, "batch_size": arguments.batch_size}
    settings |= {"learning_rate": arguments.learning_rate} if arguments.learning_rate else {}
    row: dict[str, Any] = {"data": arguments.data, "model": arguments.model, "settings": settings}
    model, row["plain"] = trained(arguments.model, split, [], settings)
    row["plain"] |= judged(model, split, dataset, [arguments.attribute, *arguments.also])
    print(json.dumps(row), flush=True)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    row["unlearnt"] = [unlearnt(model, state, split, dataset, arguments.attribute, 1)]
    plugs = [new_method("d2d-training", {"attribute": arguments.attribute}, dataset)]
    protected, row["protected"] = trained(arguments.model, split, plugs, settings)
    print(json.dumps(row["protected"]), flush=True)
    for attribute in (arguments.attribute, *arguments.also):
        seeds = range(2 if attribute == arguments.attribute else 1, arguments.seeds + 1)
        row["unlearnt"] += [unlearnt(model, state, split, dataset, attribute, seed) for seed in seeds]
    row["times_cheaper"] = [
        round(row["protected"]["cpu_seconds"] / one["cpu_seconds"], 1)
        for one in row["unlearnt"]
        if one["attribute"] == arguments.attribute
    ]
    row["protected"] |= judged(protected, split, dataset, [arguments.attribute])
    print(json.dumps({"protected": row["protected"], "times_cheaper": row["times_cheaper"]}), flush=True)
    if arguments.out:
        with arguments.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
