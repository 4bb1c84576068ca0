"""Weights averaged over the last steps of training.

Source: Polyak & Juditsky, "Acceleration of Stochastic Approximation by Averaging", SIAM J. Control Optim. 30, 1992; as
an exponential mean with a start that forgets the first steps sooner, as in most implementations.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rectitude.models.base import Recommender
from rectitude.training.methods import Method

if TYPE_CHECKING:
    from rectitude.training.trainer import Trainer


class WeightAverage(Method):
    """Validates and keeps the exponential mean of the parameters instead of the last ones.

    After step t the mean m becomes m + (1 - a)(θ - m) with a = min(decay, (1 + t) / (10 + t)). Training itself goes on
    from θ, so the loss curve does not change.

    Args:
        decay: Share of the mean that is kept at a step, in [0, 1); 0.998 looks back over about 500 steps.
    """

    name = "average"

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self._steps = 0
        self._mean: dict[str, Tensor] = {}

    def on_start(self, trainer: Trainer) -> None:
        """Begin with the parameters as they are."""
        self._mean = {name: value.detach().clone() for name, value in trainer.model.named_parameters()}

    @torch.no_grad()
    def on_step_end(self, model: Recommender) -> None:
        """Move the mean towards the parameters."""
        self._steps += 1
        keep = min(self.decay, (1 + self._steps) / (10 + self._steps))
        now = dict(model.named_parameters())
        torch._foreach_lerp_(list(self._mean.values()), [now[name].detach() for name in self._mean], 1 - keep)

    @contextmanager
    def served(self, model: Recommender) -> Iterator[None]:
        """The mean in the parameters' place."""
        self._exchange(model)
        try:
            yield
        finally:
            self._exchange(model)

    @torch.no_grad()
    def _exchange(self, model: Recommender) -> None:
        for name, value in model.named_parameters():
            value.data, self._mean[name] = self._mean[name], value.data

    def state(self) -> dict[str, Tensor]:
        """The mean and the number of steps."""
        return {**{f"mean.{name}": value for name, value in self._mean.items()}, "steps": torch.tensor(self._steps)}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on with a mean."""
        self._steps = int(state["steps"])
        self._mean = {name: state[f"mean.{name}"].to(value.device) for name, value in self._mean.items()}
