"""Conditions on one column: ``exercise_days >= 1``. Read by hand; nothing is evaluated."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rectitude.core.errors import ConfigError

Answer = str | float
"""An answer to a survey question; None (in the tables and dictionaries that hold answers) where it is missing."""

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_SHAPE = re.compile(r"^\s*(?P<name>.*?)\s*(?P<sign><=|>=|==|!=|<|>|=)\s*(?P<value>.*?)\s*$")


@dataclass(frozen=True)
class Condition:
    """What one column's value must be.

    Attributes:
        name: The column; empty in a condition on the target.
        sign: ``<=``, ``>=``, ``==``, ``!=``, ``<`` or ``>``.
        value: A number or a label.
    """

    name: str
    sign: str
    value: Answer

    @classmethod
    def parse(cls, text: str, *, where: str) -> Condition:
        """Read ``"Exercise frequency >= 2"``; one ``=`` means ``==``.

        Raises:
            ConfigError: There is no comparison in it, or nothing to compare with.
        """
        match = _SHAPE.match(text)
        if match is None or not match["value"]:
            raise ConfigError(
                f"'{text}' is not a condition", where=where, fix="Write it as COLUMN >= VALUE, e.g. 'exercise >= 2'"
            )
        sign = "==" if match["sign"] == "=" else match["sign"]
        return cls(match["name"].strip("'\""), sign, number_or_text(match["value"].strip("'\"")))

    def holds(self, value: Answer, levels: tuple[Answer, ...] = ()) -> bool:
        """Whether a value fulfils it.

        Args:
            value: The value, never missing.
            levels: Answers of an ordinal question in order, which decides what 'more' means for them.

        Raises:
            ConfigError: Two answers without an order are asked which is more.
        """
        if self.sign in ("==", "!="):
            return (_same(value, self.value)) == (self.sign == "==")
        if levels and any(isinstance(level, str) for level in levels):
            places = [place(given, levels) for given in (value, self.value)]
            if None not in places:
                return _COMPARE[self.sign](*places)
        if isinstance(value, str) or isinstance(self.value, str):
            raise ConfigError(f"'{self}' compares answers that have no order", fix="Use == or !=")
        return _COMPARE[self.sign](value, self.value)

    def __str__(self) -> str:
        return f"{self.name} {self.sign} {spoken(self.value)}".strip()


def number_or_text(text: str) -> Answer:
    """``"2"`` as 2.0, ``"Yes"`` as it is."""
    try:
        return float(text)
    except ValueError:
        return text


def place(value: Answer, levels: tuple[Answer, ...]) -> int | None:
    """Position of an answer among the levels, None if it is not one of them."""
    return next((index for index, level in enumerate(levels) if _same(level, value)), None)


def _same(one: Answer, other: Answer) -> bool:
    if isinstance(one, str) != isinstance(other, str):  # a label that looks like a number
        return spoken(one) == spoken(other)
    return one == other


def spoken(value: Answer | None) -> str:
    """An answer as it is written for people: ``2`` for 2.0, ``no answer`` for a missing one."""
    if value is None:
        return "no answer"
    return f"{value:g}" if not isinstance(value, str) and abs(value) < 1e15 else str(value)
