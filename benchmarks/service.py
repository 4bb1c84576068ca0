"""Load on the service: throughput and latency, CPU beside the raw model call, workers, memory over time, retrieval.

    python benchmarks/service.py --run RUN --out ../service.jsonl                     # everything but the soak
    python benchmarks/service.py --run RUN --out ../service.jsonl --parts soak        # ten minutes
    python benchmarks/service.py --out ../service.jsonl --write docs/service/performance.md

The service is started as a process of its own with a store of its own; this script is the load, one thread that speaks
HTTP/1.1 over kept connections and costs some 30 microseconds a request, which is told beside the figures. What is in
``--out`` is not measured again; ``--again`` measures it anew.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

CLIENTS = 32
PACE = 400.0
"""Requests a second of the paced load."""
K = 10
_EVENT = "POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: "
Parts = dict[str, list[dict[str, Any]]]


@dataclass
class Connection:
    """A kept connection with at most one request on its way."""

    socket: socket.socket
    received: bytearray = field(default_factory=bytearray)
    begun: float = 0.0
    """When the request was sent, or should have been."""
    busy: bool = False


@dataclass
class Load:
    """What came of a load."""

    seconds: float
    latencies: list[float]
    failed: int
    client_cpu: float
    late: int
    """Requests of the paced load that could not be sent in time because every connection was busy."""

    def told(self) -> dict[str, Any]:
        """Figures, in milliseconds."""
        ordered = sorted(self.latencies)
        count = len(ordered)
        places = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
        quantiles = {name: 1000 * ordered[min(count - 1, int(share * count))] for name, share in places.items()}
        return {
            "requests": count,
            "per_second": count / self.seconds,
            "failed": self.failed,
            "late": self.late,
            **quantiles,
            "client_cpu_ms": 1000 * self.client_cpu / count,
        }


class Requests:
    """Requests of people drawn at random, one after the other without end.

    Args:
        users: Ids to draw from.
        seed: Of the draws.
        events: Every so many requests one takes an event in; 0 is none.
        items: Ids of the events.
    """

    def __init__(self, users: list[str], items: list[str], seed: int = 0, events: int = 0) -> None:
        self._random, self._users, self._items, self._events = random.Random(seed), users, items, events
        self._count = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self._count += 1
        user = self._random.choice(self._users)
        if self._events and self._count % self._events == 0:
            body = json.dumps({"user": user, "item": self._random.choice(self._items)}).encode()
            head = f"{_EVENT}{len(body)}\r\n\r\n"
            return head.encode() + body
        return f"GET /v1/recommend?user={user}&k={K} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


def drive(port: int, requests: Iterator[bytes], seconds: float, pace: float | None = None) -> Load:
    """Send requests over ``CLIENTS`` connections and measure.

    Args:
        port: Of the service on this machine.
        requests: What to send.
        seconds: How long.
        pace: Requests a second, each timed from when it was due; None sends the next as soon as an answer is there.
    """
    selector = selectors.DefaultSelector()
    idle: deque[Connection] = deque()
    for _ in range(CLIENTS):
        opened = socket.create_connection(("127.0.0.1", port))
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.setblocking(False)
        idle.append(Connection(opened))
        selector.register(opened, selectors.EVENT_READ, idle[-1])
    latencies: list[float] = []
    failed = late = 0
    cpu, begun = time.process_time(), time.perf_counter()
    due, end = begun, begun + seconds
    while (now := time.perf_counter()) < end:
        while idle and (pace is None or due <= now):
            connection = idle.popleft()
            connection.begun, connection.busy = (now if pace is None else due), True
            connection.socket.sendall(next(requests))
            due += 1 / pace if pace is not None else 0.0
        late += pace is not None and not idle and due <= now
        wait = min(1.0, max(0.0, due - now)) if pace is not None and idle else 1.0
        for key, _ in selector.select(wait):
            answered = _receive(key.data)
            if answered is not None:
                latencies.append(time.perf_counter() - key.data.begun)
                failed += not answered
                idle.append(key.data)
    taken = time.perf_counter() - begun
    for key in list(selector.get_map().values()):
        key.data.socket.close()
    return Load(taken, latencies, failed, time.process_time() - cpu, late)


def _receive(connection: Connection) -> bool | None:
    """Whether an answer that has come whole is a good one; None where more is to come."""
    piece = connection.socket.recv(1 << 16)
    if not piece:
        raise ConnectionError("The service closed a connection")
    received = connection.received
    received += piece
    head = received.find(b"\r\n\r\n")
    if head < 0:
        return None
    at = received.find(b"content-length: ") + 16
    if len(received) < head + 4 + int(received[at : received.find(b"\r\n", at)]):
        return None
    good = received[9:12] == b"200"
    received.clear()
    connection.busy = False
    return good


# ---- the service -----------------------------------------------------------------------------------------------------


@dataclass
class Server:
    """A service that was started."""

    process: psutil.Process
    port: int

    def all(self) -> list[psutil.Process]:
        """Its processes."""
        return [self.process, *self.process.children(recursive=True)]

    def cpu(self) -> float:
        """CPU seconds of all its processes."""
        return sum(sum(process.cpu_times()[:2]) for process in self.all())

    def memory(self) -> float:
        """Resident MiB of all its processes."""
        return sum(process.memory_info().rss for process in self.all()) / 2**20


@contextmanager
def serving(run: Path, workers: int = 1, *options: str) -> Iterator[Server]:
    """``rectitude serve`` with a store of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "rectitude", "serve", str(run), "--store", f"sqlite:///{folder}/store.db"]
        command += ["--port", "0", "--workers", str(workers), "--json", *options]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
        told = ""
        while not told.endswith("\n}\n"):
            told += process.stdout.readline().decode()  # type: ignore[union-attr]
        port = int(json.loads(told)["address"].rpartition(":")[2])
        try:
            _wait(port)
            yield Server(psutil.Process(process.pid), port)
        finally:
            process.terminate()
            process.wait(60)


def _wait(port: int) -> None:
    import httpx

    for _ in range(1200):
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health/ready", timeout=10).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise TimeoutError("The service does not become ready")


# ---- parts -----------------------------------------------------------------------------------------------------------


def _people(run: Path) -> tuple[list[str], list[str]]:
    from rectitude.training.run import Run

    loaded = Run.load(run)
    return loaded.user_ids.external.to_list(), loaded.item_ids.external.to_list()


def _loaded(server: Server, requests: Requests, seconds: float, pace: float | None = None) -> dict[str, Any]:
    drive(server.port, requests, min(5.0, seconds), pace)  # caches and code paths
    before = server.cpu()
    load = drive(server.port, requests, seconds, pace)
    told = load.told()
    return {**told, "server_cpu_ms": 1000 * (server.cpu() - before) / told["requests"], "memory_mib": server.memory()}


def load(run: Path, seconds: float) -> Iterator[dict[str, Any]]:
    """32 clients that ask as fast as they are answered; the same at a pace; the same with events in between."""
    users, items = _people(run)
    with serving(run) as server:
        yield {"part": "load", "load": "32 clients", **_loaded(server, Requests(users, items), seconds)}
        yield {
            "part": "load",
            "load": f"{PACE:.0f} a second",
            **_loaded(server, Requests(users, items, 1), seconds, PACE),
        }
        mixed = Requests(users, items, 2, events=10)
        yield {"part": "load", "load": "32 clients, a tenth events", **_loaded(server, mixed, seconds)}


def raw(run: Path, seconds: float) -> Iterator[dict[str, Any]]:
    """The model called directly, by one thread, for the same people."""
    import numpy as np
    import torch

    from rectitude.models.query import Query
    from rectitude.models.ranking import masked_topk
    from rectitude.training.run import Run

    torch.set_num_threads(1)
    loaded = Run.load(run)
    generator = np.random.default_rng(0)

    def call(size: int) -> None:
        users = generator.integers(len(loaded.user_ids), size=size)
        history = loaded.history.take(users)
        scores, _ = loaded.model.answer(Query.of_users(users, history))
        masked_topk(scores, history, K, overwrite=True)

    for size in (1, 8, 16, 32):
        call(size)
        count, begun, cpu = 0, time.perf_counter(), time.process_time()
        while time.perf_counter() - begun < seconds / 4:
            call(size)
            count += size
        yield {"part": "raw", "batch": size, "requests": count, "cpu_ms": 1000 * (time.process_time() - cpu) / count}


def workers(run: Path, seconds: float) -> Iterator[dict[str, Any]]:
    """One process and two under the same load."""
    users, items = _people(run)
    for count in (1, 2):
        with serving(run, count) as server:
            yield {"part": "workers", "workers": count, **_loaded(server, Requests(users, items), seconds)}


def soak(run: Path, seconds: float) -> Iterator[dict[str, Any]]:
    """Memory while people, known and new, ask and do things for a long time."""
    known, items = _people(run)
    users = known + [f"new-{number}" for number in range(20_000)]
    with serving(run) as server:
        requests = Requests(users, items, 3, events=10)
        for _ in range(12):  # until nearly everybody has come by: what is kept of people is bounded, and full then
            drive(server.port, requests, 10.0)
        samples: list[float] = []
        failed = count = 0
        begun = time.perf_counter()
        while time.perf_counter() - begun < seconds:
            part = drive(server.port, requests, 10.0, PACE / 2)
            failed, count = failed + part.failed, count + len(part.latencies)
            samples.append(server.memory())
        sixth = max(1, len(samples) // 6)
        first, last = (sorted(each)[len(each) // 2] for each in (samples[:sixth], samples[-sixth:]))
        told = {"seconds": seconds, "requests": count, "failed": failed, "first_mib": first, "last_mib": last}
        yield {"part": "soak", **told, "samples_mib": [round(sample, 1) for sample in samples]}


def retrieval(run: Path, seconds: float) -> Iterator[dict[str, Any]]:
    """Exact blocks and the index on made-up vectors of 64 numbers, kinds of items being clusters."""
    import numpy as np
    import torch

    from rectitude.data.histories import Histories
    from rectitude.models.base import ModelConfig, Recommender
    from rectitude.models.query import Query
    from rectitude.service.serving.retrieval import Approximate, Blocked, Candidates

    class Vectors(Recommender):
        name, title, paper, reads, serves_new_users = "vectors", "Vectors", "", frozenset({"user"}), False

        def query_vectors(self, query: Query) -> torch.Tensor:
            return self.users[torch.from_numpy(query.users)]

    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    for n_items in (100_000, 300_000):
        centres = generator.normal(size=(300, 64))
        items, users = (
            (centres[generator.integers(300, size=n)] + 0.7 * generator.normal(size=(n, 64))).astype(np.float32)
            for n in (n_items, 1000)
        )
        model = Vectors(ModelConfig(), 1000, n_items)
        model.users = torch.from_numpy(users)
        model.trained_users.fill_(True)
        exact = Blocked(model, torch.from_numpy(items))

        def asked(start: int, size: int) -> Query:
            return Query.of_users(np.arange(start, start + size), Histories.from_rows([[]] * size))

        begun = time.process_time()
        index = Approximate(exact, asked(0, 200))
        built = time.process_time() - begun
        for way, found in ((exact, None), (index, index.recall)):
            count, begun = 0, time.process_time()
            while time.process_time() - begun < seconds / 4:
                way.best(asked(200 + count % 700, 16), Candidates(None), K)
                count += 16
            cost = 1000 * (time.process_time() - begun) / count
            told = {"items": n_items, "way": "exact" if found is None else "faiss", "cpu_ms": cost, "recall": found}
            yield {"part": "retrieval", **told, "built_s": None if found is None else built}


PARTS = {"load": load, "raw": raw, "workers": workers, "retrieval": retrieval, "soak": soak}


# ---- the page --------------------------------------------------------------------------------------------------------


_INTRODUCTION = """# Performance

What the service costs, measured from outside by `benchmarks/service.py`: the service is a process of its own with a new
SQLite store, the load another one, a single thread over 32 kept connections of HTTP/1.1. Every question is a list of 10
for a person drawn at random. CPU is that of all processes of the service; wall-clock figures depend on what else the
machine does, so the load average (one minute, before a part began to be written) stands beside them.

```text
python benchmarks/service.py --run RUN --out service.jsonl
python benchmarks/service.py --run RUN --out service.jsonl --parts soak
python benchmarks/service.py --out service.jsonl --write docs/service/performance.md
```
"""


def page(rows: list[dict[str, Any]]) -> str:
    """``docs/service/performance.md``."""
    parts = {name: [row for row in rows if row["part"] == name] for name in PARTS}
    tellers = {"load": _loads, "raw": _overhead, "workers": _processes, "soak": _memory, "retrieval": _retrieval}
    return _INTRODUCTION + "".join(tell(parts) for name, tell in tellers.items() if parts[name])


def _table(header: str, rows: list[tuple[Any, ...]]) -> str:
    cells = [["–" if c is None else f"{c:,.2f}" if isinstance(c, float) else str(c) for c in row] for row in rows]
    names = header.split(" | ")
    ruled = [names, ["---"] + ["---:"] * (len(names) - 1), *cells]
    return "".join(f"| {' | '.join(row)} |\n" for row in ruled)


def _of_loads(rows: list[dict[str, Any]], first: str) -> str:
    names = ("per_second", "p50", "p95", "p99", "max", "server_cpu_ms", "client_cpu_ms", "memory_mib", "load_average")
    cells = [(row[first], *(row[name] for name in names), row["failed"]) for row in rows]
    header = "p50 ms | p95 ms | p99 ms | max ms | CPU ms a request | of the load | MiB | load average | failed"
    return _table(f"{first} | requests/s | {header}", cells)


def _loads(parts: Parts) -> str:
    told = parts["load"][0]
    return f"""
## Load

One process, `{told["run"]}`, {told["machine"]}. "A second" is a paced load, each request timed from when it was due;
the others ask again as soon as they are answered.

{_of_loads(parts["load"], "load")}"""


def _overhead(parts: Parts) -> str:
    text = f"""
## Beside the raw model call

The model asked directly in one thread, for people drawn the same way, in batches as they come: history, scores of all
items, mask and the best {K}.

{_table("batch | CPU ms a list", [(row["batch"], row["cpu_ms"]) for row in parts["raw"]])}"""
    if not parts["load"]:
        return text
    served = parts["load"][0]["server_cpu_ms"]
    alone, best = parts["raw"][0]["cpu_ms"], min(row["cpu_ms"] for row in parts["raw"])
    return f"""{text}
A request costs the service {served:.2f} ms of CPU, HTTP, store and all: {served / alone:.2f} times a raw call for one
person and {served / best:.2f} times the cheapest batch. The service puts histories of like length together, so that
less padding is computed than in batches as they come.
"""


def _processes(parts: Parts) -> str:
    one, two = (row["per_second"] for row in parts["workers"])
    return f"""
## Processes

The same load of {CLIENTS} clients. Memory counts pages that processes share once for each, and the process that watches
over the workers.

{_of_loads(parts["workers"], "workers")}
Two processes answer {two / one:.2f} times as many as one; the load takes its share of the cores.
"""


def _memory(parts: Parts) -> str:
    (told,) = parts["soak"]
    return f"""
## Memory over time

{told["seconds"] / 60:.0f} minutes of {PACE / 2:.0f} requests a second, a tenth of them events, most of the people
unknown to the run: {told["requests"]:,} requests, {told["failed"]} failed. Resident memory was {told["first_mib"]:.1f}
MiB in the first sixth (median) and {told["last_mib"]:.1f} MiB in the last. What is bounded by how much stands in
[The service](index.md#bounds).
"""


def _retrieval(parts: Parts) -> str:
    names = ("way", "cpu_ms", "recall", "built_s")
    cells = [(f"{row['items']:,}", *(row[name] for name in names)) for row in parts["retrieval"]]
    return f"""
## Retrieval

Made-up vectors of 64 numbers in 300 clusters, batches of 16, one thread; recall@{K} against the exact lists of 200
people, as it is said at the start.

{_table("items | way | CPU ms a list | recall@10 | CPU s to build", cells)}"""


def main() -> None:
    """Measure what is wanted, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="run folder; SASRec on MovieLens-1M for the page")
    parser.add_argument("--out", type=Path, required=True, help="JSON lines of what was measured")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=["load", "raw", "workers", "retrieval"])
    parser.add_argument("--seconds", type=float, default=20.0, help="of each load; the soak takes --soak-seconds")
    parser.add_argument("--soak-seconds", type=float, default=600.0)
    parser.add_argument("--again", action="store_true", help="measure what is there anew")
    parser.add_argument("--write", type=Path, help="write the page from --out instead")
    given = parser.parse_args()
    rows = [json.loads(row) for row in given.out.read_text().splitlines()] if given.out.exists() else []
    if given.write is not None:
        given.write.write_text(page(rows), encoding="utf-8")
        return
    machine = {"machine": f"{psutil.cpu_count()} cores, {platform.system()} {platform.machine()}"}
    for part in given.parts:
        if any(row["part"] == part for row in rows) and not given.again:
            print(f"{part}: measured already")
            continue
        rows = [row for row in rows if row["part"] != part]
        seconds = given.soak_seconds if part == "soak" else given.seconds
        for row in PARTS[part](given.run, seconds):
            row |= {**machine, "load_average": os.getloadavg()[0], "run": given.run.name if given.run else None}
            rows.append(row)
            shown = {name: round(value, 3) if isinstance(value, float) else value for name, value in row.items()}
            print(json.dumps({name: value for name, value in shown.items() if name != "samples_mib"}), flush=True)
        given.out.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
