"""What is saved decides as what was trained, without Flower, and says what it cannot do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from rectitude.core.errors import QueryError, RunError
from rectitude.federated.clients import Federation
from rectitude.federated.federate import federate
from rectitude.federated.metrics import count_cells
from rectitude.federated.model import FederatedModel
from rectitude.federated.partition import PARTS
from rectitude.federated.plan import Plan, Stage, dump, read_arrays, read_rows, scoped, under, write_rows
from rectitude.federated.registry import METHODS, find
from rectitude.federated.request import Request
from rectitude.federated.run import in_process, new_run_id
from rectitude.runs.folder import RunFolder


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_saved_model_decides_as_it_was_judged(method: str, federation: Federation, tmp_path: Path) -> None:
    """Counting its decisions on the clients' test rows gives the cells of the evaluation, for every method."""
    post = find(method).stage == "post"
    base = (Stage("fedavg", {"rounds": 2}),) if post else ()
    plan = Plan(new_run_id(), federation.problem, (*base, Stage(method, {"rounds": 2}, base=0 if post else None)))
    done = in_process(plan, federation.clients)
    last = len(plan.stages) - 1
    shared = {stage: done.progress.shared(stage) for stage in range(last + 1)}
    made = FederatedModel(plan, last, shared, done.personal, federation.encoder, "label", "gender")
    RunFolder.create(tmp_path / "run", made.config(), lambda folder: made.write(folder.path))
    loaded = FederatedModel.load(tmp_path / "run")
    cells: Any = 0
    for client in federation.clients:
        test = client.test
        decided = loaded.decide(test.X, test.a, client.name)
        np.testing.assert_array_equal(decided, made.decide(test.X, test.a, client.name))
        cells = cells + count_cells(test.y, decided, test.a, 2, 2)
    judged = done.progress.evaluation(last, "test").cells
    assert np.abs(cells - judged).sum() <= 0.05 * judged.sum()  # ties and random decisions are drawn anew


def test_tables_and_arrays_are_decided_alike(table: pl.DataFrame, tmp_path: Path) -> None:
    request = Request("fedfact-post", against="none", base_layers={"x": {"rounds": 2}}, n_clients=2)
    run = federate(table, request, out=tmp_path / "run", progress=False)
    model = FederatedModel.load(run)
    assert model.encoder is not None
    X = model.encoder.transform(table)
    from_table = model.predict(table, client="client-1")
    np.testing.assert_array_equal(from_table, model.predict(X, table["gender"].to_list(), "client-1"))
    each = ["client-0", "client-1"] * 1200
    mixed = model.predict(table, client=each)
    np.testing.assert_array_equal(mixed[1::2], from_table[1::2])
    assert model.predict(table).shape == (2400,)  # the shared part alone
    assert model.predict_proba(table).shape == (2400, 2)


def test_runs_of_another_kind_are_refused(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "run", {"kind": "recommender"}, lambda folder: None)
    with pytest.raises(RunError, match="not one of a federation"):
        FederatedModel.load(tmp_path / "run")


def test_a_model_that_was_not_saved_has_to_be_given(federation: Federation) -> None:
    plan = Plan(new_run_id(), federation.problem, (Stage("fedfact-post", {"rounds": 2}),))

    def half(X: Any) -> Any:
        up = 1 / (1 + np.exp(-X[:, 0].astype(float)))
        return np.stack([1 - up, up], 1)

    done = in_process(plan, federation.clients, scorers=[half] * 4)
    made = FederatedModel(plan, 0, {0: done.progress.shared(0)}, done.personal)
    with pytest.raises(QueryError, match="Give it as scorer="):
        made.decide(federation.clients[0].test.X, federation.clients[0].test.a)
    made.scorer = half
    assert len(made.decide(federation.clients[0].test.X, federation.clients[0].test.a)) == len(
        federation.clients[0].test
    )


def test_plans_and_rows_survive_their_files(federation: Federation, tmp_path: Path) -> None:
    stages = (Stage("fedavg", {"rounds": 2}), Stage("logofair", {"global_tolerance": None}, base=0, label="x"))
    plan = Plan("run", federation.problem, stages, noise=2.0)
    plan.write(tmp_path)
    assert Plan.read(tmp_path) == plan
    write_rows(tmp_path / "rows", federation.clients[2])
    back = read_rows(tmp_path / "rows", federation.problem)
    assert (back.index, back.name) == (2, federation.clients[2].name)
    for part in PARTS:
        np.testing.assert_array_equal(getattr(back, part).X, getattr(federation.clients[2], part).X)
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(RunError, match="no usable plan"):
        Plan.read(tmp_path)


def test_arrays_keep_their_shapes_and_scopes(tmp_path: Path) -> None:
    arrays = {"a/x": np.asarray(3), "a/y": np.zeros((0, 2)), "ab/x": np.ones(2, np.float32)}
    (tmp_path / "f").write_bytes(dump(arrays))
    back = read_arrays(tmp_path / "f")
    assert {name: (array.shape, array.dtype) for name, array in back.items()} == {
        name: (array.shape, array.dtype) for name, array in arrays.items()
    }
    assert set(scoped(back, "a")) == {"x", "y"}
    assert under("s", {"x": arrays["a/x"]}).keys() == {"s/x"}
