"""Exact full ranking of every question of a fold, in blocks whose size follows from memory.

Letters: Q queries, K longest cut-off, I items, B queries of a block.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rectitude.core.errors import ConfigError, DataError, RectitudeError
from rectitude.core.memory import total_memory
from rectitude.core.progress import progress_bar
from rectitude.data.histories import Histories
from rectitude.data.split import Fold
from rectitude.evaluation.intervals import Interval, bootstrap_intervals
from rectitude.evaluation.metrics import accuracy, coverage_and_gini, hits, novelty_and_tail
from rectitude.evaluation.protocol import stamp
from rectitude.models.base import Recommender
from rectitude.models.query import Query
from rectitude.models.ranking import NotANumberError, masked_topk

_BYTES_PER_SCORE = 16
"""A score of 4 bytes, a copy of it, and what a model or the ordering of ties needs besides."""
_BLOCK_BYTES = 64 << 20
"""Blocks of this size are the fastest: larger ones fall out of the cache and return their pages after each use."""
_FEWEST_ROWS, _MOST_ROWS = 64, 1024
"""Within memory, fewer rows read the item matrix too often, and more rows only enlarge what a model holds for each."""
_MEASURED_AT_ONCE = 1 << 15
"""Lists whose metrics are computed together."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a model answered on a fold, and what that was worth.

    Attributes:
        users: int32 [Q], user of each query.
        per_user: Metric name to float64 [Q], e.g. ``"ndcg@10"``; accuracy, novelty and long-tail share.
        overall: Metrics that only exist for all lists together: coverage and Gini.
        lists: int32 [Q, K], recommended items, best first, -1 where a list has ended. In the order of the ranks: among
            equal scores the held-out items stand last, otherwise by item index.
        list_scores: float32 [Q, K], -inf where a list has ended.
        answered: bool [Q], False where the model could not answer and popularity did.
        protocol: The stamp.
        seconds: Wall-clock seconds of ranking and metrics, without intervals.
        seed: Of the intervals.
    """

    users: npt.NDArray[np.int32]
    per_user: dict[str, npt.NDArray[np.float64]]
    overall: dict[str, float]
    lists: npt.NDArray[np.int32]
    list_scores: npt.NDArray[np.float32]
    answered: npt.NDArray[np.bool_]
    protocol: dict[str, Any]
    seconds: float
    seed: int = 0

    def mean(self, metric: str) -> float:
        """One figure without its interval: what early stopping looks at."""
        return self.overall[metric] if metric in self.overall else float(self.per_user[metric].mean())

    @cached_property
    def _summary(self) -> dict[str, Interval]:
        intervals = bootstrap_intervals(np.column_stack(list(self.per_user.values())), self.seed)
        return {
            **dict(zip(self.per_user, intervals, strict=True)),
            **{metric: Interval(value) for metric, value in self.overall.items()},
        }

    def summary(self) -> dict[str, Interval]:
        """Every metric with its 95 % interval over users; coverage and Gini have none. Computed once."""
        return dict(self._summary)

    def to_dict(self) -> dict[str, Any]:
        """``{"protocol": {…}, "metrics": {"ndcg@10": {"value", "low", "high"}, …}}``, ready for JSON."""
        metrics = {name: interval.to_dict() for name, interval in self.summary().items()}
        return {"protocol": self.protocol, "metrics": metrics}


def block_rows(n_items: int, memory_budget: int | None = None) -> int:
    """Queries to rank at once.

    Args:
        n_items: I.
        memory_budget: Bytes a block may take; 256 MiB or 5 % of memory, whichever is less, if None.
    """
    budget = min(256 << 20, total_memory() // 20) if memory_budget is None else memory_budget
    row = max(1, n_items) * _BYTES_PER_SCORE
    fastest = min(max(_BLOCK_BYTES // row, _FEWEST_ROWS), _MOST_ROWS)
    return max(1, min(fastest, budget // row))


@torch.no_grad()
def evaluate_fold(
    model: Recommender,
    fold: Fold,
    *,
    ks: Sequence[int] = (5, 10, 20),
    mask_seen: bool = True,
    memory_budget: int | None = None,
    seed: int = 0,
    train_popularity: npt.NDArray[np.floating[Any]] | None = None,
    data_hash: str | None = None,
    split: Mapping[str, Any] | None = None,
    fold_name: str | None = None,
    show_progress: bool = False,
) -> Evaluation:
    """Rank the whole catalogue for every question and measure where the held-out items come.

    Memory is that of one block whatever the number of questions, apart from the result itself. ``model.finish()`` must
    have been called after the last change of its parameters: what a model computes once for all questions, such as item
    vectors, it keeps from there. The scores a model returns are written into.

    Args:
        model: Any recommender; it is put into evaluation mode and back.
        fold: Questions and held-out items.
        ks: Cut-offs.
        mask_seen: Leave the items of a question's history out of the ranking; they are candidates like others if False.
        memory_budget: Bytes for the scores of one block; see :func:`block_rows`.
        seed: Of the bootstrap intervals.
        train_popularity: [I] training interactions per item, for novelty and long-tail share; the model's own count if
            None.
        data_hash: ``Dataset.hash``, for the stamp.
        split: ``Split.protocol``, for the stamp.
        fold_name: ``"valid"`` or ``"test"``, for the stamp.
        show_progress: Show a progress bar.

    Raises:
        ConfigError: A cut-off is below 1, or there is none.
        DataError: The fold is empty, has a question without held-out items, or items the model does not know.
        RectitudeError: The model returned scores of a wrong shape, or some that are not numbers.
    """
    _check(model, fold, ks)
    ks = sorted(set(ks))
    begun = time.perf_counter()
    lists, list_scores, answered = _rank(model, fold, max(ks), mask_seen, memory_budget, show_progress)

    popularity = model.popularity.cpu().numpy() if train_popularity is None else train_popularity
    per_user = _measure(lists, fold.targets.unique(), popularity.astype(np.float64), ks)
    overall = coverage_and_gini(lists, model.n_items, ks)
    protocol = stamp(
        fold,
        ks=ks,
        mask_seen=mask_seen,
        seed=seed,
        n_items=model.n_items,
        n_fallback=int((~answered).sum()),
        data_hash=data_hash,
        split=split,
        fold_name=fold_name,
    )
    seconds = time.perf_counter() - begun
    return Evaluation(fold.users, per_user, overall, lists, list_scores, answered, protocol, seconds, seed)


def _check(model: Recommender, fold: Fold, ks: Sequence[int]) -> None:
    if not ks or min(ks) < 1:
        raise ConfigError(f"Cut-offs must be 1 or more, and at least one: {list(ks)}", where="ks")
    if not len(fold):
        raise DataError("The fold has no question", fix="Use another split")
    lengths = fold.targets.lengths
    if lengths.min() == 0:
        raise DataError(
            "A question has nothing held out",
            where=f"query {int(lengths.argmin())} of the fold",
            fix="Leave such users out of the fold",
        )
    largest = max(fold.targets.items.max(), fold.history.items.max(initial=-1))
    if largest >= model.n_items:
        raise DataError(
            f"The fold holds item index {largest}, and the model knows {model.n_items} items",
            fix="Evaluate on a split of the data the model was made for",
        )


def _rank(
    model: Recommender, fold: Fold, k: int, mask_seen: bool, memory_budget: int | None, show_progress: bool
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Lists int32 [Q, K], their scores, and bool [Q] where the model itself answered."""
    query = Query.of_users(fold.users, fold.history, model.device)
    lists = np.empty((len(fold), k), np.int32)
    list_scores = np.empty((len(fold), k), np.float32)
    answered = np.empty(len(fold), bool)
    n_blocks = -(-len(fold) // block_rows(model.n_items, memory_budget))
    bounds = np.linspace(0, len(fold), n_blocks + 1).astype(np.int64)  # blocks of like size: none of one odd row
    was_training = model.training
    model.eval()
    try:
        with progress_bar(visible=show_progress) as progress:
            task = progress.add_task("Ranking", total=len(fold), note="")
            for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
                block = slice(start, stop)
                asked = query.slice(start, stop)
                scores, answered[block] = model.answer(asked)
                items, values = _topk(model, scores, asked, fold, block, k, mask_seen)
                lists[block], list_scores[block] = items.cpu().numpy(), values.cpu().numpy()
                progress.advance(task, stop - start)
    finally:
        model.train(was_training)
    return lists, list_scores, answered


def _measure(
    lists: npt.NDArray[np.int32], targets: Histories, popularity: npt.NDArray[np.float64], ks: Sequence[int]
) -> dict[str, npt.NDArray[np.float64]]:
    """Metrics of each query, a part of the queries at a time to bound what is held in between."""
    parts = []
    for start in range(0, len(lists), _MEASURED_AT_ONCE):
        shown = lists[start : start + _MEASURED_AT_ONCE]
        held_out = targets.slice(start, start + len(shown))
        queries, ranks = hits(shown, held_out.rows, held_out.items, len(popularity))
        found = accuracy(queries, ranks, held_out.lengths, ks)
        parts.append(found | novelty_and_tail(shown, popularity, ks))
    return {metric: np.concatenate([part.pop(metric) for part in parts]) for metric in list(parts[0])}


def _topk(
    model: Recommender, scores: torch.Tensor, asked: Query, fold: Fold, block: slice, k: int, mask_seen: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    if scores.shape != (len(asked), model.n_items):
        raise RectitudeError(
            f"{model.title} returned scores of shape {tuple(scores.shape)} for {len(asked)} questions and "
            f"{model.n_items} items",
            where=type(model).__name__,
        )
    history = asked.history if mask_seen else None
    targets = fold.targets.slice(block.start, block.stop)
    try:
        return masked_topk(scores, history, k, last=targets, overwrite=True)
    except NotANumberError as error:
        raise RectitudeError(
            f"{model.title} gave user {fold.users[block.start + error.row]} a score that is not a number",
            where=type(model).__name__,
            fix="A lower learning_rate usually keeps training from diverging",
        ) from error
