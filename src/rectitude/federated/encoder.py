"""Columns of a table as numbers, the same for the rows a model was made from and for those it decides about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from rectitude.core.errors import DataError, did_you_mean

_ROUNDING = 0.02  # by which probabilities of a row may miss one

Scaling = Literal["standard", "minmax"]


@dataclass(frozen=True)
class Encoder:
    """How columns become numbers: text one-hot, numbers scaled, what is missing said by a column of its own.

    Args:
        columns: One entry a column: ``{"name", "levels"}`` or ``{"name", "mean", "scale", "missing"}``, of which a
            number loses ``mean`` (or the smallest value) and is divided by ``scale``; or ``{"name", "probability"}``,
            which stays as it is. JSON.
    """

    columns: tuple[Mapping[str, Any], ...]

    @classmethod
    def fit(cls, frame: pl.DataFrame, scaling: Scaling = "standard") -> Encoder:
        """Learn levels and scales from training rows.

        Args:
            frame: The rows.
            scaling: ``standard`` for mean 0 and deviation 1, ``minmax`` for the range 0 to 1.
        """
        columns: list[dict[str, Any]] = []
        for column in frame:
            if column.dtype.is_numeric() or column.dtype == pl.Boolean:
                numbers = column.cast(pl.Float64).drop_nulls().drop_nans()
                values = numbers.to_numpy()
                if not len(values):
                    mean = spread = 0.0
                elif scaling == "standard":
                    mean, spread = float(values.mean()), float(values.std())
                else:
                    mean, spread = float(values.min()), float(np.ptp(values))
                missing = len(numbers) < len(column)
                columns.append({"name": column.name, "mean": mean, "scale": spread or 1.0, "missing": missing})
            else:
                levels = column.cast(pl.String).drop_nulls().unique().sort().to_list()
                columns.append({"name": column.name, "levels": levels})
        return cls(tuple(columns))

    @classmethod
    def of_scores(cls, scores: Sequence[str]) -> Encoder:
        """Columns of class probabilities, which are checked and left as they are."""
        return cls(tuple({"name": name, "probability": True, "missing": False} for name in scores))

    @property
    def n_features(self) -> int:
        """The letter d."""
        return sum(len(c["levels"]) if "levels" in c else 1 + int(c["missing"]) for c in self.columns)

    def transform(self, frame: pl.DataFrame) -> npt.NDArray[np.float32]:
        """Features float32 [n, d]; a level that was not in the training rows is none of the known ones.

        Raises:
            DataError: A column is missing or holds no numbers, or probabilities are none.
        """
        out = np.zeros((len(frame), self.n_features), np.float32)
        at = 0
        for column in self.columns:
            name = column["name"]
            if name not in frame.columns:
                raise DataError(f"There is no column '{name}'", where="the rows", fix=did_you_mean(name, frame.columns))
            if "levels" in column:
                texts = frame[name].cast(pl.String)
                for level in column["levels"]:
                    out[:, at] = (texts == level).fill_null(False).to_numpy()
                    at += 1
                continue
            try:
                numbers = frame[name].cast(pl.Float64).to_numpy()
            except pl.exceptions.PolarsError as error:
                raise DataError(f"Column '{name}' holds no numbers", where="the rows") from error
            if "probability" in column:
                out[:, at] = _probabilities(name, numbers)
                at += 1
                continue
            known = np.isfinite(numbers)
            out[:, at] = np.where(known, (np.where(known, numbers, 0.0) - column["mean"]) / column["scale"], 0.0)
            at += 1
            if column["missing"]:
                out[:, at] = ~known
                at += 1
        _require_sums(out, [column["name"] for column in self.columns if "probability" in column])
        return out


def _probabilities(name: str, numbers: Any) -> Any:
    """Numbers from 0 to 1, none of them missing."""
    numbers = np.asarray(numbers, np.float64)
    if (missing := ~np.isfinite(numbers)).any():
        raise DataError(
            f"'{name}' holds no probability in {in_rows(missing.sum())}; the first is row {missing.argmax() + 1:,}",
            where="--scores",
            fix="Score these rows too, or leave them out of the table",
        )
    if (outside := (numbers < 0) | (numbers > 1)).any():
        row = int(outside.argmax())
        raise DataError(
            f"'{name}' holds no probabilities: {numbers[row]:g} in row {row + 1:,} ({in_rows(outside.sum())})",
            where="--scores",
            fix="Give probabilities from 0 to 1; a margin or a log-odds is turned into one by 1/(1 + exp(−x))",
        )
    return numbers


def _require_sums(given: npt.NDArray[np.float32], names: Sequence[str]) -> None:
    """Several columns of probabilities add up to one in every row."""
    if len(names) < 2:
        return
    sums = given.sum(axis=1, dtype=np.float64)
    if (off := np.abs(sums - 1) > _ROUNDING).any():
        row = int(off.argmax())
        raise DataError(
            f"The probabilities add up to {sums[row]:.4g} in row {row + 1:,} ({in_rows(off.sum())})",
            where="--scores",
            fix=f"{', '.join(names)} have to be all classes' probabilities; they may be rounded to two decimals",
        )


def in_rows(n: int) -> str:
    """``"1 row"``, ``"2,000 rows"``."""
    return "1 row" if n == 1 else f"{n:,} rows"
