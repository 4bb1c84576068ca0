from __future__ import annotations

import torch

from rectitude.nn.pairwise import bpr_loss, l2_penalty


def test_bpr_loss_is_minus_log_sigmoid_of_the_difference() -> None:
    positive, negative = torch.randn(5), torch.randn(5, 3)
    expected = -torch.log(torch.sigmoid(positive[:, None] - negative)).mean()
    assert torch.allclose(bpr_loss(positive, negative), expected)


def test_bpr_loss_stays_finite_for_large_differences() -> None:
    assert bpr_loss(torch.tensor([-500.0]), torch.tensor([[500.0]])).item() == 1000.0


def test_l2_penalty_is_half_the_squared_length_per_pair() -> None:
    user, negatives = torch.ones(2, 3), torch.full((2, 4, 3), 2.0)
    assert l2_penalty(user, negatives).item() == (6 + 96) / 2 / 2
