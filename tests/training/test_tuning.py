from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from pydantic import Field

from rectitude.core.errors import ConfigError, MissingExtraError
from rectitude.data.dataset import Dataset
from rectitude.data.histories import Histories
from rectitude.data.split import Split, split
from rectitude.evaluation.evaluator import evaluate_fold
from rectitude.models import registry
from rectitude.models.base import Choice, ModelConfig, Range, Recommender
from rectitude.models.query import Query
from rectitude.training.tuning import new_model, tune

pytest.importorskip("optuna")


class StepsConfig(ModelConfig):
    """A setting with one right value, one that does not matter, and one that is not searched."""

    search: ClassVar[dict[str, Range | Choice]] = {
        "stride": Range(-2, 6),
        "flavour": Choice(("sweet", "sour")),
        "noise": Range(1e-4, 1e-2, log=True),
    }

    stride: int = 5
    """Steps ahead on the ring."""
    flavour: str = "sweet"
    """Of no consequence."""
    noise: float = Field(1e-3, gt=0)
    """Of no consequence either."""
    untouched: int = 3
    """Not searched."""


class Steps(Recommender):
    """Recommends the items from ``stride`` steps after the last one on: right at 1 where people take small steps."""

    name = title = paper = "steps"
    Config: ClassVar[type[ModelConfig]] = StepsConfig
    reads: ClassVar[frozenset[str]] = frozenset({"history"})
    serves_new_users = True
    trained_by = "fit"
    made: ClassVar[list[Recommender]] = []

    def fit(self, train: Histories, generator: torch.Generator) -> None:
        self.made.append(self)

    def score(self, query: Query) -> torch.Tensor:
        last = query.history.items[query.history.offsets[1:] - 1]
        after = (np.arange(self.n_items) - last[:, None] - self.config.stride) % self.n_items
        return torch.from_numpy(-after.astype(np.float32))


@pytest.fixture(autouse=True)
def steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._OURS, "steps", f"{__name__}:Steps")
    monkeypatch.setattr(Steps, "made", [])


@pytest.fixture(scope="module")
def divided(tiny: Dataset) -> Split:
    return split(tiny)


def test_the_planted_setting_is_found(tiny: Dataset, divided: Split) -> None:
    told: list[tuple[int, dict[str, Any], float]] = []
    found = tune(tiny, divided, "steps", n_trials=15, report=lambda *trial: told.append(trial))
    assert found["best"]["stride"] in (0, 1)  # what is seen is left out, so both rank the next step first
    assert found["best"].keys() == {"stride", "flavour", "noise"}
    assert found["metric"] == "ndcg@10"
    assert found["value"] == max(trial["value"] for trial in found["trials"])
    assert len(found["trials"]) == 15
    assert [trial["number"] for trial in found["trials"]] == [number for number, _, _ in told] == list(range(15))
    assert [trial["settings"] for trial in found["trials"]] == [settings for _, settings, _ in told]
    for trial in found["trials"]:
        assert -2 <= trial["settings"]["stride"] <= 6
        assert trial["settings"]["flavour"] in ("sweet", "sour")
        assert 1e-4 <= trial["settings"]["noise"] <= 1e-2


def test_the_defaults_are_tried_first(tiny: Dataset, divided: Split) -> None:
    assert tune(tiny, divided, "steps", n_trials=1)["best"]["stride"] == Steps.Config().stride


def test_values_are_those_of_the_validation_fold(tiny: Dataset, divided: Split) -> None:
    found = tune(tiny, divided, "steps", n_trials=3, metric="recall@2")
    for trial in found["trials"]:
        model = new_model("steps", trial["settings"], divided, seed=0)
        model.prepare(divided.train)
        assert trial["value"] == evaluate_fold(model, divided.valid, ks=(2,)).mean("recall@2")


def test_the_test_fold_is_out_of_reach(tiny: Dataset, divided: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    given = []

    def spy(model: Recommender, fold: Any, **options: Any) -> Any:
        given.append(fold)
        return evaluate_fold(model, fold, **options)

    monkeypatch.setattr("rectitude.training.tuning.evaluate_fold", spy)
    tune(tiny, divided, "steps", n_trials=2)
    assert all(fold is divided.valid for fold in given)
    assert len(given) == 2


def test_given_settings_are_held_and_not_searched(tiny: Dataset, divided: Split) -> None:
    found = tune(tiny, divided, "steps", n_trials=3, settings={"stride": 4, "untouched": 5})
    assert all(trial["settings"]["stride"] == 4 for trial in found["trials"])
    assert all(model.config.untouched == 5 for model in Steps.made)


def test_the_same_seed_searches_the_same(tiny: Dataset, divided: Split) -> None:
    one, same, other = (tune(tiny, divided, "steps", n_trials=4, seed=seed)["trials"] for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_a_kept_search_goes_on(tiny: Dataset, divided: Split, tmp_path: Any) -> None:
    storage = f"sqlite:///{tmp_path / 'tune.db'}"
    begun = tune(tiny, divided, "steps", n_trials=2, storage=storage)["trials"]
    trials = tune(tiny, divided, "steps", n_trials=2, storage=storage)["trials"]
    assert trials[:2] == begun
    noises = [trial["settings"]["noise"] for trial in trials]
    assert len(set(noises)) == 4  # none is tried again
    apart = tune(tiny, divided, "steps", n_trials=1, storage=storage, settings={"stride": 1})
    assert len(apart["trials"]) == 1  # another search


def test_nothing_to_search_and_no_such_metric_are_refused(tiny: Dataset, divided: Split) -> None:
    with pytest.raises(ConfigError, match="'popularity' has no setting left to search"):
        tune(tiny, divided, "popularity")
    with pytest.raises(ConfigError, match="no setting left"):
        tune(tiny, divided, "steps", settings={"stride": 1, "flavour": "sour", "noise": 0.001})
    with pytest.raises(ConfigError, match="'gini@10' cannot be maximised"):
        tune(tiny, divided, "steps", metric="gini@10")


def test_without_optuna_the_extra_is_named(tiny: Dataset, divided: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"optuna.*rectitude\[tune\]"):
        tune(tiny, divided, "steps")


def test_first_parameters_follow_from_the_seed_alone(divided: Split) -> None:
    models = []
    for noise, seed in ((1, 5), (2, 5), (3, 6)):
        torch.manual_seed(noise)
        models.append(new_model("bpr", {"n_factors": 4}, divided, seed))
    assert torch.equal(models[0].items.weight, models[1].items.weight)
    assert not torch.equal(models[0].items.weight, models[2].items.weight)
    with pytest.raises(ConfigError, match=r"Unknown setting 'n_factor'.*\(here\)\. Did you mean 'n_factors'\?"):
        new_model("bpr", {"n_factor": 4}, divided, 0, where="here")
