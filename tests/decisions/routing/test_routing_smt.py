"""Free attributes and negotiated limits by z3 against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from routing_cases import random_catalogue, random_clauses

from rectitude.core.errors import ConfigError
from rectitude.decisions.routing.building import build_catalogue
from rectitude.decisions.routing.catalogue import Catalogue
from rectitude.decisions.routing.problem import Policy, Problem, build_problem
from rectitude.decisions.routing.router import Router
from rectitude.decisions.routing.smt import describe_bargain, extreme, negotiate, optimistic, robust
from rectitude.decisions.routing.suite import read_gold

PLAIN = Policy(defaults=False)


def flags(rng: np.random.Generator, count: int) -> Problem:
    """Wishes for flags only, each cell in one clause: then the best completion is allow and the worst is deny."""
    names = ("vision", "reasoning", "pdf", "open_weights", "audio_in")
    rows = [
        {"model": f"m{i}", **{n: rng.choice(np.array([True, False, None], object)) for n in names}}
        for i in range(count)
    ]
    kinds = rng.choice(["hard", "soft", "soft"], size=len(names))
    wishes = [read_gold(f"{kind} {name} is true").model_copy(update={"strength": int(rng.integers(1, 6))})
              for kind, name in zip(kinds, names, strict=True)]  # fmt: skip
    return build_problem(build_catalogue(rows), wishes, policy=PLAIN)


@pytest.mark.parametrize("best", [True, False])
def test_independent_cells_are_allow_and_deny(best: bool) -> None:
    rng = np.random.default_rng(5)
    for _ in range(25):
        problem = flags(rng, 6)
        policy = PLAIN.model_copy(update=dict.fromkeys(("unknown_hard", "unknown_soft"), "allow" if best else "deny"))
        brute = build_problem(problem.catalogue, problem.clauses, policy=policy)
        found = optimistic(problem, 20) if best else robust(problem, 20)
        assert found.status == ("optimal" if brute.feasible.any() else "infeasible")
        if found.row is not None:
            assert found.value == brute.best_value
            assert brute.feasible[found.row]


def test_side_knowledge_binds_unknown_cells() -> None:
    """Output costs at least what input does: a price above the limit in one half cannot be made up by the other."""
    rows = [{"model": "a", "price_in": 6.0, "price_out": None}, {"model": "b", "price_in": 1.0, "price_out": 1.0},
            {"model": "c", "price_in": 1.0, "price_out": 30.0}]  # fmt: skip
    problem = build_problem(
        build_catalogue(rows), [read_gold("hard price_out <= 5"), read_gold("soft price_in >= 5")], policy=PLAIN
    )
    found = optimistic(problem, 20)
    assert problem.catalogue.ids[found.row or 0] == "b"
    assert extreme(problem, 0, best=True, seconds=20).status == "infeasible"


def test_the_worst_completion_with_side_knowledge_is_better_than_deny() -> None:
    rows = [{"model": "a", "price_in": 6.0, "price_out": None}, {"model": "c", "price_in": 1.0, "price_out": 30.0}]
    problem = build_problem(build_catalogue(rows), [read_gold("soft price_out >= 5")], policy=PLAIN)
    assert extreme(problem, 0, best=False, seconds=20).value == problem.total


def test_assumed_cells_are_told(small: Catalogue) -> None:
    problem = build_problem(
        small, [read_gold("hard vision is true"), read_gold("hard open_weights is true")], policy=PLAIN
    )
    found = optimistic(problem, 20)
    assert small.ids[found.row or 0] in ("qwen3-coder", "mystery")
    assert found.assumed["vision"] is True


def test_z3_as_a_router(small: Catalogue) -> None:
    wish = "must see images, open weights required"
    hopeful = Router(small, Policy(unknown_soft="allow", timeout=20)).route(wish, solver="z3")
    assert hopeful.chosen in ("qwen3-coder", "mystery")
    assert hopeful.solver == "z3 (optimistic)"
    assert hopeful.explanation["assumed"]["vision"] is True
    assert Router(small, Policy(timeout=20)).route(wish, solver="z3").chosen is None


def test_random_problems_lie_between_deny_and_allow() -> None:
    rng = np.random.default_rng(6)
    for _ in range(12):
        problem = build_problem(random_catalogue(rng, 5), random_clauses(rng, 1, 3), policy=PLAIN)
        found = optimistic(problem, 20)
        if found.row is not None:
            low = sum(weight for row, weight in problem.rows if row.truth[found.row] == 1)
            high = sum(weight for row, weight in problem.rows if row.truth[found.row] != 0)
            assert low <= found.value <= high


def test_negotiated_limits_are_the_least_that_help() -> None:
    rng = np.random.default_rng(7)
    for _ in range(25):
        rows = [
            {
                "model": f"m{i}",
                "price_in": (p := float(rng.integers(2, 40)) / 4),
                "price_out": p,
                "context": int(rng.integers(1, 20)) * 10_000,
                "vision": bool(rng.random() < 0.6),
            }
            for i in range(8)
        ]
        wishes = [read_gold("hard price <= 1"), read_gold("hard context >= 150000"), read_gold("hard vision is true")]
        problem = build_problem(build_catalogue(rows), wishes, policy=PLAIN)
        found = negotiate(problem, seconds=20)
        slacks = [max(0, r["price_in"] - 1) + max(0, 150_000 - r["context"]) / 150_000 for r in rows if r["vision"]]
        if not slacks:
            assert found.status == "infeasible"
            continue
        assert found.slack == pytest.approx(min(slacks))
        assert rows[found.row or 0]["vision"]


def test_as_cheap_as_possible_with_a_score(small: Catalogue) -> None:
    problem = build_problem(small, [read_gold("hard q.code >= 70")], policy=PLAIN)
    found = negotiate(problem, tighten=["price"], seconds=20)
    prices = {
        name: small.value("price", row) for row, name in enumerate(small.ids) if (small.value("q.code", row) or 0) >= 70
    }
    assert small.ids[found.row or 0] == min(prices, key=lambda name: prices[name])
    told = describe_bargain(problem, found)
    assert told["tightened"]["price"] == pytest.approx(min(prices.values()))
    assert told["limits"][0]["gives_way"] is False


def test_only_limits_can_give_way(small: Catalogue) -> None:
    problem = build_problem(small, [read_gold("hard vision is true")], policy=PLAIN)
    with pytest.raises(ConfigError, match="has no limit that could give way"):
        negotiate(problem, ["c1"])
    with pytest.raises(ConfigError, match="has no better direction"):
        negotiate(problem, tighten=["vision"])
