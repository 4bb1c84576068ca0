"""Every route × every role, made from the routes themselves: a route that declares nothing fails here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from web_client import TestClient

from rectitude.service.access import Permission
from rectitude.service.app import create_app
from rectitude.service.service import Service
from rectitude.service.store.keys import ROLES

FILLED = {
    "user_id": "u1",
    "item_id": "i1",
    "identifier": "none",
    "name": "bpr",
    "slot": "main",
    "digest": "x",
    "act": "stop",
}
"""What stands in addresses; ``u1`` is whose key the person has."""

ANOTHER: dict[tuple[str, str], dict[str, Any]] = {
    ("GET", "/v1/recommend"): {"params": {"user": "u2"}},
    ("POST", "/v1/recommend"): {"json": {"user": "u2"}},
    ("POST", "/v1/explain"): {"json": {"user": "u2", "item": "i1"}},
    ("GET", "/v1/events"): {"params": {"user": "u2"}},
    ("POST", "/v1/events"): {"json": {"user": "u2", "item": "i1"}},
    ("GET", "/v1/assignment"): {"params": {"user": "u2", "experiment": "try"}},
    ("GET", "/me"): {"params": {"person": "u2"}},
    ("GET", "/me/requests"): {"params": {"person": "u2"}},
    ("GET", "/me/why"): {"params": {"person": "u2", "item": "i1"}},
    ("GET", "/me/delete"): {"params": {"person": "u2"}},
    ("POST", "/me/items/{act}"): {"data": {"person": "u2", "item": "i1"}},
    ("POST", "/me/requests"): {"data": {"person": "u2", "kind": "export"}},
}
    ("POST", "/me/share"): {"data": {"person": "u2", "percent": "50"}},
"""Routes a person may use whose address does not name the person: the same question about somebody else."""

ABOUT_NOBODY = {
    ("GET", "/v1/items"),
    ("GET", "/v1/items/{item_id}"),
    ("GET", "/v1/items/{item_id}/picture"),
    ("GET", "/v1/items/{item_id}/similar"),
    ("GET", "/v1/requests"),  # shows a person's own, tested in rights/test_api_rights.py
    ("GET", "/v1/requests/{identifier}"),  # likewise
    ("GET", "/v1/requests/{identifier}/file"),  # likewise
    ("GET", "/me/exports/{identifier}"),  # likewise
    ("GET", "/"),
    ("GET", "/plan"),
    ("POST", "/plan"),
}
"""Routes a person may use that concern no person, or find out whom by the key."""


def routes(found: Any) -> Iterator[Any]:
    for route in found:
        inner = getattr(route, "original_router", None)
        if inner is None:
            yield route
        else:
            assert not route.include_context.dependencies, "permissions are declared on routes and routers"
            yield from routes(inner.routes)


def permissions(dependant: Any) -> Iterator[Permission]:
    for below in dependant.dependencies:
        if isinstance(below.call, Permission):
            yield below.call
        yield from permissions(below)


@pytest.fixture
def served(open_service: Callable[..., Service]) -> Iterator[tuple[TestClient, dict[str, str], Any]]:
    service = open_service(
        experiments=("try=main:0.5,bpr:0.5",), rate_per_minute=0, person_rate_per_minute=0, run_jobs=False
    )
    keys = {role: service.store.keys.make(role, role, "u1" if role == "person" else None)[1] for role in ROLES}
    app = create_app(service)
    with TestClient(app, base_url="http://127.0.0.1", follow_redirects=False) as client:
        yield client, keys, app


def test_every_route_for_every_role(served: tuple[TestClient, dict[str, str], Any]) -> None:
    client, keys, app = served
    wrong: list[str] = []
    count = 0
    for route in routes(app.routes):
        assert hasattr(route, "dependant"), f"{route} is no route of ours"
        declared = list(permissions(route.dependant))
        assert declared, f"{route.path} declares no permission: add require(…) or everybody()"
        roles = [one.roles for one in declared if one.roles is not None]
        for method in sorted(route.methods - {"HEAD", "OPTIONS"}):
            address = route.path_format.format(**{name: FILLED[name] for name in route.param_convertors})
            allowed = {None, *ROLES} if not roles else {"admin", *set.intersection(*map(set, roles))}
            for role in (None, *ROLES):
                headers = {"accept": "application/json"}
                if role is not None:
                    headers["authorization"] = f"Bearer {keys[role]}"
                more = {} if method == "GET" else {"json": {}}
                answer = client.request(method, address, headers=headers, **more)
                to_sign_in = answer.status_code == 303 and answer.headers["location"].startswith("/sign-in")
                status = 401 if to_sign_in and role is None else answer.status_code
                count += 1
                expected = "in" if role in allowed else 401 if role is None else 403
                page_form = expected == "in" and method == "POST" and not address.startswith("/v1") and status == 403
                got: Any = "in" if status not in (401, 403) or page_form else status
                if got != expected or status >= 500:
                    wrong.append(f"{method} {route.path} as {role}: {status}, expected {expected}")
    assert not wrong, "\n".join(wrong)
    assert count > 300


def test_a_persons_key_sees_nobody_else(served: tuple[TestClient, dict[str, str], Any]) -> None:
    client, keys, app = served
    headers = {"accept": "application/json", "authorization": f"Bearer {keys['person']}"}
    wrong = []
    for route in routes(app.routes):
        roles = [one.roles for one in permissions(route.dependant) if one.roles is not None]
        if not roles or not all("person" in one for one in roles):
            continue
        for method in sorted(route.methods - {"HEAD", "OPTIONS"}):
            name = (method, route.path_format)
            if name in ABOUT_NOBODY:
                continue
            if "user_id" in route.param_convertors:
                address = route.path_format.format(
                    **{one: FILLED[one] for one in route.param_convertors} | {"user_id": "u2"}
                )
                body = {"kind": "export"} if route.path.endswith("/requests") else {}
                asked: dict[str, Any] = {} if method in ("GET", "DELETE") else {"json": body}
            else:
                assert name in ANOTHER, f"{name}: say in ANOTHER how it would ask about another person, or ABOUT_NOBODY"
                address = route.path_format.format(**{one: FILLED[one] for one in route.param_convertors})
                asked = ANOTHER[name]
            status = client.request(method, address, headers=headers, **asked).status_code
            if status != 403:
                wrong.append(f"{method} {address} about another person: {status}")
    assert not wrong, "\n".join(wrong)
