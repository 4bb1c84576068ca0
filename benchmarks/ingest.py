"""How fast events are taken in and histories read: the store by itself, and through the batch route of a service.

    python benchmarks/ingest.py --events 1000000 --store sqlite:////tmp/ingest.db
    python benchmarks/ingest.py --events 1000000 --store sqlite:////tmp/route.db --run runs/sasrec

People and items are drawn at random, 6,040 and 3,706 of them; ids are random too, the hardest for an index.
One JSON object on standard output. Wall seconds count; processor seconds stand beside them, for a machine that is not
idle.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import orjson
import psutil

from rectitude.service.store import Event, Store

PEOPLE, ITEMS = 6040, 3706
START = 1.0e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=5000)
    parser.add_argument("--store", required=True, help="Of its own: it is filled.")
    parser.add_argument("--run", help="Send through the route of a service that serves this run.")
    parser.add_argument("--senders", type=int, default=2, help="Threads that send batches.")
    options = parser.parse_args()
    measure = through_route if options.run else into_store
    told = {"events": options.events, "batch": options.batch, "through": "route" if options.run else "store"}
    told |= measure(options)
    with Store.open(options.store) as store:
        told |= reading(store)
    print(json.dumps(told))


def batches(n_events: int, size: int) -> Iterator[list[tuple[Any, ...]]]:
    rng = random.Random(0)
    for start in range(0, n_events, size):
        yield [
            (
                f"{rng.getrandbits(64):016x}",
                f"u{rng.randrange(PEOPLE)}",
                f"i{rng.randrange(ITEMS)}",
                "view",
                None,
                START + n,
            )
            for n in range(start, min(start + size, n_events))
        ]


def into_store(options: argparse.Namespace) -> dict[str, Any]:
    made = [[Event(*row) for row in batch] for batch in batches(options.events, options.batch)]
    with Store.open(options.store) as store:
        cpu, wall = time.process_time(), time.perf_counter()
        accepted = sum(store.add_events(batch).accepted for batch in made)
        return rates(accepted, time.perf_counter() - wall, time.process_time() - cpu)


def through_route(options: argparse.Namespace) -> dict[str, Any]:
    """The same as JSON over HTTP; processor seconds are the server's."""
    import httpx

    command = [shutil.which("rectitude") or "rectitude", "serve", options.run, "--store", options.store]
    command += ["--port", "0", "--json", "--set", f"max_batch={options.batch}", "--set", "max_body_bytes=67108864"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=sys.stderr, text=True)
    try:
        text = ""
        for line in server.stdout or ():
            text += line
            if line == "}\n":
                break
        address = json.loads(text)["address"]
        names = ("id", "user", "item", "kind", "value", "at")
        bodies = [
            orjson.dumps({"events": [dict(zip(names, row, strict=True)) for row in batch]})
            for batch in batches(options.events, options.batch)
        ]
        process = psutil.Process(server.pid)
        accepted: list[int] = []
        waiting = iter(bodies)
        lock = threading.Lock()

        def send() -> None:
            with httpx.Client(base_url=address, timeout=120) as client:
                while True:
                    with lock:
                        body = next(waiting, None)
                    if body is None:
                        return
                    answer = client.post("/v1/events", content=body, headers={"content-type": "application/json"})
                    answer.raise_for_status()
                    accepted.append(answer.json()["accepted"])

        before, wall = sum(process.cpu_times()[:2]), time.perf_counter()
        threads = [threading.Thread(target=send) for _ in range(options.senders)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.perf_counter() - wall
        return rates(sum(accepted), took, sum(process.cpu_times()[:2]) - before)
    finally:
        server.terminate()
        server.wait(30)


def rates(accepted: int, wall: float, cpu: float) -> dict[str, Any]:
    return {
        "accepted": accepted,
        "seconds": round(wall, 2),
        "cpu_seconds": round(cpu, 2),
        "per_second": round(accepted / wall),
        "per_cpu_second": round(accepted / cpu),
    }


def reading(store: Store, times: int = 200) -> dict[str, Any]:
    """32 histories in one query, of the 50 and of the 10 latest events."""
    rng = random.Random(1)
    asked = [[f"u{rng.randrange(PEOPLE)}" for _ in range(32)] for _ in range(times)]
    told: dict[str, Any] = {}
    for most in (50, 10):
        wall, cpu = [], []
        for users in asked:
            before = time.perf_counter(), time.thread_time()
            store.histories(users, most)
            wall.append(time.perf_counter() - before[0])
            cpu.append(time.thread_time() - before[1])
        told[f"read_32_of_{most}_ms"] = {
            "median": round(1e3 * sorted(wall)[times // 2], 2),
            "best": round(1e3 * min(wall), 2),
            "cpu_median": round(1e3 * sorted(cpu)[times // 2], 2),
        }
    return told


if __name__ == "__main__":
    main()
