"""Processes that are killed while they write, and what must be true afterwards.

Children come from a server that has imported everything already, so that a kill costs milliseconds to set up. Used by
``test_faults.py`` and, many times over, by ``benchmarks/service_faults.py``.
"""

from __future__ import annotations

import itertools
import multiprocessing
import random
import shutil
import threading
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from rectitude.runs.folder import RunFolder
from rectitude.service import rights
from rectitude.service.access import LOCAL
from rectitude.service.config import ServiceConfig
from rectitude.service.service import Service
from rectitude.service.store import Event, Store, UserFacts
from rectitude.training.run import Run

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["rectitude.service.service", "rectitude.workflow.unlearning", "sklearn.ensemble"])
_THREADS, _BATCH = 4, 50
_LEASE_S = 0.5


@dataclass
class Killed:
    """What became of some kills.

    Attributes:
        kind: What was being done.
        times: Kills.
        in_the_middle: Of which before the process had come to its end.
        acknowledged: Events that were acknowledged before a kill.
        seconds: From the kill to the end of the job in another process, longest.
        steps: Steps that were done before each kill.
    """

    kind: str
    times: int = 0
    in_the_middle: int = 0
    acknowledged: int = 0
    seconds: float = 0.0
    steps: list[int] = field(default_factory=list)


# ---- events ----------------------------------------------------------------------------------------------------------


def events_of(batch: int) -> list[Event]:
    return [Event(f"{batch}-{n}", f"u{n}", f"i{batch}", at=float(batch)) for n in range(_BATCH)]


def _send_until_killed(url: str, acknowledgements: Connection) -> None:
    store, numbers, lock = Store.open(url), itertools.count(), threading.Lock()

    def send() -> None:
        while True:
            with lock:
                batch = next(numbers)
            stored = store.add_events(events_of(batch))
            assert (stored.accepted, stored.duplicates) == (_BATCH, 0)
            with lock:
                acknowledgements.send(batch)

    for _ in range(_THREADS):
        threading.Thread(target=send).start()


def kill_while_taking_events(url: str, seed: int) -> Killed:
    """Kill a process that takes events in; every acknowledged event must be there once, no batch by half."""
    receiving, sending = context.Pipe(duplex=False)
    child = context.Process(target=_send_until_killed, args=(url, sending))
    child.start()
    sending.close()
    acknowledged = {receiving.recv()}
    deadline = time.monotonic() + random.Random(seed).uniform(0.02, 0.5)
    while time.monotonic() < deadline:
        if receiving.poll(0.005):
            acknowledged.add(receiving.recv())
    child.kill()
    child.join()
    try:
        while True:
            acknowledged.add(receiving.recv())
    except EOFError:
        pass
    with Store.open(url) as store:
        found = [stored.event for stored in store.events(limit=10_000_000)]
        counts: dict[int, int] = {}
        for event in found:
            batch = int(event.id.partition("-")[0])
            counts[batch] = counts.get(batch, 0) + 1
        assert len({event.id for event in found}) == len(found)
        assert set(counts.values()) == {_BATCH}, "a batch is there by half"
        assert acknowledged <= set(counts), "an acknowledged event is missing"
        assert len(set(counts) - acknowledged) <= _THREADS
        for batch in range(max(acknowledged) + 1):  # a sender that does not know sends again
            stored = store.add_events(events_of(batch))
            assert stored.accepted == (0 if batch in counts else _BATCH)
    return Killed("events", 1, 1, _BATCH * len(acknowledged))


# ---- jobs ------------------------------------------------------------------------------------------------------------


def _work(config: ServiceConfig, brief: bool) -> None:
    if brief:
        unlearn = rights.forget.unlearn_attribute  # type: ignore[attr-defined]
        settings = {"steps": 4, "check_every": 2, "most": 16, "n_listed": 5}
        rights.forget.unlearn_attribute = lambda *args, **named: unlearn(*args, **named, settings=settings)  # type: ignore[attr-defined]
    service = Service.open(config)
    service.jobs.run_waiting()
    service.close()


def kill_during_job(kind: str, url: str, folder: Path, runs: dict[str, Path], share: float, lasts: float) -> Killed:
    """Kill a process in the middle of a job; another must end it, and nothing may be half done.

    Args:
        kind: ``export``, ``delete`` or ``forget``.
        url: An empty store.
        folder: An empty folder.
        runs: Runs that are served; copies are.
        share: When, as a share of the time the job takes.
        lasts: That time, in seconds.
    """
    config = ServiceConfig(store=url, folder=folder / "data", job_lease_s=_LEASE_S, forget="automatic")
    for name, path in runs.items():
        shutil.copytree(path, folder / "runs" / name)
    with Store.open(url) as store:
        for name in runs:
            store.serve(name, str(folder / "runs" / name))
        store.add_events([Event(f"e{n}", "u3", f"i{n}", at=float(n)) for n in range(20)])
        store.put_users([UserFacts("u3", {"gender": "F"})])
        service = Service(config, store)
        asked = rights.ask(service, LOCAL, kind, "u3", "gender" if kind == "forget" else None)

        child = context.Process(target=_work, args=(config, True))
        child.start()
        claimed = _wait(store, asked.id, {"running", "done"})
        time.sleep(share * lasts)
        child.kill()
        child.join()
        killed = time.monotonic()
        found = store.requests.get(asked.id)
        assert found is not None
        middle = found.status == "running"
        steps = len(found.steps)
        while not (found := store.requests.get(asked.id)).ended:  # type: ignore[union-attr]
            assert time.monotonic() < killed + 120, "the job does not end"
            again = context.Process(target=_work, args=(config, True))
            again.start()
            again.join()
            time.sleep(_LEASE_S / 5)
        assert found is not None
        assert found.status == "done", found.reason
        _consistent(store, kind, asked.id)
        told = Killed(kind, 1, int(middle), 0, round(time.monotonic() - killed, 2), [steps])
        assert claimed
    return told


def _wait(store: Store, identifier: str, statuses: set[str]) -> Any:
    for _ in range(2000):
        found = store.requests.get(identifier)
        if found is not None and found.status in statuses:
            return found
        time.sleep(0.005)
    raise AssertionError("the job is not taken up")


def _consistent(store: Store, kind: str, identifier: str) -> None:
    """Every run in service is whole, the trail has each act once, and what was promised is so."""
    actions = [entry.action for entry in store.trail.page(limit=1000)]
    assert actions.count(f"{kind}.asked") == actions.count(f"{kind}.done") == 1, actions
    assert store.trail.verify().broken_at is None
    for slot in store.served().values():
        RunFolder(slot.path)
        run = Run.load(slot.path)
        assert (run.user_ids.find("u3") is None) == (kind == "delete")
        run.recommend(user="u4", k=3)
    if kind == "delete":
        assert not any(store.held("u3").values())
        request = store.requests.get(identifier)
        assert request is not None
        assert request.proof is not None
        assert len(request.proof["runs"]) == len(store.served())


def lasting(kind: str, url: str, folder: Path, runs: dict[str, Path]) -> float:
    """Seconds from the claim of an undisturbed job to its end."""
    for name, path in runs.items():
        shutil.copytree(path, folder / "runs" / name)
    config = ServiceConfig(store=url, folder=folder / "data", job_lease_s=30, forget="automatic")
    with Store.open(url) as store:
        for name in runs:
            store.serve(name, str(folder / "runs" / name))
        asked = rights.ask(Service(config, store), LOCAL, kind, "u3", "gender" if kind == "forget" else None)
        child = context.Process(target=_work, args=(config, True))
        child.start()
        _wait(store, asked.id, {"running", "done"})
        began = time.monotonic()
        child.join()
        found = store.requests.get(asked.id)
        assert found is not None
        assert found.status == "done", found.reason
        return time.monotonic() - began
