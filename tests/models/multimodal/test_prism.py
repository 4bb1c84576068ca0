from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rectitude.core.config import build
from rectitude.core.errors import ConfigError, DataError
from rectitude.data.dataset import Dataset
from rectitude.data.histories import Histories
from rectitude.data.split import split
from rectitude.models.multimodal.prism import PRISM, PRISMConfig, preference
from rectitude.models.query import Query
from rectitude.training.trainer import Trainer
from rectitude.training.tuning import new_model

N_ITEMS, LENGTH = 40, 10
BACKBONES = ["sasrec", "gru4rec", "bert4rec", "stosa", "indirec"]
CAUSAL = [name for name in BACKBONES if name != "bert4rec"]
PLAIN = ("text", "image", "synergy", "redundancy")


def made(content: dict[str, np.ndarray], backbone: str = "sasrec", **values: Any) -> PRISM:
    torch.manual_seed(0)
    small = {"n_factors": 8, "max_length": LENGTH, "dropout": 0.0, "n_content": 6, "n_negatives": 10, "batch_size": 8}
    model = PRISM(build(PRISMConfig, {"backbone": backbone, **small, **values}), 3, N_ITEMS)
    model.prepare(Histories.from_rows([list(range(12)), [3, 4, 5], [9, 8]]), content)
    with torch.no_grad():  # states that differ visibly
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
        model.items.weight[N_ITEMS].zero_()
    return model.eval()


@pytest.mark.parametrize("backbone", CAUSAL)
def test_no_position_reads_the_future(backbone: str, tiny: Dataset) -> None:
    model = made(tiny.content, backbone)
    inputs = torch.arange(LENGTH)[None]
    for place in range(LENGTH):
        (gradient,) = torch.autograd.grad(model.states(inputs)[0, place].square().sum(), model.items.weight)
        assert gradient[: place + 1].any(1).all()
        assert not gradient[place + 1 :].any()
    states = model.states(inputs)
    changed = inputs.clone()
    changed[0, -1] = 30  # other content too
    assert torch.equal(model.states(changed)[:, :-1], states[:, :-1])


def test_the_released_form_shows_positions_their_future(tiny: Dataset) -> None:
    model = made(tiny.content, granularity="sequence", preference="sequence-mean")
    inputs = torch.arange(LENGTH)[None]
    (gradient,) = torch.autograd.grad(model.states(inputs)[0, 0].square().sum(), model.items.weight)
    assert gradient[LENGTH - 1].any()


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("granularity", ["item", "sequence"])
def test_padding_changes_no_state(backbone: str, granularity: str, tiny: Dataset) -> None:
    model = made(tiny.content, backbone, granularity=granularity)
    inputs = torch.randint(N_ITEMS, (4, 6))
    padded = F.pad(inputs, (0, 3), value=N_ITEMS)
    torch.testing.assert_close(model.states(padded)[:, :6], model.states(inputs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_without_experts_it_is_the_backbone_with_content_added(backbone: str, tiny: Dataset) -> None:
    model = made(tiny.content, backbone, left_out=PLAIN)
    inputs = torch.randint(N_ITEMS, (4, LENGTH))
    before = model.states(inputs)
    with torch.no_grad():
        model.fusion.project.zero_()
    enriched = model.states(inputs)
    model.backbone.enrich = None
    torch.testing.assert_close(model.backbone.states(inputs), enriched)
    assert not torch.allclose(before, enriched)
    assert model.interaction_losses(inputs) == {}


@pytest.mark.parametrize("granularity", ["item", "sequence"])
def test_what_is_added_is_content_and_weighted_experts(granularity: str, tiny: Dataset) -> None:
    model = made(tiny.content, granularity=granularity)
    inputs = torch.tensor([[3, 5, 3, 7, N_ITEMS]])
    embedded = F.embedding(inputs, model.items.weight)
    added = model.fusion.mixed(embedded, inputs, model.features, N_ITEMS, 0, causal=True)
    projected, read = model.fusion.contents(model.features, 0)
    assert model.fusion.experts is not None
    if granularity == "item":
        outputs = model.fusion.experts(read)[:, inputs[0]]
    else:
        mean = read[:, inputs[0, :4]].mean(1, keepdim=True)
        outputs = model.fusion.experts(mean).expand(-1, 5, -1)
    weights = model.fusion.weights(embedded, inputs, model.features, N_ITEMS, causal=True)[0]
    torch.testing.assert_close(weights.sum(1), torch.ones(5))
    expected = projected[:, inputs[0]].sum(0) + (weights.T[..., None] * outputs).sum(0)
    torch.testing.assert_close(added[0, :4], expected[:4], rtol=1e-4, atol=1e-5)
    assert not added[0, 4].any()


@pytest.mark.parametrize("backbone", BACKBONES)
def test_items_can_be_scored_with_their_content(backbone: str, tiny: Dataset) -> None:
    model = made(tiny.content, backbone, score_content=True)
    query = Query.of_histories(Histories.from_rows([[3, 5, 7], [9, 8]]))
    added = []
    for path in range(model.backbone.n_paths):
        projected, read = model.fusion.contents(model.features[:, :N_ITEMS], path)
        assert model.fusion.experts is not None
        added.append(projected.sum(0) + model.fusion.experts(read).mean(0))
    by_embedding = model.items.weight[:N_ITEMS] + added[0]
    if backbone == "stosa":
        raw = model.backbone.spreads.weight[:N_ITEMS] + added[1]
        points = torch.cat([by_embedding, (F.elu(raw) + 1).clamp(min=1e-24).sqrt()], 1)
        asked = model.query_vectors(query)[:, :-1] / 2
        expected = asked.square().sum(1, keepdim=True) - torch.cdist(asked, points).square()
    else:
        expected = model.query_vectors(query) @ by_embedding.T
    torch.testing.assert_close(model.score(query), expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(model.score(query), made(tiny.content, backbone).score(query))


def test_preferences_are_means_of_what_came_before() -> None:
    embedded, real = torch.randn(2, 5, 3), torch.tensor([[True] * 5, [True] * 2 + [False] * 3])
    so_far = preference(embedded, real, "prefix-mean")
    torch.testing.assert_close(so_far[0, 2], embedded[0, :3].mean(0))
    torch.testing.assert_close(so_far[1, 1], embedded[1, :2].mean(0))
    torch.testing.assert_close(preference(embedded, real, "sequence-mean")[1, 0], embedded[1, :2].mean(0))


def test_the_interaction_losses_leave_out_items_that_lack_a_modality(tiny: Dataset) -> None:
    model = made(tiny.content, mask_with="zero")
    assert model.features[1, 7, -1] == 1  # tiny's item 7 has no picture
    with_gap = model.interaction_losses(torch.tensor([[3, 5, 7]]))
    without = model.interaction_losses(torch.tensor([[3, 5, N_ITEMS]]))
    assert set(with_gap) == {"unique", "synergy", "redundancy"}
    for name, value in with_gap.items():
        torch.testing.assert_close(value, without[name])
    assert all(value == 0 for value in model.interaction_losses(torch.tensor([[7, 7]])).values())


def test_losses_without_weight_are_left_out(tiny: Dataset) -> None:
    model = made(tiny.content, unique_weight=0.0, redundancy_weight=0.0)
    assert set(model.interaction_losses(torch.tensor([[3, 5]]))) == {"synergy"}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_it_learns_with_every_backbone_and_its_gate_decides(backbone: str, tiny: Dataset) -> None:
    divided = split(tiny).development()
    settings = {"backbone": backbone, "n_factors": 16, "max_length": 12, "n_content": 8, "batch_size": 32}
    settings |= {"n_negatives": 20, "learning_rate": 0.01, "epochs": 12, "patience": 12, "validate_every": 12}
    model = new_model("prism", settings, divided, 0)
    curve = Trainer(model, divided, content=tiny.content, progress=False).train().curve
    losses = [row["next_item"] for row in curve]
    assert np.mean(losses[-4:]) < np.mean(losses[:4])
    shares = model.shares(Query.of_histories(divided.known))
    weights = torch.stack(list(shares.values()), 1)
    assert list(shares) == ["text", "image", "synergy", "redundancy"]
    torch.testing.assert_close(weights.sum(1), torch.ones(len(weights)))
    assert -(weights * weights.log()).sum(1).mean() < math.log(4)


def test_three_modalities_have_five_experts(tiny: Dataset) -> None:
    content = {**tiny.content, "sound": tiny.content["text"][:, :5]}
    model = made(content, modalities=("text", "image", "sound"))
    shares = model.shares(Query.of_histories(Histories.from_rows([[1, 2, 3]])))
    assert list(shares) == ["text", "image", "sound", "synergy", "redundancy"]


def test_content_that_is_missing_is_named(tiny: Dataset) -> None:
    with pytest.raises(DataError, match="PRISM reads item content 'image', and there is text"):
        made({"text": tiny.content["text"]})
    with pytest.raises(DataError, match="'image' is missing for all items"):
        made({"text": tiny.content["text"], "image": np.full((N_ITEMS, 2), np.nan, np.float32)})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"left_out": ["sound"]}, "left_out names no expert: sound"),
        ({"modalities": ["text"]}, "at least 2"),
        ({"modalities": ["text", "synergy"]}, "none may be called synergy"),
        ({"backbone": "bpr"}, "backbone"),
        ({"backbone_settings": {"n_blokcs": 1}}, "Unknown setting 'n_blokcs'.*n_blocks"),
        ({"backbone_settings": {"n_factors": 8}}, "give n_factors as PRISM's own"),
    ],
)
def test_settings_that_do_not_fit(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build(PRISMConfig, values)


def test_settings_reach_the_backbone() -> None:
    config = PRISMConfig(n_factors=32, backbone_settings={"n_blocks": 3})
    assert config.of_backbone().n_factors == 32
    assert config.of_backbone().n_blocks == 3
