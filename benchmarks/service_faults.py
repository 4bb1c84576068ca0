"""Kill -9 while events are taken in and during each kind of job, many times, and what was true afterwards.

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
from dataclasses import asdict
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


def kills(times: int, runs: dict[str, str], done: list[dict[str, Any]]) -> Any:
    def missing(kind: str) -> range:
        return range(sum(row["kind"] == kind for row in done), times)

    with tempfile.TemporaryDirectory() as folder:
        for number in missing("events into SQLite"):
            told = faults.kill_while_taking_events(f"sqlite:///{folder}/{number}.db", number)
            yield asdict(told) | {"kind": "events into SQLite"}
        if programs() is not None and missing("events into PostgreSQL"):
            server = Postgres()
            try:
                for number in missing("events into PostgreSQL"):
                    told = faults.kill_while_taking_events(server.new_database(), number)
                    yield asdict(told) | {"kind": "events into PostgreSQL"}
            finally:
                server.remove()
    served = {name: Path(path) for name, path in runs.items()}
    for kind in JOBS if served else ():
        lasts = None
        for number in missing(kind):
            with tempfile.TemporaryDirectory() as folder:
                place = Path(folder)
                if lasts is None:
                    lasts = faults.lasting(kind, f"sqlite:///{folder}/0.db", place / "0", served)
                share = random.Random(number).uniform(0.0, 1.0)
                told = faults.kill_during_job(kind, f"sqlite:///{folder}/1.db", place / "1", served, share, lasts)
                yield asdict(told)


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
