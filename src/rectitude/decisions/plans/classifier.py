"""Calibrated classifiers: logistic regression, forest and boosted trees, chosen and judged by nested CV."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_expit

from rectitude.core.config import Settings
from rectitude.core.errors import DataError, MissingExtraError
from rectitude.decisions.plans.score import NO_TREES, Score, from_forest, from_lightgbm

Family = Literal["logistic", "forest", "boosted"]


class Candidate(Settings):
    """A kind of classifier with its settings."""

    family: Family
    """logistic, forest or boosted."""
    n_trees: int = 100
    """Trees of a forest or of boosting (100–300)."""
    depth: int = 3
    """Splits from root to leaf at most (3–6)."""
    learning_rate: float = 0.05
    """Of boosting (0.03–0.1)."""
    min_leaf: int = 40
    """People in a leaf at least; less where the table is small."""
    penalty: float = 1.0
    """L2 of a logistic regression on standardised columns (0.1–10)."""

    @property
    def words(self) -> str:
        """For tables."""
        if self.family == "logistic":
            return "logistic regression"
        return f"{'forest' if self.family == 'forest' else 'boosted trees'} {self.n_trees}×{self.depth}"


CANDIDATES = (
    Candidate(family="logistic"),
    Candidate(family="boosted", n_trees=100, depth=3),
    Candidate(family="forest", n_trees=200, depth=5, min_leaf=10),
    Candidate(family="boosted", n_trees=200, depth=4),
)
"""From simple to complex; the first within one standard error of the best is taken."""


def fit_score(candidate: Candidate, x: np.ndarray, y: np.ndarray, *, monotone: np.ndarray, seed: int) -> Score:
    """Train one classifier.

    Args:
        candidate: What to train.
        x: Encoded table, float64 [n, columns].
        y: 1 for the good outcome, [n].
        monotone: +1, −1 or 0 per column: which way it must act, [columns].
        seed: Of what is random.

    Returns:
        A score that is not calibrated yet.

    Raises:
        MissingExtraError: LightGBM or scikit-learn is not installed.
    """
    if candidate.family == "logistic":
        return _fit_logistic(candidate, x, y, monotone)
    if candidate.family == "forest":
        return _fit_forest(candidate, x, y, monotone, seed)
    return _fit_boosted(candidate, x, y, monotone, seed)


def _fit_logistic(candidate: Candidate, x: np.ndarray, y: np.ndarray, monotone: np.ndarray) -> Score:
    """L2 logistic regression on standardised columns, with the signs that are agreed as bounds."""
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    constant = deviation < 1e-12
    deviation = np.where(constant, 1.0, deviation)
    z, sign = (x - mean) / deviation, 2.0 * y - 1.0

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        weights, margin = parameters[1:], sign * (parameters[0] + z @ parameters[1:])
        pull = -sign * expit(-margin)
        gradient = np.concatenate([[pull.sum()], z.T @ pull + candidate.penalty * weights])
        return float(-log_expit(margin).sum() + candidate.penalty * weights @ weights / 2), gradient

    ends = [(0.0, 0.0) if still else {1: (0.0, None), -1: (None, 0.0), 0: (None, None)}[int(way)]
            for still, way in zip(constant, monotone, strict=True)]  # fmt: skip
    start = np.zeros(1 + x.shape[1])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(None, None), *ends],
                     options={"maxiter": 2000, "ftol": 1e-12, "gtol": 1e-7})  # fmt: skip
    weights = found.x[1:] / deviation
    return Score(float(found.x[0] - weights @ mean), weights, NO_TREES)


def _fit_forest(candidate: Candidate, x: np.ndarray, y: np.ndarray, monotone: np.ndarray, seed: int) -> Score:
    try:
        from sklearn.ensemble import RandomForestClassifier
    except ImportError as error:
        raise MissingExtraError("sklearn", "plan", "A forest") from error
    forest = RandomForestClassifier(
        n_estimators=candidate.n_trees,
        max_depth=candidate.depth,
        min_samples_leaf=_leaf(candidate, len(y)),
        monotonic_cst=monotone if monotone.any() else None,
        random_state=seed,
        n_jobs=1,
    )
    forest.fit(x.astype(np.float32), y)
    return from_forest(forest.estimators_, x.shape[1])


def _fit_boosted(candidate: Candidate, x: np.ndarray, y: np.ndarray, monotone: np.ndarray, seed: int) -> Score:
    try:
        import lightgbm
    except ImportError as error:
        raise MissingExtraError("lightgbm", "plan", "Boosted trees") from error
    settings: dict[str, Any] = {
        "objective": "binary",
        "max_depth": candidate.depth,
        "num_leaves": 2**candidate.depth,
        "learning_rate": candidate.learning_rate,
        "min_data_in_leaf": _leaf(candidate, len(y)),
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "feature_fraction": 0.8,
        "use_missing": False,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }
    if monotone.any():
        settings |= {"monotone_constraints": monotone.tolist(), "monotone_constraints_method": "intermediate"}
    data = lightgbm.Dataset(x, y, params={"verbosity": -1, "min_data_in_bin": 1})
    booster = lightgbm.train(settings, data, num_boost_round=candidate.n_trees)
    return from_lightgbm(booster.dump_model(), x.shape[1])


def _leaf(candidate: Candidate, n_rows: int) -> int:
    return max(1, min(candidate.min_leaf, n_rows // 20))


def platt(scores: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope and shift that turn scores of held-out people into log-odds.

    Source: Platt (1999), with his targets (N₊+1)/(N₊+2) and 1/(N₋+2).

    Raises:
        DataError: The scores point the wrong way: the answers do not predict the outcome.
    """
    n_good, n_poor = float(y.sum()), float(len(y) - y.sum())
    aim = np.where(y == 1, (n_good + 1) / (n_good + 2), 1 / (n_poor + 2))
    centre, spread = float(scores.mean()), float(scores.std()) or 1.0
    z = (scores - centre) / spread

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        odds = parameters[0] * z + parameters[1]
        off = expit(odds) - aim
        return float(-(aim * log_expit(odds) + (1 - aim) * log_expit(-odds)).sum()), np.array([off @ z, off.sum()])

    slope, shift = minimize(loss, np.zeros(2), jac=True, method="BFGS", options={"gtol": 1e-8}).x
    if slope <= 0:
        raise DataError(
            "The answers do not predict the outcome: for people held out the score points the wrong way",
            fix="Give more rows or other features",
        )
    return float(slope / spread), float(shift - slope * centre / spread)


def folds(y: np.ndarray, groups: np.ndarray | None, n_folds: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of rows to learn from and rows held out, the outcome spread evenly, groups kept together."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    yield from kind(n_splits=n_folds, shuffle=True, random_state=seed).split(np.zeros(len(y)), y, groups)


@dataclass(frozen=True)
class Fitted:
    """A calibrated classifier with what it was chosen by.

    Attributes:
        score: Log-odds, calibrated.
        candidate: What was chosen.
        threshold: Log-odds from which on 'good' is predicted (best macro-F1 on people held out).
        losses: Log-loss of people held out, and its standard error, by candidate.
        slope: Platt's slope; the bootstraps are calibrated by the same.
        shift: Platt's shift.
        calibrations: Every candidate that predicts at all, with its own slope and shift, in order.
    """

    score: Score
    candidate: Candidate
    threshold: float
    losses: dict[str, tuple[float, float]]
    slope: float
    shift: float
    calibrations: tuple[tuple[Candidate, float, float], ...]


def choose_and_fit(
    x: np.ndarray,
    y: np.ndarray,
    candidates: Sequence[Candidate],
    *,
    monotone: np.ndarray,
    groups: np.ndarray | None,
    n_folds: int,
    seed: int,
    tick: Callable[[], None] = lambda: None,
) -> Fitted:
    """Choose the simplest candidate within one standard error of the best log-loss, calibrate it, train it on all rows.

    Raises:
        DataError: None of them predicts anything.
    """
    held_out = {candidate.words: np.zeros(len(y)) for candidate in candidates}
    parts = np.zeros(len(y), dtype=int)
    for number, (learn, rest) in enumerate(folds(y, groups, n_folds, seed)):
        parts[rest] = number
        for candidate in candidates:
            score = fit_score(candidate, x[learn], y[learn], monotone=monotone, seed=seed)
            held_out[candidate.words][rest] = score(x[rest])
            tick()
    losses, lines = {}, {}
    for candidate in candidates:
        scores = held_out[candidate.words]
        try:
            slope, shift = platt(scores, y)
        except DataError:
            continue
        each = _log_losses(slope * scores + shift, y)
        means = np.array([each[parts == number].mean() for number in range(n_folds)])
        losses[candidate.words] = (float(each.mean()), float(means.std(ddof=1) / np.sqrt(n_folds)))
        lines[candidate.words] = (candidate, slope, shift)
    if not losses:
        raise DataError(
            "The answers do not predict the outcome: no classifier is better than chance on people held out",
            fix="Give more rows or other features",
        )
    best = min(losses.values())
    name = next(name for name, loss in losses.items() if loss[0] <= best[0] + best[1])
    candidate, slope, shift = lines[name]
    score = fit_score(candidate, x, y, monotone=monotone, seed=seed).stretched(slope, shift)
    tick()
    threshold = best_threshold(slope * held_out[name] + shift, y)
    return Fitted(score, candidate, threshold, losses, slope, shift, tuple(lines.values()))


def _log_losses(odds: np.ndarray, y: np.ndarray) -> np.ndarray:
    return -np.where(y == 1, log_expit(odds), log_expit(-odds))


def best_threshold(odds: np.ndarray, y: np.ndarray) -> float:
    """The log-odds that separate with the best macro-F1."""
    order = np.argsort(odds)
    ordered, good = odds[order], y[order]
    below_good = np.concatenate([[0], np.cumsum(good)])  # of the first k, predicted poor
    below = np.arange(len(y) + 1)
    n_good = int(good.sum())
    f_good = 2 * (n_good - below_good) / np.maximum(1, n_good + len(y) - below)
    f_poor = 2 * (below - below_good) / np.maximum(1, len(y) - n_good + below)
    cut = int(np.argmax(f_good + f_poor))
    if cut == 0:
        return float(ordered[0] - 1.0)
    return float(ordered[-1] + 1.0) if cut == len(y) else float((ordered[cut - 1] + ordered[cut]) / 2)


def prediction_metrics(odds: np.ndarray, y: np.ndarray, threshold: float) -> dict[str, float]:
    """How good log-odds are: accuracy, F1 of the good outcome and of both, AUC, log-loss, Brier score."""
    from sklearn.metrics import f1_score, roc_auc_score

    says = (odds >= threshold).astype(int)
    chance = expit(odds)
    return {
        "accuracy": float((says == y).mean()),
        "f1_good": float(f1_score(y, says, zero_division=0.0)),
        "f1_macro": float(f1_score(y, says, average="macro", zero_division=0.0)),
        "auc": float(roc_auc_score(y, odds)) if 0 < y.sum() < len(y) else float("nan"),
        "log_loss": float(_log_losses(odds, y).mean()),
        "brier": float(((chance - y) ** 2).mean()),
    }


def majority_metrics(y: np.ndarray) -> dict[str, float]:
    """The same for always saying what is more common, with its share as probability."""
    share = float(y.mean())
    return prediction_metrics(np.full(len(y), np.log(share / (1 - share))), y, 0.0)


def nested_cv(
    x: np.ndarray,
    y: np.ndarray,
    candidates: Sequence[Candidate],
    *,
    monotone: np.ndarray,
    groups: np.ndarray | None,
    n_outer: int,
    n_inner: int,
    seed: int,
    tick: Callable[[], None] = lambda: None,
) -> list[dict[str, Any]]:
    """Judge the whole procedure, choice of the candidate included: what is held out outside is never looked at inside.

    Returns:
        For each outer fold the chosen candidate, its metrics and those of always saying what is more common.
    """
    rows = []
    for learn, rest in folds(y, groups, n_outer, seed):
        inner = groups[learn] if groups is not None else None
        fitted = choose_and_fit(
            x[learn], y[learn], candidates, monotone=monotone, groups=inner, n_folds=n_inner, seed=seed + 1, tick=tick
        )
        found = prediction_metrics(fitted.score(x[rest]), y[rest], fitted.threshold)
        rows.append({"chosen": fitted.candidate.words, **found, "majority": majority_metrics(y[rest])})
    return rows
