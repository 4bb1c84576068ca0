"""How large the local gaps of LoGoFair are on endless rows, and whose fault they are: many cuts of the same clients.

    python benchmarks/federated_local.py --out ../federated_local.jsonl --write docs/systems/logofair.md

A client's gap on its test rows is the gap its decision has on endless rows plus the sampling of the test rows, and the
former is the tolerance plus the sampling of the rows that were calibrated on. With d the signed gap, positive in the
direction of the base model's, over clients and cuts:

    mean of d² = (mean of d)² + variance by calibration + mean sampling variance of test rows,

the last of which is known: r(1 − r)/(n − 1) of each group. What is left of d² without it estimates the mean square of
the gap on endless rows without bias. The largest of the clients' gaps on endless rows is then that of normal draws with
the mean that was found and a variance proportional to that of the rows calibrated on. Intervals: over seeds.
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
from rectitude.federated.plan import Plan, Stage
from rectitude.federated.run import in_process, new_run_id

SEEDS, CUTS, CLIENTS = 5, 8, 5
ALPHAS = (0.5, 5.0, 100.0)
DELTAS = (0.0, 0.01, 0.02, 0.04)
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


def measure(alpha: float, seed: int, number: int) -> Iterator[dict[str, Any]]:
    """Rows and accepted rows of each client and group on its test rows, for every setting."""
    federation = federation_of(
        people_of("adult"), n_clients=CLIENTS, partition=f"dirichlet:{alpha:g}", seed=seed, cut_number=number
    )
    wanted = list(points())
    stages = [Stage("fedavg"), *(Stage("logofair", {**p.settings, "criterion": "dp"}, 0, p.label) for *_, p in wanted)]
    plan = Plan(new_run_id(), federation.problem, tuple(stages), secure=False)
    done = in_process(plan, federation.clients)
    base = done.progress.shared(0)
    for stage, (form, delta, _) in enumerate((("base", 0.0, None), *wanted)):
        rows, accepted, right = [], [], 0
        for client in federation.clients:
            X, y, a = client.test.X, client.test.y, client.test.a  # noqa: N806
            given = {"X": X, "a": a, "eta": plan.methods[0].probabilities({"X": X}, base, {})}
            own = done.personal[client.name][stage]
            chosen = plan.methods[stage].decide(given, done.progress.shared(stage), own, np.random.default_rng(seed))
            rows.append(np.bincount(a, minlength=2).tolist())
            accepted.append(np.bincount(a, chosen, minlength=2).tolist())
            right += int((chosen == y).sum())
        fitted = [np.bincount(client.calibration.a, minlength=2) for client in federation.clients]
        if FORMS.get(form, {}).get("fit_on"):
            fitted = [
                n + np.bincount(client.train.a, minlength=2)
                for n, client in zip(fitted, federation.clients, strict=True)
            ]
        yield {
            "form": form,
            "delta": delta,
            "rows": rows,
            "accepted": accepted,
            "fitted": np.array(fitted).tolist(),
            "accuracy": right / sum(map(sum, rows)),
        }


def summary(lines: Sequence[dict[str, Any]], delta: float) -> dict[str, Any]:
    """What all cuts of all seeds of one setting and concentration come to."""
    n = np.array([line["rows"] for line in lines], float)  # [runs, N, 2]
    rate = np.array([line["accepted"] for line in lines]) / n
    fitted = np.array([line["fitted"] for line in lines], float)
    seeds = np.array([line["seed"] for line in lines])
    gap = rate[..., 0] - rate[..., 1]  # of men less that of women, as the base model's
    by_test = (rate * (1 - rate) / (n - 1)).sum(axis=-1)
    total, mean, chance = float((gap**2).mean()), float(gap.mean()), float(by_test.mean())
    spread = max(float(gap.var()) - chance, 0.0)
    by_rows = (rate * (1 - rate) / fitted).sum(axis=-1)
    drawn = np.random.default_rng(0).normal(size=(DRAWS // len(lines), *gap.shape))
    endless = np.abs(mean + drawn * np.sqrt(spread * by_rows / by_rows.mean())).max(axis=-1)
    together = (np.array([line["accepted"] for line in lines]).sum(1) / n.sum(1)) @ np.array([1.0, -1.0])
    squares = np.array([((gap**2 - by_test)[seeds == seed]).mean() for seed in np.unique(seeds)])
    half = float(stats.t.ppf(0.975, len(squares) - 1) * squares.std(ddof=1) / np.sqrt(len(squares)))
    largest = np.abs(gap).max(axis=-1)
    return {
        "accuracy": float(np.mean([line["accuracy"] for line in lines])),
        "global": float(np.abs(together).mean()),
        "test": float(largest.mean()),
        "rms": [float(np.sqrt(max(total - chance + way * half, 0.0))) for way in (0, -1, 1)],
        "shares": [part / total for part in (mean**2, spread, chance)],
        "endless": float(endless.mean()),
        "within": [float((values <= 2 * delta).mean()) for values in (largest, endless)],
    }


def table(lines: Sequence[dict[str, Any]]) -> str:
    """One row for each setting and concentration."""
    heads = (
        *("rows", "δ", "α", "accuracy", "global gap", "largest local gap, test", "largest, endless rows"),
        *("root mean square, endless rows (95 %)", "δ : calibration : test", "largest ≤ 2δ, test", "endless"),
    )
    out = [f"| {' | '.join(heads)} |", "| --- |" + " ---: |" * (len(heads) - 1)]
    for form, delta, _ in points():
        for alpha in ALPHAS:
            found = [r for r in lines if (r["form"], r["delta"], r["alpha"]) == (form, delta, alpha)]
            if not found:
                continue
            s = summary(found, delta)
            within = [f"{part:.0%}" if delta else "–" for part in s["within"]]
            rms = "{:.4f} ({:.4f} to {:.4f})".format(*s["rms"])
            shares = " : ".join(f"{100 * part:.0f}" for part in s["shares"])
            out.append(
                f"| {form} | {delta:g} | {alpha:g} | {s['accuracy']:.4f} | {s['global']:.4f} | {s['test']:.4f} | "
                f"{s['endless']:.4f} | {rms} | {shares} | {within[0]} | {within[1]} |"
            )
    return "\n".join(out)


if __name__ == "__main__":
    cells = ((alpha, seed, number) for number in range(CUTS) for seed in range(SEEDS) for alpha in ALPHAS)
    run(str(__doc__), ("alpha", "seed", "cut"), cells, measure, table, "local")
