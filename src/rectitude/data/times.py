"""Timestamps of every usual make to seconds since 1970, with what was recognised said."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl

from rectitude.core.errors import DataError
from rectitude.data.place import Source

_UNITS = (
    (1e11, "seconds", 1),
    (1e14, "milliseconds", 10**3),
    (1e17, "microseconds", 10**6),
    (9e18, "nanoseconds", 10**9),
)
"""Largest plausible magnitude, name, ticks per second: 1e11 seconds is the year 5138."""

_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S%.f", "T%H:%M", "T%H:%M:%S%.f")
_DATES = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y"),
    *("%m %d, %Y", "%b %d, %Y", "%B %d, %Y", "%d %b %Y", "%d %B %Y", "%Y%m%d"),
)
_FORMATS = (
    *(date + clock for date in _DATES for clock in _CLOCKS),
    *(f"%Y-%m-%d{clock}{zone}" for clock in _CLOCKS[2:] for zone in ("%#z", " %#z")),
    "%a %b %d %H:%M:%S %z %Y",
)


def parse_times(
    source: Source, column: str, *, time_format: str | None = None
) -> tuple[pl.Series, pl.Series, list[str]]:
    """Read a column of times.

    Args:
        source: The table.
        column: Its time column: numbers, dates or text. Nulls stay null.
        time_format: strftime pattern of text that could be read in more than one way.

    Returns:
        What to sort by (full precision), int64 seconds since 1970 (UTC where no zone is given), and what was found.

    Raises:
        DataError: A value cannot be read as a time, or the values mix units or could be read in two ways.
    """
    values = source.frame[column]
    if values.dtype == pl.Null:
        values = values.cast(pl.Int64)
    if values.dtype == pl.Date or values.dtype == pl.Datetime:
        micros = values.cast(pl.Datetime("us")).dt.epoch("us")
        return micros, micros // 10**6, []
    if values.dtype == pl.String:
        values = values.str.strip_chars()
        values = values.set(values.is_in(["", "NaN", "nan", "null", "NULL", "None"]), None)
        numbers = _numbers(values)
        if numbers is None or time_format is not None or _are_dates(numbers):
            return _parse_text(source, column, values, time_format)
        values = numbers
    if not values.dtype.is_numeric():
        raise DataError(
            f"Column '{column}' holds {values.dtype}, not times", where=source.name, fix="Name another: columns="
        )
    return _parse_numbers(source, column, values)


def _numbers(values: pl.Series) -> pl.Series | None:
    """The text as integers, else as floats, else None."""
    for dtype in (pl.Int64, pl.Float64):
        numbers = values.cast(dtype, strict=False)
        if numbers.null_count() == values.null_count():
            return numbers
    return None


def _are_dates(numbers: pl.Series) -> bool:
    """Whether eight-digit numbers are written days (20240131)."""
    low, high = numbers.min(), numbers.max()
    if numbers.dtype != pl.Int64 or not isinstance(low, int) or not isinstance(high, int):
        return False
    if low < 19700101 or high > 21001231:
        return False
    days = numbers.cast(pl.String).str.to_date("%Y%m%d", strict=False)
    return days.null_count() == numbers.null_count()


def _parse_numbers(source: Source, column: str, values: pl.Series) -> tuple[pl.Series, pl.Series, list[str]]:
    if not values.dtype.is_integer():
        values = values.cast(pl.Float64).fill_nan(None)
        if values.is_infinite().any():
            row = int(values.is_infinite().fill_null(value=False).arg_max() or 0)
            raise DataError("The timestamp is infinite", where=source.at(row, column), fix="Correct the value")
    size = values.cast(pl.Float64).abs()
    largest, smallest = size.max(), size.filter(size > 1e8).min()
    if not isinstance(largest, float):
        return values.cast(pl.Int64), values.cast(pl.Int64), []
    unit, ticks = _unit(source, column, largest, values)
    if isinstance(smallest, float) and _unit(source, column, smallest, values)[0] != unit:
        bound = next(bound for bound, name, _ in _UNITS if name == _unit(source, column, smallest, values)[0])
        first_is_large = bool(size.drop_nulls()[0] >= bound)
        row = int(((size >= bound) != first_is_large).fill_null(value=False).arg_max() or 0)
        raise DataError(
            "The timestamps mix units (such as seconds and milliseconds)",
            where=source.at(row, column),
            fix="Bring them all to one unit",
        )
    notes = []
    if ticks > 1:
        notes.append(f"Timestamps of '{column}' are in {unit}; they are kept in seconds, their order at full precision")
    elif largest < 1e8:
        notes.append(f"Times of '{column}' are small numbers (up to {largest:.0f}); they are used as they are")
    if values.dtype.is_integer():
        values = values.cast(pl.Int64)
        return values, values // ticks, notes
    return values, (values / ticks).floor().cast(pl.Int64), notes


def _unit(source: Source, column: str, size: float, values: pl.Series) -> tuple[str, int]:
    for bound, name, ticks in _UNITS:
        if size < bound:
            return name, ticks
    row = int(values.abs().arg_max() or 0)
    raise DataError(f"{values[row]} is no timestamp", where=source.at(row, column), fix="Give seconds since 1970")


def _parse_text(
    source: Source, column: str, values: pl.Series, time_format: str | None
) -> tuple[pl.Series, pl.Series, list[str]]:
    sample = values.drop_nulls().head(2000)
    formats = [time_format] if time_format else [f for f in _FORMATS if _fits(sample, f)]
    if not formats:
        formats = [max(_FORMATS, key=lambda form: _read(sample, form).is_not_null().sum())]
    parsed = {form: _read(values, form) for form in formats}
    whole = {form: times for form, times in parsed.items() if times.null_count() == values.null_count()}
    if not whole:
        readings = [*parsed.values(), values.cast(pl.Float64, strict=False)]  # a column of numbers with a stray text
        times = max(readings, key=lambda times: times.is_not_null().sum())
        row = int((times.is_null() & values.is_not_null()).arg_max() or 0)
        raise DataError(
            f"'{values[row]}' cannot be read as a time",
            where=source.at(row, column),
            fix="Correct it, or say how times are written: time_format='%Y-%m-%d %H:%M:%S'",
        )
    form, times = next(iter(whole.items()))
    for other, differently in whole.items():
        if not times.equals(differently):
            raise DataError(
                f"Times such as '{sample[0]}' can be read as {form} and as {other}",
                where=f"{source.name}, column '{column}'",
                fix=f"Say which: time_format='{form}'",
            )
    micros = times.dt.epoch("us")
    zone = "" if "%#z" in form or "%z" in form else ", taken as UTC"
    first = times.drop_nulls()
    example = datetime.fromtimestamp(first.dt.epoch("s")[0], UTC).isoformat(" ") if len(first) else "nothing"
    note = f"Times of '{column}' are text ({form}){zone}: '{sample[0]}' is {example}" if len(first) else ""
    return micros, micros // 10**6, [note] if note else []


def _fits(sample: pl.Series, form: str) -> bool:
    return len(sample) > 0 and _read(sample, form).null_count() == 0


def _read(values: pl.Series, form: str) -> pl.Series:
    """Times in the given format, null where a value is not written so."""
    if "%H" not in form:
        return values.str.to_date(form, strict=False).cast(pl.Datetime("us"))
    if "%z" in form or "%#z" in form:
        return values.str.to_datetime(form, strict=False, time_unit="us", time_zone="UTC").dt.replace_time_zone(None)
    return values.str.to_datetime(form, strict=False, time_unit="us")
