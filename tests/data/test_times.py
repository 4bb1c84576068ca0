from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rectitude.data.place import Source
from rectitude.data.times import parse_times

MOMENT = datetime(2009, 9, 13, 18, 0, 6, tzinfo=UTC)
SECONDS = int(MOMENT.timestamp())


def read(values: list[object], **options: str) -> tuple[list[int], str]:
    exact, seconds, notes = parse_times(Source(pl.DataFrame({"t": values}), "log.csv"), "t", **options)
    assert seconds.dtype == pl.Int64
    assert len(exact) == len(seconds)
    return seconds.to_list(), " ".join(notes)


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize(
    ("ticks", "unit"), [(1, None), (10**3, "milliseconds"), (10**6, "microseconds"), (10**9, "nanoseconds")]
)
def test_units_are_told_by_size(ticks: int, unit: str | None, text: bool) -> None:
    value = SECONDS * ticks
    seconds, said = read([str(value) if text else value])
    assert seconds == [SECONDS]
    assert said == "" if unit is None else unit in said


@given(st.lists(st.integers(10**9, 10**10), min_size=1, max_size=20))
def test_seconds_stay_what_they_are(values: list[int]) -> None:
    assert read(list(values))[0] == values


@pytest.mark.parametrize("values", [[f"{SECONDS}.75"], [SECONDS + 0.75], [f"{SECONDS}.0"]])
def test_fractions_are_cut(values: list[object]) -> None:
    assert read(values)[0] == [SECONDS]


def test_fractions_and_milliseconds_still_order() -> None:
    exact, seconds, _ = parse_times(Source(pl.DataFrame({"t": [1600000000900, 1600000000100]}), "log.csv"), "t")
    assert seconds.to_list() == [1600000000] * 2
    assert exact[0] > exact[1]


@pytest.mark.parametrize(
    "text",
    [
        "2009-09-13T18:00:06",
        "2009-09-13T18:00:06Z",
        "2009-09-13T20:00:06+02:00",
        "2009-09-13 18:00:06",
        "2009-09-13 18:00:06.000",
        "2009/09/13 18:00:06",
        "13.09.2009 18:00:06",
        "13/09/2009 18:00:06",
        "09/13/2009 18:00:06",
        "Sun Sep 13 18:00:06 +0000 2009",
        " 2009-09-13 18:00:06 ",
    ],
)
def test_written_moments(text: str) -> None:
    seconds, said = read([text])
    assert seconds == [SECONDS]
    assert "2009-09-13 18:00:06+00:00" in said


@pytest.mark.parametrize(
    "text", ["2009-09-13", "09 13, 2009", "9 13, 2009", "Sep 13, 2009", "September 13, 2009", "13 Sep 2009", "20090913"]
)
def test_written_days(text: str) -> None:
    assert read([text])[0] == [int(datetime(2009, 9, 13, tzinfo=UTC).timestamp())]


@given(st.lists(st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1)), min_size=1, max_size=20))
def test_iso_text_and_typed_columns_agree(moments: list[datetime]) -> None:
    expected = [(moment - datetime(1970, 1, 1)) // timedelta(seconds=1) for moment in moments]
    assert read([moment.isoformat(" ", "microseconds") for moment in moments])[0] == expected
    for unit in ("ms", "us", "ns"):
        typed = pl.Series("t", moments, pl.Datetime("us")).cast(pl.Datetime(unit))
        _, seconds, notes = parse_times(Source(typed.to_frame(), "frame"), "t")
        assert seconds.to_list() == expected
        assert not notes


def test_dates_are_midnights() -> None:
    assert read([date(1970, 1, 2)])[0] == [86400]


def test_gaps_stay_gaps() -> None:
    assert read(["2009-09-13", None, ""])[0][1:] == [None, None]
    assert read([5.0, float("nan")])[0] == [5, None]
    assert read([None])[0] == [None]


def test_small_numbers_are_said() -> None:
    seconds, said = read([1, 2, 3])
    assert seconds == [1, 2, 3]
    assert "small numbers (up to 3)" in said


def test_times_before_1970() -> None:
    assert read([-86400, 10**9])[0] == [-86400, 10**9]
