from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import pytest

from rectitude.core.errors import MissingExtraError, RectitudeError
from rectitude.data.dataset import Dataset
from rectitude.data.split import Split, split
from rectitude.training.loggers import CsvLogger, MlflowLogger, TensorBoardLogger, curve_csv
from rectitude.training.methods import Method
from rectitude.training.trainer import Trainer
from rectitude.training.tuning import new_model


@pytest.fixture(scope="module")
def divided(tiny: Dataset) -> Split:
    return split(tiny).development()


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def train(divided: Split, epochs: int, **options: Any) -> list[dict[str, float]]:
    model = new_model("bpr", {"n_factors": 4, "epochs": epochs, "validate_every": 2}, divided, seed=0)
    return Trainer(model, divided, progress=False, **options).train().curve


def test_a_curve_is_a_table_with_gaps_where_nothing_was_measured() -> None:
    text = curve_csv([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25, "valid_ndcg@10": 0.125}])
    assert text.splitlines() == ["epoch,loss,valid_ndcg@10", "1,0.5,", "2,0.25,0.125"]


def test_the_csv_file_grows_while_training_runs(divided: Split, tmp_path: Path) -> None:
    path, seen = tmp_path / "deep" / "curve.csv", []

    class Watch(Method):
        def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> None:
            seen.append(len(rows(path)) if path.exists() else 0)

    curve = train(divided, 3, loggers=[CsvLogger(path)], methods=[Watch()])
    assert seen == [0, 1, 2]
    assert [float(row["loss"]) for row in rows(path)] == [row["loss"] for row in curve]
    assert [row["valid_ndcg@10"] != "" for row in rows(path)] == [False, True, True]


def test_the_csv_file_of_a_resumed_training_holds_all_epochs(divided: Split, tmp_path: Path) -> None:
    path, kept = tmp_path / "curve.csv", {"checkpoint": tmp_path / "state.safetensors"}
    train(divided, 2, loggers=[CsvLogger(path)], **kept)
    curve = train(divided, 3, loggers=[CsvLogger(path)], resume=True, **kept)
    assert [int(row["epoch"]) for row in rows(path)] == [1, 2, 3]
    assert [float(row["loss"]) for row in rows(path)] == [row["loss"] for row in curve]


class Spy:
    def __init__(self) -> None:
        self.events: list[str] = []

    def start(self, rows: list[dict[str, float]]) -> None:
        self.events.append(f"start {len(rows)}")

    def log(self, row: dict[str, float]) -> None:
        self.events.append(f"epoch {row['epoch']}")

    def close(self) -> None:
        self.events.append("close")


def test_loggers_are_closed_however_training_ends(divided: Split) -> None:
    spy = Spy()
    train(divided, 2, loggers=[spy])
    assert spy.events == ["start 0", "epoch 1", "epoch 2", "close"]

    class Fail(Method):
        def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> None:
            raise RectitudeError("Enough")

    spy = Spy()
    with pytest.raises(RectitudeError, match="Enough"):
        train(divided, 2, loggers=[spy], methods=[Fail()])
    assert spy.events == ["start 0", "close"]


def test_tensorboard_reads_what_is_logged(divided: Split, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    curve = train(divided, 2, loggers=[TensorBoardLogger(tmp_path)])
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert {"loss", "valid_ndcg@10", "seconds"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("loss")] == [1, 2]
    logged = [event.value for event in events.Scalars("loss")]
    assert logged == pytest.approx([row["loss"] for row in curve])


def test_a_logger_whose_package_is_missing_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingExtraError, match=r"needs the package 'mlflow'.*pip install 'rectitude\[track\]'"):
        MlflowLogger("run", {})
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", None)
    with pytest.raises(MissingExtraError, match=r"'tensorboard'.*rectitude\[track\]"):
        TensorBoardLogger(tmp_path)


def test_mlflow_is_told_of_settings_and_epochs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed (extra 'track')")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    logger = MlflowLogger("mine", {"n_factors": 4})
    logger.start([{"epoch": 1, "loss": 0.5}])
    logger.log({"epoch": 2, "loss": 0.25, "valid_ndcg@10": 0.125})
    logger.close()
    client = mlflow.MlflowClient((tmp_path / "mlruns").as_uri())
    (run,) = client.search_runs([client.search_experiments()[0].experiment_id])
    assert (run.info.run_name, run.info.status, run.data.params) == ("mine", "FINISHED", {"n_factors": "4"})
    assert run.data.metrics == {"loss": 0.25, "valid_ndcg_at_10": 0.125}
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(1, 0.5), (2, 0.25)]


def test_an_mlflow_that_cannot_write_is_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="MLflow is not installed (extra 'track')")
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    with pytest.raises(RectitudeError, match=r"MLflow refuses: .*MLFLOW_TRACKING_URI"):
        MlflowLogger("mine", {})
