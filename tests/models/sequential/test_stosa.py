from __future__ import annotations

import torch

from rectitude.data.histories import Histories
from rectitude.models.batches import SequenceBatch
from rectitude.models.query import Query
from rectitude.models.sequential.stosa import STOSA, StochasticBlock, STOSAConfig, positive
from rectitude.nn.losses import Negatives
from rectitude.nn.transformer import causal_bias

N_ITEMS = 30


def made(**values: object) -> STOSA:
    torch.manual_seed(0)
    model = STOSA(STOSAConfig(n_factors=8, max_length=10, dropout=0.0, **values), 3, N_ITEMS)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model.eval()


def test_scores_rank_by_minus_the_wasserstein_distance() -> None:
    model = made()
    query = Query.of_histories(Histories.from_rows([[1, 2, 3], [7]]))
    scores = model.score(query)
    states = model.query_vectors(query)[:, :-1] / 2
    mean, root = states.split(8, dim=1)
    for row in range(2):
        for item in range(N_ITEMS):
            spread = positive(model.spreads.weight[item]).sqrt()
            far = (mean[row] - model.items.weight[item]).square().sum() + (root[row] - spread).square().sum()
            ours = scores[row, item] - states[row].square().sum()
            torch.testing.assert_close(ours, -far, rtol=1e-4, atol=1e-4)


def test_attention_weighs_by_distance_and_spreads_by_squared_weights() -> None:
    torch.manual_seed(0)
    block = StochasticBlock(4, 1, 0.0).eval()
    mean, spread, bias = torch.randn(1, 3, 4), torch.randn(1, 3, 4), causal_bias(3)
    seen: list[torch.Tensor] = []
    for part in (0, 1):
        block.attention_out[part].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    block(mean, spread, bias)
    query, key, value = (x[0, 0] for x in block._heads(mean, 0))
    spreads = [positive(x)[0, 0] for x in block._heads(spread, 1)]
    far = torch.cdist(query, key).square() + torch.cdist(spreads[0].sqrt(), spreads[1].sqrt()).square()
    weights = torch.softmax(-far / 2 + bias, dim=-1)  # √d = 2
    torch.testing.assert_close(seen[0][0], weights @ value, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(seen[1][0], weights.square() @ spreads[2], rtol=1e-4, atol=1e-5)


def test_the_mean_leaves_the_encoder_changed() -> None:
    """The released code assigns it to a misspelt name and gives its input back."""
    model = made()
    long, short = (model.query_vectors(Query.of_histories(Histories.from_rows([row]))) for row in ([4, 9, 3], [3]))
    assert not torch.allclose(long[:, :8], short[:, :8], atol=1e-2)


def test_the_regulariser_is_the_excess_of_the_persons_distance() -> None:
    model = made(spread_weight=1.0)
    inputs, targets = torch.tensor([[1, 2]]), torch.tensor([[2, 5]])
    batch = SequenceBatch(inputs, targets, torch.tensor([0]), Negatives(torch.tensor([9]), torch.zeros(1)))
    person = model.states(inputs)[0, :, :-1] / 2
    points = model.item_table()[:, :-1]
    near = (person - points[targets[0]]).square().sum(1) - (points[targets[0]] - points[9]).square().sum(1)
    torch.testing.assert_close(model.loss(batch)["spread"], near.clamp(min=0).mean())


def test_spreads_are_positive_and_have_a_gradient_everywhere() -> None:
    raw = torch.tensor([-200.0, -20.0, -1.0, 0.0, 3.0], requires_grad=True)
    root = positive(raw).sqrt()
    assert (root > 0).all()
    root.sum().backward()
    assert torch.isfinite(raw.grad).all()
