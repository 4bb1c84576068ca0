"""Score distributions borrowed from the other clients, where a client's own rows are few.

A client keeps its tolerance on the rows it calibrates on, and these are a sample: with n rows of a group the rate of
acceptance of *everybody* there differs from that of the rows by about √(r(1 − r)/n), and the gap with it. Where clients
are alike within a group, all clients' rows say what the client's own do, only better; where they are not, they do not.
How alike they are is estimated: in a model in which a client's rate has mean r and variance ρ r(1 − r) between clients,
the sum over clients

    S = Σ_c n_c (r_c − r)² / (r(1 − r))      has mean      (N − 1)(1 − ρ) + ρ (n − Σ_c n_c²/n),

which gives ρ; with N − 3 (or 0) for N − 1, so that the shrinkage is unbiased rather than ρ, and a few clients are not
taken for alike because they happen to be. A client then takes its own rows of a group with weight n_c/(n_c + M) and
those of all clients, as a histogram of scores, with weight M/(n_c + M), M = (1 − ρ)/ρ: the posterior mean of its rate
at every threshold.

Source: empirical Bayes shrinkage, beta-binomial form: Efron and Morris, "Data Analysis Using Stein's Estimator and
Its Generalizations", JASA 70 (1975), doi:10.1080/01621459.1975.10479864; ρ by moments as in an analysis of variance of
proportions. None of the three federated papers has it.

Letters: n rows, G groups, B bins, N clients.
"""

from __future__ import annotations

import numpy as np

from rectitude.federated.contracts import Floats, Integers

BINS = 500
"""B, of scores from 0 to 1."""
_THRESHOLDS = np.linspace(0.2, 0.8, 25)
"""Where fair thresholds lie; clients are compared there."""
_FEWEST = 0.01
"""Rates nearer to 0 or 1 than this say nothing of how clients differ."""
_ALIKE = 1e12


def histogram_of(scores: Floats, groups: Integers, n_groups: int) -> Floats:
    """Rows by group and bin of the score, float64 [G, B].

    Args:
        scores: Probability of class 1 as the base model says it, [n].
        groups: Of each row, [n].
        n_groups: The letter G.
    """
    counts = np.zeros((n_groups, BINS))
    np.add.at(counts, (groups, np.minimum((scores * BINS).astype(np.int64), BINS - 1)), 1.0)
    return counts


def differences(own: Floats, pooled: Floats) -> Floats:
    """A client's terms of the sums from which :func:`prior_rows` tells how much clients differ, float64 [G, 3].

    Args:
        own: The client's histogram, [G, B].
        pooled: That of all clients, [G, B].

    Returns:
        Its term of S (mean over thresholds), n_c²/n, and 1 where it has rows.
    """
    rows, all_rows = own.sum(axis=1), pooled.sum(axis=1)
    here, there = (_rates_above(part) for part in (own, pooled))
    usable = (there >= _FEWEST) & (there <= 1 - _FEWEST)
    spread = np.where(usable, (here - there) ** 2 / np.where(usable, there * (1 - there), 1.0), 0.0)
    terms = rows * spread.sum(axis=1) / np.maximum(usable.sum(axis=1), 1)
    return np.stack([terms, rows**2 / np.maximum(all_rows, 1.0), rows > 0], axis=1).astype(np.float64)


def prior_rows(sums: Floats, pooled: Floats) -> Floats:
    """M: how many rows of a client's own weigh as much as what all clients show, float64 [G].

    Args:
        sums: Of :func:`differences` over all clients, [G, 3].
        pooled: Histogram of all clients, [G, B].
    """
    rows = np.maximum(pooled.sum(axis=1), 1.0)
    above = _rates_above(pooled)
    told = ((above >= _FEWEST) & (above <= 1 - _FEWEST)).any(axis=1)
    free = np.maximum(sums[:, 2] - 3, 0.0)  # as in Stein's estimator towards a common mean
    room = np.maximum(rows - sums[:, 1] - free, 1e-12)
    rho = np.clip((sums[:, 0] - free) / room, 0.0, 1.0)
    return np.asarray(np.where(told, np.minimum((1 - rho) / np.maximum(rho, 1e-300), _ALIKE), 0.0))


def blend(scores: Floats, groups: Integers, pooled: Floats, prior: Floats) -> tuple[Floats, Integers, Floats]:
    """The client's own rows and the bins of all clients, as weighted rows; each group keeps the rows it has.

    Args:
        scores: The client's, [n].
        groups: Theirs, [n].
        pooled: Histogram of all clients, [G, B].
        prior: M, [G].

    Returns:
        Scores, groups and weights [n + bins].
    """
    rows = np.bincount(groups, minlength=len(pooled)).astype(np.float64)
    trust = np.where(rows > 0, rows / np.maximum(rows + prior, 1e-300), 1.0)  # of its own rows
    borrowed = ((1 - trust) * rows / np.maximum(pooled.sum(axis=1), 1.0))[:, None] * pooled
    which, bins = np.nonzero(borrowed)
    weights = np.concatenate([trust[groups], borrowed[which, bins]])
    kept = weights > 0
    everybody = np.concatenate([scores, (bins + 0.5) / BINS]), np.concatenate([groups, which])
    return everybody[0][kept], everybody[1][kept], weights[kept]


def _rates_above(histogram: Floats) -> Floats:
    """Rate of each group above each threshold, float64 [G, T]."""
    above = np.flip(np.cumsum(np.flip(histogram, -1), axis=-1), -1)
    rows = np.maximum(histogram.sum(axis=1, keepdims=True), 1.0)
    return np.asarray(above[:, np.rint(_THRESHOLDS * BINS).astype(np.int64)] / rows)
