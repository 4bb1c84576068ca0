"""scikit-learn's interface, with models of our own and of others."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from rectitude.core.errors import ConfigError, DataError, QueryError
from rectitude.federated.encoder import Encoder
from rectitude.federated.estimator import FederatedClassifier


@pytest.fixture(scope="module")
def arrays(table: pl.DataFrame) -> dict[str, Any]:
    features = table.select("merit", "proxy", "kind")
    return {
        "X": Encoder.fit(features).transform(features),
        "y": table["label"].to_numpy(),
        "sensitive": table["gender"].to_numpy(),
        "client": table["site"].to_numpy(),
    }


def loose() -> dict[str, Any]:
    return {"global_tolerance": 0.02, "local_tolerance": 0.05, "base_settings": {"rounds": 8}}


def test_it_is_fairer_than_what_it_was_made_from(arrays: dict[str, Any]) -> None:
    fair = FederatedClassifier("fedfact-post", **loose()).fit(**arrays)
    plain = FederatedClassifier("fedavg", settings={"rounds": 8}).fit(**arrays)
    assert plain.figures_.global_gap[0] > 0.2
    assert fair.figures_.global_gap[0] < 0.5 * plain.figures_.global_gap[0]
    assert fair.classes_.tolist() == ["no", "yes"]
    assert fair.clients_ == ("north", "south", "west")
    decided = fair.predict(arrays["X"], sensitive=arrays["sensitive"], client=arrays["client"])
    assert set(decided) <= {"no", "yes"}
    rates = [np.mean(decided[arrays["sensitive"] == group] == "yes") for group in ("a", "b")]
    assert abs(rates[0] - rates[1]) < 0.08
    assert fair.score.__self__ is fair
    proba = fair.predict_proba(arrays["X"][:5])
    np.testing.assert_allclose(proba.sum(1), 1)


@pytest.mark.parametrize("fitted", [True, False])
def test_any_classifier_with_probabilities_can_be_made_fair(fitted: bool, arrays: dict[str, Any]) -> None:
    model = RandomForestClassifier(20, min_samples_leaf=20, random_state=0, n_jobs=1)
    if fitted:
        model.fit(arrays["X"], arrays["y"])
    made = FederatedClassifier("fedfact-post", estimator=model, **loose()).fit(**arrays)
    assert made.figures_.global_gap[0] < 0.12
    assert made.figures_.accuracy[0] > 0.7
    assert hasattr(model, "classes_") is fitted  # what was given is left alone
    decided = made.predict(arrays["X"][:50], sensitive=arrays["sensitive"][:50], client="north")
    assert decided.shape == (50,)
    if not fitted:  # everybody has a model of its own, so one must say whose is asked
        with pytest.raises(QueryError, match="client="):
            made.predict(arrays["X"][:5], sensitive=arrays["sensitive"][:5])


def test_it_is_cloned_and_configured_like_any_estimator() -> None:
    made = FederatedClassifier("logofair", global_tolerance=0.03, seed=4)
    copy = clone(made).set_params(seed=5)
    assert (copy.get_params()["global_tolerance"], copy.seed, made.seed) == (0.03, 5, 4)


def test_numbers_can_be_classes_and_groups(arrays: dict[str, Any]) -> None:
    numbered = {
        **arrays,
        "y": (arrays["y"] == "yes").astype(int),
        "sensitive": (arrays["sensitive"] == "b").astype(int),
        "client": np.searchsorted(["north", "south", "west"], arrays["client"]),
    }
    made = FederatedClassifier("fedavg", settings={"rounds": 2}).fit(**numbered)
    decided = made.predict(numbered["X"])
    assert decided.dtype.kind == "i"
    assert set(decided) <= {0, 1}


@pytest.mark.parametrize(
    ("changed", "kind", "said"),
    [
        ({"sensitive": np.zeros(3)}, DataError, "One value per row is wanted"),
        ({"sensitive": np.zeros(2400)}, DataError, "'sensitive' has fewer than two different values"),
        ({"client": np.zeros(2400)}, DataError, "'client' has fewer than two different values"),
        ({"X": np.full((2400, 2), np.nan)}, DataError, "X holds NaN"),
    ],
)
def test_arrays_that_cannot_be_used(
    changed: dict[str, Any], kind: type[Exception], said: str, arrays: dict[str, Any]
) -> None:
    with pytest.raises(kind, match=said):
        FederatedClassifier().fit(**{**arrays, **changed})


def test_models_that_cannot_be_used(arrays: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="trains its own model"):
        FederatedClassifier("fedavg", estimator=LogisticRegression()).fit(**arrays)
    with pytest.raises(ConfigError, match="has no predict_proba"):
        FederatedClassifier(estimator=LinearSVC().fit(arrays["X"], arrays["y"])).fit(**arrays)
    other = LogisticRegression().fit(arrays["X"], np.where(arrays["y"] == "yes", "maybe", "no"))
    with pytest.raises(DataError, match="classes that y has not: maybe"):
        FederatedClassifier(estimator=other).fit(**arrays)


def test_questions_that_cannot_be_answered(arrays: dict[str, Any]) -> None:
    made = FederatedClassifier("fedfact-post", **loose()).fit(**arrays)
    with pytest.raises(QueryError, match="the group of the rows is not given"):
        made.predict(arrays["X"])
    with pytest.raises(QueryError, match="There is no group 'c'"):
        made.predict(arrays["X"][:1], sensitive=["c"])
    with pytest.raises(QueryError, match=r"There is no client 'nroth'. Did you mean 'north'\?"):
        made.predict(arrays["X"][:1], sensitive=["a"], client="nroth")
    with pytest.raises(QueryError, match="Rows of 5 features are wanted"):
        made.predict(arrays["X"][:, :2], sensitive=arrays["sensitive"])
