from __future__ import annotations

import itertools
import json
from math import factorial

import numpy as np
import pytest
from scipy.special import expit

from rectitude.core.errors import DataError, RunError
from rectitude.decisions.plans.attribution import level_curve, shapley
from rectitude.decisions.plans.classifier import (
    Candidate,
    best_threshold,
    choose_and_fit,
    fit_score,
    majority_metrics,
    nested_cv,
    platt,
    prediction_metrics,
)
from rectitude.decisions.plans.score import Score

FAMILIES = ("logistic", "forest", "boosted")


def table(seed: int = 0, n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = np.stack([rng.normal(size=n), rng.integers(0, 5, n), rng.random(n) < 0.3, rng.normal(size=n)], axis=1)
    x = x.astype(np.float32).astype(float)
    y = (rng.random(n) < expit(1.2 * x[:, 0] - 0.5 * (x[:, 1] - 2) + x[:, 2])).astype(int)
    return x, y


def small(family: str) -> Candidate:
    return Candidate(family=family, n_trees=12, depth=3, min_leaf=5)


def test_the_score_of_boosted_trees_is_lightgbms_own() -> None:
    import lightgbm

    x, y = table()
    settings = {"objective": "binary", "num_leaves": 8, "max_depth": 3, "min_data_in_leaf": 5, "verbosity": -1,
                "use_missing": False, "num_threads": 1}  # fmt: skip
    booster = lightgbm.train(settings, lightgbm.Dataset(x, y), num_boost_round=30)
    from rectitude.decisions.plans.score import from_lightgbm

    score = from_lightgbm(booster.dump_model(), x.shape[1])
    near = np.concatenate([x, np.nextafter(x, 10.0), np.nextafter(x, -10.0)])
    assert np.allclose(score(near), booster.predict(near, raw_score=True), atol=1e-9, rtol=0)


def test_the_score_of_a_forest_is_scikit_learns_own() -> None:
    from sklearn.ensemble import RandomForestClassifier

    from rectitude.decisions.plans.score import from_forest

    x, y = table()
    forest = RandomForestClassifier(20, max_depth=4, random_state=0).fit(x.astype(np.float32), y)
    score = from_forest(forest.estimators_, x.shape[1])
    assert np.allclose(score(x), forest.predict_proba(x.astype(np.float32))[:, 1], atol=1e-9, rtol=0)


def test_the_logistic_regression_is_scikit_learns_on_standardised_columns() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    x, y = table()
    z = StandardScaler().fit_transform(x)
    other = LogisticRegression(C=1.0, tol=1e-9, max_iter=1000).fit(z, y)
    score = fit_score(Candidate(family="logistic"), x, y, monotone=np.zeros(4, dtype=int), seed=0)
    assert np.allclose(score(x), other.decision_function(z), atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_score_read_back_is_the_same_to_the_last_bit(family: str) -> None:
    x, y = table()
    score = fit_score(small(family), x, y, monotone=np.zeros(4, dtype=int), seed=0).stretched(1.7, -0.3)
    again = Score.from_dict(json.loads(json.dumps(score.to_dict())), n_columns=4, where="test")
    assert np.array_equal(again(x), score(x))


def test_a_damaged_model_is_refused() -> None:
    x, y = table()
    whole = fit_score(small("boosted"), x, y, monotone=np.zeros(4, dtype=int), seed=0).to_dict()
    loop = json.loads(json.dumps(whole))
    loop["trees"]["left"][0] = 0
    for bad in ({}, {**whole, "weights": [1.0]}, {**whole, "trees": {**whole["trees"], "column": [9]}}, loop):
        with pytest.raises(RunError, match="Fit it again"):
            Score.from_dict(bad, n_columns=4, where="test")


@pytest.mark.parametrize("family", FAMILIES)
def test_monotone_constraints_hold_everywhere(family: str) -> None:
    x, y = table()
    score = fit_score(small(family), x, y, monotone=np.array([1, -1, 0, -1]), seed=0)
    rng = np.random.default_rng(1)
    base = rng.normal(size=(40, 4))
    for column, sign in ((0, 1), (1, -1), (3, -1)):
        rows = np.repeat(base, 9, axis=0)
        rows[:, column] = np.tile(np.linspace(-3, 6, 9), 40)
        values = score(rows).reshape(40, 9)
        assert (sign * np.diff(values, axis=1) >= -1e-9).all()


def test_platt_recovers_a_known_distortion() -> None:
    rng = np.random.default_rng(0)
    odds = rng.normal(size=20_000)
    y = (rng.random(20_000) < expit(odds)).astype(int)
    slope, shift = platt((odds - 0.5) / 3, y)
    assert slope == pytest.approx(3, rel=0.06)
    assert shift == pytest.approx(0.5, abs=0.06)
    with pytest.raises(DataError, match="wrong way"):
        platt(-odds, y)


def test_the_simplest_candidate_within_one_standard_error_is_taken() -> None:
    x, y = table(n=600)
    candidates = (small("logistic"), small("boosted"))
    fitted = choose_and_fit(x, y, candidates, monotone=np.zeros(4, dtype=int), groups=None, n_folds=3, seed=0)
    assert fitted.candidate.family == "logistic"
    chance = expit(fitted.score(x))
    assert chance.mean() == pytest.approx(y.mean(), abs=0.03)


def test_scores_that_point_the_wrong_way_are_refused() -> None:
    y = np.arange(240) % 2
    x = np.zeros((240, 1))  # the outcome's own fold is always the rarer one in what is learnt from
    with pytest.raises(DataError, match="do not predict"):
        choose_and_fit(
            x, y, (small("logistic"),), monotone=np.zeros(1, dtype=int), groups=np.repeat(np.arange(120), 2) + y * 1000,
            n_folds=3, seed=0,
        )  # fmt: skip


def test_groups_stay_in_one_fold() -> None:
    from rectitude.decisions.plans.classifier import folds

    groups = np.repeat(np.arange(60), 5)
    y = np.random.default_rng(0).integers(0, 2, 300)
    for learn, rest in folds(y, groups, 5, 0):
        assert not set(groups[learn]) & set(groups[rest])


def test_metrics_against_hand_counts_and_nested_cv_beats_the_majority() -> None:
    y = np.array([1, 1, 1, 0, 0])
    found = prediction_metrics(np.array([2.0, 1.0, -1.0, -2.0, 0.5]), y, 0.0)
    assert found["accuracy"] == pytest.approx(3 / 5)
    assert found["f1_good"] == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert found["auc"] == pytest.approx(5 / 6)
    assert majority_metrics(y)["accuracy"] == pytest.approx(3 / 5)
    assert best_threshold(np.array([-2.0, -1.0, 1.0, 2.0]), np.array([0, 0, 1, 1])) == pytest.approx(0)
    x, y = table()
    rows = nested_cv(
        x, y, (small("logistic"),), monotone=np.zeros(4, dtype=int), groups=None, n_outer=3, n_inner=2, seed=0
    )
    assert np.mean([row["auc"] for row in rows]) > 0.7
    assert np.mean([row["log_loss"] for row in rows]) < np.mean([row["majority"]["log_loss"] for row in rows])


def brute_shapley(score: Score, owners: np.ndarray, x: np.ndarray, background: np.ndarray) -> np.ndarray:
    """From the definition: every subset of questions."""
    n = int(owners.max()) + 1
    worth = {}
    for size in range(n + 1):
        for subset in itertools.combinations(range(n), size):
            mixed = np.where(np.isin(owners, subset)[None, :], x[None, :], background)
            worth[subset] = float(score(mixed).mean())
    values = np.zeros(n)
    for i in range(n):
        for subset in worth:
            if i not in subset:
                weight = factorial(len(subset)) * factorial(n - len(subset) - 1) / factorial(n)
                values[i] += weight * (worth[tuple(sorted((*subset, i)))] - worth[subset])
    return values


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("owners", [[0, 1, 2, 3], [0, 1, 1, 2]])
def test_attributions_are_shapley_values_and_add_up(family: str, owners: list[int]) -> None:
    x, y = table()
    score = fit_score(small(family), x, y, monotone=np.zeros(4, dtype=int), seed=0)
    base, values = shapley(score, np.array(owners), x[:6], x[50:80])
    assert np.allclose(base + values.sum(axis=1), score(x[:6]), atol=1e-9)
    for row in range(3):
        assert np.allclose(values[row], brute_shapley(score, np.array(owners), x[row], x[50:80]), atol=1e-9)


def test_level_curves_are_means_shrunk_and_monotone_where_agreed() -> None:
    codes = np.array([0.0, 0.0, 1.0, 2.0, 2.0, np.nan])
    values = np.array([1.0, 3.0, -4.0, 0.5, 1.5, 99.0])
    free = level_curve(codes, values, np.array([0.0, 1.0, 2.0, 3.0]), None)
    assert np.allclose(free, [2 * 2 / 22, -4 / 21, 1 * 2 / 22, 0.0])
    falling = level_curve(codes, values, np.array([0.0, 1.0, 2.0]), "less")
    assert (np.diff(falling) <= 1e-12).all()
    rising = level_curve(codes, values, np.array([0.0, 1.0, 2.0]), "more")
    assert (np.diff(rising) >= -1e-12).all()
