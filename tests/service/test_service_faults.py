from __future__ import annotations

import itertools
import resource
import threading
import time
from collections.abc import Callable
from pathlib import Path

import faults
import httpx
import pytest
from postgres_server import Postgres

from rectitude.service.store import Event, Store, StoreUnavailableError


@pytest.fixture(params=["sqlite", "postgresql"])
def new_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Gives URLs of empty stores of one kind."""
    numbers = itertools.count()
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        return server.new_database
    return lambda: f"sqlite:///{tmp_path}/{next(numbers)}.db"


def test_killed_while_taking_events(new_store: Callable[[], str]) -> None:
    for seed in range(2):
        assert faults.kill_while_taking_events(new_store(), seed).acknowledged > 0


def test_killed_while_taking_events_over_http(
    new_store: Callable[[], str], runs: dict[str, Path], tmp_path: Path
) -> None:
    told = faults.kill_while_taking_events_over_http(new_store(), tmp_path / "data", runs["ease"], 0)
    assert told.acknowledged > 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["export", "delete", "forget", "remedy"])
def test_killed_during_a_job(kind: str, new_store: Callable[[], str], tmp_path: Path, runs: dict[str, Path]) -> None:
    served = {name: runs[name] for name in ("bpr", "ease")}
    lasts = faults.lasting(kind, new_store(), tmp_path / "0", served)
    for number, share in enumerate((0.3, 0.7), 1):
        faults.kill_during_job(kind, new_store(), tmp_path / str(number), served, share, lasts)


def test_a_full_disk_is_told_over_http_and_ends_when_there_is_room(runs: dict[str, Path], tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/full.db"
    with Store.open(url) as store:
        keys = {role: store.keys.make(role, role)[1] for role in ("write", "admin")}
    operator = {"authorization": f"Bearer {keys['admin']}"}
    with faults.served(url, tmp_path / "data", runs["ease"]) as (process, address):

        def limit(most: int) -> None:
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))

        assert httpx.get(f"{address}/health/ready", timeout=60).status_code == 200
        limit(600_000)
        acknowledged = 0
        while (answer := faults.send_over_http(address, keys["write"], acknowledged)).status_code == 200:
            assert answer.json()["accepted"] == 50
            acknowledged += 1
            assert acknowledged < 1000
        assert acknowledged > 0
        limit(100)
        other_writes = [
            httpx.put(f"{address}/v1/users/u1", json={"facts": {"a": "b"}}, headers=operator),
            httpx.put(f"{address}/v1/items/i1", json={"title": "x"}, headers=operator),
            httpx.put(f"{address}/v1/users/u1/objections/i1", json={"reason": "no"}, headers=operator),
            httpx.put(f"{address}/v1/users/u1/stopped/i1", headers=operator),
            httpx.post(f"{address}/v1/users/u1/requests", json={"kind": "export"}, headers=operator),
            httpx.post(f"{address}/v1/keys", json={"name": "x", "role": "read"}, headers=operator),
        ]
        for refused in (answer, *other_writes):
            assert refused.status_code == 507, refused.text
            assert refused.headers["content-type"] == "application/problem+json"
            assert refused.json()["title"] == "Insufficient Storage"
            assert "nothing that was acknowledged is lost" in refused.json()["fix"]
        lists = httpx.get(f"{address}/v1/recommend", params={"user": "u1"}, headers=operator)
        assert (lists.status_code, lists.json()["answered_by"]) == (200, "EASE")
        limit(resource.RLIM_INFINITY)
        assert faults.send_over_http(address, keys["write"], acknowledged).json()["accepted"] == 50
    with Store.open(url) as store:
        assert len(store.events(limit=1_000_000)) == 50 * (acknowledged + 1)


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
