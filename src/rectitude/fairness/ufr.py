"""UFR: lists re-ranked so that active people and all others are served alike, as an integer programme.

Source: Li, Chen, Fu, Ge, Zhang, "User-oriented Fairness in Recommendation", WWW 2021, eq. 5 and 6.

From each person's candidates k are chosen so that the sum of their scores is largest, subject to a difference of the
groups' F1 of at most ε. F1 of a person is 2 · hits / (T + k), linear in what is chosen, so the whole is one binary
programme with one constraint that couples people; HiGHS solves it through SciPy.

Departures: the released In-UCDS code puts the labels of the *test* fold into the constraint. Here hits are expected
ones: the rate at which a candidate of the same group and place was right on the validation fold.

Letters: Q people, C candidates, k places.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array, vstack

from rectitude.core.errors import ConfigError, RectitudeError

Floats = npt.NDArray[np.floating[Any]]


def rates_by_place(hits: npt.NDArray[np.bool_], advantaged: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """How often a candidate of a place was right, of each group.

    Args:
        hits: bool [Q, C], on the validation fold.
        advantaged: bool [Q].

    Returns:
        float64 [2, C], advantaged first; places beyond the tenth share the mean of their ten neighbours, because single
        ones are rarely right.
    """
    found = np.zeros((2, hits.shape[1]))
    for row, inside in enumerate((advantaged, ~advantaged)):
        raw = hits[inside].mean(0) if inside.any() else np.zeros(hits.shape[1])
        for place in range(hits.shape[1]):
            near = slice(place, place + 1) if place < 10 else slice(max(10, place - 5), place + 5)
            found[row, place] = raw[near].mean()
    return found


def rerank(
    scores: Floats,
    relevance: Floats,
    n_targets: npt.NDArray[np.integer[Any]],
    advantaged: npt.NDArray[np.bool_],
    *,
    k: int = 10,
    epsilon: float = 0.05,
    time_limit: float = 900.0,
) -> npt.NDArray[np.bool_]:
    """Which candidates to show.

    Args:
        scores: float [Q, C], comparable between people (standardised, say).
        relevance: float [Q, C], the chance that each is a hit.
        n_targets: int [Q], held-out items of each person, at least 1.
        advantaged: bool [Q].
        k: Places.
        epsilon: ε, largest difference of the groups' mean F1.
        time_limit: Seconds for the solver.

    Returns:
        bool [Q, C], k of them true in each row.

    Raises:
        ConfigError: A group is empty, or there are fewer candidates than places.
        RectitudeError: No choice satisfies the constraint, or the solver ran out of time without one.
    """
    n_people, n_candidates = scores.shape
    if n_candidates < k:
        raise ConfigError(f"{n_candidates} candidates cannot fill {k} places")
    if advantaged.all() or not advantaged.any():
        raise ConfigError("Fair re-ranking needs people in both groups")
    sign = np.where(advantaged, 1 / advantaged.sum(), -1 / (~advantaged).sum())
    share = (2 * relevance / (n_targets + k)[:, None] * sign[:, None]).ravel()
    rows = np.repeat(np.arange(n_people), n_candidates)
    each = coo_array((np.ones(len(rows)), (rows, np.arange(len(rows)))), shape=(n_people, len(rows)))
    coupled = coo_array(share[None])
    constraint = LinearConstraint(
        vstack([each, coupled]).tocsr(),
        np.append(np.full(n_people, float(k)), -epsilon),
        np.append(np.full(n_people, float(k)), epsilon),
    )
    found = milp(
        -scores.ravel().astype(np.float64),
        integrality=np.ones(len(rows), np.int64),
        bounds=Bounds(0, 1),
        constraints=constraint,
        options={"time_limit": time_limit, "mip_rel_gap": 1e-4},
    )
    if found.x is None:
        raise RectitudeError(
            f"No choice of lists brings the groups within {epsilon:g}: {found.message}",
            fix="Allow a larger epsilon or more candidates",
        )
    return np.asarray(found.x.reshape(scores.shape) > 0.5)


def reranked_lists(lists: npt.NDArray[np.int32], chosen: npt.NDArray[np.bool_], k: int) -> npt.NDArray[np.int32]:
    """int32 [Q, k]: the chosen candidates in the order they had."""
    order = np.argsort(~chosen, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(lists, order, 1)
