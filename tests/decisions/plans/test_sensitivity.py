from __future__ import annotations

import pytest

from rectitude.decisions.plans.prescriber import Prescriber
from rectitude.decisions.plans.sensitivity import Swept, sensitivity


@pytest.fixture(scope="module")
def swept(kept: Prescriber) -> list[Swept]:
    policy = kept.policy.model_copy(update={"method": "surrogate", "max_changes": None, "min_gain": 0.0})
    person = next(person for person in map(kept.person, kept.ids()) if kept.planner(person, policy).plan().effort > 0)
    return list(sensitivity(kept, person, policy))


def test_each_weight_is_moved_and_its_own_value_gives_the_plan(swept: list[Swept]) -> None:
    for weight in ("resistance_weight", "charge", "max_changes", "budget"):
        rows = [row for row in swept if row.weight == weight]
        assert len(rows) >= 4
        assert [row.same for row in rows if row.used] == [True]


def test_limits_are_kept(swept: list[Swept]) -> None:
    for row in swept:
        if row.weight == "budget" and row.value is not None:
            assert row.effort <= row.value + 1e-6
        if row.weight == "max_changes" and row.value is not None:
            assert len(row.plan) <= row.value


def test_dearer_effort_never_buys_more_of_it(swept: list[Swept]) -> None:
    charged = [row for row in swept if row.weight == "charge"]
    changes = [len(row.plan) for row in charged]
    assert changes == sorted(changes, reverse=True)


def test_as_json(swept: list[Swept]) -> None:
    assert set(swept[0].to_dict()) == {
        "weight", "value", "used", "same", "plan", "p1", "judge_gain", "effort", "status",
    }  # fmt: skip
