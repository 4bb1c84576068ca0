"""``export``: the judged lists as a table in external ids, so that anybody can compute the metrics again."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import polars as pl

from rectitude.core.files import write_bytes
from rectitude.data.columns import ITEM_ID, RANK, SCORE, USER_ID
from rectitude.data.dataset import Dataset
from rectitude.evaluation.evaluator import Evaluation
from rectitude.training.run import Run
from rectitude.workflow.judging import KS, FoldName, fold_of, rank_fold


def export(
    run: Run | str | Path,
    out: str | Path,
    *,
    truth: str | Path | None = None,
    fold: FoldName = "test",
    k: int = 20,
    mask_seen: bool = True,
    data: str | Path | Dataset | None = None,
) -> Evaluation:
    """Write each person's list as Parquet: ``user_id``, ``rank``, ``item_id``, ``score``.

    The lists are those the metrics are computed from: among equal scores the held-out items stand last. Metrics
    recomputed from ``rank`` equal ours exactly. The run is not changed.

    Args:
        run: A run or its folder.
        out: Parquet file of the lists.
        truth: Parquet file of the held-out items, ``user_id`` and ``item_id``.
        fold: ``test`` or ``valid``.
        k: Length of a list.
        mask_seen: Leave out what is in a person's history.
        data: Where the data is now, if it has moved.

    Raises:
        RunError: The run or its data cannot be read.
    """
    run = run if isinstance(run, Run) else Run.load(run)
    dataset = run.dataset(data)
    divided = run.split(dataset)
    evaluation = rank_fold(run, dataset, divided, fold, ks=sorted({*KS, k}), mask_seen=mask_seen)
    rows, columns = np.nonzero(evaluation.lists[:, :k] >= 0)
    items = evaluation.lists[rows, columns]
    table = pl.DataFrame(
        {
            USER_ID: dataset.user_ids.external.gather(evaluation.users[rows]),
            RANK: (columns + 1).astype(np.int32),
            ITEM_ID: dataset.item_ids.external.gather(items),
            SCORE: evaluation.list_scores[rows, columns],
        }
    )
    _write(table, Path(out))
    if truth is not None:
        asked = fold_of(divided, fold)
        held_out = pl.DataFrame(
            {
                USER_ID: dataset.user_ids.external.gather(asked.users[asked.targets.rows]),
                ITEM_ID: dataset.item_ids.external.gather(asked.targets.items),
            }
        )
        _write(held_out, Path(truth))
    return evaluation


def _write(table: pl.DataFrame, path: Path) -> None:
    buffer = io.BytesIO()
    table.write_parquet(buffer)
    write_bytes(path, buffer.getvalue())
