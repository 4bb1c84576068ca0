"""Kill -9 while events are taken in and during each kind of job, on each database, and what was true afterwards.

Resumable: each kill is a line of --out, and a run goes on after the last one.

    python benchmarks/service_faults.py --out faults.jsonl --times 20 --runs bpr=RUN ease=RUN
    python benchmarks/service_faults.py --out faults.jsonl --table
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "service"))
import faults
from postgres_server import Postgres, programs

JOBS = ("export", "delete", "forget")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--runs", nargs="*", default=[], metavar="NAME=RUN", help="Runs that are served during jobs.")
    parser.add_argument("--table", action="store_true", help="Print what --out holds.")
    options = parser.parse_args()
    done = [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.exists() else []
    if not options.table:
        for row in kills(options.times, dict(pair.split("=", 1) for pair in options.runs), done):
            done.append(row)
            with options.out.open("a") as file:
                file.write(json.dumps(row) + "\n")
    table(done)


def kills(times: int, runs: dict[str, str], done: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The kills that ``done`` lacks, of every kind on every database that is installed."""
    served = {name: Path(path) for name, path in runs.items()}
    server = Postgres() if programs() is not None else None
    stores: dict[str, Callable[[Path], str]] = {"SQLite": lambda place: f"sqlite:///{place}/store.db"}
    if server is not None:
        stores["PostgreSQL"] = lambda _: server.new_database()
    try:
        for database, new_store in stores.items():
            for act, kill in acts(served).items():
                kind = f"{act}, {database}"
                for number in range(sum(row["kind"] == kind for row in done), times):
                    with tempfile.TemporaryDirectory() as folder:
                        place = Path(folder)
                        yield asdict(kill(new_store(place), place, number)) | {"kind": kind}
    finally:
        if server is not None:
            server.remove()


def acts(runs: dict[str, Path]) -> dict[str, Callable[[str, Path, int], faults.Killed]]:
    """What is killed, by name: told the URL of an empty store, an empty folder and the number of the kill."""
    found: dict[str, Callable[[str, Path, int], faults.Killed]] = {
        "events": lambda url, _, number: faults.kill_while_taking_events(url, number)
    }
    if not runs:
        return found
    first = next(iter(runs.values()))
    found["events over HTTP"] = lambda url, place, number: faults.kill_while_taking_events_over_http(
        url, place, first, number
    )
    lasts: dict[str, float] = {}

    def job(kind: str, url: str, place: Path, number: int) -> faults.Killed:
        if kind not in lasts:
            lasts[kind] = faults.lasting(kind, f"sqlite:///{place}/undisturbed.db", place / "0", runs)
        share = random.Random(number).uniform(0.0, 1.0)
        return faults.kill_during_job(kind, url, place / "1", runs, share, lasts[kind])

    return found | {kind: partial(job, kind) for kind in JOBS}


def table(rows: list[dict[str, Any]]) -> None:
    """A kill after which something is not as it must be ends the script, so what stands here has passed."""
    print("| killed during | kills | before its end | acknowledged events, all there once | jobs ended | longest |")
    print("| --- | --- | --- | --- | --- | --- |")
    for kind in dict.fromkeys(row["kind"] for row in rows):
        some = [row for row in rows if row["kind"] == kind]
        events, middle = sum(row["acknowledged"] for row in some), sum(row["in_the_middle"] for row in some)
        longest = "" if events else f"{max(row['seconds'] for row in some):.1f} s"
        ended = "" if events else f"{len(some)} of {len(some)}"
        print(f"| {kind} | {len(some)} | {middle} | {f'{events:,}' if events else ''} | {ended} | {longest} |")


if __name__ == "__main__":
    main()
