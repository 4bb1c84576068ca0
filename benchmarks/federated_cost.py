"""What a round of FedFACT-Post costs beside one of FedAvg, with nothing left out, and what of it is whose.

    python benchmarks/federated_cost.py

Everything runs in one process, so that its CPU clock sees all of a round: server, Flower's messages, masks, clients. A
round's CPU is divided by the clients. Of it are told apart: the method at a client (its reply alone), and what Flower
needs for a round that says nothing (two Message objects, their records with 24 bytes and one word each, and the
dispatch of its ClientApp). The rest is ours: masks, packing, checks, the server's sums and its step.

The same round is the same work in every run, and whatever else the machine does only adds to it: of ``REPEATS`` runs
the least of each round, and of these the median over the rounds. On a crowded machine no run is undisturbed, so that
the least of the runs' medians over rounds, as it was counted once, is larger; whole rounds are told in both ways.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp

from rectitude.federated.app import Coordinator, client_app
from rectitude.federated.clients import federation_of
from rectitude.federated.grid import LocalGrid
from rectitude.federated.party import MemoryStore, Party
from rectitude.federated.plan import Plan, Stage
from rectitude.federated.run import new_run_id

REPEATS, EMPTY_ROUNDS = 15, 200
BASES: dict[str, dict[str, Any]] = {
    "logistic regression, 256": {},
    "logistic regression, 512": {"batch_size": 512},
    "32 hidden units, 256": {"hidden": [32]},
    "64 hidden units, 256": {"hidden": [64]},
    "64 hidden units, 512": {"hidden": [64], "batch_size": 512},
}
BOTH = {"global_tolerance": 0.01, "local_tolerance": 0.01}
POSTS = {"global side only": BOTH | {"local_tolerance": None}, "both sides": BOTH}
Spent = defaultdict[tuple[int, str], list[float]]


class Clocked(Coordinator):
    """A coordinator that notes the CPU seconds per client of every round: all of it, and the methods' replies."""

    def __init__(self, plan: Plan, grid: LocalGrid, replies: list[float]) -> None:
        super().__init__(plan, grid)
        self.replies, self.whole, self.alone = replies, Spent(list), Spent(list)

    def _step(self, stage: int, half: Any) -> None:
        self.replies.clear()
        began = time.process_time()
        super()._step(stage, half)
        used = time.process_time() - began
        if not self.progress.asked:
            row = self.progress.traffic[-1]
            self.whole[stage, row.kind].append(used / row.clients)
            self.alone[stage, row.kind].append(sum(self.replies) / row.clients)


def clocked(make: Any, spent: list[float]) -> Any:
    """A maker of client halves whose replies are timed."""

    def timed(data: Any) -> Any:
        half = make(data)
        reply = half.reply

        def answer(kind: str, message: Any, state: Any) -> Any:
            began = time.process_time()
            replied = reply(kind, message, state)
            spent.append(time.process_time() - began)
            return replied

        half.reply = answer
        return half

    return timed


def seconds_of(federation: Any, stages: tuple[Stage, ...]) -> dict[tuple[int, str, str], list[float]]:
    """CPU seconds per client of every round by stage and kind of exchange: of the methods' replies, and of all."""
    plan = Plan(new_run_id(), federation.problem, stages)
    replies: list[float] = []
    for method in plan.methods:
        method.client = clocked(method.client, replies)  # type: ignore[method-assign]
    parties = [Party(plan, data, MemoryStore()) for data in federation.clients]
    app = client_app(lambda context: parties[int(context.node_config["partition-id"])])
    grid = LocalGrid(app, [{"partition-id": data.index} for data in federation.clients])
    server = Clocked(plan, grid, replies)
    server.run()
    return {
        (*key, name): values
        for name, found in (("alone", server.alone), ("whole", server.whole))
        for key, values in found.items()
    }


def empty_round(n_clients: int) -> float:
    """Least CPU seconds per client of a round in which Flower's objects are made and nothing is said or done."""
    app, numbers = ClientApp(), np.zeros(3).tobytes()

    def content() -> RecordDict:
        return RecordDict({"message": ConfigRecord({"arrays": numbers, "cpu": 0.0})})

    @app.train()  # type: ignore[untyped-decorator]
    def answer(message: Message, _: Any) -> Message:
        return Message(content(), reply_to=message)

    grid = LocalGrid(app, [{"partition-id": k} for k in range(n_clients)])
    nodes, spent = list(grid.get_node_ids()), []
    for _ in range(EMPTY_ROUNDS):
        began = time.process_time()
        asked = content()
        list(grid.send_and_receive([Message(asked, node, "train", group_id="1", ttl=600.0) for node in nodes]))
        spent.append((time.process_time() - began) / n_clients)
    return min(spent)


def main() -> None:
    federation = federation_of("adult", partition="dirichlet:0.5", seed=0)
    runs, silent = defaultdict(list), []
    for _ in range(REPEATS):  # by turns: the machine's speed changes from minute to minute
        silent.append(empty_round(len(federation.clients)))
        for label, settings in BASES.items():
            stages = (Stage("fedavg", settings), *(Stage("fedfact-post", own, 0, name) for name, own in POSTS.items()))
            runs[label].append(seconds_of(federation, stages))
    empty = 1e6 * min(silent)
    heads = "base model, batch", "FedAvg round", "post", "whole round", "of it the method", "Flower, empty", "ours"
    print(f"| {' | '.join(heads)} | whole round, as once counted |")
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    for label, found in runs.items():
        spent = {key: 1e6 * np.array([run[key] for run in found]) for key in found[0]}  # [runs, rounds]
        least = {key: float(np.median(each.min(axis=0))) for key, each in spent.items()}
        once = {key: float(np.median(each, axis=1).min()) for key, each in spent.items()}
        training = 0, "train", "whole"
        for number, name in enumerate(POSTS, start=1):
            key = number, "dual", "whole"
            alone = least[number, "dual", "alone"]
            parts = least[key], alone, empty, least[key] - alone - empty
            told = " | ".join(f"{part:.0f} µs ({part / least[training]:.1%})" for part in parts)
            before = f"{once[key]:.0f} µs ({once[key] / once[training]:.1%})"
            print(f"| {label} | {least[training] / 1000:.2f} ms | {name} | {told} | {before} |")


if __name__ == "__main__":
    main()
