"""Calibration of class probabilities at a client: from what a model says to how often it is so.

Each class's log-probability is scaled and shifted, p_j ∝ exp(w_j log η_j + b_j) with w ≥ 0, which with two classes is
beta calibration. A normal prior around "leave it as it is" keeps calibrators of few rows near the identity.

Source: Kull, Silva Filho and Flach, "Beta calibration", AISTATS 2017; Kull et al., "Beyond temperature scaling:
Obtaining well-calibrated multiclass probabilities with Dirichlet calibration", NeurIPS 2019 (the diagonal form).

Letters: n rows, m classes, G groups.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.optimize import minimize

from rectitude.federated.contracts import Floats, Integers

Calibration = Literal["none", "client", "group"]
_TINY, _ENOUGH = 1e-6, 200


def fit_calibrator(eta: Floats, y: Integers, *, prior: float = 4.0) -> Floats:
    """Most probable scales w (first row) and shifts b (second row), float64 [2, m].

    Args:
        eta: Probabilities, [n, m].
        y: True classes, [n].
        prior: Inverse variance of w − 1 and of b.
    """
    m = eta.shape[1]
    logs = np.log(np.clip(eta, _TINY, 1.0))
    hit = np.eye(m)[y]
    own = (hit * logs).sum(axis=0), hit.sum(axis=0)

    def loss(flat: Floats) -> tuple[float, Floats]:
        w, b = flat.reshape(2, m)
        scores = logs * w + b
        top = scores.max(axis=1)
        q = np.exp(scores - top[:, None])
        norm = q.sum(axis=1)
        q /= norm[:, None]
        value = (top + np.log(norm)).sum() - w @ own[0] - b @ own[1]
        slope = np.stack([(q * logs).sum(axis=0) - own[0], q.sum(axis=0) - own[1]])
        away = np.stack([w - 1, b])
        return float(value + prior / 2 * (away**2).sum()), (slope + prior * away).ravel()

    start = np.stack([np.ones(m), np.zeros(m)]).ravel()
    bounds = [(0.0, None)] * m + [(None, None)] * m
    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x).reshape(2, m)


def fit_calibrators(eta: Floats, y: Integers, groups: Integers, n_groups: int, kind: Calibration) -> Floats:
    """A calibrator for each group, float64 [G, 2, m].

    A group of fewer than 200 rows shares its client's calibrator.

    Args:
        eta: Probabilities, [n, m].
        y: True classes, [n].
        groups: Of each row, [n].
        n_groups: The letter G.
        kind: ``none``: probabilities stay as they are. ``client``: one for all groups. ``group``: one each.
    """
    m = eta.shape[1]
    identity = np.stack([np.ones(m), np.zeros(m)])
    if kind == "none" or not len(eta):
        return np.broadcast_to(identity, (n_groups, 2, m)).copy()
    all_groups = np.broadcast_to(fit_calibrator(eta, y), (n_groups, 2, m)).copy()
    if kind == "group":
        for group in range(n_groups):
            rows = groups == group
            if rows.sum() >= _ENOUGH:
                all_groups[group] = fit_calibrator(eta[rows], y[rows])
    return all_groups


def calibrate(eta: Floats, groups: Integers, calibrators: Floats) -> Floats:
    """Calibrated probabilities, float64 [n, m].

    Args:
        eta: As the model says, [n, m].
        groups: Of each row, [n].
        calibrators: As :func:`fit_calibrators` returns them, [G, 2, m].
    """
    scores = np.log(np.clip(eta, _TINY, 1.0)) * calibrators[groups, 0] + calibrators[groups, 1]
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(scores / scores.sum(axis=1, keepdims=True))
