"""What every chart is: a finding as title, a description, its numbers, and one drawing for desks and one for phones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Literal

from markupsafe import Markup

from rectitude.reporting.numbers import IntervalLike
from rectitude.reporting.svg import Scale, clean, element, line, text, text_width
from rectitude.reporting.tokens import css_variables

WIDE = 640
"""Units across a drawing for a desk; also pixels, at most."""
NARROW = 340
"""Units across a drawing for a phone."""

Cell = str | int | float | IntervalLike | None
"""What a table holds; ``None`` is written as a dash."""


@dataclass(frozen=True)
class Axis:
    """What is measured along one direction.

    Attributes:
        title: Name of the quantity.
        unit: Its unit, empty for a bare number.
        better: Which direction is better, where one is.
        whole: Only whole numbers make sense.
    """

    title: str
    unit: str = ""
    better: Literal["higher", "lower"] | None = None
    whole: bool = False

    @property
    def name(self) -> str:
        """Title with unit, for a table's head."""
        return f"{self.title}, {self.unit}" if self.unit else self.title

    def across(self) -> str:
        """The words under a horizontal axis."""
        direction = {"higher": " (higher is better →)", "lower": " (← lower is better)", None: ""}
        return self.name + direction[self.better]

    def up(self) -> str:
        """The words above a vertical axis."""
        direction = {"higher": " (↑ higher is better)", "lower": " (↓ lower is better)", None: ""}
        return self.name + direction[self.better]


@dataclass(frozen=True)
class Drawing:
    """The inside of an SVG and the size of its view box."""

    width: float
    height: float
    body: Markup


@dataclass(frozen=True)
class Chart:
    """A chart with its words and numbers.

    Attributes:
        title: The finding, as one sentence.
        description: What is drawn, for those who do not see it and for those who do not trust it.
        columns: Heads of the table of numbers.
        rows: The numbers drawn, row by row.
        wide: Drawing for a desk.
        narrow: Drawing for a phone.
    """

    title: str
    description: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    wide: Drawing
    narrow: Drawing

    @property
    def svg(self) -> str:
        """The wide drawing, to be put in a page that carries the chart style."""
        return self._svg(self.wide, "chart wide")

    @property
    def svg_narrow(self) -> str:
        """The narrow drawing, likewise."""
        return self._svg(self.narrow, "chart narrow")

    def standalone(self) -> str:
        """A complete SVG file: its own style, light and dark, and the title drawn above."""
        lines = _wrap(self.title, WIDE - 8)
        top = 24 + 20 * len(lines)
        style = element("style", style_sheet("chart.css"))
        head = Markup("").join(text(4, 26 + 20 * row, words, "finding") for row, words in enumerate(lines))
        body = Markup('{}<rect class="paper" width="{}" height="{}"/>{}<g transform="translate(0 {})">{}</g>').format(
            style, self.wide.width, round(self.wide.height + top + 8), head, top, self.wide.body
        )
        return self._svg(Drawing(self.wide.width, self.wide.height + top + 8, body), "chart")

    def _svg(self, drawing: Drawing, class_: str) -> Markup:
        return element(
            "svg",
            element("title", self.title),
            element("desc", self.description),
            drawing.body,
            xmlns="http://www.w3.org/2000/svg",
            viewBox=f"0 0 {drawing.width:.0f} {drawing.height:.0f}",
            width=round(drawing.width),
            height=round(drawing.height),
            role="img",
            class_=class_,
        )


def style_sheet(*names: str) -> Markup:
    """The colour tokens followed by style sheets of this package; charts need ``chart.css``."""
    templates = resources.files("rectitude.reporting").joinpath("templates")
    sheets = [templates.joinpath(name).read_text(encoding="utf-8") for name in names]
    return Markup("".join([css_variables(), *sheets]))  # noqa: S704


def make_chart(
    title: str,
    description: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    draw: Callable[[float], Drawing],
) -> Chart:
    """Draw a chart at both widths."""
    return Chart(title, description, tuple(columns), tuple(tuple(row) for row in rows), draw(WIDE), draw(NARROW))


def require_finite(value: float, what: str) -> float:
    """The value, refused where it cannot be drawn.

    Raises:
        ValueError: It is NaN or infinite.
    """
    if not math.isfinite(value):
        raise ValueError(f"{what} is {value}: only finite numbers can be drawn")
    return float(value)


def require_some(rows: Sequence[object], title: str) -> None:
    """Refuse an empty chart.

    Raises:
        ValueError: There is nothing to draw.
    """
    if not rows:
        raise ValueError(f"The chart '{clean(title)}' has nothing to draw")


def axis_below(scale: Scale, axis: Axis, top: float, bottom: float, *, titled: bool = True) -> list[Markup]:
    """Grid lines from ``top`` to ``bottom``, tick labels under them, and the axis title (needs 44 units, or 22)."""
    parts: list[Markup] = []
    for tick in scale.ticks:
        parts.append(line(scale(tick), top, scale(tick), bottom, "grid"))
        parts.append(text(scale(tick), bottom + 17, scale.label(tick), "tick middle"))
    if titled:
        parts.append(title_below(axis.across(), scale.start, scale.end, bottom + 38))
    return parts


def title_below(words: str, start: float, end: float, baseline: float) -> Markup:
    """An axis title, centred under its axis but kept right of the drawing's left edge."""
    half = text_width(words) / 2
    return text(max((start + end) / 2, half + 4), baseline, words, "axis middle")


def axis_left(scale: Scale, left: float, right: float) -> list[Markup]:
    """Grid lines from ``left`` to ``right`` with tick labels before them."""
    parts: list[Markup] = []
    for tick in scale.ticks:
        parts.append(line(left, scale(tick), right, scale(tick), "grid"))
        parts.append(text(left - 8, scale(tick) + 4.5, scale.label(tick), "tick end"))
    return parts


def _wrap(words: str, width: float) -> list[str]:
    """Break a sentence into lines of 15-unit bold type."""
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_width(longer, 16) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
