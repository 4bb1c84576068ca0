from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rectitude.core.errors import RectitudeError
from rectitude.decisions.plans.certainty import shapley_of_items
from rectitude.decisions.plans.conflict import conflict
from rectitude.decisions.plans.embed import Tables, reduce
from rectitude.decisions.plans.plan import mark_knee, non_dominated
from rectitude.decisions.plans.planning import Models, Planner
from rectitude.decisions.plans.policy import Policy
from rectitude.decisions.plans.problem import Clause, Problem, Row
from rectitude.decisions.plans.schema import parse_schema
from rectitude.decisions.plans.score import Score
from rectitude.decisions.plans.search import Crowd, Limits
from rectitude.decisions.plans.solver import Solver

Make = Callable[..., tuple[Score, Problem]]
PATIENT = {"time_limit": 300.0, "min_seen": 0}


def all_plans(problem: Problem) -> np.ndarray:
    shape = [len(choice.values) for choice in problem.choices]
    return np.stack(np.unravel_index(np.arange(int(np.prod(shape))), shape), axis=1)


@pytest.mark.parametrize("family", ["boosted", "forest"])
@pytest.mark.parametrize("most_cells", [1, 50, 50_000])
def test_the_embedding_is_the_model_on_every_plan(ensemble: Make, family: str, most_cells: int) -> None:
    score, problem = ensemble(1, family=family)
    plans = all_plans(problem)
    truth = score(np.stack([problem.encoded(tuple(plan)) for plan in plans]))
    reduced = reduce([score], problem)
    tables = Tables(reduced, [len(choice.values) for choice in problem.choices], most_cells=most_cells)
    assert np.allclose(tables.values(plans)[:, 0], truth, atol=1e-9)
    assert np.allclose([reduced.value(plan)[0] for plan in plans[::7]], truth[::7], atol=1e-9)


POLICIES = [
    {},
    {"max_changes": None, "resistance_weight": 0.0, "charge": 0.0},
    {"max_changes": None},
    {"max_changes": 1, "min_gain": 0.5},
    {"max_changes": 3, "budget": 0.8},
    {"max_changes": None, "free_hours": -0.4},
]


@pytest.mark.parametrize("family", ["boosted", "forest"])
@pytest.mark.parametrize("policy", POLICIES)
def test_the_embedded_optimum_is_the_best_of_all_plans(ensemble: Make, family: str, policy: dict[str, float]) -> None:
    for seed in range(3):
        score, problem = ensemble(seed, family=family)
        problem = replace(
            problem,
            clauses=(Clause("r", "rule", {0: frozenset({0, 1}), 1: frozenset({2, 3})}),),
            rows=(Row("s", {1: np.arange(4.0), 2: np.arange(4.0)}, -np.inf, 5.0),),
            cuts={(0, 3): np.eye(4) < 1},
        )
        solver = Solver(problem, Policy(**PATIENT, **policy), [score])
        aim, limits = solver.net_aim(), solver.limits()
        solved = solver.solve(aim, limits)
        _, best = Crowd(problem, solver.tables, aim, limits).enumerate()
        assert solved.status == "optimal"
        assert solved.levels is not None
        assert solver.value(solved.levels, aim) == pytest.approx(best, abs=1e-4)
        assert solved.objective == pytest.approx(best, abs=1e-3)
        assert not problem.violated(solved.levels)


def test_the_robust_optimum_is_the_best_of_all_plans(ensemble: Make) -> None:
    scores = [ensemble(seed)[0] for seed in range(4)]
    problem = ensemble(0)[1]
    solver = Solver(problem, Policy(**PATIENT, max_changes=None, spread_weight=1.5), scores)
    aim = solver.net_aim()
    solved = solver.solve(aim, solver.limits())
    _, best = Crowd(problem, solver.tables, aim, solver.limits()).enumerate()
    assert solved.status == "optimal"
    assert solved.objective == pytest.approx(best, abs=1e-3)
    plans = all_plans(problem)
    values = solver.tables.values(plans)
    upper = (values @ aim.bounds.T).min(axis=1)
    assert (solver.worth(values) <= upper + 1e-9).all()


def test_target_mode_finds_the_least_effort(ensemble: Make) -> None:
    score, problem = ensemble(2)
    plans = all_plans(problem)
    truth = score(np.stack([problem.encoded(tuple(plan)) for plan in plans]))
    floor = float(np.quantile(truth, 0.9))
    solver = Solver(problem, Policy(**PATIENT, max_changes=None), [score])
    solved = solver.solve(solver.target_aim(floor), solver.limits())
    assert solved.levels is not None
    assert solver.problem.resistance(solved.levels) == pytest.approx(
        min(problem.resistance(tuple(plan)) for plan in plans[truth >= floor]), abs=5e-3
    )
    assert solver.solve(solver.target_aim(float(truth.max()) + 0.01), solver.limits()).status == "infeasible"


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), changes=st.one_of(st.none(), st.integers(0, 3)))
def test_screening_never_loses_the_best_plan(ensemble: Make, seed: int, changes: int | None) -> None:
    score, problem = ensemble(3)
    rng = np.random.default_rng(seed)
    seen = rng.random((4, 4)) < 0.7
    seen[problem.stay[1], problem.stay[2]] = True
    problem = replace(problem, cuts={(1, 2): seen})
    solver = Solver(problem, Policy(**PATIENT, resistance_weight=float(rng.random() / 2)), [score])
    crowd = Crowd(problem, solver.tables, solver.net_aim(), Limits(changes))
    plan, value = crowd.enumerate()
    masks = crowd.screen(value)
    assert all(mask >> level & 1 for mask, level in zip(masks, plan, strict=True))
    _, found = crowd.first()
    assert found <= value + 1e-9


def test_the_surrogate_optimum_is_the_best_of_all_plans(ensemble: Make) -> None:
    for seed in range(5):
        _, problem = ensemble(seed)
        solver = Solver(problem, Policy(**PATIENT, max_changes=2))
        solved = solver.solve(solver.net_aim(), solver.limits())
        _, best = Crowd(problem, solver.tables, solver.net_aim(), solver.limits()).enumerate()
        assert solved.objective == pytest.approx(best, abs=1e-4)


def test_no_change_allowed_is_the_empty_plan_with_no_gain(ensemble: Make) -> None:
    score, problem = ensemble(0)
    for scores in ([score], []):
        solver = Solver(problem, Policy(**PATIENT, max_changes=0), scores)
        solved = solver.solve(solver.net_aim(), solver.limits())
        assert solved.levels == problem.stay
        assert solved.objective == pytest.approx(0.0, abs=1e-6)


def test_without_resistance_there_are_not_fewer_changes(ensemble: Make) -> None:
    counts = []
    for weight in (0.0, 0.2, 1.0):
        total = 0
        for seed in range(4):
            score, problem = ensemble(seed)
            solver = Solver(problem, Policy(**PATIENT, max_changes=None, resistance_weight=weight), [score])
            total += len(problem.units(solver.solve(solver.net_aim(), solver.limits()).levels or problem.stay))
        counts.append(total)
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]


def test_a_plan_must_be_worth_it(ensemble: Make) -> None:
    score, problem = ensemble(0)
    free = Solver(problem, Policy(**PATIENT, min_gain=0.0), [score])
    gain = free.solve(free.net_aim(), free.limits())
    assert gain.levels != problem.stay
    strict = Solver(problem, Policy(**PATIENT, min_gain=50.0), [score])
    assert strict.solve(strict.net_aim(), strict.limits()).levels == problem.stay


def test_a_group_counts_as_one_change(ensemble: Make) -> None:
    score, problem = ensemble(0, n_levels=2)
    choices = tuple(
        replace(choice, unit="g" if index < 2 else choice.unit) for index, choice in enumerate(problem.choices)
    )
    grouped = replace(problem, choices=choices)
    levels = tuple(1 - choice.current for choice in choices)
    assert len(grouped.units(levels)) == 3
    solver = Solver(grouped, Policy(**PATIENT, max_changes=1, min_gain=0.0), [score])
    solved = solver.solve(solver.net_aim(), solver.limits())
    _, best = Crowd(grouped, solver.tables, solver.net_aim(), solver.limits()).enumerate()
    assert solved.objective == pytest.approx(best, abs=1e-3)


def test_out_of_time_keeps_the_best_known_and_says_so(ensemble: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from rectitude.decisions.plans import solver as module

    score, problem = ensemble(4)
    solver = Solver(problem, Policy(**PATIENT, max_changes=None), [score])
    best = solver.solve(solver.net_aim(), solver.limits())
    monkeypatch.setattr(module._Model, "run", lambda self, seconds: ("feasible", None, -np.inf, np.inf))
    late = solver.solve(solver.net_aim(), solver.limits())
    assert late.status == "feasible"
    assert late.levels is not None
    assert late.bound >= best.objective >= late.objective - 1e-3


def test_a_solver_that_lies_is_found_out(ensemble: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from rectitude.decisions.plans import solver as module

    score, problem = ensemble(4)
    solver = Solver(problem, Policy(**PATIENT), [score])
    monkeypatch.setattr(module._Model, "run", lambda self, seconds: ("optimal", problem.stay, 0.5, 0.5))
    with pytest.raises(RectitudeError, match=r"objective is 0\.5"):
        solver.solve(solver.net_aim(), solver.limits())


def test_contradictions_are_explained_by_the_fewest_demands(ensemble: Make) -> None:
    _, problem = ensemble(0)
    wishes = (
        Clause("wish 'x0 <= 1'", "wish", {0: frozenset({0, 1})}, always=True),
        Clause("wish 'x0 >= 2'", "wish", {0: frozenset({2, 3})}, always=True),
        Clause("wish 'x1 >= 0'", "wish", {1: frozenset({0, 1, 2, 3})}, always=True),
    )
    assert conflict(replace(problem, clauses=wishes), Policy()) == ["wish 'x0 <= 1'", "wish 'x0 >= 2'"]
    other = tuple(
        Clause(f"wish {index}", "wish", {index: frozenset({(choice.current + 1) % 4})}, always=True)
        for index, choice in enumerate(problem.choices)
    )
    found = conflict(replace(problem, clauses=other), Policy(max_changes=3))
    assert found == ["3 changes at most", "wish 0", "wish 1", "wish 2", "wish 3"]
    assert conflict(problem, Policy()) == []


def test_shares_of_a_plan_add_up_to_its_gain(ensemble: Make) -> None:
    score, problem = ensemble(1)
    levels = tuple((choice.current + 1) % 4 for choice in problem.choices)
    parts = shapley_of_items(problem, levels, [score])
    rows = np.stack([problem.encoded(problem.stay), problem.encoded(levels)])
    assert sum(float(part[0]) for part in parts.values()) == pytest.approx(float(np.diff(score(rows))[0]), abs=1e-9)


@pytest.mark.parametrize("axis", ["changes", "effort"])
def test_the_frontier_is_that_of_all_plans(ensemble: Make, axis: str) -> None:
    score, problem = ensemble(5, p=3)
    models = Models(score, score, (score,))
    features = {choice.name: {"kind": "integer"} for choice in problem.choices}
    schema = parse_schema({"target": {"column": "y", "good": 1}, "features": features}, where="test")
    planner = Planner(problem, models, Policy(**PATIENT, frontier=axis, max_changes=None), schema)
    points = planner.frontier()
    plans = [tuple(int(level) for level in plan) for plan in all_plans(problem)]
    gain = np.array([planner.gain(plan) for plan in plans])
    cost = np.array([len(problem.units(plan)) if axis == "changes" else problem.effort(plan) for plan in plans])
    truth, best = {}, -np.inf
    for at in sorted(set(np.round(cost, 9))):
        top = float(gain[cost <= at + 1e-9].max())
        if top > best + 2e-4:
            truth[at] = best = top
    found = {float(point.changes) if axis == "changes" else round(point.effort, 9): point.gain for point in points}
    assert list(found) == pytest.approx(list(truth), abs=1e-6)
    assert list(found.values()) == pytest.approx(list(truth.values()), abs=2e-4)
    assert points[0].gain == 0
    assert sum(point.knee for point in points) == 1


def test_the_knee_is_where_gains_begin_to_diminish(ensemble: Make) -> None:
    from rectitude.decisions.plans.plan import Point

    points = [Point(k, float(k), gain, 0.5, ()) for k, gain in enumerate([0.0, 0.28, 0.43, 0.5, 0.51, 0.515])]
    assert [point.knee for point in mark_knee(points)].index(True) == 2
    worse = Point(2, 2.0, 0.2, 0.5, ())
    assert worse not in non_dominated([*points, worse], by="changes")
