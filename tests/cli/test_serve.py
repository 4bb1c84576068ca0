"""What ``rectitude serve`` refuses before it listens, in one clear line."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from rectitude.data.dataset import Dataset
from rectitude.workflow.fitting import fit

Cli = Callable[..., Result]


@pytest.fixture(scope="module")
def run(tiny: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(tiny, "ease", out=tmp_path_factory.mktemp("runs") / "ease", progress=False).path


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RECTITUDE_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--host", "192.0.2.1"], "rectitude keys make NAME --role admin"),
        (["--host", "::"], "its store has no key"),
        (["--store", "mysql://x"], "mysql"),
        (["--store", "sqlite://"], "needs a file"),
        (["--experiment", "try"], "NAME=SLOT:SHARE"),
        (["--experiment", "try=main:0.5,bpr:0.5"], "No run is served as 'bpr'"),
        (["--experiment", "try=main:0.5,main2:0.6"], "sum to 1.1"),
        (["--rules", "none.toml"], "does not exist"),
        (["--set", "rate=3"], "Unknown setting 'rate'"),
        (["--set", "max_k=0"], "max_k"),
        (["--tls-key", "key.pem"], "given together"),
        (["--config", "none.toml"], "does not exist"),
    ],
)
def test_what_cannot_be_served(cli: Cli, run: Path, options: list[str], said: str) -> None:
    result = cli("serve", str(run), "--port", "0", *options, code=1)
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_runs_that_are_none(cli: Cli, run: Path, tmp_path: Path) -> None:
    assert "There is no such run" in cli("serve", "nowhere", code=1).stderr
    (tmp_path / "rectitude.db").unlink()
    assert "no config.json" in cli("serve", str(run.parent), code=1).stderr
    assert "Two runs would stand in the slot 'main'" in cli("serve", str(run), f"main={run}", code=1).stderr


def test_a_port_that_is_taken(cli: Cli, run: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert "Address already in use" in cli("serve", str(run), "--port", port, code=1).stderr


def test_it_says_where_it_answers_and_ends_in_order(run: Path, tmp_path: Path) -> None:
    import httpx

    command = [sys.executable, "-m", "rectitude", "serve", str(run), f"other={run}", "--port", "0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True
    ) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(4)]
        assert told[0].startswith(f"main   {run}  EASE, exact, 40 items")
        assert told[1].startswith("other  ")
        address = told[3].split()[1].removesuffix("/docs")
        assert told[2].split()[1] == f"{address}/"
        assert httpx.get(f"{address}/v1/recommend?user=u1&slot=other", timeout=30).json()["answered_by"] == "EASE"
        process.send_signal(signal.SIGINT)
        _, remarks = process.communicate(timeout=60)
    assert "No key is in the store" in remarks
    assert "Traceback" not in remarks
    assert process.returncode in (0, 130)
