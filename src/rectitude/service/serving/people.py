"""What people of some attributes choose: an answer for somebody of whom nothing else is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import Tensor

from rectitude.core.errors import QueryError, did_you_mean
from rectitude.data.columns import USER_ID
from rectitude.data.histories import Histories

NEAR = 0.1
"""Numbers are alike where they are closer than this share of the range of people's."""


class LikePeople:
    """Popularity among people with given attributes.

    Args:
        users: Row i describes person i.
        history: U rows, what each person did.
    """

    def __init__(self, users: pl.DataFrame, history: Histories) -> None:
        self._users = users.drop([USER_ID]) if USER_ID in users.columns else users
        self._history = history

    @property
    def attributes(self) -> list[str]:
        """What can be told of a person."""
        return self._users.columns

    def scores(self, features: Mapping[str, Any], popularity: Tensor, notes: list[str]) -> tuple[Tensor, str]:
        """How often people like this chose each item: float32 [I], and who answers, in words.

        Args:
            features: Attribute to value.
            popularity: float32 [I], among everybody; for items that people like this never chose, and for features
                nobody has.
            notes: What is said beside the list.

        Raises:
            QueryError: People have no such attribute.
        """
        like = np.ones(len(self._users), bool)
        for name, value in features.items():
            if name not in self._users.columns:
                known = self._users.columns
                fix = did_you_mean(name, known) if known else "Ask with a history"
                raise QueryError(f"People have no attribute '{name}'", where="features", fix=fix)
            like &= self._alike(name, value)
        told = ", ".join(f"{name} {value}" for name, value in features.items())
        count = int(like.sum())
        if not count:
            notes.append(f"Nobody the run was trained with has {told}")
            return popularity.float(), "popularity (nobody like this is known)"
        items = self._history.take(np.flatnonzero(like)).items
        chosen = torch.from_numpy(np.bincount(items, minlength=len(popularity)).astype(np.float32))
        # Among items that people like this chose equally often, what everybody chooses comes first.
        scores = chosen + 0.5 * popularity.float() / popularity.float().max().clamp(min=1)
        return scores, f"popularity among {count:,} people with {told}"

    def _alike(self, name: str, value: Any) -> npt.NDArray[np.bool_]:
        column = self._users[name]
        if column.dtype.is_numeric():
            try:
                wanted = float(value)
            except (TypeError, ValueError, OverflowError) as error:
                raise QueryError(f"'{name}' of people is a number, not {value!r}", where="features") from error
            numbers = column.cast(pl.Float64).to_numpy()
            spread = float(np.nanmax(numbers) - np.nanmin(numbers)) if len(numbers) else 0.0
            return np.asarray(np.abs(numbers - wanted) <= NEAR * spread)
        texts = column.cast(pl.String).fill_null("").to_numpy()
        return np.asarray(texts == str(value))
