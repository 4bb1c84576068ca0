"""RecTools' SASRec, epoch by epoch: CPU seconds of training, validation NDCG@10, peak memory.

    python benchmarks/peers/rectools_sasrec.py ml-1m --epochs 100 --patience 5 --out results.jsonl

Trained on all but each user's last two items, validated on the last but one with seen items masked. Each epoch is
one ``fit_partial``; its CPU seconds are counted by a callback from the epoch's start to its end, so that neither
preparing the data nor validating is charged. A run that was cut off starts again from its first epoch, under the same
name: RecTools' own state cannot be resumed exactly.
"""

from __future__ import annotations

import argparse
import logging
import time
import warnings

import numpy as np
import pandas as pd
import pytorch_lightning
import rectools
import torch
from common import done, peak_megabytes, ranking_metrics, sequences, write
from pytorch_lightning import Callback, Trainer
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel

SETTINGS = {
    "n_factors": 64,
    "n_blocks": 2,
    "n_heads": 2,
    "session_max_len": 50,
    "batch_size": 128,
    "lr": 1e-3,
    "dropout_rate": 0.2,
    "loss": "softmax",
}

clock: list[float] = []  # the trainer copies its callbacks, so what they count is kept outside them


class EpochClock(Callback):
    """CPU seconds of each training epoch."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: pytorch_lightning.LightningModule) -> None:
        """Start."""
        clock.append(-time.process_time())

    def on_train_epoch_end(self, trainer: Trainer, pl_module: pytorch_lightning.LightningModule) -> None:
        """Stop."""
        clock[-1] += time.process_time()


def trainer() -> Trainer:
    """RecTools' own trainer with the clock in it."""
    return Trainer(
        max_epochs=1,
        min_epochs=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
        enable_checkpointing=False,
        devices=1,
        accelerator="cpu",
        callbacks=[EpochClock()],
    )


def frame(rows: list[np.ndarray]) -> Dataset:
    """RecTools' dataset from sequences; the place in the sequence stands for the time."""
    lengths = [len(row) for row in rows]
    return Dataset.construct(
        pd.DataFrame(
            {
                Columns.User: np.repeat(np.arange(len(rows)), lengths),
                Columns.Item: np.concatenate(rows),
                Columns.Weight: 1.0,
                Columns.Datetime: pd.to_datetime(np.concatenate([np.arange(n) for n in lengths]), unit="s"),
            }
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="name of a set in RECTITUDE_DATA")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--patience", type=int, default=5, help="epochs without a better validation NDCG@10")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning|rectools")

    key = {"peer": "RecTools", "model": "SASRec", "data": arguments.data, "seed": arguments.seed}
    if done(arguments.out, **key, kind="end"):
        return
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    rows, n_items = sequences(arguments.data)
    rows = [row for row in rows if len(row) >= 3]
    train, target = [row[:-2] for row in rows], np.array([row[-2] for row in rows])
    n_targets = int(sum(min(len(row), SETTINGS["session_max_len"] + 1) - 1 for row in train))
    data = frame(train)
    model = SASRecModel(**SETTINGS, deterministic=False, verbose=0, get_trainer_func=trainer)
    versions = {"rectools": rectools.__version__, "torch": torch.__version__}
    key |= {"settings": SETTINGS, "versions": versions, "n_users": len(rows), "n_items": n_items, "targets": n_targets}

    best, best_epoch, total = -1.0, 0, 0.0
    for epoch in range(1, arguments.epochs + 1):
        before = time.process_time()
        model.fit_partial(data, min_epochs=1, max_epochs=1)
        whole = time.process_time() - before
        total += clock[-1]
        peak = peak_megabytes()
        before = time.process_time()
        lists = model.recommend(users=np.arange(len(rows)), dataset=data, k=10, filter_viewed=True)
        top = np.full((len(rows), 10), -1)
        top[lists[Columns.User].to_numpy(), lists[Columns.Rank].to_numpy() - 1] = lists[Columns.Item].to_numpy()
        valid = ranking_metrics(top, target)
        write(
            arguments.out,
            **key,
            kind="epoch",
            epoch=epoch,
            train_cpu_s=round(clock[-1], 3),
            fit_call_cpu_s=round(whole, 3),
            total_train_cpu_s=round(total, 3),
            targets_per_cpu_s=round(n_targets / clock[-1]),
            recommend_cpu_s=round(time.process_time() - before, 3),
            peak_mb_training=round(peak),
            valid=valid,
        )
        if valid["ndcg@10"] > best:
            best, best_epoch, best_total = valid["ndcg@10"], epoch, total
        elif epoch - best_epoch >= arguments.patience:
            break
    write(
        arguments.out,
        **key,
        kind="end",
        epochs=epoch,
        best_epoch=best_epoch,
        best_valid_ndcg10=best,
        cpu_s_to_best=round(best_total, 3),
        targets_per_cpu_s=round(n_targets * epoch / total),
        peak_mb=round(peak_megabytes()),
    )


if __name__ == "__main__":
    main()
