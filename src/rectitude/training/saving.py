"""A trained recommender put into its run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from safetensors.torch import save

from rectitude.core.files import write_bytes, write_text
from rectitude.data.columns import ITEM, TITLE, USER
from rectitude.data.dataset import Dataset
from rectitude.data.split import Split
from rectitude.models.base import Recommender
from rectitude.runs.folder import CURVE, HISTORY, IDS, MODEL
from rectitude.training.loggers import curve_csv
from rectitude.training.trainer import TrainingResult


def describe_training(model: Recommender, result: TrainingResult) -> dict[str, Any]:
    """What training cost and how it ended, for ``config.json``."""
    cpu = sum(row["cpu_seconds"] for row in result.curve)
    return {
        "epochs": len(result.curve),
        "best_epoch": result.best_epoch,
        "stopped": result.stopped,
        "seconds": result.seconds,
        "cpu_seconds": round(cpu, 3) if result.curve else None,
        "parameters": model.n_parameters,
        "device": str(model.device),
    }


def write_trained(folder: Path, model: Recommender, dataset: Dataset, split: Split, result: TrainingResult) -> None:
    """Write the model, its ids, and the histories it may be asked with into a folder under construction."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    write_bytes(folder / MODEL, save(state))
    ids = [
        pl.DataFrame(
            {"index": np.arange(dataset.n_users, dtype=np.int32), "id": dataset.user_ids.external}
        ).with_columns(pl.lit(USER).alias("kind"), pl.lit(None, pl.String).alias(TITLE)),
        pl.DataFrame(
            {"index": np.arange(dataset.n_items, dtype=np.int32), "id": dataset.item_ids.external}
        ).with_columns(pl.lit(ITEM).alias("kind"), pl.Series(TITLE, dataset.titles(), dtype=pl.String)),
    ]
    pl.concat(ids).select("kind", "index", "id", TITLE).write_parquet(folder / IDS)
    known = split.known
    pl.DataFrame({USER: known.rows.astype(np.int32), ITEM: known.items}).write_parquet(folder / HISTORY)
    write_text(folder / CURVE, curve_csv(result.curve))
