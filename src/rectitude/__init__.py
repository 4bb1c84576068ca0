"""Rectitude: recommenders that are trained, held to what they owe people, and served.

The one way through the house, each arrow a function here and a verb on the command line::

    dataset = rectitude.load("ml-100k")
    run = rectitude.fit(dataset, "sasrec", seed=1, out="runs/first")
    rectitude.evaluate(run).summary()["ndcg@10"]
    run.recommend(history=["50", "181"], k=5)

Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rectitude.core.about import __version__

if TYPE_CHECKING:
    from rectitude.data.dataset import Dataset
    from rectitude.data.readers import load
    from rectitude.data.split import Split, SplitConfig, split
    from rectitude.training.run import Run
    from rectitude.training.tuning import tune
    from rectitude.workflow import compare, evaluate, export, fit

__all__ = [
    "Dataset",
    "Run",
    "Split",
    "SplitConfig",
    "__version__",
    "compare",
    "evaluate",
    "export",
    "fit",
    "load",
    "split",
    "tune",
]

_ROOMS = {
    "Dataset": "rectitude.data.dataset",
    "load": "rectitude.data.readers",
    "Split": "rectitude.data.split",
    "SplitConfig": "rectitude.data.split",
    "split": "rectitude.data.split",
    "Run": "rectitude.training.run",
    "tune": "rectitude.training.tuning",
    "compare": "rectitude.workflow",
    "evaluate": "rectitude.workflow",
    "export": "rectitude.workflow",
    "fit": "rectitude.workflow",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'rectitude' has no attribute '{name}'")
    return getattr(import_module(_ROOMS[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_ROOMS])
