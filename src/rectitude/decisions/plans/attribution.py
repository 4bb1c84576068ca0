"""What each answer adds to a person's log-odds: exact Shapley values of trees and weights, and their curves.

Players are questions, not columns: a one-hot question or one with a column for gaps is one player. For trees the sum
runs over leaves: whether a row or a background row satisfies the part of a leaf's path that belongs to a question is
one bit, so rows fall into at most 2^d patterns for a leaf of d questions, and a table of 4^d weights settles all of
them at once. Cost O((n + m) · leaves · d + leaves · 4^d) for n rows and m of background.

Source: interventional Tree SHAP, arXiv 1905.04610 (algorithm 3), reordered by leaves.
"""

from __future__ import annotations

from functools import lru_cache
from math import factorial

import numpy as np

from rectitude.decisions.plans.encode import Encoder
from rectitude.decisions.plans.score import Score

SHRINK = 20
"""Rows that count as much as the assumption that an answer adds nothing."""


def shapley(score: Score, owners: np.ndarray, x: np.ndarray, background: np.ndarray) -> tuple[float, np.ndarray]:
    """Shapley values of each question against a background.

    Args:
        score: The model.
        owners: Question each column belongs to, int [columns].
        x: Rows to explain, [n, columns].
        background: Rows that answers are compared with, [m, columns].

    Returns:
        The mean score of the background, and values [n, questions]; their sum is the score of each row.
    """
    n_questions = int(owners.max()) + 1
    values = np.zeros((len(x), n_questions))
    linear = (x - background.mean(axis=0)) * score.weights
    np.add.at(values.T, owners, linear.T)
    for value, path in _leaves(score, owners):
        _add_leaf(values, value, path, x, background)
    return float(score(background).mean()), values


_Path = dict[int, dict[int, tuple[float, float]]]
"""Question to column to the open-closed interval in which the column must lie."""


def _leaves(score: Score, owners: np.ndarray) -> list[tuple[float, _Path]]:
    found: list[tuple[float, _Path]] = []
    trees = score.trees

    def walk(node: int, path: _Path) -> None:
        column = int(trees.column[node])
        if column < 0:
            found.append((float(trees.value[node]), path))
            return
        question, cut = int(owners[column]), float(trees.threshold[node])
        low, high = path.get(question, {}).get(column, (-np.inf, np.inf))
        for child, ends in ((trees.left[node], (low, min(high, cut))), (trees.right[node], (max(low, cut), high))):
            if ends[0] < ends[1]:
                walk(int(child), {**path, question: {**path.get(question, {}), column: ends}})

    for root in trees.roots:
        walk(int(root), {})
    return found


def _add_leaf(values: np.ndarray, value: float, path: _Path, x: np.ndarray, background: np.ndarray) -> None:
    questions = list(path)
    if not questions:
        return
    patterns = _patterns(path, questions, x)
    shares = np.bincount(_patterns(path, questions, background), minlength=1 << len(questions)) / len(background)
    table = value * _weights(len(questions)) @ shares  # [d, 2^d]
    values[:, questions] += table[:, patterns].T


def _patterns(path: _Path, questions: list[int], rows: np.ndarray) -> np.ndarray:
    found = np.zeros(len(rows), dtype=np.int64)
    for bit, question in enumerate(questions):
        inside = np.ones(len(rows), dtype=bool)
        for column, (low, high) in path[question].items():
            inside &= (rows[:, column] > low) & (rows[:, column] <= high)
        found |= inside.astype(np.int64) << bit
    return found


@lru_cache(maxsize=32)
def _weights(d: int) -> np.ndarray:
    """Shapley value of player i in the game that is won when a row's pattern p fills what b lacks, [d, p, b]."""
    table = np.zeros((d, 1 << d, 1 << d))
    full = (1 << d) - 1
    for p in range(1 << d):
        for b in range(1 << d):
            if p | b != full:
                continue
            only_p, only_b = p & ~b, b & ~p
            n_p, n_b = only_p.bit_count(), only_b.bit_count()
            for i in range(d):
                if only_p >> i & 1:
                    table[i, p, b] = factorial(n_p - 1) * factorial(n_b) / factorial(n_p + n_b)
                elif only_b >> i & 1:
                    table[i, p, b] = -factorial(n_p) * factorial(n_b - 1) / factorial(n_p + n_b)
    return table


def level_curve(codes: np.ndarray, values: np.ndarray, levels: np.ndarray, better: str | None) -> np.ndarray:
    """Mean attribution of an answer at each level, shrunk towards nothing where few gave it.

    Args:
        codes: Answers of the rows as numbers, NaN where missing, [n].
        values: Their attributions, [n].
        levels: The levels' numbers, ascending, [v]; an answer counts for the nearest.
        better: ``more`` or ``less`` where the curve must rise or fall.

    Returns:
        Log-odds per level, [v].
    """
    known = ~np.isnan(codes)
    nearest = np.abs(codes[known][:, None] - levels[None, :]).argmin(axis=1)
    count = np.bincount(nearest, minlength=len(levels))
    total = np.bincount(nearest, weights=values[known], minlength=len(levels))
    curve = total / np.maximum(count, 1)
    if better is not None:
        curve = _isotonic(curve, np.maximum(count, 1e-3), rising=better == "more")
    return np.asarray(
        curve * count / (count + SHRINK) if better is None else curve * count.sum() / (count.sum() + SHRINK)
    )


def _isotonic(values: np.ndarray, weights: np.ndarray, *, rising: bool) -> np.ndarray:
    """The nearest monotone curve, by pooling adjacent violators."""
    blocks: list[list[float]] = []  # mean, weight, length
    for value, weight in zip(values if rising else -values, weights, strict=True):
        blocks.append([float(value), float(weight), 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            mean, weight_, length = blocks.pop()
            before = blocks[-1]
            total = before[1] + weight_
            blocks[-1] = [(before[0] * before[1] + mean * weight_) / total, total, before[2] + length]
    flat = np.concatenate([np.full(int(length), mean) for mean, _, length in blocks])
    return flat if rising else -flat


def importance(encoder: Encoder, values: np.ndarray, codes: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Mean absolute attribution of each question, and the sign of its rank correlation with the answer.

    Args:
        encoder: The questions.
        values: Attributions, [n, questions].
        codes: Answers as numbers, by question, [n] each.
    """
    found = {}
    for index, name in enumerate(encoder.questions):
        weight, column = float(np.abs(values[:, index]).mean()), codes[name]
        found[name] = {"weight": weight, "slope": float(np.sign(_rank_correlation(column, values[:, index])))}
    return found


def _rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    from scipy.stats import rankdata

    known = ~np.isnan(one)
    if known.sum() < 2:
        return 0.0
    a, b = rankdata(one[known]), rankdata(other[known])
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else 0.0
