"""In-UCDS and its rivals as training methods, on every backbone the comparison is about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rectitude
from rectitude.core.errors import ConfigError
from rectitude.data.dataset import Dataset
from rectitude.data.split import Split, split
from rectitude.models.base import Recommender
from rectitude.training.registry import method_class, method_names, new_method, parted
from rectitude.training.trainer import Trainer
from rectitude.training.tuning import new_model

BACKBONES = ("pmf", "neumf", "multvae", "lightgcn", "ngcf", "bpr")
RIVALS = ("in-ucds", "in-naive", "s-dro")
SMALL = {"n_factors": 8, "batch_size": 64, "learning_rate": 0.01, "epochs": 3}


@pytest.fixture(scope="module")
def divided(tiny: Dataset) -> Split:
    return split(tiny).development()


def trained(
    tiny: Dataset, divided: Split, backbone: str, method: str | None = None, epochs: int = 3, **settings: Any
) -> tuple[Recommender, Any, Any]:
    fields = {"n_hidden": 16, "dropout": 0.0} if backbone == "multvae" else {}
    model = new_model(backbone, SMALL | fields | {"epochs": epochs}, divided, seed=1)
    plugs = [new_method(method, {"share": 0.1} | settings, tiny)] if method else []
    result = Trainer(model, divided, seed=1, methods=plugs, progress=False).train()
    return model, result, plugs[0] if plugs else None


def same(one: Recommender, other: Recommender) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in one.state_dict().items())


@pytest.mark.parametrize("backbone", BACKBONES)
def test_without_weight_training_is_the_original_bit_for_bit(backbone: str, tiny: Dataset, divided: Split) -> None:
    plain, *_ = trained(tiny, divided, backbone)
    for method, off in (("in-ucds", {"weight": 0}), ("in-naive", {"weight": 0}), ("s-dro", {"step": 0})):
        assert same(plain, trained(tiny, divided, backbone, method, **off)[0]), method


@pytest.mark.parametrize("backbone", BACKBONES)
def test_people_are_drawn_to_their_clusters(backbone: str, tiny: Dataset, divided: Split) -> None:
    def distance(model: Recommender, method: Any) -> float:
        model.eval()
        with torch.no_grad():
            vectors = method.vectors(model, np.concatenate([method.people, method.targets]))
            people, targets = vectors.split([len(method.people), len(method.targets)])
            spread = (vectors - vectors.mean(0)).square().sum(1).mean()
            return float(method.pull(people, targets, torch.arange(len(people))) / spread)

    # An encoder moves the targets along with everybody: there the pull is stable only with its gradient let through.
    how = {"multvae": {"weight": 0.3, "stop_gradient": False}, "lightgcn": {"weight": 30.0}}.get(
        backbone, {"weight": 3.0}
    )
    plain, *_ = trained(tiny, divided, backbone, epochs=8)
    fair, result, method = trained(tiny, divided, backbone, "in-ucds", epochs=8, **how)
    assert distance(fair, method) < 0.9 * distance(plain, method)
    assert all("fairness" in row for row in result.curve)


@pytest.mark.parametrize("method", RIVALS)
@pytest.mark.parametrize("backbone", ["pmf", "multvae", "lightgcn", "sasrec"])
def test_rivals_train_on_any_model_with_user_vectors(method: str, backbone: str, tiny: Dataset, divided: Split) -> None:
    _, result, _ = trained(tiny, divided, backbone, method, epochs=2)
    term = "robust" if method == "s-dro" else "fairness"
    assert all(np.isfinite(row.get(term, 0.0)) for row in result.curve)


@pytest.mark.parametrize("method", RIVALS)
def test_four_epochs_are_two_and_a_resumed_two(method: str, tiny: Dataset, divided: Split, tmp_path: Path) -> None:
    def run(epochs: int, **kept: Any) -> Recommender:
        model = new_model("pmf", SMALL | {"epochs": epochs}, divided, seed=1)
        settings = {"affinity": "embedding_cosine", "refresh": 1} if method == "in-ucds" else {}
        plug = new_method(method, {"share": 0.1} | settings, tiny)
        Trainer(model, divided, seed=1, methods=[plug], progress=False, **kept).train()
        return model

    whole = run(4)
    state = {"checkpoint": tmp_path / "state.safetensors"}
    run(2, **state)
    assert same(whole, run(4, **state, resume=True))


def test_only_the_disadvantaged_move_unless_the_gradient_is_let_through(tiny: Dataset, divided: Split) -> None:
    for through in (False, True):
        model = new_model("pmf", SMALL, divided, seed=1)
        method = new_method("in-ucds", {"share": 0.1, "weight": 1, "stop_gradient": not through}, tiny)
        trainer = Trainer(model, divided, seed=1, methods=[method], progress=False)
        model.prepare(divided.train)
        method.on_start(trainer)
        model.train()
        method.extra_loss(None, model)["fairness"].backward()
        moved = model.users.weight.grad.abs().sum(1)
        bound = method.weights.sum(1) > 0
        assert bound.sum() > 40
        assert torch.equal(moved[method.people] > 0, bound)
        assert bool(moved[method.targets].any()) == through


def test_the_centre_form_has_a_third_of_the_released_sum_s_gradient() -> None:
    p, q = torch.randn(5, 4, requires_grad=True), torch.randn(3, 4)
    (released,) = torch.autograd.grad((p[:, None] - q[None]).square().sum(), p)
    (centre,) = torch.autograd.grad((p - q.mean(0)).square().sum(), p)
    torch.testing.assert_close(released, 3 * centre)


def test_controls_and_options(tiny: Dataset, divided: Split) -> None:
    *_, chosen = trained(tiny, divided, "pmf", "in-ucds", epochs=1)
    *_, drawn = trained(tiny, divided, "pmf", "in-ucds", epochs=1, neighbours="random")
    *_, even = trained(tiny, divided, "pmf", "in-ucds", epochs=1, weights="uniform")
    assert not torch.equal(chosen.neighbours, drawn.neighbours)
    assert torch.equal(chosen.neighbours, even.neighbours)
    assert set(even.weights.flatten().tolist()) <= {1.0, 0.5, float(np.float32(1 / 3)), 0.0}
    for affinity in ("count", "jaccard"):
        trained(tiny, divided, "pmf", "in-ucds", epochs=1, affinity=affinity)


def test_s_dro_weighs_the_group_with_the_larger_loss_more(tiny: Dataset, divided: Split) -> None:
    *_, method = trained(tiny, divided, "pmf", "s-dro", epochs=5, step=1.0)
    first = divided.train.lengths[method.labels.numpy() == 0].sum() / divided.train.lengths.sum()
    worse = int(method.running.argmax())
    assert (float(method.shares[0]) > first) == (worse == 0)
    assert float(method.shares.sum()) == pytest.approx(1)


def test_s_dro_weighs_whole_rows_by_people_and_by_what_an_event_costs(tiny: Dataset, divided: Split) -> None:
    *_, method = trained(tiny, divided, "multvae", "s-dro", epochs=2, step=1e-9, rate=1.0)
    active = method.labels.numpy() == 0
    assert float(method.shares[0]) == pytest.approx(active[divided.train.lengths > 0].mean(), rel=1e-3)
    assert 1 < float(method.running.max()) < 2 * np.log(divided.n_items)  # of one event, not of a row of them
    *_, pairs = trained(tiny, divided, "pmf", "s-dro", epochs=1, step=1e-9)
    share = divided.train.lengths[active].sum() / divided.train.lengths.sum()
    assert float(pairs.shares[0]) == pytest.approx(share, rel=1e-3)


def test_methods_are_found_by_name_and_their_settings_told_apart(tiny: Dataset) -> None:
    for name in method_names():
        assert method_class(name).name == name
        assert method_class(name).title
        assert len(method_class(name).paper) > 20
        assert all(len(field.description or "") > 10 for field in method_class(name).Config.model_fields.values())
    own, theirs = parted({"--set": {"epochs": 3, "in-ucds.weight": 2}}, ["in-ucds"])
    assert own == {"--set": {"epochs": 3}}
    assert theirs == {"in-ucds": {"weight": 2}}
    with pytest.raises(ConfigError, match=r"not used .*Add --method s-dro"):
        parted({"--set": {"s-dro.step": 1}}, ["in-ucds"])
    with pytest.raises(ConfigError, match=r"Unknown method 'in-ucd'.*Did you mean 'in-ucds'"):
        method_class("in-ucd")
    with pytest.raises(ConfigError, match=r"Unknown setting 'wight'.*Did you mean 'weight'"):
        new_method("in-ucds", {"wight": 1}, tiny)


def test_a_run_says_by_which_method_it_was_made(tiny: Dataset, tmp_path: Path) -> None:
    run = rectitude.fit(
        tiny,
        "pmf",
        layers={"--set": SMALL | {"epochs": 1, "in-ucds.weight": 0.5, "in-ucds.share": 0.1}},
        methods=["in-ucds"],
        out=tmp_path / "run",
        progress=False,
    )
    (method,) = run.config["methods"]
    assert method["name"] == "in-ucds"
    assert method["settings"]["weight"] == 0.5


@pytest.mark.parametrize(("model", "message"), [("ease", "solved by a formula"), ("popularity", "solved by a formula")])
def test_models_without_gradients_are_refused(model: str, message: str, tiny: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        rectitude.fit(tiny, model, methods=["in-ucds"], out=tmp_path / "run", progress=False)
