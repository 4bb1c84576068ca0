"""What a recommender is asked: a batch of people, each known by index, by history, or both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rectitude.data.histories import Histories

CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class Query:
    """B questions.

    Attributes:
        users: int64 [B], index of a person of the training data, -1 for anybody else.
        history: B rows, what each person did, oldest first.
        device: Where models compute; tensors made from the query live there.
    """

    users: npt.NDArray[np.int64]
    history: Histories
    device: torch.device = CPU

    def __len__(self) -> int:
        return len(self.users)

    @classmethod
    def of_users(cls, users: npt.NDArray[np.integer], history: Histories, device: torch.device | None = None) -> Query:
        """Known people with their histories (row i belongs to ``users[i]``)."""
        return cls(np.asarray(users, np.int64), history, device or CPU)

    @classmethod
    def of_histories(cls, history: Histories, device: torch.device | None = None) -> Query:
        """Strangers with a history."""
        return cls(np.full(len(history), -1, np.int64), history, device or CPU)

    def slice(self, start: int, stop: int) -> Query:
        """Questions ``start`` to ``stop``."""
        return Query(self.users[start:stop], self.history.slice(start, stop), self.device)

    def user_tensor(self) -> Tensor:
        """int64 [B]; strangers are mapped to 0 and must be masked by the caller (see ``Recommender.serves``)."""
        return torch.from_numpy(np.maximum(self.users, 0)).to(self.device)

    def window(self, length: int, padding: int) -> tuple[Tensor, Tensor]:
        """The last ``length`` items of each history, right-padded.

        Returns:
            items int64 [B, W] with W at least the longest row kept, in steps of 8, and lengths int64 [B].
        """
        kept = np.minimum(self.history.lengths, length)
        width = max(1, min(-(-int(kept.max(initial=0)) // 8) * 8, length))
        table = np.full((len(self), width), padding, np.int64)
        column = np.arange(width)
        inside = column < kept[:, None]
        source = ((self.history.offsets[1:] - kept)[:, None] + column)[inside]
        table[inside] = self.history.items[source]
        return torch.from_numpy(table).to(self.device), torch.from_numpy(kept).to(self.device)

    def multi_hot(self, n_items: int) -> Tensor:
        """float32 [B, I], 1 where the history holds the item."""
        matrix = torch.zeros(len(self), n_items)
        matrix[torch.from_numpy(self.history.rows), torch.from_numpy(self.history.items.astype(np.int64))] = 1.0
        return matrix.to(self.device)
