"""Our SASRec, epoch by epoch: targets per CPU second, validation NDCG@10, peak memory, and the peer beside it.

    python benchmarks/sasrec.py ml-1m --epochs 15 --out results.jsonl --peer-python ../peer-rectools/bin/python
    python benchmarks/sasrec.py ml-1m --out results.jsonl --summary

Same architecture as the peer's script (d=64, 2 blocks, 2 heads, L=50, batch 128, dropout 0.2), one thread, validation
not charged. The loss, the cutting into windows and the learning rate are each library's own defaults: they are what is
compared.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
from pathlib import Path
from typing import Any

import torch
from peers.common import done, write

import rectitude
from rectitude.evaluation.evaluator import evaluate_fold
from rectitude.models.sequential.sasrec import SASRec
from rectitude.training.trainer import Trainer
from rectitude.training.tuning import new_model

SETTINGS = {"n_factors": 64, "n_blocks": 2, "n_heads": 2, "max_length": 50, "batch_size": 128, "dropout": 0.2}


class Log:
    """Writes each epoch as one line of the results file."""

    def __init__(self, out: str, key: dict[str, Any]) -> None:
        self.out, self.key, self.total = out, key, 0.0

    def start(self, rows: list[dict[str, float]]) -> None:
        """Nothing to do: measured trainings are not resumed."""

    def log(self, row: dict[str, float]) -> None:
        """One epoch."""
        self.total += row["cpu_seconds"]
        write(
            self.out,
            **self.key,
            kind="epoch",
            epoch=row["epoch"],
            train_cpu_s=row["cpu_seconds"],
            total_train_cpu_s=round(self.total, 3),
            targets_per_cpu_s=row["targets_per_cpu_second"],
            peak_mb_training=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            valid={"ndcg@10": row["valid_ndcg@10"]},
        )

    def close(self) -> None:
        """Nothing to do."""


def measure(data: str, epochs: int, seed: int, out: str) -> None:
    """Train ours unless the results file holds it."""
    key = {"peer": "Rectitude", "model": "SASRec", "data": data, "seed": seed}
    if done(out, **key, kind="end"):
        return
    torch.set_num_threads(1)
    split = rectitude.split(rectitude.load(data)).development()
    model = new_model(SASRec.name, {**SETTINGS, "epochs": epochs, "patience": epochs}, split, seed)
    versions = {"rectitude": rectitude.__version__, "torch": torch.__version__}
    key |= {"settings": model.config.model_dump(), "versions": versions, "n_users": split.n_users}
    result = Trainer(model, split, seed=seed, loggers=[Log(out, key)], progress=False).train()
    best = evaluate_fold(model, split.valid, ks=(10,)).mean("ndcg@10")
    write(out, **key, kind="end", best_epoch=result.best_epoch, best=best)


def summary(data: str, out: str) -> dict[str, Any]:
    """Rates, memory, and CPU seconds to the peer's best validation NDCG@10."""
    lines = [json.loads(text) for text in Path(out).read_text(encoding="utf-8").splitlines() if text]
    epochs = {
        peer: [line for line in lines if line["peer"] == peer and line["data"] == data and line["kind"] == "epoch"]
        for peer in ("Rectitude", "RecTools")
    }
    told: dict[str, Any] = {"data": data}
    for peer, rows in epochs.items():
        if rows:
            targets = sum(row["targets_per_cpu_s"] * row["train_cpu_s"] for row in rows)
            told[peer] = {
                "epochs": len(rows),
                "targets_per_cpu_s": round(targets / sum(row["train_cpu_s"] for row in rows)),
                "peak_mb": max(row["peak_mb_training"] for row in rows),
                "best_valid_ndcg@10": max(row["valid"]["ndcg@10"] for row in rows),
            }
    if all(epochs.values()):
        best = max(epochs["RecTools"], key=lambda row: row["valid"]["ndcg@10"])
        reached = [row for row in epochs["Rectitude"] if row["valid"]["ndcg@10"] >= best["valid"]["ndcg@10"]]
        told["rate_ratio"] = round(told["Rectitude"]["targets_per_cpu_s"] / told["RecTools"]["targets_per_cpu_s"], 2)
        told["cpu_s_to_peer_best"] = {
            "valid_ndcg@10": best["valid"]["ndcg@10"],
            "RecTools": best["total_train_cpu_s"],
            "Rectitude": reached[0]["total_train_cpu_s"] if reached else None,
        }
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="ml-1m, ml-100k, …")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--peer-epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", required=True, help="results file, JSON lines")
    parser.add_argument("--peer-python", help="interpreter of an environment with RecTools")
    parser.add_argument("--summary", action="store_true", help="only print the summary of the results file")
    arguments = parser.parse_args()
    if not arguments.summary:
        measure(arguments.data, arguments.epochs, arguments.seed, arguments.out)
        if arguments.peer_python:
            script = Path(__file__).parent / "peers" / "rectools_sasrec.py"
            options = ["--epochs", str(arguments.peer_epochs), "--out", arguments.out]
            subprocess.run([arguments.peer_python, str(script), arguments.data, *options], check=True)
    print(json.dumps(summary(arguments.data, arguments.out), indent=2))


if __name__ == "__main__":
    main()
