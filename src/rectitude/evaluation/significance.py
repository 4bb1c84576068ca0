"""Is one model better than another, or were the users kind? Paired tests on the same users, corrected for their number.

The tests speak of other users of the same kind, not of other training seeds: compare several seeds for those.

Letters: Q queries, M metrics or tests, R resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from rectitude.core.errors import ConfigError, did_you_mean
from rectitude.evaluation.evaluator import Evaluation
from rectitude.evaluation.intervals import Interval, bootstrap_interval, bootstrap_intervals
from rectitude.evaluation.protocol import require_same

__all__ = ["Comparison", "Difference", "PairedTest", "bootstrap_interval", "compare", "holm", "paired_test"]

Floats = npt.NDArray[np.float64]

PERMUTATIONS = 10_000
"""R of a test: the smallest p-value is 1 / 10,001."""

_SIGNS = 1 << 20
"""Signs held at once, unless one resample has more."""


@dataclass(frozen=True)
class PairedTest:
    """One figure minus another on the same users.

    Attributes:
        effect: Mean of the differences with its 95 % bootstrap interval.
        p: Two-sided p-value of no difference.
    """

    effect: Interval
    p: float


@dataclass(frozen=True)
class Difference:
    """One row of a comparison: the first model minus the second by one metric.

    Attributes:
        metric: Such as ``"ndcg@10"``.
        first: Name of the one.
        second: Name of the other.
        effect: Mean over users of first minus second with its 95 % interval (not corrected for the number of tests).
        p: Two-sided p-value.
        p_adjusted: The same after Holm's correction over all rows of the comparison.
    """

    metric: str
    first: str
    second: str
    effect: Interval
    p: float
    p_adjusted: float


@dataclass(frozen=True, eq=False)
class Comparison:
    """Models side by side.

    Attributes:
        values: Name of a model to metric to value and interval.
        rows: A test for each pair and metric.
        protocol: The stamp they share, without what may differ between them.
    """

    values: dict[str, dict[str, Interval]]
    rows: tuple[Difference, ...]
    protocol: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """``{"protocol": {…}, "metrics": {name: {metric: {…}}}, "tests": [{…}, …]}``, ready for JSON."""
        return {
            "protocol": self.protocol,
            "metrics": {
                name: {metric: interval.to_dict() for metric, interval in metrics.items()}
                for name, metrics in self.values.items()
            },
            "tests": [asdict(row) for row in self.rows],
        }


def sign_flip_p_values(differences: Floats, seed: int, permutations: int = PERMUTATIONS) -> Floats:
    """Two-sided p-values of "the mean is zero because the sign of each row is a coin".

    All columns share the coins. Rows of zeros are left out: their sign changes nothing. Cost is about 3 ns per row that
    is not zero and permutation.

    Args:
        differences: [Q, M].
        seed: Of the coins.
        permutations: R.

    Returns:
        float64 [M], each at least ``1 / (R + 1)``.

    Source:
        Phipson & Smyth, "Permutation p-values should never be zero", 2010, equation 2; for rankings: Smucker, Allan &
        Carterette, "A comparison of statistical significance tests for information retrieval evaluation", CIKM 2007.
    """
    moving = differences[np.any(differences != 0, axis=1)]
    n_rows = len(moving)
    if not n_rows:
        return np.ones(differences.shape[1])
    generator = np.random.default_rng(seed)
    total = moving.sum(axis=0)
    as_large = np.abs(total) - 1e-9 * np.abs(moving).sum(axis=0)  # equal sums added in another order still count
    reached = np.zeros(differences.shape[1])
    step = max(1, _SIGNS // n_rows)
    for start in range(0, permutations, step):
        size = min(step, permutations - start)
        packed = generator.integers(0, 256, (size, -(-n_rows // 8)), dtype=np.uint8)
        flipped = np.unpackbits(packed, axis=1, count=n_rows).astype(np.float64)
        reached += (np.abs(total - 2 * (flipped @ moving)) >= as_large).sum(axis=0)
    return (1 + reached) / (1 + permutations)


def paired_test(a: Floats, b: Floats, seed: int, permutations: int = PERMUTATIONS) -> PairedTest:
    """Test ``a - b`` by random sign flips, with a bootstrap interval of its mean.

    Args:
        a: [Q] one model's figures.
        b: [Q] the other's, for the same queries in the same order.
        seed: Of both resamplings.
        permutations: R.

    Raises:
        ConfigError: The two have not the same length.
    """
    if a.shape != b.shape:
        raise ConfigError(f"A paired test needs the same users, and got {len(a)} and {len(b)}")
    return _paired_tests((a - b)[:, None], seed, permutations)[0]


def _paired_tests(differences: Floats, seed: int, permutations: int = PERMUTATIONS) -> list[PairedTest]:
    intervals = bootstrap_intervals(differences, seed)
    p_values = sign_flip_p_values(differences, seed, permutations)
    return [PairedTest(interval, float(p)) for interval, p in zip(intervals, p_values, strict=True)]


def holm(p_values: Sequence[float] | Floats) -> Floats:
    """Step-down correction that keeps the chance of any false alarm below the level.

    Args:
        p_values: [M].

    Returns:
        float64 [M] in the same order: reject where it is at most the level.

    Source:
        Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 1979.
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def compare(
    evaluations: Mapping[str, Evaluation],
    metrics: Sequence[str] = ("ndcg@10", "recall@10"),
    baseline: str | None = None,
    *,
    seed: int = 0,
) -> Comparison:
    """Put models side by side and test every pair, or each against a baseline.

    Args:
        evaluations: Name to evaluation, all of the same questions.
        metrics: What to show; those that exist for each user are tested, coverage and Gini are only shown.
        baseline: Name of the model the others are tested against; all pairs if None.
        seed: Of the resamplings.

    Raises:
        ConfigError: Fewer than two evaluations, or an unknown metric or baseline.
        RectitudeError: The evaluations are not of the same questions; the message names the stamp's field.
    """
    names = list(evaluations)
    if len(names) < 2:
        raise ConfigError("A comparison needs at least two evaluations", fix="Name another run")
    if baseline is not None and baseline not in evaluations:
        raise ConfigError(f"Unknown baseline '{baseline}'", fix=did_you_mean(baseline, names))
    require_same({name: evaluation.protocol for name, evaluation in evaluations.items()})
    summaries = {name: evaluation.summary() for name, evaluation in evaluations.items()}
    for name, summary in summaries.items():
        for metric in metrics:
            if metric not in summary:
                raise ConfigError(f"'{name}' has no metric '{metric}'", fix=did_you_mean(metric, summary))

    tested = [metric for metric in metrics if metric in evaluations[names[0]].per_user]
    pairs = [(name, baseline) for name in names if name != baseline] if baseline else list(combinations(names, 2))
    tests: list[tuple[str, str, str, PairedTest]] = []
    for first, second in pairs if tested else []:
        one, other = evaluations[first].per_user, evaluations[second].per_user
        results = _paired_tests(np.column_stack([one[metric] - other[metric] for metric in tested]), seed)
        tests += [(metric, first, second, test) for metric, test in zip(tested, results, strict=True)]
    adjusted = holm([test.p for *_, test in tests])
    rows = tuple(
        Difference(metric, first, second, test.effect, test.p, float(p))
        for (metric, first, second, test), p in zip(tests, adjusted, strict=True)
    )
    shared = {
        field: value
        for field, value in evaluations[names[0]].protocol.items()
        if all(evaluations[name].protocol[field] == value for name in names)
    }
    values = {name: {metric: summary[metric] for metric in metrics} for name, summary in summaries.items()}
    return Comparison(values, rows, shared)
