"""What a run is on disk: one folder, written whole, read without pickle.

``config.json`` (effective values and the origin of each), ``model.safetensors``, ``ids.parquet``, ``history.parquet``,
``curve.csv``, ``metrics.json``, ``findings.json``, ``lineage.json``, ``remedy.json``, ``README.md`` (the model card)
and ``report.html``. Runs of every kind share the folder; which of the files a kind needs is its own affair.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import polars as pl

from rectitude.core.errors import RunError
from rectitude.core.files import recover_folder, replace_folder, write_json, write_text

FORMAT = 1
"""Raised when a folder of today could not be read by yesterday's code, or the other way round."""

CONFIG = "config.json"
MODEL = "model.safetensors"
IDS = "ids.parquet"
HISTORY = "history.parquet"
CURVE = "curve.csv"
METRICS = "metrics.json"
FINDINGS = "findings.json"
LINEAGE = "lineage.json"
REMEDY = "remedy.json"
CARD = "README.md"
REPORT = "report.html"


class RunFolder:
    """A run's folder.

    Args:
        path: An existing run folder.

    Raises:
        RunError: It is missing, no run folder, or of another version.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        recover_folder(self.path)
        if not self.path.is_dir():
            raise RunError("There is no such run", where=str(path), fix="Make one with 'rectitude fit … --out RUN'")
        self.config: dict[str, Any] = self.read_json(CONFIG)
        found = self.config.get("format") if isinstance(self.config, dict) else None
        if found != FORMAT:
            raise RunError(
                f"The run is of format {found}, and this version reads format {FORMAT}",
                where=str(self.path / CONFIG),
                fix="Use the version of rectitude it was made with, or train it again",
            )

    @classmethod
    def create(
        cls, path: str | Path, config: dict[str, Any], write: Callable[[RunFolder], None], *, overwrite: bool = False
    ) -> RunFolder:
        """Write a run whole or not at all.

        Args:
            path: Where.
            config: Content of ``config.json`` without the fields every run has (format, creation time, versions).
            write: Puts the other files into the folder it is given, which is not in its place yet.
            overwrite: Replace a run that is there.

        Raises:
            RunError: Something is there that may not be replaced.
        """
        path = Path(path)
        cls.check_target(path, overwrite=overwrite)
        with replace_folder(path) as building:
            write_json(building / CONFIG, {"format": FORMAT, "created": now(), "versions": versions(), **config})
            write(cls(building))
        return cls(path)

    @staticmethod
    def check_target(path: str | Path, *, overwrite: bool) -> None:
        """See, before any work, whether a run may be written there.

        Raises:
            RunError: A run is there and ``overwrite`` is off, or what is there is no run.
        """
        path = Path(path)
        recover_folder(path)
        if not path.exists():
            return
        if not path.is_dir() or (any(path.iterdir()) and not (path / CONFIG).exists()):
            raise RunError(
                "Something other than a run is there", where=str(path), fix="Choose another place with --out"
            )
        if any(path.iterdir()) and not overwrite:
            raise RunError("A run is there already", where=str(path), fix="Choose another --out, or add --overwrite")

    def read_json(self, name: str, default: Any = None) -> Any:
        """Content of one of the JSON files, or ``default`` where it is not there and a default is given.

        Raises:
            RunError: The file is missing or is not JSON.
        """
        path = self.path / name
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            if default is not None:
                return default
            raise RunError(
                f"The folder has no {name}, so it is no run", where=str(self.path), fix="Give the folder of a run"
            ) from error
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise RunError(f"{name} is damaged: {error}", where=str(path), fix="Train the run again") from error

    def read_table(self, name: str) -> pl.DataFrame:
        """Content of one of the Parquet files.

        Raises:
            RunError: The file is missing or is not Parquet.
        """
        try:
            return pl.read_parquet(self.file(name))
        except pl.exceptions.PolarsError as error:
            raise RunError(f"{name} is damaged: {error}", where=str(self.path), fix="Train the run again") from error

    def write_json(self, name: str, value: Any) -> None:
        """Replace one of the JSON files atomically."""
        write_json(self.path / name, value)

    def write_text(self, name: str, text: str) -> None:
        """Replace one of the text files atomically."""
        write_text(self.path / name, text)

    def file(self, name: str) -> Path:
        """Path of a file of the run.

        Raises:
            RunError: The run has no such file.
        """
        path = self.path / name
        if not path.is_file():
            raise RunError(f"The run has no {name}", where=str(self.path), fix="Train the run again")
        return path


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """What computed a run: Python, system, and the packages that matter to its numbers."""
    found = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    for package in ("rectitude", "torch", "numpy", "scipy", "polars"):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
