"""Rows of a client as the smoothed dual sees them, and the dual along a client's own constraints.

Letters: r cells, m classes, G groups, C contrasts, E events, U = C·E duals.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from scipy.special import expit

from rectitude.federated.contracts import Floats, Integers
from rectitude.federated.methods.constraints import Events, event_weights


class Population:
    """Rows of one client: class probabilities, group, weight.

    Rows of one group whose probabilities fall into the same cell of a grid are taken together at their mean: 6,000 rows
    with two classes become some 300 cells, and an evaluation of the dual some 25 times quicker.

    Args:
        eta: Class probabilities, float64 [n, m].
        groups: Group of each row, int64 [n].
        n_groups: The letter G.
        events: What is compared.
        resolution: Cells per unit of probability; None keeps every row.
        weight: How many rows each row stands for, float64 [n]; one where None.
    """

    def __init__(
        self,
        eta: Floats,
        groups: Integers,
        n_groups: int,
        events: Events,
        *,
        resolution: int | None = 200,
        weight: Floats | None = None,
    ) -> None:
        weight = np.ones(len(eta)) if weight is None else weight
        self.n, self.events, self.n_groups = float(weight.sum()), events, n_groups
        if resolution is not None and len(eta):
            eta, groups, weight = _cells(eta, groups, weight, resolution)
        self.eta = eta.T.copy()  # [m, r]: classes first, so that reducing over them is quick
        self.phi = event_weights(eta, events).T.copy()  # [E, r]
        self.groups = groups
        self.member = (groups == np.arange(n_groups)[:, None]) * weight  # [G, r]
        self.weight = weight
        self.to_class = np.eye(self.eta.shape[0])[events.predicted].T  # [m, E]
        self.same_class = events.predicted[:, None] == events.predicted
        self.mass = self.member @ self.phi.T  # [G, E]
        self.one_event_class = len(self.eta) == 2 and bool((events.predicted == 1).all())
        if self.one_event_class:  # the second score less the first is all that counts
            self.lead = self.eta[1] - self.eta[0]
            spread = (groups == np.arange(n_groups)[:, None])[:, None] * self.phi  # [G, E, r]
            self.spread = spread.reshape(n_groups * len(events), len(groups))
            self.spread_by_weight = self.spread * weight
        self._weights: Floats | None = None
        self._by_dual = np.zeros((0, 0))
        self._moves = (np.zeros((0, 0)), np.zeros((0, 0)))
        self._scales = (np.zeros((0, 0)), np.zeros(0))

    def as_matrix(self, weights: Floats) -> Floats:
        """W [C, G, E] as the matrix from rates to disparities, [U, G·E]; the last one asked for is kept."""
        self._prepare(weights)
        return self._by_dual

    def moves(self, weights: Floats) -> tuple[Floats, Floats]:
        """With two classes: by how much each dual lowers the lead of class 1, [U, r], and that times weight / n."""
        self._prepare(weights)
        return self._moves

    def scales(self, weights: Floats) -> tuple[Floats, Floats]:
        """The curvature by the duals if scores were spread evenly, [U, U], and the largest weight of each, [U]."""
        self._prepare(weights)
        return self._scales

    def _prepare(self, weights: Floats) -> None:
        if self._weights is not weights:
            by_dual = np.einsum("cge,ef->cegf", weights, np.eye(weights.shape[2]))
            self._weights, self._by_dual = weights, by_dual.reshape(len(weights) * weights.shape[2], -1)
            even = (self._by_dual**2) @ self.mass.ravel() / max(self.n, 1)
            self._scales = np.diag(even), np.abs(self._by_dual).max(axis=1, initial=0.0)
            if self.one_event_class:
                moves = self._by_dual @ self.spread
                self._moves = moves, moves * (self.weight / max(self.n, 1))

    def soft(self, shift: Floats, beta: Floats, accuracy: float = 1.0) -> tuple[float, Floats]:
        """Smoothed value and soft decision.

        Args:
            shift: Of each group and event, [G, E].
            beta: Temperature, one or each cell's own, [] or [r].
            accuracy: Weight of the scores themselves; 0 leaves the shifts alone, for the tightest reachable tolerance.

        Returns:
            Σ_i β·logsumexp(s_i/β), and q float64 [m, r].
        """
        scores = accuracy * self.eta - self.to_class @ (shift.T[:, self.groups] * self.phi)
        top = scores.max(axis=0)
        q = np.exp((scores - top) / beta)
        norm = q.sum(axis=0)
        q /= norm
        return float(self.weight @ (top + beta * np.log(norm))), q

    def rates(self, q: Floats) -> Floats:
        """Σ_{i in group} φ_e q_{j(e)}: what the disparities are weighted sums of, float64 [G, E]."""
        return np.asarray(self.member @ (self.phi * q[self.events.predicted]).T)

    def rates_at(self, shift: Floats, beta: Floats, accuracy: float = 1.0) -> Floats:
        """:meth:`rates` of the soft decision at a shift."""
        if not self.one_event_class:
            return self.rates(self.soft(shift, beta, accuracy)[1])
        q = expit((accuracy * self.lead - shift.ravel() @ self.spread) / beta)
        return np.asarray((self.spread_by_weight @ q).reshape(shift.shape))

    def curvature(self, q: Floats, beta: Floats) -> Floats:
        """Second derivative of the value by the shifts of each group, float64 [G, E, E]."""
        one = self.phi * q[self.events.predicted]  # [E, r]
        outer = one[:, None] * (self.same_class[:, :, None] * self.phi[None] - one[None])
        return np.asarray(np.moveaxis((outer / beta) @ self.member.T, 2, 0))

    def along(self, weights: Floats, base: Floats, beta: Floats, accuracy: float = 1.0) -> Dual:
        """The smoothed value as a function of a client's own duals.

        Args:
            weights: W of the client's own contrasts, [C, G, E].
            base: Shift that is given (the global one), [G, E].
            beta: As in :meth:`soft`.
            accuracy: As in :meth:`soft`.
        """
        kind = _OfTwo if self.one_event_class else _OfMany
        return kind(self, weights, base, beta, accuracy)


class Dual(Protocol):
    """(1/n) Σ_i β·logsumexp(s_i/β) by the duals; what the functions take is what :meth:`decide` gave."""

    def decide(self, duals: Floats) -> Floats:
        """Soft decision at duals [U]."""

    def value(self, duals: Floats, q: Floats) -> float:
        """The smoothed value there, up to a constant."""

    def disparity(self, q: Floats) -> Floats:
        """Disparities, the negative gradient, [U]."""

    def hessian(self, q: Floats) -> Floats:
        """Second derivative, [U, U]."""

    def rates(self, q: Floats) -> Floats:
        """:meth:`Population.rates`."""


class _OfMany:
    def __init__(self, people: Population, weights: Floats, base: Floats, beta: Floats, accuracy: float) -> None:
        self.people, self.base, self.beta, self.accuracy = people, base, beta, accuracy
        self.by_dual = people.as_matrix(weights)

    def _soft(self, duals: Floats) -> tuple[float, Floats]:
        shift = self.base + (duals @ self.by_dual).reshape(self.base.shape)
        return self.people.soft(shift, self.beta, self.accuracy)

    def decide(self, duals: Floats) -> Floats:
        return self._soft(duals)[1]

    def value(self, duals: Floats, q: Floats) -> float:
        return self._soft(duals)[0] / self.people.n

    def disparity(self, q: Floats) -> Floats:
        return np.asarray(self.by_dual @ self.rates(q).ravel() / self.people.n)

    def hessian(self, q: Floats) -> Floats:
        curvature, (groups, events) = self.people.curvature(q, self.beta), self.base.shape
        parts = self.by_dual.reshape(len(self.by_dual), groups, events)
        return np.asarray(np.einsum("uge,gef,vgf->uv", parts, curvature, parts) / self.people.n)

    def rates(self, q: Floats) -> Floats:
        return self.people.rates(q)


class _OfTwo:
    """Two classes: a decision is the probability of class 1, [r], and a dual moves its lead along a fixed vector."""

    def __init__(self, people: Population, weights: Floats, base: Floats, beta: Floats, accuracy: float) -> None:
        self.people, self.beta, self.shape = people, beta, base.shape
        moves, self.weighted = people.moves(weights)
        self.moves = moves / beta
        self.lead = (accuracy * people.lead - base.ravel() @ people.spread) / beta

    def decide(self, duals: Floats) -> Floats:
        return np.asarray(expit(self.lead - duals @ self.moves))

    def value(self, duals: Floats, q: Floats) -> float:
        weight = self.people.weight / self.people.n
        return float(weight @ (self.beta * np.logaddexp(0.0, self.lead - duals @ self.moves)))

    def disparity(self, q: Floats) -> Floats:
        return np.asarray(self.weighted @ q)

    def hessian(self, q: Floats) -> Floats:
        return np.asarray((self.weighted * (q - q * q)) @ self.moves.T)

    def rates(self, q: Floats) -> Floats:
        return np.asarray((self.people.spread_by_weight @ q).reshape(self.shape))


def _cells(eta: Floats, groups: Integers, weight: Floats, resolution: int) -> tuple[Floats, Integers, Floats]:
    """Mean probabilities, group and weight of each occupied cell."""
    grid = np.rint(eta[:, 1:] * resolution).astype(np.int64)  # the first follows from the others
    key = np.ravel_multi_index((groups, *grid.T), (int(groups.max()) + 1, *[resolution + 1] * grid.shape[1]))
    _, first, cell = np.unique(key, return_index=True, return_inverse=True)
    size: Floats = np.bincount(cell, weight, len(first)).astype(np.float64)
    mean = np.stack([np.bincount(cell, weight * column, len(first)) for column in eta.T], axis=1) / size[:, None]
    return mean, groups[first], size
