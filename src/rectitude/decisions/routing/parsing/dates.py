"""Dates in feedback, as written and as counted back from today."""

from __future__ import annotations

import calendar
import re
from datetime import date, timedelta

_DATE = re.compile(
    r"\b(?P<y>20\d\d)-(?P<m>\d\d)(?:-(?P<d>\d\d))?\b|"
    r"\b(?:(?P<first>\d{1,2})(?:st|nd|rd|th)?(?: of)? )?"
    r"(?P<name>jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.? (?:(?P<day>\d{1,2})(?:st|nd|rd|"
    r"th)?,? )?(?P<year>20\d\d)\b|"
    r"(?<=since )(?P<only>20\d\d)\b|(?<=after )(?P<only2>20\d\d)\b|(?<=before )(?P<only3>20\d\d)\b|(?<=until "
    r")(?P<only4>20\d\d)\b|(?<=than )(?P<only5>20\d\d)\b(?! )"
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_COUNT = r"(?:(?P<n>\d{1,3}|an?|one|two|three|four|five|six|nine|twelve|couple of|few) )?"
_UNIT = r"(?P<unit>day|week|month|quarter|year)s?"
_COUNTS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "nine": 9, "twelve": 12, "couple of": 2, "few": 3}
_RELATIVE = (
    (re.compile(rf"\b(?:in|within|during|over|from|of) the (?:last|past|previous) {_COUNT}{_UNIT}\b"), ">="),
    (re.compile(rf"\b(?:less than|under|at most|no more than|not more than|up to|within|younger than) {_COUNT}{_UNIT}"
                r"(?: old| of age)\b"), ">="),
    (re.compile(rf"\b(?:more than|over|at least) {_COUNT}{_UNIT}(?: old| of age)\b"), "<="),
    (re.compile(rf"\b{_COUNT}{_UNIT} ago\b"), ""),
    (re.compile(rf"(?<=than ){_COUNT}{_UNIT}(?: old)?\b"), ""),
    (re.compile(r"\b(?:from |in |during )?this (?P<unit>month|quarter|year)\b"), ">="),
    (re.compile(r"(?<=since )last (?P<unit>month|quarter|year)\b"), ">="),
)  # fmt: skip
"""Dates relative to today, with the comparison they carry."""


def calendar_dates(text: str) -> list[tuple[int, int, str]]:
    """Dates as written: where they begin and end, and the day in ISO form; the first of a month or year given alone."""
    found = []
    for match in _DATE.finditer(text):
        if match["y"]:
            written = f"{match['y']}-{match['m']}-{match['d'] or '01'}"
        elif match["name"]:
            day = int(match["day"] or match["first"] or 1)
            written = f"{match['year']}-{_MONTHS.index(match['name']) + 1:02d}-{day:02d}"
        else:
            written = f"{match['only'] or match['only2'] or match['only3'] or match['only4'] or match['only5']}-01-01"
        try:
            date.fromisoformat(written)
        except ValueError:  # the 31st of February: left among what is not understood
            continue
        found.append((match.start(), match.end(), written))
    return found


def relative_dates(text: str, today: date) -> list[tuple[int, int, str, str]]:
    """Dates counted back from today: where they begin and end, the comparison they carry (or none), and the day."""
    found = []
    for pattern, op in _RELATIVE:
        for match in pattern.finditer(text):
            unit, words = match["unit"], match[0]
            if "n" not in match.groupdict():
                day = _beginning(today, unit, back=0 if "this " in words else 1)
            else:
                spoken = match["n"] or "one"
                day = _earlier(today, unit, int(spoken) if spoken.isdigit() else _COUNTS.get(spoken, 1))
            found.append((match.start(), match.end(), op, day.isoformat()))
    return found


def _months_back(day: date, months: int) -> date:
    year, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def _earlier(day: date, unit: str, n: int) -> date:
    """So many days, weeks, months, quarters or years before a day; the end of the month where there is no such day."""
    if unit in ("day", "week"):
        return day - timedelta(days=n * (7 if unit == "week" else 1))
    return _months_back(day, n * {"month": 1, "quarter": 3, "year": 12}[unit])


def _beginning(day: date, unit: str, back: int) -> date:
    """The first day of this month, quarter or year, or of the one before."""
    length = {"month": 1, "quarter": 3, "year": 12}[unit]
    first = day.replace(month=(day.month - 1) // length * length + 1, day=1)
    return _months_back(first, back * length)
