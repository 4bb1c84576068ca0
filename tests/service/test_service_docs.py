"""The pages about the service are true: their Python runs, their settings and routes are those of the service."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from documents import DOCS, begin, blocks, run
from rectitude.core.config import build
from rectitude.service.app import create_app
from rectitude.service.config import ServiceConfig
from rectitude.service.launch import Launch, in_background
from rectitude.service.service import Service
from rectitude.service.serving.rules import read_rules

TUTORIAL = DOCS / "tutorials" / "service.md"


def test_the_tutorial_runs(real_data: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_data("ml-100k")
    monkeypatch.chdir(tmp_path)
    rest, names = begin(TUTORIAL)
    config = ServiceConfig(store=f"sqlite:///{tmp_path}/store.db")
    launch = Launch(config=config, slots={"main": "runs/sasrec"})
    with in_background(launch.open()) as address:
        for block in rest:
            run(block.replace("http://127.0.0.1:8400", address), TUTORIAL, names)
    assert read_rules("rules.toml").at_most == {"genres": 4}
    with_rules = Launch(
        config=ServiceConfig(store=f"sqlite:///{tmp_path}/other.db", rules=Path("rules.toml")),
        slots={"main": "runs/sasrec", "ease": "runs/ease"},
        experiments=("autumn=main:0.9,ease:0.1",),
    ).open()
    with_rules.shelf.close()
    with_rules.close()


def test_settings_of_the_unit_are_settings() -> None:
    (text,) = blocks(DOCS / "service" / "deployment.md", "toml")
    assert build(ServiceConfig, tomllib.loads(text)).workers == 2


def test_the_routes_of_the_page_are_those_of_the_service(service: Service) -> None:
    text = (DOCS / "service" / "api.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`(GET|POST|PUT) (/[^`]*)`", text))
    shape = re.compile(r"\{\w+\}")
    known = {
        (method.upper(), shape.sub("{}", path))
        for path, operations in create_app(service).openapi()["paths"].items()
        for method in operations
    }
    assert {(method, shape.sub("{}", path)) for method, path in told} <= known
