"""Set choice against brute force; the budget's decision diagram against arithmetic."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pysat.formula import CNF
from pysat.solvers import Solver
from routing_cases import random_catalogue, random_clauses

from rectitude.core.errors import ConfigError
from rectitude.decisions.routing.building import build_catalogue
from rectitude.decisions.routing.catalogue import Catalogue
from rectitude.decisions.routing.clauses import Atom
from rectitude.decisions.routing.problem import Policy, build_problem
from rectitude.decisions.routing.sets import SetWish, add_budget, allowed, brute_force_sets, choose_sets, describe_set
from rectitude.decisions.routing.suite import read_gold

PLAIN = Policy(defaults=False)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=7), st.integers(-1, 40))
@settings(max_examples=60, deadline=None)
def test_budget_clauses_allow_exactly_what_is_within(costs: list[int], budget: int) -> None:
    formula = CNF()
    literals = list(range(1, len(costs) + 1))
    add_budget(formula, literals, costs, budget, len(costs))
    with Solver(name="g4", bootstrap_with=[*formula.clauses, [1, -1]]) as solver:
        for bits in product([False, True], repeat=len(costs)):
            chosen = [literal if bit else -literal for literal, bit in zip(literals, bits, strict=True)]
            spent = sum(cost for cost, bit in zip(costs, bits, strict=True) if bit)
            if budget < 0:
                assert not solver.solve(assumptions=chosen) or not any(bits)
            else:
                assert solver.solve(assumptions=chosen) == (spent <= budget)


def test_sets_are_those_of_brute_force() -> None:
    rng = np.random.default_rng(0)
    empty = 0
    for _ in range(120):
        problem = build_problem(random_catalogue(rng, 8), random_clauses(rng, 1, 4), policy=PLAIN)
        cover = (Atom(attr="vision", op="is", value=True),) if rng.random() < 0.5 else ()
        budget = float(rng.integers(1, 20)) if rng.random() < 0.6 else None
        if np.isnan(problem.catalogue.column("price")).all():
            budget = None
        wish = SetWish(size=int(rng.integers(1, 4)), budget=budget, providers=int(rng.integers(1, 3)), cover=cover)
        brute = brute_force_sets(problem, wish)
        (found,) = choose_sets(problem, wish)
        assert (found.status, found.value, len(found.rows)) == (brute.status, brute.value, len(brute.rows))
        empty += not found.rows
        if found.rows:
            assert allowed(problem, wish, found.rows)
    assert 0 < empty < 110


def test_a_cascade_is_in_order_of_price_and_says_what_each_is_for(small: Catalogue) -> None:
    problem = build_problem(small, [read_gold("soft price low"), read_gold("soft q.math >= 80")], policy=PLAIN)
    wish = SetWish(size=2, cover=(Atom(attr="open_weights", op="is", value=True),))
    told = describe_set(problem, wish, choose_sets(problem, wish)[0])
    assert told["price"] == pytest.approx(sum(small.value("price", small.row(m["model"])) for m in told["models"]))
    prices = [small.value("price", small.row(m["model"])) for m in told["models"]]
    assert prices == sorted(prices)
    assert told["covers"][0]["by"]


def test_further_sets_are_no_supersets(small: Catalogue) -> None:
    problem = build_problem(
        small, [read_gold("soft vision is true"), read_gold("soft open_weights is true")], policy=PLAIN
    )
    found = choose_sets(problem, SetWish(size=3), most=4)
    assert len(found) == 4
    for place, one in enumerate(found):
        for other in found[place + 1 :]:
            assert not set(one.rows) <= set(other.rows)
    assert [f.value for f in found] == sorted((f.value for f in found), reverse=True)


def test_a_budget_in_something_unknown_is_refused(small: Catalogue) -> None:
    problem = build_problem(small, [], policy=PLAIN)
    with pytest.raises(ConfigError, match=r"No job_cost of any model is known.*--tokens-in"):
        choose_sets(problem, SetWish(budget=1, price_of="job_cost"))


def test_no_set_where_nothing_is_feasible(small: Catalogue) -> None:
    problem = build_problem(small, [read_gold("hard context >= 9000000")], policy=PLAIN)
    assert choose_sets(problem, SetWish())[0].status == "infeasible"


def test_large_catalogues_are_cut_and_say_so() -> None:
    rng = np.random.default_rng(1)
    rows = [
        {"model": f"m{i}", "price_in": float(rng.uniform(0.1, 9)), "price_out": 2.0, "vision": bool(i % 2)}
        for i in range(300)
    ]
    problem = build_problem(
        build_catalogue(rows), [read_gold("soft vision is true"), read_gold("soft price low")], policy=PLAIN
    )
    (found,) = choose_sets(problem, SetWish(size=2))
    assert found.status.startswith("optimal among")
    assert found.value == problem.total


def test_out_of_time_keeps_the_best_known(small: Catalogue) -> None:
    problem = build_problem(small, [read_gold("soft price low")], policy=PLAIN)
    (found,) = choose_sets(problem, SetWish(size=2, budget=3), seconds=0)
    assert found.status == "timeout"
    assert found.rows
    assert allowed(problem, SetWish(size=2, budget=3), found.rows)
