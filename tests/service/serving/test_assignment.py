from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rectitude.core.errors import ConfigError
from rectitude.service.serving.assignment import Experiment, position

TRY = Experiment("try", {"main": 0.7, "bpr": 0.3})


@given(st.text(min_size=1), st.text())
def test_a_person_stays_in_an_arm(user: str, salt: str) -> None:
    assert TRY.arm(user, salt) == Experiment.parse("try=main:0.7,bpr:0.3").arm(user, salt)
    assert 0 <= position(user, salt) < 1


def test_shares_are_kept_and_experiments_are_independent() -> None:
    users = [f"u{n}" for n in range(20_000)]
    arms = [TRY.arm(user, "salt") for user in users]
    assert abs(arms.count("bpr") / 20_000 - 0.3) < 0.01
    other = [Experiment("other", {"main": 0.7, "bpr": 0.3}).arm(user, "salt") for user in users]
    both = sum(a == b == "bpr" for a, b in zip(arms, other, strict=True)) / 20_000
    assert abs(both - 0.09) < 0.01  # 0.3 of 0.3: knowing one arm says nothing of the other
    assert [TRY.arm(user, "another") for user in users] != arms


def test_a_larger_share_moves_nobody_out() -> None:
    users = [f"u{n}" for n in range(5000)]
    few, many = Experiment("try", {"new": 0.1, "main": 0.9}), Experiment("try", {"new": 0.5, "main": 0.5})
    assert all(many.arm(user, "s") == "new" for user in users if few.arm(user, "s") == "new")


@pytest.mark.parametrize(
    "text", ["", "try", "try=", "try=main", "=main:1", "try=main:x", "try=main:0.5,bpr:0.6", "try=main:0,bpr:1"]
)
def test_what_is_no_experiment_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="experiment"):
        Experiment.parse(text)
