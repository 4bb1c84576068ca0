"""In-UCDS: each disadvantaged person's vector is drawn towards a cluster of advantaged people who are like them.

Source: Han et al., "In-processing User Constrained Dominant Sets for User-Oriented Fairness in Recommender Systems",
ACM MM 2023, arXiv:2309.01335; reproducibility companion arXiv:2503.23040.

Before training, the constrained dominant set of every disadvantaged person i is found among the advantaged people
(:mod:`rectitude.fairness.dominant_sets`). Each step adds λ Σ_i ‖p_i − stopgrad(Σ_j w_ij p_j)‖², p being the model's
user vectors: only the disadvantaged move, the advantaged are where they move to.

Departures: clusters come from training items alone and from α as the theory wants it (the released code counts the test
items too and its α binds nothing). The cluster's centre with the set's own weights takes the place of three uniform
distances; the two have the same gradient for equal weights, 1/3 of the released sum. The loss is a mean over the
disadvantaged people, so that λ means the same for any number of them: the released λ = 1e-5 is 3e-5 · n_d here, about
0.027 on its MovieLens; ``reduction = "sum"`` with 3e-5 is its own form.

In-Naive is the same with the k advantaged people who share most items, and only for the people of the batch: the
ablation of the dominant sets.

Cost: one more pass for user vectors a step (a propagation, where the model has a graph). Works on any model trained by
gradient that has user vectors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from rectitude.core.config import Settings
from rectitude.core.errors import ConfigError
from rectitude.data.dataset import Dataset
from rectitude.data.groups import ADVANTAGED, DISADVANTAGED, ActivityKey, Groups, activity_groups, default_key
from rectitude.fairness.dominant_sets import (
    Affinity,
    ClusterSolver,
    affinities,
    binary,
    largest_eigenvalue,
    user_clusters,
)
from rectitude.models.base import Recommender
from rectitude.models.query import Query
from rectitude.training.methods import ConfiguredMethod

if TYPE_CHECKING:
    from rectitude.training.trainer import Trainer


class FairnessConfig(Settings):
    """What In-UCDS and In-Naive share."""

    weight: float = Field(0.03, ge=0)
    """λ, of the fairness loss; 0 trains as without the method; usual range 1e-3 to 10, more for short vectors."""
    reduction: Literal["mean", "sum"] = "mean"
    """Mean or sum over people; the released code sums, so that its λ depends on how many there are."""
    k: int = Field(3, ge=1)
    """Advantaged people each disadvantaged one is drawn to; usual range 1 to 10."""
    share: float = Field(0.05, gt=0, lt=1)
    """Of the people that are called advantaged."""
    key: ActivityKey | Literal["auto"] = "auto"
    """Who is most active: train_value_sum (the published groups), train_count, or auto by what the data have."""
    stop_gradient: bool = True
    """Advantaged vectors are fixed targets; false lets them move too, which is for ablations."""


class InUCDSConfig(FairnessConfig):
    """Settings of In-UCDS."""

    affinity: Literal["cosine", "count", "jaccard", "embedding_cosine"] = "cosine"
    """How alike two people are: by their training items, or by the model's own vectors (begins with cosine)."""
    coefficient: float = Field(1.1, gt=1)
    """α over the largest eigenvalue among the advantaged; near 1: the same hubs for all, large: plain neighbours."""
    weights: Literal["cds", "uniform"] = "cds"
    """Weights within a cluster: those of the dominant set, or equal ones as in the released code."""
    neighbours: Literal["cds", "random"] = "cds"
    """Whom people are drawn to; random advantaged people are a control."""
    refresh: int = Field(10, ge=1)
    """Epochs between two computations of the clusters, for embedding_cosine only."""


class InNaiveConfig(FairnessConfig):
    """Settings of In-Naive."""


class _Drawn(ConfiguredMethod):
    """People of one group drawn to neighbours in another."""

    config: FairnessConfig

    def __init__(self, config: Settings, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        self.neighbours = torch.empty(0, 0, dtype=torch.int64)
        self.weights = torch.empty(0, 0)

    def on_start(self, trainer: Trainer) -> None:
        """Groups and neighbours, from the training events."""
        if not type(trainer.model).has_user_vectors():
            raise ConfigError(
                f"{trainer.model.title} has no user vectors to draw together",
                where=f"--method {self.name}",
                fix="Use a model that has: pmf, neumf, multvae, lightgcn, ngcf, bpr, …",
            )
        split = trainer.split
        key = default_key(split) if self.config.key == "auto" else self.config.key
        self.groups = activity_groups(split, share=self.config.share, key=key)
        self.people = self.groups.members(DISADVANTAGED)
        self.targets = self.groups.members(ADVANTAGED)
        self.train = split.train
        self.n_items = split.n_items
        self.device = trainer.device
        neighbours, weights = self.find(self.groups, trainer)
        self._hold(neighbours, weights)

    def find(self, groups: Groups, trainer: Trainer) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Positions among the advantaged people, int64 [n, k], and their weights, float32 [n, k]."""
        raise NotImplementedError

    def _hold(self, neighbours: npt.NDArray[np.int64], weights: npt.NDArray[np.float32]) -> None:
        self.neighbours = torch.from_numpy(neighbours).to(self.device)
        self.weights = torch.from_numpy(weights).to(self.device)

    def pull(self, vectors: Tensor, targets: Tensor, rows: Tensor) -> Tensor:
        """Squared distances to the clusters' centres.

        Args:
            vectors: float [n, d], of disadvantaged people.
            targets: float [a, d], of all advantaged ones.
            rows: int64 [n], which of the disadvantaged they are.

        Returns:
            Scalar: their mean or sum over people who have a cluster.
        """
        if self.config.stop_gradient:
            targets = targets.detach()
        weights = self.weights[rows]
        centre = F.embedding_bag(self.neighbours[rows], targets, mode="sum", per_sample_weights=weights)
        bound = weights.sum(1) > 0
        distance = (vectors - centre).square().sum(1) * bound
        if self.config.reduction == "sum":
            return distance.sum()
        return distance.sum() / bound.sum().clamp(min=1)

    def vectors(self, model: Recommender, users: npt.NDArray[np.int64]) -> Tensor:
        """float [n, d], with gradients."""
        return model.user_vectors(Query.of_users(users, self.train.take(users), self.device))


class InUCDS(_Drawn):
    """Draws every disadvantaged person to the constrained dominant set they belong to."""

    name: str = "in-ucds"
    title: ClassVar[str] = "In-UCDS"
    paper: ClassVar[str] = (
        "Han et al., In-processing User Constrained Dominant Sets for User-Oriented Fairness in Recommender Systems, "
        "ACM MM 2023, arXiv:2309.01335"
    )
    Config: ClassVar[type[Settings]] = InUCDSConfig
    config: InUCDSConfig

    def find(self, groups: Groups, trainer: Trainer) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Members of the constrained dominant sets."""
        k = min(self.config.k, len(self.targets))
        if self.config.neighbours == "random":
            generator = np.random.default_rng(trainer.seed)
            drawn = np.argsort(generator.random((len(self.people), len(self.targets))), axis=1)[:, :k]
            return drawn, np.full(drawn.shape, 1 / k, np.float32)
        kind: Affinity = "cosine" if self.config.affinity == "embedding_cosine" else self.config.affinity
        found = user_clusters(
            self.train,
            self.n_items,
            self.targets,
            self.people,
            affinity=kind,
            coefficient=self.config.coefficient,
            k=k,
        )
        place = np.full(len(self.train), -1, np.int64)
        place[self.targets] = np.arange(len(self.targets))
        return place[found.neighbours], self._weighted(found.weights)

    def _weighted(self, weights: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if self.config.weights == "cds":
            return weights
        inside = (weights > 0).astype(np.float32)
        return np.asarray(inside / np.maximum(inside.sum(1, keepdims=True), 1), np.float32)

    def extra_loss(self, batch: Any, model: Recommender) -> dict[str, Tensor]:
        """Term ``fairness``, over all disadvantaged people at every step."""
        if not self.config.weight:
            return {}
        both = self.vectors(model, np.concatenate([self.people, self.targets]))
        vectors, targets = both.split([len(self.people), len(self.targets)])
        rows = torch.arange(len(self.people), device=self.device)
        return {"fairness": self.config.weight * self.pull(vectors, targets, rows)}

    @torch.no_grad()
    def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> None:
        """Clusters from the model's own vectors, where these are the affinity."""
        if self.config.affinity != "embedding_cosine" or trainer.epoch % self.config.refresh:
            return
        trainer.model.train()
        both = F.normalize(self.vectors(trainer.model, np.concatenate([self.people, self.targets]))).cpu()
        vectors, targets = both.split([len(self.people), len(self.targets)])
        block = (targets @ targets.T).clamp(min=0).fill_diagonal_(0.0).numpy()
        solver = ClusterSolver(block, self.config.coefficient * max(largest_eigenvalue(block), 1e-6))
        near = (vectors @ targets.T).clamp(min=0).numpy()
        neighbours, weights = solver.heaviest(near, self.neighbours.shape[1])
        self._hold(neighbours, self._weighted(weights))

    def state(self) -> dict[str, Tensor]:
        """The clusters: with embedding_cosine they follow from vectors that are gone."""
        return {"neighbours": self.neighbours, "weights": self.weights}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on with the clusters there were."""
        self.neighbours, self.weights = state["neighbours"].to(self.device), state["weights"].to(self.device)


class InNaive(_Drawn):
    """Draws the disadvantaged people of a batch to the advantaged ones who share most items with them."""

    name: str = "in-naive"
    title: ClassVar[str] = "In-Naive"
    paper: ClassVar[str] = "The ablation of In-UCDS without dominant sets, arXiv:2309.01335 and its released code"
    Config: ClassVar[type[Settings]] = InNaiveConfig
    config: InNaiveConfig

    def find(self, groups: Groups, trainer: Trainer) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """The k advantaged people with most shared training items, equally weighted."""
        rows = binary(self.train, self.n_items)
        shared = affinities(rows[self.people], rows[self.targets], "count")
        k = min(self.config.k, len(self.targets))
        chosen = np.argsort(-shared, axis=1, kind="stable")[:, :k]
        counts = np.take_along_axis(shared, chosen, 1) > 0
        return chosen, np.asarray(counts / np.maximum(counts.sum(1, keepdims=True), 1), np.float32)

    def on_start(self, trainer: Trainer) -> None:
        """Groups and neighbours, and where each person stands among the disadvantaged."""
        super().on_start(trainer)
        place = np.full(len(self.train), -1, np.int64)
        place[self.people] = np.arange(len(self.people))
        self.place = place

    def extra_loss(self, batch: Any, model: Recommender) -> dict[str, Tensor]:
        """Term ``fairness``, over the disadvantaged people of the batch, as often as they occur in it."""
        if not self.config.weight:
            return {}
        users = batch.users.cpu().numpy()
        rows = self.place[users]
        users, rows = users[rows >= 0], rows[rows >= 0]
        if not len(users):
            return {}
        both = self.vectors(model, np.concatenate([users, self.targets]))
        vectors, targets = both.split([len(users), len(self.targets)])
        pulled = self.pull(vectors, targets, torch.from_numpy(rows).to(self.device))
        return {"fairness": self.config.weight * pulled}
