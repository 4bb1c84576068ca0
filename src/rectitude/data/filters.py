"""Filters that make a dataset smaller: minimum rating and k-core."""

from __future__ import annotations

import numpy as np
import polars as pl

from rectitude.core.errors import ConfigError, DataError
from rectitude.data.columns import ITEM, RATING, USER
from rectitude.data.dataset import Dataset


def min_rating(dataset: Dataset, value: float) -> Dataset:
    """Keep interactions rated at least ``value``; unrated ones are dropped.

    Raises:
        ConfigError: The data has no ratings.
        DataError: Nothing is left.
    """
    if RATING not in dataset.interactions.columns:
        raise ConfigError(
            f"'{dataset.name}' has no ratings to filter by", where="min_rating", fix="Leave min_rating out"
        )
    keep = (dataset.interactions[RATING] >= value).fill_null(value=False)
    dropped = len(keep) - int(keep.sum())
    if dropped == len(keep):
        raise DataError(f"No interaction is rated {value:g} or more", where="min_rating", fix="Use a lower value")
    return dataset.subset(keep, f"{dropped} interactions rated below {value:g} are left out")


def k_core(dataset: Dataset, k: int) -> Dataset:
    """Drop users and items with fewer than ``k`` interactions until none is left: the largest such part of the data.

    Every interaction counts, repeats of the same pair too.

    Raises:
        ConfigError: ``k`` is below 1.
        DataError: Nothing is left.
    """
    if k < 1:
        raise ConfigError(f"k_core={k} is no count", where="k_core", fix="Use 1 or more; 5 is usual")
    users = dataset.interactions[USER].to_numpy()
    items = dataset.interactions[ITEM].to_numpy()
    kept = np.arange(len(users))
    while True:
        user, item = users[kept], items[kept]
        enough = (np.bincount(user, minlength=dataset.n_users) >= k)[user]
        enough &= (np.bincount(item, minlength=dataset.n_items) >= k)[item]
        if enough.all():
            break
        kept = kept[enough]
    if not len(kept):
        raise DataError(f"No {k}-core is left of '{dataset.name}'", where="k_core", fix="Use a smaller k")
    if len(kept) == len(users):
        return dataset
    keep = np.zeros(len(users), np.bool_)
    keep[kept] = True
    return dataset.subset(pl.Series(keep), f"{len(users) - len(kept)} interactions outside the {k}-core are left out")
