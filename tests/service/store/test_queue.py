from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from rectitude.service.store import Store
from rectitude.service.store.queue import LeaseLostError


def test_a_request_goes_its_way(store: Store) -> None:
    asked = store.requests.put("export", "u", {"a": 1}, "local")
    assert asked.status == "queued"
    taken = store.requests.claim("me", 60)
    assert taken is not None
    assert (taken.id, taken.status, taken.attempts) == (asked.id, "running", 1)
    assert store.requests.claim("you", 60) is None
    assert store.requests.heartbeat(asked.id, "me", 60, "Gathering")
    assert not store.requests.heartbeat(asked.id, "you", 60)
    store.requests.step_done(asked.id, "me", "one", {"n": 1})
    store.requests.step_done(asked.id, "me", "one", {"n": 2})
    found = store.requests.get(asked.id)
    assert found is not None
    assert (found.doing, [(step.name, step.outcome) for step in found.steps]) == ("Gathering", [("one", {"n": 2})])
    store.requests.finish(asked.id, "me", {"ok": True}, nameless=True)
    found = store.requests.get(asked.id)
    assert found is not None
    assert (found.status, found.user, found.proof, found.ended) == ("done", None, {"ok": True}, True)
    assert store.requests.of("u")[0].id == asked.id
    assert store.requests.get("nothing") is None


def test_the_same_request_again_is_the_same_one_until_it_ends(store: Store) -> None:
    first = store.requests.put("export", "u", {}, "local")
    assert store.requests.put("export", "u", {}, "local").id == first.id
    assert store.requests.put("export", "v", {}, "local").id != first.id
    assert store.requests.put("forget", "u", {"attribute": "a"}, "local").id != first.id
    store.requests.claim("me", 60)
    store.requests.finish(first.id, "me", {})
    assert store.requests.put("export", "u", {}, "local").id != first.id


def test_a_lapsed_lease_is_taken_over_and_the_first_owner_is_told(store: Store) -> None:
    asked = store.requests.put("export", "u", {}, "local")
    store.requests.claim("slow", 0.01)
    time.sleep(0.05)
    taken = store.requests.claim("quick", 60)
    assert taken is not None
    assert taken.attempts == 2
    for act in (
        lambda: store.requests.step_done(asked.id, "slow", "x", {}),
        lambda: store.requests.finish(asked.id, "slow", {}),
        lambda: store.requests.fail(asked.id, "slow", "why"),
    ):
        with pytest.raises(LeaseLostError):
            act()
    store.requests.step_done(asked.id, "quick", "x", {})
    found = store.requests.get(asked.id)
    assert found is not None
    assert found.attempts == 0


def test_what_waits_for_approval_is_not_claimed(store: Store) -> None:
    asked = store.requests.put("forget", "u", {}, "local", approved=False)
    assert store.requests.claim("me", 60) is None
    assert store.requests.approve(asked.id)
    assert not store.requests.approve(asked.id)
    assert store.requests.claim("me", 60) is not None


def test_a_failed_request_can_be_tried_again(store: Store) -> None:
    asked = store.requests.put("export", "u", {}, "local")
    store.requests.claim("me", 60)
    store.requests.fail(asked.id, "me", "no room")
    assert [one.reason for one in store.requests.all(status="failed", kind="export")] == ["no room"]
    assert store.requests.retry(asked.id)
    again = store.requests.claim("me", 60)
    assert again is not None
    assert again.reason is None


def test_released_work_is_claimed_by_the_next(store: Store) -> None:
    asked = store.requests.put("export", "u", {}, "local")
    store.requests.claim("me", 60)
    assert store.requests.release(asked.id, "me")
    assert store.requests.claim("you", 60) is not None


def test_many_runners_never_share_a_job(store: Store, again: Callable[[], Store]) -> None:
    for number in range(20):
        store.requests.put("export", f"u{number}", {}, "local")
    stores = [store, again()]
    taken: list[str] = []

    def work(number: int) -> None:
        while (found := stores[number % 2].requests.claim(f"runner {number}", 60)) is not None:
            taken.append(found.id)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len(set(taken)) == 20
    stores[1].close()


def test_deleting_a_person_ends_what_else_they_asked(store: Store) -> None:
    done = store.requests.put("export", "u", {}, "local")
    store.requests.claim("me", 60)
    store.requests.finish(done.id, "me", {})
    running = store.requests.put("export", "u", {"n": 2}, "local")
    store.requests.claim("me", 60)
    deletion = store.requests.put("delete", "u", {}, "local")
    store.erase("u", keep_request=deletion.id)
    found = {one.id: one for one in store.requests.of("u")}
    assert (found[done.id].user, found[done.id].status) == (None, "done")
    assert (found[running.id].user, found[running.id].status) == (None, "failed")
    assert (found[deletion.id].user, found[deletion.id].status) == ("u", "queued")
    with pytest.raises(LeaseLostError):
        store.requests.step_done(running.id, "me", "x", {})
