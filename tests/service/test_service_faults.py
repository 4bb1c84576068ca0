from __future__ import annotations

import threading
import time
from pathlib import Path

import faults
import pytest
from postgres_server import Postgres

from rectitude.service.store import Event, Store, StoreUnavailableError


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_killed_while_taking_events(database: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    for seed in range(2):
        url = f"sqlite:///{tmp_path}/{seed}.db"
        if database == "postgresql":
            url = request.getfixturevalue("postgres").new_database()
        told = faults.kill_while_taking_events(url, seed)
        assert told.acknowledged > 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["export", "delete", "forget"])
def test_killed_during_a_job(kind: str, tmp_path: Path, runs: dict[str, Path]) -> None:
    served = {name: runs[name] for name in ("bpr", "ease")}
    lasts = faults.lasting(kind, f"sqlite:///{tmp_path}/0.db", tmp_path / "0", served)
    for number, share in enumerate((0.3, 0.7), 1):
        url = f"sqlite:///{tmp_path}/{number}.db"
        faults.kill_during_job(kind, url, tmp_path / str(number), served, share, lasts)


def test_a_database_that_restarts_under_load_loses_nothing(postgres: Postgres) -> None:
    store = Store.open(postgres.new_database())
    ended, lock = threading.Event(), threading.Lock()
    acknowledged: list[str] = []

    def send(number: int) -> None:
        count = 0
        while not ended.is_set():
            name = f"{number}-{count}"
            try:
                store.add_events([Event(name, f"u{number}", "i", at=float(count))])
                kept = store.histories([f"u{number}"], most=100_000)[f"u{number}"].events
            except StoreUnavailableError:  # told after some seconds of patience; the sender sends again
                continue
            assert len(kept) == count + 1
            with lock:
                acknowledged.append(name)
            count += 1

    threads = [threading.Thread(target=send, args=(number,), daemon=True) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(2):
            time.sleep(0.3)
            before = len(acknowledged)
            postgres.restart(away_s=0.5)
            deadline = time.monotonic() + 60
            while len(acknowledged) < before + 20 and time.monotonic() < deadline:
                time.sleep(0.05)
            assert len(acknowledged) >= before + 20, "writing does not go on after the restart"
    finally:
        ended.set()
        for thread in threads:
            thread.join(30)
    found = [stored.event.id for stored in store.events(limit=1_000_000)]
    assert len(found) == len(set(found))
    assert set(acknowledged) <= set(found)
    store.close()


def test_a_database_that_stays_away_is_told(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rectitude.service.store.database.PATIENCE_S", 0.3)
    store = Store.open(postgres.new_database())
    postgres.stop()
    try:
        for act in (
            lambda: store.add_events([Event("a", "u", "i")]),
            lambda: store.histories(["u"]),
            lambda: store.trail.add("local", "a"),
            store.ping,
        ):
            with pytest.raises(StoreUnavailableError, match="does not answer"):
                act()
    finally:
        postgres.start()
    store.add_events([Event("a", "u", "i")])
    assert len(store.histories(["u"])["u"].events) == 1
    store.close()
