"""RecBole's LightGCN: CPU seconds per training epoch, validation NDCG@10 after the last, peak memory.

    python benchmarks/peers/recbole_lightgcn.py ml-100k --epochs 5 --out results.jsonl

Trains for the given epochs without validation, in one call of ``fit``. Sets with a ``split`` column (``gowalla``) are
trained on its training part, others on all but each user's last two items, of which the first is then asked for, seen
items masked. Where an epoch takes too long, ``--batches N`` trains on its first N batches only, and the seconds are
multiplied up to a whole one.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from collections.abc import Iterator
from contextlib import chdir
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import recbole
import torch
from common import done, interactions, peak_megabytes, ranking_metrics, sequences, write
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.data.interaction import Interaction
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


class FirstBatches:
    """A loader that ends early."""

    def __init__(self, loader: Any, n_batches: int) -> None:
        self.loader, self.n_batches = loader, n_batches

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def __len__(self) -> int:
        return min(self.n_batches, len(self.loader))

    def __iter__(self) -> Iterator[Any]:
        return islice(iter(self.loader), self.n_batches)


@torch.no_grad()
def validation(model: Any, dataset: Any, rows: list[np.ndarray]) -> float:
    """NDCG@10 of each user's last but one item, everything before it masked."""
    model.eval()
    own = np.array([-1, *map(int, dataset.field2id_token["item_id"][1:])])  # first comes the padding
    index = np.zeros(own.max() + 1, np.int64)
    index[own[1:]] = np.arange(1, len(own))
    users = torch.from_numpy(dataset.token2id("user_id", [str(user) for user in range(len(rows))]))
    lists = []
    for part in torch.split(torch.arange(len(rows)), 512):
        scores = model.full_sort_predict(Interaction({"user_id": users[part]})).view(len(part), -1)
        scores[:, 0] = -torch.inf  # padding
        for line, user in enumerate(part.tolist()):
            seen = rows[user][:-2]
            scores[line, index[seen]] = -torch.inf
        lists.append(own[scores.topk(10).indices.numpy()])
    return ranking_metrics(np.concatenate(lists), np.array([row[-2] for row in rows]))["ndcg@10"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="name of a set in RECTITUDE_DATA")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batches", type=int, help="train on the first so many batches of each epoch only")
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    key = {"peer": "RecBole", "model": "LightGCN", "data": arguments.data, "epochs": arguments.epochs}
    key["batches"] = arguments.batches
    if done(arguments.out, **key):
        return
    torch.set_num_threads(1)
    logging.disable(logging.INFO)
    users, items = training_pairs(arguments.data)
    arguments.out = Path(arguments.out).resolve()
    with tempfile.TemporaryDirectory() as folder, chdir(folder):  # it leaves logs where it runs
        place = Path(folder) / "pairs"  # under the name ml-100k RecBole would read its own copy instead
        place.mkdir()
        with (place / "pairs.inter").open("w") as file:
            file.write("user_id:token\titem_id:token\n")
            file.writelines(f"{user}\t{item}\n" for user, item in zip(users.tolist(), items.tolist(), strict=True))
        config = Config(
            model="LightGCN",
            dataset="pairs",
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
        whole, share = len(train), 1.0
        if arguments.batches is not None:
            train = FirstBatches(train, arguments.batches)
            share = len(train) / whole
        before = time.process_time()
        trainer.fit(train, saved=False, show_progress=False)
        seconds = (time.process_time() - before) / share
    quality = {}
    if share == 1 and "split" not in interactions(arguments.data):
        quality = {"valid": {"ndcg@10": validation(model, dataset, sequences(arguments.data)[0])}}
    write(
        arguments.out,
        **key,
        **quality,
        settings=SETTINGS,
        versions={"recbole": recbole.__version__, "torch": torch.__version__},
        pairs=len(users),
        epoch_cpu_s=round(seconds / arguments.epochs, 3),
        targets_per_cpu_s=round(len(users) * arguments.epochs / seconds),
        peak_mb=round(peak_megabytes()),
    )


if __name__ == "__main__":
    main()
