from __future__ import annotations

from dataclasses import dataclass

import pytest

from rectitude.reporting.numbers import decimals, number, out_of, percent, with_interval


@dataclass(frozen=True)
class Found:
    value: float
    low: float | None = None
    high: float | None = None


@pytest.mark.parametrize(
    ("values", "places"),
    [([0.0812, 0.2], 3), ([0.0812], 4), ([12.34], 1), ([130.4], 0), ([3, 4.0], 0), ([], 0), ([0.0], 0), ([1e-9], 6)],
)
def test_the_largest_value_gets_three_significant_digits(values: list[float], places: int) -> None:
    assert decimals(values) == places


@pytest.mark.parametrize(
    ("value", "places", "written"),
    [
        (1234567, None, "1,234,567"),
        (0.08124, None, "0.0812"),
        (-0.04, 1, "0.0"),
        (-0.06, 1, "-0.1"),
        (-1234.5, 1, "-1,234.5"),
        (float("nan"), None, "–"),
        (float("inf"), 2, "–"),
    ],
)
def test_numbers_as_written(value: float, places: int | None, written: str) -> None:
    assert number(value, places) == written


def test_shares_in_words() -> None:
    assert percent(0.126) == "13\N{NO-BREAK SPACE}%"
    assert percent(0.0126) == "1.3\N{NO-BREAK SPACE}%"
    assert percent(0.0101) == "1\N{NO-BREAK SPACE}%"
    assert percent(0.0) == "0\N{NO-BREAK SPACE}%"
    assert out_of(0.126, 100) == "13 of 100"
    assert out_of(0.0123, 1000) == "12 of 1,000"
    assert out_of(0.0001, 100) == "fewer than 1 of 100"
    assert out_of(0.0, 100) == "0 of 100"


def test_an_interval_is_written_only_where_there_is_one() -> None:
    assert with_interval(Found(0.0812, 0.075, 0.0874)) == "0.0812 (0.0750–0.0874)"
    assert with_interval(Found(0.612)) == "0.612"
