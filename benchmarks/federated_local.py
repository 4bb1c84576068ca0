"""How large the local gaps of LoGoFair are on endless rows, and whose fault they are: many cuts of the same clients.

    python benchmarks/federated_local.py --out ../federated_local.jsonl --write docs/systems/logofair.md

A client's gap on its test rows is the gap its decision has on endless rows plus the sampling of the test rows, and the
former is the tolerance plus the sampling of the rows that were calibrated on. With d the signed gap, positive in the
direction of the base model's, over clients and cuts:

    mean of d² = (mean of d)² + variance by calibration + mean sampling variance of test rows,

the last of which is known. Rows are cut so that every part has the same shares of (group, class), so it is that of a
sample stratified by class, Σ_y s_y² r_y(1 − r_y)/(n_y − 1) for each group with shares s_y, rates r_y and n_y rows: less
than r(1 − r)/n. What is left of d² without it estimates the mean square of the gap on endless rows (of the client's own
shares of groups and classes) without bias. The largest of the clients' gaps on endless rows is that of normal draws
with the mean that was found and the variance by calibration, in proportion to that of each client's rows. Intervals are
over seeds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from federated_tools import run
from scipy import stats

from federated import Point, people_of, post
from rectitude.federated.clients import federation_of
from rectitude.federated.metrics import count_cells
from rectitude.federated.plan import Plan, Stage
from rectitude.federated.run import in_process, new_run_id

SEEDS, CUTS, CLIENTS = 5, 5, 5
PARTITIONS = ("dirichlet:0.5", "dirichlet:5", "dirichlet:100", "dirichlet:1:cell")
DELTAS = (0.01, 0.02, 0.04)
DRAWS = 20_000
FORMS: dict[str, dict[str, Any]] = {
    "as published": {},
    "training rows too": {"fit_on": "train+calibration"},
    "shrunk": {"pooling": "shrink"},
    "shrunk, training rows too": {"pooling": "shrink", "fit_on": "train+calibration"},
}


def points() -> Iterator[tuple[str, float, Point]]:
    """Form, tolerance and setting of everything that is measured."""
    for form, settings in FORMS.items():
        for delta in DELTAS:
            yield form, delta, post("logofair", (delta,), **settings)[0]


def measure(partition: str, seed: int, number: int) -> Iterator[dict[str, Any]]:
    """Test rows and accepted ones of each client by group and class, for every setting."""
    federation = federation_of(people_of("adult"), n_clients=CLIENTS, partition=partition, seed=seed, cut_number=number)
    wanted = list(points())
    stages = [Stage("fedavg"), *(Stage("logofair", {**p.settings, "criterion": "dp"}, 0, p.label) for *_, p in wanted)]
    plan = Plan(new_run_id(), federation.problem, tuple(stages), secure=False)
    done = in_process(plan, federation.clients)
    base = done.progress.shared(0)
    for stage, (form, delta, _) in enumerate((("base", 0.0, None), *wanted)):
        cells = []
        for client in federation.clients:
            X, y, a = client.test.X, client.test.y, client.test.a  # noqa: N806
            given = {"X": X, "a": a, "eta": plan.methods[0].probabilities({"X": X}, base, {})}
            own = done.personal[client.name][stage]
            chosen = plan.methods[stage].decide(given, done.progress.shared(stage), own, np.random.default_rng(seed))
            cells.append(count_cells(y, chosen, a, 2, 2).tolist())
        fitted = [np.bincount(client.calibration.a, minlength=2) for client in federation.clients]
        if FORMS.get(form, {}).get("fit_on"):
            fitted = [
                n + np.bincount(client.train.a, minlength=2)
                for n, client in zip(fitted, federation.clients, strict=True)
            ]
        yield {"form": form, "delta": delta, "cells": cells, "fitted": np.array(fitted).tolist()}


def signed_gaps(cells: Any) -> Any:
    """Rate of acceptance of the first group less that of the second, [..., N] from [..., N, group, class, decision]."""
    rates = cells[..., 1].sum(axis=-1) / cells.sum(axis=(-2, -1))
    return rates[..., 0] - rates[..., 1]


def summary(lines: Sequence[dict[str, Any]], before: Sequence[dict[str, Any]], delta: float) -> dict[str, Any]:
    """What all cuts of all seeds of one setting and partition come to, given the base model's lines of the same."""
    cells, base = (np.array([line["cells"] for line in some], float) for some in (lines, before))
    n = cells.sum(axis=-1)
    share, rate = n / n.sum(axis=-1, keepdims=True), cells[..., 1] / np.maximum(n, 1)
    seeds = np.array([line["seed"] for line in lines])
    gap = signed_gaps(cells) * np.sign(signed_gaps(base))
    by_group = (share**2 * rate * (1 - rate) / np.maximum(n - 1, 1)).sum(axis=-1)
    by_test = by_group.sum(axis=-1)
    total, mean, chance = float((gap**2).mean()), float(gap.mean()), float(by_test.mean())
    spread = max(float(gap.var()) - chance, 0.0)
    by_rows = (by_group * n.sum(axis=-1) / np.array([line["fitted"] for line in lines], float)).sum(axis=-1)
    drawn = np.random.default_rng(0).normal(size=(DRAWS // len(lines), *gap.shape))
    fair = np.abs(drawn * np.sqrt(by_test)).max(axis=-1)
    endless = np.abs(mean + drawn * np.sqrt(spread * by_rows / by_rows.mean())).max(axis=-1)
    everybody = cells.sum(axis=1)
    squares = np.array([((gap**2 - by_test)[seeds == seed]).mean() for seed in np.unique(seeds)])
    half = float(stats.t.ppf(0.975, len(squares) - 1) * squares.std(ddof=1) / np.sqrt(len(squares)))
    largest = np.abs(gap).max(axis=-1)
    return {
        "accuracy": float(np.mean(np.trace(everybody.sum(1), axis1=1, axis2=2) / everybody.sum((1, 2, 3)))),
        "global": float(np.abs(signed_gaps(everybody)).mean()),
        "test": float(largest.mean()),
        "rms": [float(np.sqrt(max(total - chance + way * half, 0.0))) for way in (0, -1, 1)],
        "shares": [part / total for part in (mean**2, spread, chance)],
        "fair": float(fair.mean()),
        "endless": float(endless.mean()),
        "within": [float((values <= 2 * delta).mean()) for values in (largest, fair, endless)],
    }


def table(lines: Sequence[dict[str, Any]]) -> str:
    """One row for each setting and partition."""
    heads = (
        *("rows", "δ", "partition", "accuracy", "global gap", "largest, test", "largest, test, if exactly fair"),
        *("largest, endless rows", "root mean square, endless rows (95 %)", "δ : calibration : test"),
        "within 2δ: test, if exactly fair, endless rows",
    )
    out = [f"| {' | '.join(heads)} |", "| --- | ---: | --- |" + " ---: |" * (len(heads) - 3)]
    for form, delta, _ in points():
        for partition in PARTITIONS:
            found = [r for r in lines if (r["form"], r["delta"], r["partition"]) == (form, delta, partition)]
            if not found:
                continue
            cuts = [(r["seed"], r["cut"]) for r in found]
            base = {(r["seed"], r["cut"]): r for r in lines if (r["form"], r["partition"]) == ("base", partition)}
            s = summary(found, [base[cut] for cut in cuts], delta)
            numbers = " | ".join(f"{s[key]:.4f}" for key in ("accuracy", "global", "test", "fair", "endless"))
            rms = "{:.4f} ({:.4f} to {:.4f})".format(*s["rms"])
            shares = " : ".join(f"{100 * part:.0f}" for part in s["shares"])
            within = ", ".join(f"{part:.0%}" for part in s["within"])
            out.append(f"| {form} | {delta:g} | {partition} | {numbers} | {rms} | {shares} | {within} |")
    return "\n".join(out)


if __name__ == "__main__":
    wanted = ((split, seed, number) for number in range(CUTS) for seed in range(SEEDS) for split in PARTITIONS)
    run(str(__doc__), ("partition", "seed", "cut"), wanted, measure, table, "local")
