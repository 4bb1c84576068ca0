"""What FedFACT-Post's tolerance costs on Adult, and what it costs anybody: optima on the same probabilities.

    python benchmarks/federated_price.py --out ../federated_price.jsonl --write docs/systems/fedfact.md

Beside FedFACT-Post at ξ = 0.01 stand, on the same base model: the linear programme on the pooled calibration rows
(SciPy, HiGHS) and fairlearn's ThresholdOptimizer on them, both with the gap between two groups that ξ allows; and two
linear programmes on the *test rows and their labels*, which no method can beat that accepts higher scores first: at
FedFACT-Post's own gap on the test rows, and at a gap of 0.02.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from federated_tools import run

from federated import people_of
from rectitude.federated.clients import federation_of
from rectitude.federated.methods.thresholds import accept_by_bin, bin_of
from rectitude.federated.metrics import accuracy, global_gap
from rectitude.federated.plan import Plan, Stage
from rectitude.federated.run import in_process, new_run_id

SEEDS, XI, AIM, BINS = 5, 0.01, 0.02, 1000
ALPHAS = (0.5, 5.0, 100.0)
BASES: dict[str, tuple[str, dict[str, Any]]] = {
    "logistic, standard": ("standard", {}),
    "logistic, min–max": ("minmax", {}),
    "64 hidden, standard": ("standard", {"hidden": [64]}),
    "64 hidden, min–max": ("minmax", {"hidden": [64]}),
}
POSTS = {
    "FedFACT-Post g": {"local_tolerance": None},
    "FedFACT-Post g&l": {"local_tolerance": XI},
    "FedFACT-Post g, training rows too": {"local_tolerance": None, "fit_on": "train+calibration"},
    "FedFACT-Post g, uncalibrated": {"local_tolerance": None, "calibration": "none"},
}
OWN = "FedFACT-Post g"
ROWS = (
    *POSTS,
    "pooled, linear programme",
    "pooled, fairlearn",
    "hindsight, same gap",
    "hindsight, gap 0.02",
)


def histogram(scores: Any, y: Any, a: Any) -> Any:
    """Rows by group, class and bin, [2, 2, B]."""
    counts = np.zeros((2, 2, BINS))
    np.add.at(counts, (a, y, bin_of(scores, BINS)), 1.0)
    return counts


def outcome(accept: Any, counts: Any) -> tuple[float, float]:
    """Expected accuracy and gap of an acceptance by group and bin."""
    right = (accept * counts[:, 1] + (1 - accept) * counts[:, 0]).sum() / counts.sum()
    rates = (accept * counts.sum(1)).sum(1) / counts.sum((1, 2))
    return float(right), float(abs(rates[0] - rates[1]))


def by_fairlearn(fitted: tuple[Any, Any, Any], judged: tuple[Any, Any, Any], tolerance: float) -> tuple[float, float]:
    """Accuracy and gap of fairlearn's thresholds."""
    from fairlearn.postprocessing import ThresholdOptimizer
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Scores(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
        def fit(self, X: Any, y: Any) -> Any:  # noqa: N803
            self.classes_ = np.unique(y)
            return self

        def predict_proba(self, X: Any) -> Any:  # noqa: N803
            scores = np.asarray(X)[:, 0]
            return np.stack([1 - scores, scores], axis=1)

    scores, y, a = fitted
    made = ThresholdOptimizer(
        estimator=Scores().fit(scores[:, None], y),
        constraints="demographic_parity",
        prefit=True,
        predict_method="predict_proba",
        tol=tolerance,
    )
    made.fit(scores[:, None], y, sensitive_features=a)
    scores, y, a = judged
    chance = np.asarray(made._pmf_predict(scores[:, None], sensitive_features=a))[:, 1]  # no need to draw
    rates = [float(chance[a == group].mean()) for group in (0, 1)]
    return float(np.where(y == 1, chance, 1 - chance).mean()), abs(rates[0] - rates[1])


def measure(base: str, alpha: float, seed: int) -> Iterator[dict[str, Any]]:
    """Accuracy and global gap on the test rows of FedAvg, of FedFACT-Post, and of the optima."""
    scaling, settings = BASES[base]
    federation = federation_of(people_of("adult"), partition=f"dirichlet:{alpha:g}", scaling=scaling, seed=seed)
    shared = {"criterion": "dp", "global_tolerance": XI}
    stages = (Stage("fedavg", settings), *(Stage("fedfact-post", shared | own, 0, name) for name, own in POSTS.items()))
    plan = Plan(new_run_id(), federation.problem, stages, secure=False)
    progress = in_process(plan, federation.clients).progress
    own_gap = 0.0
    for number, name in enumerate(("FedAvg", *POSTS)):
        cells = progress.evaluation(number, "test").cells
        gap = global_gap(cells, "dp")
        own_gap = gap if name == OWN else own_gap
        yield {"row": name, "accuracy": accuracy(cells), "gap": gap}
    parts = {}
    for part in ("calibration", "test"):
        rows = [getattr(client, part) for client in federation.clients]
        X, y, a = (np.concatenate([getattr(r, name) for r in rows]) for name in ("X", "y", "a"))  # noqa: N806
        eta = plan.methods[0].probabilities({"X": X}, progress.shared(0), {})
        parts[part] = np.asarray(eta)[:, 1], y, a
    counts = {part: histogram(*rows) for part, rows in parts.items()}
    share = counts["calibration"].sum((1, 2))
    allowed = XI * share.sum() / share.max()  # between two groups, where each may be ξ from all
    made = {
        "pooled, linear programme": outcome(accept_by_bin(counts["calibration"], "dp", allowed), counts["test"]),
        "pooled, fairlearn": by_fairlearn(parts["calibration"], parts["test"], allowed),
        "hindsight, same gap": outcome(accept_by_bin(counts["test"], "dp", own_gap), counts["test"]),
        "hindsight, gap 0.02": outcome(accept_by_bin(counts["test"], "dp", AIM), counts["test"]),
    }
    for name, (right, gap) in made.items():
        yield {"row": name, "accuracy": right, "gap": gap}


def table(lines: Sequence[dict[str, Any]]) -> str:
    """Accuracy lost against FedAvg of the same seed, and gap, by concentration."""
    out = [f"| base | | {' | '.join(f'α={alpha:g}' for alpha in ALPHAS)} |", "| --- | --- |" + " --- |" * len(ALPHAS)]
    for base in BASES:
        found = {(r["alpha"], r["seed"], r["row"]): r for r in lines if r["base"] == base}
        for row in ("FedAvg", *ROWS):
            written = []
            for alpha in ALPHAS:
                pairs = [
                    (found[alpha, seed, row], found[alpha, seed, "FedAvg"])
                    for seed in range(SEEDS)
                    if (alpha, seed, row) in found
                ]
                first = np.array([one["accuracy"] for one, _ in pairs])
                lost = first if row == "FedAvg" else np.array([b["accuracy"] for _, b in pairs]) - first
                gap = np.array([one["gap"] for one, _ in pairs])
                written.append(f"{lost.mean():.4f}±{lost.std():.4f} / {gap.mean():.4f}" if pairs else "–")
            out.append(f"| {base} | {row if row != 'FedAvg' else '*FedAvg: accuracy / gap*'} | {' | '.join(written)} |")
    return "\n".join(out)


if __name__ == "__main__":
    cells = ((base, alpha, seed) for seed in range(SEEDS) for base in BASES for alpha in ALPHAS)
    run(str(__doc__), ("base", "alpha", "seed"), cells, measure, table, "price")
