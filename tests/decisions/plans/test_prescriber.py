from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sleepers import QUICK, meaning, survey

from rectitude.core.errors import ConfigError, DataError, QueryError, RunError
from rectitude.decisions import Prescriber
from rectitude.decisions.plans.certainty import pool
from rectitude.decisions.plans.cohort import plans
from rectitude.decisions.plans.planning import Planner
from rectitude.decisions.plans.policy import Policy
from rectitude.decisions.plans.report import cohort_page, person_page
from rectitude.decisions.plans.search import Crowd

POOR = {"age": 50, "exercise days": 0, "screen_hours": 6, "smoking": "Yes", "colour": "red"}
WELL = {"age": 25, "exercise days": 5, "screen_hours": 0, "smoking": "No", "colour": "red"}
QUIET = {"draws": 10, "time_limit": 120.0}


@pytest.mark.parametrize("method", ["surrogate", "embedded", "robust", "consensus"])
def test_a_poor_sleeper_is_told_what_was_planted(kept: Prescriber, method: str) -> None:
    plan = kept.plan(POOR, policy={**QUIET, "method": method})
    assert plan.status == "optimal"
    assert {item.feature for item in plan.items} <= {"exercise days", "screen_hours", "smoking"}
    assert 1 <= len(plan.items) <= 2
    assert plan.p1 > plan.p0
    assert plan.judge_gain >= kept.policy.judge_gain
    assert sum(item.gain for item in plan.items) == pytest.approx(plan.gain, abs=1e-9)
    assert plan.frontier[0].changes == 0
    assert [point.gain for point in plan.frontier] == sorted(point.gain for point in plan.frontier)
    assert {frozenset(other["plan"]) for other in plan.alternatives}.isdisjoint(
        {frozenset(i.sentence for i in plan.items)}
    )


def test_who_sleeps_well_is_told_to_change_nothing(kept: Prescriber) -> None:
    plan = kept.plan(WELL, policy=QUIET)
    assert plan.items == ()
    assert plan.verdict.startswith("Change nothing")
    assert plan.p1 == plan.p0
    assert plan.frontier[0].changes == 0


def test_what_is_locked_stays_and_steps_are_kept(kept: Prescriber) -> None:
    plan = kept.plan(POOR, locked=["screen_hours", "smoking", "colour"], policy=QUIET)
    assert [item.feature for item in plan.items] == ["exercise days"]
    free = kept.plan(POOR, policy={**QUIET, "max_changes": None})
    step = next(item for item in free.items if item.feature == "screen_hours")
    assert step.before == 6.0
    assert step.after >= 2.0
    assert step.sentence == f"Lower screen_hours from 6 to {step.after:g} hours."


def test_a_wish_is_fulfilled_or_explained(kept: Prescriber) -> None:
    plan = kept.plan(POOR, wishes=["smoking == No"], policy=QUIET)
    assert "smoking" in [item.feature for item in plan.items]
    refused = kept.plan(POOR, wishes=["screen_hours <= 1"], policy=QUIET)
    assert refused.status == "infeasible"
    assert "can only reach 2, 3, 4, 5, 6" in refused.reasons[0]
    fixed = kept.plan(POOR, wishes=["age <= 30"], policy=QUIET)
    assert "a plan cannot change it" in fixed.reasons[0]
    many = ["smoking == No", "screen_hours <= 4", "exercise days >= 1"]
    both = kept.plan(POOR, wishes=many, policy={**QUIET, "max_changes": 2})
    assert both.reasons[0] == "2 changes at most"
    assert len(both.reasons) == 4
    assert kept.plan(POOR, wishes=many, policy={**QUIET, "max_changes": 3}).status == "optimal"


def test_a_target_out_of_reach_says_what_is(kept: Prescriber) -> None:
    plan = kept.plan(POOR, policy={**QUIET, "target": 0.9999})
    assert plan.status == "infeasible"
    assert "is the most in reach" in plan.reasons[0]
    assert len(plan.frontier) > 1
    near = kept.plan(POOR, policy={**QUIET, "target": plan.p0 + 0.05, "max_changes": None})
    assert near.status == "optimal"
    assert near.p1 >= plan.p0 + 0.05 - 1e-3


def test_the_judge_can_refuse(kept: Prescriber) -> None:
    plan = kept.plan(POOR, policy={**QUIET, "min_judge_gain": 1e6})
    assert plan.items == ()
    assert plan.rejected
    assert "independent judge" in plan.verdict


def test_a_ready_person_is_advised_no_less(kept: Prescriber) -> None:
    ready = kept.read_person({"answers": POOR, "readiness": {"smoking": 5}})
    reluctant = kept.read_person({"answers": POOR, "readiness": {"smoking": 1}})
    policy = kept.policy.model_copy(update={**QUIET, "resistance_weight": 0.3})
    costs = [kept.problem(person, policy).choices[2].resistance for person in (ready, reluctant)]
    assert costs == [1.5, 6.0]


def test_a_missing_answer_is_never_advised_and_strange_ones_are_said(kept: Prescriber) -> None:
    silent = {**POOR, "exercise days": None}
    unknown = kept.plan(silent, policy={**QUIET, "max_changes": None})
    assert "exercise days" not in [item.feature for item in unknown.items]
    assert "'exercise' is not answered, so no change of it is weighed" in unknown.notes
    wished = kept.plan(silent, policy={**QUIET, "max_changes": None}, wishes=["exercise days >= 3"])
    assert next(item.after for item in wished.items if item.feature == "exercise days") >= 3  # type: ignore[operator]
    old = kept.plan({**POOR, "age": 140, "colour": "mauve"}, policy=QUIET)
    assert any("outside the 20 to 69" in note for note in old.notes)
    assert any("not seen the answer 'mauve'" in note for note in old.notes)


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ({"agee": 3}, "Did you mean 'age'"),
        ({"smoking": "Perhaps"}, "'Perhaps' is not an answer to 'smoking'"),
        ({"age": "old"}, "'old' is no number"),
        ({"age": [3]}, "no number or label"),
        ({"answers": POOR, "lockd": []}, "Did you mean 'locked'"),
        ({"answers": POOR, "locked": "smoking"}, "list of texts"),
        ({"answers": POOR, "locked": ["age"]}, "not something a plan can change"),
        ({"answers": POOR, "readiness": {"smoking": 9}}, "1 to 5"),
        ({"answers": POOR, "resistance": {"smoking": 5}}, "outside 0.5"),
        ({"answers": POOR, "wishes": ["smoking"]}, "not a condition"),
        ({"answers": POOR, "wishes": ["smokin == No"]}, "Did you mean 'smoking'"),
    ],
)
def test_bad_answers_are_refused(kept: Prescriber, answers: dict[str, object], says: str) -> None:
    with pytest.raises((DataError, QueryError, ConfigError), match=says):
        kept.plan(answers)


def test_asking_for_nobody_or_a_stranger_is_refused(kept: Prescriber) -> None:
    with pytest.raises(QueryError, match="a person or a row"):
        kept.plan()
    with pytest.raises(QueryError, match="no row 'p9999'"):
        kept.plan(row="p9999")


def test_a_run_read_back_plans_the_same(kept: Prescriber, place: Path) -> None:
    again = Prescriber.load(place)
    name = kept.ids("test")[0]
    one, other = (who.plan(row=name, policy=QUIET).to_dict() for who in (kept, again))
    assert {**one, "seconds": 0} == {**other, "seconds": 0}
    assert not any(b"\x80\x04" in path.read_bytes()[:4] for path in place.rglob("*") if path.is_file())
    assert np.array_equal(kept.predict_proba(survey(30)), again.predict_proba(survey(30)))


def test_the_same_seed_gives_the_same_run(sleepers: pl.DataFrame, kept: Prescriber) -> None:
    again = Prescriber.fit(sleepers, schema=meaning(), settings=QUICK)
    assert again.models.planner.to_dict() == kept.models.planner.to_dict()
    assert again.models.judge.to_dict() == kept.models.judge.to_dict()


def test_nobody_is_in_two_folds(kept: Prescriber) -> None:
    parts = [set(kept.ids(fold)) for fold in ("planner", "judge", "test")]
    assert sum(map(len, parts)) == len(set().union(*parts)) == len(kept.ids())


def test_damaged_runs_are_refused(place: Path, tmp_path: Path) -> None:
    import shutil

    with pytest.raises(RunError, match="no such run"):
        Prescriber.load(tmp_path / "none")
    copy = tmp_path / "run"
    shutil.copytree(place, copy)
    models = copy / "models.json"
    models.write_text(models.read_text().replace("1", "2", 1))
    with pytest.raises(RunError, match="not those the curves"):
        Prescriber.load(copy)


def test_nothing_is_written_where_fitting_fails(sleepers: pl.DataFrame, tmp_path: Path) -> None:
    frozen = meaning()
    still = {name: feature.model_copy(update={"mutable": False}) for name, feature in frozen.features.items()}
    with pytest.raises(ConfigError, match="No feature is mutable"):
        Prescriber.fit(sleepers, schema=frozen.model_copy(update={"features": still}), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_rules_hold_for_everybody(sleepers: pl.DataFrame) -> None:
    rules = [
        {"if": "exercise days >= 3", "then": "screen_hours <= 3"},
        {"never": ["smoking == No", "screen_hours >= 6"]},
        {"sum": {"exercise days": 1, "screen_hours": 1}, "at_most": 8},
    ]
    found = Prescriber.fit(sleepers, schema=meaning(rules=rules), settings=QUICK)
    policy = Policy(max_changes=None, draws=0, frontier="none", alternatives=0, min_judge_gain=-99.0, time_limit=120.0)
    for name in found.ids("test")[:15]:
        planner = found.planner(found.person(name), policy)
        solved = planner.solver.solve(planner.solver.net_aim(), planner.solver.limits())
        assert solved.levels is not None
        assert planner.problem.violated(solved.levels) == []
        pairs = list(zip(planner.problem.choices, solved.levels, strict=True))
        moved = {choice.name for choice, level in pairs if level != choice.current}
        after = {**found.person(name).answers, **{choice.name: choice.values[level] for choice, level in pairs}}
        exercise, screen = after["exercise days"], after["screen_hours"]
        if {"exercise days", "screen_hours"} & moved and exercise is not None:
            assert exercise < 3 or screen <= 3
            assert exercise + screen <= 8
        if {"smoking", "screen_hours"} & moved:
            assert after["smoking"] == "Yes" or screen < 6


def test_a_one_hot_question_changes_as_one() -> None:
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, 300)
    table = pl.DataFrame(
        {
            **{f"diet_{name}": (kind == index).astype(float) for index, name in enumerate("abc")},
            "age": rng.integers(20, 60, 300).astype(float),
            "good": (rng.random(300) < np.array([0.2, 0.5, 0.9])[kind]).astype(float),
        }
    )
    from rectitude.decisions.plans.schema import parse_schema

    diet = {"kind": "binary", "levels": [0, 1], "mutable": True, "group": "diet"}
    features = {"diet_a": diet, "diet_b": diet, "diet_c": diet, "age": {"kind": "integer", "levels": [20, 60]}}
    schema = parse_schema({"target": {"column": "good", "good": 1}, "features": features}, where="test")
    found = Prescriber.fit(table, schema=schema, settings=QUICK)
    plan = found.plan(
        {"diet_a": 1, "diet_b": 0, "diet_c": 0, "age": 40}, policy={**QUIET, "max_changes": 1, "min_judge_gain": -9.0}
    )
    assert {(item.feature, item.after) for item in plan.items} == {("diet_a", 0.0), ("diet_c", 1.0)}
    assert plan.effort == pytest.approx(1.0)


def test_everybody_of_a_cohort_is_served_in_order_by_any_number_of_processes(kept: Prescriber) -> None:
    people = [(name, kept.person(name)) for name in kept.ids("test")[:4]]
    broken = kept.person(kept.ids("test")[0])
    broken.answers["smoking"] = "Perhaps"
    people.insert(2, ("broken", broken))
    policy = Policy(method="surrogate", draws=0, frontier="none", alternatives=0, time_limit=120.0)
    one, two = (plans(kept, people, policy, jobs=jobs) for jobs in (1, 2))
    strip = [{key: value for key, value in plan.items() if key != "seconds"} for plan in one]
    assert strip == [{key: value for key, value in plan.items() if key != "seconds"} for plan in two]
    assert [plan["id"] for plan in one] == [name for name, _ in people]
    assert "Perhaps" in one[2]["error"]["what"]


def test_pages_say_what_was_found(kept: Prescriber) -> None:
    person = kept.read_person(POOR)
    plan = json.loads(json.dumps(kept.planner(person, QUIET).plan().to_dict()))
    page = person_page(kept, "<b>7</b>", person, plan)
    assert "&lt;b&gt;7" in page
    assert plan["plan"][0]["sentence"] in page
    assert "No number on this page proves that a plan helps" in page
    cohort = cohort_page(kept, [{"id": "x", **plan}, {"id": kept.ids()[0], **kept.plan(WELL, policy=QUIET).to_dict()}])
    assert "of the promised gain survives" in cohort
    assert "to change nothing" in cohort
    empty = cohort_page(kept, [])
    assert "No plans have been made" in empty


@pytest.mark.parametrize("method", ["surrogate", "embedded", "robust", "consensus"])
def test_who_has_answered_nothing_that_may_change_is_advised_nothing(kept: Prescriber, method: str) -> None:
    person = kept.read_person({**POOR, **dict.fromkeys(kept.schema.mutable())})
    planner = kept.planner(person, {**QUIET, "method": method, "target": None})
    solver = planner.solver
    assert planner.plan().items == ()
    crowd = Crowd(planner.problem, solver.tables, solver.net_aim(), solver.limits())
    assert crowd.enumerate()[1] == 0


@pytest.mark.parametrize("method", ["robust", "consensus"])
def test_several_models_are_compared_from_where_the_person_is(kept: Prescriber, method: str) -> None:
    """Largest net of mean gain less κ times mean shortfall, by hand over every plan of two changes at most."""
    models = kept.models
    members = models.families if method == "consensus" else models.bootstraps[:5]
    for row in kept.ids("test")[:4]:
        planner = kept.planner(kept.person(row), {"method": method, "min_gain": 0.0})
        problem, solver = planner.problem, planner.solver
        plans = pool(Crowd(problem, solver.tables, solver.net_aim(), solver.limits(changes=2)), problem.stay)
        encoded = np.stack([problem.encoded(tuple(plan)) for plan in plans.tolist()])
        gains = np.stack([score(encoded) - score(planner.row) for score in members])
        shortfall = np.maximum(0.0, gains.mean(axis=0) - gains).mean(axis=0)
        worth = gains.mean(axis=0) - planner.policy.spread_weight * shortfall
        cost = [0.1 * problem.resistance(tuple(p)) + 0.02 * len(problem.units(tuple(p))) for p in plans.tolist()]
        solved = solver.solve(solver.net_aim(), solver.limits())
        assert solved.status == "optimal"
        assert solved.objective == pytest.approx(max(0.0, float((worth - cost).max())), abs=1e-3)


def test_a_run_without_a_consensus_says_so(kept: Prescriber) -> None:
    bare = replace(kept.models, families=())
    with pytest.raises(QueryError, match="no consensus"):
        Planner(kept.problem(kept.read_person(POOR), kept.policy), bare, Policy(method="consensus"), kept.schema)
