"""S-DRO: groups with a larger loss weigh more, by a running estimate of each group's loss.

Source: Wen, Yi, Yao, Tang, Hong, Chi, "Distributionally-robust Recommendations for Improving Worst-case User
Experience", WWW 2022, eq. 5 to 7 (streaming group DRO); the rival of In-UCDS.

Each step the loss of each group g of the batch, L_g, updates a running mean L̄_g ← (1 − ρ) L̄_g + ρ L_g and weights
q_g ← q_g exp(η L̄_g) / Σ, and Σ q_g L_g is minimised in place of the mean loss.

Departures: the weights begin at the groups' shares of what a loss is the mean of (events, or people where one loss is
of a person's whole row) rather than equal, so that η = 0 trains as without the method; what is added to the loss of a
model is Σ (q_g − n_g / n) L_g, which is the same. Weights follow losses *per event*: the multinomial loss of a whole
row grows with its length, and would give everything to whoever did most. The released In-UCDS code adds a second
softmax and a boost for one group, which are left out.

Cost: each batch's loss is computed twice.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from rectitude.core.config import Settings
from rectitude.core.errors import ConfigError
from rectitude.data.dataset import Dataset
from rectitude.data.groups import ActivityKey, activity_groups, default_key
from rectitude.models.base import Recommender
from rectitude.models.batches import PairBatch, RowBatch, SequenceBatch
from rectitude.training.methods import ConfiguredMethod

if TYPE_CHECKING:
    from rectitude.training.trainer import Trainer


class SDROConfig(Settings):
    """Settings of S-DRO."""

    step: float = Field(0.01, ge=0)
    """η, how fast weights follow losses; usual range 1e-3 to 0.1."""
    rate: float = Field(0.1, gt=0, le=1)
    """ρ, share of the running mean renewed at a step."""
    share: float = Field(0.05, gt=0, lt=1)
    """Of the people that are called advantaged."""
    key: ActivityKey | None = None
    """Who is most active: train_value_sum, train_count, or by what the data have."""


class SDRO(ConfiguredMethod):
    """Weighs advantaged and disadvantaged people by how badly they are served in training."""

    name: str = "s-dro"
    title: ClassVar[str] = "S-DRO"
    paper: ClassVar[str] = (
        "Wen et al., Distributionally-robust Recommendations for Improving Worst-case User Experience, WWW 2022"
    )
    Config: ClassVar[type[Settings]] = SDROConfig
    config: SDROConfig

    def __init__(self, config: Settings, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        self.running = torch.zeros(2)
        self.gained = torch.zeros(2)
        self.shares = torch.full((2,), 0.5)

    def on_start(self, trainer: Trainer) -> None:
        """Groups, and their shares of the training events and of the people who have some."""
        split = trainer.split
        groups = activity_groups(split, share=self.config.share, key=self.config.key or default_key(split))
        self.labels = torch.from_numpy(groups.labels).to(trainer.device)
        labels = groups.labels.clip(min=0)
        events = np.bincount(labels[split.train.rows], minlength=2)
        people = np.bincount(labels[split.train.lengths > 0], minlength=2)
        self.first = {
            kind: torch.from_numpy(counts / counts.sum()).float().to(trainer.device)
            for kind, counts in (("events", events), ("people", people))
        }
        self.running = torch.zeros(2, device=trainer.device)
        self.gained = torch.zeros(2, device=trainer.device)

    def extra_loss(self, batch: Any, model: Recommender) -> dict[str, Tensor]:
        """Term ``robust``: what replaces the mean loss by the weighted one."""
        if not self.config.step:
            return {}
        labels = self.labels[batch.users]
        whole = isinstance(batch, RowBatch)
        losses, parts, levels = [], [], []
        for group in (0, 1):
            inside = labels == group
            if not inside.any():
                return {}  # a batch of one group says nothing of the other
            part = rows(batch, inside)
            losses.append(torch.stack(list(model.loss(part).values())).sum())
            parts.append(part.n_targets / batch.n_targets)
            events = float(part.history.lengths.mean()) if whole else 1.0
            levels.append(losses[-1].detach() / max(events, 1.0))
        found = torch.stack(losses)
        with torch.no_grad():
            self.running += self.config.rate * (torch.stack(levels) - self.running)
            self.gained += self.config.step * self.running
            self.shares = (self.first["people" if whole else "events"].log() + self.gained).softmax(0)
        return {"robust": ((self.shares - found.new_tensor(parts)) * found).sum()}

    def state(self) -> dict[str, Tensor]:
        """Running losses and what the weights have gained by them."""
        return {"running": self.running, "gained": self.gained}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take them back."""
        self.running, self.gained = (state[name].to(self.labels.device) for name in ("running", "gained"))


def rows(batch: Any, inside: Tensor) -> Any:
    """The rows of a batch where ``inside`` (bool [B]) is true.

    Raises:
        ConfigError: The batch is of a kind without rows of people.
    """
    if isinstance(batch, PairBatch):
        return replace(
            batch, users=batch.users[inside], positives=batch.positives[inside], negatives=batch.negatives[inside]
        )
    if isinstance(batch, RowBatch):
        return replace(
            batch, users=batch.users[inside], history=batch.history.take(inside.nonzero().squeeze(1).cpu().numpy())
        )
    if isinstance(batch, SequenceBatch):
        return replace(batch, inputs=batch.inputs[inside], targets=batch.targets[inside], users=batch.users[inside])
    raise ConfigError(
        f"S-DRO cannot part a {type(batch).__name__} by people", fix="Use a model trained on pairs, rows or sequences"
    )
