from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rectitude.service.config import ServiceConfig
from rectitude.service.launch import Launch
from rectitude.service.service import Service

TUTORIAL = Path(__file__).parents[3] / "docs" / "tutorials" / "rights.md"


def test_the_tutorial_runs(
    real_data: Callable[[str], Path], answer: Callable[[Service], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_data("ml-100k")
    monkeypatch.chdir(tmp_path)
    text = TUTORIAL.read_text(encoding="utf-8")
    first, *rest = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {"__name__": "page"}
    exec(compile(first, "rights.md", "exec", dont_inherit=True), names)  # noqa: S102 -- our own page
    service = Launch(config=ServiceConfig(store=f"sqlite:///{tmp_path}/store.db"), slots={"main": "runs/ease"}).open()
    service.store.keys.make("operator", "admin")
    _, key = service.store.keys.make("Anna", "person", "196")
    with answer(service) as address:
        for block in rest:
            text = block.replace("http://127.0.0.1:8400", address).replace("ANNAS_KEY", key)
            exec(compile(text, "rights.md", "exec", dont_inherit=True), names)  # noqa: S102
        anna: Any = names["anna"]
        anna.close()
