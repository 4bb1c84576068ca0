"""Quick attackers in closed form, which tell when unlearning may end; the report's attackers have no part in it.

Ridge regression of the classes on features of the vectors, cross-validated on a balanced sample: on the vectors
themselves (``linear``), on products of three of their leading components (``cubic``), on Gaussian kernels to some
people (``kernel``) and on steps of single coordinates, which trees see (``steps``). All folds share their products, so
one attack takes a tenth of a second where support vectors and boosted trees take seconds.

Letters: n people drawn, C classes, d width, D features.
"""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np
import numpy.typing as npt

from rectitude.unlearning.attackers import FOLDS, Floats, balanced

RIDGES = {"linear": 0.01, "cubic": 0.3, "kernel": 0.003, "steps": 1.0}
"""Attacker to the weight of its ridge, in shares of the people; chosen on models as trained, to tell most."""
_COMPONENTS = 12
_LANDMARKS = 500
_STEPS = 8


def quick_attack(features: Floats, labels: npt.NDArray[np.int64], *, draws: int = 1, seed: int = 0) -> dict[str, float]:
    """Balanced accuracy of each attacker of :data:`RIDGES`, mean over draws.

    Args:
        features: [U, d].
        labels: [U], class of each person, -1 where unknown.
        draws: Balanced samples.
        seed: Of samples, folds and landmarks.
    """
    classes, sizes = np.unique(labels[labels >= 0], return_counts=True)
    found: dict[str, list[float]] = {name: [] for name in RIDGES}
    for draw in range(draws):
        sample = balanced(labels, classes, int(sizes.min()), seed + draw)
        own = np.searchsorted(classes, labels[sample])
        columns = _standard(np.asarray(features, np.float64)[sample])
        folds = _folds(own, seed + draw)
        for name in RIDGES:
            made = _features(name, columns, seed + draw).astype(np.float32)
            found[name].append(ridge_accuracy(made, own, folds, RIDGES[name]))
    return {name: float(np.mean(values)) for name, values in found.items()}


def ridge_accuracy(
    features: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], folds: npt.NDArray[np.int64], ridge: float
) -> float:
    """Share of people whose class is guessed right by those of the other folds.

    Args:
        features: float32 [n, D].
        labels: [n], 0 to C - 1.
        folds: [n], 0 to FOLDS - 1.
        ridge: Weight of the ridge in shares of n.
    """
    columns = _standard(features)
    aims = np.eye(labels.max() + 1, dtype=np.float32)[labels] - np.float32(1 / (labels.max() + 1))
    parts = [(columns[folds == fold], aims[folds == fold]) for fold in range(FOLDS)]
    grams = [own.T @ own for own, _ in parts]
    sides = [own.T @ aim for own, aim in parts]
    gram, side = np.sum(grams, axis=0), np.sum(sides, axis=0)
    gram[np.diag_indices_from(gram)] += np.float32(ridge * len(labels))
    right = 0
    for fold, (own, aim) in enumerate(parts):
        guessed = own @ np.linalg.solve(gram - grams[fold], side - sides[fold])
        right += int((guessed.argmax(1) == aim.argmax(1)).sum())
    return right / len(labels)


def _features(name: str, columns: Floats, seed: int) -> Floats:
    """What an attacker looks at, [n, D] from standardised vectors [n, d]."""
    if name == "linear":
        return columns
    if name == "steps":
        cuts = np.quantile(columns, np.arange(1, _STEPS) / _STEPS, axis=0)
        return np.concatenate([columns > cut for cut in cuts], 1).astype(np.float64)
    if name == "kernel":
        near = columns[np.random.default_rng(seed).permutation(len(columns))[:_LANDMARKS]]
        squared = np.square(columns).sum(1)[:, None] + np.square(near).sum(1) - 2 * columns @ near.T
        return np.asarray(np.exp(-squared / columns.shape[1]))
    _, directions = np.linalg.eigh(columns.T @ columns)
    leading = _standard(columns @ directions[:, ::-1][:, :_COMPONENTS])
    triples = np.array(list(combinations_with_replacement(range(leading.shape[1]), 3)))
    return np.concatenate([columns, leading[:, triples].prod(2)], 1)


def _standard(columns: Floats) -> Floats:
    """Mean 0 and deviation 1; columns that are constant become 0."""
    spread = columns.std(0)
    return np.asarray((columns - columns.mean(0)) / np.where(spread > 0, spread, 1), columns.dtype)


def _folds(labels: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.int64]:
    """int64 [n]: parts in which every class has its share."""
    generator = np.random.default_rng(seed)
    folds = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        own = generator.permutation(np.flatnonzero(labels == label))
        folds[own] = np.arange(len(own)) % FOLDS
    return folds
