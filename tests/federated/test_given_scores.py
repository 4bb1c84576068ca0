"""Class probabilities that the table holds already: a classifier from elsewhere, post-processed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from rectitude.core.errors import ConfigError, DataError
from rectitude.federated.clients import federation_of
from rectitude.federated.federate import federate
from rectitude.federated.metrics import count_cells, gap
from rectitude.federated.model import FederatedModel
from rectitude.federated.request import Request
from rectitude.runs.folder import METRICS


def scored(n: int = 4000, seed: int = 0) -> pl.DataFrame:
    """What a good but unfair classifier says of people, with nothing else about them."""
    rng = np.random.default_rng(seed)
    group = rng.choice(["a", "b"], p=[0.6, 0.4], size=n)
    merit = 2 * rng.normal(size=n) - 1.2 * (group == "b")
    p = 1 / (1 + np.exp(-merit))
    return pl.DataFrame(
        {"gender": group, "hired": np.where(rng.random(n) < p, "yes", "no"), "p_yes": p, "p_no": 1 - p, "name": "x"}
    )


def ask(method: str = "fedfact-post", **named: Any) -> Request:
    given = {"label": "hired", "attribute": "gender", "scores": ("p_yes",), "partition": "iid", "against": "none"}
    return Request(method, global_tolerance=0.02, local_tolerance=0.05, n_clients=3, **{**given, **named})


@pytest.mark.parametrize("method", ["fedfact-post", "logofair", "threshold-global", "threshold-local"])
def test_any_classifier_is_made_fair_by_its_columns_alone(method: str, tmp_path: Path) -> None:
    table = scored()
    run = federate(table, ask(method), out=tmp_path / "r", progress=False)
    told = run.read_json(METRICS)
    assert told["base"]["method"] == "scores"
    assert told["base"]["global_gap"] > 0.15
    assert told["global_gap"] < 0.06
    assert told["accuracy"] > told["base"]["accuracy"] - 0.05
    assert told["stages"]["scores"]["exchanges"] == 0  # nothing was trained

    new = scored(3000, seed=1)
    model = FederatedModel.load(run.path)  # a model from disk needs the columns and the group, and no classifier
    decided = model.decide(new.drop("hired"), client="client-0")
    a, y = (new["gender"] == "b").to_numpy().astype(int), (new["hired"] == "yes").to_numpy().astype(int)
    assert float(gap(count_cells(y, decided, a, 2, 2), "dp")) < 0.06
    np.testing.assert_allclose(model.predict_proba(new)[:, 1], new["p_yes"], atol=1e-6)


def test_one_column_and_two_say_the_same(tmp_path: Path) -> None:
    table, told = scored(), []
    for name, columns in {"one": ("p_yes",), "two": ("p_no", "p_yes")}.items():
        run = federate(table, ask(scores=columns), out=tmp_path / name, progress=False)
        told.append(run.read_json(METRICS))
    assert told[0]["accuracy"] == told[1]["accuracy"]
    assert told[0]["global_gap"] == told[1]["global_gap"]


def test_no_row_is_kept_for_training_and_no_scale_is_learnt() -> None:
    made = federation_of(scored(), label="hired", attribute="gender", scores=("p_yes",), n_clients=3, partition="iid")
    assert made.problem.n_features == 1
    assert all(len(client.train) == 0 for client in made.clients)
    values = np.concatenate([client.calibration.X[:, 0] for client in made.clients])
    assert values.min() >= 0
    assert values.max() <= 1


def test_five_classes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n, classes = 5000, list("abcde")
    group = rng.integers(0, 2, n)
    logits = rng.normal(size=(n, 5)) + 0.8 * np.outer(group, [1, 0, 0, 0, -1])
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    label = [classes[k] for k in (rng.random((n, 1)) > p.cumsum(1)).sum(1)]
    frame = {"label": label, "group": group, **{f"p_{c}": p[:, k].round(3) for k, c in enumerate(classes)}}
    request = ask(label="label", attribute="group", scores=tuple(f"p_{c}" for c in classes))
    told = federate(pl.DataFrame(frame), request, out=tmp_path / "r", progress=False).read_json(METRICS)
    assert told["global_gap"] < told["base"]["global_gap"] / 2


def broken(**columns: Any) -> pl.DataFrame:
    return scored().with_columns(**columns)


ROW = pl.int_range(pl.len()) == 7
BAD: dict[str, tuple[Callable[[], pl.DataFrame], tuple[str, ...], type[Exception], str]] = {
    "no probabilities": (
        lambda: broken(p_yes=pl.when(ROW).then(1.7).otherwise(pl.col("p_yes"))),
        ("p_yes",),
        DataError,
        r"'p_yes' holds no probabilities: 1.7 in row 8 \(1 row\)",
    ),
    "log-odds": (lambda: broken(p_yes=4 * pl.col("p_yes") - 2), ("p_yes",), DataError, r"1/\(1 \+ exp\(−x\)\)"),
    "missing": (
        lambda: broken(p_yes=pl.when(ROW).then(None).otherwise(pl.col("p_yes"))),
        ("p_yes",),
        DataError,
        "'p_yes' holds no probability in 1 row; the first is row 8",
    ),
    "not a number": (
        lambda: broken(p_yes=pl.when(ROW).then(float("nan")).otherwise(pl.col("p_yes"))),
        ("p_yes",),
        DataError,
        "holds no probability",
    ),
    "text": (scored, ("name",), DataError, "Column 'name' holds no numbers"),
    "do not add up": (
        lambda: broken(p_no=pl.when(ROW).then(0.9).otherwise(pl.col("p_no"))),
        ("p_no", "p_yes"),
        DataError,
        r"add up to \d.* in row 8 \(1 row\)",
    ),
    "too many": (
        scored,
        ("p_no", "p_yes", "name"),
        ConfigError,
        "3 columns of probabilities for 2 classes.*in this order: no, yes",
    ),
    "no such column": (scored, ("p_yse",), DataError, "There is no column 'p_yse'.*p_yes"),
    "the label": (scored, ("hired",), ConfigError, "Column 'hired' is the label or the attribute"),
    "twice": (scored, ("p_yes", "p_yes"), ConfigError, "is named twice"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_are_no_probabilities_is_refused(case: str, tmp_path: Path) -> None:
    table, scores, error, said = BAD[case]
    with pytest.raises(error, match=said):
        federate(table(), ask(scores=scores), out=tmp_path / "r", progress=False)
    assert not list(tmp_path.iterdir())


def test_too_few_columns_for_three_classes_are_refused(tmp_path: Path) -> None:
    table = scored().with_columns(hired=pl.when(ROW).then(pl.lit("maybe")).otherwise(pl.col("hired")))
    with pytest.raises(ConfigError, match="1 column of probabilities for 3 classes"):
        federate(table, ask(), out=tmp_path / "r", progress=False)


def test_columns_in_the_wrong_order_are_doubted(tmp_path: Path) -> None:
    said: list[str] = []
    request = ask(scores=("p_yes", "p_no"))
    federate(scored(), request, out=tmp_path / "r", progress=False, announce=said.append)
    assert any("are the columns in the order of the classes (no, yes)?" in sentence for sentence in said)
    assert "Probabilities: 'p_yes' of 'no', 'p_no' of 'yes'" in said


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"method": "wassffed"}, "WassFFed trains a model of its own.*fedfact-post"),
        ({"base": "fedprox"}, "there is none to train"),
        ({"base_layers": {"--base-set": {"rounds": 3}}}, "there is none to train"),
        ({"method": "scores"}, "'scores' is no method"),
        ({"scores": (), "base": "scores"}, "'scores' trains no model"),
    ],
)
def test_what_does_not_go_with_given_probabilities(named: dict[str, Any], said: str, tmp_path: Path) -> None:
    request = ask(**({"method": "fedfact-post"} | named))
    if request.method in ("wassffed", "scores"):
        request = Request(request.method, scores=request.scores, label="hired", attribute="gender")
    with pytest.raises(ConfigError, match=said):
        federate(scored(), request, out=tmp_path / "r", progress=False)


def test_the_frontier_has_only_methods_that_decide_on_the_probabilities(tmp_path: Path) -> None:
    run = federate(scored(1500), ask(against="all"), out=tmp_path / "r", progress=False)
    assert set(run.read_json("frontier.json")["methods"]) == {
        "fedfact-post", "logofair", "threshold-global", "threshold-local"
    }  # fmt: skip
    assert "Given probabilities" in (run.path / "report.html").read_text()


def test_new_rows_are_checked_as_the_old_ones_were(tmp_path: Path) -> None:
    run = federate(scored(1500), ask(), out=tmp_path / "r", progress=False)
    model = FederatedModel.load(run.path)
    with pytest.raises(DataError, match="holds no probabilities"):
        model.predict(scored(10).with_columns(p_yes=pl.lit(3.0)))
    with pytest.raises(DataError, match="There is no column 'p_yes'"):
        model.predict(scored(10).drop("p_yes"))
