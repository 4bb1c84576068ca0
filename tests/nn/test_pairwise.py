from __future__ import annotations

import torch
from torch.nn import functional as F

from rectitude.nn.pairwise import bpr_loss, in_batch_softmax, l2_penalty


def test_bpr_loss_is_minus_log_sigmoid_of_the_difference() -> None:
    positive, negative = torch.randn(5), torch.randn(5, 3)
    expected = -torch.log(torch.sigmoid(positive[:, None] - negative)).mean()
    assert torch.allclose(bpr_loss(positive, negative), expected)


def test_bpr_loss_stays_finite_for_large_differences() -> None:
    assert bpr_loss(torch.tensor([-500.0]), torch.tensor([[500.0]])).item() == 1000.0


def test_in_batch_softmax_is_cross_entropy_over_the_batch_when_items_differ() -> None:
    queries, items, ids = torch.randn(6, 4), torch.randn(6, 4), torch.arange(6)
    expected = F.cross_entropy(queries @ items.T, ids)
    assert torch.allclose(in_batch_softmax(queries, items, ids, 6), expected, atol=1e-6)


def test_in_batch_softmax_takes_negatives_from_the_first_pairs_and_never_the_same_item() -> None:
    queries, table, ids = torch.randn(4, 3), torch.randn(3, 3), torch.tensor([0, 1, 1, 2])
    scores = queries @ table.T
    candidates = [[0, 1], [0, 1], [0, 1], [0, 1, 2]]  # pairs 0 and 1 lend their items; a pair always has its own
    losses = [torch.logsumexp(scores[b, c], 0) - scores[b, ids[b]] for b, c in enumerate(candidates)]
    assert torch.allclose(in_batch_softmax(queries, table[ids], ids, 2), torch.stack(losses).mean(), atol=1e-6)


def test_l2_penalty_is_half_the_squared_length_per_pair() -> None:
    user, negatives = torch.ones(2, 3), torch.full((2, 4, 3), 2.0)
    assert l2_penalty(user, negatives).item() == (6 + 96) / 2 / 2
