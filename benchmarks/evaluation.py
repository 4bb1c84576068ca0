"""CPU seconds and memory of exact masked ranking with all metrics, beside other ways to do it.

    python benchmarks/evaluation.py
    python benchmarks/evaluation.py --peer-python PYTHON_OF_AN_ENVIRONMENT_WITH_RECTOOLS
    python benchmarks/evaluation.py --sets ml-1m-shape --sets many-users

Users and items are random vectors of width 64, in the sizes and history lengths of known sets; each user's vector leans
towards one held-out item, so that the metrics have something to find. Each way runs in a process of its own with one
thread: once to warm up, then the quickest of ``--repeats``. One JSON line per way:

* ``rank_cpu_s``: scores, mask and the best k; of ``rectitude`` with all metrics. ``metrics_cpu_s``: figures from the
  lists where that is a step of its own. ``users_per_cpu_s``: of both.
* ``intervals_cpu_s`` (ours): 1,000 bootstrap resamples of every metric, made only when a summary is asked for.
* ``peak_mib`` and ``peak_before_mib``: of the whole process, and before ranking, when imports and data are there.
* ``ratio``: users per CPU second, as a multiple of this way's figure that ours is.

Ways: ``rectitude`` (all metrics at k), ``torch`` (blocks of 1,024 users, topk, no metrics), and from the peer
environment ``rectools`` (TorchRanker, then calc_metrics on data frames), ``rectools-implicit`` (ImplicitRanker, lists
only) and ``implicit`` (its topk, lists only).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

SETS = {
    "ml-1m-shape": (6_040, 3_416, 165),
    "beauty-shape": (22_363, 12_101, 9),
    "many-users": (500_000, 1_000, 9),
}
OURS = ("rectitude", "torch")
PEERS = ("rectools", "rectools-implicit", "implicit")
WIDTH = 64


def make(path: Path, name: str, seed: int) -> None:
    """Vectors, histories with long-tailed items and one held-out item per user, as one .npz file."""
    n_users, n_items, mean_length = SETS[name]
    rng = np.random.default_rng(seed)
    items = rng.standard_normal((n_items, WIDTH), dtype=np.float32)
    drawn = np.minimum(rng.geometric(1 / mean_length, n_users) + 1, n_items // 2)
    row = np.repeat(np.arange(n_users), drawn)
    column = (n_items * rng.random(len(row)) ** 2).astype(np.int64)
    distinct = rng.permutation(np.unique(row * n_items + column))  # which of a user's items is held out is chance
    row, column = np.divmod(distinct[np.argsort(distinct // n_items, kind="stable")], n_items)
    ends = np.cumsum(np.bincount(row, minlength=n_users))
    held_out = np.zeros(len(row), bool)
    held_out[ends - 1] = True
    target = column[held_out]
    users = rng.standard_normal((n_users, WIDTH), dtype=np.float32) + 0.3 * items[target]
    seen = np.bincount(row[~held_out], minlength=n_users)
    np.savez(
        path,
        users=users,
        items=items,
        target=target.astype(np.int32),
        history=column[~held_out].astype(np.int32),
        offsets=np.concatenate([[0], np.cumsum(seen)]).astype(np.int64),
    )


def peak_mib() -> float:
    """Peak resident memory of this process, from the kernel where it tells (getrusage counts the parent's too)."""
    status = Path("/proc/self/status")
    if not status.exists():
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    kibibytes = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return round(int(kibibytes) / 1024, 1)


Step = Callable[..., object]


def with_rectitude(data: dict[str, np.ndarray], k: int) -> tuple[Step, Step, Step]:
    import torch

    from rectitude.data.histories import Histories
    from rectitude.data.split import Fold
    from rectitude.evaluation import evaluator
    from rectitude.models.base import ModelConfig, Recommender

    class Factors(Recommender):
        name, title, paper = "factors", "Factors", "none"
        reads, serves_new_users, trained_by = frozenset({"user"}), False, "fit"

        def query_vectors(self, query):
            return users[query.user_tensor()]

        def item_vectors(self):
            return items

    users, items = torch.from_numpy(data["users"]), torch.from_numpy(data["items"])
    n_users, n_items = len(users), len(items)
    model = Factors(ModelConfig(), n_users, n_items)
    history = Histories(data["history"], data["offsets"])
    model.prepare(history)
    model.trained_users.fill_(True)  # also those whose only item is held out: their vector answers
    targets = Histories(data["target"], np.arange(n_users + 1))
    fold = Fold(np.arange(n_users, dtype=np.int32), history, targets)

    def rank() -> object:
        return evaluator.evaluate_fold(model, fold, ks=(k,))

    def metrics(found: evaluator.Evaluation) -> dict[str, float]:
        return {"recall": found.mean(f"recall@{k}"), "ndcg": found.mean(f"ndcg@{k}")}

    def intervals(found: evaluator.Evaluation) -> object:
        return found.summary()

    return rank, metrics, intervals


def with_torch(data: dict[str, np.ndarray], k: int) -> tuple[Step, None, None]:
    import torch

    users, items = torch.from_numpy(data["users"]), torch.from_numpy(data["items"])
    offsets, history = data["offsets"], torch.from_numpy(data["history"].astype(np.int64))

    def rank() -> object:
        lists = []
        for start in range(0, len(users), 1024):
            stop = min(start + 1024, len(users))
            scores = users[start:stop] @ items.T
            row = torch.from_numpy(np.repeat(np.arange(stop - start), np.diff(offsets[start : stop + 1])))
            scores[row, history[offsets[start] : offsets[stop]]] = -torch.inf
            lists.append(scores.topk(k).indices)
        return torch.cat(lists).numpy()

    return rank, None, None


def seen_matrix(data: dict[str, np.ndarray]):
    import scipy.sparse

    shape = (len(data["users"]), len(data["items"]))
    return scipy.sparse.csr_matrix((np.ones(len(data["history"]), np.float32), data["history"], data["offsets"]), shape)


def with_rectools(data: dict[str, np.ndarray], k: int) -> tuple[Step, Step, None]:
    import pandas as pd
    import torch
    from rectools import metrics as m
    from rectools.models.rank import Distance, TorchRanker

    n_users, seen = len(data["users"]), seen_matrix(data)
    truth = pd.DataFrame({"user_id": np.arange(n_users), "item_id": data["target"]})
    before = pd.DataFrame({"user_id": np.repeat(np.arange(n_users), np.diff(seen.indptr)), "item_id": seen.indices})
    wanted = {
        "ndcg": m.NDCG(k=k, divide_by_achievable=True),
        "recall": m.Recall(k=k),
        "hr": m.HitRate(k=k),
        "precision": m.Precision(k=k),
        "mrr": m.MRR(k=k),
        "map": m.MAP(k=k),
        "novelty": m.MeanInvUserFreq(k=k),
        "coverage": m.CatalogCoverage(k=k),
    }

    def rank() -> object:
        ranker = TorchRanker(
            distance=Distance.DOT,
            device="cpu",
            subjects_factors=torch.from_numpy(data["users"]),
            objects_factors=torch.from_numpy(data["items"]),
        )
        return ranker.rank(subject_ids=np.arange(n_users), k=k, filter_pairs_csr=seen)

    def metrics(found) -> dict[str, float]:
        user, item, _ = found
        user = np.asarray(user)
        first = np.concatenate([[0], np.flatnonzero(np.diff(user)) + 1])
        place = np.arange(len(user)) - np.repeat(first, np.diff(np.append(first, len(user)))) + 1
        lists = pd.DataFrame({"user_id": user, "item_id": np.asarray(item), "rank": place})
        values = m.calc_metrics(wanted, lists, truth, prev_interactions=before, catalog=np.arange(len(data["items"])))
        return {"recall": values["recall"], "ndcg": values["ndcg"]}

    return rank, metrics, None


def with_rectools_implicit(data: dict[str, np.ndarray], k: int) -> tuple[Step, None, None]:
    from rectools.models.rank import Distance, ImplicitRanker

    seen = seen_matrix(data)

    def rank() -> object:
        ranker = ImplicitRanker(Distance.DOT, data["users"], data["items"], num_threads=1, use_gpu=False)
        return ranker.rank(subject_ids=np.arange(len(data["users"])), k=k, filter_pairs_csr=seen)[1]

    return rank, None, None


def with_implicit(data: dict[str, np.ndarray], k: int) -> tuple[Step, None, None]:
    from implicit.cpu.topk import topk

    seen = seen_matrix(data)
    return lambda: topk(data["items"], data["users"], k, filter_query_items=seen, num_threads=1)[0], None, None


WAYS = {
    "rectitude": with_rectitude,
    "torch": with_torch,
    "rectools": with_rectools,
    "rectools-implicit": with_rectools_implicit,
    "implicit": with_implicit,
}


def timed(step: Step, *arguments: object) -> tuple[float, object]:
    begun = time.process_time()
    result = step(*arguments)
    return time.process_time() - begun, result


def measure(way: str, path: Path, k: int, repeats: int) -> dict[str, object]:
    """Run one way in this process."""
    with np.load(path) as file:
        data = dict(file)
    rank, metrics, intervals = WAYS[way](data, k)
    before = peak_mib()
    runs = []
    for _ in range(repeats + 1):
        rank_s, found = timed(rank)
        metrics_s, values = timed(metrics, found) if metrics else (0.0, {})
        runs.append((rank_s + metrics_s, rank_s, metrics_s))
    peak = peak_mib()
    total, rank_s, metrics_s = min(runs[1:])
    row: dict[str, object] = {
        "rank_cpu_s": round(rank_s, 3),
        "metrics_cpu_s": round(metrics_s, 3),
        "users_per_cpu_s": round(len(data["users"]) / total),
    }
    if intervals:
        row["intervals_cpu_s"] = round(timed(intervals, found)[0], 3)
    return {
        **row,
        "peak_mib": peak,
        "peak_before_mib": before,
        **{f"{name}@{k}": float(value) for name, value in values.items()},
    }


def child(python: str, *arguments: str) -> str:
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    command = [python, "-W", "ignore", __file__, *arguments]
    return subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **threads}
    ).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", action="append", choices=list(SETS), help="default: the first two")
    parser.add_argument("--peer-python", help="Python of an environment with rectools and implicit")
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--make", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make:
        make(Path(arguments.make[0]), arguments.make[1], arguments.seed)
        return
    if arguments.measure:
        way, path = arguments.measure
        print(json.dumps(measure(way, Path(path), arguments.k, arguments.repeats)))
        return
    ways = [(way, sys.executable) for way in OURS]
    ways += [(way, arguments.peer_python) for way in PEERS if arguments.peer_python]
    options = ["--k", str(arguments.k), "--repeats", str(arguments.repeats), "--seed", str(arguments.seed)]
    for name in arguments.sets or list(SETS)[:2]:
        n_users, n_items, _ = SETS[name]
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "data.npz")
            child(sys.executable, "--make", path, name, *options)
            ours = 0
            for way, python in ways:
                row = json.loads(child(python, "--measure", way, path, *options))
                ours = ours or row["users_per_cpu_s"]
                ratio = round(ours / row["users_per_cpu_s"], 2)
                print(
                    json.dumps({"set": name, "users": n_users, "items": n_items, "way": way, **row, "ratio": ratio}),
                    flush=True,
                )


if __name__ == "__main__":
    main()
