"""Where the learning curve goes while it grows: a CSV file always, TensorBoard or MLflow when asked."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any, Literal, Protocol

from rectitude.core.errors import MissingExtraError, RectitudeError
from rectitude.core.files import write_text

Tracker = Literal["tensorboard", "mlflow"]


class Logger(Protocol):
    """Takes each epoch's line of the learning curve."""

    def start(self, rows: list[dict[str, float]]) -> None:
        """Training begins, after the epochs of an interrupted one where there were any."""
        ...

    def log(self, row: dict[str, float]) -> None:
        """One epoch."""
        ...

    def close(self) -> None:
        """The training has ended."""
        ...


def curve_csv(rows: list[dict[str, float]]) -> str:
    """The learning curve as CSV text, one line per epoch."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


class CsvLogger:
    """Rewrites one CSV file per epoch, whole, so that it is never half there.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: list[dict[str, float]] = []

    def start(self, rows: list[dict[str, float]]) -> None:
        """Begin with the epochs there are."""
        self._rows = list(rows)

    def log(self, row: dict[str, float]) -> None:
        """One epoch."""
        self._rows.append(row)
        write_text(self.path, curve_csv(self._rows))

    def close(self) -> None:
        """Nothing to do."""


class TensorBoardLogger:
    """Scalars for TensorBoard.

    Args:
        folder: Where event files go.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ImportError as error:
            raise MissingExtraError("tensorboard", "track", "Logging to TensorBoard") from error
        self._writer: Any = SummaryWriter(str(folder))

    def start(self, rows: list[dict[str, float]]) -> None:
        """Nothing to do: earlier epochs are in event files of their own."""

    def log(self, row: dict[str, float]) -> None:
        """One epoch."""
        for name, value in row.items():
            if name != "epoch":
                self._writer.add_scalar(name, value, int(row["epoch"]))

    def close(self) -> None:
        """Flush."""
        self._writer.close()


class MlflowLogger:
    """Metrics of one MLflow run, at the tracking address MLflow itself is configured with.

    Args:
        name: Run name.
        parameters: Logged once.

    Raises:
        MissingExtraError: MLflow is not installed.
        RectitudeError: MLflow has nowhere to write.
    """

    def __init__(self, name: str, parameters: dict[str, Any]) -> None:
        try:
            import mlflow
        except ImportError as error:
            raise MissingExtraError("mlflow", "track", "Logging to MLflow") from error
        self._mlflow: Any = mlflow
        try:
            mlflow.start_run(run_name=name)
        except mlflow.exceptions.MlflowException as error:
            raise RectitudeError(
                f"MLflow refuses: {str(error).split('. ')[0]}",
                where=mlflow.get_tracking_uri(),
                fix="Set MLFLOW_TRACKING_URI to a server or a database, as in sqlite:///mlflow.db",
            ) from error
        mlflow.log_params(parameters)

    def start(self, rows: list[dict[str, float]]) -> None:
        """A new MLflow run is told of earlier epochs too."""
        for row in rows:
            self.log(row)

    def log(self, row: dict[str, float]) -> None:
        """One epoch."""
        metrics = {name.replace("@", "_at_"): value for name, value in row.items() if name != "epoch"}
        self._mlflow.log_metrics(metrics, step=int(row["epoch"]))

    def close(self) -> None:
        """End the run."""
        self._mlflow.end_run()
