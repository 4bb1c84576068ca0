from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import httpx
import pytest

from rectitude.client import AsyncClient, Client, Event, ServiceError
from rectitude.client import client as module
from rectitude.client.answers import List

LIST = {
    "slot": "main",
    "run": "r",
    "query": {},
    "answered_by": "SASRec",
    "fallback": False,
    "items": [{"rank": 1, "item_id": "i1", "score": 1.5, "title": None}],
    "notes": [],
    "something_new": 1,
}
TAKEN = {"accepted": 1, "duplicates": 0, "erased": 0}


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses, which are not made."""
    made: list[float] = []

    async def pause(seconds: float) -> None:
        made.append(seconds)

    monkeypatch.setattr(module.time, "sleep", made.append)
    monkeypatch.setattr(module.asyncio, "sleep", pause)
    return made


def script(*steps: httpx.Response | Exception) -> tuple[list[httpx.Request], Callable[[httpx.Request], httpx.Response]]:
    """A service that does one thing after the other."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        step = steps[len(seen) - 1]
        if isinstance(step, Exception):
            raise step
        return httpx.Response(step.status_code, headers=step.headers, content=step.content)

    return seen, answer


def both(answer: Callable[[httpx.Request], httpx.Response], act: str, *given: object, **named: object) -> list[object]:
    """The same call by both clients."""
    transport = httpx.MockTransport(answer)
    with Client("http://service", transport=transport) as client:
        first = getattr(client, act)(*given, **named)

    async def later() -> object:
        async with AsyncClient("http://service", transport=transport) as client:
            return await getattr(client, act)(*given, **named)

    return [first, asyncio.run(later())]


def test_a_list_is_typed_and_fields_of_newer_services_are_passed_over() -> None:
    seen, answer = script(httpx.Response(200, json=LIST), httpx.Response(200, json=LIST))
    for found in both(answer, "recommend", "u1", k=3, where={"year": {"min": 1990}}):
        assert isinstance(found, List)
        assert found.items[0].item_id == "i1"
    assert json.loads(seen[0].content) == json.loads(seen[1].content)
    assert json.loads(seen[0].content)["user"] == "u1"
    assert "history" not in json.loads(seen[0].content)


def test_keys_are_sent_and_ids_are_quoted() -> None:
    seen, answer = script(httpx.Response(200, json={"stored": 1}))
    with Client("http://service", "rk_1_secret", transport=httpx.MockTransport(answer)) as client:
        assert client.put_item("a/b?ü", title="x").stored == 1
    assert seen[0].headers["authorization"] == "Bearer rk_1_secret"
    assert seen[0].url.raw_path == b"/v1/items/a%2Fb%3F%C3%BC"


def test_what_fails_in_passing_is_tried_again_with_the_same_events(pauses: list[float]) -> None:
    steps = [
        httpx.ReadError("cut off"),
        httpx.Response(503, headers={"Retry-After": "3"}),
        httpx.Response(429, headers={"Retry-After": "1000"}),
        httpx.Response(200, json=TAKEN),
    ]
    seen, answer = script(*steps, *steps)
    assert [found.accepted for found in both(answer, "send", [Event("u1", "i1")])] == [1, 1]
    assert len({request.content for request in seen[:4]}) == 1
    assert json.loads(seen[0].content)["id"]
    assert pauses[1:3] == [3.0, 10.0]
    assert 0.05 <= pauses[0] <= 0.15


def test_it_gives_up_and_says_why(pauses: list[float]) -> None:
    problem = {"title": "Service Unavailable", "status": 503, "detail": "The store's database does not answer"}
    seen, answer = script(*[httpx.Response(503, json=problem)] * 5)
    with (
        Client("http://service", transport=httpx.MockTransport(answer)) as client,
        pytest.raises(ServiceError, match="database does not answer"),
    ):
        client.recommend("u1")
    assert (len(seen), len(pauses)) == (5, 4)


def test_what_the_service_refuses_is_not_tried_again(pauses: list[float]) -> None:
    problem = {"title": "x", "status": 422, "detail": "Items have no attribute 'kin'", "fix": "Did you mean 'kind'?"}
    seen, answer = script(httpx.Response(422, json=problem), httpx.Response(500, text="<html>"))
    with Client("http://service", transport=httpx.MockTransport(answer)) as client:
        with pytest.raises(ServiceError, match="no attribute 'kin'") as refused:
            client.recommend("u1", where={"kin": "a"})
        assert str(refused.value) == "Items have no attribute 'kin' (422). Did you mean 'kind'?"
        assert refused.value.status == 422
        with pytest.raises(ServiceError, match="500"):
            client.slots()
    assert (len(seen), pauses) == (2, [])


def test_a_request_of_a_person_is_not_sent_twice_by_accident(pauses: list[float]) -> None:
    seen, answer = script(httpx.ReadError("cut off"))
    with (
        Client("http://service", transport=httpx.MockTransport(answer)) as client,
        pytest.raises(ServiceError, match="did not answer"),
    ):
        client.ask("u1", "delete")
    assert len(seen) == 1
    unsent, answer = script(httpx.ConnectError("refused"), httpx.Response(202, json={"id": "q"}))
    with Client("http://service", transport=httpx.MockTransport(answer)) as client:
        assert client.ask("u1", "delete") == {"id": "q"}
    assert len(unsent) == 2


def test_many_events_are_sent_in_several_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 3)
    seen, answer = script(*[httpx.Response(200, json=TAKEN)] * 6)
    assert [found.accepted for found in both(answer, "send", [Event("u", f"i{n}") for n in range(7)])] == [3, 3]
    assert [len(request.content.splitlines()) for request in seen] == [3, 3, 1] * 2


def test_every_call_is_offered_by_both() -> None:
    ways = {name for name in vars(Client) if not name.startswith("_")}
    assert ways == {name for name in vars(AsyncClient) if not name.startswith("_")}
    assert all(getattr(Client, name).__doc__ for name in ways)
