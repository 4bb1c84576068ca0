from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rectitude.core.config import build
from rectitude.core.errors import ConfigError, DataError
from rectitude.data.dataset import Dataset
from rectitude.data.split import SplitConfig, split
from rectitude.models.multimodal.anchorrec import AnchorRec, AnchorRecConfig, dissimilarity, nce, side_by_side
from rectitude.models.multimodal.geometry import (
    collapse,
    effective_rank,
    neighbour_likeness,
    neighbourhood_preservation,
)
from rectitude.nn.sparse import by_row_degree, nearest_items


def made(tiny: Dataset, rule: Any = "leave-one-out", **values: Any) -> AnchorRec:
    torch.manual_seed(0)
    divided = split(tiny, SplitConfig(rule=rule)).development()
    config = build(AnchorRecConfig, {"n_factors": 8, "n_content": 6, "batch_size": 64, "n_neighbours": 4, **values})
    model = AnchorRec(config, divided.n_users, divided.n_items)
    model.prepare(divided.train, tiny.content)
    model.train_histories = divided.train  # type: ignore[assignment]
    return model


def batch_of(model: AnchorRec) -> Any:
    return next(iter(model.batches(model.train_histories).epoch(torch.Generator().manual_seed(0))))


def test_final_vectors_are_what_the_equations_say(tiny: Dataset) -> None:
    model = made(tiny, n_item_layers=2)
    users, items, collaborative, spread = model._final()
    train = model.train_histories.unique()
    interactions = torch.zeros(model.n_users, model.n_items)
    interactions[torch.from_numpy(train.rows), torch.from_numpy(train.items.astype(np.int64))] = 1
    scaled = interactions / (interactions.sum(1, keepdim=True).clamp(min=1) * interactions.sum(0).clamp(min=1)).sqrt()
    nodes = model.nodes.weight
    adjacency = torch.zeros(len(nodes), len(nodes))
    adjacency[: model.n_users, model.n_users :] = scaled
    adjacency[model.n_users :, : model.n_users] = scaled.T
    view = (nodes + adjacency @ nodes + adjacency @ adjacency @ nodes) / 3
    c_users, c_items = view.split([model.n_users, model.n_items])
    own = nodes[model.n_users :]
    anchor = side_by_side([tiny.content["text"], tiny.content["image"]])
    for role, place, content in (("t", 0, tiny.content["text"]), ("anchor", 2, anchor)):
        graph = torch.from_numpy(by_row_degree(nearest_items(content, 4)).toarray()).float()
        gate = torch.sigmoid(model.gates[role](model.content[role](model.features[place])))
        torch.testing.assert_close(spread[role], graph @ graph @ (own * gate), rtol=1e-4, atol=1e-6)
    added = spread["t"] + spread["anchor"]
    torch.testing.assert_close(collaborative, c_items, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(users, c_users + scaled @ added, rtol=1e-4, atol=1e-6)
    decoded = 5e-4 * model.decode(model.project["anchor"](spread["anchor"]))
    torch.testing.assert_close(items, c_items + added + decoded, rtol=1e-4, atol=1e-6)


def test_roughness_is_the_mean_over_edges(tiny: Dataset) -> None:
    model = made(tiny)
    x = torch.randn(model.n_items, 5)
    graph = by_row_degree(nearest_items(side_by_side([tiny.content["text"], tiny.content["image"]]), 4)).tocoo()
    one, other = (torch.from_numpy(side.astype(np.int64)) for side in graph.coords)
    edges = torch.from_numpy(graph.data).float() * (x[one] - x[other]).square().sum(1)
    torch.testing.assert_close(model._roughness(x), edges.mean(), rtol=1e-4, atol=1e-5)


def test_nce_and_dissimilarity_are_their_formulas() -> None:
    one, other = torch.randn(4, 3), torch.randn(4, 3)
    cosines = torch.stack([F.cosine_similarity(one[p].expand(4, 3), other) for p in range(4)]) / 0.2
    expected = -torch.stack([cosines[p, p] - cosines[p].exp().sum().log() for p in range(4)]).mean()
    torch.testing.assert_close(nce(one, other, 0.2), expected)
    target = F.normalize(torch.randn(4, 5), dim=1)
    torch.testing.assert_close(dissimilarity(one, target), torch.linalg.norm(one @ one.T - target @ target.T) / 4)
    assert dissimilarity(target, target) < 1e-5


@pytest.mark.parametrize(
    ("off", "term"),
    [("align_weight", "align"), ("preserve_weight", "preserve"), ("smooth_weight", "smooth"),
     ("margin_weight", "margin")],
)  # fmt: skip
def test_a_loss_without_weight_is_an_ablation(off: str, term: str, tiny: Dataset) -> None:
    whole = made(tiny)
    assert term in whole.loss(batch_of(whole))
    model = made(tiny, **{off: 0.0})
    terms = model.loss(batch_of(model))
    assert term not in terms
    torch.stack(list(terms.values())).sum().backward()
    idle = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert idle == []  # what nothing reads is not there


@pytest.mark.parametrize("values", [{"project": False}, {"inputs": "content", "n_item_layers": 0}, {"inputs": "both"},
                                    {"loss": "bpr"}, {"decoder_weight": 0.0}])  # fmt: skip
def test_every_form_trains(values: dict[str, Any], tiny: Dataset) -> None:
    model = made(tiny, **values)
    torch.stack(list(model.loss(batch_of(model)).values())).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_frozen_anchor_receives_nothing_from_the_mix(tiny: Dataset) -> None:
    model = made(tiny)
    chosen = torch.arange(10)
    collaborative = torch.randn(model.n_items, 8)
    anchored = torch.randn(model.n_items, 8, requires_grad=True)
    whole = model._alignment(collaborative, anchored, chosen)
    first = nce(model.project["anchor"](anchored[chosen]), model.project["id"](collaborative[chosen]), 0.2)
    (both,), (alone,) = (torch.autograd.grad(loss, anchored, retain_graph=True) for loss in (whole, first))
    torch.testing.assert_close(both, alone)


def test_an_item_nobody_chose_is_reached_through_its_neighbours(tiny: Dataset) -> None:
    model = made(tiny, "cold-item", n_item_layers=1).eval()
    model.finish()
    cold = model.popularity == 0
    assert cold.any()
    with torch.no_grad():  # what a cold item's own vector says is noise; without it the neighbours remain
        model.nodes.weight[model.n_users :][cold] = 0
    model.finish()
    assert model.items[cold].abs().sum(1).min() > 0


def test_a_named_anchor_is_read(tiny: Dataset) -> None:
    config = AnchorRecConfig(anchor="fused")
    assert AnchorRec.content_read(config) == ("text", "image", "fused")
    with pytest.raises(DataError, match="item content 'fused'"):
        made(tiny, anchor="fused")
    with pytest.raises(ConfigError, match="must differ"):
        build(AnchorRecConfig, {"anchor": "text"})


# ---- measures ------------------------------------------------------------------------------------------------------


def test_a_space_preserves_its_own_neighbourhoods_and_noise_none(tiny: Dataset) -> None:
    content = tiny.content["image"]
    space = torch.from_numpy(np.nan_to_num(content))
    assert neighbourhood_preservation(space, content, 5) == 1.0
    noise = torch.randn(len(content), 64, generator=torch.Generator().manual_seed(0))
    assert neighbourhood_preservation(noise, content, 5) < 0.35  # 5 of 38 by chance
    own = neighbour_likeness(space, content)
    assert own == sorted(own, reverse=True)
    assert own[0] > neighbour_likeness(noise, content)[0]


def test_collapse_is_one_for_equal_and_zero_for_unrelated_vectors() -> None:
    one = torch.eye(20)
    assert collapse(one, one) == pytest.approx(1.0)
    assert collapse(one, torch.ones(20, 20)) == pytest.approx(0.0, abs=1e-6)


def test_the_effective_rank_counts_directions() -> None:
    generator = torch.Generator().manual_seed(0)
    turned = torch.linalg.qr(torch.randn(200, 200, generator=generator))[0][:, :5]
    turned = torch.linalg.qr(turned - turned.mean(0))[0]
    assert effective_rank(turned) == pytest.approx(5.0, rel=1e-6)
    assert effective_rank(turned[:, :1] @ torch.ones(1, 5)) == pytest.approx(1.0, rel=1e-6)
