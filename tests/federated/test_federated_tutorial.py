"""The tutorial is true: its Python runs and its commands exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from rectitude.cli.main import app

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tutorials" / "federated.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_its_python_runs(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    for block in blocks("python"):
        exec(compile(block, "federated.md", "exec", dont_inherit=True), names)  # noqa: S102 -- our own page
    assert capsys.readouterr().out.startswith("(0.")


@pytest.mark.parametrize(
    "line", [line for block in blocks("sh") for line in block.replace("\\\n", " ").splitlines() if line]
)
def test_its_commands_exist_with_their_options(line: str) -> None:
    command = typer.main.get_command(app)
    program, verb, *words = shlex.split(line)
    assert program == "rectitude"
    options = {option for parameter in command.commands[verb].params for option in parameter.opts}  # type: ignore[attr-defined]
    assert {word for word in words if word.startswith("-")} <= options


def test_the_script_of_a_deployment_uses_commands_that_exist() -> None:
    script = (ROOT / "examples" / "federation_over_tls.sh").read_text(encoding="utf-8")
    command = typer.main.get_command(app)
    options = {option for parameter in command.commands["federate"].params for option in parameter.opts}  # type: ignore[attr-defined]
    for words in re.findall(r'(?:rectitude federate|"\$\{federate\[@\][^"]*") (.*)', script):
        assert set(re.findall(r"--[a-z-]+", words)) <= options | {"--engine"}
