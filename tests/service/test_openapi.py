"""OpenAPI tells the truth: whatever it allows is sent, and every answer is one it names."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable

from rectitude.service.app import create_app
from rectitude.service.service import Service
from rectitude.service.store import Event, UserFacts

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    schemathesis = pytest.importorskip("schemathesis")
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
        unsupported_method,
    )

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    unsupported_method,
)
EXAMPLES = 12


@pytest.fixture
def service(open_service: Callable[..., Service]) -> Service:
    """Without limits of rate, and without jobs that would change it in the middle."""
    unlimited = {"rate_per_minute": 0, "person_rate_per_minute": 0, "run_jobs": False}
    service = open_service(experiments=("try=main:0.5,bpr:0.5",), **unlimited)
    service.store.add_events([Event("e1", "0", "i1"), Event("e2", "u1", "i2")])
    service.store.put_users([UserFacts("0", {"gender": "F"})])
    return service


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_no_request_that_openapi_allows_or_forbids_meets_a_fault(live: str, mode: Any) -> None:
    schema = schemathesis.openapi.from_url(f"{live}/openapi.json")
    quick = settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    with requests.Session() as session:

        def send(case: Any) -> None:
            response = case.call(session=session, timeout=20)
            case.validate_response(response, checks=CHECKS)

        for result in schema.get_all_operations():
            try:
                quick(given(case=result.ok().as_strategy(generation_mode=mode))(send))()
            except Unsatisfiable:  # nothing that this route would refuse can be made
                assert mode is schemathesis.GenerationMode.NEGATIVE


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
