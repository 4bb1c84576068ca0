"""The tutorial runs from top to bottom: Python and commands in the order of the page."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rectitude.cli.main import app

DOCS = Path(__file__).parents[3] / "docs"


def test_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    text = (DOCS / "tutorials" / "routing.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(python|sh)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert {language for language, _ in blocks} == {"python", "sh"}
    for language, block in blocks:
        if language == "python":
            exec(compile(block, "routing.md", "exec"), names)  # noqa: S102 -- our own document
            continue
        for line in block.splitlines():
            result = CliRunner().invoke(app, shlex.split(line)[1:], prog_name="rectitude")
            assert result.exit_code == 0, f"{line}: {result.stderr}"


def test_the_servers_file_of_the_tutorial_is_one() -> None:
    import tomllib

    from rectitude.decisions.routing.serving.config import ServerConfig

    text = (DOCS / "tutorials" / "routing.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```toml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert set(ServerConfig.model_validate(tomllib.loads(block)).providers) == {"openai", "anthropic"}


@pytest.mark.parametrize("page", ["systems/llm_routing.md", "tutorials/routing.md"])
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", (DOCS / page).read_text(encoding="utf-8")):
        assert ((DOCS / page).parent / target).exists(), target
