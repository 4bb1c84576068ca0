"""Protection while training: what unlearning afterwards is compared with.

Source: Ganhör, Penz, Rekabsaz, Lesota, Schedl, "Unlearning Protected User Attributes in Recommendations with
Adversarial Training", SIGIR 2022, arXiv:2206.04500 (a discriminator behind a gradient reversal), and D2D in training
(Chen et al., arXiv:2310.05847).

Departures: the D2D term is computed every ``every`` steps on a sample of people and weighted by that number, in place
of the released full matrix every 50th step; the adversary has an optimiser of its own and takes five steps for each of
the model's: behind one step a free vector runs away across the adversary's border, and other attackers read the class
off it better than before. The adversary weighs classes alike, the model's term does not, so that nobody is moved more
for being of a small class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from rectitude.core.config import Settings
from rectitude.core.errors import ConfigError, DataError
from rectitude.data.dataset import Dataset
from rectitude.data.groups import attribute_groups
from rectitude.models.base import Recommender
from rectitude.models.query import Query
from rectitude.training.checkpoint import load_optimizer, optimizer_tensors
from rectitude.training.methods import ConfiguredMethod
from rectitude.training.trainer import seeded
from rectitude.unlearning.distinguishability import d2d

if TYPE_CHECKING:
    from rectitude.training.trainer import Trainer


class ProtectionConfig(Settings):
    """What both methods share."""

    attribute: str = "gender"
    """Column of the users table that is to be hidden; a number may be cut, e.g. age:35:46."""
    weight: float = Field(1.0, ge=0)
    """Of the protection beside the model's loss; 0 trains as without the method; usual range 0.1 to 10."""
    most: int = Field(256, ge=8)
    """People drawn in a step for each class there is; everybody is drawn as often."""
    every: int = Field(5, ge=1)
    """Steps between two uses of the protection."""


class AdversarialConfig(ProtectionConfig):
    """Settings of adversarial training."""

    weight: float = Field(0.2, ge=0)
    """Of the protection beside the model's loss; 0 trains as without the method; usual range 0.1 to 10."""
    n_hidden: int = Field(64, ge=1)
    """Width of the discriminator's hidden layer."""
    reversal: float = Field(0.5, ge=0)
    """Strength of the reversed gradient."""
    adversary_learning_rate: float = Field(1e-2, gt=0)
    """Step size of the discriminator."""
    adversary_steps: int = Field(5, ge=1)
    """Steps of the discriminator for each of the model; usual 1 to 10."""
    aim: Literal["reversed", "uniform"] = "reversed"
    """What the model wants of it: the most loss (the paper's reversed gradient), or that it cannot decide."""
    every: int = Field(1, ge=1)
    """Steps between two uses of the protection."""


class _Protection(ConfiguredMethod):
    """Reads the attribute and draws people of known class."""

    config: ProtectionConfig

    def __init__(self, config: Settings, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        self.labels = torch.from_numpy(attribute_groups(dataset.users, self.config.attribute).labels)
        self.steps = 0

    def on_start(self, trainer: Trainer) -> None:
        """See that the model has user vectors, and keep the histories it may make them from."""
        if not type(trainer.model).has_user_vectors():
            raise ConfigError(f"{trainer.model.title} has no user vectors to protect", where=f"--method {self.name}")
        self.train = trainer.split.train
        self.device = trainer.device
        self.generator = torch.Generator().manual_seed(trainer.seed + 1)
        trained = torch.from_numpy(self.train.lengths > 0)
        self.known = [
            torch.nonzero((self.labels == label) & trained).squeeze(1) for label in range(int(self.labels.max()) + 1)
        ]
        if min(len(people) for people in self.known) < 2:
            raise DataError(f"A class of {self.config.attribute} has fewer than two people in training")

    def drawn(self, model: Recommender) -> tuple[Tensor, Tensor]:
        """Vectors with gradients, float [n, d], and classes, int64 [n], of people drawn, everybody as often.

        As many of each class would draw a small class's people more often, move them more, and so mark them.
        """
        share = min(1.0, self.config.most * len(self.known) / sum(len(group) for group in self.known))
        people = torch.cat(
            [
                group[torch.randperm(len(group), generator=self.generator)[: max(2, round(share * len(group)))]]
                for group in self.known
            ]
        )
        users = people.numpy()
        vectors = model.user_vectors(Query.of_users(users, self.train.take(users), self.device))
        return vectors, self.labels[people].to(self.device)

    def due(self) -> bool:
        """Is this a step with protection?"""
        self.steps += 1
        return bool(self.config.weight) and (self.steps - 1) % self.config.every == 0

    def state(self) -> dict[str, Tensor]:
        """Steps and the draws' randomness."""
        return {"steps": torch.tensor(self.steps), "random": self.generator.get_state()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take them back."""
        self.steps = int(state["steps"])
        self.generator.set_state(state["random"].cpu())


class D2DTraining(_Protection):
    """The distributions of the classes' vectors are kept the same during training."""

    name: str = "d2d-training"
    title: ClassVar[str] = "D2D in training"
    paper: ClassVar[str] = "Chen et al., Making Users Indistinguishable, ACM MM 2023, arXiv:2310.05847"
    Config: ClassVar[type[Settings]] = ProtectionConfig

    def extra_loss(self, batch: Any, model: Recommender) -> dict[str, Tensor]:
        """Term ``d2d``."""
        if not self.due():
            return {}
        vectors, labels = self.drawn(model)
        return {"d2d": self.config.weight * self.config.every * d2d(vectors, labels)}


class Adversarial(_Protection):
    """A discriminator learns to tell the attribute, and the model to keep it from that."""

    name: str = "adversarial"
    title: ClassVar[str] = "Adversarial training"
    paper: ClassVar[str] = (
        "Ganhör et al., Unlearning Protected User Attributes in Recommendations with Adversarial Training, SIGIR 2022, "
        "arXiv:2206.04500"
    )
    Config: ClassVar[type[Settings]] = AdversarialConfig
    config: AdversarialConfig

    def on_start(self, trainer: Trainer) -> None:
        """Make the discriminator."""
        super().on_start(trainer)
        width = trainer.model.eval().user_vectors(self._one(trainer)).shape[1]
        with seeded(trainer.seed + 2, trainer.device):
            self.discriminator = nn.Sequential(
                nn.Linear(width, self.config.n_hidden),
                nn.ReLU(),
                nn.Linear(self.config.n_hidden, len(self.known)),
            ).to(self.device)
        self.optimizer = torch.optim.Adam(self.discriminator.parameters(), lr=self.config.adversary_learning_rate)

    def _one(self, trainer: Trainer) -> Query:
        users = self.known[0][:1].numpy()
        return Query.of_users(users, self.train.take(users), trainer.device)

    def extra_loss(self, batch: Any, model: Recommender) -> dict[str, Tensor]:
        """Term ``adversarial``: minus what the discriminator loses, after it has learnt from the same people."""
        if not self.due():
            return {}
        vectors, labels = self.drawn(model)
        counts = torch.bincount(labels, minlength=len(self.known)).float()
        balance = counts.sum() / (len(counts) * counts)
        with torch.enable_grad():
            for _ in range(self.config.adversary_steps):
                self.optimizer.zero_grad()
                F.cross_entropy(self.discriminator(vectors.detach()), labels, weight=balance).backward()
                self.optimizer.step()
        told = self.discriminator(vectors)
        lost = -F.log_softmax(told, 1).mean() if self.config.aim == "uniform" else -F.cross_entropy(told, labels)
        return {"adversarial": self.config.weight * self.config.reversal * lost}

    def state(self) -> dict[str, Tensor]:
        """The discriminator and its optimiser besides."""
        net = {f"net.{name}": value for name, value in self.discriminator.state_dict().items()}
        steps = {f"optimizer.{name}": value for name, value in optimizer_tensors(self.optimizer).items()}
        return super().state() | net | steps

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take them back."""
        super().load_state(state)
        parts = {
            part: {name.removeprefix(f"{part}."): value for name, value in state.items() if name.startswith(f"{part}.")}
            for part in ("net", "optimizer")
        }
        self.discriminator.load_state_dict(parts["net"])
        load_optimizer(self.optimizer, parts["optimizer"])
