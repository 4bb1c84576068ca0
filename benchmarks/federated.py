"""Accuracy against fairness in a federation: three calibrators and the baselines, on the same clients.

    python benchmarks/federated.py --out ../federated.jsonl                       # the default grid
    python benchmarks/federated.py --out ../federated.jsonl --only adult-dp       # one task
    python benchmarks/federated.py --out ../federated.jsonl --write docs/systems  # tables of the pages

One process, one thread. Every point is one JSON line; what the file holds is not computed again, so that an
interrupted grid goes on where it stopped. Data is looked for under RECTITUDE_DATA. Methods that decide on a base model
share one: FedAvg on the training rows, calibrators and duals on the calibration rows. Methods that train have both
kinds of rows to learn from. Nothing is chosen by what the test rows say: every setting of every dial is in the tables.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

SEEDS = 5
SIDES = {"g": (True, False), "l": (False, True), "g&l": (True, True)}


@dataclass(frozen=True)
class Point:
    """One setting of one method."""

    method: str
    label: str
    settings: dict[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Task:
    """Data, criterion, clients, and what is run on them."""

    data: str
    criterion: str
    alphas: tuple[float, ...]
    n_clients: int
    points: tuple[Point, ...]
    seeds: int = SEEDS
    scaling: str = "standard"


def post(method: str, tolerances: Sequence[float], sides: Sequence[str] = ("g&l",), **settings: Any) -> list[Point]:
    """A post-processing method (or FedFACT-In) at several tolerances, global, local or both."""
    points = []
    for side in sides:
        for tolerance in tolerances:
            both = (tolerance if on else None for on in SIDES[side])
            chosen = dict(zip(("global_tolerance", "local_tolerance"), both, strict=True)) | settings
            extra = "".join(f" {key}={value}" for key, value in settings.items())
            points.append(Point(method, f"{side} {tolerance:g}{extra}", chosen))
    return points


def dial(method: str, name: str, values: Sequence[float]) -> list[Point]:
    """A method at several values of one setting."""
    return [Point(method, f"{name}={value:g}", {name: value}) for value in values]


TOLERANCES = (0.0, 0.01, 0.02, 0.04, 0.08)
BASELINES = (Point("fairfed", ""), Point("qffl", ""), Point("fedprox", ""))
LEARNT = (*dial("wassffed", "alpha", (0.7, 0.5, 0.3)), *dial("fedfb", "rate", (0.01, 0.03, 0.1)))
BINARY = (
    *(Point("fedavg", ""), *BASELINES),
    *post("threshold-global", TOLERANCES, ("g",)),
    *post("threshold-local", TOLERANCES, ("l",)),
    *post("logofair", TOLERANCES),
    *post("logofair", (0.01, 0.02), ("g", "l")),
    *post("fedfact-post", TOLERANCES),
    *post("fedfact-post", (0.01,), ("g", "l")),
    *post("fedfact-post", (0.01,), form="pairwise"),
    *post("fedfact-post", (0.01,), fit_on="train+calibration"),
    *post("logofair", (0.01, 0.02), fit_on="train+calibration"),
    *post("logofair", (0.01, 0.02), pooling="shrink"),
    *post("fedfact-in", (0.01, 0.04)),
    *LEARNT,
)
MULTI = (
    *(Point("fedavg", ""), *BASELINES),
    *post("fedfact-post", TOLERANCES),
    *post("fedfact-post", (0.01,), ("g", "l")),
    *post("fedfact-in", (0.01, 0.04)),
    *LEARNT,
)
ODDS = (
    Point("fedavg", ""),
    *post("threshold-global", (0.02,), ("g",)),
    *post("logofair", (0.0, 0.02, 0.04)),
    *post("logofair", (0.02,), ("g", "l")),
    *post("fedfact-post", (0.0, 0.02, 0.04)),
    *post("fedfact-in", (0.02,)),
    *dial("wassffed", "alpha", (0.5,)),
    *dial("fedfb", "rate", (0.03,)),
)
AS_PUBLISHED = (
    Point("fedavg", ""),
    *post("fedfact-post", (0.01,), ("g", "l", "g&l")),
    *post("logofair", (0.01, 0.02, 0.04), ("g&l",)),
)
TASKS = {
    "adult-dp": Task("adult", "dp", (0.5, 5.0, 100.0), 5, BINARY),
    "adult-minmax-dp": Task("adult", "dp", (0.5, 5.0, 100.0), 5, AS_PUBLISHED, scaling="minmax"),
    "adult-eo": Task("adult", "eo", (0.5, 5.0, 100.0), 5, ODDS),
    "compas-dp": Task("compas", "dp", (0.5, 5.0, 100.0), 2, BINARY),
    "nursery-dp": Task("nursery", "dp", (0.5,), 5, MULTI),
    "celeba-4-dp": Task("celeba-4", "dp", (0.5,), 5, MULTI),
    "health-dp": Task("health", "dp", (0.5,), 20, BINARY, seeds=1),
}


def people_of(name: str) -> Any:
    """The table of a task."""
    from rectitude.federated.tables import read_people

    if name != "celeba-4":
        return read_people(name)
    import polars as pl

    frame = pl.read_parquet(Path(os.environ["RECTITUDE_DATA"]) / "celeba-attributes" / "data.parquet")
    frame = frame.sample(30_000, seed=0)
    both = pl.format("smiling={} big_nose={}", "Smiling", "Big_Nose").alias("label")
    frame = frame.with_columns(both).drop("image_id", "Smiling", "Big_Nose")
    return read_people(frame, label="label", attribute="Male")


def cells(wanted: Sequence[str]) -> Iterator[tuple[str, float, int]]:
    """Task, concentration and seed of every federation; a seed of everything before the next."""
    for name in wanted:
        for seed in range(TASKS[name].seeds):
            for alpha in TASKS[name].alphas:
                yield name, alpha, seed


def run_cell(name: str, alpha: float, seed: int, done: set[tuple[Any, ...]], out: Path) -> None:
    """All points of one federation that are not there yet."""
    from rectitude.federated.clients import federation_of
    from rectitude.federated.plan import Stage
    from rectitude.federated.registry import find

    task = TASKS[name]
    todo = [point for point in task.points if (name, alpha, seed, point.method, point.label) not in done]
    if not todo:
        return
    federation = federation_of(
        people_of(task.data),
        n_clients=task.n_clients,
        partition=f"dirichlet:{alpha:g}",
        scaling=task.scaling,
        seed=seed,
    )
    deciding = [point for point in todo if find(point.method).stage == "post"]
    groups: list[tuple[list[Stage], list[Point | None]]] = []
    if deciding:
        stages = [Stage("fedavg"), *(Stage(p.method, settings_of(p, task), 0, p.label) for p in deciding)]
        groups.append((stages, [None, *deciding]))
    groups += [([Stage(p.method, settings_of(p, task))], [p]) for p in todo if p not in deciding]
    for stages, points in groups:
        for line in measure(federation, stages, points, task):
            line = {"task": name, "alpha": alpha, "seed": seed, **line}
            with out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def settings_of(point: Point, task: Task) -> dict[str, Any]:
    """The point's settings, with the task's criterion where the method has one."""
    from rectitude.federated.registry import find

    takes = "criterion" in find(point.method).Config.model_fields
    return point.settings | ({"criterion": task.criterion} if takes else {})


def measure(
    federation: Any, stages: Sequence[Any], points: Sequence[Point | None], task: Task
) -> Iterator[dict[str, Any]]:
    """Carry out a plan and tell what each of its stages came to on the test rows."""
    import numpy as np

    from rectitude.core.errors import RectitudeError
    from rectitude.federated.metrics import accuracy, global_gap
    from rectitude.federated.plan import Plan
    from rectitude.federated.run import in_process, new_run_id

    plan = Plan(new_run_id(), federation.problem, tuple(stages), criterion=task.criterion)
    try:
        progress = in_process(plan, federation.clients).progress
    except RectitudeError as error:
        for point in points:
            if point is not None:
                yield {"method": point.method, "label": point.label, "failed": str(error)}
        return
    for number, (point, stage) in enumerate(zip(points, stages, strict=True)):
        seen = progress.evaluation(number, "test")
        rows = [row for row in progress.traffic if row.stage == number]
        yield {
            "method": stage.method if point is not None else "fedavg (base)",
            "label": point.label if point is not None else "",
            "accuracy": accuracy(seen.cells),
            "global_gap": global_gap(seen.cells, task.criterion),
            "subgroup_gap": global_gap(seen.cells, task.criterion, "subgroup"),
            "local_gap_max": float(np.nanmax(seen.local)),
            "local_gap_mean": float(np.nanmean(seen.local)),
            "rounds": max((row.round for row in rows), default=0),
            "bytes_up": sum(row.up for row in rows),
            "bytes_down": sum(row.down for row in rows),
            "client_cpu": sum(row.client_cpu for row in rows),
        }


def read(out: Path) -> list[dict[str, Any]]:
    """Lines of the file, the last of each point."""
    if not out.exists():
        return []
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    kept = {(line["task"], line["alpha"], line["seed"], line["method"], line["label"]): line for line in lines}
    return list(kept.values())


def table(lines: Sequence[dict[str, Any]], task: str, labels: Sequence[tuple[str, str]]) -> str:
    """Accuracy, largest local gap and global gap over the seeds, by concentration."""
    import numpy as np

    found: dict[tuple[str, str, float], list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        if line["task"] == task and "failed" not in line:
            found[line["method"], line["label"], line["alpha"]].append(line)
    alphas = sorted({alpha for *_, alpha in found})
    out = ["| method | setting | " + " | ".join(f"α={alpha:g}" for alpha in alphas) + " |"]
    out.append("| --- | --- |" + " --- |" * len(alphas))
    for method, label in labels:
        row = []
        for alpha in alphas:
            several = found.get((method, label, alpha), [])
            means = []
            for key in ("accuracy", "local_gap_max", "global_gap") if several else ():
                values = [line[key] for line in several]
                means.append(f"{np.mean(values):.4f}" + (f"±{np.std(values):.4f}" if len(values) > 1 else ""))
            row.append(" / ".join(means).replace("0.", ".") or "–")
        out.append(f"| `{method}` | {label or '–'} | " + " | ".join(row) + " |")
    return "\n".join(out)


def write(lines: Sequence[dict[str, Any]], folder: Path) -> None:
    """Put tables between ``<!-- table TASK METHODS -->`` and ``<!-- end -->`` of every page of a folder.

    METHODS is a comma-separated list of method names; all settings of a method are shown.
    """

    def fill(match: re.Match[str]) -> str:
        task, methods = match["task"], match["methods"].split(",")
        known = dict.fromkeys((point.method, point.label) for point in TASKS[task].points)
        labels = [("fedavg (base)", ""), *known]
        wanted = [pair for method in methods for pair in labels if pair[0].split(" ")[0] == method]
        return f"{match['head']}\n\n{table(lines, task, wanted)}\n\n<!-- end -->"

    marked = r"(?P<head><!-- table (?P<task>\S+) (?P<methods>\S+) -->)\n.*?<!-- end -->"
    for page in sorted(folder.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        filled = re.sub(marked, fill, text, flags=re.DOTALL)
        if filled != text:
            page.write_text(filled, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="file of JSON lines, added to")
    parser.add_argument("--only", action="append", choices=sorted(TASKS), help="tasks; all where omitted")
    parser.add_argument("--write", type=Path, help="folder of pages whose tables are to be filled in; nothing is run")
    arguments = parser.parse_args()
    if arguments.write:
        write(read(arguments.out), arguments.write)
        return
    done = {(line["task"], line["alpha"], line["seed"], line["method"], line["label"]) for line in read(arguments.out)}
    for name, alpha, seed in cells(arguments.only or list(TASKS)):
        began = time.process_time()
        run_cell(name, alpha, seed, done, arguments.out)
        print(f"{name} α={alpha:g} seed {seed}: {time.process_time() - began:.1f} CPU s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
