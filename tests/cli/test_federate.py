"""``rectitude federate`` and ``rectitude classify`` as somebody would type them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import Result

KEYS = ("accuracy", "global_gap", "local_gap_max", "local_gap_mean", "clients", "rounds", "bytes_per_client")
QUICK = ("--base-set", "rounds=3", "--base-set", "local_steps=5")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of applicants as a text file."""
    rng = np.random.default_rng(0)
    n = 1500
    gender = rng.choice(["f", "m"], size=n)
    merit = rng.normal(size=n)
    path = tmp_path_factory.mktemp("people") / "applicants.csv"
    pl.DataFrame(
        {
            "merit": merit.round(3),
            "proxy": (rng.normal(size=n) + 2 * (gender == "f")).round(3),
            "site": rng.choice(["north", "south", "west"], size=n),
            "gender": gender,
            "race": rng.choice(["p", "q"], size=n),
            "outcome": np.where(merit - 1.5 * (gender == "f") + 0.3 * rng.normal(size=n) > -0.7, "yes", "no"),
        }
    ).write_csv(path)
    return path


@pytest.fixture(scope="module")
def run(people: Path, cli: Callable[..., Result]) -> Path:
    """A run that nobody changes."""
    out = people.parent / "fair"
    cli("federate", people, "-m", "fedfact-post", "--clients", "3", *QUICK, "--out", out, "--against", "logofair")
    return out


def test_json_has_the_figures_that_others_build_on(people: Path, tmp_path: Path, answer: Callable[..., Any]) -> None:
    given = ("--method", "fedfact-post", "--criterion", "dp", "--global", "0.01", "--local", "0.02", *QUICK)
    found = answer(
        "federate", people, *given, "--partition", "column:site", "--against", "none", "--out", tmp_path / "r"
    )
    assert list(found)[: len(KEYS)] == list(KEYS)
    assert 0.5 < found["accuracy"] <= 1
    assert found["base"]["global_gap"] > 0.2
    assert found["global_gap"] < 0.6 * found["base"]["global_gap"]
    assert found["local_gap_mean"] <= found["local_gap_max"]
    assert found["clients"] == 3
    assert found["rounds"] >= 4
    assert found["bytes_per_client"] > 0
    assert set(found["local_gaps"]) == {"north", "south", "west"}
    assert found["run"] == str(tmp_path / "r")


def test_what_was_guessed_is_said(people: Path, tmp_path: Path, cli: Callable[..., Result]) -> None:
    said = cli(
        "federate", people, "-m", "fedavg", "--set", "rounds=1", "--against", "none", "--out", tmp_path / "r"
    ).stderr
    assert "The label is guessed to be column 'outcome'" in said
    assert "The attribute is guessed to be column 'gender'" in said


def test_the_run_is_whole_and_explains_itself(run: Path) -> None:
    assert {path.name for path in run.iterdir()} == {
        "config.json",
        "model.safetensors",
        "metrics.json",
        "frontier.json",
        "lineage.json",
        "README.md",
        "report.html",
    }
    assert not run.with_name("fair.federation").exists()
    page = (run / "report.html").read_text(encoding="utf-8")
    for words in (
        "What does fairness cost?",
        "LoGoFair",
        "their sum over the clients (masked)",
        "Largest local gap",
        "global only",
    ):
        assert words in page
    assert "://" not in page.replace("http://www.w3.org/2000/svg", "")
    card = (run / "README.md").read_text(encoding="utf-8")
    assert "needs the sensitive attribute" in card
    points = json.loads((run / "frontier.json").read_text(encoding="utf-8"))
    assert set(points["methods"]) == {"fedfact-post", "logofair"}
    assert [point["label"] for point in points["methods"]["logofair"]] == ["0", "0.01", "0.02", "0.05", "0.1"]
    assert [point["label"] for point in points["prices"]] == ["global only", "local only", "both"]


def test_the_frontier_takes_seeds_and_training_methods(
    people: Path, tmp_path: Path, cli: Callable[..., Result]
) -> None:
    out = tmp_path / "r"
    given = ("-m", "fedprox", "--set", "rounds=2", "--clients", "2", "--seeds", "2", "--against", "threshold-local")
    cli("federate", people, *given, "--out", out)
    points = json.loads((out / "frontier.json").read_text(encoding="utf-8"))
    assert points["base"]["seeds"] == 2
    assert points["base"]["accuracy_interval"][0] < points["base"]["accuracy"] < points["base"]["accuracy_interval"][1]


def test_classify_decides_as_the_run_was_judged(
    run: Path, people: Path, tmp_path: Path, answer: Callable[..., Any]
) -> None:
    found = answer("classify", run, people, "--client", "client-1", "--out", tmp_path / "decisions.csv")
    assert found["rows"] == 1500
    assert sum(found["decisions"].values()) == 1500
    decided = pl.read_csv(tmp_path / "decisions.csv")["decision"].to_numpy()
    table = pl.read_csv(people)
    rates = [np.mean(decided[table["gender"].to_numpy() == group] == "yes") for group in ("f", "m")]
    truth = [np.mean(table["outcome"].to_numpy()[table["gender"].to_numpy() == group] == "yes") for group in ("f", "m")]
    assert abs(rates[0] - rates[1]) < 0.5 * abs(truth[0] - truth[1])


def test_a_saved_run_decides_without_flower(run: Path, people: Path) -> None:
    code = (
        "import sys\n"
        "for name in ('flwr', 'ray', 'sklearn', 'cryptography'):\n"
        "    sys.modules[name] = None\n"
        "from rectitude.cli.main import run\n"
        f"sys.argv = ['rectitude', 'classify', {str(run)!r}, {str(people)!r}, '--client', 'client-0', '--json']\n"
        "run()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == 1500


def test_a_run_that_was_cut_off_goes_on(
    people: Path,
    tmp_path: Path,
    cli: Callable[..., Result],
    refusal: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from rectitude.federated.training import AveragingClient

    given = ("federate", people, "-m", "fedfact-post", "--clients", "3", *QUICK, "--against", "none")
    cli(*given, "--out", tmp_path / "whole")
    reply, asked = AveragingClient.reply, []

    def dying(self: Any, kind: str, message: Any, state: Any) -> Any:
        asked.append(self.data.index)
        if self.data.index == 1 and int(message["round"]) == 2:
            raise MemoryError("killed")
        return reply(self, kind, message, state)

    monkeypatch.setattr(AveragingClient, "reply", dying)
    said = refusal(*given, "--out", tmp_path / "r")
    assert (
        "Only 2 of the 3 clients needed replied to 'train' in round 3 (client-1: it failed (MemoryError: killed))"
        in said
    )
    assert "--resume" in said
    assert not (tmp_path / "r").exists()
    assert "was cut off" in refusal(*given, "--out", tmp_path / "r")
    other = (*given[:-1], "post", "--seed", "7")
    assert "was asked for something else (problem)" in refusal(*other, "--out", tmp_path / "r", "--resume")
    monkeypatch.setattr(AveragingClient, "reply", reply)
    asked.clear()
    assert "Going on after exchange 2" in cli(*given, "--out", tmp_path / "r", "--resume").stderr
    one, two = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("whole", "r"))
    assert {key: one[key] for key in KEYS} == {key: two[key] for key in KEYS}
    assert "A run is there already" in refusal(*given, "--out", tmp_path / "r")
    cli(*given, "--out", tmp_path / "r", "--overwrite")


def test_tolerances_that_cannot_be_kept_are_refused_and_leave_nothing(
    people: Path, tmp_path: Path, refusal: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from rectitude.federated.contracts import InfeasibleError
    from rectitude.federated.training import AveragingServer

    def refuse(*_: Any) -> None:
        raise InfeasibleError("No decision keeps it", where="--global", fix="The tightest that can be reached is 0.03")

    monkeypatch.setattr(AveragingServer, "take", refuse)
    said = refusal("federate", people, "-m", "fedavg", "--against", "none", "--out", tmp_path / "r")
    assert said == "Error: No decision keeps it (--global). The tightest that can be reached is 0.03"
    assert list(tmp_path.iterdir()) == []


def test_a_federation_is_prepared_for_other_machines(people: Path, tmp_path: Path, answer: Callable[..., Any]) -> None:
    given = (
        "-m",
        "fedavg",
        "--engine",
        "superlink",
        "--clients",
        "2",
        "--prepare",
        "--host",
        "10.0.0.5",
        "--out",
        tmp_path / "r",
    )
    found = answer("federate", people, *given)
    folder = tmp_path / "r.federation"
    assert (found["folder"], found["clients"], len(found["supernodes"])) == (str(folder), 2, 2)
    assert "--superlink 10.0.0.5:8000" in found["supernodes"][1]
    assert found["collect"].endswith("--resume")
    assert not {"--prepare", "--engine", "superlink"} & set(found["collect"].split())
    for part in ("plan.json", "app/pyproject.toml", "tls/ca.crt", "clients/1/plan.json", "clients/1/rows.safetensors"):
        assert (folder / part).exists()
    cli_words = found["collect"].split()
    assert cli_words[:2] == ["rectitude", "federate"]


def test_fewer_clients_may_be_enough(
    people: Path, tmp_path: Path, cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    from rectitude.federated.training import AveragingClient

    reply = AveragingClient.reply

    def dying(self: Any, kind: str, message: Any, state: Any) -> Any:
        if self.data.index == 1:
            raise OSError("gone")
        return reply(self, kind, message, state)

    monkeypatch.setattr(AveragingClient, "reply", dying)
    given = ("-m", "fedavg", "--set", "rounds=2", "--clients", "3", "--against", "none", "--min-clients", "2")
    said = cli("federate", people, *given, "--out", tmp_path / "r").stderr
    assert "client-1 is left out of exchange 1 (train): it failed (OSError: gone)" in said
    assert "client-1 is left out" in (tmp_path / "r" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("-m", "fedfcat-post"),
            "There is no federated method 'fedfcat-post' (--method). Did you mean 'fedfact-post'?",
        ),
        (
            ("-m", "fedavg", "--set", "rouns=3"),
            "Unknown setting 'rouns' for TrainingConfig (--set). Did you mean 'rounds'",
        ),
        (("-m", "fedavg", "--set", "rounds=0"), "Setting 'rounds' does not accept 0"),
        (("-m", "fedavg", "--global", "0.01"), "FedAvg takes no tolerance (--global, --local)"),
        (("-m", "fedfact-post", "--global", "small"), "'small' is no tolerance (--global)"),
        (("-m", "fedfact-post", "--local", "-1"), "A tolerance is at least 0, not -1 (--local)"),
        (("-m", "fedfact-post", "--local", "nowhere=0.1"), "There is no client 'nowhere' (--local)"),
        (("-m", "fedfact-post", "--base", "logofair"), "'logofair' trains no model (--base)"),
        (("-m", "fedavg", "--partition", "columns:site"), "'columns:site' is no partition (--partition)"),
        (
            ("-m", "fedavg", "--partition", "column:sites"),
            "There is no column 'sites' (--partition). Did you mean 'site'?",
        ),
        (("-m", "fedavg", "--clients", "1"), "A federation has 2 to 1000 clients, not 1 (--clients)"),
        (("-m", "fedavg", "--min-clients", "9"), "9 of 5 clients cannot be needed (--min-clients)"),
        (("-m", "fedavg", "--label", "outcom"), "There is no column 'outcom' (--label). Did you mean 'outcome'?"),
        (("-m", "fedavg", "--attribute", "gender,rac"), "There is no column 'rac' (--attribute). Did you mean 'race'?"),
        (("-m", "fedavg", "--against", "fedavgg"), "There is no federated method 'fedavgg'"),
        (("-m", "fedavg", "--noise", "0"), "The noise multiplier must be above 0 (--noise)"),
        (("-m", "fedavg", "--seeds", "0"), "The frontier takes 1 to 100 seeds (--seeds)"),
    ],
)
def test_what_cannot_be(
    words: tuple[str, ...], said: str, people: Path, tmp_path: Path, refusal: Callable[..., str]
) -> None:
    assert said in refusal("federate", people, *words, "--out", tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_data_that_are_not_there(refusal: Callable[..., str], tmp_path: Path) -> None:
    assert "There is no table 'nowhere' (DATA)" in refusal("federate", "nowhere", "-m", "fedavg")
    assert "no such run" in refusal("classify", tmp_path / "none", "nowhere")


EXACT = ("--local", "none", "--set", "calibration=none", "--set", "resolution=null")


def test_noise_that_would_not_be_worth_its_epsilon_is_refused(
    people: Path, tmp_path: Path, refusal: Callable[..., str]
) -> None:
    given = ("--against", "none", "--noise", "2", "--out", tmp_path / "r")
    said = refusal("federate", people, "-m", "fedfact-post", "--local", "0.02", *given)
    assert "local duals, calibrators and means of cells" in said
    assert "Add --local none --set calibration=none --set resolution=null" in said
    assert "personal models" in refusal("federate", people, "-m", "fedfact-in", "--local", "none", *given)
    assert "with local duals:" in refusal("federate", people, "-m", "logofair", *EXACT[2:], *given)
    assert not (tmp_path / "r").exists()


def test_noise_is_accounted_for_and_its_limits_said(people: Path, tmp_path: Path, answer: Callable[..., Any]) -> None:
    given = ("-m", "fedfact-post", "--clients", "3", *QUICK, "--set", "rounds=2", "--against", "none", "--noise", "2")
    given = (*given, *EXACT)
    found = answer("federate", people, *given, "--out", tmp_path / "r")
    private = found["privacy"]
    assert private["epsilon"] > 0
    assert private["delta"] == 1e-5
    assert "theta/*" in private["not_covered"]
    assert "It does not cover" in (tmp_path / "r" / "report.html").read_text(encoding="utf-8")


def test_groups_are_crossed_and_numbers_are_strict_json(
    people: Path, tmp_path: Path, answer: Callable[..., Any]
) -> None:
    given = ("-m", "fedfact-post", "--attribute", "gender,race", "--clients", "2", *QUICK, "--against", "none")
    found = answer("federate", people, *given, "--out", tmp_path / "r")
    assert found["groups"] == ["f × p", "f × q", "m × p", "m × q"]


def test_adult(real_data: Callable[[str], Path], tmp_path: Path, answer: Callable[..., Any]) -> None:
    """The specification's figures: gap at most 0.02, accuracy within 0.015 of FedAvg's."""
    real_data("adult")
    given = ("--method", "fedfact-post", "--global", "0.01", "--local", "none", "--against", "none")
    found = answer("federate", "adult", *given, "--out", tmp_path / "r")
    assert found["global_gap"] <= 0.02
    assert found["accuracy"] >= found["base"]["accuracy"] - 0.018
