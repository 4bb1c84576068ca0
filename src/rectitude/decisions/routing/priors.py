"""What a recommender favours when nothing is wished for.

Run it many times without feedback and count. For each value of an attribute, with ``r`` of R recommendations and
``c`` of M models having it, the lift is the difference of smoothed log-odds::

    lift = log[(r + ½) / (R − r + ½)] − log[(c + ½) / (M − c + ½)]

tested by permuting which model got how many recommendations (two-sided), with Benjamini and Hochberg's control of the
false discovery rate. The inverse problem asks with which weights of the clauses the choices look optimal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rectitude.core.errors import ConfigError
from rectitude.decisions.routing.attributes import attribute
from rectitude.decisions.routing.catalogue import Catalogue
from rectitude.decisions.routing.clauses import Clause
from rectitude.decisions.routing.truth import TruthTable

_COMMON = 3
"""Models that must have a category for it to be tested."""


@dataclass(frozen=True)
class Lift:
    """How much more (or less) often a value is recommended than it is there.

    Attributes:
        attr: Attribute.
        says: The value in words.
        recommended: Share of recommendations that have it, of those where it is known.
        present: Share of models that have it, likewise.
        lift: Difference of log-odds.
        p: Two-sided permutation p-value.
        q: The same, adjusted for the number of values tested.
        models: Models that have it.
    """

    attr: str
    says: str
    recommended: float
    present: float
    lift: float
    p: float
    q: float
    models: int


def features(catalogue: Catalogue) -> list[tuple[str, str, NDArray[np.float64]]]:
    """Values to test: flags, common families and makers, and the better half of each number; 1, 0 or NaN per model."""
    found: list[tuple[str, str, NDArray[np.float64]]] = []
    for name, values in catalogue.ordered.items():
        known = ~np.isnan(values)
        about = attribute(name)
        if known.sum() < 2 or np.unique(values[known]).size < 2:
            continue
        if about.kind == "flag":
            found.append((name, about.yes or about.title, values))
            continue
        middle = float(np.median(values[known]))
        low = about.better == "lower"
        half = np.where(known, values <= middle if low else values >= middle, np.nan)
        found.append((name, f"{about.title} {'at most' if low else 'at least'} the median", half))
    for name in ("family", "maker", "provider"):
        codes, values_of = catalogue.categories.get(name, (None, ()))
        for code, value in enumerate(values_of):
            if codes is not None and _COMMON <= int((codes == code).sum()) < len(catalogue):
                has = np.where(codes < 0, np.nan, (codes == code).astype(np.float64))
                found.append((name, f"{attribute(name).title} is {value}", has))
    return found


def lifts(
    catalogue: Catalogue, named: Sequence[Sequence[str]], *, permutations: int = 10_000, seed: int = 0
) -> list[Lift]:
    """Lifts of every value, the greatest first.

    Args:
        catalogue: M models.
        named: The models of each run without feedback.
        permutations: Shuffles of the counts over models.
        seed: Of the shuffles.

    Raises:
        ConfigError: No model was named, or one that the catalogue does not have.
    """
    counts = Counter(catalogue.row(name) for names in named for name in names)
    if not counts:
        raise ConfigError("No model was recommended, so nothing can be favoured")
    times = np.zeros(len(catalogue))
    for row, count in counts.items():
        times[row] = count
    tested = features(catalogue)
    has = np.stack([np.nan_to_num(values) for _, _, values in tested])
    known = np.stack([~np.isnan(values) for _, _, values in tested]).astype(np.float64)
    own = _lift(has, known, times[None, :])[:, 0]
    rng = np.random.default_rng(seed)
    extreme = np.zeros(len(tested))
    block = max(1, 4_000_000 // len(catalogue))
    for start in range(0, permutations, block):
        shuffled = rng.permuted(np.tile(times, (min(block, permutations - start), 1)), axis=1)
        extreme += (np.abs(_lift(has, known, shuffled)) >= np.abs(own)[:, None] - 1e-12).sum(axis=1)
    p = (extreme + 1) / (permutations + 1)
    q = adjusted(p)
    found = [
        Lift(
            name, says, float((has[i] @ times) / max(1.0, known[i] @ times)), float(has[i].sum() / known[i].sum()),
            float(own[i]), float(p[i]), float(q[i]), int(has[i].sum()),
        )
        for i, (name, says, _) in enumerate(tested)
    ]  # fmt: skip
    return sorted(found, key=lambda lift: -abs(lift.lift))


def _lift(has: NDArray[Any], known: NDArray[Any], times: NDArray[Any]) -> NDArray[np.float64]:
    """Lift of each value for each vector of counts, [values, vectors]."""
    r, total = has @ times.T, known @ times.T
    c, models = has.sum(axis=1)[:, None], known.sum(axis=1)[:, None]
    return np.asarray(np.log((r + 0.5) / (total - r + 0.5)) - np.log((c + 0.5) / (models - c + 0.5)))


def adjusted(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Benjamini and Hochberg's adjusted p-values."""
    order = np.argsort(p)
    scaled = p[order] * p.size / np.arange(1, p.size + 1)
    result = np.empty_like(p)
    result[order] = np.minimum.accumulate(scaled[::-1])[::-1].clip(max=1.0)
    return result


def choice_weights(
    catalogue: Catalogue, clauses: Sequence[Clause], chosen: Sequence[str], *, l2: float = 1.0
) -> NDArray[np.float64]:
    """Non-negative weights of clauses under which choices look optimal [C].

    Conditional logit of the chosen model among all, on the truth of the clauses (unknown counts by expectation), with
    an L2 penalty; the scale is that of log-odds.

    Raises:
        ConfigError: Nothing was chosen.
    """
    from scipy.optimize import minimize

    if not chosen:
        raise ConfigError("Nothing was chosen, so no weight can be learnt")
    table = TruthTable(catalogue, clauses)
    met = np.zeros((len(catalogue), len(clauses)))
    for row in table.rows:
        met[:, row.clause] += row.share * row.chance
    times = np.zeros(len(catalogue))
    for name in chosen:
        times[catalogue.row(name)] += 1

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scores = met @ weights
        scores -= scores.max()
        share = np.exp(scores) / np.exp(scores).sum()
        value = -times @ (scores - np.log(np.exp(scores).sum())) + l2 / 2 * weights @ weights
        gradient = met.T @ (share * times.sum() - times) + l2 * weights
        return float(value), gradient

    start = np.full(len(clauses), 0.1)
    found = minimize(loss, start, jac=True, bounds=[(0, None)] * len(clauses), method="L-BFGS-B")
    return np.asarray(found.x)
