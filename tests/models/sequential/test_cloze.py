from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rectitude.data.histories import Histories
from rectitude.models.batches import SequenceBatch
from rectitude.models.sequential.bert4rec import BERT4RecConfig, ClozeBatches
from rectitude.nn.losses import NegativeSampler

N_ITEMS = 1000
MASK = N_ITEMS + 1


def numbered(lengths: list[int]) -> Histories:
    return Histories.from_pairs(
        np.repeat(np.arange(len(lengths)), lengths), np.arange(sum(lengths)), n_rows=len(lengths)
    )


def cut(train: Histories, seed: int = 0, **values: float) -> list[SequenceBatch]:
    config = BERT4RecConfig(**{"max_length": 10, "batch_size": 4, **values})
    source = ClozeBatches(train, N_ITEMS, config, NegativeSampler(torch.ones(N_ITEMS), 5))
    return list(source.epoch(torch.Generator().manual_seed(seed)))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=10),
    st.floats(0.01, 0.99),
    st.floats(0, 1),
    st.integers(2, 12),
    st.integers(0, 9),
)
def test_inputs_and_targets_together_are_the_window(
    lengths: list[int], mask_rate: float, last_rate: float, max_length: int, seed: int
) -> None:
    train = numbered(lengths)
    read: set[int] = set()
    for batch in cut(train, seed, mask_rate=mask_rate, last_rate=last_rate, max_length=max_length):
        hidden = batch.targets >= 0
        assert torch.equal(hidden, batch.inputs == MASK)
        assert hidden.any(1).all()  # every window teaches something
        assert batch.n_targets == hidden.sum()
        assert batch.inputs.shape[1] <= max_length
        whole = torch.where(hidden, batch.targets, batch.inputs)
        for user, row in zip(batch.users.tolist(), whole, strict=True):
            items = row[row != N_ITEMS]
            assert torch.equal(row[: len(items)], items)  # padding on the right
            assert (items.diff() == 1).all()
            assert set(items.tolist()) <= set(train[user].tolist())
            read |= set(items.tolist())
    assert read == {int(item) for row in range(len(train)) if len(train[row]) > 1 for item in train[row]}


@pytest.mark.parametrize("rate", [0.15, 0.6])
def test_the_share_hidden_is_the_mask_rate(rate: float) -> None:
    train = numbered([10] * 90)  # short enough for N_ITEMS, long enough to count
    hidden = n_items = 0
    for seed in range(10):
        for batch in cut(train, seed, mask_rate=rate, last_rate=0.0):
            hidden += batch.n_targets
            n_items += int((batch.inputs != N_ITEMS).sum())
    at_least_one = rate + (1 - rate) ** 10 / 10  # the mean of max(1, binomial(10, rate)) / 10
    assert hidden / n_items == pytest.approx(at_least_one, abs=0.01)


def test_the_last_item_alone_is_hidden_where_asked() -> None:
    for batch in cut(numbered([3, 5, 7, 10]), last_rate=1.0):
        lengths = (batch.inputs != N_ITEMS).sum(1)
        assert (batch.targets >= 0).sum(1).tolist() == [1] * len(batch.users)
        assert (batch.targets >= 0).int().argmax(1).tolist() == (lengths - 1).tolist()


def test_the_same_generator_hides_the_same_items() -> None:
    train = numbered([3, 20, 9])
    one, same, other = (torch.cat([b.inputs.flatten() for b in cut(train, seed)]) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert one.shape != other.shape or not torch.equal(one, other)
