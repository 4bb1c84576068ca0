"""UFR: lists re-ranked so that active people and all others are served alike, as an integer programme.

Source: Li, Chen, Fu, Ge, Zhang, "User-oriented Fairness in Recommendation", WWW 2021, eq. 5 and 6.

From each person's candidates k are chosen so that the sum of their scores is largest, subject to a difference of the
groups' F1 of at most ε. F1 of a person is 2 · hits / (T + k), linear in what is chosen, so the whole is one binary
programme: max s·x subject to Σ_c x_uc = k for everybody and |a·x| ≤ ε. Only the last constraint couples people.

How it is solved, exactly. At a price λ of a·x everybody's best list is the top k of r = s − λ a, and
U(λ) = Σ_u top_k(r_u) + λ ε bounds every choice from above for λ ≥ 0. U is convex and piecewise linear, and its smallest
value is found by intersecting the lines on its two sides. A choice x falls short of that bound by
Σ w_uc + λ (ε − a·x), the sum over the candidates that x takes in or leaves out against the top k of r, with
w = |r − θ_u| and θ_u half-way between the kth and the next. So a candidate which alone costs more than the best choice
known falls short cannot be decided otherwise in a better one. What remains, some dozens of a hundred thousand, goes to
HiGHS through SciPy: the cheapest first, then more, until nothing that was held back could matter.

Departures: the released In-UCDS code puts the labels of the *test* fold into the constraint. Here hits are expected
ones: the rate at which a candidate of the same group and place was right on the validation fold.

Letters: Q people, C candidates, k places.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array, vstack

from rectitude.core.errors import ConfigError, RectitudeError

Floats = npt.NDArray[np.floating[Any]]
Choice = npt.NDArray[np.bool_]

_FIRST = 64
"""Candidates that HiGHS is given first; eight times as many each time they do not settle it."""
_ANSWERED = (0, 1, 2)
"""What HiGHS says when it has an answer: optimal, out of time, infeasible."""
_NEAR = 1e-9
"""Distance from the bound that counts as none, in shares of the sum of scores."""
_SLACK = 1e-6
"""By how much a·x may be beyond ε, in shares of the largest entry of a: the solver's own tolerance."""


class NoChoiceError(RectitudeError):
    """No choice of lists brings the groups together, or none was found in time."""


@dataclass(frozen=True, eq=False)
class Reranked:
    """What was chosen, and how good it is.

    Attributes:
        chosen: bool [Q, C], k of them true in each row.
        status: ``"optimal"``, or ``"time limit"`` where a better choice may exist.
        value: Sum of the chosen scores.
        bound: No choice has a larger sum.
        asked: Candidates that HiGHS was asked about at most.
    """

    chosen: Choice
    status: Literal["optimal", "time limit"]
    value: float
    bound: float
    asked: int


def rates_by_place(hits: Choice, advantaged: Choice) -> npt.NDArray[np.float64]:
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
    advantaged: Choice,
    *,
    k: int = 10,
    epsilon: float = 0.05,
    time_limit: float = 60.0,
) -> Reranked:
    """Which candidates to show.

    Args:
        scores: float [Q, C], comparable between people (standardised, say).
        relevance: float [Q, C], the chance that each is a hit.
        n_targets: int [Q], held-out items of each person, at least 1.
        advantaged: bool [Q].
        k: Places.
        epsilon: ε, largest difference of the groups' mean F1.
        time_limit: Seconds after which the best choice known is taken.

    Raises:
        ConfigError: A group is empty, or there are fewer candidates than places.
        NoChoiceError: No choice satisfies the constraint, or none was found in time.
    """
    n_candidates = scores.shape[1]
    if n_candidates < k:
        raise ConfigError(f"{n_candidates} candidates cannot fill {k} places")
    if advantaged.all() or not advantaged.any():
        raise ConfigError("Fair re-ranking needs people in both groups")
    sign = np.where(advantaged, 1 / advantaged.sum(), -1 / (~advantaged).sum())
    apart = 2 * relevance.astype(np.float64) / (n_targets + k)[:, None] * sign[:, None]
    unit = float(np.abs(apart).max()) or 1.0
    try:
        return _Programme(scores.astype(np.float64), apart / unit, k, epsilon / unit).solve(time_limit)
    except NoChoiceError as error:
        raise NoChoiceError(
            f"No choice of lists brings the groups within {epsilon:g}: {error.what}",
            fix="Allow a larger epsilon or more candidates",
        ) from error


class _Programme:
    """max s·x subject to Σ_c x_uc = k and |a·x| ≤ ε.

    Args:
        scores: s, float64 [Q, C].
        apart: a, float64 [Q, C], with a largest absolute entry of 1.
        k: Places.
        epsilon: ε.
    """

    def __init__(self, scores: Floats, apart: Floats, k: int, epsilon: float) -> None:
        self.scores, self.k, self.epsilon = scores, k, epsilon
        free = apart[_top(scores, k)].sum()
        self.apart = apart if free >= 0 else -apart  # so that the best lists of all, if too far apart, are above ε

    def solve(self, time_limit: float) -> Reranked:
        """The best choice: by bounds, and by HiGHS where they leave something open."""
        until = time.monotonic() + time_limit
        price, start = self._priced()
        reduced = self.scores - price * self.apart
        bound = float(reduced[start].sum() + price * self.epsilon)
        best, value = start, float(self.scores[start].sum()) if self._fits(start) else -np.inf
        weight, alone = self._costs(reduced, start)
        settled, size, asked = np.zeros(start.shape, bool), _FIRST, 0
        while bound - value > _NEAR * max(1.0, abs(bound)):
            matters = alone <= bound - value
            if not (matters & ~settled).any():
                if value == -np.inf:
                    raise NoChoiceError("there is none")
                break
            core = matters & (
                alone <= np.partition(alone, min(size, alone.size) - 1, axis=None)[min(size, alone.size) - 1]
            )
            asked = max(asked, int(core.sum()))
            found, finished = self._by_highs(start, core, weight - price * np.where(start, -1, 1) * self.apart, until)
            if found is not None and self._fits(found) and float(self.scores[found].sum()) > value:
                best, value = found, float(self.scores[found].sum())
            if not finished:
                if value == -np.inf:
                    raise NoChoiceError("none was found in time")
                return Reranked(best, "time limit", value, bound, asked)
            settled, size = core, 8 * size
        return Reranked(best, "optimal", value, value, asked)

    def _fits(self, chosen: Choice) -> bool:
        return bool(abs(self.apart[chosen].sum()) <= self.epsilon + 2 * _SLACK)

    def _priced(self) -> tuple[float, Choice]:
        """The price with the smallest bound, and a best choice at it that is not above ε.

        Raises:
            NoChoiceError: Even the lists with the smallest a·x are above ε.
        """
        above = _top(self.scores, self.k)
        if self.apart[above].sum() <= self.epsilon:
            return 0.0, above
        if self.apart[_top(-self.apart, self.k)].sum() > self.epsilon + 2 * _SLACK:
            raise NoChoiceError("there is none")
        price = float(np.ptp(self.scores)) or 1.0
        below = _top(self.scores - price * self.apart, self.k)
        while self.apart[below].sum() > self.epsilon and price < 1e12:
            price *= 4
            below = _top(self.scores - price * self.apart, self.k)
        for _ in range(200):
            lines = [(self.scores[x].sum(), self.epsilon - self.apart[x].sum()) for x in (above, below)]
            (high, falls), (low, rises) = lines
            if rises < 0 or rises == falls:
                break  # within rounding of the smallest a·x there is
            price = float((high - low) / (rises - falls))
            chosen = _top(self.scores - price * self.apart, self.k)
            slope = self.epsilon - self.apart[chosen].sum()
            if self.scores[chosen].sum() + price * slope <= high + price * falls + 1e-12 * max(1.0, abs(high)):
                break
            above, below = (chosen, below) if slope < 0 else (above, chosen)
        else:
            return price, chosen
        return price, below

    def _costs(self, reduced: Floats, start: Choice) -> tuple[Floats, Floats]:
        """w, and what each candidate costs at least when it alone is decided otherwise; float64 [Q, C] both."""
        if self.k == start.shape[1]:
            return np.zeros(start.shape), np.full(start.shape, np.inf)
        last = np.where(start, reduced, np.inf).min(1, keepdims=True)
        following = np.where(start, -np.inf, reduced).max(1, keepdims=True)
        middle = (last + following) / 2
        return np.abs(reduced - middle), np.where(start, reduced - following, last - reduced)

    def _by_highs(self, start: Choice, core: Choice, cost: Floats, until: float) -> tuple[Choice | None, bool]:
        """The best choice that differs from ``start`` in the core alone, if one was found, and whether it is sure."""
        rows, columns = np.nonzero(core)
        direction = np.where(start[core], -1.0, 1.0)
        at = np.arange(len(rows))
        each = coo_array((direction, (np.unique(rows, return_inverse=True)[1], at)))
        coupled = coo_array((direction * self.apart[core])[None])
        none, now = np.zeros(each.shape[0]), self.apart[start].sum()
        coupling = LinearConstraint(
            vstack([each, coupled]).tocsr(),
            np.append(none, -self.epsilon - now),
            np.append(none, self.epsilon - now),
        )
        for presolve in (True, False):  # its presolve fails on some small programmes that have no solution
            found = milp(
                cost[core],
                integrality=np.ones(len(rows), np.int64),
                bounds=Bounds(0, 1),
                constraints=coupling,
                options={
                    "time_limit": max(0.01, until - time.monotonic()),
                    "mip_rel_gap": 0.0,
                    "presolve": presolve,
                },
            )
            if found.status in _ANSWERED:
                break
        if found.status not in _ANSWERED:
            raise NoChoiceError(f"the solver failed: {found.message}")
        if found.x is None:
            return None, found.status == 2
        chosen = start.copy()
        chosen[rows, columns] ^= found.x > 0.5
        return chosen, found.status == 0


def _top(values: Floats, k: int) -> Choice:
    """bool [Q, C]: the k largest of each row."""
    chosen = np.zeros(values.shape, bool)
    np.put_along_axis(chosen, np.argpartition(-values, k - 1, axis=1)[:, :k], True, 1)
    return chosen


def reranked_lists(lists: npt.NDArray[np.int32], chosen: Choice, k: int) -> npt.NDArray[np.int32]:
    """int32 [Q, k]: the chosen candidates in the order they had."""
    order = np.argsort(~chosen, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(lists, order, 1)
