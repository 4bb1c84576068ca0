from __future__ import annotations

import numpy as np
import pytest
from driver import decided, federate, problem_of, scored, whole
from fairlearn.postprocessing import ThresholdOptimizer
from sklearn.base import BaseEstimator, ClassifierMixin

from rectitude.core.errors import ConfigError
from rectitude.federated.contracts import Rows
from rectitude.federated.methods.thresholds import (
    GlobalThresholds,
    LocalThresholds,
    ThresholdConfig,
    accept_by_bin,
    bin_of,
)
from rectitude.federated.metrics import accuracy, global_gap, local_gaps


class Scores(ClassifierMixin, BaseEstimator):
    """A classifier whose features are its scores."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        return np.column_stack([1 - X[:, 0], X[:, 0]])


def clients(seed=0, sizes=(1200, 800)):
    rng = np.random.default_rng(seed)
    return [scored(rng, n, 2, 2, skew=1.5) for n in sizes]


@pytest.mark.parametrize(
    ("criterion", "constraint"),
    [("dp", "demographic_parity"), ("eop", "true_positive_rate_parity"), ("eo", "equalized_odds")],
)
def test_global_thresholds_are_fairlearns_on_pooled_data(criterion, constraint):
    bins = 100
    rows = [
        Rows(r.X, r.y, r.a, np.stack([1 - s, s], 1))
        for r in clients()
        for s in [(bin_of(r.eta[:, 1], bins) + 0.5) / bins]  # the same resolution for both
    ]
    data = [whole(k, each) for k, each in enumerate(rows)]
    config = ThresholdConfig(criterion=criterion, global_tolerance=0.0, bins=bins)
    outcome = federate(GlobalThresholds(config, problem_of(2, 2, 2)), data)
    accept = outcome.shared["accept"]
    score, y, a = (
        np.concatenate([getattr(r, n) if n != "eta" else r.eta[:, 1] for r in rows]) for n in ("eta", "y", "a")
    )
    chance = accept[a, bin_of(score, bins)]
    ours = np.where(y == 1, chance, 1 - chance).mean()
    theirs = ThresholdOptimizer(
        estimator=Scores().fit(score[:, None], y),
        constraints=constraint,
        objective="accuracy_score",
        grid_size=2000,
        prefit=True,
        predict_method="predict_proba",
    ).fit(score[:, None], y, sensitive_features=a)
    pooled = theirs._pmf_predict(score[:, None], sensitive_features=a)[:, 1]
    accuracy_theirs = np.where(y == 1, pooled, 1 - pooled).mean()
    assert ours == pytest.approx(accuracy_theirs, abs=2e-3)
    assert ours >= accuracy_theirs - 1e-6
    for given in {"dp": (y >= 0,), "eop": (y == 1,), "eo": (y == 1, y == 0)}[criterion]:
        assert chance[given & (a == 0)].mean() == pytest.approx(chance[given & (a == 1)].mean(), abs=1e-9)


def test_acceptance_rises_with_the_score():
    rows = clients(1)[0]
    histogram = np.zeros((2, 2, 50))
    np.add.at(histogram, (rows.a, rows.y, bin_of(rows.eta[:, 1], 50)), 1.0)
    for tolerance in (None, 0.0, 0.05):
        accept = accept_by_bin(histogram, "eo", tolerance)
        assert np.all(np.diff(accept, axis=1) >= -1e-9)
        assert accept.min() >= 0
        assert accept.max() <= 1


def test_without_a_tolerance_it_is_the_most_accurate_threshold():
    rows = clients(2)[0]
    histogram = np.zeros((2, 2, 50))
    np.add.at(histogram, (rows.a, rows.y, bin_of(rows.eta[:, 1], 50)), 1.0)
    accept = accept_by_bin(histogram, "dp", None)
    for g in range(2):
        right = [histogram[g, 0, :t].sum() + histogram[g, 1, t:].sum() for t in range(51)]
        ours = (histogram[g, 1] * accept[g]).sum() + (histogram[g, 0] * (1 - accept[g])).sum()
        assert ours == pytest.approx(max(right))


def test_local_thresholds_send_nothing_and_keep_each_clients_gap():
    rows = clients(3, (3000, 2500))
    data = [whole(k, each) for k, each in enumerate(rows)]
    outcome = federate(LocalThresholds(ThresholdConfig(local_tolerance=0.01), problem_of(2, 2, 2)), data)
    assert outcome.kinds == []
    assert local_gaps(decided(outcome, data), "dp").max() < 0.04  # decisions are drawn
    new = {"X": rows[0].X, "a": rows[0].a, "eta": rows[0].eta}
    with pytest.raises(ConfigError, match="every client has its own"):  # rather than thresholds that are nobody's
        outcome.method.decide(new, {}, {}, np.random.default_rng(0))


def test_three_groups():
    rng = np.random.default_rng(4)
    rows = [scored(rng, 3000, 2, 3, skew=1.5) for _ in range(2)]
    data = [whole(k, each) for k, each in enumerate(rows)]
    config = ThresholdConfig(global_tolerance=0.02)
    cells = decided(federate(GlobalThresholds(config, problem_of(2, 3, 2)), data), data)
    assert global_gap(cells, "dp") < 0.06
    assert accuracy(cells) > 0.6


def test_more_classes_are_fedfacts():
    with pytest.raises(ConfigError, match="fedfact-post"):
        GlobalThresholds(ThresholdConfig(), problem_of(3, 2, 2))
