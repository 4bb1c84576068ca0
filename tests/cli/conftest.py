from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import table
from typer.testing import CliRunner, Result

from rectitude.cli.main import app
from rectitude.data.dataset import Dataset


@pytest.fixture(scope="session")
def cli() -> Callable[..., Result]:
    """Run a command line in this process; standard output and standard error are apart."""

    def run(*words: str | Path, code: int = 0, width: int = 80, **environment: str) -> Result:
        given = {"COLUMNS": str(width), "TERM": "dumb", **environment}
        result = CliRunner().invoke(app, [str(word) for word in words], env=given, prog_name="rectitude")
        assert result.exit_code == code, result.stderr or repr(result.exception)
        assert "Traceback" not in result.stderr
        return result

    return run


@pytest.fixture(scope="session")
def refusal(cli: Callable[..., Result]) -> Callable[..., str]:
    """The one line with which a command refuses; nothing is on standard output."""

    def run(*words: str | Path, code: int = 1, **named: Any) -> str:
        result = cli(*words, code=code, **named)
        assert result.stdout == ""
        lines = [line for line in result.stderr.splitlines() if line.startswith("Error:")]
        assert len(lines) == 1, result.stderr
        assert result.stderr.splitlines()[-1] == lines[0]
        return lines[0]

    return run


@pytest.fixture(scope="session")
def answer(cli: Callable[..., Result]) -> Callable[..., Any]:
    """What a command prints with ``--json``."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    def ask(*words: str | Path, **named: Any) -> Any:
        return json.loads(cli(*words, "--json", **named).stdout, parse_constant=refuse)

    return ask


@pytest.fixture(scope="session")
def shop(tiny: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of tables that nobody changes."""
    folder = tmp_path_factory.mktemp("data") / "shop"
    folder.mkdir()
    table(tiny).rename({"user": "user_id", "item": "item_id"}).write_parquet(folder / "interactions.parquet")
    tiny.items.write_parquet(folder / "items.parquet")
    tiny.users.write_parquet(folder / "users.parquet")
    return folder


@pytest.fixture(scope="session")
def runs(cli: Callable[..., Result], shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two judged runs that nobody changes: popularity and ease."""
    folder = tmp_path_factory.mktemp("runs")
    for model in ("popularity", "ease"):
        cli("fit", shop, "--model", model, "--out", folder / model)
        cli("evaluate", folder / model)
    return folder
