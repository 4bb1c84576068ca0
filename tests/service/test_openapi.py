"""OpenAPI tells the truth: whatever it allows is sent, and every answer is one it names."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from rectitude.service.app import create_app
from rectitude.service.service import Service

pytest.importorskip("schemathesis")
from contract import MODES, WHO, hold, walk

EXAMPLES = 3
NEGATIVE = ("nobody's key", "person")
"""Who sends what is forbidden; benchmarks/service_contract.py has everybody do it, two hundred times an operation."""


@pytest.fixture
def service(open_service: Callable[..., Service]) -> Service:
    """Without limits of rate, and without jobs that would change it in the middle."""
    unlimited = {"rate_per_minute": 0, "person_rate_per_minute": 0, "run_jobs": False}
    return open_service(experiments=("try=main:0.5,bpr:0.5",), **unlimited)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("who", "mode"), [(who, mode) for mode in MODES for who in (WHO if mode.value == "positive" else NEGATIVE)]
)
def test_every_answer_is_one_that_openapi_names(service: Service, live: str, who: str, mode: Any) -> None:
    held = list(hold(service, live, who, mode, EXAMPLES))
    assert [f"{one.operation}: {one.failure}" for one in held if one.failure] == []
    assert max(status for one in held for status in one.statuses) < 500


@pytest.mark.filterwarnings("ignore")
def test_links_are_followed(service: Service, live: str) -> None:
    key = service.store.keys.make("walker", "admin")[1]
    assert walk(live, {"authorization": f"Bearer {key}"}, examples=10, steps=8)


def test_every_route_is_told_of_with_its_problems_and_its_key(service: Service) -> None:
    told = create_app(service).openapi()
    assert "HTTPValidationError" not in str(told)
    for path, operations in told["paths"].items():
        for operation in operations.values():
            assert operation["description"], path
            assert operation["responses"], path
            if not path.startswith("/health"):
                assert operation["security"] == [{"key": []}]
                assert {"401", "403", "422", "429", "503"} <= set(operation["responses"])
            for status, answer in operation["responses"].items():
                if re.match(r"[45]", status) and not path.startswith("/health"):
                    assert list(answer["content"]) == ["application/problem+json"], (path, status)
