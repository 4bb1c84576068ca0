from __future__ import annotations

import numpy as np
import pytest

from rectitude.federated.methods.calibration import calibrate, fit_calibrator, fit_calibrators


def truth(n, seed=0):
    rng = np.random.default_rng(seed)
    p = rng.beta(1, 2, n)
    return p, (rng.random(n) < p).astype(np.int64)


def log_loss(eta, y):
    return -np.log(np.maximum(eta[np.arange(len(y)), y], 1e-12)).mean()


def test_calibrated_scores_stay():
    p, y = truth(20_000)
    eta = np.stack([1 - p, p], 1)
    w, b = fit_calibrator(eta, y)
    assert np.allclose(w, 1, atol=0.1)
    assert b[1] - b[0] == pytest.approx(0, abs=0.1)


def test_distortion_is_undone():
    p, y = truth(20_000)
    odds = (p / (1 - p)) ** 2 * 3
    eta = np.stack([1 / (1 + odds), odds / (1 + odds)], 1)
    better = calibrate(eta, np.zeros(len(y), np.int64), fit_calibrator(eta, y)[None])
    assert log_loss(better, y) < log_loss(eta, y) - 0.05
    assert np.abs(better[:, 1] - p).mean() < 0.02


def test_order_is_kept():
    rng = np.random.default_rng(1)
    eta = np.sort(rng.random(300))
    eta = np.stack([1 - eta, eta], 1)
    w = fit_calibrator(eta, rng.integers(0, 2, 300))
    after = calibrate(eta, np.zeros(300, np.int64), w[None])[:, 1]
    assert np.all(np.diff(after) >= -1e-12)


def test_groups_with_few_rows_share():
    p, y = truth(1000)
    eta, a = np.stack([1 - p, p], 1), (np.arange(1000) < 50).astype(np.int64)
    fitted = fit_calibrators(eta, y, a, 3, "group")
    shared = fit_calibrators(eta, y, a, 3, "client")
    assert np.array_equal(fitted[1], shared[1])
    assert np.array_equal(fitted[2], shared[2])  # nobody is in it
    assert not np.array_equal(fitted[0], shared[0])
    assert np.allclose(calibrate(eta, a, fit_calibrators(eta, y, a, 3, "none")), eta, atol=1e-5)
