from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from documents import DOCS, begin, run
from rectitude.service.config import ServiceConfig
from rectitude.service.launch import Launch, in_background

TUTORIAL = DOCS / "tutorials" / "rights.md"


def test_the_tutorial_runs(real_data: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_data("ml-100k")
    monkeypatch.chdir(tmp_path)
    rest, names = begin(TUTORIAL)
    service = Launch(config=ServiceConfig(store=f"sqlite:///{tmp_path}/store.db"), slots={"main": "runs/ease"}).open()
    service.store.keys.make("operator", "admin")
    _, key = service.store.keys.make("Anna", "person", "196")
    with in_background(service) as address:
        for block in rest:
            run(block.replace("http://127.0.0.1:8400", address).replace("ANNAS_KEY", key), TUTORIAL, names)
        anna: Any = names["anna"]
        anna.close()
