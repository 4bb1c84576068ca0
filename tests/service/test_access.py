from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import FastAPI, HTTPException
from web_client import TestClient

from rectitude.core.errors import ConfigError
from rectitude.service.access import (
    CheckedSession,
    HostGuard,
    Limiter,
    Principal,
    Sessions,
    _slow_down,
    check_binding,
    check_user,
    client_address,
    everybody,
    require,
)
from rectitude.service.config import ServiceConfig
from rectitude.service.service import Service
from rectitude.service.store import Store

Ask = Callable[..., tuple[int, Any]]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    opened: list[Service] = []

    def begin(**settings: Any) -> Service:
        config = ServiceConfig(store=f"sqlite:///{tmp_path}/s.db", folder=tmp_path / "data", **settings)
        opened.append(Service.open(config))
        return opened[-1]

    yield begin
    for service in opened:
        service.close()


def small_app(service: Service) -> FastAPI:
    app = FastAPI()
    app.state.service = service
    app.add_middleware(HostGuard, config=service.config)

    @app.get("/of/{user}")
    def of(user: str, principal: Annotated[Principal, require("read", "person")]) -> str:
        check_user(principal, user)
        return principal.name

    @app.post("/write")
    def write(principal: Annotated[Principal, require("write")]) -> str:
        return principal.name

    @app.post("/page")
    def page(principal: Annotated[Principal, require("person")], session: CheckedSession) -> str:
        return principal.name

    @app.api_route("/open", methods=["GET", "POST"], dependencies=[everybody()])
    def anybody() -> str:
        return "open"

    return app


def asking(service: Service, base: str = "http://127.0.0.1") -> Callable[..., int]:
    client = TestClient(small_app(service), base_url=base)

    def ask(method: str, path: str, key: str | None = None, **more: Any) -> int:
        headers = {**({"authorization": f"Bearer {key}"} if key else {}), **more.pop("headers", {})}
        return client.request(method, path, headers=headers, **more).status_code

    ask.client = client  # type: ignore[attr-defined]
    return ask


def test_without_keys_whoever_is_at_the_machine_is_the_operator(make: Callable[..., Service]) -> None:
    service = make()
    ask = asking(service)
    assert [ask("GET", "/of/a"), ask("POST", "/write"), ask("GET", "/open")] == [200, 200, 200]
    service.store.keys.make("a", "read")
    service.keys.forget()
    assert [ask("GET", "/of/a"), ask("POST", "/write"), ask("GET", "/open")] == [401, 401, 200]


def test_another_sites_page_cannot_use_that(make: Callable[..., Service]) -> None:
    ask = asking(make())
    assert ask("POST", "/write", headers={"origin": "http://evil.example"}) == 403
    assert ask("POST", "/write", headers={"sec-fetch-site": "cross-site"}) == 403
    assert ask("POST", "/write", headers={"origin": "null"}) == 403
    assert ask("POST", "/write", headers={"origin": "http://127.0.0.1", "sec-fetch-site": "same-origin"}) == 200


def test_public_use_needs_a_key_even_where_there_is_none(make: Callable[..., Service]) -> None:
    service = make(host="0.0.0.0")  # noqa: S104
    assert asking(service)("GET", "/of/a") == 401
    with pytest.raises(ConfigError, match=r"has no key.*rectitude keys make"):
        check_binding(service.config, service.store)
    service.store.keys.make("a", "admin")
    check_binding(service.config, service.store)


@pytest.mark.parametrize(
    "settings", [{"allowed_hosts": ("shop.example",)}, {"trusted_proxies": ("127.0.0.1",)}, {"behind_tls": True}]
)
def test_a_proxy_makes_nobody_local(make: Callable[..., Service], settings: Any) -> None:
    service = make(**settings)
    assert asking(service)("GET", "/of/a") == 401
    with pytest.raises(ConfigError, match=r"through a proxy"):
        check_binding(service.config, service.store)


def test_what_a_proxy_passed_on_is_not_local(make: Callable[..., Service]) -> None:
    for header in ("X-Forwarded-For", "Forwarded", "X-Real-IP"):
        assert asking(make())("GET", "/of/a", headers={header: "1.1.1.1"}) == 401


def test_roles_and_persons(make: Callable[..., Service]) -> None:
    service = make()
    keys = {role: service.store.keys.make(role, role)[1] for role in ("read", "write", "admin")}
    keys["person"] = service.store.keys.make("p", "person", "u")[1]
    ask = asking(service)
    asked = {
        role: [ask("GET", "/of/u", key), ask("GET", "/of/v", key), ask("POST", "/write", key)]
        for role, key in keys.items()
    }
    assert asked == {
        "read": [200, 200, 403],
        "write": [403, 403, 200],
        "admin": [200, 200, 200],
        "person": [200, 403, 403],
    }
    for wrong in ("rk_x_y", keys["read"] + "x", "", "Bearer"):
        assert ask("GET", "/of/u", wrong or "x") == 401
    assert ask("GET", "/of/u", headers={"authorization": f"Basic {keys['admin']}"}) == 401


def test_a_revoked_key_dies_at_once_here_and_within_a_second_elsewhere(make: Callable[..., Service]) -> None:
    service, other = make(), make()
    info, key = service.store.keys.make("a", "read")
    here, there = asking(service), asking(other)
    assert [here("GET", "/of/u", key), there("GET", "/of/u", key)] == [200, 200]
    service.store.keys.revoke(info.id)
    service.keys.forget()
    assert here("GET", "/of/u", key) == 401
    time.sleep(1.05)
    assert there("GET", "/of/u", key) == 401


@pytest.mark.parametrize(
    ("settings", "host", "status"),
    [
        ({}, "127.0.0.1:8400", 200),
        ({}, "localhost", 200),
        ({}, "[::1]:8400", 200),
        ({}, "evil.example", 421),
        ({}, "127.0.0.1.evil.example", 421),
        ({}, "", 421),
        ({"allowed_hosts": ("shop.example",)}, "Shop.Example:80", 200),
        ({"host": "10.0.0.1", "allowed_hosts": ("shop.example",)}, "evil.example", 421),
        ({"host": "10.0.0.1"}, "anything.example", 200),
    ],
)
def test_only_names_of_ours_are_answered(make: Callable[..., Service], settings: Any, host: str, status: int) -> None:
    assert asking(make(**settings))("GET", "/open", headers={"host": host}) == status


def test_another_name_is_told_what_to_do(make: Callable[..., Service]) -> None:
    client = TestClient(small_app(make()), base_url="http://shop.example")
    told = client.get("/open").json()
    assert told["detail"] == "The service does not answer to the name 'shop.example'"
    assert "allowed_hosts" in told["fix"]


def test_a_wrong_key_is_told_from_none(make: Callable[..., Service]) -> None:
    service = make()
    service.store.keys.make("a", "admin")
    client = TestClient(small_app(service), base_url="http://127.0.0.1")
    assert client.get("/of/u").json()["detail"] == "A key is needed"
    wrong = client.get("/of/u", headers={"authorization": "Bearer rk_mistyped"}).json()["detail"]
    assert wrong == "This key opens nothing: it was mistyped, or it was revoked"


# ---- rates -----------------------------------------------------------------------------------------------------------


def test_a_bucket_empties_and_fills_again() -> None:
    now = [0.0]
    limiter = Limiter(burst=3, clock=lambda: now[0])
    assert [limiter.wait("a", 60) for _ in range(4)] == [0, 0, 0, 1.0]
    assert limiter.wait("b", 60) == 0
    now[0] = 0.5
    assert limiter.wait("a", 60) == pytest.approx(0.5)
    now[0] = 1.0
    assert [limiter.wait("a", 60), limiter.wait("a", 60)] == [0, 1.0]
    now[0] = 100.0
    assert [limiter.wait("a", 60) for _ in range(4)] == [0, 0, 0, 1.0]
    assert limiter.wait("a", 0) == 0


def test_there_is_a_bounded_number_of_buckets() -> None:
    limiter = Limiter(burst=1, most=100)
    for number in range(1000):
        limiter.wait(f"{number}", 1)
    assert len(limiter) == 100


def test_too_many_requests_say_when_to_come_back(make: Callable[..., Service]) -> None:
    service = make(burst=3, rate_per_minute=6, person_rate_per_minute=6)
    _, key = service.store.keys.make("a", "read")
    ask = asking(service)
    assert [ask("GET", "/of/u", key) for _ in range(5)] == [200, 200, 200, 429, 429]
    answer = ask.client.get("/of/u", headers={"authorization": f"Bearer {key}"})  # type: ignore[attr-defined]
    assert 1 <= int(answer.headers["retry-after"]) <= 10
    assert [ask("GET", "/of/u", "rk_wrong_key") for _ in range(5)] == [401, 401, 401, 429, 429]
    assert [ask("POST", "/open"), ask("GET", "/open")] == [429, 200]  # nor on the page where keys are tried


def test_who_comes_back_when_told_gets_in() -> None:
    now = [0.0]
    limiter = Limiter(burst=1, clock=lambda: now[0])
    assert limiter.wait("a", 26) == 0  # one in 2.3 seconds
    with pytest.raises(HTTPException) as refused:
        _slow_down(limiter.wait("a", 26))
    now[0] = float(refused.value.headers["Retry-After"])
    assert limiter.wait("a", 26) == 0


def test_addresses_are_taken_from_trusted_proxies_only() -> None:
    from starlette.requests import Request

    def address(peer: str, forwarded: str, trusted: tuple[str, ...]) -> str:
        scope = {"type": "http", "client": (peer, 1), "headers": [(b"x-forwarded-for", forwarded.encode())]}
        return client_address(Request(scope), ServiceConfig(trusted_proxies=trusted))

    assert address("9.9.9.9", "1.1.1.1", ()) == "9.9.9.9"
    assert address("10.0.0.1", "6.6.6.6, 1.1.1.1", ("10.0.0.1",)) == "1.1.1.1"
    assert address("10.0.0.1", "1.1.1.1, 10.0.0.2", ("10.0.0.1", "10.0.0.2")) == "1.1.1.1"
    assert address("10.0.0.1", "", ("10.0.0.1",)) == "10.0.0.1"


# ---- sessions --------------------------------------------------------------------------------------------------------


def test_a_page_session_is_signed_and_ends(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path}/s.db") as store:
        sessions = Sessions.of(store, ServiceConfig())
        session = sessions.open("abc")
        text = sessions.write(session)
        assert Sessions.of(store, ServiceConfig()).read(text) == session
        body, _, signature = text.partition(".")
        for forged in ("", ".", text[:-1], f"{body[:-2]}AA.{signature}", f"{body}.é", "x" * 5000, None):
            assert sessions.read(forged) is None
        short = Sessions.of(store, ServiceConfig(session_hours=1e-9))
        ended = short.write(short.open("abc"))
        time.sleep(0.01)
        assert short.read(ended) is None
        other = Sessions(b"0" * 32, ServiceConfig())
        assert other.read(text) is None
        assert not other.token_fits(session, sessions.token(session))
        assert sessions.token_fits(session, sessions.token(session))


@pytest.mark.parametrize("secure", [False, True])
def test_cookies_are_for_this_site_and_not_for_scripts(tmp_path: Path, secure: bool) -> None:
    from starlette.responses import Response

    with Store.open(f"sqlite:///{tmp_path}/s.db") as store:
        sessions = Sessions.of(store, ServiceConfig(behind_tls=secure))
        response = Response()
        sessions.set(response, sessions.open("abc"))
        cookie = response.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert ("Secure" in cookie, cookie.startswith("__Host-")) == (secure, secure)


def test_a_page_that_changes_something_needs_its_token(make: Callable[..., Service]) -> None:
    service = make()
    info, _ = service.store.keys.make("p", "person", "u")
    ask = asking(service)
    session = service.sessions.open(info.id)
    ask.client.cookies.set(service.sessions.cookie, service.sessions.write(session))  # type: ignore[attr-defined]
    token = service.sessions.token(session)
    assert [ask("GET", "/of/u"), ask("GET", "/of/v")] == [200, 403]
    assert ask("POST", "/page") == 403
    assert ask("POST", "/page", headers={"x-csrf-token": token[:-1] + "0"}) == 403
    assert ask("POST", "/page", headers={"x-csrf-token": token}) == 200
    assert ask("POST", "/page", data={"csrf": token}) == 200
    assert ask("POST", "/page", headers={"x-csrf-token": token, "origin": "http://evil.example"}) == 403
    service.store.keys.revoke(info.id)
    service.keys.forget()
    assert ask("GET", "/of/u") == 401


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="given together"):
        ServiceConfig(tls_key=Path("key.pem"))
    with pytest.raises(ValueError, match="extra"):
        ServiceConfig(hots="0.0.0.0")  # type: ignore[call-arg]  # noqa: S104


def test_no_secret_is_in_the_log(web: TestClient, service: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    made = web.post("/v1/keys", json={"name": "a", "role": "admin"}).json()
    key = {"authorization": f"Bearer {made['key']}"}
    web.get("/v1/keys", headers=key)
    web.get("/v1/recommend", params={"user": "u1"}, headers=key)
    web.get("/v1/keys", headers={"authorization": f"Bearer {made['key']}x"})
    web.post("/v1/keys", json={"name": "a", "role": made["key"]}, headers=key)
    said = " ".join(
        [*(record.getMessage() for record in caplog.records), json.dumps(web.get("/metrics", headers=key).text)]
    )
    assert made["key"].rpartition("_")[2] not in said
    assert str(service.store.setting("session-secret")) not in said
