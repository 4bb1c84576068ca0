from __future__ import annotations

import pytest

from rectitude.core import errors
from rectitude.core.errors import MissingExtraError, RectitudeError, did_you_mean


@pytest.mark.parametrize(
    ("where", "fix", "text"),
    [
        (None, None, "Too small"),
        ("line 3", None, "Too small (line 3)"),
        (None, "Add more", "Too small. Add more"),
        ("line 3", "Add more", "Too small (line 3). Add more"),
    ],
)
def test_a_message_says_what_where_and_what_to_do(where: str | None, fix: str | None, text: str) -> None:
    assert str(RectitudeError("Too small", where=where, fix=fix)) == text


def test_every_error_of_ours_can_be_caught_by_one_name() -> None:
    ours = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert len(ours) >= 8
    assert all(issubclass(error, RectitudeError) for error in ours)


def test_a_missing_package_names_the_extra_that_brings_it() -> None:
    message = str(MissingExtraError("optuna", "tune", "Tuning"))
    assert message.startswith("Tuning needs the package 'optuna'")
    assert "pip install 'rectitude[tune]'" in message


def test_the_nearest_word_is_suggested_and_otherwise_the_known_ones_are_listed() -> None:
    assert did_you_mean("n_factor", ["n_factors", "epochs"]) == "Did you mean 'n_factors'?"
    assert did_you_mean("zzz", ["b", "a"]) == "Known: a, b"
