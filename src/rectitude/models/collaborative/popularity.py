"""Popularity: the same list for everybody, most interactions first.

The baseline every other model has to beat, and what answers when another model cannot. The score of an item is the
number of training interactions it has, so repeated ones count.

Cost: one pass over the interactions. Limits: nothing about the person asking is used, except that what they have seen
can be masked.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from rectitude.data.histories import Histories
from rectitude.models.base import Reads, Recommender
from rectitude.models.query import Query


class Popularity(Recommender):
    """Items by their number of training interactions. Serves everybody, with or without a history."""

    name: ClassVar[str] = "popularity"
    title: ClassVar[str] = "Popularity"
    paper: ClassVar[str] = "No paper; the baseline of the field"
    reads: ClassVar[frozenset[Reads]] = frozenset()
    serves_new_users: ClassVar[bool] = True
    trained_by: ClassVar[Literal["gradient", "fit"]] = "fit"

    def fit(self, train: Histories, generator: torch.Generator) -> None:
        """Nothing to do: :meth:`prepare` has counted already."""

    def score(self, query: Query) -> Tensor:
        """float32 [B, I], every row the counts."""
        return self.popularity.repeat(len(query), 1)
