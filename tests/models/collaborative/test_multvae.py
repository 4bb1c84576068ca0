from __future__ import annotations

import numpy as np
import torch

from rectitude.data.dataset import Dataset
from rectitude.data.histories import Histories
from rectitude.data.split import split
from rectitude.evaluation.evaluator import evaluate_fold
from rectitude.models.base import ModelConfig
from rectitude.models.batches import RowBatch
from rectitude.models.collaborative.multvae import MultVAE, MultVAEConfig, divergence
from rectitude.models.collaborative.popularity import Popularity
from rectitude.models.query import Query
from rectitude.training.trainer import Trainer

SMALL = MultVAEConfig(n_factors=4, n_hidden=6, dropout=0.0, kl_weight=0.2)
HISTORY = Histories.from_rows([[0, 3], [1], [0, 2, 4]])


def model(config: MultVAEConfig = SMALL) -> MultVAE:
    torch.manual_seed(0)
    return MultVAE(config, 3, 5)


def test_divergence_is_that_of_two_normals() -> None:
    mean, log_variance = torch.randn(7, 3, dtype=torch.float64), torch.randn(7, 3, dtype=torch.float64)
    given = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    standard = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    expected = torch.distributions.kl_divergence(given, standard).sum(1)
    torch.testing.assert_close(divergence(mean, log_variance), expected)


def test_encoding_equals_the_dense_network() -> None:
    vae = model().eval()
    dense = Query.of_histories(HISTORY).multi_hot(5)
    hidden = torch.tanh(torch.nn.functional.normalize(dense) @ vae.inputs + vae.inputs_bias)
    expected = vae.code(hidden).chunk(2, dim=1)
    torch.testing.assert_close(vae.encode(HISTORY), expected)


def test_scores_are_the_decoder_at_the_mean() -> None:
    vae = model().eval()
    mean, _ = vae.encode(HISTORY)
    expected = vae.outputs(torch.tanh(vae.expand(mean)))
    torch.testing.assert_close(vae.score(Query.of_histories(HISTORY)), expected)


def test_reconstruction_is_the_multinomial_likelihood() -> None:
    vae = model().eval()
    torch.manual_seed(5)
    terms = vae.loss(RowBatch(torch.arange(3), HISTORY))
    torch.manual_seed(5)
    mean, log_variance = vae.encode(HISTORY)
    code = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
    shares = torch.softmax(vae.outputs(torch.tanh(vae.expand(code))), dim=1)
    dense = Query.of_histories(HISTORY).multi_hot(5)
    torch.testing.assert_close(terms["reconstruction"], -(dense * shares.log()).sum(1).mean())
    torch.testing.assert_close(terms["kl"], 0.2 * divergence(mean, log_variance).mean())


def test_order_and_repeats_do_not_matter() -> None:
    vae = model().eval()
    once = vae.score(Query.of_histories(Histories.from_rows([[4, 0, 2]])))
    again = vae.score(Query.of_histories(Histories.from_rows([[0, 2, 4, 2]])))
    assert torch.equal(once, again)


def test_learns_more_than_popularity(tiny: Dataset) -> None:
    divided = split(tiny).development()
    torch.manual_seed(0)
    config = MultVAEConfig(n_factors=16, n_hidden=32, epochs=60, patience=60, learning_rate=5e-3, batch_size=16)
    vae = MultVAE(config, divided.n_users, divided.n_items)
    Trainer(vae, divided, progress=False).train()
    charts = Popularity(ModelConfig(), divided.n_users, divided.n_items)
    Trainer(charts, divided, progress=False).train()
    found = [evaluate_fold(one, divided.valid, ks=(10,)).mean("ndcg@10") for one in (vae, charts)]
    assert found[0] > 1.5 * found[1], found
    assert np.isfinite(found).all()
