"""Drawing with SVG elements: escaping, text that fits, markers, linear scales with round ticks."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from rectitude.reporting.numbers import number

FONT_SIZE = 13
"""Height of every letter in a chart, in units of the view box."""

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def clean(text: object) -> str:
    """The text without characters that XML does not allow."""
    return _NOT_XML.sub("", str(text))


def _attribute(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return clean(value)


def element(name: str, *children: object, **attributes: object) -> Markup:
    """One SVG element; text children and attribute values are escaped.

    Attribute names are written with underscores for hyphens (``class_`` for ``class``); ``None`` leaves one out.
    """
    written = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _attribute(value))
        for key, value in attributes.items()
        if value is not None
    )
    inner = Markup("").join(child if isinstance(child, Markup) else Markup.escape(clean(child)) for child in children)
    return Markup("<{0}{1}>{2}</{0}>").format(name, written, inner)


def text(x: float, y: float, content: str, class_: str | None = None) -> Markup:
    """Text whose baseline starts (or with class ``end`` ends, with ``middle`` centres) at ``(x, y)``."""
    return element("text", content, x=float(x), y=float(y), class_=class_)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A straight line."""
    return element("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), class_=class_)


def text_width(content: str, size: float = FONT_SIZE) -> float:
    """Width of a text in a system sans-serif, estimated from above so that labels do not touch."""
    width = 0.0
    for character in content:
        if unicodedata.combining(character) or unicodedata.category(character) == "Cf":
            continue
        if unicodedata.east_asian_width(character) in "WF":
            width += 1.0
        elif character in "iIjl.,:;'|!()[] ":
            width += 0.34
        else:
            width += 0.72 if character.isupper() or character in "mw%—" else 0.58
    return width * size


def shorten(content: str, width: float) -> str:
    """The text, cut with an ellipsis where it is wider than ``width``."""
    if text_width(content) <= width:
        return content
    while content and text_width(content + "…") > width:
        content = content[:-1]
    return content.rstrip() + "…"


_SHAPES = {
    "circle": "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0Z",
    "square": "M-4.5 -4.5H4.5V4.5H-4.5Z",
    "diamond": "M0 -6L6 0L0 6L-6 0Z",
    "triangle": "M0 -5.5L5.5 4.5H-5.5Z",
    "cross": "M-5 -2H-2V-5H2V-2H5V2H2V5H-2V2H-5Z",
}
SHAPES = tuple(_SHAPES)
"""Marker shapes in the order series take them: a series is told by its shape as well as by its colour."""


def marker(x: float, y: float, *, series: int = 0, shape: str | None = None, hollow: bool = False, says: str) -> Markup:
    """A point of a series, with what it says as its tooltip."""
    return element(
        "g",
        element("title", says),
        element("path", d=_SHAPES[shape or SHAPES[series % len(SHAPES)]]),
        class_=f"mark s{series % 5 + 1}" + (" hollow" if hollow else ""),
        transform=f"translate({_attribute(float(x))} {_attribute(float(y))})",
    )


def ring(x: float, y: float) -> Markup:
    """The ring round the chosen point."""
    return element("circle", cx=float(x), cy=float(y), r=10, class_="ring")


@dataclass(frozen=True)
class Scale:
    """A straight line from values to positions.

    Attributes:
        low: Value at ``start``.
        high: Value at ``end``.
        start: Position of ``low``.
        end: Position of ``high``.
        ticks: Round values between ``low`` and ``high``.
        places: Decimals of the tick labels.
    """

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]
    places: int

    def __call__(self, value: float) -> float:
        """Position of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def label(self, tick: float) -> str:
        """A tick as it is written."""
        return number(tick, self.places) if abs(tick) < 1e7 else f"{tick:.3g}"


def _round_step(rough: float, *, whole: bool) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * (1 - 1e-9))
    if whole:
        return max(1.0, math.ceil(step))
    return step


def round_scale(
    values: Iterable[float], start: float, end: float, *, n_ticks: int = 5, whole: bool = False, zero: bool = False
) -> Scale:
    """A scale that covers the values and ends on round ticks.

    Args:
        values: Finite values to cover; at least one.
        start: Position of the low end.
        end: Position of the high end.
        n_ticks: About how many steps.
        whole: Ticks on whole numbers only.
        zero: Cover zero as well.
    """
    covered = [*values, 0.0] if zero else list(values)
    low, high = min(covered), max(covered)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        margin = abs(high) / 10 or 0.5
        low, high = low - (0 if zero else margin), high + margin
    step = _round_step((high - low) / n_ticks, whole=whole)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    places = max(0, -math.floor(math.log10(step) + 1e-9))
    if round(step, places) != step and not math.isclose(round(step, places), step, rel_tol=1e-6):
        places += 1
    ticks = tuple(index * step for index in range(first, last + 1))
    return Scale(ticks[0], ticks[-1], start, end, ticks, places)


def fitted_scale(
    values: Sequence[float], start: float, end: float, *, whole: bool = False, zero: bool = False
) -> Scale:
    """A horizontal scale with as many round ticks, up to seven, as have room for their labels."""
    for n_ticks in range(7, 1, -1):
        scale = round_scale(values, start, end, n_ticks=n_ticks, whole=whole, zero=zero)
        room = (end - start) / max(1, len(scale.ticks) - 1)
        if max(text_width(scale.label(tick)) for tick in scale.ticks) + 8 <= room:
            break
    return scale


def spread(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move label positions apart to at least ``gap``, keeping their order and, where there is room, the bounds."""
    order = sorted(range(len(positions)), key=lambda index: positions[index])
    placed = [min(max(positions[index], low), high) for index in order]
    for index in range(1, len(placed)):
        placed[index] = max(placed[index], placed[index - 1] + gap)
    if placed and placed[-1] > high:
        placed[-1] = high
        for index in range(len(placed) - 2, -1, -1):
            placed[index] = min(placed[index], placed[index + 1] - gap)
    result = [0.0] * len(placed)
    for index, position in zip(order, placed, strict=True):
        result[index] = position
    return result
