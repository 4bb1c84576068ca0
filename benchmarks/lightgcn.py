"""Our LightGCN beside RecBole's with the same settings: CPU seconds per epoch, validation NDCG@10, peak memory.

    python benchmarks/lightgcn.py ml-100k --epochs 10 --out results.jsonl --peer-python ../peer-recbole/bin/python
    python benchmarks/lightgcn.py gowalla --epochs 1 --out results.jsonl --peer-python … --peer-batches 40

Both train with the paper's BPR loss, d=64, 3 layers, batches of 2,048 pairs and Adam at 1e-3, for the given epochs on
one thread; validation is not charged. ``--peer-batches`` bounds the peer's work on large data: its seconds for so many
batches are multiplied up to an epoch.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

import torch
from peers.common import done, interactions, peak_megabytes, write

import rectitude
from rectitude.evaluation.evaluator import evaluate_fold
from rectitude.models.collaborative.lightgcn import LightGCN
from rectitude.training.trainer import Trainer
from rectitude.training.tuning import new_model

SETTINGS = {
    "n_factors": 64,
    "n_layers": 3,
    "loss": "bpr",
    "l2": 1e-4,
    "learning_rate": 1e-3,
    "batch_size": 2048,
    "n_negatives": 1,
}


def measure(data: str, epochs: int, out: str) -> None:
    """Train ours unless the results file holds it."""
    key = {"peer": "Rectitude", "model": "LightGCN", "data": data, "epochs": epochs}
    if done(out, **key):
        return
    torch.set_num_threads(1)
    rule = "column" if "split" in interactions(data) else "leave-one-out"
    split = rectitude.split(rectitude.load(data), rectitude.SplitConfig(rule=rule)).development()
    settings = {**SETTINGS, "epochs": epochs, "patience": epochs, "validate_every": epochs}
    model = new_model(LightGCN.name, settings, split, 0)
    rows = Trainer(model, split, progress=False).train().curve
    peak = peak_megabytes()
    seconds = sum(row["cpu_seconds"] for row in rows)
    pairs = len(model.batches(split.train).users)
    write(
        out,
        **key,
        settings=SETTINGS,
        versions={"rectitude": rectitude.__version__, "torch": torch.__version__},
        pairs=pairs,
        epoch_cpu_s=round(seconds / epochs, 3),
        targets_per_cpu_s=round(pairs * epochs / seconds),
        peak_mb=round(peak),
        valid={"ndcg@10": evaluate_fold(model, split.valid, ks=(10,)).mean("ndcg@10")},
    )


def summary(data: str, out: str) -> dict[str, Any]:
    """Both measurements and how many times quicker ours is."""
    lines = {line["peer"]: line for line in done(out, model="LightGCN", data=data)}
    shown = ("epochs", "batches", "epoch_cpu_s", "targets_per_cpu_s", "peak_mb", "valid", "load")
    told: dict[str, Any] = {"data": data}
    told |= {peer: {key: line[key] for key in shown if key in line} for peer, line in lines.items()}
    if len(lines) == 2:
        told["ratio"] = round(lines["RecBole"]["epoch_cpu_s"] / lines["Rectitude"]["epoch_cpu_s"], 1)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="ml-100k, gowalla, …")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--out", required=True, help="results file, JSON lines")
    parser.add_argument("--peer-python", help="interpreter of an environment with RecBole")
    parser.add_argument("--peer-batches", type=int, help="train the peer on the first so many batches only")
    arguments = parser.parse_args()
    measure(arguments.data, arguments.epochs, arguments.out)
    if arguments.peer_python:
        script = Path(__file__).parent / "peers" / "recbole_lightgcn.py"
        options = ["--epochs", str(arguments.epochs), "--out", arguments.out]
        if arguments.peer_batches is not None:
            options += ["--batches", str(arguments.peer_batches)]
        subprocess.run([arguments.peer_python, str(script), arguments.data, *options], check=True)
    print(json.dumps(summary(arguments.data, arguments.out), indent=2))


if __name__ == "__main__":
    main()
