"""Small trainings for ``test_parallel.py``, which runs them here and, by this file, under ``torchrun``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
from safetensors.torch import save_file

from rectitude.data.dataset import Dataset
from rectitude.data.split import split
from rectitude.training.loggers import CsvLogger
from rectitude.training.trainer import Trainer
from rectitude.training.tuning import new_model

SEQUENTIAL = {"dropout": 0.0, "max_length": 8, "n_negatives": 10, "n_blocks": 1}
CASES = {
    "sasrec": ("sasrec", {"batch_size": 8, **SEQUENTIAL}),
    "bpr": ("bpr", {"batch_size": 64}),
    # With batches of one row the second process never has a row of its own.
    "single-rows": ("sasrec", {"batch_size": 1, **SEQUENTIAL}),
}


def train(folder: Path) -> None:
    """Train each case and leave parameters and curve of this process in the folder."""
    n_users, n_items = 31, 25
    lengths = np.random.default_rng(0).integers(5, 15, n_users)
    user = np.repeat(np.arange(n_users), lengths).astype(np.int32)
    item = ((np.arange(len(user)) + 3 * user) % n_items).astype(np.int32)
    data = Dataset(
        "ring",
        pl.DataFrame({"user": user, "item": item}),
        pl.DataFrame({"user_id": [str(i) for i in range(n_users)]}),
        pl.DataFrame({"item_id": [str(i) for i in range(n_items)]}),
    )
    part = split(data).development()
    for case, (name, values) in CASES.items():
        model = new_model(name, {"n_factors": 8, "epochs": 3, "learning_rate": 0.01, **values}, part, seed=0)
        logger = CsvLogger(folder / f"{case}.csv")
        trainer = Trainer(model, part, checkpoint=folder / f"{case}.state", loggers=[logger], progress=False)
        result = trainer.train()
        made = folder / f"{case}-{trainer.rank}"
        save_file({key: value.contiguous() for key, value in model.state_dict().items()}, f"{made}.safetensors")
        told = {"best": result.best_epoch, "curve": result.curve, "processes": trainer.n_processes}
        Path(f"{made}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    train(Path(sys.argv[1]))
