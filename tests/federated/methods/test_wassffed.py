from __future__ import annotations

import numpy as np
import pytest
from driver import decided, federate, learnable, problem_of, whole
from scipy.stats import wasserstein_distance

from rectitude.federated.methods.wassffed import (
    WassFFed,
    WassFFedConfig,
    quantile,
    target_gradient,
    transport_tables,
)
from rectitude.federated.metrics import accuracy, gap, global_gap
from rectitude.federated.network import softmax

QUICK = {"rounds": 25, "warm_up": 8, "local_steps": 15, "fair_steps": 15, "batch_size": 128, "learning_rate": 0.02}
GRID = np.linspace(0, 1, 101)


def histogram(*scores):
    return np.stack([np.bincount(np.rint(100 * s).astype(int), minlength=101) for s in scores]).astype(float)


def run(clients, *, n_classes=2, n_groups=2, **settings):
    data = [whole(k, rows) for k, rows in enumerate(clients)]
    method = WassFFed(WassFFedConfig(**(QUICK | settings)), problem_of(n_classes, n_groups, len(clients), n_features=4))
    outcome = federate(method, data)
    return outcome, decided(outcome, data)


@pytest.mark.parametrize("kind", ["w2", "w1", "mixture"])
def test_equal_groups_keep_their_scores(kind):
    scores = np.random.default_rng(0).beta(2, 3, 5000)
    counts = histogram(scores, scores)
    table = transport_tables(counts, kind)
    seen = counts[0] > 0
    assert np.allclose(table[:, seen], GRID[seen], atol=1e-9)


@pytest.mark.parametrize("kind", ["w2", "w1", "mixture"])
def test_groups_end_with_one_distribution(kind):
    rng = np.random.default_rng(1)
    one, other = rng.beta(2, 5, 20_000), rng.beta(5, 2, 10_000)
    counts = histogram(one, other)
    table = transport_tables(counts, kind)
    before = wasserstein_distance(GRID, GRID, *counts)
    assert before > 0.3
    assert wasserstein_distance(table[0], table[1], *counts) < 0.01


def test_w2_averages_quantiles_and_w1_takes_their_median():
    rng = np.random.default_rng(2)
    groups = [rng.beta(2, 5, 9000), rng.beta(5, 2, 9000), rng.beta(1, 1, 9000)]
    u = np.linspace(0.1, 0.9, 9)
    by_hand = np.stack([np.quantile(scores, u) for scores in groups])
    counts = histogram(*groups)
    for kind, target in (("w2", by_hand.mean(0)), ("w1", np.median(by_hand, axis=0))):
        table = transport_tables(counts, kind)
        for g, scores in enumerate(groups):
            moved = np.interp(np.quantile(scores, u), GRID, table[g])
            assert np.allclose(moved, target, atol=0.02)


def test_the_mixture_is_everybodys_distribution():
    rng = np.random.default_rng(3)
    one, other = rng.beta(2, 5, 20_000), rng.beta(5, 2, 5000)
    counts = histogram(one, other)
    table = transport_tables(counts, "mixture")
    pooled = counts.sum(0)
    assert wasserstein_distance(table[0], GRID, counts[0], pooled) < 0.01


def test_w2_is_the_cheapest_common_distribution():
    rng = np.random.default_rng(4)
    counts = histogram(rng.beta(2, 5, 20_000), rng.beta(5, 2, 20_000))

    def cost(kind):
        return sum(
            (row * (table - GRID) ** 2).sum() for row, table in zip(counts, transport_tables(counts, kind), strict=True)
        )

    assert cost("w2") <= min(cost("mixture"), cost("w1"))


def test_a_group_without_rows_keeps_its_scores():
    counts = histogram(np.full(10, 0.3), np.zeros(0))
    assert np.allclose(transport_tables(counts)[1], GRID)
    assert np.isfinite(transport_tables(0 * counts)).all()


def test_quantiles_do_not_run_past_the_last_bin():
    cdf = np.cumsum(np.full(101, 1 / 101))
    cdf[-1] = 1 - 1e-9
    assert quantile(cdf, np.array([1.0]), GRID)[0] == 1.0


@pytest.mark.parametrize("penalty", ["absolute", "square"])
def test_gradient_is_the_derivative(penalty):
    rng = np.random.default_rng(5)
    y, targets, at = rng.integers(0, 3, 6), rng.dirichlet(np.ones(3), 6), np.array([1, 4, 5])
    targets[4] = np.nan
    logits = rng.normal(size=(3, 3))
    found = target_gradient(y, targets, 0.4, penalty)(logits, at)

    def loss(logits):
        f = softmax(logits)
        off = np.nan_to_num(f - targets[at])
        distance = np.abs(off) if penalty == "absolute" else off**2
        return (-0.4 * np.log(f[np.arange(3), y[at]]) + 0.6 * 0.5 * distance.sum(1)).mean()

    for i in range(3):
        for j in range(3):
            step = np.zeros((3, 3))
            step[i, j] = 1e-6
            assert found[i, j] == pytest.approx((loss(logits + step) - loss(logits - step)) / 2e-6, abs=1e-5)


def test_a_row_gets_the_target_of_its_own_rank():
    rng = np.random.default_rng(6)
    method = WassFFed(WassFFedConfig(), problem_of(2, 2, 1, n_features=4))
    rows = learnable(rng, 400)
    client = method.client(whole(0, rows))
    score = rng.random(400)
    scores = np.stack([1 - score, score], 1)
    targets = client._targets(scores, transport_tables(client._histogram(scores)))
    for g in range(2):
        assert np.corrcoef(score[rows.a == g], targets[rows.a == g, 1])[0, 1] > 0.98


@pytest.mark.parametrize("barycentre", ["w2", "mixture"])
def test_the_gap_falls_at_every_threshold(barycentre):
    rng = np.random.default_rng(7)
    clients = [learnable(rng, 800) for _ in range(3)]
    free, _ = run(clients, alpha=1.0)
    fair, cells = run(clients, alpha=0.2, barycentre=barycentre)
    a, X = np.concatenate([c.a for c in clients]), np.concatenate([c.X for c in clients])
    before, after = (o.method.probabilities({"X": X}, o.shared, {})[:, 1] for o in (free, fair))
    for threshold in (0.35, 0.5, 0.65):
        gaps = [abs((s[a == 0] > threshold).mean() - (s[a == 1] > threshold).mean()) for s in (before, after)]
        assert gaps[1] < 0.5 * gaps[0]
    assert accuracy(cells) > 0.55
    assert after.std() > 0.02  # not collapsed


def test_alpha_moves_to_meet_a_tolerance():
    rng = np.random.default_rng(8)
    clients = [learnable(rng, 600) for _ in range(2)]
    outcome, cells = run(clients, alpha=0.9, global_tolerance=0.05, rounds=40)
    assert outcome.notes["alpha"] < 0.9
    assert global_gap(cells, "dp") < 0.25


@pytest.mark.parametrize(("criterion", "n_classes"), [("eop", 2), ("eo", 2), ("dp", 3), ("eop", 3)])
def test_other_criteria_and_classes(criterion, n_classes):
    rng = np.random.default_rng(9)
    clients = [learnable(rng, 800, 3 if n_classes == 3 else 2, n_classes) for _ in range(2)]
    n_groups = int(clients[0].a.max()) + 1
    _, free = run(clients, n_classes=n_classes, n_groups=n_groups, criterion=criterion, alpha=1.0)
    _, fair = run(clients, n_classes=n_classes, n_groups=n_groups, criterion=criterion, alpha=0.2)
    assert gap(fair.sum(0), criterion) < 0.8 * gap(free.sum(0), criterion)


def test_with_few_rounds_it_is_fedavg():
    rng = np.random.default_rng(10)
    outcome, _ = run([learnable(rng, 100) for _ in range(2)], rounds=3, warm_up=5)
    assert set(outcome.kinds) == {"train"}
