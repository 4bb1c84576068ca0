"""What every model trained by gradient owes the Trainer, and the Trainer owes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import Optimizer

from rectitude.data.dataset import Dataset
from rectitude.data.split import Split
from rectitude.evaluation.evaluator import evaluate_fold
from rectitude.models.base import Recommender
from rectitude.models.registry import model_class
from rectitude.models.sequential.sasrec import SequentialRecommender
from rectitude.training.methods import Method
from rectitude.training.trainer import Trainer

TIMES = {"seconds", "cpu_seconds", "targets_per_cpu_second"}


def same(one: Recommender, other: Recommender) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in one.state_dict().items())


def untimed(curve: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if name not in TIMES} for row in curve]


# ---- the model's side ----------------------------------------------------------------------------------------------


def test_a_loss_is_named_finite_terms_whose_gradient_reaches_every_parameter(
    learner: str, fresh: Any, divided: Split, tiny: Dataset
) -> None:
    model = fresh(learner, dropout=0.0).train()
    model.prepare(divided.train, tiny.content)
    reached: dict[str, Tensor] = {}
    for batch in model.batches(divided.train).epoch(torch.Generator().manual_seed(0)):
        assert batch.n_targets > 0
        terms = model.loss(batch)
        assert terms
        for value in terms.values():
            assert value.shape == ()
            assert torch.isfinite(value)
        model.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
            reached[name] = reached.get(name, torch.zeros(())) + parameter.grad.abs()
    assert [name for name, total in reached.items() if not total.any()] == []


def test_a_loss_may_be_asked_for_twice(learner: str, fresh: Any, divided: Split, tiny: Dataset) -> None:
    model = fresh(learner).train()
    model.prepare(divided.train, tiny.content)
    batch = next(iter(model.batches(divided.train).epoch(torch.Generator().manual_seed(0))))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    values = []
    for _ in range(2):
        torch.manual_seed(0)
        values.append({name: float(value.detach()) for name, value in model.loss(batch).items()})
    assert values[0] == values[1]
    assert [name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])] == []


def test_the_parts_of_a_batch_are_losses_too(learner: str, fresh: Any, divided: Split, tiny: Dataset) -> None:
    model = fresh(learner, dropout=0.0)
    model.prepare(divided.train, tiny.content)
    batch = next(iter(model.batches(divided.train).epoch(torch.Generator().manual_seed(0))))
    parts = [batch.part(index, 2) for index in range(2)]
    assert sum(part.n_targets for part in parts) == batch.n_targets
    for part in parts:
        assert all(torch.isfinite(value) for value in model.loss(part.to(torch.device("cpu"))).values())


def test_causal_states_read_no_later_item(learner: str, fresh: Any, divided: Split) -> None:
    model = fresh(learner, dropout=0.0).eval()
    if not (isinstance(model, SequentialRecommender) and model.causal):
        pytest.skip(f"{model.title} has no causal states")
    length = model.config.max_length
    inputs = torch.arange(length)[None]
    with torch.no_grad():
        states = model.states(inputs)
        for place in range(1, length):
            changed = inputs.clone()
            changed[0, place] = model.n_items - 1
            assert torch.equal(model.states(changed)[0, :place], states[0, :place])
    for place in range(length):
        (gradient,) = torch.autograd.grad(model.states(inputs)[0, place].square().sum(), model.items.weight)
        assert gradient[: place + 1].any(1).all()
        assert not gradient[place + 1 :].any()


def test_padding_changes_no_state(learner: str, fresh: Any) -> None:
    model = fresh(learner).eval()
    if not isinstance(model, SequentialRecommender):
        pytest.skip(f"{model.title} reads no sequences")
    inputs = torch.arange(5)[None]
    padded = torch.nn.functional.pad(inputs, (0, 4), value=model.n_items)
    torch.testing.assert_close(model.states(padded)[:, :5], model.states(inputs), rtol=1e-5, atol=1e-6)


# ---- the Trainer's side --------------------------------------------------------------------------------------------


def test_training_lowers_the_loss(learner: str, train: Any) -> None:
    curve = train(learner, epochs=8).result.curve
    assert curve[-1]["loss"] < curve[0]["loss"]


def test_four_epochs_are_two_and_a_resumed_two(learner: str, train: Any, tmp_path: Path) -> None:
    whole = train(learner, epochs=4)
    kept = {"checkpoint": tmp_path / "state.safetensors", "identity": {"model": learner}}
    train(learner, epochs=2, trainer=kept)
    resumed = train(learner, epochs=4, trainer={**kept, "resume": True})
    assert same(whole.model, resumed.model)
    assert untimed(whole.result.curve) == untimed(resumed.result.curve)
    assert whole.result.best_epoch == resumed.result.best_epoch
    assert whole.result.stopped == resumed.result.stopped


def test_a_method_that_does_nothing_changes_no_bit(learner: str, train: Any) -> None:
    alone = train(learner, epochs=2)
    accompanied = train(learner, epochs=2, trainer={"methods": [Method(), Method()]})
    assert same(alone.model, accompanied.model)
    assert untimed(alone.result.curve) == untimed(accompanied.result.curve)


class Recorder(Method):
    """Writes down what it is called with."""

    name = "recorder"

    def __init__(self) -> None:
        self.events: list[str] = []

    def on_start(self, trainer: Trainer) -> None:
        assert trainer.epoch == 0
        assert trainer.model.popularity.any()  # prepared
        self.events.append("start")

    def extra_loss(self, batch: Any, model: Recommender) -> dict[str, Tensor]:
        assert batch.n_targets > 0
        self.events.append("loss")
        return {"size": 0.0 * sum(p.square().sum() for p in model.parameters())}

    def step(self, closure: Callable[[], Tensor], optimizer: Optimizer) -> bool:
        self.events.append("step")
        return False

    def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> None:
        assert row["epoch"] == trainer.epoch
        assert "valid_ndcg@10" in row
        row["recorded"] = float(trainer.epoch)
        self.events.append("epoch")


def test_events_come_in_order_and_may_add_to_loss_and_curve(learner: str, train: Any) -> None:
    recorder = Recorder()
    curve = train(learner, epochs=2, trainer={"methods": [recorder]}).result.curve
    events = recorder.events
    assert events[0] == "start"
    n_steps = events.count("step")
    assert n_steps == events.count("loss")
    assert [event for event in events if event == "epoch"] == ["epoch"] * 2
    assert events[-1] == "epoch"
    steps = [event for event in events if event in ("step", "loss")]
    assert steps == ["step", "loss"] * n_steps
    assert [row["recorded"] for row in curve] == [1.0, 2.0]
    assert all(row["size"] == 0.0 for row in curve)
    model_terms = [row[name] for row in curve[:1] for name in row if name not in {*TIMES, "epoch", "loss", "size"}]
    assert model_terms


class TwoSteps(Method):
    """Sharpness-aware in shape: gradient, climb, gradient there, descend."""

    name = "two-steps"

    def __init__(self, radius: float) -> None:
        self.radius, self.losses = radius, []

    def step(self, closure: Callable[[], Tensor], optimizer: Optimizer) -> bool:
        randomness = torch.get_rng_state()
        first = closure()
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        norm = torch.stack([p.grad.norm() for p in parameters]).norm()
        climbs = [p.grad * (self.radius / norm) for p in parameters]
        with torch.no_grad():
            torch._foreach_add_(parameters, climbs)
        torch.set_rng_state(randomness)
        second = closure()
        with torch.no_grad():
            torch._foreach_sub_(parameters, climbs)
        optimizer.step()
        self.losses.append((float(first.detach()), float(second.detach())))
        return True


def test_a_method_may_take_the_step_itself(learner: str, train: Any) -> None:
    still, moved = TwoSteps(0.0), TwoSteps(0.05)
    plain = train(learner, epochs=2, dropout=0.0)
    again = train(learner, epochs=2, dropout=0.0, trainer={"methods": [still]})
    sharp = train(learner, epochs=2, dropout=0.0, trainer={"methods": [moved]})
    assert same(plain.model, again.model)  # climbing by nothing is the plain step
    assert not same(plain.model, sharp.model)
    assert all(first == second for first, second in still.losses)
    assert sum(second > first for first, second in moved.losses) > 0.9 * len(moved.losses)


def test_the_best_parameters_are_kept(learner: str, fresh: Any, divided: Split, tiny: Dataset, tmp_path: Path) -> None:
    class Spoil(Method):
        """Makes the model worse from the third epoch on."""

        def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> None:
            if trainer.epoch >= 2:
                with torch.no_grad():
                    for parameter in trainer.model.parameters():
                        parameter.mul_(-1.0) if trainer.epoch == 2 else parameter.normal_()

    model = fresh(learner, epochs=30, patience=3)
    result = Trainer(model, divided, content=tiny.content, methods=[Spoil()], progress=False).train()
    values = [row["valid_ndcg@10"] for row in result.curve]
    assert result.stopped == "patience"
    assert result.best_epoch == 1 + max(range(len(values)), key=values.__getitem__)
    assert len(values) == result.best_epoch + 3
    assert evaluate_fold(model, divided.valid).mean("ndcg@10") == pytest.approx(max(values), abs=1e-12)


def test_validations_may_be_rare(learner: str, train: Any) -> None:
    result = train(learner, epochs=3, validate_every=2).result
    assert ["valid_ndcg@10" in row for row in result.curve] == [False, True, True]  # the last epoch always


def test_learners_are_those_that_have_epochs(learner: str) -> None:
    assert {"epochs", "patience", "learning_rate"} <= set(model_class(learner).Config.model_fields)
