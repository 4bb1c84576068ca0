"""Processes that are killed while they write, and what must be true afterwards.

Children come from a server that has imported everything already, so that a kill costs milliseconds to set up. Used by
``test_service_faults.py`` and, many times over, by ``benchmarks/service_faults.py``.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx

from rectitude.decisions.routing.serving.run import listen
from rectitude.runs.folder import RunFolder
from rectitude.service import rights
from rectitude.service.access import LOCAL
from rectitude.service.config import ServiceConfig
from rectitude.service.launch import Launch, serve
from rectitude.service.service import Service
from rectitude.service.store import Event, Request, Store, UserFacts
from rectitude.training.run import Run

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["rectitude.service.launch", "rectitude.workflow.unlearning", "sklearn.ensemble"])
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
        _all_there_once(store, acknowledged, lambda batch: store.add_events(events_of(batch)).accepted)
    return Killed("events", 1, 1, _BATCH * len(acknowledged))


def _all_there_once(store: Store, acknowledged: set[int], send: Callable[[int], int]) -> None:
    """Whole batches only, those acknowledged among them; a sender that does not know sends again."""
    found = [stored.event for stored in store.events(limit=10_000_000)]
    counts = Counter(int(event.id.partition("-")[0]) for event in found)
    assert len({event.id for event in found}) == len(found)
    assert set(counts.values()) <= {_BATCH}, "a batch is there by half"
    assert acknowledged <= set(counts), "an acknowledged event is missing"
    assert len(set(counts) - acknowledged) <= _THREADS
    for batch in range(max(acknowledged) + 1):
        assert send(batch) == (0 if batch in counts else _BATCH)


# ---- events over HTTP ------------------------------------------------------------------------------------------------


def _serve(url: str, folder: Path, run: Path, telling: Connection) -> None:
    config = ServiceConfig(store=url, folder=folder, rate_per_minute=0)
    launch = Launch(config=config, slots={"main": str(run)})
    service = launch.open()
    listener = listen("127.0.0.1", 0)
    telling.send(listener.getsockname()[1])
    serve(launch, service, listener)


@contextmanager
def served(url: str, folder: Path, run: Path) -> Iterator[tuple[Any, str]]:
    """A process that serves a run, as ``rectitude serve`` does: the process, and the address it answers at."""
    receiving, telling = context.Pipe(duplex=False)
    child = context.Process(target=_serve, args=(url, folder, run, telling))
    child.start()
    telling.close()
    try:
        yield child, f"http://127.0.0.1:{receiving.recv()}"
    finally:
        child.kill()
        child.join()


def send_over_http(address: str, key: str, batch: int) -> httpx.Response:
    """A batch by the route, as lines."""
    lines = "\n".join(json.dumps(event._asdict()) for event in events_of(batch))
    headers = {"authorization": f"Bearer {key}", "content-type": "application/x-ndjson"}
    return httpx.post(f"{address}/v1/events", content=lines, headers=headers, timeout=60)


def kill_while_taking_events_over_http(url: str, folder: Path, run: Path, seed: int) -> Killed:
    """The same through the route of a service, by senders with a key; the next service must know all of it."""
    with Store.open(url) as store:
        key = store.keys.make("sender", "write")[1]
    acknowledged: set[int] = set()
    numbers, lock = itertools.count(), threading.Lock()

    def send(address: str) -> None:
        while True:
            with lock:
                batch = next(numbers)
            try:
                answer = send_over_http(address, key, batch)
            except httpx.TransportError:  # killed
                return
            assert answer.json() == {"accepted": _BATCH, "duplicates": 0, "erased": 0}, answer.text
            with lock:
                acknowledged.add(batch)

    with served(url, folder, run) as (child, address):
        threads = [threading.Thread(target=send, args=(address,)) for _ in range(_THREADS)]
        for thread in threads:
            thread.start()
        while not acknowledged:
            time.sleep(0.005)
        time.sleep(random.Random(seed).uniform(0.02, 0.5))
        child.kill()
        for thread in threads:
            thread.join()
        count = len(acknowledged)
    with served(url, folder, run) as (_, address), Store.open(url) as store:
        _all_there_once(store, acknowledged, lambda batch: send_over_http(address, key, batch).json()["accepted"])
    return Killed("events over HTTP", 1, 1, _BATCH * count)


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
        kind: ``export``, ``delete``, ``forget`` or ``remedy``.
        url: An empty store.
        folder: An empty folder.
        runs: Runs that are served; copies are.
        share: When, as a share of the time the job takes.
        lasts: That time, in seconds.
    """
    config = ServiceConfig(store=url, folder=folder / "data", job_lease_s=_LEASE_S, forget="automatic")
    with Store.open(url) as store:
        _serve_copies(store, folder / "runs", runs)
        store.add_events([Event(f"e{n}", "u3", f"i{n}", at=float(n)) for n in range(20)])
        store.put_users([UserFacts("u3", {"gender": "F"})])
        asked = _ask(Service(config, store), kind)
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
        _consistent(store, kind, asked.id, config.folder)
        told = Killed(kind, 1, int(middle), 0, round(time.monotonic() - killed, 2), [steps])
        assert claimed
    return told


def _ask(service: Service, kind: str) -> Request:
    if kind == "remedy":
        service.shelf = {"bpr": SimpleNamespace(name="bpr")}  # type: ignore[assignment]
        return rights.ask_remedy(service, LOCAL, "bpr", "unlearn", "gender")
    return rights.ask(service, LOCAL, kind, "u3", "gender" if kind == "forget" else None)


def _serve_copies(store: Store, folder: Path, runs: dict[str, Path]) -> None:
    for name, path in runs.items():
        shutil.copytree(path, folder / name)
        store.serve(name, str(folder / name))


def _wait(store: Store, identifier: str, statuses: set[str]) -> Any:
    for _ in range(2000):
        found = store.requests.get(identifier)
        if found is not None and found.status in statuses:
            return found
        time.sleep(0.005)
    raise AssertionError("the job is not taken up")


def _consistent(store: Store, kind: str, identifier: str, folder: Path) -> None:
    """Every run in service is whole, the trail has each act once, and what was promised is so."""
    actions = [entry.action for entry in store.trail.page(limit=1000)]
    assert actions.count(f"{kind}.asked") == actions.count(f"{kind}.done") == 1, actions
    assert store.trail.verify().broken_at is None
    for slot in store.served().values():
        RunFolder(slot.path)
        run = Run.load(slot.path)
        assert (run.user_ids.find("u3") is None) == (kind == "delete")
        run.recommend(user="u4", k=3)
    if kind == "remedy":  # a run beside those that are served
        Run.load(folder / "runs" / "bpr-without-gender").recommend(user="u4", k=3)
        assert {Path(slot.path).name for slot in store.served().values()} == {"bpr", "ease"}
    if kind == "delete":
        assert not any(store.held("u3").values())
        request = store.requests.get(identifier)
        assert request is not None
        assert request.proof is not None
        assert len(request.proof["runs"]) == len(store.served())


def lasting(kind: str, url: str, folder: Path, runs: dict[str, Path]) -> float:
    """Seconds from the claim of an undisturbed job to its end."""
    config = ServiceConfig(store=url, folder=folder / "data", job_lease_s=30, forget="automatic")
    with Store.open(url) as store:
        _serve_copies(store, folder / "runs", runs)
        asked = _ask(Service(config, store), kind)
        child = context.Process(target=_work, args=(config, True))
        child.start()
        _wait(store, asked.id, {"running", "done"})
        began = time.monotonic()
        child.join()
        found = store.requests.get(asked.id)
        assert found is not None
        assert found.status == "done", found.reason
        return time.monotonic() - began
