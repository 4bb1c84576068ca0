from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sparse
import torch
from sklearn.decomposition import PCA

from rectitude.core.errors import DataError
from rectitude.nn.content import centred_unit, principal, take, unit
from rectitude.nn.sparse import SparseMatrix, by_row_degree, nearest_items

RNG = np.random.default_rng(0)


def matrix(n: int = 30, d: int = 6) -> np.ndarray:
    return (RNG.normal(size=(n, d)) @ np.diag(np.arange(1, d + 1))).astype(np.float32)


def test_principal_components_are_those_of_scikit_learn_on_the_items_that_have_any() -> None:
    content = matrix()
    content[4] = np.nan
    known = np.arange(30) != 4
    reduced = principal(content, 3).numpy()
    expected = PCA(3).fit_transform(content[known].astype(np.float64))
    expected /= np.sqrt(np.square(expected).mean())
    np.testing.assert_allclose(np.abs(reduced[known, :3]), np.abs(expected), atol=1e-4)
    assert reduced[4].tolist() == [0, 0, 0, 1]
    assert (reduced[known, 3] == 0).all()


def test_components_that_are_not_there_are_zero() -> None:
    reduced = principal(matrix(d=2), 5)
    assert reduced.shape == (30, 6)
    assert not reduced[:, 2:].any()


def test_the_mean_and_leading_directions_are_taken_out() -> None:
    rows = matrix() + 20
    plain = centred_unit(rows)
    torch.testing.assert_close(plain.norm(dim=1), torch.ones(30))
    assert plain.mean(0).norm() < unit(torch.from_numpy(rows)).mean(0).norm() / 3
    leading = torch.linalg.svd(unit(torch.from_numpy(rows)) - unit(torch.from_numpy(rows)).mean(0))[2][0]
    assert (centred_unit(rows, 1) @ leading).abs().max() < 1e-4
    rows[3] = np.nan
    assert not centred_unit(rows)[3].any()


def test_content_that_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match="PRISM reads item content 'image', and there is text"):
        take({"text": matrix()}, ("text", "image"), 30, title="PRISM")
    with pytest.raises(DataError, match="'text' is missing for all items"):
        take({"text": np.full((30, 2), np.nan, np.float32)}, ("text",), 30, title="PRISM")
    with pytest.raises(DataError, match="30 rows for 31 items"):
        take({"text": matrix()}, ("text",), 31, title="PRISM")


def test_a_sparse_product_and_its_gradient_are_the_dense_ones() -> None:
    dense = RNG.random((5, 7)) * (RNG.random((5, 7)) < 0.4)
    dense[2] = 0
    module = SparseMatrix(sparse.csr_array(dense))
    table = torch.randn(7, 3, requires_grad=True)
    expected = torch.from_numpy(dense).float() @ table
    torch.testing.assert_close(module(table), expected)
    pull = torch.randn(5, 3)
    (ours,) = torch.autograd.grad((module(table) * pull).sum(), table)
    (theirs,) = torch.autograd.grad((expected * pull).sum(), table)
    torch.testing.assert_close(ours, theirs)
    assert not module.state_dict()


@pytest.mark.parametrize("block", [4, 100])
def test_nearest_items_are_those_of_brute_force(block: int) -> None:
    vectors = matrix(20, 5)
    vectors[6] = np.nan
    graph = nearest_items(vectors, 4, block).toarray()
    rows = np.nan_to_num(vectors)
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    likeness = rows @ rows.T
    np.fill_diagonal(likeness, 1.0)
    for item in range(20):
        if item == 6:
            assert np.flatnonzero(graph[item]).tolist() == [6]
            continue
        best = np.argsort(-likeness[item])[:4]
        expected = np.zeros(20)
        expected[best] = np.maximum(likeness[item, best], 0)
        np.testing.assert_allclose(graph[item], expected, atol=1e-5)


def test_degrees_are_row_sums_at_both_ends() -> None:
    graph = sparse.csr_array(np.array([[1.0, 0.5], [0.0, 1.0]]))
    np.testing.assert_allclose(by_row_degree(graph).toarray(), [[1 / 1.5, 0.5 / np.sqrt(1.5)], [0, 1.0]])
