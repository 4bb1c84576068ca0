from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from rectitude.data.dataset import Dataset
from rectitude.data.histories import Histories
from rectitude.models.batches import PairBatch
from rectitude.models.collaborative.lightgcn import LightGCN, LightGCNConfig
from rectitude.models.query import Query
from rectitude.nn.losses import Negatives

TRAIN = Histories.from_rows([[0, 2, 2], [1, 2, 4], [], [2, 3]])
N_ITEMS = 5
DRAWN = Negatives(torch.tensor([0, 1]), torch.zeros(2))


def made(train: Histories = TRAIN, n_items: int = N_ITEMS, **settings: Any) -> LightGCN:
    torch.manual_seed(0)
    model = LightGCN(LightGCNConfig(**{"n_factors": 8, "n_layers": 3, **settings}), len(train), n_items)
    model.prepare(train)
    model.finish()
    return model


def final_vectors(model: LightGCN, train: Histories, n_items: int) -> torch.Tensor:
    """Equations 7 and 8 with dense matrices."""
    seen = Query.of_histories(train).multi_hot(n_items)
    n_users = len(train)
    adjacency = torch.zeros(n_users + n_items, n_users + n_items)
    adjacency[:n_users, n_users:] = seen
    adjacency += adjacency.T.clone()
    scale = adjacency.sum(1).clamp(min=1).rsqrt()
    adjacency = scale[:, None] * adjacency * scale
    layers = [model.nodes.weight.detach()]
    for _ in range(model.config.n_layers):
        layers.append(adjacency @ layers[-1])
    return torch.stack(layers).mean(0)


def test_scores_are_inner_products_of_the_mean_over_the_layers(tiny: Dataset) -> None:
    train = tiny.histories()
    model = made(train, tiny.n_items, loss="bpr")
    users, items = final_vectors(model, train, tiny.n_items).split([tiny.n_users, tiny.n_items])
    scores = model.score(Query.of_users(np.arange(tiny.n_users), train))
    assert torch.allclose(scores, users @ items.T, atol=1e-6)


def test_with_the_softmax_scores_are_cosines_of_the_mean_over_the_layers(tiny: Dataset) -> None:
    train = tiny.histories()
    model = made(train, tiny.n_items)
    users, items = final_vectors(model, train, tiny.n_items).split([tiny.n_users, tiny.n_items])
    scores = model.score(Query.of_users(np.arange(tiny.n_users), train))
    assert torch.allclose(scores, torch.cosine_similarity(users[:, None], items, dim=2), atol=1e-6)


def test_bpr_loss_is_the_published_one() -> None:
    model = made(loss="bpr", l2=0.3)
    final = final_vectors(model, TRAIN, N_ITEMS)
    users, items = final.split([4, N_ITEMS])
    first_users, first_items = model.nodes.weight.detach().split([4, N_ITEMS])
    terms = model.loss(PairBatch(torch.tensor([0, 3]), torch.tensor([2, 3]), torch.tensor([[4, 1], [0, 1]])))
    drawn = [(0, 2, 4), (0, 2, 1), (3, 3, 0), (3, 3, 1)]
    differences = torch.stack([users[u] @ (items[i] - items[j]) for u, i, j in drawn])
    touched = torch.cat([first_users[[0, 3]], first_items[[2, 3, 4, 1, 0, 1]]])
    assert torch.allclose(terms["bpr"], -torch.log(torch.sigmoid(differences)).mean())
    assert torch.allclose(terms["l2"], 0.3 * touched.square().sum() / 2 / 2)


def test_the_softmax_over_all_items_is_the_closed_form() -> None:
    """With every item drawn once, the sample is no sample."""
    model = made(temperature=0.2)
    users, items = final_vectors(model, TRAIN, N_ITEMS).split([4, N_ITEMS])
    user, item = torch.tensor([0, 0, 1, 1, 1, 3, 3]), torch.tensor([0, 2, 1, 2, 4, 2, 3])
    everything = Negatives(torch.arange(N_ITEMS), torch.zeros(N_ITEMS))
    terms = model.loss(PairBatch(user, item, torch.empty(7, 0, dtype=torch.int64), everything))
    cosines = torch.cosine_similarity(users[user][:, None], items, dim=2)
    assert torch.allclose(terms["softmax"], torch.nn.functional.cross_entropy(cosines / 0.2, item), atol=1e-5)


def test_one_process_s_share_of_a_batch_has_a_loss() -> None:
    model = made()
    batch = next(iter(model.batches(TRAIN).epoch(torch.Generator().manual_seed(0))))
    assert model.loss(batch.part(1, 2))["softmax"].isfinite()


@pytest.mark.parametrize("loss", ["bpr", "sampled_softmax"])
def test_gradients_pass_the_graph(loss: str) -> None:
    model = made(loss=loss, l2=0.1)
    model.loss(PairBatch(torch.tensor([0]), torch.tensor([2]), torch.tensor([[1]]), DRAWN))["l2"].backward()
    untouched = model.nodes.weight.grad.abs().sum(1)
    assert untouched[0] > 0
    assert untouched[3] == 0
    model.zero_grad()
    pairs = PairBatch(torch.tensor([0, 1]), torch.tensor([2, 4]), torch.tensor([[1], [0]]), DRAWN)
    terms = model.loss(pairs)
    next(iter(terms.values())).backward()
    assert (model.nodes.weight.grad.abs().sum(1) > 0).tolist() == [True, True, False, *[True] * 6]  # user 2 has no edge


def test_folding_in_is_what_the_graph_sends_to_a_person_without_a_vector_of_their_own(tiny: Dataset) -> None:
    train = tiny.histories()
    model = made(train, tiny.n_items)
    with torch.no_grad():
        model.nodes.weight[7] = 0.0
    model.finish()
    stranger = model.query_vectors(Query.of_histories(train.take([7])))
    assert torch.allclose(stranger[0], model.users[7], atol=1e-6)


def test_trained_people_are_known_by_their_vector_and_everybody_else_by_history() -> None:
    model = made()
    query = Query(np.array([0, 0, 2, -1, -1]), Histories.from_rows([[], [3], [3], [3, 3], []]))
    assert model.serves(query).tolist() == [True, True, True, True, False]
    vectors = model.query_vectors(query)
    assert torch.equal(vectors[0], model.users[0])
    assert torch.equal(vectors[1], model.users[0])
    assert torch.equal(vectors[2], vectors[3])
    scores, _ = model.answer(query)
    assert torch.equal(scores[4], model.popularity)


def test_a_loaded_model_serves_without_the_graph() -> None:
    model = made()
    copy = LightGCN(model.config, 4, N_ITEMS)
    copy.load_state_dict(model.state_dict())
    query = Query(np.array([1, -1]), Histories.from_rows([[0], [1, 3]]))
    assert torch.equal(copy.score(query), model.score(query))


def test_negatives_are_drawn_only_for_the_loss_that_uses_them() -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [
        next(iter(made(loss=loss, n_negatives=3).batches(TRAIN).epoch(generator))).negatives.shape
        for loss in ("bpr", "sampled_softmax")
    ]
    assert shapes == [(7, 3), (7, 0)]
