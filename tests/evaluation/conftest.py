from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from rectitude.data.histories import Histories
from rectitude.data.split import Fold
from rectitude.models.base import ModelConfig, Recommender
from rectitude.models.query import Query


class FixedScores(Recommender):
    """Scores looked up in a table: row u belongs to user u."""

    name = "fixed"
    title = "Fixed scores"
    paper = "none"
    reads = frozenset({"user"})
    serves_new_users = False
    trained_by = "fit"

    def __init__(self, table: Tensor) -> None:
        super().__init__(ModelConfig(), *table.shape)
        self.table = table
        self.blocks: list[int] = []
        self.trained_users.fill_(True)

    def score(self, query: Query) -> Tensor:
        self.blocks.append(len(query))
        return self.table[query.user_tensor()]


@pytest.fixture(scope="session")
def fixed_scores() -> Callable[..., FixedScores]:
    """A model with the given [U, I] scores and item popularity."""

    def make(table: Sequence[Sequence[float]] | np.ndarray, popularity: Sequence[float] | None = None) -> FixedScores:
        model = FixedScores(torch.as_tensor(np.asarray(table, np.float32)))
        if popularity is not None:
            model.popularity.copy_(torch.tensor(popularity))
        return model

    return make


@pytest.fixture(scope="session")
def make_fold() -> Callable[..., Fold]:
    """A fold from lists of seen and held-out items; users count from 0 unless given."""

    def make(
        seen: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], users: Sequence[int] | None = None
    ) -> Fold:
        asked = np.arange(len(seen)) if users is None else np.asarray(users)
        return Fold(asked.astype(np.int32), Histories.from_rows(seen), Histories.from_rows(targets))

    return make


@pytest.fixture(scope="session")
def random_case(fixed_scores: Callable, make_fold: Callable) -> Callable[..., tuple[FixedScores, Fold]]:
    """A model and fold with few distinct scores (many ties), masks and several held-out items."""

    def make(seed: int, n_users: int = 40, n_items: int = 30, levels: int = 4) -> tuple[FixedScores, Fold]:
        rng = np.random.default_rng(seed)
        table = rng.integers(0, levels, (n_users, n_items)).astype(np.float32)
        seen, targets = [], []
        for _ in range(n_users):
            shuffled = rng.permutation(n_items)
            n_targets = rng.integers(1, 8)
            targets.append(shuffled[:n_targets].tolist())
            seen.append(shuffled[n_targets : n_targets + rng.integers(0, n_items - n_targets + 1)].tolist())
        return fixed_scores(table, rng.integers(0, 50, n_items).astype(float)), make_fold(seen, targets)

    return make
