"""The closed-form start: moments of the deal, by the shortest way, and nothing where nothing tells."""

from __future__ import annotations

import pytest
import torch

from rectitude.unlearning.moments import aligned


def classes(n: int, gap: float, scale: float = 1.0) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 3, generator=generator)
    labels = torch.arange(n) % 2
    x[labels == 1] *= scale
    x[:, 0] += gap * labels
    dealt = labels[torch.randperm(n, generator=generator)]
    return x, *([torch.nonzero(which == label).squeeze(1) for label in (0, 1)] for which in (labels, dealt))


def test_means_and_covariances_become_those_of_the_deal() -> None:
    x, people, into = classes(4000, gap=3.0, scale=2.0)
    found = aligned(x, people, into)
    for rows, dealt in zip(people, into, strict=True):
        torch.testing.assert_close(found[rows].mean(0), x[dealt].mean(0), atol=0.02, rtol=0)
        torch.testing.assert_close(torch.cov(found[rows].T), torch.cov(x[dealt].T), atol=0.1, rtol=0)


def test_classes_that_differ_in_the_mean_alone_are_shifted_and_no_more() -> None:
    x, people, into = classes(2000, gap=2.0)
    found = aligned(x, people, into)
    gap = found[people[1]].mean(0) - found[people[0]].mean(0)
    assert float(gap.abs().max()) < 0.15
    order = x[people[0], 1].argsort()
    assert (found[people[0]][order, 1].diff() > -0.2).all()


@pytest.mark.parametrize("seed", range(3))
def test_random_classes_hardly_move(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(600, 8, generator=generator)
    halves = [torch.randperm(600, generator=generator).split(300) for _ in range(2)]
    moved = (aligned(x, *([list(half) for half in halves])) - x).square().mean().sqrt()
    assert float(moved) < 0.12


def test_dependent_coordinates_give_finite_vectors() -> None:
    x, people, into = classes(200, gap=1.0)
    found = aligned(torch.cat([x, x[:, :1]], 1), people, into)
    assert torch.isfinite(found).all()
    assert (found[:, 0] - found[:, 3]).abs().max() < 0.2
