"""The contract of a recommender, and everything a model inherits by keeping it.

A new model writes a ``Config``, ``loss`` (or ``fit`` where training is not by gradient), and ``score`` (or
``query_vectors`` and ``item_vectors``). Class flags say what it reads and whom it serves, so nobody finds out by an
exception.

Letters: B batch, I items, U users, d width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor, nn

from rectitude.core.config import Settings
from rectitude.data.histories import Histories
from rectitude.models.batches import BatchSource
from rectitude.models.query import Query

Reads = Literal["user", "history"]


@dataclass(frozen=True)
class Range:
    """Where tuning looks for a number; whole numbers if both ends are."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Choice:
    """What tuning chooses among."""

    options: tuple[Any, ...]


class ModelConfig(Settings):
    """Settings of a model that is not trained by gradient."""

    search: ClassVar[dict[str, Range | Choice]] = {}
    """What ``tune`` varies and where; each class adds to what it inherits."""

    @classmethod
    def search_space(cls) -> dict[str, Range | Choice]:
        """The ranges of this class and of all it inherits from."""
        space: dict[str, Range | Choice] = {}
        for ancestor in reversed(cls.__mro__):
            space |= vars(ancestor).get("search", {})
        return space


class GradientConfig(ModelConfig):
    """Settings every gradient-trained model has; the Trainer reads them."""

    search: ClassVar[dict[str, Range | Choice]] = {"learning_rate": Range(3e-4, 1e-2, log=True)}

    learning_rate: float = Field(1e-3, gt=0)
    """Step size of Adam; usual range 1e-4 to 1e-2."""
    weight_decay: float = Field(0.0, ge=0)
    """L2 penalty added by the optimiser; usual range 0 to 1e-4."""
    batch_size: int = Field(128, ge=1)
    """Rows of one mini-batch (users, windows or pairs, by model)."""
    epochs: int = Field(100, ge=1)
    """Most passes over the training data; early stopping usually ends sooner."""
    patience: int = Field(10, ge=1)
    """Validations without improvement before training stops."""
    validate_every: int = Field(1, ge=1)
    """Epochs between validations."""
    averaging: float = Field(0.0, ge=0, lt=1)
    """Share kept, at each step, of a running mean of the weights that is validated and served in their place: 0.998
    averages about 500 steps, 0 serves the last weights; usual range 0.99 to 0.9995."""


class Recommender(nn.Module):
    """Base of every model.

    Args:
        config: The model's own ``Config``.
        n_users: U.
        n_items: I. Index I is the padding item where a model needs one.
    """

    name: ClassVar[str]
    """Name on the command line."""
    title: ClassVar[str]
    """Name in tables."""
    paper: ClassVar[str]
    """Authors, title, venue and year, arXiv id where there is one."""
    Config: ClassVar[type[ModelConfig]] = ModelConfig
    reads: ClassVar[frozenset[Reads]]
    """What a query must carry: the user's identity, the history, or both."""
    serves_new_users: ClassVar[bool]
    """Can it answer for a person it was not trained with, from a history?"""
    serves_new_items: ClassVar[bool] = False
    """Can it rank items it was not trained with?"""
    trained_by: ClassVar[Literal["gradient", "fit"]] = "gradient"
    content_needed: ClassVar[tuple[str, ...]] = ()
    """Modalities of the dataset it cannot do without; where settings name them, see :meth:`content_read`."""

    popularity: Tensor
    trained_users: Tensor

    def __init__(self, config: ModelConfig, n_users: int, n_items: int) -> None:
        super().__init__()
        self.config, self.n_users, self.n_items = config, n_users, n_items
        self.register_buffer("popularity", torch.zeros(n_items))
        self.register_buffer("trained_users", torch.zeros(n_users, dtype=torch.bool))

    @classmethod
    def content_read(cls, config: ModelConfig) -> tuple[str, ...]:  # noqa: ARG003
        """Modalities of the dataset that a model of these settings reads."""
        return cls.content_needed

    # ---- what a model writes -------------------------------------------------------------------------------------

    def prepare(self, train: Histories, content: Mapping[str, npt.NDArray[np.float32]] | None = None) -> None:
        """Take what the model needs of the training data before training. Overriders call ``super().prepare`` first.

        Args:
            train: U rows.
            content: Named item matrices [I, d] of the dataset.
        """
        self.popularity.copy_(torch.from_numpy(np.bincount(train.items, minlength=self.n_items).astype(np.float32)))
        self.trained_users.copy_(torch.from_numpy(train.lengths > 0))

    def fit(self, train: Histories, generator: torch.Generator) -> None:
        """Train without gradients (``trained_by = "fit"``). Called after :meth:`prepare`."""
        raise NotImplementedError(f"{self.title} is trained by gradient")

    def batches(self, train: Histories) -> BatchSource:
        """How the training data is cut into batches (``trained_by = "gradient"``)."""
        raise NotImplementedError(f"{self.title} is not trained by gradient")

    def loss(self, batch: Any) -> dict[str, Tensor]:
        """Named scalar terms, each a mean over the batch's targets; the Trainer minimises their sum.

        It changes nothing in the model: a method may ask for the loss of a batch more than once.
        """
        raise NotImplementedError(f"{self.title} is not trained by gradient")

    def finish(self) -> None:
        """Make what answering needs from what was learnt; called on a prepared model after its parameters changed.

        It is kept in buffers, which are saved with the model: a loaded one answers without having been prepared.
        """

    def query_vectors(self, query: Query) -> Tensor:
        """float32 [B, d]; with :meth:`item_vectors` it makes scores by inner product."""
        raise NotImplementedError(f"{self.title} has no query vectors")

    def item_vectors(self) -> Tensor:
        """float32 [I, d]."""
        raise NotImplementedError(f"{self.title} has no item vectors")

    def score(self, query: Query) -> Tensor:
        """float32 [B, I], higher is better; only the order within a row means anything.

        The tensor is the caller's to write into, so it must be a fresh one.
        """
        return self.query_vectors(query) @ self.item_vectors().T

    def user_vectors(self, query: Query) -> Tensor:
        """float32 [B, d]: what the model knows of each person, with gradients in training mode.

        What fairness and unlearning methods act on and what an attacker of the model would read.
        """
        return self.query_vectors(query)

    def user_tables(self) -> dict[str, Tensor]:
        """Every table of vectors stored for trained people, float32 [U, d] each, by name; the one served first.

        They are the model's own tensors: what is written into them is served and saved. Empty where nothing is stored
        of a person and all is made from their history.
        """
        return {}

    def score_pairs(self, tables: Mapping[str, Tensor], items: Tensor) -> Tensor:
        """Scores of some items for trained people whose stored vectors are given, with gradients to these.

        Args:
            tables: Name to float32 [B, d], rows of :meth:`user_tables`.
            items: int64 [B, K].

        Returns:
            float32 [B, K].
        """
        raise NotImplementedError(f"{self.title} stores no user vectors")

    def shares(self, query: Query) -> dict[str, Tensor]:
        """How much each part of the model counts for each person: float32 [B] each, summing to one over the parts.

        Empty for a model whose parts are not weighed by person.
        """
        return {}

    def reasons(self, query: Query, items: Tensor) -> Tensor | None:
        """For each listed item the item of the history that speaks for it most.

        Args:
            query: B questions.
            items: int64 [B, k], lists; places without an item hold -1.

        Returns:
            int64 [B, k], -1 where nothing speaks for it; None for a model that cannot tell.
        """
        return None

    # ---- what a model inherits -----------------------------------------------------------------------------------

    def serves(self, query: Query) -> npt.NDArray[np.bool_]:
        """bool [B], which questions this model can answer itself."""
        trained = self.trained_users.cpu().numpy()
        known = (query.users >= 0) & trained[np.maximum(query.users, 0)]
        told = np.asarray(query.history.lengths > 0)
        if self.reads == {"user", "history"} and self.serves_new_users:
            return np.asarray(known | told)  # the learnt vector of a trained person, the history of anybody else
        able = np.ones(len(query), bool)
        if "history" in self.reads:
            able &= told
        if "user" in self.reads:
            able &= known
        return able

    @torch.no_grad()
    def answer(self, query: Query) -> tuple[Tensor, npt.NDArray[np.bool_]]:
        """Scores for every question; popularity answers where the model cannot.

        Returns:
            Scores float32 [B, I] and bool [B], True where the model itself answered.
        """
        able = self.serves(query)
        scores = self.score(query)
        if not able.all():
            scores[torch.from_numpy(~able).to(scores.device)] = self.popularity.to(scores.dtype)
        return scores, able

    @classmethod
    def has_user_vectors(cls) -> bool:
        """Does the model represent people by vectors, stored or made from their histories?"""
        return any(getattr(cls, name) is not getattr(Recommender, name) for name in ("user_vectors", "query_vectors"))

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return self.popularity.device

    @property
    def n_parameters(self) -> int:
        """Trainable numbers."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)
