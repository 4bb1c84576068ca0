"""The candidate protocol of the In-UCDS companion: one held-out item among 99 drawn ones.

Source: released code of arXiv:2309.01335; its one departure here is the draw, which is from the whole catalogue without
what the person has in any fold, by a seed of ours (the released pools are not published for every fold).

Letters: Q people, N drawn items.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from rectitude.data.columns import ITEM, SPLIT, USER
from rectitude.data.dataset import Dataset
from rectitude.data.split import Fold
from rectitude.models.base import Recommender
from rectitude.models.query import Query

_AT_ONCE = 512


def first_rows(dataset: Dataset, fold: Fold, name: str) -> npt.NDArray[np.int64]:
    """The held-out item each person's rows of a fold begin with, in the order of the file, int64 [Q].

    Args:
        dataset: With a ``split`` column, or the first of the fold's targets is taken.
        fold: The questions.
        name: What the column calls the fold.
    """
    first = np.array([fold.targets[row][0] for row in range(len(fold))], np.int64)
    if SPLIT not in dataset.interactions.columns:
        return first
    rows = dataset.interactions.filter(pl.col(SPLIT).cast(pl.String).str.to_lowercase() == name)
    listed = rows.group_by(USER, maintain_order=True).first()
    by_user = dict(zip(listed[USER].to_list(), listed[ITEM].to_list(), strict=True))
    targets = [set(fold.targets[row].tolist()) for row in range(len(fold))]
    for row, user in enumerate(fold.users.tolist()):
        if by_user.get(user) in targets[row]:
            first[row] = by_user[user]
    return first


def sampled_ranks(
    model: Recommender, fold: Fold, positives: npt.NDArray[np.int64], *, n_drawn: int = 99, seed: int = 10
) -> npt.NDArray[np.int64]:
    """Place of each positive among drawn items the person has not touched, 1 the best; ties count against it.

    Args:
        model: In evaluation mode.
        fold: The questions.
        positives: int64 [Q].
        n_drawn: N.
        seed: Of the draws: the same questions get the same items whatever the model.

    Returns:
        int64 [Q].
    """
    generator = np.random.default_rng(seed)
    ranks = np.empty(len(fold), np.int64)
    for start in range(0, len(fold), _AT_ONCE):
        stop = min(start + _AT_ONCE, len(fold))
        history, targets = fold.history.slice(start, stop), fold.targets.slice(start, stop)
        query = Query.of_users(fold.users[start:stop], history, model.device)
        with torch.no_grad():
            scores = model.answer(query)[0].double().cpu().numpy()
        free = np.ones(scores.shape, bool)
        free[history.rows, history.items] = False
        free[targets.rows, targets.items] = False
        keys = np.where(free, generator.random(scores.shape), 2.0)
        drawn = np.argpartition(keys, min(n_drawn, scores.shape[1] - 1), axis=1)[:, :n_drawn]
        own = scores[np.arange(stop - start), positives[start:stop]][:, None]
        allowed = np.take_along_axis(free, drawn, 1)
        ranks[start:stop] = 1 + ((np.take_along_axis(scores, drawn, 1) >= own) & allowed).sum(1)
    return ranks


def sampled_metrics(ranks: npt.NDArray[np.int64], k: int = 10) -> dict[str, npt.NDArray[np.float64]]:
    """NDCG, hit rate and F1 = 2 · hit / (k + 1) of each person, float64 [Q] each."""
    hit = (ranks <= k).astype(np.float64)
    return {"ndcg": hit / np.log2(ranks + 1), "hr": hit, "f1": 2 * hit / (k + 1)}
