"""Weights, policies, golden cases, brute force against RC2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from routing_cases import random_catalogue, random_clauses

from rectitude.decisions.routing import explain
from rectitude.decisions.routing.building import build_catalogue
from rectitude.decisions.routing.catalogue import Catalogue, Request
from rectitude.decisions.routing.clauses import Atom, Clause, Guard
from rectitude.decisions.routing.maxsat import best_models, correction_sets, unsat_core
from rectitude.decisions.routing.problem import Policy, Problem, build_problem
from rectitude.decisions.routing.suite import read_gold

PLAIN = Policy(defaults=False)


def flagship(real_data: Callable[[str], Path]) -> Catalogue:
    folder = real_data("llm-models")
    accuracy = pl.read_parquet(folder / "llmrouterbench_accuracy_13flagship.parquet")
    cost = pl.read_parquet(folder / "llmrouterbench_cost_13flagship.parquet")
    closed = {"Claude-v4", "Gemini-Flash", "Gemini-Pro", "GPT-5", "GPT-5-Chat"}
    rows = [
        {"model": row["model"], "job_cost": total, "open_weights": row["model"] not in closed,
         **{f"q.{name}": value for name, value in row.items() if name != "model"}}
        for row, total in zip(accuracy.to_dicts(), cost["Total"], strict=True)
    ]  # fmt: skip
    return build_catalogue(rows)


def clause(text: str, strength: int = 3, **more: object) -> Clause:
    return read_gold(text).model_copy(update={"strength": strength, **more})


def named(problem: Problem, count: int) -> list[tuple[str, float]]:
    return [(problem.catalogue.ids[row], problem.points(problem.values[row])) for row in problem.order[:count]]


# ---- golden cases of the LLMRouterBench tables ---------------------------------------------------------------------


def test_golden_case_ranking(real_data: Callable[[str], Path]) -> None:
    wishes = [
        clause("hard job_cost <= 120"),
        Clause(any=(Atom(attr="q.SWE-Bench", op=">=", value=25),), strength=4),
        Clause(any=(Atom(attr="q.GPQA", op=">=", value=75),), strength=4),
        Clause(any=(Atom(attr="q.Tau2-Bench", op=">=", value=45),), strength=2),
        clause("soft open_weights is true", 1),
    ]  # fmt: skip
    problem = build_problem(flagship(real_data), wishes, policy=PLAIN)
    assert named(problem, 4) == [("DS-V3.1-Tms", 11), ("Qwen3-Thinking", 7), ("DeepSeek-V3", 5), ("Kimi-K2", 3)]
    assert [problem.catalogue.ids[row] for row in best_models(problem, k=4).rows][:3] == [
        "DS-V3.1-Tms",
        "Qwen3-Thinking",
        "DeepSeek-V3",
    ]


@pytest.mark.parametrize(
    ("policy", "winners", "value"), [("deny", {"Gemini-Pro", "GPT-5"}, 2), ("allow", {"GPT-5-Chat"}, 4)]
)
def test_golden_case_one_unknown_cell_flips_the_answer(
    policy: str, winners: set[str], value: float, real_data: Callable[[str], Path]
) -> None:
    wishes = [
        Clause(kind="hard", any=(Atom(attr="q.Tau2-Bench", op=">=", value=40),), unknown=policy),  # type: ignore[arg-type]
        clause("hard open_weights is false"),
        clause("soft job_cost <= 100", 4),
        Clause(any=(Atom(attr="q.SimpleQA", op=">=", value=45),), strength=2),
    ]
    problem = build_problem(flagship(real_data), wishes, policy=PLAIN)
    best = np.flatnonzero(problem.feasible & (problem.values == problem.best_value))
    assert {problem.catalogue.ids[row] for row in best} == winners
    assert problem.points(problem.best_value or 0) == value


def test_golden_case_infeasible(real_data: Callable[[str], Path]) -> None:
    wishes = [Clause(kind="hard", any=(Atom(attr="q.SWE-Bench", op=">=", value=30),)), clause("hard job_cost <= 100")]
    problem = build_problem(flagship(real_data), wishes, policy=PLAIN)
    assert not problem.feasible.any()
    sets = {frozenset(problem.clauses[c].id for c in correction.clauses) for correction in correction_sets(problem)}
    assert sets == {frozenset({"c1"}), frozenset({"c2"})}
    assert [problem.clauses[c].id for c in unsat_core(problem)] == ["c1", "c2"]


# ---- solvers against brute force -----------------------------------------------------------------------------------


def test_rc2_is_brute_force_on_a_thousand_random_problems() -> None:
    rng = np.random.default_rng(0)
    infeasible = 0
    for _ in range(1000):
        catalogue = random_catalogue(rng, int(rng.integers(2, 12)))
        clauses = random_clauses(rng, int(rng.integers(0, 4)), int(rng.integers(1, 6)))
        problem = build_problem(catalogue, clauses, policy=PLAIN)
        found = best_models(problem, k=3)
        feasible = problem.ranked(np.flatnonzero(problem.feasible))
        infeasible += not feasible.size
        assert found.status == ("optimal" if feasible.size else "infeasible")
        assert [problem.values[row] for row in found.rows] == [problem.values[row] for row in feasible[:3]]
        assert [problem.total - cost for cost in found.costs] == [problem.values[row] for row in found.rows]
        assert len(set(found.rows)) == len(found.rows)
        assert all(problem.feasible[row] for row in found.rows)
    assert 100 < infeasible < 900, "both kinds must be met"


def test_near_feasible_sets_by_blocking_are_those_of_brute_force() -> None:
    rng = np.random.default_rng(1)
    for _ in range(60):
        problem = build_problem(random_catalogue(rng, 15), random_clauses(rng, 1, 4), policy=PLAIN)
        if not problem.feasible.any():
            continue
        near = {int(row) for row in np.flatnonzero(problem.feasible & (problem.regret <= 0.25 + 1e-12))}
        assert set(best_models(problem, delta=0.25).rows) == near


def test_correction_sets_and_cores_are_minimal() -> None:
    rng = np.random.default_rng(2)
    met = 0
    for _ in range(150):
        problem = build_problem(random_catalogue(rng, 6), random_clauses(rng, 4, 1), policy=PLAIN)
        if problem.feasible.any():
            assert correction_sets(problem) == [] == unsat_core(problem)
            continue
        met += 1
        least = int((~problem.holds).sum(axis=1).min())
        corrections = correction_sets(problem)
        request = {c for c in problem.hard if problem.clauses[c].origin == "request"}
        if not any(set(c.clauses) & request for c in corrections):
            assert len(corrections[0].clauses) == least
        for correction in corrections:
            kept = [c for c in problem.hard if c not in correction.clauses]
            assert problem.holds[:, kept].all(axis=1).any()
            for back in correction.clauses:
                assert not problem.holds[:, [*kept, back]].all(axis=1).any(), "nothing of it can be kept"
        core = unsat_core(problem)
        assert not problem.holds[:, core].all(axis=1).any()
        for out in core:
            assert problem.holds[:, [c for c in core if c != out]].all(axis=1).any()
    assert met > 30


def test_price_of_a_hard_clause_is_the_value_without_it() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        catalogue, clauses = random_catalogue(rng, 12), random_clauses(rng, 2, 4)
        problem = build_problem(catalogue, clauses, policy=PLAIN)
        if problem.best_value is None:
            continue
        told = {entry["clause"]: entry["gain"] for entry in explain.prices(problem)}
        for column in problem.hard:
            rows = problem.holds[:, [c for c in problem.hard if c != column]].all(axis=1)
            gain = problem.points(int(problem.values[rows].max()) - problem.best_value)
            assert told.get(problem.clauses[column].id, 0) == gain


def test_best_is_the_beginning_of_order() -> None:
    rng = np.random.default_rng(4)
    for _ in range(30):
        problem = build_problem(random_catalogue(rng, 30), random_clauses(rng, 2, 3), policy=PLAIN)
        assert problem.best(7).tolist() == problem.order[:7].tolist()
        keys = [(problem.violations[r], -problem.values[r], problem.unknowns[r]) for r in problem.order]
        assert keys == sorted(keys)


# ---- weights -------------------------------------------------------------------------------------------------------


def test_weights_by_strength_confidence_and_age(small: Catalogue) -> None:
    wishes = [clause("soft vision is true", 5), clause("soft reasoning is true", 3, confidence=0.5),
              clause("soft pdf is true", 2, age=2)]  # fmt: skip
    problem = build_problem(small, wishes, policy=PLAIN)
    weights = {str(c): problem.points(w) for c, w in zip(problem.clauses, problem.weights, strict=True)}
    assert weights["reads images"] == 8
    assert weights["reasons before it answers"] == 1.5
    assert weights["reads PDF files"] == pytest.approx(2 * 0.8**2)


def test_the_same_wish_in_other_words_cannot_weigh_more_than_the_strongest(small: Catalogue) -> None:
    wishes = [clause(f"soft {name} low", 5) for name in ("price", "price_in", "price_out")]
    problem = build_problem(small, wishes, policy=PLAIN)
    assert problem.points(int(problem.weights.sum())) == pytest.approx(8, abs=0.01)


def test_a_group_outweighs_all_later_ones(small: Catalogue) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        wishes = [
            c.model_copy(update={"group": int(rng.integers(3)), "unknown": "deny"})
            for c in random_clauses(rng, 0, 6)
            if not c.any[0].graded
        ]
        problem = build_problem(small, wishes, policy=PLAIN)
        groups = sorted({c.group for c in problem.clauses if c.kind == "soft"})
        loss = problem.clause_losses
        by_group = [
            tuple(
                int(sum(loss[row, i] for i, c in enumerate(problem.clauses) if c.kind == "soft" and c.group == g))
                for g in groups
            )
            for row in range(len(small))
        ]
        best = max(range(len(small)), key=lambda row: int(problem.values[row]))
        assert by_group[best] == min(by_group)


def test_defaults_only_break_ties(small: Catalogue) -> None:
    wish = [clause("soft q.code high", 1)]
    with_defaults, without = build_problem(small, wish), build_problem(small, wish, policy=PLAIN)
    assert (
        with_defaults.catalogue.ids[with_defaults.order[0]] == without.catalogue.ids[without.order[0]] == "openai/gpt-5"
    )
    assert build_problem(small, []).best_value


def test_what_the_request_needs_is_hard(small: Catalogue) -> None:
    request = Request(tokens_in=180_000, tokens_out=1000, needs=frozenset({"vision"}))
    problem = build_problem(small, [], request)
    feasible = {small.ids[row] for row in np.flatnonzero(problem.feasible)}
    assert feasible == {"openai/gpt-5", "claude-haiku-4.5", "gemini-flash-lite"}


def test_guards(small: Catalogue) -> None:
    wish = [
        clause("hard vision is true", guard=Guard(needs="vision")),
        clause("hard open_weights is true", guard=Guard(tag="code")),
    ]
    assert len(build_problem(small, wish, policy=PLAIN).clauses) == 1
    problem = build_problem(small, wish, Request(tags=frozenset({"code"})), PLAIN)
    assert "if the request is about code: has open weights" in [str(c) for c in problem.clauses]
    long = clause("hard context >= 200000", guard=Guard(tokens_in_over=50_000))
    assert len(build_problem(small, [long], Request(tokens_in=40_000), PLAIN).clauses) == 2


def test_why_not_names_what_loses(small: Catalogue) -> None:
    problem = build_problem(
        small,
        [clause("hard vision is true"), clause("soft price low"), clause("soft prompt_cache is true", 1)],
        policy=PLAIN,
    )
    winner = int(problem.order[0])
    assert small.ids[winner] == "gemini-flash-lite"
    assert "does not meet 'reads images'" in explain.why_not(problem, small.row("deepseek-v3.1"), winner)["says"]
    assert "(not known)" in explain.why_not(problem, small.row("mystery"), winner)["says"]
    told = explain.why_not(problem, small.row("gpt-5"), winner)
    assert told["loses_on"][0]["clause"] == "c2"
    assert "behind gemini-flash-lite" in told["says"]
    assert "is the one" in explain.why_not(problem, winner, winner)["says"]
