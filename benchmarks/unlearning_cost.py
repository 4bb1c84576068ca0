"""Attribute unlearning against training again with protection: CPU seconds of both, in one process.

The protected training (D2D in training) runs until the validation fold no longer gets better; what it cost up to the
epoch that is kept is told apart. The unprotected model is then trained likewise and unlearnt until the validation
attackers stop it.

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
from rectitude.data.groups import Groups, attribute_groups
from rectitude.data.readers import load
from rectitude.data.split import Split
from rectitude.evaluation.evaluator import evaluate_fold
from rectitude.models.base import Recommender
from rectitude.models.query import Query
from rectitude.training.registry import new_method
from rectitude.training.trainer import Trainer
from rectitude.training.tuning import new_model
from rectitude.unlearning.attackers import ATTACKERS, attack
from rectitude.unlearning.attribute import Target, UnlearningConfig, unlearn
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
        "ndcg@10": float(evaluate_fold(model, split.valid, ks=(10,)).mean("ndcg@10")),
    }


def told(model: Recommender, split: Split, groups: Groups) -> dict[str, dict[str, float]]:
    """Balanced accuracy of every attacker on every representation."""
    sources = representations(model, Query.of_users(np.arange(split.n_users), split.train))
    attackers = (*ATTACKERS, "rbf")
    return {
        source: {
            name: round(one.accuracy, 3)
            for name, one in attack(features, groups.labels, attackers=attackers, draws=1, seed=31).items()
        }
        for source, features in sources.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="ml-1m")
    parser.add_argument("--model", default="bpr")
    parser.add_argument("--attribute", default="gender")
    parser.add_argument("--epochs", type=int, default=100, help="most epochs")
    parser.add_argument("--batch-size", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=320, help="most steps of unlearning")
    parser.add_argument("--out", type=Path, help="JSON lines to append to")
    arguments = parser.parse_args()
    dataset = load(arguments.data)
    split = divide(dataset, {"rule": "leave-one-out"}).development()
    groups = attribute_groups(dataset.users, arguments.attribute)
    settings = {"epochs": arguments.epochs, "validate_every": 5, "patience": 2, "batch_size": arguments.batch_size}
    row: dict[str, Any] = {"data": arguments.data, "model": arguments.model, "attribute": arguments.attribute}
    model, row["plain"] = trained(arguments.model, split, [], settings)
    row["told_before"] = told(model, split, groups)
    print(json.dumps(row), flush=True)
    began = time.process_time()
    done = unlearn(
        model, [Target(groups.attribute, groups.labels)], split.train, UnlearningConfig(steps=arguments.steps), seed=1
    )
    row["unlearning"] = {
        "cpu_seconds": round(time.process_time() - began, 1),
        "steps": done.steps,
        "stopped": done.stopped,
        "trace": [(round(one["step"]), round(one["worst"], 3)) for one in done.trace],
        "ndcg@10": float(evaluate_fold(model, split.valid, ks=(10,)).mean("ndcg@10")),
    }
    row["told_after"] = told(model, split, groups)
    print(json.dumps(row["unlearning"] | {"told": row["told_after"]}), flush=True)
    plugs = [new_method("d2d-training", {"attribute": arguments.attribute}, dataset)]
    protected, row["protected"] = trained(arguments.model, split, plugs, settings)
    row["told_protected"] = told(protected, split, groups)
    row["times_cheaper"] = round(row["protected"]["cpu_seconds"] / row["unlearning"]["cpu_seconds"], 1)
    print(json.dumps(row), flush=True)
    if arguments.out:
        with arguments.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
