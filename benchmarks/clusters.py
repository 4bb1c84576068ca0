"""Constrained dominant sets: CPU seconds and memory on synthetic people with a long tail of activity.

OMP_NUM_THREADS=1 python benchmarks/clusters.py --people 6040 --items 3400 --mean 165 --out ../clusters.jsonl
OMP_NUM_THREADS=1 python benchmarks/clusters.py --people 50000 --items 20000 --mean 30 --out ../clusters.jsonl
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np

from rectitude.data.histories import Histories
from rectitude.fairness.dominant_sets import user_clusters


def synthetic(n_people: int, n_items: int, mean: float) -> Histories:
    """Interactions with a long tail of people and of items."""
    rng = np.random.default_rng(0)
    lengths = (rng.pareto(1.5, n_people) * mean / 3).astype(int) + int(mean / 3)
    lengths = np.maximum(5, lengths).clip(max=n_items // 3)
    share = 1 / np.arange(1, n_items + 1) ** 0.8
    items = np.searchsorted(np.cumsum(share / share.sum()), rng.random(lengths.sum())).clip(max=n_items - 1)
    return Histories.from_pairs(np.repeat(np.arange(n_people), lengths), items.astype(np.int32), n_people)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=6040)
    parser.add_argument("--items", type=int, default=3400)
    parser.add_argument("--mean", type=float, default=165, help="interactions per person, about")
    parser.add_argument("--out", type=Path, help="JSON lines to append to")
    arguments = parser.parse_args()
    train = synthetic(arguments.people, arguments.items, arguments.mean)
    order = np.argsort(-train.lengths, kind="stable")
    n_advantaged = round(0.05 * arguments.people)
    began = time.process_time()
    found = user_clusters(train, arguments.items, order[:n_advantaged], order[n_advantaged:])
    row = {
        "people": arguments.people,
        "advantaged": n_advantaged,
        "interactions": len(train.items),
        "cpu_seconds": round(time.process_time() - began, 2),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "advantaged_people_chosen": len(np.unique(found.neighbours)),
    }
    print(json.dumps(row))
    if arguments.out:
        with arguments.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
