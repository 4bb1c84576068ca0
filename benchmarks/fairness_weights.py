"""Weights of In-UCDS and In-Naive for the grids of ``rectitude reproduce``, chosen on validation rows.

Every backbone and method gets the same number of weights to try, and one seed that no grid uses. Of the weights that
leave at least 98 % of Original's NDCG@10 on the validation fold, that with the smallest M_UOF is chosen; if none does,
the smallest weight. A row that is in the output file is not computed again.

OMP_NUM_THREADS=1 python benchmarks/fairness_weights.py in_ucds/movielens --out ../fairness-weights.jsonl
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from rectitude.data.groups import activity_groups, default_key
from rectitude.data.readers import load
from rectitude.data.split import Split
from rectitude.evaluation.evaluator import evaluate_fold
from rectitude.fairness.metrics import m_uof
from rectitude.training.registry import new_method
from rectitude.training.trainer import Trainer
from rectitude.training.tuning import new_model
from rectitude.workflow.fitting import divide
from rectitude.workflow.reproducing import read_grid

WEIGHTS = {
    "pmf": (3e-4, 1e-3, 3e-3, 1e-2),
    "lightgcn": (0.03, 0.1, 0.3, 1.0),
    "neumf": (1e-3, 3e-3, 1e-2, 3e-2),
    "multvae": (1e-3, 3e-3, 1e-2, 3e-2),
}
METHODS = ("in-ucds", "in-naive")
SEED = 101
KEPT = 0.98


def judged(backbone: str, settings: dict[str, Any], plugs: list[Any], split: Split) -> dict[str, float]:
    """Accuracy and gap on the validation fold of one training."""
    model = new_model(backbone, settings, split, SEED)
    began = time.process_time()
    result = Trainer(model, split, seed=SEED, methods=plugs, device="cpu", progress=False).train()
    found = evaluate_fold(model, split.valid, ks=(10,))
    groups = activity_groups(split, key=default_key(split))
    gap = m_uof(found.per_user["ndcg@10"], groups, found.users)
    return {
        "ndcg": float(found.mean("ndcg@10")),
        "m_uof": gap.value,
        "best_epoch": result.best_epoch or 0,
        "cpu_seconds": round(time.process_time() - began, 1),
    }


def chosen(rows: list[dict[str, Any]], backbone: str, method: str) -> float:
    """The weight with the smallest gap among those that keep the accuracy."""
    plain = next(row for row in rows if row["backbone"] == backbone and row["method"] == "original")
    tried = [row for row in rows if (row["backbone"], row["method"]) == (backbone, method)]
    kept = [row for row in tried if row["ndcg"] >= KEPT * plain["ndcg"]]
    best = min(kept, key=lambda row: row["m_uof"]) if kept else min(tried, key=lambda row: row["weight"])
    return float(best["weight"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grid", help="in_ucds/movielens, in_ucds/epinion or in_ucds/gowalla")
    parser.add_argument("--out", type=Path, required=True, help="JSON lines to go on with")
    arguments = parser.parse_args()
    name, grid = read_grid(arguments.grid, full=False)
    dataset = load(grid["data"])
    split = divide(dataset, grid["split"]).development()
    lines = arguments.out.read_text(encoding="utf-8").splitlines() if arguments.out.exists() else []
    rows = [row for row in map(json.loads, lines) if row["grid"] == name]
    done = {(row["backbone"], row["method"], row["weight"]) for row in rows}
    for backbone, weights in WEIGHTS.items():
        settings = {key: value for key, value in grid["backbones"][backbone].items() if key not in ("seeds", "methods")}
        tries = [("original", 0.0), *((method, weight) for method in METHODS for weight in weights)]
        for method, weight in tries:
            if (backbone, method, weight) in done:
                continue
            plugs = [new_method(method, {"weight": weight}, dataset)] if method in METHODS else []
            row = {"grid": name, "backbone": backbone, "method": method, "weight": weight}
            row |= judged(backbone, settings, plugs, split)
            rows.append(row)
            print(json.dumps(row), flush=True)
            with arguments.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        for method in METHODS:
            print(f"# {name}: {backbone}, {method}: weight = {chosen(rows, backbone, method):g}", flush=True)


if __name__ == "__main__":
    main()
