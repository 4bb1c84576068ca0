"""An evaluation as one Parquet file: lists and per-person figures as columns, everything else as JSON in its header."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import polars as pl

from rectitude.core.errors import RunError
from rectitude.core.files import write_bytes
from rectitude.data.columns import USER
from rectitude.evaluation.evaluator import Evaluation

_LISTS, _SCORES, _ANSWERED, _FACTS = "items", "scores", "answered_by_model", "evaluation"


def write_evaluation(path: Path, evaluation: Evaluation) -> None:
    """Replace the file atomically."""
    table = pl.DataFrame(
        {
            USER: evaluation.users,
            _ANSWERED: evaluation.answered,
            **evaluation.per_user,
            _LISTS: evaluation.lists,
            _SCORES: evaluation.list_scores,
        }
    )
    facts = {
        "overall": evaluation.overall,
        "protocol": evaluation.protocol,
        "seconds": evaluation.seconds,
        "seed": evaluation.seed,
    }
    buffer = io.BytesIO()
    table.write_parquet(buffer, metadata={_FACTS: json.dumps(facts)})
    write_bytes(path, buffer.getvalue())


def read_evaluation(path: Path) -> Evaluation:
    """Read what :func:`write_evaluation` wrote.

    Raises:
        RunError: The file is damaged or foreign.
    """
    try:
        facts = json.loads(pl.read_parquet_metadata(path)[_FACTS])
        table = pl.read_parquet(path)
    except (OSError, KeyError, json.JSONDecodeError, pl.exceptions.PolarsError) as error:
        raise RunError(
            f"The evaluation cannot be read: {error}", where=str(path), fix="Run 'rectitude evaluate' again"
        ) from error
    apart = {USER, _ANSWERED, _LISTS, _SCORES}
    return Evaluation(
        users=table[USER].to_numpy(),
        per_user={name: table[name].to_numpy() for name in table.columns if name not in apart},
        overall=facts["overall"],
        lists=np.asarray(table[_LISTS].to_numpy()),
        list_scores=np.asarray(table[_SCORES].to_numpy()),
        answered=table[_ANSWERED].to_numpy(),
        protocol=facts["protocol"],
        seconds=facts["seconds"],
        seed=facts["seed"],
    )
