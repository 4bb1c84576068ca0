from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from rectitude.client import answers
from rectitude.service.app import create_app
from rectitude.service.service import Service


def listed(web: TestClient, **query: Any) -> list[str]:
    answer = web.get("/v1/recommend", params=query)
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


def test_the_list_of_a_person_is_the_runs(web: TestClient, service: Service) -> None:
    answer = web.get("/v1/recommend", params={"user": "u3", "k": 5})
    answers.List.model_validate(answer.json())
    run = service.shelf["main"].run.recommend("u3", k=5)
    assert [item["item_id"] for item in answer.json()["items"]] == [item.item_id for item in run.items]
    assert answer.json()["answered_by"] == "SASRec"
    assert (answer.json()["slot"], answer.json()["run"], answer.json()["fallback"]) == ("main", "sasrec", False)


def test_get_and_post_ask_the_same(web: TestClient) -> None:
    query = "history=i1,i2&k=40&where=year:1995..2010&where=genres:odd&exclude=i9&exclude_seen=false"
    body = {
        "history": ["i1", "i2"],
        "k": 40,
        "where": {"year": {"min": 1995, "max": 2010}, "genres": "odd"},
        "exclude": ["i9"],
        "exclude_seen": False,
    }
    by_url, by_body = web.get(f"/v1/recommend?{query}"), web.post("/v1/recommend", json=body)
    assert by_url.json() == by_body.json()
    assert {item["item_id"] for item in by_url.json()["items"]} == {f"i{n}" for n in range(5, 21, 2)} - {"i9"}
    either = web.get("/v1/recommend?history=i1&k=40&where=kind:Red&where=kind:Blue").json()
    assert {int(item["item_id"][1:]) % 3 for item in either["items"]} == {0, 2}
    assert web.get("/v1/recommend?feature=gender:F").json()["answered_by"] == "popularity among 30 people with gender F"


def test_a_person_nobody_knows_is_answered_by_a_fallback_that_says_so(web: TestClient) -> None:
    told = web.get("/v1/recommend?user=nobody").json()
    assert told["fallback"]
    assert told["answered_by"] == "popularity (no known history)"


def test_an_event_is_read_in_the_next_answer(web: TestClient) -> None:
    before = listed(web, user="new")
    event = {"id": "e1", "user": "new", "item": "i4"}
    assert web.post("/v1/events", json=event).json() == {"accepted": 1, "duplicates": 0, "erased": 0}
    assert listed(web, user="new") == listed(web, history="i4") != before
    assert web.post("/v1/events", json=event).json() == {"accepted": 0, "duplicates": 1, "erased": 0}
    assert listed(web, user="new") == listed(web, history="i4")


def test_every_answer_has_a_name_and_takes_a_sane_one(web: TestClient) -> None:
    own = web.get("/v1/recommend?user=u1", headers={"X-Request-ID": "shop-42"})
    assert own.headers["x-request-id"] == "shop-42"
    for strange in ("a b", "x" * 200, "<script>", "ä"):
        answer = web.get("/v1/nowhere", headers={"X-Request-ID": strange.encode()})
        assert answer.status_code == 404
        assert len(answer.headers["x-request-id"]) == 32
        assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_what_has_not_changed_is_not_sent_again(web: TestClient) -> None:
    first = web.get("/v1/recommend?user=u1")
    again = web.get("/v1/recommend?user=u1", headers={"If-None-Match": f'"other", W/{first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    web.post("/v1/events", json={"user": "u1", "item": "i30"})
    changed = web.get("/v1/recommend?user=u1", headers={"If-None-Match": first.headers["etag"]})
    assert changed.status_code == 200
    assert changed.headers["etag"] != first.headers["etag"]


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("", 422, "one of a user, a history and features"),
        ("user=u1&history=i1", 422, "one of a user, a history and features"),
        ("user=u1&k=0", 422, "query.k"),
        ("user=u1&k=many", 422, "query.k"),
        ("user=u1&k=201", 422, "at most 200"),
        ("user=u1&kk=3", 422, "query.kk"),
        ("user=u1&user=u2", 422, "query.user"),
        (f"user={'x' * 257}", 422, "query.user"),
        ("user=u1&where=kind", 422, "no where"),
        ("user=u1&where=year:a..b", 422, "no number"),
        ("user=u1&where=year:nan..inf", 422, "no number"),
        ("user=a%00b", 422, "NUL"),
        ("user=u1&where=year:1..2&where=year:3", 422, "bounds"),
        ("user=u1&where=colour:red", 422, "no attribute"),
        ("feature=colour:red", 422, "no attribute"),
        ("user=u1&slot=mian", 404, "No run is served as 'mian'"),
        ("user=u1&experiment=none", 404, "no experiment"),
        ("history=i1&experiment=none", 422, "by the user"),
    ],
)
def test_questions_that_cannot_be_answered(web: TestClient, query: str, status: int, said: str) -> None:
    answer = web.get(f"/v1/recommend?{query}")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert said in answer.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"user": 3}',
        b'{"user": "u1", "k": "ten"}',
        b'{"user": "u1", "where": {"year": []}}',
        b'{"user": "u1", "unknown": 1}',
        b'{"history": [1]}',
        b'{"user": "u1", "where": {"year": {"min": NaN}}}',
        b"\xff\xfe",
    ],
)
def test_bodies_that_are_no_question(web: TestClient, body: bytes) -> None:
    answer = web.post("/v1/recommend", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    problem_of(answer.json(), 422)


def test_bodies_of_another_kind_and_broken_ones_are_told_plainly(web: TestClient) -> None:
    form = web.post("/v1/recommend", data={"user": "u1"})
    assert (form.status_code, form.json()["fix"]) == (415, "Send application/json")
    broken = web.post("/v1/recommend", content=b"{bad", headers={"Content-Type": "application/json"})
    assert broken.json()["detail"].startswith("The body is not JSON: Expecting property name")
    assert broken.json()["detail"].endswith("at character 1")


def test_an_absurdly_deep_body(web: TestClient) -> None:
    answer = web.post("/v1/recommend", content=b"[" * 100_000, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    problem_of(answer.json(), 400)
    assert web.post("/v1/events", content=b"[" * 100_000).status_code == 422


def problem_of(told: dict[str, Any], status: int) -> None:
    from rectitude.service.api.problems import Problem

    assert Problem.model_validate(told).status == status


def test_routes_that_are_not_there_and_methods_that_are_not(web: TestClient) -> None:
    for answer, status in ((web.get("/v1/none"), 404), (web.delete("/v1/runs"), 405), (web.get("/v1/items/zz"), 404)):
        assert answer.status_code == status
        problem_of(answer.json(), status)
    assert "GET" in web.delete("/v1/runs").headers["allow"]
    assert web.get("/v1/none").json()["detail"] == "There is no such route: /docs lists all there are"
    assert web.delete("/v1/runs").json()["detail"] == "This route does not take DELETE"


def test_fields_that_do_not_fit_are_told_without_jargon(web: TestClient) -> None:
    told = web.post("/v1/recommend", json={"user": 5, "k": "x", "where": 3, "only": "i1", "kk": 1}).json()
    assert told["detail"] == "body.user: This should be text"
    assert {one["where"]: one["detail"] for one in told["errors"]} == {
        "body.user": "This should be text",
        "body.k": "This should be a whole number",
        "body.where": "This should be an object",
        "body.only": "This should be a list",
        "body.kk": "There is no such field",
    }
    assert web.post("/v1/recommend", json=[1]).json()["detail"] == "body: This should be an object"
    assert web.post("/v1/explain", json={"user": "u1"}).json()["detail"] == "body.item: This is needed"


def test_a_body_that_is_too_long_is_refused_before_it_is_read(open_service: Callable[..., Service]) -> None:
    service = open_service(max_body_bytes=2048)
    read = 0

    def pieces() -> Any:
        nonlocal read
        for _ in range(1000):
            read += 1024
            yield b"x" * 1024

    with TestClient(create_app(service), base_url="http://127.0.0.1") as web:
        announced = web.post("/v1/recommend", content=b"x" * 4096)
        streamed = web.post("/v1/events", content=pieces())  # without a length
        model = web.post("/v1/recommend", content=pieces(), headers={"Content-Type": "application/json"})
        for answer in (announced, streamed, model):
            assert answer.status_code == 413
            assert answer.headers["connection"] == "close"
            problem_of(answer.json(), 413)
        assert web.get("/health/live").status_code == 200


def test_an_experiment_divides_people_and_reports_the_arm(open_service: Callable[..., Service]) -> None:
    service = open_service(experiments=("try=main:0.5,bpr:0.5",))
    with TestClient(create_app(service), base_url="http://127.0.0.1") as web:
        arms = set()
        for number in range(20):
            told = web.get("/v1/recommend", params={"user": f"u{number}", "experiment": "try"}).json()
            asked = web.get("/v1/assignment", params={"user": f"u{number}", "experiment": "try"}).json()
            assert told["arm"] == told["slot"] == asked["arm"]
            assert told["answered_by"] == {"main": "SASRec", "bpr": "BPR-MF"}[told["arm"]]
            arms.add(told["arm"])
        assert arms == {"main", "bpr"}
        assert web.get("/v1/experiments").json() == {"items": [{"name": "try", "arms": {"main": 0.5, "bpr": 0.5}}]}
        assert web.get("/v1/recommend?user=u1&experiment=try&slot=bpr").status_code == 422


def test_why_an_item_stands_where_it_does(web: TestClient) -> None:
    item = listed(web, user="u3")[1]
    told = web.post("/v1/explain", json={"user": "u3", "item": item})
    assert told.status_code == 200
    found = answers.Explained.model_validate(told.json())
    assert found.rank == 2
    assert found.reasons[0].effect > 0
    assert web.post("/v1/explain", json={"user": "u3", "item": "none"}).status_code == 422
    assert web.post("/v1/explain", json={"item": item}).status_code == 422


def test_similar_items(web: TestClient) -> None:
    told = web.get("/v1/items/i4/similar?k=3")
    assert [row.rank for row in answers.SimilarList.model_validate(told.json()).items] == [1, 2, 3]
    assert web.get("/v1/items/none/similar").status_code == 404
    assert web.get("/v1/items/i4/similar?k=1000").status_code == 422


def test_a_fault_of_ours_is_a_problem_and_a_line_in_the_log(
    service: Service, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("secret of u3")

    monkeypatch.setattr(service.shelf["main"], "answer", broken)
    with TestClient(create_app(service), base_url="http://127.0.0.1", raise_server_exceptions=False) as web:
        answer = web.get("/v1/recommend?user=u3", headers={"X-Request-ID": "r1"})
        assert web.get("/health/ready").status_code == 200
    assert answer.status_code == 500
    assert answer.json() == {
        "type": "about:blank",
        "title": "Internal Server Error",
        "status": 500,
        "detail": "This is a fault of the service",
        "request_id": "r1",
    }
    assert "request r1 failed" in caplog.text


def test_a_store_that_is_away_is_said_and_comes_back(
    service: Service, web: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rectitude.service.store import StoreUnavailableError

    def away(*_: Any) -> None:
        raise StoreUnavailableError("The store's database does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(service.store, "histories", away)
        patch.setattr(service.store, "ping", away)
        answer, ready = web.get("/v1/recommend?user=u3"), web.get("/health/ready")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert (ready.status_code, ready.json()["reasons"]) == (503, ["The store's database does not answer"])
    assert web.get("/v1/recommend?user=u3").status_code == 200


HUGE = 10**400


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/recommend", {"features": {"gender": HUGE}}, 200),
        ("/v1/recommend", {"user": "u1", "where": {"year": {"min": HUGE}}}, 422),
        ("/v1/recommend", {"user": "u1", "k": HUGE}, 422),
        ("/v1/recommend", {"user": "\ud800"}, 422),
        ("/v1/recommend", {"history": ["\ud800", "a\u0000b"]}, 422),
        ("/v1/recommend", {"user": "a\u0000b"}, 422),
        ("/v1/explain", {"user": "u1", "item": "a\u0000b"}, 422),
        ("/v1/users", {"users": [{"id": "p", "facts": {"n": HUGE, "t": "\ud800"}}]}, 200),
        ("/v1/items", {"items": [{"id": "i1", "title": "\ud800"}]}, 422),
        ("/v1/items", {"items": [{"id": "i1", "facts": {"n": HUGE, "\ud800": [["\ud800"]]}}]}, 200),
        ("/v1/events", {"user": "p", "item": "i1", "value": HUGE}, 422),
        ("/v1/events", {"user": "p", "item": "i1", "at": HUGE}, 422),
        ("/v1/events", {"user": "\ud800", "item": "i1"}, 422),
    ],
)
def test_numbers_and_characters_at_the_edge(web: TestClient, path: str, body: dict[str, Any], status: int) -> None:
    content = json.dumps(body).encode()
    answer = web.post(path, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    for read in ("/v1/users", "/v1/items?limit=3", "/v1/items/i1", "/v1/recommend?user=u1&where=year:1..9999"):
        assert web.get(read).status_code == 200
