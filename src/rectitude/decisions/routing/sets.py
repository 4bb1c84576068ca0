"""Several models at once: cascades and fall-back lists within a budget, over providers, covering what must be covered.

A soft wish is met by a set as far as by its best member. With the distinct degrees ``v_1 < … < v_L`` to which models
meet it that is exact as MaxSAT: soft ``s_l`` of weight ``w (v_l − v_{l−1})`` with hard ``s_l → ∨_{m: v_m ≥ v_l} x_m``.
Hard wishes hold for every member. The budget ``Σ price_m x_m ≤ B`` becomes a decision diagram, the size and the number
of providers cardinality constraints.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from pydantic import Field

from rectitude.core.config import Settings
from rectitude.core.errors import ConfigError
from rectitude.decisions.routing.clauses import Atom
from rectitude.decisions.routing.maxsat import SolverTimeoutError, _pysat, compute
from rectitude.decisions.routing.problem import Problem
from rectitude.decisions.routing.truth import atom_truth

_CANDIDATES = 80
"""Models that are given to the solver; of more, the best, the cheapest and those that cover what must be covered."""
_MICRO = 1_000_000


class SetWish(Settings):
    """What a set of models must be."""

    size: int = Field(default=3, ge=1, le=10)
    """Most members."""
    budget: float | None = Field(default=None, ge=0)
    """Most that the members may cost together, in ``price_of``."""
    price_of: str = "price"
    """What the budget is in: ``price`` (USD per million tokens) or ``job_cost`` (USD per request)."""
    providers: int = Field(default=1, ge=1, le=10)
    """Fewest different providers (makers, where all have one provider)."""
    cover: tuple[Atom, ...] = ()
    """Each must hold for some member."""


@dataclass(frozen=True)
class SetChoice:
    """A set of models.

    Attributes:
        rows: Members, the cheapest first, as a cascade asks them.
        value: Weight of the wishes met.
        price: What the members cost together; None where a price is unknown.
        status: ``optimal``; ``optimal among N`` where not all models were given to the solver; ``infeasible``;
            ``timeout`` with the best set known.
    """

    rows: tuple[int, ...]
    value: int
    price: float | None
    status: str


def set_value(problem: Problem, rows: Sequence[int]) -> int:
    """Weight met by a set, each wish as far as by its best member; the same integers the solver sees."""
    return sum(int(weights[list(rows)].max()) for weights in _met(problem))


def _met(problem: Problem) -> Iterator[np.ndarray[Any, Any]]:
    for position, (_, weight) in enumerate(problem.rows):
        yield weight - problem.losses[:, position]


def _prices(problem: Problem, wish: SetWish) -> np.ndarray[Any, Any]:
    return problem.catalogue.column(wish.price_of, problem.request)


def _houses(problem: Problem) -> np.ndarray[Any, Any]:
    """Provider codes, or makers where there is one provider only."""
    for name in ("provider", "maker"):
        codes = problem.catalogue.categories.get(name, (np.zeros(len(problem.catalogue), np.int32), ()))[0]
        if np.unique(codes).size > 1:
            return np.asarray(codes)
    return np.zeros(len(problem.catalogue), np.int32)


def _covers(problem: Problem, wish: SetWish) -> list[np.ndarray[Any, Any]]:
    return [atom_truth(problem.catalogue, atom, problem.request) == 1 for atom in wish.cover]


def allowed(problem: Problem, wish: SetWish, rows: Sequence[int]) -> bool:
    """Does a set meet every hard wish, the budget, the providers and the coverage?"""
    index = list(rows)
    price = _prices(problem, wish)[index].sum()
    houses = np.unique(_houses(problem)[index])
    return (
        len(index) <= wish.size
        and bool(problem.feasible[index].all())
        and (wish.budget is None or (not np.isnan(price) and round(price * _MICRO) <= round(wish.budget * _MICRO)))
        and (houses >= 0).sum() >= wish.providers
        and all(cover[index].any() for cover in _covers(problem, wish))
    )


def brute_force_sets(problem: Problem, wish: SetWish) -> SetChoice:
    """The best set by trying all: the oracle of :func:`choose_sets`, for small catalogues."""
    best: tuple[int, int, tuple[int, ...]] | None = None
    rows = [int(row) for row in np.flatnonzero(problem.feasible)]
    for size in range(1, wish.size + 1):
        for chosen in combinations(rows, size):
            if allowed(problem, wish, chosen):
                key = (set_value(problem, chosen), -size, chosen)
                best = key if best is None or key[:2] > best[:2] else best
    if best is None:
        return SetChoice((), 0, None, "infeasible")
    return _choice(problem, wish, best[2], "optimal")


def choose_sets(problem: Problem, wish: SetWish, most: int = 1, seconds: float = 10.0) -> list[SetChoice]:
    """The best sets, by RC2; each further one by blocking ``∨_{m∈R} ¬x_m``, which leaves out its supersets too.

    Args:
        problem: Wishes; their hard clauses hold for every member.
        wish: What the set must be.
        most: How many sets.
        seconds: For all of them.

    Returns:
        Best first; one with status ``infeasible`` where there is none. Of sets of equal value a smaller one is best.

    Raises:
        ConfigError: The budget is given in something unknown.
    """
    import time

    if wish.budget is not None and np.isnan(_prices(problem, wish)).all():
        fix = "Give --tokens-in and --tokens-out" if wish.price_of == "job_cost" else "Use a catalogue with prices"
        raise ConfigError(f"No {wish.price_of} of any model is known, so no budget can be kept", fix=fix)
    rows, whole = _candidates(problem, wish)
    if not rows:
        return [SetChoice((), 0, None, "infeasible")]
    rc2, *_ = _pysat()
    formula = _formula(problem, wish, rows)
    found: list[SetChoice] = []
    ends = time.monotonic() + seconds
    status = "optimal" if whole else f"optimal among {len(rows)}"
    with rc2(formula) as solver:
        while len(found) < most:
            try:
                model = compute(solver, ends - time.monotonic())
            except SolverTimeoutError:
                return found or [_greedy(problem, wish, rows)]
            if model is None:
                break
            chosen = [position for position in range(len(rows)) if model[position] > 0]
            found.append(_choice(problem, wish, [rows[position] for position in chosen], status))
            solver.add_clause([-(position + 1) for position in chosen])
    return found or [SetChoice((), 0, None, "infeasible")]


def _candidates(problem: Problem, wish: SetWish) -> tuple[list[int], bool]:
    rows = np.flatnonzero(problem.feasible)
    prices = _prices(problem, wish)
    if wish.budget is not None:
        rows = rows[prices[rows] <= wish.budget + 1e-12]
    if rows.size <= _CANDIDATES:
        return [int(row) for row in rows], True
    ranked = problem.ranked(rows)
    kept = [*ranked[: _CANDIDATES // 2], *rows[np.argsort(prices[rows], kind="stable")][: _CANDIDATES // 4]]
    for cover in _covers(problem, wish):
        kept += [row for row in ranked if cover[row]][: wish.size]
    return sorted({int(row) for row in kept}), False


def _formula(problem: Problem, wish: SetWish, rows: list[int]) -> Any:
    _, wcnf, card, enc, _ = _pysat()
    formula = wcnf()
    selectors = list(range(1, len(rows) + 1))
    formula.append(selectors)
    top = len(rows)
    for clause in card.atmost(lits=selectors, bound=wish.size, top_id=top, encoding=enc.seqcounter).clauses:
        formula.append(clause)
        top = max(top, *(abs(literal) for literal in clause))
    for cover in _covers(problem, wish):
        covering = [selector for selector, row in zip(selectors, rows, strict=True) if cover[row]]
        if covering:
            formula.append(covering)
        else:
            _forbid(formula, selectors)
    top = _spread(formula, wish, _houses(problem)[rows], selectors, top)
    if wish.budget is not None:
        prices = np.rint(_prices(problem, wish)[rows] * _MICRO).astype(np.int64)
        top = add_budget(formula, selectors, [int(price) for price in prices], round(wish.budget * _MICRO), top)
    smaller = wish.size + 1  # a set that is as good with fewer members is better
    for weights in _met(problem):
        own = weights[rows]
        before = 0
        for level in sorted({int(weight) for weight in own if weight > 0}):
            top += 1
            formula.append([-top, *(s for s, weight in zip(selectors, own, strict=True) if weight >= level)])
            formula.append([top], weight=(level - before) * smaller)
            before = level
    for selector in selectors:
        formula.append([-selector], weight=1)
    return formula


def _spread(formula: Any, wish: SetWish, houses: np.ndarray[Any, Any], selectors: list[int], top: int) -> int:
    """At least so many different providers."""
    if wish.providers <= 1:
        return top
    _, _, card, enc, _ = _pysat()
    present = []
    for house in sorted({int(house) for house in houses if house >= 0}):
        top += 1
        present.append(top)
        formula.append([-top, *(s for s, other in zip(selectors, houses, strict=True) if other == house)])
    if len(present) < wish.providers:
        _forbid(formula, selectors)
        return top
    encoded = card.atleast(lits=present, bound=wish.providers, top_id=top, encoding=enc.seqcounter)
    for clause in encoded.clauses:
        formula.append(clause)
    return max(top, int(encoded.nv))


def _forbid(formula: Any, literals: Sequence[int]) -> None:
    """No model at all, which "at least one" then refuses."""
    for literal in literals:
        formula.append([-literal])


def add_budget(formula: Any, literals: Sequence[int], costs: Sequence[int], budget: int, top: int) -> int:
    """Clauses of ``Σ cost · literal ≤ budget`` by a reduced decision diagram; returns the highest variable used.

    Nodes are shared over intervals of budgets for which the rest of the constraint is the same.
    Source: Abío et al., *A New Look at BDDs for Pseudo-Boolean Constraints* (JAIR 2012), §4.
    """
    order = sorted(range(len(costs)), key=lambda position: -costs[position])
    sorted_costs = [costs[position] for position in order]
    suffix = [sum(sorted_costs[position:]) for position in range(len(costs) + 1)]
    memo: list[list[tuple[int, int, int]]] = [[] for _ in range(len(costs) + 1)]
    true, false = 0, -1
    infinite = suffix[0] + abs(budget) + 1

    def node(place: int, left: int) -> tuple[int, int, int]:
        """Variable that promises the rest stays within ``left``, and the interval of budgets it stands for."""
        nonlocal top
        if left < 0:
            return false, -infinite, -1
        if suffix[place] <= left:
            return true, suffix[place], infinite
        for known in memo[place]:
            if known[1] <= left <= known[2]:
                return known
        cost = sorted_costs[place]
        taken, low_taken, high_taken = node(place + 1, left - cost)
        spared, low_spared, high_spared = node(place + 1, left)
        low, high = max(low_taken + cost, low_spared), min(high_taken + cost, high_spared)
        if taken == spared:
            made = taken
        else:
            top += 1
            made, literal = top, literals[order[place]]
            if taken != true:
                formula.append([-made, -literal] if taken == false else [-made, -literal, taken])
            if spared not in (true, false):
                formula.append([-made, spared])
        memo[place].append((made, low, high))
        return memo[place][-1]

    root, _, _ = node(0, budget)
    if root == false:
        _forbid(formula, literals)
    elif root != true:
        formula.append([root])
    return top


def _choice(problem: Problem, wish: SetWish, rows: Sequence[int], status: str) -> SetChoice:
    prices = _prices(problem, wish)
    ordered = sorted(rows, key=lambda row: (np.nan_to_num(prices[row], nan=np.inf), problem.catalogue.ids[row]))
    total = float(prices[list(rows)].sum()) if len(rows) else 0.0
    return SetChoice(tuple(ordered), set_value(problem, rows), None if np.isnan(total) else total, status)


def _greedy(problem: Problem, wish: SetWish, rows: list[int]) -> SetChoice:
    """The best that is known when the solver runs out of time: add what helps most while it is allowed."""
    loose = wish.model_copy(update={"providers": 1, "cover": ()})
    chosen: list[int] = []
    while len(chosen) < wish.size:
        options = [row for row in rows if row not in chosen and allowed(problem, loose, [*chosen, row])]
        if not options:
            break
        best = max(options, key=lambda row: set_value(problem, [*chosen, row]))
        if (
            chosen
            and allowed(problem, wish, chosen)
            and set_value(problem, [*chosen, best]) == set_value(problem, chosen)
        ):
            break
        chosen.append(best)
    known = allowed(problem, wish, chosen) if chosen else False
    return _choice(problem, wish, chosen, "timeout") if known else SetChoice((), 0, None, "timeout")


def describe_set(problem: Problem, wish: SetWish, choice: SetChoice) -> dict[str, Any]:
    """A set as JSON: members with what each is in it for."""
    ids = problem.catalogue.ids
    carries: dict[int, list[str]] = {row: [] for row in choice.rows}
    for position, (row, weight) in enumerate(problem.rows):
        clause = problem.clauses[row.clause]
        met = {member: weight - int(problem.losses[member, position]) for member in choice.rows}
        if met and max(met.values()) > 0:
            best = max(choice.rows, key=lambda member: met[member])
            if clause.id not in carries[best]:
                carries[best].append(clause.id)
    return {
        "status": choice.status,
        "models": [{"model": ids[row], "carries": carries[row]} for row in choice.rows],
        "value": problem.points(choice.value),
        "most": problem.points(problem.total),
        "price": choice.price,
        "price_of": wish.price_of,
        "budget": wish.budget,
        "covers": [
            {"says": str(atom), "by": [ids[row] for row in choice.rows if cover[row]]}
            for atom, cover in zip(wish.cover, _covers(problem, wish), strict=True)
        ],
    }
