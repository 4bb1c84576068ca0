"""The smoothed dual of fair classification, and how client and server minimise it.

For given duals the fair decision maximises shifted scores (:mod:`rectitude.federated.methods.constraints`). The dual

    H(λ, ν) = Σ_k p_k [ (1/n_k) Σ_i β·logsumexp(s(x_i)/β) + ξ_k ‖ν_k‖₁ ] + ξ_g ‖λ‖₁

is jointly convex, and each ν_k occurs at one client only, so that min_λ Σ_k p_k min_{ν_k} H_k is agreed on by messages
of the size of λ. Its gradient by a dual is ξ·sign minus the disparity of the soft decision q = softmax(s/β): at the
optimum that decision keeps every tolerance, and the temperature β costs it at most β·log m of accuracy.

Source: "FedFACT", arXiv 2506.03777, the bi-level form of the post-processing dual; "LoGoFair", arXiv 2503.17231, the
same for two classes and two groups. Departures: logsumexp for the paper's softmax-weighted mean, which is not convex
(with two classes it is a shifted swish function); ν = μ/p_k for μ, so that small clients and rare groups do not need
step sizes of their own; Newton and quasi-Newton steps, which end after some ten rounds, for gradient steps. The
paper's gradient step of λ is kept as ``server="gradient"``.

Letters: m classes, G groups, C contrasts, E events, U = C·E duals.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linprog

from rectitude.federated.contracts import FederationError, Floats
from rectitude.federated.methods.constraints import Events
from rectitude.federated.methods.population import Dual, Population

_NEWTON_STEPS, _SWEEPS = 50, 100
_DAMPING = 1e-3
"""Of Newton's first step, over the curvature of evenly spread scores: small groups may have no row near a threshold."""
_TURNED = 0.25
"""A slope that rises again by more than this part of its fall tells of too long a step."""
_LARGEST_MOVE = 0.3
"""By how much a round may move a score."""


class Optimum(NamedTuple):
    """Minimiser of a client's own problem.

    Args:
        duals: ν, signed, [C, E].
        rates: Σ φ q of the soft decision there, [G, E].
        excess: By how much the soft disparity is above the tolerance, at most.
        steps: Newton steps taken.
    """

    duals: Floats
    rates: Floats
    excess: float
    steps: int


def minimise(
    population: Population,
    weights: Floats,
    tolerance: float,
    *,
    base: Floats,
    start: Floats,
    beta: Floats,
    bound: float,
    accuracy: float = 1.0,
    precision: float = 1e-5,
) -> Optimum:
    """Minimise (1/n) Σ_i β·logsumexp(s_i/β) + ξ‖ν‖₁ over ‖ν‖₁ ≤ bound, by proximal Newton steps.

    Args:
        population: The client's rows.
        weights: W of the client's own contrasts, [C, G, E].
        tolerance: ξ.
        base: Shift that is given (the global one), [G, E].
        start: ν to begin at.
        beta: Temperature, as in :meth:`Population.soft`.
        bound: Largest ‖ν‖₁.
        accuracy: As in :meth:`Population.soft`.
        precision: Largest violation of the optimality conditions, in units of disparity.
    """
    dual = population.along(weights, base, beta, accuracy)
    duals = start.ravel().copy()
    q = dual.decide(duals)
    disparity = dual.disparity(q)
    gap = optimality_gap(duals, disparity, tolerance, bound)
    steps, damping = 0, _DAMPING
    if gap > precision:
        even, largest = population.scales(weights)
        radius = _LARGEST_MOVE / np.maximum(largest, 1e-12)
    while gap > precision and steps < _NEWTON_STEPS:
        steps += 1
        hessian = dual.hessian(q)
        while True:
            attempt = proximal(hessian + damping * even, -disparity, duals, tolerance, bound, radius)
            new_q = dual.decide(attempt)
            new_disparity = dual.disparity(new_q)
            new_gap = optimality_gap(attempt, new_disparity, tolerance, bound)
            if new_gap <= gap / 2 or damping > 1e3:
                break
            if _penalised(dual, attempt, new_q, tolerance) <= _penalised(dual, duals, q, tolerance) + 1e-12:
                break
            damping = max(10 * damping, 1e-3)
        damping /= 10
        stuck = new_gap >= gap and float(np.abs(attempt - duals).max()) < 1e-9
        duals, q, disparity, gap = attempt, new_q, new_disparity, new_gap
        if stuck:
            break
    excess = max(map(abs, disparity.tolist()), default=0.0) - tolerance
    return Optimum(duals.reshape(start.shape), dual.rates(q), excess, steps)


def _penalised(dual: Dual, duals: Floats, q: Floats, tolerance: float) -> float:
    return dual.value(duals, q) + tolerance * float(np.abs(duals).sum())


def optimality_gap(duals: Floats, disparity: Floats, tolerance: float, bound: float) -> float:
    """Largest violation of the conditions of a minimum, in units of disparity.

    Where a dual is zero its disparity is at most the tolerance; elsewhere it equals it, with the dual's sign. At the
    bound disparities may be larger, by one and the same excess.

    Args:
        duals: [C, E].
        disparity: Of the soft decision, [C, E].
        tolerance: ξ.
        bound: Largest ‖duals‖₁.
    """
    at, seen = duals.ravel().tolist(), disparity.ravel().tolist()  # plain numbers: quicker for a handful
    if sum(map(abs, at)) >= bound * (1 - 1e-9):
        tolerance = max(tolerance, *map(abs, seen))
    return max(
        [
            abs(value - math.copysign(tolerance, dual)) if dual else max(abs(value) - tolerance, 0.0)
            for dual, value in zip(at, seen, strict=True)
        ],
        default=0.0,
    )


def proximal(
    hessian: Floats, gradient: Floats, at: Floats, penalty: float, bound: float, radius: Floats | None = None
) -> Floats:
    """Minimise g·(x − x₀) + ½ (x − x₀)ᵀ H (x − x₀) + penalty·‖x‖₁ over ‖x‖₁ ≤ bound and |x − x₀| ≤ radius.

    The bound acts as a larger penalty, which is found by bisection.

    Args:
        hessian: H, positive semi-definite, [U, U].
        gradient: g, [U].
        at: x₀, [U].
        penalty: Of the ℓ₁ norm.
        bound: Of the ℓ₁ norm.
        radius: How far each coordinate may move, [U]; any distance where None.
    """
    radius = np.full(len(at), np.inf) if radius is None else radius
    if len(at) == 1:  # the usual case, two groups and two classes, without a search
        curve, here, reach = max(float(hessian[0, 0]), 1e-12), float(at[0]), float(radius[0])
        free = curve * here - float(gradient[0])
        size = min(max(abs(free) - penalty, 0.0) / curve, bound)
        return np.array([min(max(size if free > 0 else -size, here - reach), here + reach)])
    found = _coordinate_descent(hessian, gradient, at, penalty, radius)
    if np.abs(found).sum() <= bound:
        return found
    low, high = penalty, penalty + float(np.abs(gradient - hessian @ at).max()) + 1.0
    for _ in range(25):
        middle = (low + high) / 2
        found = _coordinate_descent(hessian, gradient, at, middle, radius)
        low, high = (middle, high) if np.abs(found).sum() > bound else (low, middle)
    found = _coordinate_descent(hessian, gradient, at, high, radius)
    return found * min(1.0, bound / max(float(np.abs(found).sum()), 1e-300))


def _coordinate_descent(hessian: Floats, gradient: Floats, at: Floats, penalty: float, radius: Floats) -> Floats:
    """:func:`proximal` without a bound; a coordinate without curvature stays where it is."""
    h: list[list[float]] = hessian.tolist()
    low, high = (at - radius).tolist(), (at + radius).tolist()
    x, slope = at.tolist(), gradient.tolist()  # plain numbers: a handful of coordinates is quicker without arrays
    ridge = 1e-9 * (max((row[u] for u, row in enumerate(h)), default=0.0) + 1e-12)
    for _ in range(_SWEEPS):
        largest = 0.0
        for u, row in enumerate(h):
            curve = row[u] + ridge
            if row[u] <= ridge:
                continue
            free = curve * x[u] - slope[u]
            new = (free - penalty if free > penalty else free + penalty if free < -penalty else 0.0) / curve
            new = min(max(new, low[u]), high[u])
            change = new - x[u]
            if change:
                x[u] = new
                for v, value in enumerate(row):
                    slope[v] += value * change
                largest = max(largest, abs(change) * curve)
        if largest < 1e-8:
            break
    return np.array(x)


class DualServer:
    """The server's minimisation of a convex function of which every round tells the gradient at one point.

    The gradient by λ is minus the disparity. A quasi-Newton model (BFGS, from what was seen) gives the next λ. If the
    function's slope has turned upwards on the way there, the step was too long, and the next λ lies between. Function
    values are not needed, hence not sent.

    Args:
        weights: W of the global contrasts, [C, G, E].
        curvature: First guess of the second derivative, [C·E, C·E]; rescaled by what is seen.
        tolerance: ξ_g.
        bound: Largest ‖λ‖₁.
        precision: Violation of the optimality conditions at which it is done.
    """

    def __init__(self, weights: Floats, curvature: Floats, tolerance: float, bound: float, precision: float) -> None:
        self.tolerance, self.bound, self.precision = tolerance, bound, precision
        self.radius = _LARGEST_MOVE / np.maximum(np.abs(weights).max(axis=1).ravel(), 1e-12)
        self._model, self._centre, self._told = curvature, 0, 1
        self._back: Floats | None = None  # where to look again after too long a step

    def next(self, points: list[Floats], disparities: list[Floats]) -> Floats | None:
        """Where to look next, or None when the last point is good enough.

        Args:
            points: Duals λ of every round so far, [C, E] each; those of the calls before, and new ones.
            disparities: Global disparities seen there.
        """
        if self.gap(points[-1], disparities[-1]) <= self.precision:
            return None
        for i in range(self._told, len(points)):
            centre = self._centre
            along = (points[i] - points[centre]).ravel()
            turn = (disparities[centre] - disparities[i]).ravel()  # the gradient is minus the disparity
            self._model = _bfgs(self._model, along, turn, rescale=i == 1)
            before, after = (self._slope(points[at], disparities[at], along) for at in (centre, i))
            if after <= -_TURNED * before or np.abs(along).max() < 1e-9:
                self._centre, self._back = i, None
            else:
                part = min(0.7, max(0.1, before / (before - after))) if before < 0 else 0.5
                self._back = points[centre].ravel() + part * along
        self._told = len(points)
        found = self._back
        if found is None:
            here, gradient = points[self._centre].ravel(), -disparities[self._centre].ravel()
            found = proximal(self._model, gradient, here, self.tolerance, self.bound, self.radius)
        return found.reshape(points[0].shape)

    def gap(self, point: Floats, disparity: Floats) -> float:
        """Violation of the optimality conditions at one point."""
        return optimality_gap(point, disparity, self.tolerance, self.bound)

    def _slope(self, point: Floats, disparity: Floats, along: Floats) -> float:
        """Derivative of the penalised function along a direction; plain numbers, as there are a handful."""
        there = zip(point.ravel().tolist(), disparity.ravel().tolist(), along.tolist(), strict=True)
        return math.fsum([(math.copysign(self.tolerance, dual or step) - seen) * step for dual, seen, step in there])


def _bfgs(model: Floats, s: Floats, y: Floats, *, rescale: bool) -> Floats:
    """The model's matrix after a step s that changed the gradient by y."""
    bent = model @ s
    expected, seen = float(s @ bent), float(s @ y)
    if expected <= 1e-14:
        return model
    if rescale and seen > 0:
        model, bent, expected = model * (seen / expected), bent * (seen / expected), seen
    if seen < 0.2 * expected:  # Powell's damping keeps the model positive definite
        mix = 0.8 * expected / (expected - seen)
        y = mix * y + (1 - mix) * bent
        seen = float(s @ y)
    return np.asarray(model - np.outer(bent, bent) / expected + np.outer(y, y) / seen)


def tightest(disparities: list[Floats]) -> tuple[float, Floats]:
    """The smallest largest disparity of any mixture of decisions, and the duals that prove it.

    The linear programme max z subject to z ≤ λ·D_t for every decision t and ‖λ‖₁ ≤ 1. A decision that does better for
    these λ can be added, until there is none (column generation).

    Args:
        disparities: Of the decisions, [C, E] each.

    Returns:
        z, and λ [C, E].

    Raises:
        FederationError: The programme was not solved.
    """
    columns = np.stack([seen.ravel() for seen in disparities])  # [T, U]
    n, u = columns.shape
    solved = linprog(
        np.append(np.zeros(2 * u), -1.0),
        A_ub=np.concatenate([np.hstack([-columns, columns, np.ones((n, 1))]), np.append(np.ones(2 * u), 0.0)[None]]),
        b_ub=np.append(np.zeros(n), 1.0),
        bounds=[(0, None)] * (2 * u) + [(None, None)],
        method="highs",
    )
    if solved.x is None:
        raise FederationError(f"The tightest tolerance's linear programme was not solved: {solved.message}")
    duals = np.asarray(solved.x[:u] - solved.x[u : 2 * u])
    return float(solved.x[-1]), duals.reshape(disparities[0].shape)


def first_curvature(weights: Floats, counts: Floats, events: Events) -> Floats:
    """A guess at the second derivative by λ: as if scores were spread evenly near the decision.

    Args:
        weights: W of the global contrasts, [C, G, E].
        counts: By group and class, [G, m].
        events: What is compared.
    """
    share = counts @ events.given.T / counts.sum()  # E[φ; a], [G, E]
    c, _, e = weights.shape
    same = (events.predicted[:, None] == events.predicted) & (events.given @ events.given.T)
    guess = np.einsum("cge,dgf,ge,ef->cedf", weights, weights, share, same.astype(np.float64))
    guess = guess.reshape(c * e, c * e)
    guess = (guess + guess.T) / 2
    return np.asarray(guess + 1e-6 * np.trace(guess) / max(len(guess), 1) * np.eye(len(guess)))


def gradient_step(point: Floats, disparity: Floats, tolerance: float, bound: float, step: Any) -> Floats:
    """A projected gradient step on both halves of λ, as the paper takes it.

    Args:
        point: λ, [C, E].
        disparity: There.
        tolerance: ξ_g.
        bound: Largest ‖λ‖₁.
        step: Step size of each dual, broadcast to [C, E].
    """
    upper = np.maximum(np.maximum(point, 0) + step * (disparity - tolerance), 0)
    lower = np.maximum(np.maximum(-point, 0) + step * (-disparity - tolerance), 0)
    moved = upper - lower
    over = float(np.abs(moved).sum())
    if over <= bound:
        return np.asarray(moved)
    sizes = np.sort(np.abs(moved).ravel())[::-1]
    excess = (np.cumsum(sizes) - bound) / np.arange(1, len(sizes) + 1)
    cut = float(excess[np.flatnonzero(sizes > excess)[-1]])
    return np.asarray(np.sign(moved) * np.maximum(np.abs(moved) - cut, 0))
