from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from sqlalchemy import text

from rectitude.core.errors import RectitudeError
from rectitude.service.store import Store, StoreError


def test_entries_follow_from_each_other(store: Store) -> None:
    assert store.trail.verify().entries == 0
    store.trail.add("local", "export.asked", "anna", {"n": 1})
    store.trail.add("service", "export.done", "anna", {"ø": None})
    store.trail.add("key:1", "key.made")
    page = store.trail.page(limit=2)
    assert [(one.seq, one.actor, one.action, one.details) for one in page] == [
        (1, "local", "export.asked", {"n": 1}),
        (2, "service", "export.done", {"ø": None}),
    ]
    assert [one.seq for one in store.trail.page(after=2)] == [3]
    assert [one.seq for one in store.trail.page(subject=store.subject("anna"))] == [1, 2]
    assert "anna" not in str(store.trail.page())
    found = store.trail.verify()
    assert (found.entries, found.broken_at, found.head) == (3, None, store.trail.page()[-1].hash)


@pytest.mark.parametrize("act", ["UPDATE trail SET actor = 'x'", "DELETE FROM trail"])
def test_the_database_refuses_changes(store: Store, act: str) -> None:
    store.trail.add("local", "a")
    with pytest.raises(StoreError):
        store.database.write(lambda connection: connection.execute(text(act)))
    assert store.trail.verify().entries == 1


def test_a_change_in_spite_of_that_is_found(store: Store) -> None:
    for number in range(5):
        store.trail.add("local", f"act {number}")
    drop = "DROP TRIGGER trail_keeps_update" if store.database.is_sqlite else "ALTER TABLE trail DISABLE TRIGGER ALL"
    store.database.write(lambda connection: connection.execute(text(drop)))
    store.database.write(lambda connection: connection.execute(text("UPDATE trail SET actor = 'you' WHERE seq = 3")))
    found = store.trail.verify()
    assert (found.entries, found.broken_at) == (2, 3)


def test_an_entry_is_written_with_what_it_tells_of_or_not_at_all(store: Store) -> None:
    store.stop_item("u", "i", also=store.trail.entry("local", "item.stopped", user="u"))
    assert not store.undo_stop("u", "other", also=store.trail.entry("local", "item.used_again", user="u"))

    def fails(_: object) -> None:
        raise RectitudeError("on purpose")

    with pytest.raises(RectitudeError, match="on purpose"):
        store.object("u", "j", also=fails)
    assert [one.action for one in store.trail.page()] == ["item.stopped"]
    assert [one.kind for one in store.choices("u")] == ["stop"]


def test_two_processes_make_one_chain(store: Store, again: Callable[[], Store]) -> None:
    stores = [store, again()]

    def write(number: int) -> None:
        for _ in range(10):
            stores[number % 2].trail.add(f"writer {number}", "a")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (store.trail.verify().entries, store.trail.verify().broken_at) == (40, None)
    stores[1].close()
