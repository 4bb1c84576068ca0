from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from rectitude.data.dataset import Dataset
from rectitude.data.histories import Histories
from rectitude.models.collaborative import als
from rectitude.models.collaborative.als import ALS, ALSConfig
from rectitude.models.query import Query

Matrix = npt.NDArray[np.float64]


def made(train: Histories, n_items: int, **settings: float) -> ALS:
    model = ALS(ALSConfig(**settings), len(train), n_items)
    model.prepare(train)
    model.fit(train, torch.Generator().manual_seed(0))
    return model


def seen(history: Histories, n_items: int) -> Matrix:
    return Query.of_histories(history).multi_hot(n_items).double().numpy()


def best_vectors(observed: Matrix, fixed: Matrix, alpha: float, l2: float) -> Matrix:
    """Weighted ridge regression of every row on the fixed vectors, cell by cell."""
    solved = np.zeros((len(observed), fixed.shape[1]))
    for row, cells in enumerate(observed):
        weight = np.diag(1 + alpha * cells)
        solved[row] = np.linalg.solve(fixed.T @ weight @ fixed + l2 * np.eye(fixed.shape[1]), fixed.T @ weight @ cells)
    return solved


@pytest.mark.parametrize("width", [3, 12, 40])  # histories hold 6 to 20 items: both forms of the system are met
@pytest.mark.parametrize("alpha", [0.0, 5.0])
def test_vectors_solve_the_normal_equations_of_every_history(tiny: Dataset, width: int, alpha: float) -> None:
    train = tiny.histories()
    model = made(train, tiny.n_items, n_factors=width, confidence=alpha, l2=0.5, iterations=2)
    expected = best_vectors(seen(train, tiny.n_items), model.items.double().numpy(), alpha, 0.5)
    vectors = model.query_vectors(Query.of_histories(train)).numpy()
    assert np.abs(vectors - expected).max() < 1e-4


def test_fit_alternates_between_best_users_and_best_items(tiny: Dataset) -> None:
    train = tiny.histories()
    one, two = (made(train, tiny.n_items, n_factors=6, l2=2.0, iterations=n) for n in (1, 2))
    observed = seen(train, tiny.n_items)
    users = best_vectors(observed, one.items.double().numpy(), one.config.confidence, 2.0)
    items = best_vectors(observed.T, users, one.config.confidence, 2.0)
    assert np.abs(two.items.numpy() - items).max() < 1e-4


def test_converges_to_a_stationary_point_of_the_objective(tiny: Dataset) -> None:
    train = tiny.histories()
    model = made(train, tiny.n_items, n_factors=4, confidence=3.0, l2=1.0, iterations=300)
    observed = torch.from_numpy(seen(train, tiny.n_items))
    users = model.query_vectors(Query.of_histories(train)).double().requires_grad_()
    items = model.items.double().requires_grad_()
    weight = 1 + 3.0 * observed
    objective = (weight * (observed - users @ items.T) ** 2).sum() + users.square().sum() + items.square().sum()
    objective.backward()
    assert users.grad.abs().max() < 1e-3
    assert items.grad.abs().max() < 1e-3


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # implicit's advice on BLAS threads
def test_agrees_with_an_independent_library(tiny: Dataset) -> None:
    oracle_module = pytest.importorskip("implicit.als")
    train = tiny.histories()
    model = made(train, tiny.n_items, n_factors=5, confidence=4.0, l2=1.5, iterations=1)
    oracle = oracle_module.AlternatingLeastSquares(
        factors=5, alpha=5.0, regularization=1.5, iterations=1, use_cg=False, num_threads=1
    )
    oracle.user_factors = np.zeros((tiny.n_users, 5), np.float32)
    oracle.item_factors = model.items.numpy().copy()
    oracle.fit(csr_matrix(seen(train, tiny.n_items), dtype=np.float32), show_progress=False)
    assert np.abs(model.query_vectors(Query.of_histories(train)).numpy() - oracle.user_factors).max() < 1e-4


def test_repeats_count_once_and_unseen_items_get_no_vector() -> None:
    once = made(Histories.from_rows([[0, 1], [1, 2], [0]]), 4, n_factors=2)
    twice = made(Histories.from_rows([[0, 1, 0], [2, 1, 2], [0]]), 4, n_factors=2)
    assert torch.equal(once.items, twice.items)
    assert not once.items[3].any()


def test_an_empty_history_is_answered_by_popularity() -> None:
    model = made(Histories.from_rows([[0, 1], [1, 2]]), 3, n_factors=2)
    scores, answered = model.answer(Query.of_histories(Histories.from_rows([[], [0]])))
    assert answered.tolist() == [False, True]
    assert scores[0].tolist() == [1.0, 2.0, 1.0]


@given(st.lists(st.integers(0, 40), max_size=60))
def test_blocks_hold_every_nonempty_row_once(lengths: list[int]) -> None:
    rng = np.random.default_rng(0)
    rows = Histories.from_rows([rng.integers(0, 50, n) for n in lengths])
    size, als._BLOCK = als._BLOCK, 64
    try:
        blocks = list(als._blocks(rows, padding=50))
    finally:
        als._BLOCK = size
    found = {int(row): table[i] for chosen, table in blocks for i, row in enumerate(chosen)}
    assert sorted(found) == [row for row, n in enumerate(lengths) if n]
    for row, padded in found.items():
        assert padded[padded < 50].tolist() == rows[row].tolist()
    assert all(table.size <= 64 or len(table) == 1 for _, table in blocks)
