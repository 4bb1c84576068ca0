from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rectitude.core.config import build
from rectitude.core.errors import ConfigError, DataError
from rectitude.data.histories import Histories
from rectitude.models.multimodal.fused import FusedConfig, FusedProfile
from rectitude.models.multimodal.vlm4rec import VLM4Rec, VLM4RecConfig
from rectitude.models.query import Query

N_ITEMS = 12
CONTENT = {
    "text": np.random.default_rng(0).normal(size=(N_ITEMS, 5)).astype(np.float32) + 1,
    "image": np.random.default_rng(1).normal(size=(N_ITEMS, 5)).astype(np.float32),
    "wide": np.random.default_rng(2).normal(size=(N_ITEMS, 7)).astype(np.float32),
}


def made(content: dict[str, np.ndarray] | None = None, **values: Any) -> VLM4Rec:
    model = VLM4Rec(build(VLM4RecConfig, values), 2, N_ITEMS)
    model.prepare(Histories.from_rows([[0, 1], [2]]), content or CONTENT)
    return model.eval()


def ask(*rows: list[int]) -> Query:
    return Query.of_histories(Histories.from_rows(rows))


@pytest.mark.parametrize("pooling", ["mean", "recency", "attention"])
@pytest.mark.parametrize("last", [0, 3])
def test_profiles_are_weighted_means(pooling: str, last: int) -> None:
    model = made(pooling=pooling, last=last, half_life=2.0, temperature=0.5)
    history = [3, 7, 1, 4]
    kept = history[-last:] if last else history
    rows = model.vectors[kept]
    if pooling == "mean":
        weights = torch.ones(len(kept))
    elif pooling == "recency":
        weights = 0.5 ** (torch.arange(len(kept) - 1, -1, -1) / 2.0)
    else:
        weights = torch.softmax(rows @ rows[-1] / 0.5, 0)
    expected = F.normalize((weights[:, None] * rows).sum(0), dim=0)
    torch.testing.assert_close(model.query_vectors(ask(history, [5]))[0], expected, rtol=1e-4, atol=1e-6)


def test_with_one_item_the_best_is_that_item_at_cosine_one() -> None:
    scores = made().score(ask([6]))[0]
    assert scores.argmax() == 6
    assert scores[6].item() == pytest.approx(1.0, abs=1e-5)


def test_the_plain_mean_knows_no_order_and_the_others_do() -> None:
    for pooling, ordered in (("mean", False), ("recency", True), ("attention", True)):
        one, other = made(pooling=pooling).score(ask([1, 2, 3], [3, 1, 2]))
        assert torch.allclose(one, other, atol=1e-5) != ordered


def test_the_mean_cosine_to_the_history_ranks_as_the_mean_profile_does() -> None:
    model = made(pooling="mean")
    scores = model.score(ask([1, 2, 3]))[0]
    mean = (model.vectors @ model.vectors[[1, 2, 3]].T).mean(1)
    assert torch.equal(scores.argsort(), mean.argsort())


def test_vectors_are_centred_and_an_item_without_any_is_like_nothing() -> None:
    content = {"text": CONTENT["text"].copy()}
    content["text"][4] = np.nan
    model = made(content)
    assert not model.vectors[4].any()
    assert (model.score(ask([1, 2]))[0][4]) == 0
    assert made(centre=False).vectors.mean(0).norm() > 2 * made().vectors.mean(0).norm()


def test_fusion_puts_unit_parts_together() -> None:
    joined = made(modalities=("text", "image"))
    parts = [made(modalities=(name,)).vectors for name in ("text", "image")]
    torch.testing.assert_close(joined.vectors, F.normalize(torch.cat(parts, 1), dim=1))
    summed = made(modalities=("text", "image"), fusion="sum")
    torch.testing.assert_close(summed.vectors, F.normalize(parts[0] + parts[1], dim=1))
    with pytest.raises(ConfigError, match="unequal width cannot be summed: text 5, wide 7"):
        made(modalities=("text", "wide"), fusion="sum")


def test_the_reason_is_the_most_alike_of_the_history() -> None:
    model = made()
    items = torch.tensor([[0, 5, -1]])
    reasons = model.reasons(ask([1, 2, 3]), items)
    likeness = model.vectors @ model.vectors[[1, 2, 3]].T
    assert reasons[0, 0] == [1, 2, 3][int(likeness[0].argmax())]
    assert reasons[0, 1] == [1, 2, 3][int(likeness[5].argmax())]
    assert reasons[0, 2] == -1


def test_content_that_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match="VLM4Rec reads item content 'caption'"):
        made(modalities=("caption",))


@pytest.mark.parametrize("fusion", ["average", "gating", "attention"])
def test_learnt_fusion_mixes_modalities_and_trains_as_it_answers(fusion: str) -> None:
    torch.manual_seed(0)
    config = FusedConfig(fusion=fusion, n_factors=6, n_content=4, dropout=0.0, n_negatives=6, batch_size=2)
    model = FusedProfile(config, 3, N_ITEMS)
    train = Histories.from_rows([[1, 2, 3, 4], [5, 6], [7]])
    model.prepare(train, CONTENT)
    fused = model.fused()
    torch.testing.assert_close(fused.norm(dim=1), torch.ones(N_ITEMS))
    content = torch.bmm(model.features, model.project)
    weights = torch.full((N_ITEMS, 2, 1), 0.5)
    if model.weigh is not None:
        weights = torch.softmax(model.weigh(content.transpose(0, 1).flatten(1)).view(N_ITEMS, 2, -1), 1)
        assert weights.shape[2] == (6 if fusion == "gating" else 1)
    assert (model.weigh is None) == (fusion == "average")
    mixed = (weights * content.transpose(0, 1)).sum(1)
    torch.testing.assert_close(fused, F.normalize(model.norm(model.out(mixed)), dim=1))
    batch = next(iter(model.batches(train).epoch(torch.Generator().manual_seed(0))))
    model.loss(batch)["next_item"].backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    model.eval().finish()
    shares = torch.tensor([0.5 ** (2 / 3), 0.5 ** (1 / 3), 1.0])
    expected = F.normalize((shares[:, None] * model.vectors[[1, 2, 3]]).sum(0), dim=0)
    torch.testing.assert_close(model.query_vectors(ask([1, 2, 3]))[0], expected)
