"""The pages about the service are true: their Python runs, their commands exist, their links lead somewhere."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from rectitude.cli.main import app
from rectitude.core.config import build
from rectitude.service.app import create_app
from rectitude.service.config import ServiceConfig
from rectitude.service.launch import Launch
from rectitude.service.service import Service
from rectitude.service.serving.rules import read_rules

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs" / "tutorials" / "service.md"
PAGES = [TUTORIAL, *sorted((ROOT / "docs" / "service").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_tutorial_runs(
    real_data: Callable[[str], Path], answer: Callable[[Service], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_data("ml-100k")
    monkeypatch.chdir(tmp_path)
    first, *rest = blocks(TUTORIAL, "python")
    names: dict[str, object] = {"__name__": "page"}
    exec(compile(first, "service.md", "exec", dont_inherit=True), names)  # noqa: S102 -- our own page
    config = ServiceConfig(store=f"sqlite:///{tmp_path}/store.db")
    launch = Launch(config=config, slots={"main": "runs/sasrec"})
    with answer(launch.open()) as address:
        for block in rest:
            text = block.replace("http://127.0.0.1:8400", address)
            exec(compile(text, "service.md", "exec", dont_inherit=True), names)  # noqa: S102
    assert read_rules("rules.toml").at_most == {"genres": 4}
    with_rules = Launch(
        config=ServiceConfig(store=f"sqlite:///{tmp_path}/other.db", rules=Path("rules.toml")),
        slots={"main": "runs/sasrec", "ease": "runs/ease"},
        experiments=("autumn=main:0.9,ease:0.1",),
    ).open()
    with_rules.shelf.close()
    with_rules.close()


COMMANDS = [
    pytest.param(line, id=f"{page.stem}: {line}")
    for page in PAGES
    for block in blocks(page, "sh")
    for line in block.replace("\\\n", " ").splitlines()
]


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_exists_with_its_options(line: str) -> None:
    command = typer.main.get_command(app)
    program, *words = shlex.split(line, comments=True)
    assert program == "rectitude"
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in [*parameter.opts, *parameter.secondary_opts]}
    assert {word for word in words if word.startswith("-")} <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_settings_of_the_unit_are_settings() -> None:
    (text,) = blocks(ROOT / "docs" / "service" / "deployment.md", "toml")
    assert build(ServiceConfig, tomllib.loads(text)).workers == 2


def test_the_routes_of_the_page_are_those_of_the_service(service: Service) -> None:
    text = (ROOT / "docs" / "service" / "api.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`(GET|POST|PUT) (/[^`]*)`", text))
    shape = re.compile(r"\{\w+\}")
    known = {
        (method.upper(), shape.sub("{}", path))
        for path, operations in create_app(service).openapi()["paths"].items()
        for method in operations
    }
    assert {(method, shape.sub("{}", path)) for method, path in told} <= known
