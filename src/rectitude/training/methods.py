"""Events of the Trainer that a training method attaches to."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor
from torch.optim import Optimizer

from rectitude.core.config import Settings
from rectitude.data.dataset import Dataset
from rectitude.models.base import Recommender

if TYPE_CHECKING:
    from rectitude.training.trainer import Trainer


class Method:
    """A training plug-in; each event does nothing unless overridden.

    A method works on any model that offers what the method reads of it (user vectors, item vectors, a loss).
    """

    name: str = "method"

    def on_start(self, trainer: Trainer) -> None:
        """Before the first epoch, with the model prepared."""

    def extra_loss(self, batch: Any, model: Recommender) -> dict[str, Tensor]:
        """Named terms added to the model's loss."""
        return {}

    def step(self, closure: Callable[[], Tensor], optimizer: Optimizer) -> bool:
        """Take the optimiser step yourself and return True, or return False to have it taken.

        Args:
            closure: Clears gradients, computes the loss of the current batch, back-propagates, and returns the loss.
            optimizer: Steps with the gradients that are there.
        """
        return False

    def on_step_end(self, model: Recommender) -> None:
        """After each optimiser step."""

    def served(self, model: Recommender) -> AbstractContextManager[None]:
        """Entered while the model is validated and while the parameters to be kept are read from it."""
        return nullcontext()

    def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> None:
        """After each epoch; ``row`` is the epoch's line of the learning curve and may be added to."""

    def state(self) -> dict[str, Tensor]:
        """Tensors to keep in checkpoints."""
        return {}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take back what :meth:`state` gave."""


class ConfiguredMethod(Method):
    """A method with a name on the command line, settings, and a source.

    Args:
        config: The method's own ``Config``.
        dataset: For what it reads of people; the test fold is not to be looked at.
    """

    title: ClassVar[str]
    """Name in tables."""
    paper: ClassVar[str]
    """Authors, title, venue and year."""
    Config: ClassVar[type[Settings]] = Settings

    def __init__(self, config: Settings, dataset: Dataset) -> None:
        self.config, self.dataset = config, dataset
