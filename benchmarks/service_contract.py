"""Hold the service against its OpenAPI with many examples of every operation, by everybody who may ask.

Writes a line of --out for each operation, asker and mode; what stands there is not done again.

    python benchmarks/service_contract.py --out contract.jsonl --examples 200
    python benchmarks/service_contract.py --out on-postgres.jsonl --examples 100 --postgres
    python benchmarks/service_contract.py --out contract.jsonl --table
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "service"))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import contract
from postgres_server import Postgres
from small import fit_small, write_small

from conftest import planted
from rectitude.service.config import ServiceConfig
from rectitude.service.launch import Launch, in_background


def main() -> None:
    """Hold it, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--who", nargs="*", default=list(contract.WHO), choices=contract.WHO)
    parser.add_argument("--postgres", action="store_true", help="On PostgreSQL rather than SQLite.")
    parser.add_argument("--only", default="", help="Part of the names of the operations.")
    parser.add_argument("--table", action="store_true", help="Print what --out holds.")
    options = parser.parse_args()
    if not options.table:
        hold_all(options)
    table(rows_of(options.out))


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def hold_all(options: argparse.Namespace) -> None:
    warnings.simplefilter("ignore")
    logging.getLogger("rectitude").addHandler(logging.FileHandler(options.out.with_suffix(".log")))
    server = Postgres() if options.postgres else None
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        fit_small(write_small(planted(), place / "data"), place / "runs")
        (place / "pictures").mkdir()
        (place / "pictures" / "i1.png").write_bytes(b"no picture, but a file of one's name")
        for who in options.who:
            for mode in contract.MODES:
                file = place / f"{who}-{mode.value}.db".replace(" ", "-")
                hold(options, place, server.new_database() if server else f"sqlite:///{file}", who, mode)
    if server:
        server.remove()


def hold(options: argparse.Namespace, place: Path, store: str, who: str, mode: Any) -> None:
    config = ServiceConfig(
        store=store,
        folder=place / "work",
        pictures=place / "pictures",
        rate_per_minute=0,
        person_rate_per_minute=0,
        run_jobs=False,
    )
    slots = {"main": str(place / "runs" / "sasrec"), "bpr": str(place / "runs" / "bpr")}
    service = Launch(config=config, slots=slots, experiments=("try=main:0.5,bpr:0.5",)).open()
    rows = rows_of(options.out)
    done = {row["operation"] for row in rows if (row["who"], row["mode"]) == (who, mode.value)}
    with in_background(service) as address:
        for held in contract.hold(service, address, who, mode, options.examples, options.only, done):
            with options.out.open("a") as file:
                file.write(f"{contract.as_row(held)}\n")
            if held.failure:
                print(f"{who}, {mode.value}, {held.operation}: {held.failure}", file=sys.stderr)


def table(rows: list[dict[str, Any]]) -> None:
    """By asker and mode: operations, requests, and how they were answered."""
    print("| who asks | OpenAPI | operations | requests | 2xx, 3xx | 4xx | 5xx | not as OpenAPI says |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for who, mode in dict.fromkeys((row["who"], row["mode"]) for row in rows):
        some = [row for row in rows if (row["who"], row["mode"]) == (who, mode)]
        classes: Counter[str] = Counter()
        for row in some:
            for status, count in row["statuses"].items():
                classes["23" if status < "400" else status[0]] += count
        cells = (who, "allows" if mode == "positive" else "forbids", len(some), f"{sum(classes.values()):,}")
        failed = sum(row["failure"] is not None for row in some)
        numbers = (*(f"{classes[kind]:,}" for kind in ("23", "4", "5")), failed)
        print("| " + " | ".join(map(str, (*cells, *numbers))) + " |")


if __name__ == "__main__":
    main()
