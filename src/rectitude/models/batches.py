"""Mini-batches cut from in-memory arrays: no worker processes, no materialised prefixes.

Letters: B batch, L length, U users, I items.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rectitude.data.histories import Histories
from rectitude.nn.losses import Negatives, NegativeSampler

CPU = torch.device("cpu")


class Batch(Protocol):
    """What a loss is computed on."""

    @property
    def n_targets(self) -> int:
        """Training targets in the batch: the weight of its mean loss, and the unit of training speed."""
        ...

    def to(self, device: torch.device) -> Any:
        """The batch on a device."""
        ...

    def part(self, index: int, count: int) -> Any:
        """Every ``count``-th row from ``index``: one process's share under data parallelism."""
        ...


class BatchSource(Protocol):
    """Cuts one epoch into batches; the same generator state gives the same batches."""

    def epoch(self, generator: torch.Generator) -> Iterator[Any]:
        """One pass over the training data."""
        ...

    def __len__(self) -> int:
        """Batches per epoch, on average where their number varies."""
        ...


@dataclass(frozen=True, eq=False)
class SequenceBatch:
    """Shifted sequences: position t's target is the item at t + 1.

    Attributes:
        inputs: int64 [B, L], right-padded with I.
        targets: int64 [B, L], right-padded with -1.
        users: int64 [B].
        negatives: Items drawn for the whole batch.
    """

    inputs: Tensor
    targets: Tensor
    users: Tensor
    negatives: Negatives

    @property
    def n_targets(self) -> int:
        """Positions that have a target."""
        return int((self.targets >= 0).sum())

    def to(self, device: torch.device) -> SequenceBatch:
        """The batch on a device."""
        return SequenceBatch(
            self.inputs.to(device), self.targets.to(device), self.users.to(device), self.negatives.to(device)
        )

    def part(self, index: int, count: int) -> SequenceBatch:
        """One process's rows, with everybody's negatives."""
        rows = slice(index, None, count)
        return SequenceBatch(self.inputs[rows], self.targets[rows], self.users[rows], self.negatives)


class SequenceBatches:
    """Windows of each user's sequence.

    Every event is a target once per epoch: a sequence longer than the window is cut into consecutive windows at an
    offset drawn anew each epoch (``last_window_only`` keeps the most recent one instead, as most published code does).
    Windows of like length share a batch, so little padding is computed.

    Args:
        train: U rows.
        n_items: I, also the padding index.
        batch_size: Windows per batch.
        max_length: L.
        sampler: Draws the negatives of a batch.
        last_window_only: Train on the last L + 1 events only.
    """

    _POOL = 32
    """Batches sorted by length together: large enough to waste little, small enough to stay random."""

    def __init__(
        self,
        train: Histories,
        n_items: int,
        batch_size: int,
        max_length: int,
        sampler: NegativeSampler,
        *,
        last_window_only: bool = False,
    ) -> None:
        self.train, self.n_items, self.batch_size, self.max_length = train, n_items, batch_size, max_length
        self.sampler, self.last_window_only = sampler, last_window_only
        self._usable = np.flatnonzero(train.lengths >= 2)

    def _windows(self, generator: torch.Generator) -> tuple[npt.NDArray[np.int64], ...]:
        """User, first input position and number of targets of each window."""
        lengths = self.train.lengths[self._usable]
        starts = self.train.offsets[self._usable]
        width = self.max_length
        n_targets = lengths - 1
        if self.last_window_only:
            kept = np.minimum(n_targets, width)
            return self._usable, starts + n_targets - kept, kept
        # The first window of a long sequence is short by a random amount; the others are full.
        draws = torch.rand(len(lengths), generator=generator).numpy()
        first = np.where(n_targets > width, 1 + (draws * width).astype(np.int64), n_targets)
        counts = 1 + -((first - n_targets) // width)
        owner = np.repeat(np.arange(len(lengths)), counts)
        number = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
        begin = np.where(number == 0, 0, first[owner] + (number - 1) * width)
        end = np.minimum(first[owner] + number * width, n_targets[owner])
        return self._usable[owner], starts[owner] + begin, end - begin

    def __len__(self) -> int:
        if self.last_window_only:
            return -(-len(self._usable) // self.batch_size)
        n_targets = self.train.lengths[self._usable] - 1
        # On average over the offset; exactly 1 where nothing is cut.
        windows = np.where(n_targets > self.max_length, 1 + (n_targets - 1) / self.max_length, 1).sum()
        return int(-(-windows // self.batch_size))

    def epoch(self, generator: torch.Generator) -> Iterator[SequenceBatch]:
        """One pass, every target once."""
        users, begins, counts = self._windows(generator)
        order = torch.randperm(len(users), generator=generator).numpy()
        size = self.batch_size
        pools = [order[i : i + size * self._POOL] for i in range(0, len(order), size * self._POOL)]
        for pool in pools:
            pool = pool[np.argsort(counts[pool], kind="stable")]
            batches = [pool[i : i + size] for i in range(0, len(pool), size)]
            for number in torch.randperm(len(batches), generator=generator).tolist():
                rows = batches[number]
                yield self._cut(users[rows], begins[rows], counts[rows], generator)

    def _width(self, longest: int) -> int:
        """Columns of a batch: few different widths, since kernels are compiled per shape (see ``nn.losses``)."""
        return min(-(-longest // 8) * 8, self.max_length)

    def _cut(
        self,
        users: npt.NDArray[np.int64],
        begins: npt.NDArray[np.int64],
        counts: npt.NDArray[np.int64],
        generator: torch.Generator,
    ) -> SequenceBatch:
        """The batch of the windows that begin at ``begins`` and have ``counts`` targets."""
        column = np.arange(self._width(int(counts.max())))
        inside = column < counts[:, None]
        source = np.where(inside, begins[:, None] + column, 0)
        inputs = np.where(inside, self.train.items[source], self.n_items).astype(np.int64)
        targets = np.where(inside, self.train.items[source + 1], -1).astype(np.int64)
        return SequenceBatch(
            torch.from_numpy(inputs), torch.from_numpy(targets), torch.from_numpy(users), self.sampler.draw(generator)
        )


@dataclass(frozen=True, eq=False)
class PairBatch:
    """Observed pairs with items the user has not touched.

    Attributes:
        users: int64 [B].
        positives: int64 [B].
        negatives: int64 [B, N].
        shared: Items drawn for the whole batch, for losses that take their negatives so.
    """

    users: Tensor
    positives: Tensor
    negatives: Tensor
    shared: Negatives | None = None

    @property
    def n_targets(self) -> int:
        """Observed pairs."""
        return len(self.users)

    def to(self, device: torch.device) -> PairBatch:
        """The batch on a device."""
        shared = None if self.shared is None else self.shared.to(device)
        return PairBatch(self.users.to(device), self.positives.to(device), self.negatives.to(device), shared)

    def part(self, index: int, count: int) -> PairBatch:
        """One process's pairs, with everybody's negatives."""
        rows = slice(index, None, count)
        return PairBatch(
            self.users[rows].contiguous(),
            self.positives[rows].contiguous(),
            self.negatives[rows].contiguous(),
            self.shared,
        )


class PairBatches:
    """All distinct observed pairs in random order with uniform negatives that the user has not touched.

    Args:
        train: U rows.
        n_items: I.
        batch_size: Pairs per batch.
        n_negatives: N, negatives per pair.
        sampler: Draws what a batch shares.
    """

    _REDRAWS = 8
    """Rounds of redrawing collisions; what still collides then belongs to a user who has nearly everything."""

    def __init__(
        self,
        train: Histories,
        n_items: int,
        batch_size: int,
        n_negatives: int = 1,
        sampler: NegativeSampler | None = None,
    ) -> None:
        distinct = train.unique()
        self.sampler = sampler
        self.users = torch.from_numpy(distinct.rows)
        self.items = torch.from_numpy(distinct.items.astype(np.int64))
        self.n_items, self.batch_size, self.n_negatives = n_items, batch_size, n_negatives
        self._keys = self.users * n_items + self.items

    def __len__(self) -> int:
        return -(-len(self.users) // self.batch_size)

    def epoch(self, generator: torch.Generator) -> Iterator[PairBatch]:
        """One pass over the pairs."""
        order = torch.randperm(len(self.users), generator=generator)
        for chosen in torch.split(order, self.batch_size):
            users = self.users[chosen]
            shared = None if self.sampler is None else self.sampler.draw(generator)
            yield PairBatch(users, self.items[chosen], self._negatives(users, generator), shared)

    def _negatives(self, users: Tensor, generator: torch.Generator) -> Tensor:
        owner = users.repeat_interleave(self.n_negatives)
        negatives = torch.randint(self.n_items, owner.shape, generator=generator)
        asked = torch.arange(len(owner))
        for _ in range(self._REDRAWS):
            keys = owner[asked] * self.n_items + negatives[asked]
            place = torch.searchsorted(self._keys, keys).clamp_(max=len(self._keys) - 1)
            asked = asked[self._keys[place] == keys]  # only what was drawn again can collide again
            if not len(asked):
                break
            negatives[asked] = torch.randint(self.n_items, asked.shape, generator=generator)
        return negatives.view(len(users), self.n_negatives)


@dataclass(frozen=True, eq=False)
class RowBatch:
    """Whole users.

    Attributes:
        users: int64 [B].
        history: B rows of distinct items.
        device: Where dense rows are made.
    """

    users: Tensor
    history: Histories
    device: torch.device = CPU

    @property
    def n_targets(self) -> int:
        """People: a row's loss is one whole."""
        return len(self.users)

    def to(self, device: torch.device) -> RowBatch:
        """The batch on a device."""
        return RowBatch(self.users.to(device), self.history, device)

    def part(self, index: int, count: int) -> RowBatch:
        """One process's users."""
        rows = np.arange(index, len(self.history), count)
        return RowBatch(self.users[index::count], self.history.take(rows), self.device)


class RowBatches:
    """Users with at least one event, in random order.

    Args:
        train: U rows.
        batch_size: Users per batch.
    """

    def __init__(self, train: Histories, batch_size: int) -> None:
        self.train, self.batch_size = train.unique(), batch_size
        self._usable = torch.from_numpy(np.flatnonzero(self.train.lengths > 0))

    def __len__(self) -> int:
        return -(-len(self._usable) // self.batch_size)

    def epoch(self, generator: torch.Generator) -> Iterator[RowBatch]:
        """One pass over the users."""
        order = self._usable[torch.randperm(len(self._usable), generator=generator)]
        for users in torch.split(order, self.batch_size):
            yield RowBatch(users, self.train.take(users.numpy()))
