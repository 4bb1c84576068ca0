"""Group fairness as linear constraints on a decision: events, contrasts between groups, shifted scores.

Every criterion compares, between groups, the probability of an *event*: "predicted class j, given that the true class
is one of a set". With class probabilities η, and h_j(x, a) the probability that the decision gives class j, an event
has the rate Σ_i φ_e(η_i) h_j(i) / Σ_i φ_e(η_i) over a group's rows, φ_e(η) being the probability that the true class is
in the event's set. A disparity is a weighted sum of such rates, linear in h; so is the Lagrangian, and its minimiser
takes the class with the largest *shifted score*

    s_j(x, a) = η_j − Σ_{e: class of e is j} φ_e(η) · shift[a, e],      shift[a, e] = Σ_c λ[c, e] W[c, a, e]

with duals λ and contrast weights W. For demographic parity φ = 1 and the shift is added; for equal opportunity
φ = η_j and it scales the score. Weights of a client's own constraints come from the same function, given its own
counts, with local duals ν_k = μ_k / P(K=k): then all duals live on one scale, whatever a client's size.

Source: "FedFACT", arXiv 2506.03777, sections on confusion-matrix constraints and the Bayes-optimal fair classifier;
the matrices D^{a,k}_u of the paper are p_{a,k} W[c, a, e] on the event's cells.

Letters: n rows, m classes, G groups, C contrasts, E events.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt

from rectitude.federated.contracts import Criterion, Floats, Integers

Form = Literal["pairwise", "subgroup"]


@dataclass(frozen=True)
class Events:
    """The events whose rates are compared.

    Args:
        given: Whether true class y is among those an event is conditioned on, bool [E, m].
        predicted: The predicted class of each event, int64 [E].
    """

    given: npt.NDArray[np.bool_]
    predicted: Integers

    def __len__(self) -> int:
        return len(self.predicted)


def events_of(criterion: Criterion, n_classes: int) -> Events:
    """Events of a criterion.

    With two classes those of class 1 suffice: the rates of class 0 are their complements. ``eop`` with two classes is
    therefore equal opportunity in its usual sense (true-positive rates), and ``eo`` compares true- and false-positive
    rates.

    Args:
        criterion: ``dp``: P(Ŷ=j). ``eop``: P(Ŷ=j | Y=j). ``eo``: that, and P(Ŷ=j | Y≠j). ``eo_full``: P(Ŷ=j | Y=i).
        n_classes: The letter m.
    """
    own = np.eye(n_classes, dtype=bool)
    classes = [1] if n_classes == 2 else list(range(n_classes))
    everyone = np.ones(n_classes, dtype=bool)
    pairs = {
        "dp": [(everyone, j) for j in classes],
        "eop": [(own[j], j) for j in classes],
        "eo": [(given, j) for j in classes for given in (own[j], ~own[j])],
        "eo_full": [(own[i], j) for i in range(n_classes) for j in classes],
    }[criterion]
    return Events(np.array([given for given, _ in pairs]), np.array([j for _, j in pairs], dtype=np.int64))


def event_weights(eta: Floats, events: Events) -> Floats:
    """φ: how probable it is that a row's true class is among those an event is conditioned on, float64 [n, E].

    Args:
        eta: Class probabilities, float64 [n, m].
        events: What is compared.
    """
    return np.asarray(eta @ events.given.T.astype(np.float64))


def contrasts(counts: Floats, events: Events, form: Form = "pairwise") -> Floats:
    """Weights W with which a disparity sums over rows: D[c, e] = (1/n) Σ_i W[c, a_i, e] φ_e(η_i) h_{j(e)}(i).

    A group without rows in an event's condition takes no part there: its weights are zero. With no more than one group
    left, all are.

    Args:
        counts: Rows, or sums of class probabilities, by group and true class, [G, m].
        events: What is compared.
        form: ``pairwise``: rate of one group minus rate of another, C = G(G−1)/2. ``subgroup``: rate of a group minus
            that of all together, C = G (1 for two groups, whose two constraints say the same), the paper's; |D| ≤ ξ
            there allows pairwise gaps up to 2ξ.

    Returns:
        float64 [C, G, E].
    """
    groups = len(counts)
    total = float(counts.sum())
    mass = counts @ events.given.T.astype(np.float64)  # [G, E], in rows
    with np.errstate(divide="ignore"):
        of_one = np.where(mass > 0, total / mass, 0.0)
        of_all = np.where(mass.sum(0) > 0, total / mass.sum(0), 0.0)
    if form == "subgroup" and groups > 2:
        weights = np.broadcast_to(-of_all, (groups, groups, len(events))).copy()
        weights[np.arange(groups), np.arange(groups)] += of_one
        return weights * (mass > 0)[:, None, :]
    pairs = list(combinations(range(groups), 2))
    weights = np.zeros((len(pairs), groups, len(events)))
    for c, (one, other) in enumerate(pairs):
        both = (mass[one] > 0) & (mass[other] > 0)
        weights[c, one] = np.where(both, of_one[one], 0.0)
        weights[c, other] = np.where(both, -of_one[other], 0.0)
    if form == "subgroup" and groups == 2:  # the smaller group is further from all than the larger: it alone counts
        weights *= mass.max(axis=0) / np.maximum(mass.sum(axis=0), 1e-300)
    return weights


def shifts(duals: Floats, weights: Floats) -> Floats:
    """Shift of each group's score, float64 [G, E].

    Args:
        duals: Signed, [C, E]: upper minus lower.
        weights: W, [C, G, E].
    """
    return np.asarray(np.add.reduce(duals[:, None] * weights))


def shifted_scores(eta: Floats, groups: Integers, shift: Floats, events: Events) -> Floats:
    """Scores whose largest is the fair decision, float64 [n, m].

    Args:
        eta: Class probabilities, [n, m].
        groups: Group of each row, [n].
        shift: Sum of the global and the local shift, [G, E].
        events: What is compared.
    """
    classes = np.eye(eta.shape[1])[events.predicted]  # [E, m]
    return np.asarray(eta - (shift[groups] * event_weights(eta, events)) @ classes)


def best_class(scores: Floats, rng: np.random.Generator) -> Integers:
    """The class with the largest score; of several, one at random.

    Without that, a score that is constant would always be given the same class, and look unfair.

    Args:
        scores: [n, m].
        rng: For ties.
    """
    top = scores >= scores.max(axis=1, keepdims=True) - 1e-12
    chosen = scores.argmax(axis=1)
    tied = np.flatnonzero(top.sum(axis=1) > 1)
    if len(tied):
        chosen[tied] = np.where(top[tied], rng.random((len(tied), scores.shape[1])), -1.0).argmax(axis=1)
    return np.asarray(chosen, np.int64)
