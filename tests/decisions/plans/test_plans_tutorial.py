"""The tutorial of plans is true: its Python runs, and its commands run after it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rectitude.cli.main import app

PAGE = Path(__file__).parents[3] / "docs" / "tutorials" / "plans.md"


def test_the_tutorial_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    names: dict[str, object] = {"__name__": "page"}
    for block in re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        exec(compile(block, str(PAGE), "exec", dont_inherit=True), names)  # noqa: S102 -- our own document
    (tmp_path / "me.json").write_text(json.dumps({"age": 40, "smoking": "Yes"}))
    for block in re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            words = [{"200": "5", "5": "1"}.get(word, word) for word in shlex.split(line)[1:]]
            quick = ["--set", "outer_folds=0", "--overwrite"] if words[:2] == ["plan", "fit"] else []
            few = ["--policy", "draws=5"] if words[:2] == ["plan", "for"] else []
            result = CliRunner().invoke(app, [*words, *quick, *few], prog_name="rectitude")
            assert result.exit_code == 0, (line, result.stderr)
    assert (tmp_path / "me.html").exists()
    assert (tmp_path / "runs/sleep/report.html").exists()
