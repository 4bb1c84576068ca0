"""D2D to chance: what random deals leave, in random features, against exact kernels."""

from __future__ import annotations

import pytest
import torch

from rectitude.unlearning.dealt import N_DEALS, N_KERNELS, Dealt, _frequencies, mean_features
from rectitude.unlearning.distinguishability import bandwidth, kernel, mmd2


def dealt(x: torch.Tensor, labels: torch.Tensor, marginals: float = 0.1, seed: int = 0) -> Dealt:
    return Dealt({"users": x}, labels, torch.Generator().manual_seed(seed), marginals=marginals)


def people(n: int = 200, d: int = 6, gap: float = 0.0, n_classes: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.arange(n) % n_classes
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(3))
    x[:, 0] += gap * labels
    return x, labels


def test_random_features_are_the_kernels() -> None:
    x, labels = people()
    view = dealt(x, labels).views["users"]
    exact = kernel(x, x, bandwidth(x)) / N_KERNELS
    found = view.features @ view.features.T / (view.features.shape[1] / 2)
    torch.testing.assert_close(found, exact, atol=0.12, rtol=0)
    assert float((found - exact).abs().mean()) < 0.02


def test_mean_features_and_their_gradient_are_those_of_plain_cosines_and_sines() -> None:
    x, _ = people(n=50, d=7)
    frequencies = _frequencies(7, 9, bandwidth(x), torch.Generator().manual_seed(1))
    wide, half = frequencies.split(9, 1)
    plain = torch.cat([wide, half, 2 * wide, 2 * half, 4 * wide], 1)
    weights = torch.randn(2, plain.shape[1], generator=torch.Generator().manual_seed(2))
    gradients = []
    for how in (lambda own: mean_features(own, frequencies), lambda own: means(own @ plain)):
        own = x.clone().requires_grad_()
        (how(own) * weights).sum().backward()
        gradients.append(own.grad)
    torch.testing.assert_close(mean_features(x, frequencies), means(x @ plain), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(*gradients, atol=1e-4, rtol=1e-3)


def means(phases: torch.Tensor) -> torch.Tensor:
    return torch.stack([phases.cos().mean(0), phases.sin().mean(0)])


def test_kernels_weigh_less_after_a_start_that_left_less_to_tell() -> None:
    x, labels = people(n=400, gap=3.0)
    target = dealt(x, labels)
    moved = x.clone()
    moved[:, 0] -= 3.0 * labels
    target.weigh({"users": moved})
    assert target.views["users"].kernels.max() < 0.6


@pytest.mark.parametrize("n_classes", [2, 3])
def test_excess_is_the_exact_discrepancy_over_that_of_chance(n_classes: int) -> None:
    x, labels = people(gap=1.0, n_classes=n_classes)
    target = dealt(x, labels)
    assert target._excess(target.views["users"].features, [labels]).min() > 0.5
    deals = [target._deal() for _ in range(400)]
    assert target._excess(target.views["users"].features, deals).mean(0).abs().max() < 0.1
    if n_classes == 2:
        width = bandwidth(x)
        exact = [float(mmd2(x[deal == 0], x[deal == 1], width)) for deal in (labels, *deals)]
        found = target._excess(target.views["users"].features, [labels, *deals])
        assert exact[0] / (sum(exact[1:]) / 400) - 1 == pytest.approx(float(found[0].mean()), rel=0.25)


def test_the_deal_taken_is_typical_and_classes_keep_their_sizes() -> None:
    x, labels = people(gap=1.0)
    labels = (torch.arange(200) < 50).long()
    target = dealt(x, labels)
    view = target.views["users"]
    assert [len(rows) for rows in view.into] == [150, 50]
    assert sorted(torch.cat(view.into).tolist()) == list(range(200))
    chosen = torch.empty(200, dtype=torch.int64)
    for label, rows in enumerate(view.into):
        chosen[rows] = label
    others = target._excess(view.features, [target._deal() for _ in range(N_DEALS)]).abs().max(1).values
    assert float(target._excess(view.features, [chosen]).abs().max()) < float(others.median())


def test_the_loss_falls_to_little_where_classes_are_as_they_were_dealt() -> None:
    x, labels = people(gap=2.0)
    target = dealt(x, labels)
    apart = target.loss({"users": x}, torch.Generator().manual_seed(1))
    swapped = x.clone()
    for label, rows in enumerate(target.views["users"].into):
        swapped[labels == label] = x[rows]
    same = target.loss({"users": swapped}, torch.Generator().manual_seed(1))
    assert float(same) < 0.05 * float(apart)
    moving = x.clone().requires_grad_()
    target.loss({"users": moving}, torch.Generator().manual_seed(1)).backward()
    assert torch.isfinite(moving.grad).all()


def test_kernels_and_coordinates_that_tell_nothing_do_not_pull() -> None:
    x, labels = people(n=400, gap=3.0)
    view = dealt(x, labels).views["users"]
    assert view.kernels.min() > 0.8
    assert view.coordinates[0] > 0.9
    assert view.coordinates[1:].max() < view.coordinates[0]
    nothing, labels = people(n=400)
    assert dealt(nothing, labels).views["users"].kernels.max() < 0.6


def test_views_share_one_deal_and_only_tables_have_coordinates() -> None:
    x, labels = people(gap=1.0)
    views = {"a": x[:, :3], "b": x[:, 3:], "all": x}
    target = Dealt(views, labels, torch.Generator().manual_seed(0), marginals=0.1)
    assert target.views["a"].coordinates is not None
    assert target.views["all"].coordinates is None
    for first, second in zip(target.views["a"].into, target.views["all"].into, strict=True):
        assert torch.equal(first, second)
    assert torch.isfinite(target.loss(views, torch.Generator().manual_seed(0)))
