from __future__ import annotations

import numpy as np
import pytest
import torch

from rectitude.data.dataset import Dataset
from rectitude.data.histories import Histories
from rectitude.models.batches import PairBatch
from rectitude.models.collaborative.bpr import BPR, BPRConfig
from rectitude.models.query import Query


def made(train: Histories, n_items: int, **settings: float) -> BPR:
    torch.manual_seed(0)
    model = BPR(BPRConfig(**{"n_factors": 8, **settings}), len(train), n_items)
    model.prepare(train)
    return model


def test_loss_is_the_published_one(tiny: Dataset) -> None:
    model = made(tiny.histories(), tiny.n_items, l2=0.3)
    batch = PairBatch(torch.tensor([0, 1]), torch.tensor([2, 3]), torch.tensor([[4, 5], [6, 7]]))
    p, q = model.users.weight.detach().numpy(), model.items.weight.detach().numpy()
    pairs = [(0, 2, 4), (0, 2, 5), (1, 3, 6), (1, 3, 7)]
    expected = np.mean([-np.log(1 / (1 + np.exp(-(p[u] @ q[i] - p[u] @ q[j])))) for u, i, j in pairs])
    touched = [*p[:2], *q[2:8]]
    terms = model.loss(batch)
    assert terms["bpr"].item() == pytest.approx(expected, rel=1e-5)
    assert terms["l2"].item() == pytest.approx(0.3 * sum(v @ v for v in touched) / 2 / 2, rel=1e-5)


def test_a_gradient_step_raises_the_observed_item_and_lowers_the_other(tiny: Dataset) -> None:
    model = made(tiny.histories(), tiny.n_items, l2=0.0)
    query = Query.of_users(np.array([0]), Histories.from_rows([[]]))
    before = model.score(query)[0].detach()
    model.loss(PairBatch(torch.tensor([0]), torch.tensor([2]), torch.tensor([[4]])))["bpr"].backward()
    with torch.no_grad():
        for weight in model.parameters():
            weight -= 0.1 * weight.grad
    after = model.score(query)[0]
    assert after[2] > before[2]
    assert after[4] < before[4]
    assert not model.users.weight.grad[1:].any()


def test_strangers_get_the_vector_of_trained_people_where_histories_determine_it(tiny: Dataset) -> None:
    train = tiny.histories()
    model = made(train, tiny.n_items)
    planted = torch.randn(8, 8)
    with torch.no_grad():
        seen = Query.of_histories(train).multi_hot(tiny.n_items)
        pooled = seen @ model.items.weight / seen.sum(1, keepdim=True).sqrt()
        model.users.weight.copy_(pooled @ planted)
    model.finish()
    stranger = model.query_vectors(Query.of_histories(train))
    assert torch.allclose(stranger, model.users.weight, atol=1e-5)


def test_trained_people_are_known_by_their_vector_and_everybody_else_by_history() -> None:
    train = Histories.from_rows([[0, 1], [1, 2], []])
    model = made(train, 4)
    model.finish()
    history = Histories.from_rows([[], [3], [3], [3], []])
    query = Query(np.array([0, 0, 2, -1, -1]), history)
    assert model.serves(query).tolist() == [True, True, True, True, False]
    vectors = model.query_vectors(query)
    assert torch.equal(vectors[0], model.users.weight[0])
    assert torch.equal(vectors[1], model.users.weight[0])
    assert torch.equal(vectors[2], vectors[3])  # an index without training data is a stranger
    scores, _ = model.answer(query)
    assert torch.equal(scores[4], model.popularity)


def test_the_map_for_strangers_is_saved_with_the_model() -> None:
    train = Histories.from_rows([[0, 1], [1, 2], [0, 3]])
    model = made(train, 4)
    model.finish()
    copy = BPR(model.config, 3, 4)
    copy.load_state_dict(model.state_dict())
    query = Query.of_histories(Histories.from_rows([[0], [1, 3]]))
    assert torch.equal(copy.score(query), model.score(query))
