from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rectitude.core.config import build
from rectitude.core.errors import ConfigError
from rectitude.data.histories import Histories
from rectitude.models.batches import SequenceBatch
from rectitude.models.query import Query
from rectitude.models.sequential.bert4rec import BERT4Rec, BERT4RecConfig
from rectitude.models.sequential.gru4rec import GRU4Rec, GRU4RecConfig
from rectitude.models.sequential.sasrec import SASRec, SASRecConfig, SequentialRecommender
from rectitude.nn.losses import Negatives, sampled_softmax

N_ITEMS, LENGTH = 30, 10
CLASSES = [SASRec, GRU4Rec, BERT4Rec]
CAUSAL = [SASRec, GRU4Rec]


def made(kind: type[SequentialRecommender], **values: object) -> SequentialRecommender:
    torch.manual_seed(0)
    model = kind(build(kind.Config, {"n_factors": 8, "max_length": LENGTH, "dropout": 0.0, **values}), 3, N_ITEMS)
    with torch.no_grad():  # states that differ visibly
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        model.items.weight[N_ITEMS].zero_()
    return model.eval()


@pytest.mark.parametrize("kind", CAUSAL)
def test_a_later_item_changes_no_earlier_state(kind: type[SequentialRecommender]) -> None:
    model = made(kind)
    inputs = torch.randint(N_ITEMS, (4, LENGTH))
    states = model.states(inputs)
    for place in range(1, LENGTH):
        changed = inputs.clone()
        changed[:, place] = (changed[:, place] + 1) % N_ITEMS
        after = model.states(changed)
        assert torch.equal(after[:, :place], states[:, :place])
        assert not torch.allclose(after[:, place], states[:, place])


@pytest.mark.parametrize("kind", CAUSAL)
def test_no_gradient_comes_from_the_future(kind: type[SequentialRecommender]) -> None:
    model = made(kind)
    inputs = torch.arange(LENGTH)[None]  # every item once: a row of the table is a place of the sequence
    for place in range(LENGTH):
        (gradient,) = torch.autograd.grad(model.states(inputs)[0, place].square().sum(), model.items.weight)
        assert gradient[: place + 1].any(1).all()
        assert not gradient[place + 1 :].any()


@pytest.mark.parametrize("kind", CLASSES)
def test_padding_on_the_right_changes_no_state(kind: type[SequentialRecommender]) -> None:
    model = made(kind)
    inputs = torch.randint(N_ITEMS, (4, 6))
    padded = F.pad(inputs, (0, 3), value=N_ITEMS)
    torch.testing.assert_close(model.states(padded)[:, :6], model.states(inputs), rtol=1e-5, atol=1e-6)


def test_bidirectional_states_read_everything() -> None:
    model = made(BERT4Rec)
    inputs = torch.arange(LENGTH)[None]
    (gradient,) = torch.autograd.grad(model.states(inputs)[0, 0].square().sum(), model.items.weight)
    assert gradient[:LENGTH].any(1).all()


@pytest.mark.parametrize("kind", CAUSAL)
def test_the_query_vector_is_the_state_at_the_last_item(kind: type[SequentialRecommender]) -> None:
    model = made(kind)
    rows = [[1, 2, 3], [], list(range(20)), [5]]
    vectors = model.query_vectors(Query.of_histories(Histories.from_rows(rows)))
    assert not vectors[1].any()
    for row in (0, 2, 3):
        recent = torch.tensor([rows[row][-LENGTH:]])
        torch.testing.assert_close(vectors[row], model.states(recent)[0, -1], rtol=1e-5, atol=1e-6)


def test_bert4rec_asks_with_a_mask_behind_the_history() -> None:
    model = made(BERT4Rec)
    rows = [[1, 2, 3], list(range(20))]
    vectors = model.query_vectors(Query.of_histories(Histories.from_rows(rows)))
    for row in range(2):
        asked = torch.tensor([[*rows[row][-(LENGTH - 1) :], N_ITEMS + 1]])
        torch.testing.assert_close(vectors[row], model.states(asked)[0, -1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", CLASSES)
def test_long_queries_are_answered_in_parts_with_the_same_scores(
    kind: type[SequentialRecommender], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = made(kind)
    rng = np.random.default_rng(0)
    query = Query.of_histories(Histories.from_rows([rng.integers(N_ITEMS, size=n) for n in rng.integers(1, 15, 23)]))
    whole = model.score(query)
    monkeypatch.setattr("rectitude.models.sequential.sasrec._TOKENS_AT_ONCE", 3 * LENGTH)
    torch.testing.assert_close(model.score(query), whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", CLASSES)
def test_scores_are_inner_products_with_the_input_embeddings(kind: type[SequentialRecommender]) -> None:
    model = made(kind)
    query = Query.of_histories(Histories.from_rows([[1, 2]]))
    expected = model.query_vectors(query) @ model.items.weight[:N_ITEMS].T
    assert torch.equal(model.score(query), expected)


def test_the_loss_is_taken_at_positions_that_have_a_target() -> None:
    model = made(SASRec)
    inputs = torch.tensor([[1, 2, 3], [4, N_ITEMS, N_ITEMS]])
    targets = torch.tensor([[2, 3, 4], [5, -1, -1]])
    negatives = Negatives(torch.tensor([3, 7, 9]), torch.zeros(3))
    batch = SequenceBatch(inputs, targets, torch.tensor([0, 1]), negatives)
    states = model.states(inputs)
    kept = torch.cat([states[0], states[1, :1]])
    expected = sampled_softmax(kept, model.items.weight, torch.tensor([2, 3, 4, 5]), negatives)
    torch.testing.assert_close(model.loss(batch)["next_item"], expected)


@pytest.mark.parametrize("loss", ["softmax", "sampled_softmax", "gbce", "bce", "bpr"])
@pytest.mark.parametrize("kind", CLASSES)
def test_every_loss_trains_every_model(kind: type[SequentialRecommender], loss: str) -> None:
    model = made(kind, loss=loss, n_negatives=5, batch_size=4).train()
    train = Histories.from_rows([list(range(12)), [3, 4, 5], [9, 8]])
    model.prepare(train)
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    batch = next(iter(model.batches(train).epoch(generator)))
    before = model.loss(batch)["next_item"]
    before.backward()
    optimizer.step()
    assert model.loss(batch)["next_item"] < before
    assert not model.items.weight.grad[N_ITEMS].any()


def test_heads_must_divide_the_width() -> None:
    for config in (SASRecConfig, BERT4RecConfig):
        with pytest.raises(ConfigError, match="n_heads=3 does not divide n_factors=64"):
            build(config, {"n_heads": 3})
    assert not hasattr(GRU4RecConfig(), "n_heads")
