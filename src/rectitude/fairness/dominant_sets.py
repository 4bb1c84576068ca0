"""Constrained dominant sets: for every disadvantaged person, the coherent cluster of advantaged people they belong to.

Source: Pavan & Pelillo, "Dominant Sets and Pairwise Clustering", TPAMI 2007; Zemene & Pelillo, "Interactive Image
Segmentation Using Constrained Dominant Sets", ECCV 2016; as used in Han et al., "In-processing User Constrained
Dominant Sets for User-Oriented Fairness in Recommender Systems", ACM MM 2023, arXiv:2309.01335.

For a person i and the advantaged people A, with affinities A_AA [a, a] among these and c = S[i, A] to them, the cluster
is a maximiser of xᵀ(S − α Î)x on the simplex, Î being 1 on the diagonal of A and 0 for i. With α above the largest
eigenvalue of A_AA every local maximiser contains i. Since the block without i is A_AA for everybody, that eigenvalue is
computed once.

With y = x_A / x_i the conditions of optimality are the linear complementarity problem

    (α·1 − A_AA) y + (cᵀy)·1 ≥ c,   y ≥ 0,   with equality wherever y_j > 0,

so x_i = 1 / (1 + Σy) and the weights of the cluster are w = y / Σy. Where all of A is in the cluster, y solves a linear
system: with R = (α·1 − A_AA)⁻¹ and r = R·1, y = R c − s r and s = cᵀRc / (1 + cᵀr). Other rows are finished by
projected Gauss-Seidel sweeps, begun from there.

Departures: the released code takes α = 0.0011 (an estimate of the eigenvalue that is always zero), so that nothing
binds the cluster to i, runs five unnormalised steps, and counts shared items of the test fold too; here α is what the
theory asks for and only training items are read.

Letters: U people, n disadvantaged people of a block, a advantaged people, k neighbours kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_array
from scipy.sparse.linalg import eigsh

from rectitude.core.errors import ConfigError
from rectitude.data.histories import Histories

Floats = npt.NDArray[np.floating[Any]]
Affinity = Literal["cosine", "count", "jaccard"]

SWEEPS = 300
"""Most Gauss-Seidel sweeps."""
EXACT_UP_TO = 512
"""Advantaged people up to which the whole problem is solved for everybody."""
CANDIDATES = 96
"""Nearest advantaged people the problem is solved on beyond that."""
_BLOCK = 1024
"""People solved for together."""


@dataclass(frozen=True, eq=False)
class Clusters:
    """The cluster of each disadvantaged person, cut to its heaviest members.

    Attributes:
        people: int64 [n], whose clusters they are.
        neighbours: int64 [n, k], advantaged people.
        weights: float32 [n, k], each row sums to 1, or to 0 for somebody who shares nothing with anybody.
        alpha: α.
        eigenvalue: Largest eigenvalue of A_AA.
    """

    people: npt.NDArray[np.int64]
    neighbours: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    alpha: float
    eigenvalue: float


def binary(train: Histories, n_items: int) -> csr_array:
    """Who has what, float32 [U, I]."""
    distinct = train.unique()
    ones = np.ones(len(distinct.items), np.float32)
    return csr_array((ones, distinct.items, distinct.offsets), shape=(len(distinct), n_items))


def affinities(first: csr_array, second: csr_array, kind: Affinity) -> npt.NDArray[np.float32]:
    """How alike people are by the items they share.

    Args:
        first: float32 [n, I], binary.
        second: float32 [a, I], binary.
        kind: ``cosine`` of the rows, ``jaccard``, or the raw ``count`` of shared items.

    Returns:
        float32 [n, a], between 0 and 1 but for counts.
    """
    shared: npt.NDArray[np.float32] = (first @ second.T).toarray().astype(np.float32)
    if kind == "count":
        return shared
    of_first, of_second = np.asarray(first.sum(1), np.float32), np.asarray(second.sum(1), np.float32)
    if kind == "jaccard":
        size = of_first[:, None] + of_second[None] - shared
    else:
        size = np.sqrt(of_first[:, None] * of_second[None])
    return np.asarray(np.divide(shared, size, out=np.zeros_like(shared), where=size > 0))


def user_clusters(
    train: Histories,
    n_items: int,
    advantaged: npt.NDArray[np.int64],
    disadvantaged: npt.NDArray[np.int64],
    *,
    affinity: Affinity = "cosine",
    coefficient: float = 1.1,
    k: int = 3,
) -> Clusters:
    """The constrained dominant set of every disadvantaged person.

    Cost: 6,040 people with 302 advantaged ones take some two CPU seconds. Memory is that of a few [1024, a] blocks and
    two [a, a] matrices. Beyond 512 advantaged people the problem is solved on each person's 96 nearest ones; α stays
    valid, because a part of A_AA has no larger eigenvalue.

    Args:
        train: U rows; nothing else is read.
        n_items: I.
        advantaged: Indices of the advantaged people.
        disadvantaged: Indices of the others.
        affinity: See :func:`affinities`.
        coefficient: α over the largest eigenvalue of A_AA; above 1. Near 1 everybody gets the same hubs, large values
            give the nearest neighbours.
        k: Members kept.

    Raises:
        ConfigError: One of the groups is empty, or the coefficient is not above 1.
    """
    if not len(advantaged) or not len(disadvantaged):
        empty = "advantaged" if not len(advantaged) else "disadvantaged"
        raise ConfigError(f"The {empty} group is empty", where="groups", fix="Choose another share")
    if coefficient <= 1:
        raise ConfigError(
            f"A coefficient of {coefficient:g} does not bind a cluster to its person", fix="Use more than 1, e.g. 1.1"
        )
    rows = binary(train, n_items)
    of_advantaged = rows[advantaged]
    block = affinities(of_advantaged, of_advantaged, affinity)
    np.fill_diagonal(block, 0.0)
    unit = float(block.max()) if affinity == "count" and block.any() else 1.0
    block /= unit
    eigenvalue = largest_eigenvalue(block)
    alpha = coefficient * max(eigenvalue, 1e-6)
    solver = ClusterSolver(block, alpha)
    k = min(k, len(advantaged))
    neighbours = np.empty((len(disadvantaged), k), np.int64)
    weights = np.empty((len(disadvantaged), k), np.float32)
    for start in range(0, len(disadvantaged), _BLOCK):
        here = slice(start, start + _BLOCK)
        near = affinities(rows[disadvantaged[here]], of_advantaged, affinity) / unit
        members, share = solver.heaviest(near, k)
        neighbours[here], weights[here] = advantaged[members], share
    return Clusters(disadvantaged, neighbours, weights, alpha, eigenvalue)


def largest_eigenvalue(block: Floats) -> float:
    """Of a symmetric non-negative matrix [a, a]."""
    if len(block) < 50 or not block.any():
        return float(np.linalg.eigvalsh(block)[-1])
    start = np.ones(len(block))  # the leading eigenvector of a non-negative matrix is non-negative
    found = eigsh(block.astype(np.float64), k=1, which="LA", v0=start, return_eigenvectors=False, tol=1e-8)
    return float(found[0])


class ClusterSolver:
    """Solves the complementarity problem for many people who share A_AA.

    Args:
        block: A_AA, float [a, a], symmetric, zero diagonal.
        alpha: α, above its largest eigenvalue.
    """

    def __init__(self, block: Floats, alpha: float) -> None:
        self.block, self.alpha = np.ascontiguousarray(block, np.float32), np.float32(alpha)
        self.n = len(block)
        if self.n <= EXACT_UP_TO:
            factor = cho_factor(alpha * np.eye(self.n) - block.astype(np.float64))
            self.inverse = cho_solve(factor, np.eye(self.n))  # R
            self.row_sums = self.inverse.sum(1)  # r

    def heaviest(self, near: Floats, k: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """The k heaviest members of each cluster, heaviest first, and their shares.

        Args:
            near: c, float [n, a].
            k: At most a.
        """
        if self.n <= EXACT_UP_TO:
            return _heaviest(self.solve(near), k)
        candidates = np.argpartition(-near, CANDIDATES, axis=1)[:, :CANDIDATES]
        close = np.take_along_axis(near, candidates, 1)
        weights = self._solve_on(candidates, close)
        members, share = _heaviest(weights, k)
        return np.take_along_axis(candidates, members, 1), share

    def solve(self, near: Floats) -> npt.NDArray[np.float64]:
        """y, float64 [n, a]: how much heavier each advantaged person is in the cluster than the person themselves.

        Args:
            near: c, float [n, a].
        """
        c = np.asarray(near, np.float64)
        by_inverse = c @ self.inverse
        s = (by_inverse * c).sum(1) / (1 + c @ self.row_sums)
        y = by_inverse - s[:, None] * self.row_sums
        short = np.flatnonzero((y < 0).any(1))
        if len(short):
            y[short] = _sweep(self.block.astype(np.float64), c[short].T, np.maximum(y[short], 0).T, float(self.alpha)).T
        return np.asarray(y)

    def _solve_on(self, candidates: npt.NDArray[np.int64], close: Floats) -> npt.NDArray[np.float32]:
        """y on each person's own candidates, float32 [n, m], from [n, m] each; sweeps over the candidates."""
        blocks = self.block[candidates[:, :, None], candidates[:, None, :]]  # [n, m, m]
        c = np.asarray(close, np.float32)
        y = np.zeros_like(c)
        along = np.zeros(len(c), np.float32)
        passed = np.zeros_like(c)  # A y
        scale = max(float(c.max(initial=0.0)), 1e-12) / float(self.alpha)
        for _ in range(SWEEPS):
            moved = np.float32(0.0)
            for j in range(c.shape[1]):
                step = (c[:, j] - along + passed[:, j] - self.alpha * y[:, j]) / (self.alpha + c[:, j])
                change = np.maximum(y[:, j] + step, 0) - y[:, j]
                y[:, j] += change
                along += c[:, j] * change
                passed += blocks[:, j] * change[:, None]
                moved = max(moved, np.abs(change).max(initial=0.0))
            if moved < 1e-5 * scale:
                break
        return y


def _sweep(
    block: npt.NDArray[np.float64], c: npt.NDArray[np.float64], y: npt.NDArray[np.float64], alpha: float
) -> npt.NDArray[np.float64]:
    """Projected Gauss-Seidel, y [a, n] from c and a start [a, n]; some people at a time, to stay in the cache."""
    c, y = np.ascontiguousarray(c), np.ascontiguousarray(y)
    for start in range(0, y.shape[1], 256):
        some, at = np.ascontiguousarray(c[:, start : start + 256]), np.ascontiguousarray(y[:, start : start + 256])
        weight = 1 / (alpha + some)
        along = (some * at).sum(0)
        scale = max(float(some.max(initial=0.0)), 1e-12) / alpha
        for _ in range(SWEEPS):
            moved = 0.0
            for j in range(len(at)):
                step = (some[j] - along + block[j] @ at - alpha * at[j]) * weight[j]
                new = np.maximum(at[j] + step, 0)
                change = new - at[j]
                along += some[j] * change
                at[j] = new
                moved = max(moved, float(np.abs(change).max()))
            if moved < 1e-6 * scale:
                break
        y[:, start : start + 256] = at
    return y


def _heaviest(y: Floats, k: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """The k largest entries of each row, largest first, as shares of their sum; rows of zeros keep zeros."""
    order = np.argsort(-y, axis=1, kind="stable")[:, :k]
    kept = np.take_along_axis(y, order, 1)
    total = kept.sum(1, keepdims=True)
    share = np.divide(kept, total, out=np.zeros_like(kept), where=total > 0)
    return order.astype(np.int64), share.astype(np.float32)


def replicator(block: Floats, near: Floats, alpha: float, steps: int = 100_000) -> npt.NDArray[np.float64]:
    """The same cluster by replicator dynamics, for one person: slow, and what the closed form is tested against.

    Args:
        block: A_AA, float [a, a].
        near: c, float [a].
        alpha: α.
        steps: Most steps.

    Returns:
        x, float64 [1 + a]: the person first.
    """
    n = len(block) + 1
    payoff = np.zeros((n, n))
    payoff[1:, 1:] = block - alpha * np.eye(n - 1)
    payoff[0, 1:] = payoff[1:, 0] = near
    payoff += alpha  # adds a constant on the simplex and makes all payoffs non-negative
    x = np.full(n, 0.5 / (n - 1))
    x[0] = 0.5
    for _ in range(steps):
        gained = payoff @ x
        new = x * gained / (x @ gained)
        moved, x = np.abs(new - x).max(), new
        if moved < 1e-12:
            break
    return np.asarray(x)
