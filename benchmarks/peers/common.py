"""What the peers' scripts share: the data of ``RECTITUDE_DATA``, a clock of CPU seconds, metrics and a results file.

Runs inside a peer's own environment, so it needs only numpy and pyarrow.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq


def interactions(name: str) -> dict[str, np.ndarray]:
    """Columns of a set's interactions in the order they are kept in the file."""
    table = pq.read_table(Path(os.environ["RECTITUDE_DATA"]) / name / "interactions.parquet")
    return {column: table[column].to_numpy(zero_copy_only=False) for column in table.column_names}


def sequences(name: str) -> tuple[list[np.ndarray], int]:
    """Items of each user, oldest first (ties as in the file), and the number of items.

    Items are numbered 0 … I-1 by their id; users are rows in the order of theirs.
    """
    columns = interactions(name)
    time_column = columns.get("timestamp", columns.get("position"))
    user, item = (np.unique(columns[key], return_inverse=True)[1] for key in ("user_id", "item_id"))
    order = np.lexsort((np.arange(len(user)), time_column, user))
    ends = np.cumsum(np.bincount(user))[:-1]
    return np.split(item[order], ends), int(item.max()) + 1


def ranking_metrics(top: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """Recall@10 and NDCG@10 of lists [Q, 10] (-1 for none) against one held-out item per row."""
    hit = top == target[:, None]
    gain = hit / np.log2(np.arange(2, top.shape[1] + 2))
    return {"recall@10": float(hit.any(axis=1).mean()), "ndcg@10": float(gain.sum(axis=1).mean())}


def peak_megabytes() -> float:
    """Largest resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def write(out: str, **values: Any) -> None:
    """Append one JSON line to the results file and print it."""
    line = json.dumps({**values, "python": platform.python_version(), "load": os.getloadavg()[0], "at": time.time()})
    with Path(out).open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    print(line, flush=True)


def done(out: str, **wanted: Any) -> list[dict[str, Any]]:
    """Lines of the results file whose values equal ``wanted``: what need not be run again."""
    path = Path(out)
    if not path.exists():
        return []
    lines = [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines() if text]
    return [line for line in lines if all(line.get(key) == value for key, value in wanted.items())]
