from __future__ import annotations

import numpy as np
import pytest
import torch

from rectitude.data.histories import Histories
from rectitude.models.query import Query
from rectitude.models.sequential.indirec import Diffusion, InDiRec, InDiRecConfig, contrast, kmeans
from rectitude.models.sequential.sasrec import SASRec, SASRecConfig

N_ITEMS = 30


def made(**values: object) -> InDiRec:
    torch.manual_seed(0)
    config = InDiRecConfig(n_factors=8, max_length=10, dropout=0.0, n_negatives=5, n_diffusion=6, **values)
    return InDiRec(config, 20, N_ITEMS)


def test_clusters_that_lie_apart_are_found() -> None:
    centres = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
    truth = torch.arange(60) % 3
    points = centres[truth] + 0.1 * torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    found = [kmeans(points, 3, torch.Generator().manual_seed(seed)) for seed in range(8)]
    agreeing = [all(len(labels[truth == one].unique()) == 1 for one in range(3)) for labels in found]
    assert any(agreeing)
    assert torch.equal(found[0], kmeans(points, 3, torch.Generator().manual_seed(0)))


def test_guidance_comes_from_another_person_of_the_same_cluster() -> None:
    rng = np.random.default_rng(0)
    train = Histories.from_rows([rng.integers(N_ITEMS, size=6) for _ in range(20)])
    model = made(n_clusters=3)
    model.prepare(train)
    source = model.batches(train)
    guidance = source._guidance(torch.Generator().manual_seed(5))
    with torch.no_grad():
        vectors = model.eval().query_vectors(Query.of_histories(train))
    clusters = kmeans(vectors, 3, torch.Generator().manual_seed(5))
    for person in range(20):
        giver = int((vectors - guidance[person]).square().sum(1).argmin())
        assert torch.allclose(vectors[giver], guidance[person])
        assert clusters[giver] == clusters[person]
        assert giver != person or (clusters == clusters[person]).sum() == 1


def test_contrast_is_cross_entropy_without_false_negatives() -> None:
    states, imagined, targets = torch.randn(3, 4), torch.randn(3, 4), torch.tensor([5, 6, 5])
    scores = states @ imagined.T
    expected = [
        -torch.log_softmax(scores[0, [0, 1]], 0)[0],
        -torch.log_softmax(scores[1], 0)[1],
        -torch.log_softmax(scores[2, [1, 2]], 0)[1],
    ]
    torch.testing.assert_close(contrast(states, imagined, targets), torch.stack(expected).mean())


def test_noise_grows_along_the_schedule_and_a_perfect_model_samples_the_truth() -> None:
    torch.manual_seed(0)
    model = Diffusion(4, 8)
    assert (model.kept.diff() < 0).all()
    assert 0 < model.kept[-1] < model.kept[0] < 1
    truth = torch.randn(1, 4)
    model.forward = lambda noisy, guidance, step: truth.expand_as(noisy)  # type: ignore[method-assign]
    torch.testing.assert_close(model.sample(torch.randn(5, 4), 2.0), truth.expand(5, 4))


def test_the_diffusion_loss_falls_when_it_is_trained() -> None:
    torch.manual_seed(0)
    model, clean = Diffusion(4, 8), torch.randn(64, 4)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(150):
        optimizer.zero_grad()
        loss = model.loss(clean, clean, hidden=0.1)  # guidance that tells all
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-20:]) < 0.5 * np.mean(losses[:20])


@pytest.mark.parametrize("weights", [{}, {"diffusion_weight": 0.0, "contrast_weight": 0.0}])
def test_it_answers_as_sasrec_does(weights: dict[str, float]) -> None:
    model = made(**weights).eval()
    plain = SASRec(SASRecConfig(n_factors=8, max_length=10, dropout=0.0, n_negatives=5), 20, N_ITEMS).eval()
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("diffusion.")})
    query = Query.of_histories(Histories.from_rows([[1, 2, 3], [4]]))
    assert torch.equal(model.score(query), plain.score(query))
