"""RecBole's LightGCN: CPU seconds per training epoch and peak memory.

    python benchmarks/peers/recbole_lightgcn.py ml-100k --epochs 5 --out results.jsonl

Trains for the given epochs without validation, in one call of ``fit``. Sets with a ``split`` column (``gowalla``) are
trained on its training part, others on all but each user's last two items.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from pathlib import Path

import numpy as np
import recbole
import torch
from common import done, interactions, peak_megabytes, sequences, write
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_seed

SETTINGS = {"embedding_size": 64, "n_layers": 3, "reg_weight": 1e-4, "learning_rate": 1e-3, "train_batch_size": 2048}


def training_pairs(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Users and items of the training part."""
    columns = interactions(name)
    if "split" in columns:
        train = columns["split"] == "train"
        return columns["user_id"][train], columns["item_id"][train]
    rows, _ = sequences(name)
    rows = [row[:-2] for row in rows]
    return np.repeat(np.arange(len(rows)), [len(row) for row in rows]), np.concatenate(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="name of a set in RECTITUDE_DATA")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    key = {"peer": "RecBole", "model": "LightGCN", "data": arguments.data, "epochs": arguments.epochs}
    if done(arguments.out, **key):
        return
    torch.set_num_threads(1)
    logging.disable(logging.INFO)
    users, items = training_pairs(arguments.data)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / arguments.data
        place.mkdir()
        with (place / f"{arguments.data}.inter").open("w") as file:
            file.write("user_id:token\titem_id:token\n")
            file.writelines(f"{user}\t{item}\n" for user, item in zip(users.tolist(), items.tolist(), strict=True))
        config = Config(
            model="LightGCN",
            dataset=arguments.data,
            config_dict={
                **SETTINGS,
                "data_path": folder,
                "checkpoint_dir": folder,
                "load_col": {"inter": ["user_id", "item_id"]},
                "eval_args": {"split": {"RS": [1, 0, 0]}, "order": "RO", "group_by": None, "mode": "full"},
                "epochs": arguments.epochs,
                "use_gpu": False,
                "show_progress": False,
                "seed": 2020,
            },
        )
        init_seed(config["seed"], True)
        dataset = create_dataset(config)
        train, _, _ = data_preparation(config, dataset)
        model = get_model("LightGCN")(config, train.dataset)
        trainer = get_trainer(config["MODEL_TYPE"], "LightGCN")(config, model)
        before = time.process_time()
        trainer.fit(train, saved=False, show_progress=False)
        seconds = time.process_time() - before
    write(
        arguments.out,
        **key,
        settings=SETTINGS,
        versions={"recbole": recbole.__version__, "torch": torch.__version__},
        pairs=len(users),
        epoch_cpu_s=round(seconds / arguments.epochs, 3),
        targets_per_cpu_s=round(len(users) * arguments.epochs / seconds),
        peak_mb=round(peak_megabytes()),
    )


if __name__ == "__main__":
    main()
