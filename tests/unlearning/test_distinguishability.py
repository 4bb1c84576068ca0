from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rectitude.core.errors import ConfigError
from rectitude.unlearning.distinguishability import N_KERNELS, bandwidth, by_chance, d2d, kernel, mmd2, u2u


def vectors(n: int, d: int = 4, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_u2u_is_the_trace_of_the_bipartite_laplacian() -> None:
    x, labels = vectors(30), torch.arange(30) % 3 // 2
    adjacency = (labels[:, None] != labels[None]).double()
    laplacian = torch.diag(adjacency.sum(1)) - adjacency
    n1, n2 = int((labels == 0).sum()), int((labels == 1).sum())
    expected = torch.trace(x.T @ laplacian @ x) / (n1 * n2)
    torch.testing.assert_close(u2u(x, labels, balance=0.0), expected)


@given(st.floats(0, 1), st.integers(0, 100))
@settings(max_examples=25, deadline=None)
def test_u2u_is_pairs_across_minus_pairs_within(balance: float, seed: int) -> None:
    x, labels = vectors(12, seed=seed), torch.arange(12) % 2
    squared = torch.cdist(x, x).square()
    across = squared[labels == 0][:, labels == 1].mean()
    within = torch.stack([squared[labels == c][:, labels == c].mean() for c in (0, 1)]).mean()
    torch.testing.assert_close(u2u(x, labels, balance=balance), across - balance * within)


def test_u2u_of_several_classes_is_the_mean_over_pairs_and_unbounded_balances_are_refused() -> None:
    x, labels = vectors(15), torch.arange(15) % 3
    pairs = [u2u(x[labels != c], labels[labels != c], balance=0.5) for c in (0, 1, 2)]
    torch.testing.assert_close(u2u(x, labels, balance=0.5), torch.stack(pairs).mean())
    with pytest.raises(ConfigError, match="no minimum"):
        u2u(x, labels, balance=1.1)


def test_the_kernel_is_a_sum_of_five_gaussians() -> None:
    x, y, b = vectors(5), vectors(6, seed=1), torch.tensor(0.7, dtype=torch.float64)
    squared = torch.cdist(x, y).square()
    expected = sum(torch.exp(-squared / (b * 2**m)) for m in range(N_KERNELS))
    torch.testing.assert_close(kernel(x, y, b), expected)


def test_the_bandwidth_is_a_quarter_of_the_mean_distance_of_two_people() -> None:
    x = vectors(9)
    squared = torch.cdist(x, x).square()
    torch.testing.assert_close(bandwidth(x), squared.sum() / (9 * 8) / 4)


def test_identities_of_the_discrepancy() -> None:
    x, y = vectors(20), vectors(25, seed=2) + 1
    assert float(mmd2(x, x.clone())) == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(mmd2(x, y), mmd2(y, x))
    torch.testing.assert_close(mmd2(0.1 * x, 0.1 * y), mmd2(x, y))  # the bandwidth follows the cloud
    torch.testing.assert_close(mmd2(x + 5, y + 5), mmd2(x, y))
    assert float(mmd2(x, y)) > float(mmd2(x, vectors(25, seed=2)))
    assert float(mmd2(x[:10], x[10:])) < 0.25 * float(mmd2(x, y + 2))


def test_what_chance_gives_is_the_mean_over_random_groups() -> None:
    x = vectors(40)
    width = bandwidth(x)
    generator = torch.Generator().manual_seed(1)
    found = []
    for _ in range(2000):
        order = torch.randperm(40, generator=generator)
        found.append(float(mmd2(x[order[:15]], x[order[15:]], width)))
    assert float(by_chance(x[:15], x[15:], width)) == pytest.approx(np.mean(found), rel=0.02)


@pytest.mark.parametrize("anchor", ["largest", "pooled", "all"])
def test_d2d_is_zero_by_chance_and_positive_for_distinct_classes(anchor: str) -> None:
    x, labels = vectors(90), torch.arange(90) % 3
    assert float(d2d(x, labels, anchor=anchor)) < 0.03
    moved = (x + 2 * labels[:, None]).requires_grad_()
    loss = d2d(moved, labels, anchor=anchor)
    assert float(loss.detach()) > 0.3
    loss.backward()
    assert torch.isfinite(moved.grad).all()
    assert float(d2d(moved.detach(), labels, anchor=anchor, to_chance=False)) > float(loss.detach())


def test_a_sample_of_people_estimates_the_whole() -> None:
    x, labels = vectors(600), (torch.arange(600) % 2)
    x = x + labels[:, None]
    generator = torch.Generator().manual_seed(0)
    drawn = [float(d2d(x, labels, most=100, generator=generator)) for _ in range(30)]
    assert np.mean(drawn) == pytest.approx(float(d2d(x, labels)), rel=0.1)
