"""Every route × every role, made from the routes themselves: a route that declares nothing fails here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from web_client import TestClient

from rectitude.service import rights
from rectitude.service.access import CSRF_HEADER, LOCAL, Permission
from rectitude.service.app import create_app
from rectitude.service.service import Service
from rectitude.service.store import Event, UserFacts
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
    ("POST", "/me/share"): {"data": {"person": "u2", "percent": "50"}},
    ("POST", "/me/requests"): {"data": {"person": "u2", "kind": "export"}},
}
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


Served = tuple[TestClient, dict[str, str], Any]


@pytest.fixture
def served(open_service: Callable[..., Service]) -> Iterator[Served]:
    """A client with a page session that nobody has signed in to, the text of a key of each role, the application."""
    service = open_service(
        experiments=("try=main:0.5,bpr:0.5",), rate_per_minute=0, person_rate_per_minute=0, run_jobs=False
    )
    keys = {role: service.store.keys.make(role, role, "u1" if role == "person" else None)[1] for role in ROLES}
    app = create_app(service)
    with TestClient(app, base_url="http://127.0.0.1", follow_redirects=False) as client:
        yield client, keys, app


def ask(served: Served, method: str, address: str, role: str | None, **more: Any) -> Any:
    """By a key and, for pages, from a session nobody has signed in to."""
    client, keys, app = served
    sessions = app.state.service.sessions
    session = sessions.open(None)
    client.cookies.clear()
    client.cookies.set(sessions.cookie, sessions.write(session))
    headers = {"accept": "application/json", CSRF_HEADER: sessions.token(session), **more.pop("headers", {})}
    if role is not None:
        headers["authorization"] = f"Bearer {keys[role]}"
    return client.request(method, address, headers=headers, **more)


def test_every_route_for_every_role(served: Served) -> None:
    _, keys, app = served
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
                more: dict[str, Any] = {} if method == "GET" else {"json": {}}
                if (method, address) == ("POST", "/sign-in"):
                    more = {"data": {"key": keys["read"]}}
                answer = ask(served, method, address, role, **more)
                to_sign_in = answer.status_code == 303 and answer.headers["location"].startswith("/sign-in")
                status = 401 if to_sign_in and roles else answer.status_code
                count += 1
                expected = "in" if role in allowed else 401 if role is None else 403
                got: Any = "in" if status not in (401, 403) else status
                if got != expected or status >= 500:
                    wrong.append(f"{method} {route.path} as {role}: {status}, expected {expected}")
    assert not wrong, "\n".join(wrong)
    assert count > 300


def test_what_changes_something_on_a_page_needs_the_sessions_token(served: Served) -> None:
    for route in routes(served[2].routes):
        if "POST" in route.methods and not route.path.startswith("/v1"):
            address = route.path_format.format(**{name: FILLED[name] for name in route.param_convertors})
            answer = ask(served, "POST", address, "admin", headers={CSRF_HEADER: "another"})
            assert (answer.status_code, address) == (403, address)


def test_what_is_held_of_a_person_is_told_to_nobody_else(served: Served) -> None:
    _, keys, app = served
    service: Service = app.state.service
    service.store.put_users([UserFacts("u1", {"planted": "planted-fact"})])
    service.store.add_events([Event("planted-event", "u1", "i5", "planted-kind", 1.0, 1e9)])
    service.store.keys.make("planted-name", "person", "u1")
    rights.object_to(service, LOCAL, "u1", "i6", "planted-reason")
    export = rights.ask(service, LOCAL, "export", "u1")
    service.jobs.run_waiting()
    keys["another person"] = service.store.keys.make("u2", "person", "u2")[1]
    told: dict[str | None, str] = dict.fromkeys((None, *keys), "")
    for route in routes(app.routes):
        for method in sorted(route.methods & {"GET", "POST"}):
            name = (method, route.path_format)
            about = ANOTHER.get(name, {} if route.path.startswith("/v1") else {"params": {"person": "u1", "q": "u1"}})
            if method == "POST" and name not in ANOTHER:
                continue
            filled = {**FILLED, "identifier": export.id}
            address = route.path_format.format(**{one: filled[one] for one in route.param_convertors})
            asked = {way: {**values, **_about_u1(values)} for way, values in about.items()}
            for who in told:
                answer = ask(served, method, address, who, **asked)
                told[who] += f"{name}: it is {answer.headers.get('content-type')}\n{answer.text}\n"
    for planted in ("planted-fact", "planted-event", "planted-kind", "planted-reason", "planted-name"):
        knowing = {who for who, text in told.items() if planted in text}
        assert knowing == {"admin", "person"}, planted
    assert {who for who, text in told.items() if "it is application/zip" in text} == {"admin", "person"}


def _about_u1(values: dict[str, Any]) -> dict[str, Any]:
    return {name: "u1" for name in ("user", "person") if name in values}


def test_a_persons_key_sees_nobody_else(served: Served) -> None:
    wrong = []
    for route in routes(served[2].routes):
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
                body = {"requests": {"kind": "export"}, "share": {"percent": 60}}.get(route.path.rpartition("/")[2], {})
                asked: dict[str, Any] = {} if method in ("GET", "DELETE") else {"json": body}
            else:
                assert name in ANOTHER, f"{name}: say in ANOTHER how it would ask about another person, or ABOUT_NOBODY"
                address = route.path_format.format(**{one: FILLED[one] for one in route.param_convertors})
                asked = ANOTHER[name]
            status = ask(served, method, address, "person", **asked).status_code
            if status != 403:
                wrong.append(f"{method} {address} about another person: {status}")
    assert not wrong, "\n".join(wrong)
