"""``rectitude route`` from end to end."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import start
from typer.testing import Result

from rectitude.decisions.routing.building import build_catalogue
from rectitude.decisions.routing.writing import write_catalogue

Cli, Refusal, Answer = Callable[..., Result], Callable[..., str], Callable[..., Any]
ROWS = [
    {
        "model": "gpt-5",
        "provider": "openai",
        "price_in": 1.25,
        "price_out": 10,
        "context": 400_000,
        "vision": True,
        "q.code": 80,
    },
    {
        "model": "gemini-flash",
        "provider": "google",
        "price_in": 0.1,
        "price_out": 0.4,
        "context": 1_000_000,
        "vision": True,
        "q.code": 60,
    },
    {
        "model": "qwen-coder",
        "provider": "alibaba",
        "price_in": 0.2,
        "price_out": 1.8,
        "context": 260_000,
        "vision": None,
        "open_weights": True,
        "q.code": 75,
    },
]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_catalogue(build_catalogue(ROWS), tmp_path / "models.csv")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_feedback_is_answered_with_json(answer: Answer, place: Path) -> None:
    told = answer(
        "route",
        "cheap, must see images, not Google",
        "--catalog",
        "models.csv",
        "--tokens-in",
        "1000",
        "--tokens-out",
        "100",
    )
    assert told["chosen"] == "gpt-5"
    assert {"clauses", "unparsed", "ranking", "near_feasible", "explanation", "stamp"} <= set(told)
    ranked = told["ranking"][0]
    assert {"model", "value", "regret", "verdicts"} <= set(ranked)
    assert told["stamp"]["request"]["tokens_in"] == 1000


def test_people_are_told_the_same(cli: Cli, place: Path) -> None:
    result = cli("route", "cheap, purple mascot", "--catalog", "models.csv", "--why-not", "gpt-5", "--report", "r.html")
    assert result.stdout.startswith("gemini-flash\n")
    assert "Not understood: 'purple mascot'" in result.stdout
    assert "gpt-5 is" in result.stdout
    assert "<h1" in (place / "r.html").read_text()


def test_turns_and_ask_are_the_same_verb(answer: Answer, place: Path) -> None:
    told = answer("route", "ask", "only Google", "forget Google, only OpenAI", "--catalog", "models.csv")
    assert told["chosen"] == "gpt-5"


@pytest.mark.parametrize("solver", ["brute", "rc2", "z3"])
def test_solvers(solver: str, answer: Answer, place: Path) -> None:
    told = answer("route", "must see images, cheap", "--catalog", "models.csv", "--solver", solver)
    assert told["chosen"] == "gemini-flash"
    assert solver in told["solver"]


def test_infeasible_wishes_end_well_and_are_explained(cli: Cli, answer: Answer, place: Path) -> None:
    told = answer("route", "open weights required, must see images", "--catalog", "models.csv")
    assert (told["status"], told["chosen"], told["near_feasible"]) == ("infeasible", None, [])
    assert told["explanation"]["correction_sets"]
    assert (
        "No model meets every hard wish"
        in cli("route", "must see images, open weights required", "--catalog", "models.csv").stdout
    )
    assert answer("route", "only Claude, no Claude", "--catalog", "models.csv")["status"] == "contradictory"


def test_cascade_and_negotiate(answer: Answer, cli: Cli, place: Path) -> None:
    words = (
        "route",
        "cascade",
        "good at coding",
        "--catalog",
        "models.csv",
        "--size",
        "2",
        "--budget",
        "2",
        "--cover",
        "vision is true",
    )
    told = answer(*words)
    assert told["sets"][0]["price"] <= 2
    assert "together" in cli(*words).stdout
    words = (
        "route",
        "negotiate",
        "price under $0.10 per million tokens",
        "--catalog",
        "models.csv",
        "--tighten",
        "context",
    )
    told = answer(*words)
    assert told["model"] == "gemini-flash"
    assert told["limits"][0]["gives_way"] is True
    assert "can be had" in cli(*words).stdout


def test_audit_and_priors(answer: Answer, cli: Cli, place: Path) -> None:
    cases = [{"feedback": "must see images", "models": ["gpt-5", "qwen-coder"]}]
    (place / "named.jsonl").write_text("\n".join(json.dumps(case) for case in cases))
    told = answer("route", "audit", "named.jsonl", "--catalog", "models.csv", "--report", "audit.html")
    assert told["summary"]["hard_precision"]["value"] == 0.5
    assert "hard precision" in cli("route", "audit", "named.jsonl", "--catalog", "models.csv").stdout
    told = answer("route", "priors", "--catalog", "models.csv", "--permutations", "100", "--report", "p.html")
    assert told["lifts"]
    (place / "runs.json").write_text('[["gpt-5"], ["gpt-5", "qwen-coder"]]')
    assert "lift" in cli("route", "priors", "runs.json", "--catalog", "models.csv", "--permutations", "100").stdout


def test_import_writes_what_is_read_back(answer: Answer, cli: Cli, place: Path) -> None:
    value = {
        "gpt-x": {
            "litellm_provider": "openai",
            "mode": "chat",
            "input_cost_per_token": 2e-6,
            "output_cost_per_token": 8e-6,
        }
    }
    (place / "prices.json").write_text(json.dumps(value))
    assert answer("route", "import", "prices.json", "--out", "out.csv")["models"] == 1
    assert "2.0,8.0" in (place / "out.csv").read_text()
    assert answer("route", "cheap", "--catalog", "out.csv")["chosen"] == "gpt-x"
    assert "Catalogue  out.json" in cli("route", "import", "prices.json", "--out", "out.json").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("cheap", "--catalog", "model.csv"), "There is no such catalogue (model.csv). Did you mean 'models.csv'?"),
        (("cheap", "--catalog", "models.csv", "--needs", "visoin"), "Did you mean 'vision'?"),
        (
            ("cheap", "--catalog", "models.csv", "--why-not", "gpt-6"),
            "The catalogue has no model 'gpt-6'. Did you mean 'gpt-5'?",
        ),
        (("cheap", "--catalog", "models.csv", "--policy", "p.toml"), "The configuration file does not exist"),
        (("cheap", "--catalog", "tokens.csv"), "the unit has slipped"),
        (("cascade", "cheap", "--catalog", "models.csv", "--cover", "sight"), "'hard sight' is no clause"),
        (("import", "models.csv", "--out", "x.xlsx"), "A catalogue is written as .csv or .json, not '.xlsx'"),
        (("audit", "models.csv", "--catalog", "models.csv"), "Line 1 is not JSON"),
        (("audit", "nothing.json", "--catalog", "models.csv"), "The file cannot be read"),
        (("serve", "--catalog", "models.csv", "--config", "empty.toml"), "Setting 'providers' does not accept"),
        (("serve", "--catalog", "models.csv", "--config", "far.toml"), "No endpoint can be reached"),
    ],
)
def test_refusals(
    words: tuple[str, ...], said: str, refusal: Refusal, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    (place / "tokens.csv").write_text("model,price_in\na,0.0000002\n")
    (place / "empty.toml").write_text("")
    (place / "far.toml").write_text('[providers.openai]\nbase_url = "http://x"\nkey_env = "NO_SUCH_KEY"\n')
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    assert said in refusal("route", *words)
    assert {path.name: path.read_bytes() for path in place.iterdir()} == before


def test_a_misspelt_policy_setting_is_named(refusal: Refusal, place: Path) -> None:
    (place / "p.toml").write_text("dleta = 0.2\n")
    assert "Did you mean 'delta'?" in refusal("route", "cheap", "--catalog", "models.csv", "--policy", "p.toml")


def test_a_price_unit_can_be_given(answer: Answer, place: Path) -> None:
    (place / "tokens.csv").write_text("model,price_in,price_out\na,0.0000002,0.000001\n")
    told = answer("route", "under $1 per million tokens", "--catalog", "tokens.csv", "--price-unit", "token")
    assert told["chosen"] == "a"


def test_the_server_says_where_it_is_and_stops(place: Path) -> None:
    (place / "router.toml").write_text('[providers.openai]\nbase_url = "http://127.0.0.1:9"\n')
    with start(
        "route", "serve", "--catalog", "models.csv", "--config", "router.toml", "--port", "0", cwd=place, env=os.environ
    ) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        address = re.search(r"http://\S+", said)
        assert address, said
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) in (0, 130, -2)


def test_help_shows_the_short_form(cli: Cli) -> None:
    assert "The word 'ask" in cli("route", "ask", "--help").stdout
    assert {"ask", "cascade", "negotiate", "serve", "audit", "priors", "import"} <= set(
        re.findall(r"^  (\w+)", cli("route", "--help").stdout, re.MULTILINE)
    )
