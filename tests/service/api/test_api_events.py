from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from rectitude.client import answers
from rectitude.service.app import create_app
from rectitude.service.service import Service

NDJSON = {"Content-Type": "application/x-ndjson"}


def stored(web: TestClient, **query: Any) -> list[dict[str, Any]]:
    return answers.EventPage.model_validate(web.get("/v1/events", params=query).json()).model_dump()["items"]


def test_one_several_and_lines(web: TestClient) -> None:
    rows = [{"id": f"e{n}", "user": f"p{n % 2}", "item": "i1", "at": 1000 + n, "value": 4.5} for n in range(5)]
    assert web.post("/v1/events", json=rows[0]).json()["accepted"] == 1
    assert web.post("/v1/events", json={"events": rows[:2]}).json() == {"accepted": 1, "duplicates": 1, "erased": 0}
    assert web.post("/v1/events", json=rows[1:3]).json() == {"accepted": 1, "duplicates": 1, "erased": 0}
    lines = "\n".join(json.dumps(row) for row in rows) + "\n\n"
    assert web.post("/v1/events", content=lines, headers=NDJSON).json() == {"accepted": 2, "duplicates": 3, "erased": 0}
    assert [row["id"] for row in stored(web)] == ["e0", "e1", "e2", "e3", "e4"]
    assert [row["id"] for row in stored(web, user="p1")] == ["e1", "e3"]
    assert stored(web)[0] == {"id": "e0", "user": "p0", "item": "i1", "kind": "view", "value": 4.5, "at": 1000.0}
    assert web.post("/v1/events", json=[]).json()["accepted"] == 0


def test_pages_go_on_where_the_one_before_ended(web: TestClient) -> None:
    web.post("/v1/events", json=[{"id": f"e{n}", "user": "p", "item": "i1"} for n in range(7)])
    found, cursor = [], None
    for _ in range(3):
        page = web.get("/v1/events", params={"limit": 3, **({"cursor": cursor} if cursor else {})}).json()
        found += [row["id"] for row in page["items"]]
        cursor = page["next"]
    assert found == [f"e{n}" for n in range(7)]
    assert cursor is None
    for bad in ("zz", "!!", "InRleHQi", "LTE"):
        assert web.get("/v1/events", params={"cursor": bad}).status_code == 422


def test_without_an_id_the_same_event_with_its_time_is_taken_once(web: TestClient) -> None:
    timed = {"user": "p", "item": "i1", "at": "2026-01-01T00:00:00Z"}
    assert [web.post("/v1/events", json=timed).json()["accepted"] for _ in range(2)] == [1, 0]
    untimed = {"user": "p", "item": "i1"}
    assert [web.post("/v1/events", json=untimed).json()["accepted"] for _ in range(2)] == [1, 1]
    assert {row["at"] for row in stored(web)} >= {1767225600.0}


def test_out_of_order_events_are_read_in_the_order_of_their_times(web: TestClient) -> None:
    for item, at in (("i3", 300), ("i1", 100), ("i2", 200)):
        web.post("/v1/events", json={"user": "p", "item": item, "at": at})
    by_events = web.get("/v1/recommend?user=p").json()["items"]
    assert by_events == web.get("/v1/recommend?history=i1,i2,i3").json()["items"]


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"user": "p"}, "item are needed"),
        ({"user": "", "item": "i1"}, "must not be empty"),
        ({"user": 3, "item": "i1"}, "are text"),
        ({"user": "p", "item": "i1", "kind": None}, "are text"),
        ({"user": "p", "item": "i1", "extra": 1}, "no 'extra'"),
        ({"user": "p", "item": "i1", "value": "4"}, "value"),
        ({"user": "p", "item": "i1", "value": True}, "value"),
        ({"user": "p", "item": "i1", "at": "yesterday"}, "ISO 8601"),
        ({"user": "p", "item": "i1", "at": True}, "ISO 8601"),
        ({"user": "p", "item": "i1", "at": -5}, "before 1970"),
        ({"user": "p", "item": "i1", "at": "1066-10-14"}, "before 1970"),
        ({"user": "p", "item": "i1", "at": 4e9}, "days in the future"),
        ({"user": "p", "item": "i1", "at": 1.76e12}, "in milliseconds?"),
        ({"user": "x" * 300, "item": "i1"}, "256"),
        ({"user": "p\u0000", "item": "i1"}, "NUL"),
        ({"id": 5, "user": "p", "item": "i1"}, "id of an event is text"),
        ("event", "is an object"),
        (None, "is an object"),
    ],
)
def test_what_is_no_event_is_refused_with_its_place_and_nothing_is_taken(
    web: TestClient, event: Any, said: str
) -> None:
    good = {"id": "good", "user": "p", "item": "i1"}
    as_list = web.post("/v1/events", json=[good, event])
    as_lines = web.post("/v1/events", content=json.dumps(good) + "\n" + json.dumps(event), headers=NDJSON)
    for answer, where in ((as_list, "body.1"), (as_lines, "line 2")):
        assert answer.status_code == 422
        assert said in answer.json()["detail"]
        assert answer.json()["where"] == where
    assert stored(web) == []


def test_bodies_that_are_no_events(web: TestClient) -> None:
    assert web.post("/v1/events", content=b"{", headers={"Content-Type": "application/json"}).status_code == 422
    assert web.post("/v1/events", content=b'{"user":"p","item":"i1"}\n{"us', headers=NDJSON).json()["where"] == "line 2"
    assert web.post("/v1/events", json={"events": [], "more": 1}).status_code == 422
    assert web.post("/v1/events", content=b"<a/>", headers={"Content-Type": "text/xml"}).status_code == 415
    assert web.post("/v1/events", content=b"\xff", headers={"Content-Type": "application/json"}).status_code == 422


def test_a_clock_that_is_a_little_ahead_is_tolerated(web: TestClient) -> None:
    assert web.post("/v1/events", json={"user": "p", "item": "i1", "at": time.time() + 60}).status_code == 200
    assert web.post("/v1/events", json={"user": "p", "item": "i1", "at": time.time() + 600}).status_code == 422


def test_a_persons_events_keep_their_ids_and_nobody_keeps_them_out(open_service: Callable[..., Service]) -> None:
    service = open_service()
    keys = {user: service.store.keys.make(user, "person", user)[1] for user in ("p", "q")}
    with TestClient(create_app(service), base_url="http://127.0.0.1") as web:
        for user in ("q", "p"):
            event = {"id": "e" * 256, "user": user, "item": "i1"}
            answer = web.post("/v1/events", json=event, headers={"Authorization": f"Bearer {keys[user]}"})
            assert answer.json()["accepted"] == 1
            found = web.get("/v1/events", headers={"Authorization": f"Bearer {keys[user]}"}).json()["items"]
            assert [(row["id"], row["user"]) for row in found] == [("e" * 256, user)]


def test_a_batch_has_a_limit(open_service: Callable[..., Service]) -> None:
    with TestClient(create_app(open_service(max_batch=3)), base_url="http://127.0.0.1") as web:
        assert web.post("/v1/events", json=[{"user": "p", "item": "i1"}] * 4).status_code == 422
        assert web.post("/v1/items", json={"items": [{"id": str(n)} for n in range(4)]}).status_code == 422
        assert web.post("/v1/events", json=[{"user": "p", "item": "i1"}] * 3).status_code == 200
