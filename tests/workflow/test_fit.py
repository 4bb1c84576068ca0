from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from rectitude.core.errors import CheckpointError, ConfigError, DataError, RectitudeError, RunError
from rectitude.data.dataset import Dataset
from rectitude.data.split import SplitConfig
from rectitude.models.registry import model_class
from rectitude.training.methods import Method
from rectitude.training.run import Run
from rectitude.training.trainer import Trainer
from rectitude.workflow import fit

SMALL = {"n_factors": 8, "n_blocks": 1, "max_length": 10, "n_negatives": 10}


def train(data: Dataset, out: Path, epochs: int = 2, **options: Any) -> Run:
    return fit(data, "sasrec", settings=SMALL | {"epochs": epochs}, out=out, progress=False, **options)


class Stop(Method):
    """Interrupts training after an epoch."""

    def __init__(self, after: int) -> None:
        self.after = after

    def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> None:
        if trainer.epoch > self.after:
            raise KeyboardInterrupt


def interrupted(data: Dataset, out: Path, **options: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(data, out, epochs=4, methods=[Stop(2)], **options)


def parameters(path: Path) -> dict[str, torch.Tensor]:
    return load_file(path / "model.safetensors")


def same(one: Path, other: Path) -> bool:
    ours, theirs = parameters(one), parameters(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def untimed(path: Path) -> pl.DataFrame:
    return pl.read_csv(path / "curve.csv").drop("seconds", "cpu_seconds", "targets_per_cpu_second")


def test_a_run_holds_everything_and_nothing_is_left_beside_it(tiny: Dataset, tmp_path: Path) -> None:
    run = train(tiny, tmp_path / "run")
    assert {file.name for file in run.path.iterdir()} >= {
        "config.json",
        "model.safetensors",
        "ids.parquet",
        "history.parquet",
        "curve.csv",
        "metrics.json",
        "lineage.json",
        "README.md",
        "report.html",
        "evaluation-valid.parquet",
    }
    assert list(tmp_path.iterdir()) == [run.path]
    config = run.config
    assert config["model"] == "sasrec"
    assert config["seed"] == 0
    assert config["split"]["rule"] == "leave-one-out"
    assert config["data"]["hash"] == tiny.hash
    assert config["data"]["interactions"] == tiny.n_interactions
    assert config["training"]["epochs"] == 2
    assert config["training"]["parameters"] == run.model.n_parameters
    assert set(config["settings"]) == set(model_class("sasrec").Config.model_fields)
    assert run.folder.read_json("lineage.json")["made_by"] == "fit"


def test_a_fit_judges_on_validation_only(tiny: Dataset, tmp_path: Path) -> None:
    run = train(tiny, tmp_path / "run")
    metrics = run.folder.read_json("metrics.json")
    assert metrics.keys() == {"valid"}
    assert metrics["valid"]["protocol"]["fold"] == "valid"
    best = untimed(run.path)["valid_ndcg@10"].max()
    assert metrics["valid"]["metrics"]["ndcg@10"]["value"] == pytest.approx(best, abs=1e-9)


def test_the_seed_decides_and_nothing_else(tiny: Dataset, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.manual_seed(ord(name))
        train(tiny, tmp_path / name, seed=seed)
    assert same(tmp_path / "a", tmp_path / "b")
    assert not same(tmp_path / "a", tmp_path / "c")


def test_origins_of_settings_are_kept(tiny: Dataset, tmp_path: Path) -> None:
    layers = {"file my.toml": {"n_factors": 4, "epochs": 1}, "--set": {"n_factors": 8}}
    run = fit(tiny, "bpr", layers=layers, settings={"l2": 0.5}, out=tmp_path / "run", progress=False)
    settings = run.config["settings"]
    assert settings["n_factors"] == {"value": 8, "origin": "--set"}
    assert settings["epochs"] == {"value": 1, "origin": "file my.toml"}
    assert settings["l2"] == {"value": 0.5, "origin": "settings"}
    assert settings["batch_size"]["origin"] == "default"


def test_what_cannot_be_fitted_is_refused_before_anything_is_written(tiny: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(ConfigError, match=r"Unknown model 'sasreck'.*Did you mean 'sasrec'"):
        fit(tiny, "sasreck", out=out)
    with pytest.raises(ConfigError, match=r"Unknown setting 'n_factor'.*\(settings\)\. Did you mean 'n_factors'"):
        fit(tiny, "sasrec", settings={"n_factor": 3}, out=out)
    with pytest.raises(ConfigError, match="'n_factors' does not accept 'many'"):
        fit(tiny, "sasrec", settings={"n_factors": "many"}, out=out)
    with pytest.raises(ConfigError, match="leave-two-out"):
        fit(tiny, "popularity", split="leave-two-out", out=out)
    with pytest.raises(DataError):
        fit(str(tmp_path / "nowhere.csv"), "popularity", out=out)
    assert list(tmp_path.iterdir()) == []


def test_content_the_data_lack_is_named(tiny: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_class("popularity"), "content_needed", ("sound",))
    with pytest.raises(DataError, match="Popularity reads item content 'sound', and 'tiny' has text, image"):
        fit(tiny, "popularity", out=tmp_path / "run")


def test_notes_of_data_and_split_are_announced(tiny: Dataset, tmp_path: Path) -> None:
    said: list[str] = []
    run = fit(tiny, "popularity", out=tmp_path / "run", progress=False, announce=said.append)
    assert any("Leave-one-out" in note for note in said)
    assert set(said) <= set(run.config["notes"])


@pytest.mark.parametrize("rule", ["temporal", "ratio", "cold-user", "cold-item"])
def test_every_split_makes_a_run(tiny: Dataset, tmp_path: Path, rule: Any) -> None:
    run = fit(tiny, "popularity", split=SplitConfig(rule=rule, seed=3), out=tmp_path / "run", progress=False)
    assert run.config["split"]["rule"] == rule
    assert run.split(tiny).config == SplitConfig(rule=rule, seed=3)
    as_mapping = fit(tiny, "popularity", split={"rule": rule, "seed": 3}, out=tmp_path / "other", progress=False)
    assert as_mapping.config["split"] == run.config["split"]


# ---- what is there already -------------------------------------------------------------------------------------------


def test_a_run_is_not_overwritten_unless_asked(tiny: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(tiny, out, seed=1)
    before = {file: file.read_bytes() for file in out.iterdir()}
    for options in ({}, {"resume": True}):
        with pytest.raises(RunError, match="A run is there already"):
            train(tiny, out, seed=2, **options)
    assert {file: file.read_bytes() for file in out.iterdir()} == before
    assert train(tiny, out, seed=2, overwrite=True).config["seed"] == 2


def test_a_failed_fit_leaves_the_old_run(tiny: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "run"
    train(tiny, out)
    before = {file.name: file.read_bytes() for file in out.iterdir()}

    def fail(*_: Any, **__: Any) -> None:
        raise RectitudeError("The disk is full")

    monkeypatch.setattr("rectitude.workflow.fitting.judge", fail)
    with pytest.raises(RectitudeError, match="disk is full"):
        train(tiny, out, overwrite=True)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


# ---- interruptions ---------------------------------------------------------------------------------------------------


def test_an_interrupted_fit_goes_on_as_if_it_had_not_been(tiny: Dataset, tmp_path: Path) -> None:
    whole = train(tiny, tmp_path / "whole", epochs=4)
    out = tmp_path / "parts"
    interrupted(tiny, out)
    assert not out.exists()
    with pytest.raises(RunError, match=r"A training of this run was interrupted.*--resume.*--overwrite"):
        train(tiny, out, epochs=4)
    resumed = train(tiny, out, epochs=4, resume=True)
    assert same(whole.path, resumed.path)
    assert untimed(whole.path).equals(untimed(resumed.path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parts", "whole"]


def test_an_interrupted_fit_may_be_dropped(tiny: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "run"
    interrupted(tiny, out, seed=5)
    run = train(tiny, out, seed=6, overwrite=True)
    assert run.config["seed"] == 6
    assert run.config["training"]["epochs"] == 2


def test_an_interrupted_replacement_keeps_the_old_run_until_it_has_gone_on(tiny: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(tiny, out, seed=1)
    interrupted(tiny, out, seed=2, overwrite=True)
    assert Run.load(out).config["seed"] == 1
    assert train(tiny, out, epochs=4, seed=2, resume=True).config["seed"] == 2


def test_a_training_of_other_settings_or_data_is_not_gone_on_with(tiny: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "run"
    interrupted(tiny, out)
    state = tmp_path / "run.training" / "checkpoint.safetensors"
    before = state.read_bytes()
    with pytest.raises(CheckpointError, match="seed was 0 and is now 1"):
        train(tiny, out, resume=True, seed=1)
    with pytest.raises(CheckpointError, match=r"settings\.dropout was 0\.2 and is now 0\.4"):
        fit(tiny, "sasrec", settings=SMALL | {"dropout": 0.4}, out=out, resume=True, progress=False)
    fewer = tiny.subset(pl.Series(range(tiny.n_interactions)) != 5)
    with pytest.raises(CheckpointError, match=f"data was '{tiny.hash}' and is now '{fewer.hash}'"):
        train(fewer, out, resume=True)
    with pytest.raises(CheckpointError, match=r"split\.rule was 'leave-one-out' and is now 'temporal'"):
        train(tiny, out, resume=True, split="temporal")
    assert state.read_bytes() == before
    state.write_bytes(before[:1000])
    with pytest.raises(CheckpointError, match="cannot be read"):
        train(tiny, out, resume=True)
    assert state.read_bytes() == before[:1000]
    assert not out.exists()


KILLED = """
import sys, time
sys.path.insert(0, sys.argv[1])
from conftest import planted
from rectitude.training.methods import Method
from rectitude.workflow import fit

class Slow(Method):
    def on_epoch_end(self, trainer, row):
        time.sleep(0.3)

settings = {"n_factors": 8, "n_blocks": 1, "max_length": 10, "n_negatives": 10, "epochs": 40, "patience": 40}
fit(planted(), "sasrec", settings=settings, out=sys.argv[2], methods=[Slow()], progress=False)
"""


@pytest.mark.slow
def test_a_killed_fit_goes_on_bit_for_bit(tiny: Dataset, tmp_path: Path) -> None:
    out, state = tmp_path / "run", tmp_path / "run.training" / "checkpoint.safetensors"
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parents[1]), str(out)]
    process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 300
    while not state.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.5)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not out.exists()
    settings = SMALL | {"epochs": 40, "patience": 40}
    resumed = fit(tiny, "sasrec", settings=settings, out=out, resume=True, progress=False)
    whole = fit(tiny, "sasrec", settings=settings, out=tmp_path / "whole", progress=False)
    assert same(whole.path, resumed.path)
    assert untimed(whole.path).equals(untimed(resumed.path))
    assert not state.parent.exists()


# ---- trackers --------------------------------------------------------------------------------------------------------


def test_tensorboard_files_become_part_of_the_run(tiny: Dataset, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run = train(tiny, tmp_path / "run", tracker="tensorboard")
    assert list((run.path / "tensorboard").glob("events.out.tfevents.*"))


def test_a_model_that_is_not_trained_by_gradient_needs_no_state(tiny: Dataset, tmp_path: Path) -> None:
    run = fit(tiny, "ease", out=tmp_path / "run", progress=False)
    assert run.config["training"]["stopped"] == "fit"
    assert run.config["training"]["epochs"] == 0
    assert json.loads((run.path / "metrics.json").read_text())["valid"]
    assert list(tmp_path.iterdir()) == [run.path]
