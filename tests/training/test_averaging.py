from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rectitude.data.dataset import Dataset
from rectitude.data.histories import Histories
from rectitude.data.split import Fold, Split, split
from rectitude.models.base import Recommender
from rectitude.training.methods import Method
from rectitude.training.trainer import Trainer
from rectitude.training.tuning import new_model

SMALL = {"n_factors": 8, "n_blocks": 1, "max_length": 10, "batch_size": 32, "n_negatives": 10, "epochs": 3}


class Diary(Method):
    """Every step's parameters."""

    name = "diary"

    def __init__(self) -> None:
        self.pages: list[Tensor] = []

    def on_start(self, trainer: Trainer) -> None:
        self.on_step_end(trainer.model)

    def on_step_end(self, model: Recommender) -> None:
        self.pages.append(torch.cat([value.detach().flatten() for value in model.parameters()]))


@pytest.fixture(scope="module")
def divided(tiny: Dataset) -> Split:
    return split(tiny).development()


@pytest.fixture(scope="module")
def unasked(divided: Split) -> Split:
    """The same without a validation fold."""
    nobody = Fold(np.empty(0, np.int32), Histories.from_rows([]), Histories.from_rows([]))
    return Split(divided.config, divided.train, nobody, divided.known, divided.n_items)


def trained(divided: Split, trainer: dict[str, Any] | None = None, **values: Any) -> Trainer:
    model = new_model("sasrec", SMALL | values, divided, seed=0)
    made = Trainer(model, divided, progress=False, **(trainer or {}))
    made.train()
    return made


def parameters(trainer: Trainer) -> Tensor:
    return torch.cat([value.detach().flatten() for value in trainer.model.parameters()])


@pytest.mark.parametrize("decay", [0.5, 0.95])
def test_what_is_kept_is_the_mean_by_its_recursion(unasked: Split, decay: float) -> None:
    diary = Diary()
    kept = parameters(trained(unasked, {"methods": [diary]}, averaging=decay))
    mean = diary.pages[0]
    for step, page in enumerate(diary.pages[1:], 1):
        share = min(decay, (1 + step) / (10 + step))
        mean = share * mean + (1 - share) * page
    torch.testing.assert_close(kept, mean)
    assert not torch.allclose(kept, diary.pages[-1])


def test_training_itself_is_not_touched(divided: Split) -> None:
    with_mean, without = trained(divided, averaging=0.9), trained(divided)
    losses = [[row["loss"] for row in made._result.curve] for made in (with_mean, without)]
    assert losses[0] == losses[1]
    valid = [[row["valid_ndcg@10"] for row in made._result.curve] for made in (with_mean, without)]
    assert valid[0] != valid[1]


def test_a_mean_is_resumed_bit_for_bit(divided: Split, tmp_path: Path) -> None:
    whole = trained(divided, averaging=0.9, epochs=4)
    kept = {"checkpoint": tmp_path / "state.safetensors"}
    trained(divided, kept, averaging=0.9, epochs=2)
    resumed = trained(divided, {**kept, "resume": True}, averaging=0.9, epochs=4)
    assert torch.equal(parameters(whole), parameters(resumed))
    curves = [[row["valid_ndcg@10"] for row in made._result.curve] for made in (whole, resumed)]
    assert curves[0] == curves[1]
