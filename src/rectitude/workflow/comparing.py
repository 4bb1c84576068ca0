"""``compare``: several runs on the same questions, with intervals and paired tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rectitude.core.errors import ConfigError
from rectitude.evaluation.evaluator import Evaluation
from rectitude.evaluation.significance import Comparison
from rectitude.evaluation.significance import compare as compare_evaluations
from rectitude.evaluation.store import read_evaluation
from rectitude.training.run import Run
from rectitude.workflow.judging import FoldName, evaluate, evaluation_file

DEFAULT_METRICS = ("ndcg@10", "recall@10", "mrr@10")


def compare(
    runs: Sequence[Run | str | Path],
    *,
    fold: FoldName = "test",
    metrics: Sequence[str] = DEFAULT_METRICS,
    baseline: str | None = None,
    announce: Callable[[str], None] | None = None,
) -> Comparison:
    """Compare runs on the same people, person by person.

    A run that has not been judged on the fold yet is judged first.

    Args:
        runs: Runs or their folders.
        fold: ``test`` or ``valid``.
        metrics: Compared; each with paired tests, corrected by Holm over metrics and pairs.
        baseline: Name of the run all others are compared with; every pair if None.
        announce: Called when a run has to be judged first.

    Raises:
        ConfigError: Fewer than two runs, or two of the same name.
        RunError: A run cannot be read.
        RectitudeError: The runs were not judged on the same questions; says which part of the stamp differs.
    """
    loaded = [run if isinstance(run, Run) else Run.load(run) for run in runs]
    if len(loaded) < 2:
        raise ConfigError("A comparison needs at least two runs", fix="Name two run folders")
    names = _names(loaded)
    evaluations: dict[str, Evaluation] = {}
    for name, run in zip(names, loaded, strict=True):
        path = evaluation_file(run, fold)
        if path.exists():
            evaluations[name] = read_evaluation(path)
            continue
        if announce is not None:
            announce(f"{name} has not been judged on the {fold} fold yet; doing it now")
        evaluations[name] = evaluate(run, fold)
    if baseline is not None and baseline not in evaluations:
        baseline = next((n for n, run in zip(names, loaded, strict=True) if str(run.path) == baseline), baseline)
    return compare_evaluations(evaluations, list(metrics), baseline=baseline)


def _names(runs: list[Run]) -> list[str]:
    short = [run.name for run in runs]
    names = short if len(set(short)) == len(short) else [str(run.path) for run in runs]
    if len(set(names)) != len(names):
        raise ConfigError("The same run is named twice", fix="Name each run once")
    return names
