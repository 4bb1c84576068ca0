"""How numbers are written: enough digits to tell values apart, no more."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Protocol


class IntervalLike(Protocol):
    """Anything with a value and the ends of its interval; the ends are ``None`` where there is no interval."""

    @property
    def value(self) -> float:
        """The estimate."""

    @property
    def low(self) -> float | None:
        """Lower end."""

    @property
    def high(self) -> float | None:
        """Upper end."""


def decimals(values: Iterable[float]) -> int:
    """Decimal places that give the largest of these values three significant digits; none if all are whole."""
    finite = [abs(value) for value in values if math.isfinite(value)]
    if all(value == int(value) for value in finite):
        return 0
    return min(6, max(0, 2 - math.floor(math.log10(max(finite)))))


def number(value: float, places: int | None = None) -> str:
    """A number with thousands separated; ``places`` decimals, or as many as :func:`decimals` gives.

    A value that is not finite is written as a dash: there is no number to show.
    """
    if not math.isfinite(value):
        return "–"
    text = f"{value:,.{decimals([value]) if places is None else places}f}"
    return "0" + text[2:] if text.startswith("-0") and not text.strip("-0.,") else text


def with_interval(found: IntervalLike) -> str:
    """A value and, where it has one, its interval: ``0.0812 (0.0750–0.0874)``."""
    places = decimals([found.value])
    ends = interval_ends(found, places)
    return f"{number(found.value, places)} {ends}".strip()


def interval_ends(found: IntervalLike, places: int | None) -> str:
    """The interval in brackets, empty where there is none."""
    if found.low is None or found.high is None:
        return ""
    low, high = number(found.low, places), number(found.high, places)
    return f"({low} to {high})" if "-" in low + high else f"({low}–{high})"  # a dash beside a minus reads as neither


def percent(share: float) -> str:
    """``0.126`` as ``13 %``, with a decimal below ten per cent where it matters."""
    value = 100 * share
    places = 1 if 0 < abs(value) < 9.95 and abs(value - round(value)) > 0.05 else 0
    return f"{value:.{places}f}\N{NO-BREAK SPACE}%"


def out_of(share: float, base: int) -> str:
    """``0.126`` of 100 as ``13 of 100``."""
    count = round(share * base)
    return f"{count:,} of {base:,}" if count or not share else f"fewer than 1 of {base:,}"
