"""What every check is given: a run, its data, and what it answered on a fold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from rectitude.core.errors import RectitudeError
from rectitude.data.dataset import Dataset
from rectitude.data.groups import ACTIVITY, Groups
from rectitude.data.split import Fold, Split
from rectitude.evaluation.evaluator import Evaluation
from rectitude.models.base import Recommender

Floats = npt.NDArray[np.float64]


class NotPossibleError(RectitudeError):
    """A check cannot be made of this run or these data; the message says why and what could be done."""


@dataclass(frozen=True, eq=False)
class AuditContext:
    """A run under audit.

    Attributes:
        model: Prepared to answer.
        dataset: Its data.
        split: Its split.
        fold: The questions it was judged on.
        evaluation: Its answers to them.
        groups: Groupings of people by name; ``activity`` is always among them.
        k: Length of the lists looked at.
        seed: Of everything random.
    """

    model: Recommender
    dataset: Dataset
    split: Split
    fold: Fold
    evaluation: Evaluation
    groups: Mapping[str, Groups]
    k: int = 10
    seed: int = 0

    @property
    def users(self) -> npt.NDArray[np.int32]:
        """int32 [Q], who was judged."""
        return self.evaluation.users

    @property
    def lists(self) -> npt.NDArray[np.int32]:
        """int32 [Q, k]."""
        return self.evaluation.lists[:, : self.k]

    def labels(self, groups: Groups) -> npt.NDArray[np.int64]:
        """int64 [Q], group of each person judged."""
        return groups.labels[self.users]

    @property
    def attributes(self) -> list[Groups]:
        """The groupings that say something private of people: all but activity."""
        return [groups for name, groups in self.groups.items() if name != ACTIVITY]

    @cached_property
    def ndcg(self) -> Floats:
        """float64 [Q], NDCG@k."""
        return self.evaluation.per_user[f"ndcg@{self.k}"]

    @cached_property
    def popularity(self) -> Floats:
        """float64 [I], distinct people of each item in training."""
        train = self.split.train.unique()
        return np.bincount(train.items, minlength=self.split.n_items).astype(np.float64)

    def genres(self) -> tuple[str, npt.NDArray[Any]]:
        """Name of the item attribute that says what kind it is, and float64 [I, G], equal shares of its kinds.

        Raises:
            NotPossibleError: The data do not say what kind of thing an item is.
        """
        items = self.dataset.items
        name = next((column for column in ("genres", "genre", "categories", "category") if column in items), None)
        if name is None:
            raise NotPossibleError(
                "The data do not say what kind of thing each item is",
                fix="Give the items table a column 'genres' or 'categories'",
            )
        column = items[name]
        rows = column.to_list() if column.dtype.is_nested() else [str(v).split("|") if v else [] for v in column]
        kinds = sorted({kind for row in rows if row is not None for kind in row})
        if len(kinds) < 2:
            raise NotPossibleError(f"The items have fewer than two {name}")
        index = {kind: i for i, kind in enumerate(kinds)}
        shares = np.zeros((len(rows), len(kinds)))
        for at, row in enumerate(rows):
            for kind in row or ():
                shares[at, index[kind]] += 1 / len(row)
        return name, shares
