"""Processes of their own that are stopped, killed, or lose their reader."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import SMALL, contents, start, untouched
from typer.testing import Result

Cli = Callable[..., Result]

EPOCHS = 40


def training(shop: Path, out: Path) -> tuple[str, ...]:
    few = ("--set", f"epochs={EPOCHS}", "--set", f"patience={EPOCHS}")
    return ("fit", str(shop), "--model", "sasrec", *SMALL, *few, "--seed", "5", "--out", str(out))


def wait_for_epoch(process: subprocess.Popen[str], out: Path) -> None:
    """Until the first checkpoint is there."""
    checkpoint = out.with_name(f"{out.name}.training") / "checkpoint.safetensors"
    for _ in range(60_000):
        if checkpoint.exists():
            return
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.002)
    raise AssertionError("no epoch has ended in two minutes")


@pytest.fixture(scope="module")
def uninterrupted(cli: Cli, shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    cli(*training(shop, out))
    return out


@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGKILL])
def test_a_training_that_was_cut_off_goes_on_as_if_it_had_not(
    way: signal.Signals, cli: Cli, shop: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    process = start(*training(shop, out))
    wait_for_epoch(process, out)
    process.send_signal(way)
    printed, told = process.communicate(timeout=120)
    assert printed == ""
    assert not out.exists()
    again = [*training(shop, out), "--resume"]
    if way == signal.SIGINT:
        assert process.returncode == 130
        last = told.splitlines()[-1]
        assert last.startswith("Stopped after epoch ")
        assert last.endswith(f"Go on with: rectitude {shlex.join(again)}")
    assert "Traceback" not in told

    cli(*again[:-1], code=1)  # without --resume it is not silently begun anew
    resumed = cli(*again)
    assert "Going on after epoch " in resumed.stderr
    for name in ("model.safetensors", "ids.parquet", "history.parquet"):
        assert (out / name).read_bytes() == (uninterrupted / name).read_bytes(), name
    curves = [(run / "curve.csv").read_text().splitlines() for run in (out, uninterrupted)]
    assert len(curves[0]) == len(curves[1]) == EPOCHS + 1
    assert not out.with_name("run.training").exists()


def test_stopping_before_an_epoch_has_ended_keeps_what_was_there(
    cli: Cli, shop: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rectitude.training.trainer import Trainer

    def stop(self: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "train", stop)
    with untouched(uninterrupted.parent):
        result = cli(*training(shop, uninterrupted), "--overwrite", code=130)
    assert result.stderr.splitlines()[-1] == "Stopped before the first epoch ended; nothing was kept"


def test_stopping_any_other_verb_is_one_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from rectitude.data import catalogue

    def stop() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(catalogue, "known_sets", stop)
    assert cli("data", "list", code=130).stderr == "Stopped\n"


def test_resume_without_an_interrupted_training_says_so(cli: Cli, shop: Path, tmp_path: Path) -> None:
    result = cli("fit", shop, "-m", "sasrec", *SMALL, "--set", "epochs=1", "--out", tmp_path / "run", "--resume")
    assert "No interrupted training is here; starting at the beginning" in result.stderr
    assert set(contents(tmp_path)) >= {"run/config.json"}


@pytest.mark.parametrize("words", [["data", "list"], ["data", "list", "--json"]])
def test_a_reader_that_leaves_is_no_error(words: list[str]) -> None:
    command = shlex.join([sys.executable, "-m", "rectitude", *words])
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | true; echo ${{PIPESTATUS[0]}}"], capture_output=True, text=True
    )
    assert done.stderr == ""
    assert done.stdout.strip() in {"0", "141"}


def test_the_entry_point_prints_json_on_standard_output_only(runs: Path) -> None:
    import json

    process = start("recommend", runs / "ease", "--history", "i1,unheard", "--json")
    printed, told = process.communicate(timeout=120)
    assert process.returncode == 0
    assert len(json.loads(printed)["items"]) == 10
    assert told == "1 of 2 items of the history are unknown and were left out: unheard\n"
