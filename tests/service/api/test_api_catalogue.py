from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from rectitude.client import answers
from rectitude.service.service import Service

HOSTILE = ("../../etc/passwd", "<script>alert(1)</script>", "ألف", "a/b", "per%cent", "'; DROP TABLE items; --", "🙂")


def test_items_are_put_and_read_back(web: TestClient) -> None:
    body = {"title": "Nouvelle", "facts": {"kind": "New", "year": 2030}, "withdrawn": False}
    assert web.put("/v1/items/i5", json=body).json() == {"stored": 1}
    found = answers.ItemTold.model_validate(web.get("/v1/items/i5").json())
    assert (found.title, found.attributes["kind"], found.in_run) == ("Nouvelle", "New", True)
    assert [i["item_id"] for i in web.get("/v1/recommend?user=nobody&where=kind:New").json()["items"]] == ["i5"]
    assert web.put("/v1/items/i5", json={"withdrawn": True}).status_code == 200
    assert web.get("/v1/items/i5").json()["title"] == "Title 5"  # what was told is replaced, the run's own is not
    everything = web.get("/v1/recommend?user=nobody&k=40").json()["items"]
    assert len(everything) == 39
    assert web.post("/v1/items", json={"items": [{"id": "x1", "title": "X"}, {"id": "x2"}]}).json() == {"stored": 2}
    assert web.get("/v1/items/x1").json()["in_run"] is False


def test_items_are_listed_by_pages_and_searched(web: TestClient) -> None:
    web.post("/v1/items", json={"items": [{"id": "x2"}, {"id": "x1", "title": "Star of x"}]})
    found, cursor = [], None
    while True:
        page = web.get("/v1/items", params={"limit": 17, **({"cursor": cursor} if cursor else {})}).json()
        answers.ItemPage.model_validate(page)
        found += [item["id"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert found == [*(f"i{n}" for n in range(40)), "x1", "x2"]
    assert [item["id"] for item in web.get("/v1/items", params={"q": "ألف"}).json()["items"]] == ["i1"]
    assert [item["id"] for item in web.get("/v1/items", params={"q": "star"}).json()["items"]] == ["x1"]
    assert web.get("/v1/items?cursor=LTE").status_code == 422


@pytest.mark.parametrize("name", HOSTILE)
def test_strange_ids_and_titles_come_back_as_they_were(web: TestClient, name: str) -> None:
    assert web.post("/v1/items", json={"items": [{"id": name, "title": name}]}).status_code == 200
    if "%" not in name:  # the test client reads % twice
        assert web.get(f"/v1/items/{quote(name, safe='')}").json()["title"] == name
    assert web.get("/v1/items", params={"q": name}).json()["items"][0]["title"] == name
    assert web.post("/v1/users", json={"users": [{"id": name, "facts": {"n": name}}]}).status_code == 200
    assert web.post("/v1/events", json={"user": name, "item": name}).status_code == 200
    assert web.get("/v1/recommend", params={"user": name}).status_code == 200
    assert web.get("/v1/events", params={"user": name}).json()["items"][0]["item"] == name


def test_people_are_put_and_read_back(web: TestClient) -> None:
    assert web.put("/v1/users/p1", json={"facts": {"gender": "F", "tags": ["a"]}}).json() == {"stored": 1}
    web.post("/v1/users", json={"users": [{"id": "p2"}, {"id": "p0"}]})
    assert web.get("/v1/users/p1").json() == {"id": "p1", "facts": {"gender": "F", "tags": ["a"]}}
    assert web.get("/v1/users/none").status_code == 404
    first = web.get("/v1/users?limit=2").json()
    second = web.get("/v1/users", params={"cursor": first["next"]}).json()
    assert [user["id"] for user in first["items"] + second["items"]] == ["p0", "p1", "p2"]
    assert second["next"] is None


def test_bodies_that_are_no_items(web: TestClient) -> None:
    for body in ({"items": [{}]}, {"items": "x"}, {"items": [{"id": ""}]}, {"items": [{"id": "a", "x": 1}]}, {}, []):
        assert web.post("/v1/items", json=body).status_code == 422
    assert web.put("/v1/items/a", json={"title": "x" * 3000}).status_code == 422


def test_pictures(service: Service, web: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = service.shelf["main"].catalogue
    monkeypatch.setattr(catalogue, "pictures", tmp_path)
    (tmp_path / "i3.png").write_bytes(b"\x89PNG")
    (tmp_path.parent / "secret.png").write_bytes(b"secret")
    answer = web.get("/v1/items/i3/picture")
    assert (answer.content, answer.headers["content-type"]) == (b"\x89PNG", "image/png")
    assert web.get("/v1/items/i3").json()["picture"] == "/v1/items/i3/picture"
    web.post("/v1/items", json={"items": [{"id": "..%2fsecret"}, {"id": "../secret"}]})
    for name in ("i4", "..%2Fsecret", "%2e%2e%2fsecret", "..%252fsecret"):
        assert web.get(f"/v1/items/{name}/picture").status_code == 404
