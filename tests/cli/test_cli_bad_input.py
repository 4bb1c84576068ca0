"""Each kind of bad input, from the command line: one clear line, a non-zero exit code, files as they were."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from command_line import SMALL, contents, table, untouched
from safetensors.torch import save_file
from typer.testing import Result

from rectitude.core import files
from rectitude.data.dataset import Dataset
from rectitude.models.collaborative.ease import EASE

Cli = Callable[..., Result]
Refusal = Callable[..., str]


def good(tiny: Dataset) -> str:
    events = table(tiny).with_columns(pl.col("timestamp") + 1_600_000_000)
    return events.unique(["user", "item", "timestamp"], maintain_order=True).write_csv()


# ---- tables --------------------------------------------------------------------------------------------------------

TABLES: dict[str, tuple[Callable[[str], str | bytes], tuple[str, ...], str]] = {
    "missing column": (lambda text: text.replace("item,", "thing,", 1), (), "No column can be taken for the item"),
    "misnamed column": (
        lambda text: text,
        ("--columns", "user=usr"),
        "no column 'usr' for the user (log.csv). Did you mean",
    ),
    "wrong separator": (lambda text: text, ("--separator", ";"), "Separator ';' does not occur"),
    "no separator": (lambda text: text.replace(",", " / "), ("--separator", "\\t"), "Separator"),
    "not UTF-8": (lambda text: text.encode().replace(b"i7", b"caf\xe9"), (), "is not UTF-8 text"),
    "empty file": (lambda text: "", (), "The file is empty"),
    "header only": (lambda text: text.splitlines()[0] + "\n", (), "nothing below it"),
    "NaN ids": (lambda text: text.replace("i7,", "NaN,"), (), "no item id"),
    "duplicate rows": (lambda text: text + text.splitlines()[1] + "\n", (), "1 rows repeat"),
    "one user": (
        lambda text: "".join(line + "\n" for line in text.splitlines() if line.startswith(("user", "u1,"))),
        (),
        "1 user(s)",
    ),
    "one item": (lambda text: "user,item\na,x\nb,x\nc,x\n", (), "1 item(s)"),
    "mixed units of time": (lambda text: text.replace(",1601000060,", ",1600000000000,"), (), "timestamp"),
    "time that is no time": (
        lambda text: text.replace(",1601000060,", ",soon,"),
        (),
        "'soon' cannot be read as a time",
    ),
    "too few events": (lambda text: "user,item\na,x\nb,y\n", (), "leaves no question"),
}


@pytest.mark.parametrize("case", TABLES)
def test_table(case: str, tiny: Dataset, refusal: Refusal, tmp_path: Path) -> None:
    spoil, options, said = TABLES[case]
    spoilt = spoil(good(tiny))
    (tmp_path / "log.csv").write_bytes(spoilt if isinstance(spoilt, bytes) else spoilt.encode())
    with untouched(tmp_path):
        line = refusal("fit", tmp_path / "log.csv", "-m", "ease", "--out", tmp_path / "run", *options)
    assert said in line


def test_no_such_file(refusal: Refusal, tmp_path: Path) -> None:
    assert "There is no such file" in refusal("fit", tmp_path / "nothing.csv", "-m", "ease", "--out", tmp_path / "run")


READ: dict[str, tuple[Callable[[pl.DataFrame], pl.DataFrame], str]] = {
    "10^9 as an id": (
        lambda frame: frame.with_columns(
            pl.when(pl.col("user") == "u1").then(pl.lit("1000000000")).otherwise(pl.col("user")).alias("user")
        ),
        "1000000000",
    ),
    "timestamps as text": (
        lambda frame: frame.with_columns(pl.from_epoch("timestamp").dt.to_string("%Y-%m-%d %H:%M:%S")),
        "u1",
    ),
    "timestamps in milliseconds": (
        lambda frame: frame.with_columns((pl.col("timestamp") + 1_600_000_000) * 1000),
        "u1",
    ),
}


@pytest.mark.parametrize("case", READ)
def test_unusual_but_readable(case: str, tiny: Dataset, cli: Cli, answer: Callable[..., Any], tmp_path: Path) -> None:
    spoil, user = READ[case]
    spoil(table(tiny).unique(["user", "item", "timestamp"])).write_csv(tmp_path / "log.csv")
    cli("fit", tmp_path / "log.csv", "-m", "ease", "--out", tmp_path / "run")
    assert answer("recommend", tmp_path / "run", "--user", user)["query"]["user"] == user


def test_milliseconds_are_said_to_be_read_as_such(cli: Cli, tiny: Dataset, tmp_path: Path) -> None:
    READ["timestamps in milliseconds"][0](table(tiny)).write_csv(tmp_path / "log.csv")
    result = cli("data", "describe", tmp_path / "log.csv", "--duplicates", "keep")
    assert "millisecond" in result.stderr


# ---- settings ------------------------------------------------------------------------------------------------------


def test_unknown_setting(refusal: Refusal, shop: Path, tmp_path: Path) -> None:
    line = refusal("fit", shop, "-m", "sasrec", "--set", "epoch=3", "--out", tmp_path / "run")
    assert "Unknown setting 'epoch'" in line
    assert "(--set). Did you mean 'epochs'?" in line
    assert contents(tmp_path) == {}


def test_unknown_setting_in_a_file(refusal: Refusal, shop: Path, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text("n_factor = 3\n")
    line = refusal("fit", shop, "-m", "sasrec", "--config", tmp_path / "own.toml", "--out", tmp_path / "run")
    assert f"(--config {tmp_path / 'own.toml'}). Did you mean 'n_factors'?" in line


@pytest.mark.parametrize(
    ("setting", "said"),
    [("epochs=0", "greater than or equal to 1"), ("epochs=many", "valid integer"), ("learning_rate=NaN", "finite")],
)
def test_setting_that_does_not_fit(setting: str, said: str, refusal: Refusal, shop: Path, tmp_path: Path) -> None:
    assert said in refusal("fit", shop, "-m", "sasrec", "--set", setting, "--out", tmp_path / "run")


@pytest.mark.parametrize(
    ("setting", "said"),
    [("valid_shar=0.2", "Did you mean 'valid_share'?"), ("valid_share=2", "less than 1"), ("test_share=0.95", "Lower")],
)
def test_split_setting_that_does_not_fit(setting: str, said: str, refusal: Refusal, shop: Path, tmp_path: Path) -> None:
    words = ("--split", "ratio", "--split-set", setting)
    assert said in refusal("fit", shop, "-m", "ease", *words, "--out", tmp_path / "run")


def test_content_that_the_data_lack(
    refusal: Refusal, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EASE, "content_needed", ("image",))
    line = refusal("fit", shop, "-m", "ease", "--out", tmp_path / "run")
    assert "EASE reads item content 'image', and 'shop' has none" in line
    assert contents(tmp_path) == {}


def test_split_column_that_the_data_lack(refusal: Refusal, shop: Path, tmp_path: Path) -> None:
    assert "split" in refusal("fit", shop, "-m", "ease", "--split", "column", "--out", tmp_path / "run")


def test_device_that_is_not_here(refusal: Refusal, shop: Path, tmp_path: Path) -> None:
    line = refusal("fit", shop, "-m", "sasrec", *SMALL, "--device", "gpu", "--out", tmp_path / "run")
    assert "'gpu' is no device. Use auto, cpu or cuda" in line
    assert contents(tmp_path) == {}


# ---- runs ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(runs: Path, tmp_path: Path) -> Path:
    """A run of one's own to spoil."""
    shutil.copytree(runs / "ease", tmp_path / "ease")
    return tmp_path / "ease"


ASKED = [("evaluate",), ("recommend", "--user", "u1"), ("export", "--out", "lists.parquet"), ("report",)]


def asked(run: Path, verb: str, *options: str) -> tuple[str | Path, ...]:
    return (verb, run, *(run.parent / option if option.endswith(".parquet") else option for option in options))


@pytest.mark.parametrize("words", ASKED, ids=lambda words: words[0])
def test_run_of_another_version(words: tuple[str, ...], refusal: Refusal, run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "format": 99}))
    with untouched(run.parent):
        line = refusal(*asked(run, *words))
    assert "The run is of format 99, and this version reads format 1" in line
    assert "train it again" in line


@pytest.mark.parametrize("words", ASKED, ids=lambda words: words[0])
def test_no_run_at_all(words: tuple[str, ...], refusal: Refusal, tmp_path: Path) -> None:
    assert "There is no such run" in refusal(*asked(tmp_path / "nothing", *words))
    (tmp_path / "other").mkdir()
    assert "so it is no run" in refusal(*asked(tmp_path / "other", *words))
    assert contents(tmp_path) == {}


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def foreign(path: Path) -> None:
    save_file({"other.weight": torch.zeros(3)}, path)


def pickled(path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, path)


@pytest.mark.parametrize("spoil", [truncate, foreign, pickled])
def test_model_that_is_truncated_or_foreign(spoil: Callable[[Path], None], refusal: Refusal, run: Path) -> None:
    spoil(run / "model.safetensors")
    with untouched(run.parent):
        line = refusal("recommend", run, "--user", "u1")
    assert "The model cannot be read" in line
    assert str(run / "model.safetensors") in line
    assert line.endswith("Train the run again")


@pytest.mark.parametrize("name", ["config.json", "ids.parquet", "history.parquet"])
def test_file_of_a_run_that_is_truncated(name: str, refusal: Refusal, run: Path) -> None:
    truncate(run / name)
    with untouched(run.parent):
        assert name in refusal("recommend", run, "--user", "u1")


@pytest.mark.parametrize("name", ["model.safetensors", "ids.parquet", "history.parquet"])
def test_file_of_a_run_that_is_missing(name: str, refusal: Refusal, run: Path) -> None:
    (run / name).unlink()
    assert f"The run has no {name}" in refusal("recommend", run, "--user", "u1")


def test_data_that_have_changed(refusal: Refusal, shop: Path, run: Path, tmp_path: Path) -> None:
    shutil.copytree(shop, tmp_path / "shop")
    pl.read_parquet(shop / "interactions.parquet")[1:].write_parquet(tmp_path / "shop" / "interactions.parquet")
    with untouched(run):
        assert "The data has changed since the run was made" in refusal("evaluate", run, "--data", tmp_path / "shop")


def test_unlike_runs_are_not_compared(cli: Cli, refusal: Refusal, shop: Path, runs: Path, tmp_path: Path) -> None:
    cli("fit", shop, "-m", "ease", "--split", "ratio", "--out", tmp_path / "ratio")
    line = refusal("compare", runs / "ease", tmp_path / "ratio")
    assert "were not evaluated alike: 'split' is" in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--user", "u999"), "Unknown user 'u999'. Did you mean"),
        (("--titles", "Titel 7"), "No item is titled 'Titel 7'. Did you mean 'Title 7'?"),
        (("--titles", "Title"), "is the beginning of 40 titles"),
        (("--user", "u1", "-k", "0"), "A list of 0 items cannot be made"),
        (("--user", "u1", "--only", "nothing.txt"), "The list of allowed items cannot be read: No such file"),
    ],
)
def test_question_without_an_answer(words: tuple[str, ...], said: str, refusal: Refusal, runs: Path) -> None:
    assert said in refusal("recommend", runs / "ease", *words)


def test_compare_names_metrics_and_baselines_that_exist(refusal: Refusal, runs: Path) -> None:
    both = (runs / "ease", runs / "popularity")
    assert "Did you mean 'ndcg@10'?" in refusal("compare", *both, "--metrics", "ndgc@10")
    assert "Did you mean 'ease'?" in refusal("compare", *both, "--baseline", "eas")
    assert "at least two runs" in refusal("compare", runs / "ease")
    assert "named twice" in refusal("compare", runs / "ease", runs / "ease")


# ---- what is there already -----------------------------------------------------------------------------------------


def test_run_is_replaced_only_when_told(cli: Cli, refusal: Refusal, shop: Path, run: Path) -> None:
    with untouched(run):
        assert "A run is there already" in refusal("fit", shop, "-m", "popularity", "--out", run)
    cli("fit", shop, "-m", "popularity", "--out", run, "--overwrite")
    assert json.loads((run / "config.json").read_text())["model"] == "popularity"


def test_what_is_no_run_is_never_replaced(refusal: Refusal, shop: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with untouched(tmp_path):
        words = ("fit", shop, "-m", "ease", "--out", tmp_path / "thesis", "--overwrite")
        assert "Something other than a run is there" in refusal(*words)


def test_import_replaces_nothing_else(refusal: Refusal, shop: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with untouched(tmp_path):
        assert "The folder holds something else" in refusal("data", "import", shop, "--out", tmp_path)


def test_interrupted_training_of_other_settings_is_not_continued(
    cli: Cli, refusal: Refusal, shop: Path, tmp_path: Path
) -> None:
    state = tmp_path / "run.training"
    state.mkdir()
    words = ("fit", shop, "-m", "sasrec", *SMALL, "--out", tmp_path / "run")
    (state / "checkpoint.safetensors").write_bytes(b"half of a checkp")
    with untouched(tmp_path):
        assert "A training of this run was interrupted" in refusal(*words)
        assert "The checkpoint cannot be read" in refusal(*words, "--resume")
    save_file({"other": torch.zeros(2)}, state / "checkpoint.safetensors")
    with untouched(tmp_path):
        assert "Not a checkpoint of this version" in refusal(*words, "--resume")
    cli(*words, "--set", "epochs=1", "--overwrite")
    assert not state.exists()


# ---- a full disk ---------------------------------------------------------------------------------------------------


def test_full_disk(refusal: Refusal, shop: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(files.os, "fsync", full)
    with untouched(tmp_path):
        for words in (
            ("fit", shop, "-m", "ease", "--out", run, "--overwrite"),
            ("evaluate", run),
            ("export", run, "--out", tmp_path / "lists.parquet"),
            ("data", "import", shop, "--out", tmp_path / "own"),
        ):
            assert "The disk is full" in refusal(*words)


def test_full_disk_for_real(refusal: Refusal, shop: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if os.geteuid() or os.system(f"mount -t tmpfs -o size=100k none {small} 2>/dev/null"):  # noqa: S605
        pytest.skip("only root may mount a small disk")
    try:
        for number in range(2):
            line = refusal("fit", shop, "-m", "ease", "--out", small / f"run{number}")
            assert "The disk is full" in line
            assert contents(small) == {}
    finally:
        os.system(f"umount {small}")  # noqa: S605


# ---- errors as such ------------------------------------------------------------------------------------------------


def test_errors_as_json_are_on_standard_error(cli: Cli) -> None:
    result = cli("fit", "x", "-m", "sasrek", "--json", code=1)
    assert result.stdout == ""
    assert json.loads(result.stderr.splitlines()[-1]) == {
        "error": {"what": "Unknown model 'sasrek'", "where": None, "fix": "Did you mean 'sasrec'?"}
    }
    wrong = json.loads(cli("fit", "--json", code=2).stderr)
    assert wrong["error"]["what"] == "Missing argument 'DATA'"


@pytest.mark.parametrize("place", [0, 2])
def test_debug_shows_where_in_the_code(place: int) -> None:
    from typer.testing import CliRunner

    from rectitude.cli.main import app

    words = ["data", "get", "nonsense"]
    words.insert(place, "--debug")
    result = CliRunner().invoke(app, words)
    assert type(result.exception).__name__ == "DataError"
    assert "Error:" not in result.stderr


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero. This is a fault of rectitude"),
        (MemoryError(), "There is not enough memory"),
        (PermissionError(13, "Permission denied", "place"), "Permission denied (place)"),
    ],
)
def test_unforeseen_errors_are_one_line_too(
    error: Exception, said: str, refusal: Refusal, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rectitude.data import catalogue

    def fail() -> None:
        raise error

    monkeypatch.setattr(catalogue, "known_sets", fail)
    assert said in refusal("data", "list")
