"""Frontiers of docs/systems/{fedfact,logofair,wassffed}.md, from the lines that benchmarks/federated.py writes.

python benchmarks/federated_charts.py --out ../federated.jsonl --write docs/systems/charts
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from federated import TASKS, read
from rectitude.federated.registry import find
from rectitude.reporting.chart import Axis
from rectitude.reporting.curves import Trade
from rectitude.reporting.tradeoffs import tradeoffs

RIVALS = ("fairfed", "fedfb", "qffl", "threshold-global", "threshold-local")
OWN = {"fedfact": ("fedfact-post", "fedfact-in"), "logofair": ("logofair",), "wassffed": ("wassffed",)}
GAPS = {"global_gap": "gap over all clients", "local_gap_max": "largest gap at a client"}


def spread(values: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """Mean and its 95 % t interval over the seeds."""
    mean, n = float(np.mean(values)), len(values)
    half = float(stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else 0.0
    return mean, (mean - half, mean + half)


def path(lines: Sequence[dict[str, Any]], method: str, gap: str) -> list[Trade]:
    """A method's points: tolerances on both sides, or the values of its dial; other settings are in the tables."""
    labels = list(dict.fromkeys(line["label"] for line in lines if line["method"] == method))
    if any(label.startswith("g&l ") for label in labels):
        labels = [label for label in labels if label.startswith("g&l ") and len(label.split()) == 2]
    points = []
    for label in labels:
        found = [line for line in lines if (line["method"], line["label"]) == (method, label) and "failed" not in line]
        if found:
            x, x_ends = spread([line[gap] for line in found])
            y, y_ends = spread([line["accuracy"] for line in found])
            points.append(Trade(label, x, y, (max(0.0, x_ends[0]), x_ends[1]), y_ends))
    return points


def draw(lines: Sequence[dict[str, Any]], page: str, task: str, alpha: float, gap: str) -> str:
    """One frontier as a complete SVG file."""
    some = [line for line in lines if (line["task"], line["alpha"]) == (task, alpha)]
    series = {find(name).title: path(some, name, gap) for name in (*OWN[page], *RIVALS)}
    series = {"FedAvg": path(some, "fedavg (base)", gap)} | {name: points for name, points in series.items() if points}
    own = series[find(OWN[page][0]).title]
    best = min(own, key=lambda point: point.x)
    base = series["FedAvg"][0]
    title = (
        f"{find(OWN[page][0]).title} brings the {GAPS[gap]} from {base.x:.3f} to {best.x:.3f} for "
        f"{100 * (base.y - best.y):.1f} points of accuracy"
    )
    about = (
        f"{task}, α = {alpha:g}, means of {TASKS[task].seeds} seeds on test rows; rods are 95 % intervals over seeds."
    )
    axes = Axis(f"{GAPS[gap]} in demographic parity", better="lower"), Axis("accuracy", better="higher")
    return tradeoffs(title, about, series, *axes, of="Method").standalone()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON lines of benchmarks/federated.py")
    parser.add_argument("--write", type=Path, required=True, help="folder of the pictures")
    given = parser.parse_args()
    lines = read(given.out)
    given.write.mkdir(parents=True, exist_ok=True)
    for page in OWN:
        for gap in GAPS if page != "wassffed" else ("global_gap",):
            side = "global" if gap == "global_gap" else "local"
            svg = draw(lines, page, "adult-dp", 0.5, gap)
            (given.write / f"{page}-adult-{side}.svg").write_text(svg + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
