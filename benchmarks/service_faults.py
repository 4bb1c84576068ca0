"""Kill -9 while events are taken in and during each kind of job, on each database, and what was true afterwards.

Resumable: each kill is a line of --out, and a run goes on after the last one.

    python benchmarks/service_faults.py --out faults.jsonl --times 20
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
sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import faults
from postgres_server import Postgres, programs
from small import fit_small, write_small

from conftest import planted

JOBS = ("export", "delete", "forget", "remedy")
_lasts: dict[str, float] = {}
"""Seconds of an undisturbed job, by kind."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="Of the moments of the kills.")
    parser.add_argument("--databases", nargs="*", default=["SQLite", "PostgreSQL"], choices=["SQLite", "PostgreSQL"])
    parser.add_argument("--table", action="store_true", help="Print what --out holds.")
    options = parser.parse_args()
    done = [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.exists() else []
    if not options.table:
        with tempfile.TemporaryDirectory() as folder:
            made = fit_small(write_small(planted(), Path(folder) / "data"), Path(folder) / "runs")
            runs = {name: made[name] for name in ("bpr", "ease")}
            for row in kills(options, runs, done):
                done.append(row)
                with options.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
    table(done)


def kills(options: argparse.Namespace, runs: dict[str, Path], done: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The kills that ``done`` lacks, of every kind on every database that is installed."""
    server = Postgres() if "PostgreSQL" in options.databases and programs() is not None else None
    stores: dict[str, Callable[[Path], str]] = {}
    if "SQLite" in options.databases:
        stores["SQLite"] = lambda place: f"sqlite:///{place}/store.db"
    if server is not None:
        stores["PostgreSQL"] = lambda _: server.new_database()
    try:
        for number in range(options.times):
            for database, new_store in stores.items():
                for act, kill in acts(runs).items():
                    kind = f"{act}, {database}"
                    if number < sum(row["kind"] == kind for row in done):
                        continue
                    with tempfile.TemporaryDirectory() as folder:
                        place = Path(folder)
                        told = kill(new_store(place), place, 1000 * options.seed + number)
                        yield asdict(told) | {"kind": kind}
    finally:
        if server is not None:
            server.remove()


def acts(runs: dict[str, Path]) -> dict[str, Callable[[str, Path, int], faults.Killed]]:
    """What is killed, by name: told the URL of an empty store, an empty folder and the number of the kill."""

    def job(kind: str, url: str, place: Path, number: int) -> faults.Killed:
        if kind not in _lasts:
            _lasts[kind] = faults.lasting(kind, f"sqlite:///{place}/undisturbed.db", place / "0", runs)
        share = random.Random(number).uniform(0.0, 1.0)
        return faults.kill_during_job(kind, url, place / "1", runs, share, _lasts[kind])

    return {
        "events": lambda url, _, number: faults.kill_while_taking_events(url, number),
        "events over HTTP": lambda url, place, number: faults.kill_while_taking_events_over_http(
            url, place, runs["ease"], number
        ),
        **{kind: partial(job, kind) for kind in JOBS},
    }


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
