"""Every registered model runs through the battery by being registered: nothing here names one.

A test that takes ``recommender`` runs once per registered model, one that takes ``learner`` once per model trained by
gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from rectitude.core.errors import MissingExtraError
from rectitude.data.dataset import Dataset
from rectitude.data.split import Split, split
from rectitude.models.base import Recommender
from rectitude.models.registry import model_class, model_names
from rectitude.training.trainer import Trainer, TrainingResult
from rectitude.training.tuning import new_model

SMALL: dict[str, Any] = {
    "n_factors": 16,
    "n_hidden": 32,
    "n_latent": 16,
    "n_content": 8,
    "n_clusters": 4,
    "n_diffusion": 10,
    "n_blocks": 1,
    "max_length": 12,
    "batch_size": 32,
    "n_negatives": 20,
    "learning_rate": 0.01,
    "epochs": 4,
}
"""Settings for small data; each model takes those it has."""

ENOUGH = {"epochs": 60, "patience": 60, "validate_every": 30}
"""To learn what is planted."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "recommender" in metafunc.fixturenames:
        metafunc.parametrize("recommender", model_names())
    if "learner" in metafunc.fixturenames:
        learners = [name for name in model_names() if model_class(name).trained_by == "gradient"]
        metafunc.parametrize("learner", learners)


def settings_of(name: str, values: dict[str, Any]) -> dict[str, Any]:
    """What of ``values`` the model has a setting for."""
    fields = model_class(name).Config.model_fields
    return {key: value for key, value in values.items() if key in fields}


@dataclass(frozen=True)
class Trained:
    model: Recommender
    result: TrainingResult


Fresh = Callable[..., Recommender]
Train = Callable[..., Trained]


@pytest.fixture(scope="session")
def divided(tiny: Dataset) -> Split:
    """The planted data, leave-one-out, without a test fold."""
    return split(tiny).development()


@pytest.fixture(scope="session")
def fresh(divided: Split) -> Fresh:
    """``fresh(name, seed=0, **settings)``: a small untrained model."""

    def make(name: str, seed: int = 0, **values: Any) -> Recommender:
        return new_model(name, settings_of(name, SMALL | values), divided, seed)

    return make


@pytest.fixture(scope="session")
def train(divided: Split, fresh: Fresh, tiny: Dataset) -> Train:
    """``train(name, seed=0, trainer={…}, **settings)``: a small trained model."""

    def run(name: str, seed: int = 0, trainer: dict[str, Any] | None = None, **values: Any) -> Trained:
        model = fresh(name, seed, **values)
        torch.manual_seed(12345)  # nothing may depend on what was drawn before
        try:
            result = Trainer(model, divided, seed=seed, content=tiny.content, progress=False, **(trainer or {})).train()
        except MissingExtraError as error:
            pytest.skip(str(error))
        return Trained(model, result)

    return run


@pytest.fixture(scope="session")
def ready(train: Train) -> Callable[[str], Recommender]:
    """``ready(name)``: a model that has learnt the planted data, trained once and not to be changed."""
    kept: dict[str, Recommender] = {}

    def find(name: str) -> Recommender:
        if name not in kept:
            kept[name] = train(name, **ENOUGH).model
        return kept[name]

    return find
