from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rectitude.core.errors import CheckpointError, ConfigError, DataError, RectitudeError, SealedFoldError
from rectitude.data.dataset import Dataset
from rectitude.data.histories import Histories
from rectitude.data.split import Fold, Split, SplitConfig, split
from rectitude.models.base import Recommender
from rectitude.training.methods import Method
from rectitude.training.trainer import Trainer, cut_off, pick_device, seeded
from rectitude.training.tuning import new_model

SMALL = {"n_factors": 8, "n_blocks": 1, "max_length": 10, "batch_size": 32, "n_negatives": 10, "epochs": 2}


@pytest.fixture(scope="module")
def divided(tiny: Dataset) -> Split:
    return split(tiny)


def fresh(divided: Split, **values: Any) -> Recommender:
    return new_model("sasrec", SMALL | values, divided, seed=0)


def trained(divided: Split, trainer: dict[str, Any] | None = None, **values: Any) -> Trainer:
    made = Trainer(fresh(divided, **values), divided.development(), progress=False, **(trainer or {}))
    made.train()
    return made


# ---- what is not a number, or not there ----------------------------------------------------------------------------


class Poison(Method):
    """Makes the loss infinite or not a number from some batch on."""

    def __init__(self, value: float, after: int) -> None:
        self.value, self.after = value, after

    def extra_loss(self, batch: Any, model: Recommender) -> dict[str, Tensor]:
        self.after -= 1
        return {"poison": torch.full((), self.value if self.after < 0 else 0.0, requires_grad=True)}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_training_and_says_which(divided: Split, value: float) -> None:
    with pytest.raises(
        RectitudeError, match=r"The loss 'poison' is no longer a number \(epoch 2, by batch 2\).*learning"
    ):
        trained(divided, {"methods": [Poison(value, after=3)]}, epochs=3, max_length=20)


def test_a_loss_is_looked_at_within_long_epochs_too(divided: Split) -> None:
    with pytest.raises(RectitudeError, match="epoch 1, by batch 50"):
        trained(divided, {"methods": [Poison(math.nan, after=10)]}, batch_size=1)


def test_data_with_nothing_to_learn_from_is_refused() -> None:
    train = Histories.from_rows([[1], [2], [0]])  # a sequence of one event has no next item
    asked = Fold(np.array([0], np.int32), Histories.from_rows([[1]]), Histories.from_rows([[2]]))
    divided = Split(SplitConfig(), train, asked, train, n_items=3)
    with pytest.raises(DataError, match=r"nothing that SASRec could learn from.*longer histories"):
        Trainer(fresh(divided), divided, progress=False).train()


@pytest.mark.parametrize("metric", ["ndcg", "ndcg@", "ndcg@0", "ndcg@ten", "gini@10", "loss"])
def test_only_an_accuracy_metric_can_steer(divided: Split, metric: str) -> None:
    with pytest.raises(ConfigError, match=f"'{metric}' cannot be maximised on the validation fold"):
        Trainer(fresh(divided), divided.development(), metric=metric)


def test_a_misspelt_metric_is_guessed() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'ndcg@5'"):
        cut_off("ndgc@5")
    assert cut_off("recall@20") == 20


@pytest.mark.parametrize("name", ["gpu!", "cuda:0"])
def test_a_device_that_is_not_there_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"no device|no GPU"):
        pick_device(name)
    assert pick_device() == torch.device("cpu")


# ---- what training leaves as it was --------------------------------------------------------------------------------


def test_seeded_gives_random_numbers_back_as_they_were() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    with seeded(7, torch.device("cpu")):
        inside = torch.rand(4)
    assert torch.equal(torch.rand(4), expected)
    with seeded(7, torch.device("cpu")):
        assert torch.equal(torch.rand(4), inside)


def test_training_leaves_no_trace_in_torch(divided: Split) -> None:
    before, state = torch.get_float32_matmul_precision(), torch.get_rng_state()
    trained(divided)
    with pytest.raises(RectitudeError):
        trained(divided, {"methods": [Poison(math.nan, after=0)]})
    assert torch.get_float32_matmul_precision() == before
    assert torch.equal(torch.get_rng_state(), state)


def test_the_test_fold_is_not_there_to_be_looked_at(divided: Split) -> None:
    seen = []

    class Peeper(Method):
        def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> None:
            with trainer.split.opened(), pytest.raises(SealedFoldError):
                seen.append(trainer.split.test)
            seen.append("tried")

    trained(divided, {"methods": [Peeper()]})
    assert seen == ["tried"] * 2


def test_without_a_validation_fold_all_epochs_are_run(divided: Split) -> None:
    empty = Fold(np.empty(0, np.int32), Histories.from_rows([]), Histories.from_rows([]))
    part = Split(divided.config, divided.train, empty, divided.known, divided.n_items)
    trainer = Trainer(fresh(part, patience=1, epochs=3), part, progress=False)
    result = trainer.train()
    assert (len(result.curve), result.best_epoch, result.stopped) == (3, None, "epochs")


def test_early_stopping_watches_the_metric_it_is_told(divided: Split) -> None:
    result = Trainer(fresh(divided), divided.development(), metric="recall@3", progress=False).train()
    values = [row["valid_recall@3"] for row in result.curve]
    assert result.best_epoch == 1 + values.index(max(values))


def test_the_curve_tells_what_an_epoch_cost(divided: Split) -> None:
    row = trained(divided)._result.curve[-1]
    assert row.keys() == {
        "epoch",
        "loss",
        "seconds",
        "cpu_seconds",
        "targets_per_cpu_second",
        "valid_ndcg@10",
    }
    assert row["epoch"] == 2


# ---- stopping and going on -----------------------------------------------------------------------------------------


class Counter(Method):
    """Keeps a number in checkpoints."""

    name = "counter"

    def __init__(self) -> None:
        self.count = 0

    def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> None:
        self.count += 1

    def state(self) -> dict[str, Tensor]:
        return {"count": torch.tensor(self.count)}

    def load_state(self, state: dict[str, Tensor]) -> None:
        self.count = int(state["count"])


def test_methods_are_resumed_too(divided: Split, tmp_path: Path) -> None:
    kept = {"checkpoint": tmp_path / "state.safetensors"}
    trained(divided, {"methods": [Counter()], **kept}, epochs=2)
    counter = Counter()
    trained(divided, {"methods": [counter], "resume": True, **kept}, epochs=3)
    assert counter.count == 3


def test_patience_is_resumed_and_a_stopped_training_stays_stopped(divided: Split, tmp_path: Path) -> None:
    class Worse(Method):
        def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> None:
            with torch.no_grad():
                for parameter in trainer.model.parameters():
                    parameter.zero_()

    kept = {"checkpoint": tmp_path / "state.safetensors", "methods": [Worse()]}
    values = {"patience": 3, "epochs": 2, "learning_rate": 1e-9}
    trained(divided, kept, **values)
    resumed = trained(divided, {**kept, "resume": True}, **values | {"epochs": 50})._result
    assert resumed.stopped == "patience"
    assert len(resumed.curve) == resumed.best_epoch + 3
    again = trained(divided, {**kept, "resume": True}, **values | {"epochs": 50})._result
    assert again.curve == resumed.curve
    assert again.stopped == "patience"


def test_resuming_without_a_checkpoint_begins(divided: Split, tmp_path: Path) -> None:
    trainer = trained(divided, {"checkpoint": tmp_path / "state.safetensors", "resume": True})
    assert len(trainer._result.curve) == 2
    assert (tmp_path / "state.safetensors").exists()


def test_a_checkpoint_of_another_shape_is_refused_and_left_alone(divided: Split, tmp_path: Path) -> None:
    kept = {"checkpoint": tmp_path / "state.safetensors"}
    trained(divided, kept)
    before = kept["checkpoint"].read_bytes()
    with pytest.raises(CheckpointError, match=r"does not fit SASRec: size mismatch for items\.weight"):
        trained(divided, {**kept, "resume": True}, n_factors=16)
    assert kept["checkpoint"].read_bytes() == before
