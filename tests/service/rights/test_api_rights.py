from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from web_client import TestClient

from rectitude.service.app import create_app
from rectitude.service.service import Service

Ask = Callable[..., Any]


@pytest.fixture
def asked(
    runs: dict[str, Path], tmp_path: Path, open_service: Callable[..., Service]
) -> Iterator[tuple[Service, Callable[..., Ask]]]:
    """A service over copies of two runs, and askers by role; jobs run when the test says so."""
    for name in ("bpr", "ease"):
        shutil.copytree(runs[name], tmp_path / "runs" / name)
    slots = {"main": str(tmp_path / "runs" / "ease"), "bpr": str(tmp_path / "runs" / "bpr")}
    service = open_service(slots, run_jobs=False)
    keys = {"admin": service.store.keys.make("boss", "admin")[1]}
    keys |= {user: service.store.keys.make(user, "person", user)[1] for user in ("u3", "u4")}
    with TestClient(create_app(service), base_url="http://127.0.0.1") as client:

        def by(who: str) -> Ask:
            def ask(method: str, path: str, **more: Any) -> Any:
                answer = client.request(method, path, headers={"authorization": f"Bearer {keys[who]}"}, **more)
                answer.told = answer.json() if answer.headers.get("content-type", "").endswith("json") else None
                return answer

            return ask

        yield service, by


def listed(ask: Ask, user: str, **more: Any) -> list[str]:
    return [
        item["item_id"] for item in ask("GET", "/v1/recommend", params={"user": user, "k": 5, **more}).told["items"]
    ]


def test_objections_and_stops_are_in_force_for_the_next_answer_and_can_be_undone(
    asked: tuple[Service, Callable[..., Ask]],
) -> None:
    _, by = asked
    me = by("u3")
    first = listed(me, "u3")
    assert (
        me("PUT", f"/v1/users/u3/objections/{first[0]}", json={"reason": "seen"}).told["items"][0]["reason"] == "seen"
    )
    assert first[0] not in listed(me, "u3")
    assert listed(by("admin"), "u3") == listed(me, "u3")
    assert me("DELETE", f"/v1/users/u3/objections/{first[0]}").status_code == 200
    assert listed(me, "u3") == first
    assert me("DELETE", f"/v1/users/u3/objections/{first[0]}").status_code == 404

    history = me("GET", "/v1/users/u3/known").told["runs"]["main"]["history"]
    for one in history[:-1]:
        me("PUT", f"/v1/users/u3/stopped/{one['item']}")
    stopped = listed(me, "u3")
    assert stopped != first
    assert len(me("GET", "/v1/users/u3/choices").told["items"]) == len(history) - 1
    for one in history[:-1]:
        assert me("DELETE", f"/v1/users/u3/stopped/{one['item']}").status_code == 200
    assert listed(me, "u3") == first
    assert [one["action"] for one in me("GET", "/v1/users/u3/trail").told["items"]][:2] == [
        "item.objected",
        "item.objection_undone",
    ]


def test_an_export_is_for_its_person_and_administrators(asked: tuple[Service, Callable[..., Ask]]) -> None:
    service, by = asked
    made = by("u3")("POST", "/v1/users/u3/requests", json={"kind": "export"})
    assert (made.status_code, made.told["status"]) == (202, "queued")
    address = made.headers["location"]
    assert by("u3")("GET", f"{address}/file").status_code == 422
    service.jobs.run_waiting()
    assert by("u3")("GET", address).told["proof"]["events"] == 0
    for who in ("u3", "admin"):
        file = by(who)("GET", f"{address}/file")
        assert file.headers["cache-control"] == "no-store"
        assert "person.json" in zipfile.ZipFile(io.BytesIO(file.content)).namelist()
    for path in (address, f"{address}/file"):
        assert by("u4")("GET", path).status_code == 404
    assert by("u4")("GET", "/v1/requests").told == {"items": []}
    assert [one["kind"] for one in by("admin")("GET", "/v1/requests?status=done").told["items"]] == ["export"]


def test_after_a_deletion_the_proof_can_be_read_and_nothing_else(asked: tuple[Service, Callable[..., Ask]]) -> None:
    service, by = asked
    me = by("u3")
    me("POST", "/v1/events", json={"user": "u3", "item": "i1"})
    before = listed(me, "u3")
    address = me("POST", "/v1/users/u3/requests", json={"kind": "delete"}).headers["location"]
    assert me("GET", "/v1/users/u3/known").status_code == 403  # the key's name is gone with the rows
    answer = by("admin")("GET", "/v1/recommend", params={"user": "u3", "k": 5}).told
    assert answer["fallback"]  # the run's own history is masked until the run is repaired
    service.jobs.run_waiting()
    told = me("GET", address).told
    assert (told["status"], told["proof"]["runs"][0]["after"]["id"]) == ("done", 0)
    assert "u3" not in str(told)
    assert [one["id"] for one in me("GET", "/v1/requests").told["items"]] == [told["id"]]
    refused = me("GET", "/v1/recommend", params={"user": "u3"})
    assert refused.status_code == 403
    assert "was deleted" in refused.told["detail"]
    assert service.shelf["main"].run.user_ids.find("u3") is None  # this process serves the repaired run already
    assert before
    assert listed(by("admin"), "u4")


def test_operators_approve_and_retry(asked: tuple[Service, Callable[..., Ask]]) -> None:
    _, by = asked
    made = by("u3")("POST", "/v1/users/u3/requests", json={"kind": "forget", "attribute": "gender"}).told
    assert made["status"] == "waiting"
    assert by("u3")("POST", f"/v1/requests/{made['id']}/approve").status_code == 403
    assert by("admin")("POST", f"/v1/requests/{made['id']}/approve").told["status"] == "queued"
    assert by("admin")("POST", f"/v1/requests/{made['id']}/approve").status_code == 422
    assert by("admin")("POST", f"/v1/requests/{made['id']}/retry").status_code == 422
    assert by("admin")("POST", "/v1/requests/none/retry").status_code == 404


@pytest.mark.parametrize(
    "body",
    [{}, {"kind": "explode"}, {"kind": "forget"}, {"kind": "export", "attribute": "a"}, {"kind": "export", "x": 1}, []],
)
def test_what_cannot_be_asked_is_a_problem(asked: tuple[Service, Callable[..., Ask]], body: Any) -> None:
    answer = asked[1]("u3")("POST", "/v1/users/u3/requests", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


def test_keys_are_made_listed_and_revoked(asked: tuple[Service, Callable[..., Ask]]) -> None:
    service, by = asked
    boss = by("admin")
    made = boss("POST", "/v1/keys", json={"name": "shop", "role": "write"})
    assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
    text = made.told["key"]
    assert service.store.keys.verify(text) is not None
    assert "key" not in boss("GET", "/v1/keys").told["items"][-1]
    assert boss("DELETE", f"/v1/keys/{made.told['id']}").status_code == 204
    assert service.store.keys.verify(text) is None
    assert boss("DELETE", "/v1/keys/none").status_code == 404
    assert boss("DELETE", f"/v1/keys/{made.told['id']}").status_code == 422
    assert boss("POST", "/v1/keys", json={"name": "x", "role": "person"}).status_code == 422
    assert [one["action"] for one in boss("GET", "/v1/trail").told["items"]] == ["key.made", "key.revoked"]


def test_the_trail_in_pages_and_verified(asked: tuple[Service, Callable[..., Ask]]) -> None:
    service, by = asked
    for number in range(5):
        by("u3")("PUT", f"/v1/users/u3/stopped/i{number}")
    by("u4")("PUT", "/v1/users/u4/stopped/i1")
    boss = by("admin")
    page = boss("GET", "/v1/trail?limit=4").told
    assert [one["seq"] for one in page["items"]] == [1, 2, 3, 4]
    assert [one["seq"] for one in boss("GET", "/v1/trail", params={"cursor": page["next"]}).told["items"]] == [5, 6]
    assert [one["seq"] for one in boss("GET", "/v1/trail?user=u4").told["items"]] == [6]
    assert boss("GET", "/v1/trail/verification").told == {
        "entries": 6,
        "head": service.store.trail.page(after=5)[0].hash,
        "broken_at": None,
    }
    assert boss("GET", "/v1/trail?cursor=nonsense").status_code == 422


def test_ids_with_slashes_and_right_to_left_ids_find_their_way(asked: tuple[Service, Callable[..., Ask]]) -> None:
    service, by = asked
    for item in ("a/b", "ألف ليلة", "100% <b>", "x?y#z"):
        address = f"/v1/users/{quote('auth0|a/b', safe='')}/stopped/{quote(item, safe='')}"
        assert by("admin")("PUT", address).told["items"][0]["item"] == item
    assert len(service.store.choices("auth0|a/b")) == 4


def test_nobody_keeps_anothers_event_out_by_its_id(asked: tuple[Service, Callable[..., Ask]]) -> None:
    service, by = asked
    for who in ("u3", "u4", "admin", "u3"):
        user = "u5" if who == "admin" else who
        taken = by(who)("POST", "/v1/events", json={"id": "order-1", "user": user, "item": "i1"}).told
    assert taken == {"accepted": 0, "duplicates": 1, "erased": 0}
    assert [service.store.events_of(user)[0] for user in ("u3", "u4", "u5")] == [1, 1, 1]
