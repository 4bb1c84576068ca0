from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from rectitude.core.errors import CheckpointError, DataError
from rectitude.data.dataset import Dataset
from rectitude.data.histories import Histories
from rectitude.data.split import split
from rectitude.models.base import Recommender
from rectitude.models.query import Query
from rectitude.models.ranking import masked_topk
from rectitude.training.registry import new_method
from rectitude.training.trainer import Trainer
from rectitude.training.tuning import new_model
from rectitude.unlearning.attackers import attack
from rectitude.unlearning.attribute import Target, UnlearningConfig, unlearn
from rectitude.unlearning.distinguishability import u2u
from rectitude.unlearning.normal_scores import NormalScores

N, I = 120, 60  # noqa: E741
LABELS = np.arange(N) % 2
QUICK = {"steps": 60, "check_every": 30, "most": 64, "learning_rate": 0.05}


def leaking(name: str = "pmf", seed: int = 0) -> tuple[Recommender, Histories]:
    """A model whose user vectors differ by class, and what people have."""
    rng = np.random.default_rng(seed)
    train = Histories.from_rows([rng.choice(I, 5, replace=False) for _ in range(N)])
    settings = {"n_factors": 8, "n_layers": 1}
    fields = {"pmf", "bpr"}
    model = new_model(name, {k: v for k, v in settings.items() if name not in fields or k != "n_layers"}, _Sizes(), 0)
    model.prepare(train)
    model.finish()
    model.eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for table in model.user_tables().values():
            table.copy_(torch.randn(table.shape, generator=generator))
            table[:, :2] += 1.5 * torch.from_numpy(LABELS)[:, None]
        for item in (p for n, p in model.named_parameters() if "item" in n and p.ndim == 2 and len(p) == I):
            item.copy_(torch.randn(item.shape, generator=generator))
        if hasattr(model, "items") and isinstance(model.items, torch.Tensor):
            model.items.copy_(torch.randn(model.items.shape, generator=generator))
    return model, train


class _Sizes:
    n_users, n_items = N, I


def lists(model: Recommender, train: Histories, k: int = 10) -> torch.Tensor:
    query = Query.of_users(np.arange(N), train)
    with torch.no_grad():
        return masked_topk(model.score(query), train, k)[0]


def overlap(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(np.mean([len(set(a) & set(b)) / len(a) for a, b in zip(one.tolist(), other.tolist(), strict=True)]))


def accuracy(table: torch.Tensor, labels: np.ndarray = LABELS) -> float:
    found = attack(table.detach().double().numpy(), labels, attackers=("logistic", "knn"), draws=2)
    return max(one.leakage for one in found.values())


@pytest.mark.parametrize("name", ["pmf", "neumf", "lightgcn", "ngcf"])
def test_what_was_told_is_told_no_more_by_any_table_and_lists_stay(name: str) -> None:
    model, train = leaking(name)
    before = lists(model, train)
    frozen = {
        key: value.clone()
        for key, value in model.state_dict().items()
        if not any(value.data_ptr() == table.data_ptr() for table in model.user_tables().values())
    }
    told = [accuracy(table) for table in model.user_tables().values()]
    assert min(told) > 0.7
    done = unlearn(model, [Target("gender", LABELS)], train, UnlearningConfig(**QUICK))
    for table in model.user_tables().values():
        assert accuracy(table) < 0.68
    assert overlap(before, lists(model, train)) > 0.5
    assert done.trace
    assert all(torch.equal(model.state_dict()[key], value) for key, value in frozen.items())


def test_an_infinite_weight_changes_nothing_and_permuted_labels_hardly_anything() -> None:
    model, train = leaking()
    before = model.users.weight.detach().clone()
    unlearn(
        model, [Target("g", LABELS)], train, UnlearningConfig(**QUICK, regulariser="l2", weight=1e6, start="trained")
    )
    torch.testing.assert_close(model.users.weight.detach(), before, atol=0.04, rtol=0)
    shuffled = np.random.default_rng(0).permutation(LABELS)
    shown = lists(model, train)
    unlearn(model, [Target("g", shuffled)], train, UnlearningConfig(**QUICK))
    assert overlap(shown, lists(model, train)) > 0.95
    real, _ = leaking()
    unlearn(real, [Target("g", LABELS)], train, UnlearningConfig(**QUICK))
    moved = (model.users.weight.detach() - before).norm()
    assert moved < 0.5 * (real.users.weight.detach() - before).norm()


def test_released_u2u_without_a_regulariser_draws_everybody_together() -> None:
    model, train = leaking()
    spread = model.users.weight.detach().var(0).sum()
    config = UnlearningConfig(loss="u2u", balance=0.0, weight=0, l2=0, steps=150, check_every=75, learning_rate=0.05)
    unlearn(model, [Target("g", LABELS)], train, config)
    assert model.users.weight.detach().var(0).sum() < 0.1 * spread


def test_u2u_matches_the_means() -> None:
    model, train = leaking()
    labels = torch.from_numpy(LABELS)
    before = u2u(model.users.weight.detach(), labels)
    unlearn(model, [Target("g", LABELS)], train, UnlearningConfig(**QUICK, loss="u2u"))
    assert u2u(model.users.weight.detach(), labels) < 0.1 * before


def test_several_attributes_and_classes_at_once_and_the_unknown() -> None:
    model, train = leaking()
    age = np.arange(N) // 4 % 3
    with torch.no_grad():
        model.users.weight[:, 4:6] += 1.5 * torch.from_numpy(age)[:, None]
    age[:6] = -1
    before = [accuracy(model.users.weight, labels) for labels in (LABELS, age)]
    unlearn(model, [Target("g", LABELS), Target("age", age)], train, UnlearningConfig(**QUICK | {"steps": 90}))
    after = [accuracy(model.users.weight, labels) for labels in (LABELS, age)]
    assert all(new < old - 0.1 for new, old in zip(after, before, strict=True))


@pytest.mark.parametrize("regulariser", ["order", "scores", "l2"])
def test_every_regulariser_keeps_something(regulariser: str) -> None:
    model, train = leaking()
    before = lists(model, train)
    unlearn(model, [Target("g", LABELS)], train, UnlearningConfig(**QUICK, regulariser=regulariser))
    assert overlap(before, lists(model, train)) > 0.4


def test_bounds() -> None:
    model, train = leaking()
    rows = {tuple(row) for row in model.users.weight.tolist()}
    done = unlearn(model, [Target("g", LABELS)], train, UnlearningConfig(loss="shuffle"))
    assert {tuple(row) for row in model.users.weight.tolist()} == rows
    assert accuracy(model.users.weight) < 0.65
    assert done.stopped == "at once"
    before = lists(model, train)
    unlearn(model, [Target("g", LABELS)], train, UnlearningConfig(loss="noise", noise=3.0))
    assert overlap(before, lists(model, train)) < 0.9


def test_what_was_interrupted_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    class Stop(Exception):  # noqa: N818
        pass

    def stop(row: dict[str, float]) -> None:
        if row["step"] == 50:
            raise Stop

    # A new deal after step 40, and steps so small that it does not end before.
    config = UnlearningConfig(steps=60, check_every=10, most=40, start="trained", learning_rate=1e-3)
    kept: dict[str, Any] = {"checkpoint": tmp_path / "state.safetensors", "identity": {"a": 1}}
    whole, train = leaking()
    unlearn(whole, [Target("g", LABELS)], train, config)
    halted, _ = leaking()
    original = halted.users.weight.detach().clone()
    with pytest.raises(Stop):
        unlearn(halted, [Target("g", LABELS)], train, config, on_check=stop, **kept)
    assert torch.equal(halted.users.weight, original)
    again, _ = leaking()
    done = unlearn(again, [Target("g", LABELS)], train, config, resume=True, **kept)
    assert done.steps == 60
    assert done.kept == min(done.trace, key=lambda row: row["worst"])["step"]
    assert torch.equal(again.users.weight, whole.users.weight)
    with pytest.raises(CheckpointError, match="another training"):
        unlearn(again, [Target("g", LABELS)], train, config, resume=True, **kept | {"identity": {"a": 2}})


@pytest.mark.parametrize(("name", "message"), [("ease", "no user vectors"), ("multvae", "from a person's history")])
def test_models_that_store_nothing_of_people_say_what_is_possible(name: str, message: str) -> None:
    model = new_model(name, {}, _Sizes(), 0)
    with pytest.raises(DataError, match=message):
        unlearn(model, [Target("g", LABELS)], Histories.from_rows([[0]] * N))


@pytest.mark.parametrize("method", ["d2d-training", "adversarial"])
def test_protection_in_training(method: str, tiny: Dataset, tmp_path: Path) -> None:
    divided = split(tiny).development()

    def train(epochs: int, plug: bool = True, **kept: Any) -> tuple[Recommender, Any]:
        model = new_model("pmf", {"n_factors": 8, "epochs": epochs, "batch_size": 128}, divided, 1)
        settings = {"attribute": "gender", "every": 1} if plug else {"attribute": "gender", "weight": 0}
        found = Trainer(
            model, divided, seed=1, methods=[new_method(method, settings, tiny)], progress=False, **kept
        ).train()
        return model, found

    protected, result = train(4)
    assert all({"d2d", "adversarial"} & set(row) for row in result.curve)
    if method == "adversarial":  # random classes are at chance for d2d already
        off, _ = train(4, plug=False)
        assert not torch.equal(off.users.weight, protected.users.weight)
    state = {"checkpoint": tmp_path / "state.safetensors"}
    train(2, **state)
    assert torch.equal(train(4, **state, resume=True)[0].users.weight, protected.users.weight)


def protecting(method: str, dataset: Dataset, **settings: Any) -> tuple[Any, Recommender]:
    """A method that has started, and its model."""
    divided = split(dataset).development()
    model = new_model("pmf", {"n_factors": 8, "epochs": 1, "batch_size": 128}, divided, 1)
    plug = new_method(method, {"attribute": "gender", **settings}, dataset)
    plug.on_start(Trainer(model, divided, seed=1, methods=[plug], progress=False))
    return plug, model


def test_protection_draws_everybody_as_often_whatever_their_class(tiny: Dataset) -> None:
    few = tiny.users.with_columns(gender=pl.Series(["f" if row % 5 == 0 else "m" for row in range(tiny.n_users)]))
    plug, model = protecting("d2d-training", replace(tiny, users=few), most=8)
    sizes = [len(people) for people in plug.known]
    labels = torch.cat([plug.drawn(model)[1] for _ in range(50)])
    times = torch.bincount(labels).float() / torch.tensor(sizes) / 50
    torch.testing.assert_close(times, torch.full((2,), 16 / sum(sizes)), rtol=0.15, atol=0.0)


@pytest.mark.parametrize("aim", ["reversed", "uniform"])
def test_what_the_adversary_costs_the_model(aim: str, tiny: Dataset) -> None:
    plug, model = protecting("adversarial", tiny, aim=aim, weight=2.0, reversal=0.5)
    random = plug.generator.get_state()
    lost = plug.extra_loss(None, model)["adversarial"]
    plug.generator.set_state(random)
    vectors, labels = plug.drawn(model)
    told = torch.log_softmax(plug.discriminator(vectors), 1)
    expected = told[torch.arange(len(labels)), labels].mean() if aim == "reversed" else -told.mean()
    torch.testing.assert_close(lost, expected)


def test_looks_are_at_every_representation_and_end_it_at_chance() -> None:
    model, train = leaking("neumf")
    done = unlearn(model, [Target("g", LABELS)], train, UnlearningConfig(**QUICK | {"steps": 200}, tolerance=0.12))
    assert done.stopped == "attacker"
    last = done.trace[-1]
    assert done.kept == last["step"]
    told = {name: value for name, value in last.items() if name.startswith("g from ")}
    assert {name.split(",")[0] for name in told} == {"g from gmf", "g from mlp", "g from all"}
    assert last["worst"] == pytest.approx(max(abs(value - 0.5) for value in told.values()))
    assert last["worst"] <= 0.12


def test_it_ends_where_so_few_people_cannot_be_told_from_chance_unless_told_to_go_on() -> None:
    model, train = leaking()
    done = unlearn(model, [Target("g", LABELS)], train, UnlearningConfig(**QUICK | {"steps": 120}))
    assert done.stopped == "attacker"
    assert done.trace[-1]["worst"] <= 2 * np.sqrt(0.25 / N)
    model, train = leaking()
    further = unlearn(model, [Target("g", LABELS)], train, UnlearningConfig(**QUICK | {"steps": 120}, tolerance=1e-9))
    assert (further.stopped, further.steps) == ("steps", 120)


def test_nothing_but_the_tables_is_touched_and_gradients_are_as_before() -> None:
    model, train = leaking("neumf")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    wanted = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    unlearn(model, [Target("g", LABELS)], train, UnlearningConfig(**QUICK))
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"gmf_users.weight", "mlp_users.weight"}
    assert {name: parameter.requires_grad for name, parameter in model.named_parameters()} == wanted
    assert all(parameter.grad is None for parameter in model.parameters())


def test_coordinates_that_are_all_but_constant_tell_nothing_afterwards() -> None:
    model, train = leaking()
    with torch.no_grad():
        model.users.weight[:, 7] = 1e-20 * torch.from_numpy(LABELS)
    unlearn(model, [Target("g", LABELS)], train, UnlearningConfig(**QUICK))
    assert len(model.users.weight[:, 7].unique()) == 1


@pytest.mark.parametrize("scale", [1e-25, 1e-12, 1e6])
def test_a_table_of_any_size_is_unlearnt_alike(scale: float) -> None:
    found = []
    for factor in (1.0, scale):
        model, train = leaking()
        with torch.no_grad():
            model.users.weight.mul_(factor)
        unlearn(model, [Target("g", LABELS)], train, UnlearningConfig(**QUICK, regulariser="l2"))
        found.append(model.users.weight.detach().double() / factor)
    assert accuracy(found[1]) == pytest.approx(accuracy(found[0]), abs=0.05)
    torch.testing.assert_close(found[1], found[0], atol=0.05, rtol=0.05)


def test_normal_scores_are_normal_and_come_back() -> None:
    table = torch.randn(300, 4, generator=torch.Generator().manual_seed(0)) ** 3
    table[:50, 0] = 0.25  # many at one place
    chart = NormalScores(table)
    scores = chart.forward(table).requires_grad_()
    torch.testing.assert_close(chart.back(scores.detach()), table, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(scores.detach()[:, 1:].std(0), torch.ones(3), atol=0.02, rtol=0)
    order = table[:, 1].argsort()
    assert (scores.detach()[order, 1].diff() > 0).all()
    chart.back(scores).sum().backward()
    assert torch.isfinite(scores.grad).all()
    beyond = chart.back(torch.full((1, 4), 6.0))
    assert (beyond > table.max(0).values).all()
