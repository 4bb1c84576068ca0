from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rectitude.data.histories import Histories
from rectitude.models.batches import PairBatches, RowBatches, SequenceBatch, SequenceBatches
from rectitude.nn.losses import NegativeSampler

N_ITEMS = 1000
Window = tuple[int, list[int]]


def numbered(lengths: list[int]) -> Histories:
    """Rows whose items are all different, so that an item says which event it is."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Histories.from_rows([np.arange(a, b) for a, b in pairwise(offsets)])


def cut(train: Histories, batch_size: int, max_length: int, **options: bool) -> SequenceBatches:
    return SequenceBatches(train, N_ITEMS, batch_size, max_length, NegativeSampler(torch.ones(N_ITEMS), 5), **options)


def epoch(source: Any, seed: int = 0) -> list[Any]:
    return list(source.epoch(torch.Generator().manual_seed(seed)))


def windows(batches: list[SequenceBatch]) -> list[Window]:
    """User and items (inputs, then the last target) of each window."""
    found = []
    for batch in batches:
        for inputs, targets, user in zip(batch.inputs, batch.targets, batch.users, strict=True):
            read, wanted = inputs[inputs < N_ITEMS].tolist(), targets[targets >= 0].tolist()
            assert read[1:] == wanted[:-1]  # shifted by one
            found.append((int(user), [*read, wanted[-1]]))
    return found


lengths_of_users = st.lists(st.integers(0, 40), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(lengths_of_users, st.integers(1, 6), st.integers(2, 12), st.integers(0, 9))
def test_every_event_but_the_first_is_a_target_exactly_once(
    lengths: list[int], batch_size: int, max_length: int, seed: int
) -> None:
    train = numbered(lengths)
    batches = epoch(cut(train, batch_size, max_length), seed)
    targets = Counter(int(t) for batch in batches for t in batch.targets[batch.targets >= 0])
    expected = Counter(int(item) for row in range(len(train)) for item in train[row][1:])
    assert targets == expected
    assert sum(batch.n_targets for batch in batches) == expected.total()


@settings(max_examples=60, deadline=None)
@given(lengths_of_users, st.integers(1, 6), st.integers(2, 12), st.booleans())
def test_windows_are_contiguous_no_longer_than_allowed_and_of_one_user(
    lengths: list[int], batch_size: int, max_length: int, last_window_only: bool
) -> None:
    train = numbered(lengths)
    for batch in epoch(cut(train, batch_size, max_length, last_window_only=last_window_only)):
        assert 1 <= len(batch.users) <= batch_size
        assert batch.inputs.shape == batch.targets.shape
        assert batch.inputs.shape[1] <= max_length
        assert ((batch.inputs == N_ITEMS) == (batch.targets == -1)).all()
        padding = (batch.inputs == N_ITEMS).int()
        assert (padding.diff(dim=1) >= 0).all()  # on the right
        for user, items in windows([batch]):
            assert np.diff(items).tolist() == [1] * (len(items) - 1)
            assert set(items) <= set(train[user].tolist())


def test_the_last_window_only_is_the_most_recent_events() -> None:
    train = numbered([1, 2, 5, 30])
    source = cut(train, 8, 10, last_window_only=True)
    found = dict(windows(epoch(source)))
    assert found == {1: train[1].tolist(), 2: train[2].tolist(), 3: train[3][-11:].tolist()}
    assert len(source) == 1


def test_a_long_sequence_is_cut_at_another_place_in_each_epoch() -> None:
    source = cut(numbered([100]), 64, 10)
    generator = torch.Generator().manual_seed(0)
    firsts = {min(len(items) for _, items in windows(list(source.epoch(generator)))) for _ in range(20)}
    assert len(firsts) > 3


def test_lengths_near_the_window() -> None:
    for length, n_windows in ((2, {1}), (11, {1}), (12, {2}), (21, {2, 3})):
        counts = {len(windows(epoch(cut(numbered([length]), 64, 10), seed))) for seed in range(30)}
        assert counts == n_windows, length


def test_the_number_of_batches_is_near_what_is_announced() -> None:
    rng = np.random.default_rng(0)
    source = cut(numbered(rng.integers(0, 60, 200).tolist()), 16, 10)
    produced = np.mean([len(epoch(source, seed)) for seed in range(5)])
    assert abs(produced - len(source)) <= 1
    exact = cut(numbered([5] * 33), 16, 10)
    assert len(epoch(exact)) == len(exact) == 3


def test_windows_of_like_length_share_a_batch() -> None:
    rng = np.random.default_rng(0)
    batches = epoch(cut(numbered(rng.integers(2, 49, 640).tolist()), 32, 48))
    padded = sum((batch.targets < 0).sum().item() for batch in batches)
    assert padded < 0.25 * sum(batch.n_targets for batch in batches)
    assert all(batch.inputs.shape[1] % 8 == 0 for batch in batches)


@pytest.mark.parametrize("kind", ["sequences", "pairs", "rows"])
def test_the_same_generator_gives_the_same_batches(kind: str) -> None:
    train = numbered([5, 20, 3, 0, 9, 14, 7])
    source = {
        "sequences": cut(train, 3, 6),
        "pairs": PairBatches(train, N_ITEMS, 8, 3),
        "rows": RowBatches(train, 2),
    }[kind]

    def flat(seed: int) -> torch.Tensor:
        parts = []
        for batch in epoch(source, seed):
            values = vars(batch).values()
            parts += [value.flatten() for value in values if isinstance(value, torch.Tensor)]
            if isinstance(batch, SequenceBatch):
                parts += [batch.negatives.items, batch.negatives.log_weight]
        return torch.cat([part.double() for part in parts])

    assert torch.equal(flat(1), flat(1))
    assert not torch.equal(flat(1)[:20], flat(2)[:20])


@pytest.mark.parametrize("kind", ["sequences", "pairs", "rows"])
@pytest.mark.parametrize("count", [1, 2, 3, 50])
def test_the_parts_of_a_batch_are_the_batch(kind: str, count: int) -> None:
    train = numbered([5, 20, 3, 0, 9, 14, 7])
    source = {
        "sequences": cut(train, 5, 6),
        "pairs": PairBatches(train, N_ITEMS, 8, 3),
        "rows": RowBatches(train, 5),
    }[kind]
    for batch in epoch(source):
        parts = [batch.part(index, count) for index in range(count)]
        assert sum(part.n_targets for part in parts) == batch.n_targets
        together = torch.cat([part.users for part in parts])
        assert sorted(together.tolist()) == sorted(batch.users.tolist())
        for index, part in enumerate(parts):
            if kind == "rows":
                assert [row.tolist() for row in map(part.history.__getitem__, range(len(part.history)))] == [
                    batch.history[row].tolist() for row in range(index, len(batch.history), count)
                ]
            elif kind == "pairs":
                assert torch.equal(part.positives, batch.positives[index::count])
                assert torch.equal(part.negatives, batch.negatives[index::count])
            else:
                assert torch.equal(part.inputs, batch.inputs[index::count])
                assert torch.equal(part.targets, batch.targets[index::count])
                assert part.negatives is batch.negatives


# ---- pairs -----------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 19), max_size=10), min_size=2, max_size=8).filter(any),
    st.integers(1, 7),
    st.integers(1, 4),
)
def test_every_distinct_pair_once_with_negatives_its_user_never_touched(
    rows: list[list[int]], batch_size: int, n_negatives: int
) -> None:
    source = PairBatches(Histories.from_rows(rows), 40, batch_size, n_negatives)
    batches = epoch(source)
    assert len(batches) == len(source)
    pairs = [pair for batch in batches for pair in zip(batch.users.tolist(), batch.positives.tolist(), strict=True)]
    assert sorted(pairs) == sorted({(user, item) for user, row in enumerate(rows) for item in row})
    for batch in batches:
        assert batch.negatives.shape == (len(batch.users), n_negatives)
        for user, negatives in zip(batch.users.tolist(), batch.negatives.tolist(), strict=True):
            assert not set(negatives) & set(rows[user])


def test_pair_negatives_are_uniform_over_what_is_left() -> None:
    source = PairBatches(Histories.from_rows([[0, 1, 2]] * 50), 10, 200, 40)
    counts = torch.bincount(epoch(source)[0].negatives.flatten(), minlength=10)
    assert counts[:3].sum() == 0
    assert abs(counts[3:] / counts.sum() - 1 / 7).max() < 0.02


def test_a_user_who_has_everything_does_not_stop_training() -> None:
    batches = epoch(PairBatches(Histories.from_rows([list(range(5)), [0]]), 5, 100, 2))
    assert batches[0].negatives.max() < 5


def test_pairs_without_negatives() -> None:
    batch = epoch(PairBatches(numbered([3]), N_ITEMS, 8, 0))[0]
    assert batch.negatives.shape == (3, 0)
    assert batch.n_targets == 3


# ---- rows ------------------------------------------------------------------------------------------------------------


def test_every_user_with_events_once_with_distinct_items() -> None:
    train = Histories.from_rows([[3, 1, 3], [], [2], [5, 4]])
    source = RowBatches(train, 2)
    batches = epoch(source)
    assert len(batches) == len(source) == 2
    rows = {int(user): batch.history[row].tolist() for batch in batches for row, user in enumerate(batch.users)}
    assert rows == {0: [1, 3], 2: [2], 3: [4, 5]}
    assert sum(batch.n_targets for batch in batches) == 3
    assert batches[0].to(torch.device("cpu")).device == torch.device("cpu")
