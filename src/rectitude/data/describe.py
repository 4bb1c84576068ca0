"""What a dataset holds, in numbers that fit into JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from rectitude.data.columns import ITEM, RATING, TIMESTAMP, USER
from rectitude.data.dataset import Dataset

_QUANTILES = {"min": 0.0, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95, "max": 1.0}


def describe(dataset: Dataset) -> dict[str, Any]:
    """Counts, density, activity, time span, columns with their gaps, origin and notes."""
    interactions = dataset.interactions
    cells = dataset.n_users * dataset.n_items
    repeated = interactions.select(USER, ITEM).is_duplicated()
    pairs = len(interactions) - int(repeated.sum()) + interactions.select(USER, ITEM).filter(repeated).n_unique()
    summary: dict[str, Any] = {
        "name": dataset.name,
        "hash": dataset.hash,
        "users": dataset.n_users,
        "items": dataset.n_items,
        "interactions": dataset.n_interactions,
        "pairs": pairs,
        "density": pairs / cells if cells else 0.0,
        "per_user": _quantiles(np.bincount(interactions[USER].to_numpy(), minlength=dataset.n_users)),
        "per_item": _quantiles(np.bincount(interactions[ITEM].to_numpy(), minlength=dataset.n_items)),
        "time": _time(dataset),
    }
    if RATING in interactions.columns:
        counts = interactions[RATING].drop_nulls().value_counts(sort=True).head(20).sort(RATING)
        summary["ratings"] = [{"rating": rating, "interactions": count} for rating, count in counts.iter_rows()]
    summary["columns"] = {
        name: [{"name": column.name, "type": str(column.dtype), "missing": column.null_count()} for column in table]
        for name, table in (("interactions", interactions), ("users", dataset.users), ("items", dataset.items))
    }
    summary["content"] = {name: list(matrix.shape) for name, matrix in dataset.content.items()}
    summary["source"] = dict(dataset.source)
    summary["notes"] = list(dataset.notes)
    return summary


def _quantiles(counts: npt.NDArray[np.int64]) -> dict[str, float]:
    if not len(counts):
        return {}
    values = np.quantile(counts, list(_QUANTILES.values()))
    return {**dict(zip(_QUANTILES, values.tolist(), strict=True)), "mean": float(counts.mean())}


def _time(dataset: Dataset) -> dict[str, Any]:
    """What orders the events; for clock time also the span."""
    kind = dataset.source.get("time") or ("timestamp" if TIMESTAMP in dataset.interactions.columns else "order")
    if kind != "timestamp":
        return {"kind": kind}
    times = dataset.interactions[TIMESTAMP].drop_nulls()
    first, last = times.min(), times.max()
    if not isinstance(first, int) or not isinstance(last, int):
        return {"kind": kind}
    return {"kind": kind, "first": _date(first), "last": _date(last), "days": (last - first) / 86400}


def _date(seconds: int) -> str:
    """ISO time in UTC; years that no calendar has stay numbers."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        return str(seconds)
