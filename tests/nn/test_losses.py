from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import chisquare
from torch import Tensor

from rectitude.nn import losses
from rectitude.nn.losses import Negatives, NegativeSampler

T, ITEMS, D, N = 37, 50, 8, 20
NAMES = ("sampled_softmax", "softmax", "gbce", "bce", "bpr")


def made(seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor, Negatives]:
    """States [T, d], table [I + 1, d] with a padding row, targets [T] and a draw that holds some of the targets."""
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(T, D, generator=generator).to(dtype).requires_grad_()
    table = torch.randn(ITEMS + 1, D, generator=generator).to(dtype).requires_grad_()
    targets = torch.randint(ITEMS, (T,), generator=generator)
    negatives = NegativeSampler(torch.rand(ITEMS, generator=generator) * 50, N, 0.7).draw(generator)
    assert torch.isin(targets, negatives.items).any()
    assert not torch.isin(targets, negatives.items).all()
    return states, table, targets, Negatives(negatives.items, negatives.log_weight.to(dtype))


def brute_force(name: str, states: Tensor, table: Tensor, targets: Tensor, negatives: Negatives) -> Tensor:
    """One position at a time, from the formulas, in whatever torch's autograd makes of them."""
    terms = []
    for state, target in zip(states, targets, strict=True):
        positive = state @ table[target]
        others = negatives.items != target
        scores = table[negatives.items[others]] @ state
        if name == "softmax":
            terms.append(torch.logsumexp(table[:ITEMS] @ state, 0) - positive)
        elif name == "sampled_softmax":
            weighted = scores + negatives.log_weight[others]
            terms.append(torch.logsumexp(torch.cat([positive[None], weighted]), 0) - positive)
        elif name == "bpr":
            terms.append(-torch.log(torch.sigmoid(positive - scores)).mean())
        else:
            missed = -torch.log(1 - torch.sigmoid(scores))
            alpha = len(negatives.items) / (ITEMS - 1)
            beta = alpha * (0.75 * (1 - 1 / alpha) + 1 / alpha)
            hit = -torch.log(torch.sigmoid(positive))
            terms.append(beta * hit + missed.sum() if name == "gbce" else hit + missed.mean())
    return torch.stack(terms).mean()


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_and_its_gradients_are_those_of_its_formula(name: losses.LossName) -> None:
    states, table, targets, negatives = made()
    loss = losses.next_item_loss(name, states, table, targets, negatives, ITEMS)
    gradients = torch.autograd.grad(loss * 3, (states, table))
    exact = made(dtype=torch.float64)
    expected = brute_force(name, *exact)
    wanted = torch.autograd.grad(expected * 3, exact[:2])
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for got, want in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(got.double(), want, rtol=1e-4, atol=1e-6)
    assert not gradients[1][ITEMS].any()  # the padding row learns nothing


@pytest.mark.parametrize("name", ["sampled_softmax", "softmax"])
def test_hand_written_gradients_are_finite_differences(name: losses.LossName) -> None:
    states, table, targets, negatives = made(dtype=torch.float64)

    def loss(states: Tensor, table: Tensor) -> Tensor:
        return losses.next_item_loss(name, states, table, targets, negatives, ITEMS)

    gradients = torch.autograd.grad(loss(states, table), (states, table))
    for which, gradient in enumerate(gradients):
        direction = torch.randn(gradient.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        moved = []
        for sign in (1, -1):
            arguments = [states.detach(), table.detach()]
            arguments[which] = arguments[which] + sign * 1e-6 * direction
            moved.append(loss(*arguments))
        slope = (moved[0] - moved[1]) / 2e-6
        assert (gradient * direction).sum().item() == pytest.approx(slope.item(), rel=1e-6)


@pytest.mark.parametrize("name", ["sampled_softmax", "softmax"])
def test_only_the_wanted_gradients_are_made(name: losses.LossName) -> None:
    states, table, targets, negatives = made()
    loss = losses.next_item_loss(name, states, table.detach(), targets, negatives, ITEMS)
    both = losses.next_item_loss(name, states, table, targets, negatives, ITEMS)
    torch.testing.assert_close(torch.autograd.grad(loss, states)[0], torch.autograd.grad(both, states)[0])
    with torch.no_grad():
        assert losses.next_item_loss(name, states, table, targets, negatives, ITEMS).item() == loss.item()


@pytest.mark.parametrize("chunk", [1, 7, T, 1000])
def test_softmax_does_not_depend_on_its_chunks(chunk: int) -> None:
    states, table, targets, _ = made()
    loss = losses.softmax(states, table, targets, ITEMS, chunk=chunk)
    expected = F.cross_entropy(states @ table[:ITEMS].T, targets)
    torch.testing.assert_close(loss, expected)
    for got, want in zip(
        torch.autograd.grad(loss, (states, table)), torch.autograd.grad(expected, (states, table)), strict=True
    ):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_losses_stay_finite_for_extreme_scores(name: losses.LossName) -> None:
    states, table, targets, negatives = made()
    loss = losses.next_item_loss(name, states * 1e4, table, targets, negatives, ITEMS)
    assert torch.isfinite(loss)
    for gradient in torch.autograd.grad(loss, (states, table)):
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("name", ["sampled_softmax", "bce", "bpr", "gbce"])
def test_a_draw_of_nothing_but_the_target_leaves_only_the_positive_term(name: losses.LossName) -> None:
    states, table = torch.randn(1, D), torch.randn(ITEMS + 1, D)
    target = torch.tensor([4])
    negatives = Negatives(target, torch.zeros(1))
    loss = losses.next_item_loss(name, states, table, target, negatives, ITEMS)
    score = (states @ table[4]).squeeze()
    alpha = 1 / (ITEMS - 1)
    beta = alpha * (0.75 * (1 - 1 / alpha) + 1 / alpha)
    alone = {"sampled_softmax": torch.zeros(()), "bpr": torch.zeros(()), "bce": F.softplus(-score)}
    torch.testing.assert_close(loss, alone.get(name, beta * F.softplus(-score)))


# ---- calibration of gBCE -------------------------------------------------------------------------------------------


def test_gbce_without_calibration_is_plain_binary_cross_entropy() -> None:
    states, table, targets, negatives = made()
    positive = (states * table[targets]).sum(1)
    scores = states @ table[negatives.items].T
    missed = F.binary_cross_entropy_with_logits(scores, torch.zeros_like(scores), reduction="none")
    missed[targets[:, None] == negatives.items] = 0
    hit = F.binary_cross_entropy_with_logits(positive, torch.ones_like(positive), reduction="none")
    loss = losses.gbce(states, table, targets, negatives, ITEMS, calibration=0.0)
    torch.testing.assert_close(loss, (hit + missed.sum(1)).mean())


def test_gbce_fully_calibrated_weighs_the_positive_by_the_sampling_rate() -> None:
    states, table, targets, negatives = made()
    plain, full = (losses.gbce(states, table, targets, negatives, ITEMS, calibration=t) for t in (0.0, 1.0))
    hit = F.softplus(-(states * table[targets]).sum(1)).mean()
    rate = len(negatives.items) / (ITEMS - 1)
    torch.testing.assert_close(plain - full, (1 - rate) * hit)


def test_gbce_of_all_items_is_plain_whatever_the_calibration() -> None:
    states, table, targets, _ = made()
    everything = Negatives(torch.arange(ITEMS), torch.zeros(ITEMS))
    torch.testing.assert_close(
        losses.gbce(states, table, targets, everything, ITEMS, calibration=1.0),
        losses.gbce(states, table, targets, everything, ITEMS, calibration=0.0),
    )


# ---- negatives -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_items_are_drawn_in_proportion_to_popularity_to_the_power(power: float) -> None:
    popularity = torch.tensor([0.0, 1.0, 2.0, 5.0, 20.0, 100.0])
    sampler = NegativeSampler(popularity, 2000, power)
    generator = torch.Generator().manual_seed(0)
    weight = popularity.clamp(min=1).double() ** power
    q = weight / weight.sum()
    counts = np.zeros(6)
    for _ in range(20):
        draw = sampler.draw(generator)
        times = torch.exp(draw.log_weight.double() + math.log(2000) + q[draw.items].log())
        np.testing.assert_allclose(times, times.round(), rtol=1e-4)
        np.add.at(counts, draw.items.numpy(), times.round().numpy())
    assert counts.sum() == 40_000
    assert chisquare(counts, (q * 40_000).numpy()).pvalue > 0.001


def test_a_draw_is_distinct_ascending_and_follows_from_the_generator() -> None:
    sampler = NegativeSampler(torch.arange(30).float(), 40, 0.5)
    one, other = (sampler.draw(torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one.items, other.items)
    assert torch.equal(one.log_weight, other.log_weight)
    assert (one.items.diff() > 0).all()
    assert one.items.dtype == torch.int64
    assert one.log_weight.dtype == torch.float32
    assert one.items[0] >= 0
    assert one.items[-1] < 30


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_the_weighted_sum_over_a_draw_is_unbiased(power: float) -> None:
    generator = torch.Generator().manual_seed(5)
    popularity = torch.rand(ITEMS, generator=generator) * 30
    scores = torch.randn(ITEMS, generator=generator).double()
    sampler = NegativeSampler(popularity, N, power)
    sums = []
    for _ in range(3000):
        draw = sampler.draw(generator)
        sums.append(torch.exp(scores[draw.items] + draw.log_weight).sum())
    estimates = torch.stack(sums)
    error = estimates.std() / math.sqrt(len(estimates))
    assert abs(estimates.mean() - scores.exp().sum()) < 4 * error
    assert error < 0.02 * scores.exp().sum()


def test_many_draws_make_the_sampled_softmax_the_full_one() -> None:
    states, table, targets, _ = made()
    sampler = NegativeSampler(torch.ones(ITEMS), 200_000)
    draw = sampler.draw(torch.Generator().manual_seed(0))
    sampled = losses.sampled_softmax(states, table, targets, draw)
    assert sampled.item() == pytest.approx(losses.softmax(states, table, targets, ITEMS).item(), rel=2e-3)


def test_what_nobody_chose_is_never_drawn_where_that_is_asked() -> None:
    popularity = torch.tensor([0.0, 3.0, 0.0, 1.0, 9.0, 0.0])
    sampler = NegativeSampler(popularity, 60_000, seen_only=True)
    drawn = sampler.draw(torch.Generator().manual_seed(0))
    assert drawn.items.tolist() == [1, 3, 4]
    torch.testing.assert_close(drawn.log_weight, torch.zeros(3), atol=0.03, rtol=0)  # drawn as often as expected
