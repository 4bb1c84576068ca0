"""A training method of one's own: a plug-in that works on any model trained by gradient.

This one penalises long item vectors of popular items, the simplest way to keep a model from shouting the charts, and
prints what it costs and what it changes.

    python examples/training_method.py --weight 0.01
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from torch import Tensor

import rectitude
from rectitude.models.base import Recommender
from rectitude.training.methods import Method


class QuietCharts(Method):
    """Adds weight · Σ_i p(i) · |v_i|² to the loss, p(i) being item i's share of the training data.

    Args:
        weight: Of the penalty.
    """

    name = "quiet-charts"

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def extra_loss(self, batch: Any, model: Recommender) -> dict[str, Tensor]:
        """One more named term; the trainer adds it and the learning curve shows it."""
        share = model.popularity / model.popularity.sum()
        return {"quiet_charts": self.weight * (share @ model.item_vectors().square().sum(dim=1))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default="ml-100k")
    parser.add_argument("--weight", type=float, default=0.1)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--out", type=Path, default=Path("runs/method"))
    arguments = parser.parse_args()

    data = rectitude.load(arguments.data)
    for name, methods in (("plain", []), ("quiet", [QuietCharts(arguments.weight)])):
        run = rectitude.fit(
            data,
            "sasrec",
            settings={"epochs": arguments.epochs},
            seed=1,
            methods=methods,
            out=arguments.out / name,
            overwrite=True,
        )
        found = rectitude.evaluate(run, "valid").summary()
        told = ", ".join(
            f"{metric} {found[metric].value:.4f}" for metric in ("ndcg@10", "coverage@10", "tail_share@10")
        )
        print(f"{name}: {told}")


if __name__ == "__main__":
    main()
