"""CPU seconds and memory to read interactions from CSV into a Dataset.

    python benchmarks/read_csv.py --rows 1000000 --ids int
    python benchmarks/read_csv.py --rows 1000000 --ids text

The file is generated in a temporary folder. All threads' time is counted; peak memory is that of a process which only
reads.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl


def write_csv(path: Path, rows: int, ids: str, seed: int) -> None:
    """Interactions with long-tailed activity: rows/50 users, rows/30 items, rating, timestamp."""
    rng = np.random.default_rng(seed)
    user = (rng.random(rows) ** 2 * rows / 50).astype(np.int64)
    item = (rng.random(rows) ** 3 * rows / 30).astype(np.int64)
    if ids == "int":
        table = {"user_id": user + 1_000_000_000, "item_id": item}
    else:
        hexadecimal = np.array(
            [f"A{value * 2654435761 % 2**52:013X}" for value in range(max(rows // 30, rows // 50) + 1)]
        )
        table = {"user_id": hexadecimal[user], "item_id": hexadecimal[item]}
    table["rating"] = rng.integers(1, 6, rows)
    table["timestamp"] = 1_500_000_000 + rng.permutation(rows)
    pl.DataFrame(table).write_csv(path)


def peak_mib() -> float:
    """Peak resident memory of this process, from the kernel where it tells (getrusage counts the parent's too)."""
    status = Path("/proc/self/status")
    if not status.exists():
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    kibibytes = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return round(int(kibibytes) / 1024, 1)


def measure(path: Path) -> dict[str, float]:
    """Read the file once; import time is left out."""
    from rectitude.data.readers import load

    before = peak_mib()
    cpu, wall = time.process_time(), time.perf_counter()
    dataset = load(path)
    return {
        "cpu_seconds": round(time.process_time() - cpu, 3),
        "wall_seconds": round(time.perf_counter() - wall, 3),
        "peak_mib": peak_mib(),
        "peak_before_mib": before,
        "users": dataset.n_users,
        "items": dataset.n_items,
        "interactions": dataset.n_interactions,
    }


def main() -> None:
    """Generate, then read in a fresh process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--ids", choices=["int", "text"], default="int")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        print(json.dumps(measure(arguments.read)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "interactions.csv"
        write_csv(path, arguments.rows, arguments.ids, arguments.seed)
        size = path.stat().st_size / 2**20
        done = subprocess.run(
            [sys.executable, __file__, "--read", str(path)], check=True, capture_output=True, text=True
        )
    print(
        json.dumps(
            {"rows": arguments.rows, "ids": arguments.ids, "file_mib": round(size, 1), **json.loads(done.stdout)}
        )
    )


if __name__ == "__main__":
    main()
