"""Attackers in closed form against scikit-learn, planted differences of every kind, and random labels."""

from __future__ import annotations

import numpy as np
import pytest

from rectitude.unlearning.quick import RIDGES, quick_attack, ridge_accuracy

N = 600
LABELS = np.arange(N) % 2


def planted(kind: str) -> np.ndarray:
    x = np.random.default_rng(0).standard_normal((N, 6))
    if kind == "linear":
        x[:, 0] += 1.5 * LABELS
    elif kind == "cubic":  # the sign of a product of three tells the class, no two of them do
        x[:, 2] = np.abs(x[:, 2]) * np.sign(x[:, 0] * x[:, 1]) * np.where(LABELS, 1, -1)
    elif kind == "kernel":
        x *= np.where(LABELS, 1.0, 1.8)[:, None]
    else:  # in the middle of a coordinate, or at its two ends
        x[:, 3] = np.where(LABELS, x[:, 3] * 0.2, np.sign(x[:, 3]) * (1 + np.abs(x[:, 3])))
    return x


@pytest.mark.parametrize("kind", list(RIDGES))
def test_each_attacker_tells_what_it_is_there_for(kind: str) -> None:
    assert quick_attack(planted(kind), LABELS)[kind] > 0.7
    shifted = 3.0 + 1e-3 * planted(kind)
    assert quick_attack(shifted, LABELS)[kind] == pytest.approx(quick_attack(planted(kind), LABELS)[kind], abs=0.01)


def test_random_labels_are_told_by_chance() -> None:
    found = quick_attack(np.random.default_rng(1).standard_normal((N, 6)), LABELS, draws=4)
    assert max(abs(value - 0.5) for value in found.values()) < 0.05


def test_classes_are_balanced_and_the_unknown_left_out() -> None:
    labels = np.where(np.arange(N) % 5 == 0, 1, 0)
    labels[:50] = -1
    x = np.random.default_rng(2).standard_normal((N, 4))
    assert quick_attack(x, labels, draws=4)["linear"] == pytest.approx(0.5, abs=0.08)
    three = np.arange(N) % 3
    x[:, 0] += 4 * three
    assert quick_attack(x, three)["linear"] > 0.6
    assert quick_attack(np.ones((N, 2)), three)["linear"] == pytest.approx(1 / 3, abs=0.01)


def test_ridge_is_that_of_scikit_learn() -> None:
    from sklearn.linear_model import Ridge

    x = planted("linear").astype(np.float32)
    x = (x - x.mean(0)) / x.std(0)
    folds = np.arange(N) // 2 % 5
    right = 0
    for fold in range(5):
        learn = folds != fold
        model = Ridge(alpha=0.1 * N, fit_intercept=False).fit(x[learn], LABELS[learn] - 0.5)
        right += int(((model.predict(x[~learn]) > 0) == LABELS[~learn]).sum())
    assert ridge_accuracy(x, LABELS, folds, 0.1) == pytest.approx(right / N, abs=0.004)
