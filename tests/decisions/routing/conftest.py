from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from routing_cases import SMALL

from rectitude.decisions.routing.building import build_catalogue
from rectitude.decisions.routing.catalogue import Catalogue
from rectitude.decisions.routing.importing import read_catalogue


@pytest.fixture(scope="session")
def small() -> Catalogue:
    """Six endpoints with gaps."""
    return build_catalogue(SMALL)


@pytest.fixture(scope="session")
def models25(real_data: Callable[[str], Path]) -> Catalogue:
    return read_catalogue(real_data("llm-models") / "models25.parquet")
