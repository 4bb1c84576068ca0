from __future__ import annotations

import numpy as np
import pytest
import torch

from rectitude.data.histories import Histories
from rectitude.models.query import Query
from rectitude.nn.graph import BipartiteGraph, pool

TRAIN = Histories.from_rows([[0, 2, 2], [1, 2, 4], [], [2]])
N_ITEMS = 6  # items 3 and 5 and user 2 have no edge


def dense_adjacency(train: Histories, n_items: int) -> torch.Tensor:
    seen = Query.of_histories(train).multi_hot(n_items).double()
    n = len(train) + n_items
    adjacency = torch.zeros(n, n, dtype=torch.float64)
    adjacency[: len(train), len(train) :] = seen
    adjacency += adjacency.T.clone()
    scale = adjacency.sum(1).clamp(min=1).rsqrt()
    return scale[:, None] * adjacency * scale


def test_one_step_is_the_dense_normalised_adjacency() -> None:
    nodes = torch.randn(10, 3, dtype=torch.float64)
    expected = dense_adjacency(TRAIN, N_ITEMS) @ nodes
    assert torch.allclose(BipartiteGraph(TRAIN, N_ITEMS).step(nodes), expected, atol=1e-6)


@pytest.mark.parametrize("n_layers", [0, 1, 2, 4])
def test_propagation_is_the_mean_of_matrix_powers(n_layers: int) -> None:
    nodes = torch.randn(10, 3)
    adjacency = dense_adjacency(TRAIN, N_ITEMS)
    powers = sum(torch.linalg.matrix_power(adjacency, k) for k in range(n_layers + 1))
    expected = (powers @ nodes.double()).float() / (n_layers + 1)
    assert torch.allclose(BipartiteGraph(TRAIN, N_ITEMS)(nodes, n_layers), expected, atol=1e-6)


def test_gradient_of_propagation() -> None:
    graph = BipartiteGraph(TRAIN, N_ITEMS)
    graph.weights = graph.weights.double()
    nodes = torch.randn(10, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: graph(x, 3), (nodes,))


def test_degrees_count_distinct_neighbours() -> None:
    assert BipartiteGraph(TRAIN, N_ITEMS).degrees.tolist() == [2, 3, 0, 1, 1, 1, 3, 0, 1, 0]


def test_the_graph_is_not_saved() -> None:
    assert not BipartiteGraph(TRAIN, N_ITEMS).state_dict()


def test_pool_is_a_binary_matrix_times_a_table() -> None:
    rng = np.random.default_rng(0)
    history = Histories.from_rows([rng.integers(0, 9, n) for n in (0, 5, 0, 30, 1, 0)])
    table = torch.randn(9, 4)
    expected = Query.of_histories(history).multi_hot(9) @ table
    assert torch.allclose(pool(table, history), expected, atol=1e-5)
    assert pool(table, Histories.from_rows([[], []])).tolist() == [[0.0] * 4] * 2
