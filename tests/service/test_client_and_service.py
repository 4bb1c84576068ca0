"""The client and the service understand each other."""

from __future__ import annotations

import asyncio

import pytest

from rectitude.client import AsyncClient, Client, Event, ServiceError


def test_all_calls(live: str) -> None:
    with Client(live) as client:
        assert client.ready().status == "ready"
        assert client.recommend("u3", k=4).answered_by == "SASRec"
        assert client.recommend(history=["i1"], only=["i2", "i3"]).items[0].item_id in ("i2", "i3")
        assert client.recommend(features={"gender": "F"}).fallback
        item = client.recommend("u3").items[0].item_id
        assert client.explain(item, user="u3").rank == 1
        assert len(client.similar("i4", 3).items) == 3
        events = [Event("p", f"i{n}", at=1000.0 + n) for n in range(5)]
        assert client.send(events).accepted == 5
        assert client.send(events).duplicates == 5
        page = client.events("p", limit=3)
        assert [event.item for event in page.items + client.events("p", cursor=page.next).items] == [
            f"i{n}" for n in range(5)
        ]
        assert client.put_item("x/ü", title="X", facts={"kind": "New"}).stored == 1
        assert client.put_items([{"id": "y", "withdrawn": True}]).stored == 1
        assert client.item("y").withdrawn
        assert client.items("X").items[0].id == client.item("x/ü").id == "x/ü"
        assert client.put_item("100%2F", title="percent").stored == 1
        assert client.item("100%2F").title == "percent"
        assert client.put_user("p", {"gender": "F"}).stored == client.put_users([{"id": "q"}]).stored == 1
        assert client.user("p").facts == {"gender": "F"}
        assert [user.id for user in client.users().items] == ["p", "q"]
        assert {run.name for run in client.runs().items} >= {"sasrec", "bpr"}
        assert client.run("sasrec").slots == ["main"]
        assert client.findings("sasrec").findings == []
        assert client.swap("main", "ease").run == "ease"
        assert client.slots().items[0].run == "ease"
        assert client.experiments().items == []
        with pytest.raises(ServiceError, match="no experiment"):
            client.assignment("none", "u1")
        assert client.share("p", 60) == {"percent": 60}
        assert client.known("p")["shared_percent"] == 60
        client.stop("p", "i1")
        client.object_to("p", "i9", reason="no")
        assert {choice["item"] for choice in client.choices("p")["items"]} == {"i1", "i9"}
        client.undo_stop("p", "i1")
        client.undo_objection("p", "i9")
        assert client.known("p")["facts"] == {"gender": "F"}
        assert client.requests("p")["items"] == []


def test_many_questions_at_once(live: str) -> None:
    async def main() -> set[str]:
        async with AsyncClient(live) as client:
            lists = await asyncio.gather(*(client.recommend(f"u{n}") for n in range(20)))
            return {found.answered_by for found in lists}

    assert asyncio.run(main()) == {"SASRec"}
