"""Charts that compare named things: dots with intervals, small multiples of them, bars of shares, slopes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from rectitude.reporting.chart import (
    WIDE,
    Axis,
    Cell,
    Chart,
    Drawing,
    axis_below,
    make_chart,
    require_finite,
    require_some,
    title_below,
)
from rectitude.reporting.numbers import decimals, interval_ends, number
from rectitude.reporting.svg import (
    Scale,
    element,
    fitted_scale,
    line,
    marker,
    ring,
    round_scale,
    shorten,
    spread,
    text,
    text_width,
)


@dataclass(frozen=True)
class Dot:
    """A value with its interval.

    Attributes:
        label: Whose value it is.
        value: The estimate.
        low: Lower end of its interval, where there is one.
        high: Upper end.
        chosen: Is this the one the reader came for?
    """

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    chosen: bool = False

    @property
    def ends(self) -> tuple[float, float] | None:
        """The interval, where both ends are known numbers."""
        if self.low is None or self.high is None or math.isnan(self.low) or math.isnan(self.high):
            return None
        return require_finite(self.low, f"The low end of '{self.label}'"), require_finite(
            self.high, f"The high end of '{self.label}'"
        )

    def says(self, places: int) -> str:
        """Value and interval in figures."""
        return f"{number(self.value, places)} {interval_ends(self, places)}".strip()

    def drawn(self, scale: Scale, y: float, places: int, series: int) -> Markup:
        """Whisker, marker, and the ring if chosen."""
        parts = []
        if self.ends:
            low, high = scale(self.ends[0]), scale(self.ends[1])
            whisker = [
                line(low, y, high, y, "rod"),
                line(low, y - 4, low, y + 4, "rod"),
                line(high, y - 4, high, y + 4, "rod"),
            ]
            parts.append(element("g", *whisker, class_=f"whisker s{series + 1}"))
        if self.chosen:
            parts.append(ring(scale(self.value), y))
        says = f"{self.label}: {self.says(places)}"
        parts.append(marker(scale(self.value), y, series=series, shape="circle", hollow=not self.chosen, says=says))
        return Markup("").join(parts)


def _reach(dots: Sequence[Dot]) -> list[float]:
    """Every number of the dots, checked."""
    values = [require_finite(dot.value, f"The value of '{dot.label}'") for dot in dots]
    return values + [end for dot in dots for end in dot.ends or ()]


def _label_room(labels: Sequence[str], limit: float) -> float:
    return min(limit, max(text_width(label) for label in labels) + 14)


def _numbers(dot: Dot) -> tuple[Cell, ...]:
    low, high = dot.ends or (None, None)
    return (dot.value, low, high)


def dots_with_intervals(
    title: str,
    description: str,
    dots: Sequence[Dot],
    axis: Axis,
    *,
    of: str = "",
    reference: tuple[str, float] | None = None,
) -> Chart:
    """One line per thing: its value as a dot, its interval as a rod.

    Args:
        title: The finding.
        description: What is drawn.
        dots: From top to bottom.
        axis: The quantity.
        of: What the labels name ("Model"), head of the table's first column.
        reference: A value to compare all with, drawn as a dashed line, with its name.

    Raises:
        ValueError: No dots, or a value that is not finite.
    """
    require_some(dots, title)
    reach = _reach(dots)
    places = decimals([dot.value for dot in dots])
    if reference:
        reach.append(require_finite(reference[1], reference[0]))

    def draw(width: float) -> Drawing:
        narrow = width < WIDE
        said = [dot.says(places) for dot in dots]
        right = max(text_width(words) for words in said) + 16
        left = 14.0 if narrow else _label_room([dot.label for dot in dots], 220)
        scale = fitted_scale(reach, left + 8, width - (14 if narrow else right + 12))
        step, top = (50.0, 10.0) if narrow else (32.0, 10.0)
        top += 20 if reference else 0
        bottom = top + step * len(dots)
        parts = axis_below(scale, axis, top, bottom)
        if reference:
            x, words = scale(reference[1]), f"{reference[0]} {number(reference[1], places)}"
            half = text_width(words) / 2
            parts.append(line(x, top - 6, x, bottom, "reference"))
            parts.append(text(min(max(x, half + 2), width - half - 2), top - 10, words, "tick middle"))
        for row, (dot, words) in enumerate(zip(dots, said, strict=True)):
            y = top + step * (row + (0.74 if narrow else 0.5))
            base = y - 16 if narrow else y + 4.5
            weight = "label halo strong" if dot.chosen else "label halo"
            parts.append(text(4, base, shorten(dot.label, (width - right if narrow else left) - 8), weight))
            parts.append(text(width - 4, base, words, f"{weight} end"))
            parts.append(dot.drawn(scale, y, places, 0 if dot.chosen else 3))
        return Drawing(width, bottom + 46, Markup("").join(parts))

    table = [(dot.label, *_numbers(dot)) for dot in dots]
    return make_chart(title, description, (of, axis.name, "interval from", "to"), table, draw)


def small_multiples(
    title: str,
    description: str,
    panels: Mapping[str, Sequence[Dot]],
    axis: Axis,
    *,
    of: str = "",
) -> Chart:
    """The same groups side by side, once per panel, on one scale; one under the other on a phone.

    Args:
        title: The finding.
        description: What is drawn.
        panels: Panel name to its dots; every panel has the same labels in the same order.
        axis: The quantity, shared by all panels.
        of: What the labels name, head of the table's second column.

    Raises:
        ValueError: No panels or dots, labels that differ between panels, or a value that is not finite.
    """
    require_some([dot for dots in panels.values() for dot in dots], title)
    labels = [dot.label for dot in next(iter(panels.values()))]
    for name, dots in panels.items():
        if [dot.label for dot in dots] != labels:
            raise ValueError(f"Panel '{name}' has other groups than the first panel")
    reach = [value for dots in panels.values() for value in _reach(dots)]
    places = decimals([dot.value for dots in panels.values() for dot in dots])

    def draw(width: float) -> Drawing:
        left = _label_room(labels, 180 if width >= WIDE else 120)
        most = max(1, int((width - left) // 180))
        across = math.ceil(len(panels) / math.ceil(len(panels) / most))
        room = (width - left) / across
        step, height = 26.0, 26.0 * len(labels) + 62
        parts: list[Markup] = []
        for place, (name, dots) in enumerate(panels.items()):
            x, top = left + room * (place % across), height * (place // across) + 30
            scale = fitted_scale(reach, x + 16, x + room - 24)
            parts.append(text(x + 4, top - 12, shorten(name, room - 8), "label strong"))
            parts += axis_below(scale, axis, top, top + step * len(dots), titled=False)
            for row, dot in enumerate(dots):
                y = top + step * (row + 0.5)
                if place % across == 0:
                    parts.append(text(4, y + 4.5, shorten(dot.label, left - 8), "label"))
                parts.append(dot.drawn(scale, y, places, place % 5))
        total = height * math.ceil(len(panels) / across)
        parts.append(title_below(axis.across(), left, width, total + 14))
        return Drawing(width, total + 22, Markup("").join(parts))

    table = [(name, dot.label, *_numbers(dot)) for name, dots in panels.items() for dot in dots]
    return make_chart(title, description, ("", of, axis.name, "interval from", "to"), table, draw)


def bars(
    title: str,
    description: str,
    groups: Sequence[str],
    series: Mapping[str, Sequence[float]],
    axis: Axis,
    *,
    of: str = "",
) -> Chart:
    """Horizontal bars from zero, one per series in each group, with their values: for shares and counts.

    Args:
        title: The finding.
        description: What is drawn.
        groups: Labels from top to bottom, G of them.
        series: Name to G values, none negative; the first is filled, the others are outlined.
        axis: The quantity.
        of: What the groups are, head of the table's first column.

    Raises:
        ValueError: Nothing to draw, a length that differs from G, or a value that is negative or not finite.
    """
    require_some(groups, title)
    require_some(list(series), title)
    for name, values in series.items():
        if len(values) != len(groups):
            raise ValueError(f"Series '{name}' has {len(values)} values for {len(groups)} groups")
        for group, value in zip(groups, values, strict=True):
            if require_finite(value, f"'{name}' of '{group}'") < 0:
                raise ValueError(f"'{name}' of '{group}' is negative: a bar starts at zero")
    every = [value for values in series.values() for value in values]
    places = decimals(every)

    def draw(width: float) -> Drawing:
        narrow = width < WIDE
        left = 4.0 if narrow else _label_room(groups, 220)
        right = max(text_width(number(value, places)) for value in every) + 14
        scale = fitted_scale(every, left, width - right, zero=True)
        head = 22.0 if narrow else 10.0
        step = head + 18 * len(series) + (8 if narrow else 6)
        parts, top = _legend(list(series), width)
        bottom = top + step * len(groups)
        parts += axis_below(scale, axis, top, bottom)
        for row, group in enumerate(groups):
            y = top + step * row
            middle = y + head / 2 + 9 * len(series) + 4.5
            parts.append(
                text(4, y + 17 if narrow else middle, shorten(group, width - 8 if narrow else left - 8), "label halo")
            )
            for index, (name, values) in enumerate(series.items()):
                at, value = y + head + 18 * index - (0 if narrow else 3), values[row]
                bar = element("rect", x=left, y=at, width=float(scale(value) - left), height=14)
                says = element("title", f"{name}, {group}: {number(value, places)}")
                parts.append(element("g", says, bar, class_=f"bar s{index % 5 + 1}" + (" outlined" if index else "")))
                parts.append(text(scale(value) + 6, at + 11.5, number(value, places), "label halo"))
        return Drawing(width, bottom + 46, Markup("").join(parts))

    table: list[tuple[Cell, ...]] = [
        (group, *(values[row] for values in series.values())) for row, group in enumerate(groups)
    ]
    return make_chart(title, description, (of, *(f"{name} ({axis.name})" for name in series)), table, draw)


def _legend(names: Sequence[str], width: float) -> tuple[list[Markup], float]:
    """Swatches of bar series, wrapped to the width, and the height they take."""
    parts: list[Markup] = []
    x, y = 4.0, 6.0
    for index, name in enumerate(names):
        wide = text_width(name) + 40
        if x > 4 and x + wide > width:
            x, y = 4.0, y + 20
        swatch = element("rect", x=x, y=y, width=18, height=12)
        parts.append(element("g", swatch, class_=f"bar s{index % 5 + 1}" + (" outlined" if index else "")))
        parts.append(text(x + 24, y + 11, name, "label"))
        x += wide
    return parts, y + 26


@dataclass(frozen=True)
class Change:
    """A value before and after.

    Attributes:
        label: Whose value it is.
        before: Value before.
        after: Value after.
        chosen: Is this the one the reader came for?
    """

    label: str
    before: float
    after: float
    chosen: bool = False


def slope(
    title: str,
    description: str,
    changes: Sequence[Change],
    axis: Axis,
    *,
    before: str = "before",
    after: str = "after",
    of: str = "",
) -> Chart:
    """Lines from before to after, with names and values at their ends.

    Args:
        title: The finding.
        description: What is drawn.
        changes: One line each.
        axis: The quantity.
        before: Name of the state on the left.
        after: Name of the state on the right.
        of: What the labels name, head of the table's first column.

    Raises:
        ValueError: Nothing to draw, or a value that is not finite.
    """
    require_some(changes, title)
    reach = [require_finite(change.before, f"'{change.label}' {before}") for change in changes]
    reach += [require_finite(change.after, f"'{change.label}' {after}") for change in changes]
    places = decimals(reach)

    def draw(width: float) -> Drawing:
        figures = max(text_width(number(value, places)) for value in reach) + 18
        name = min(max(text_width(change.label) for change in changes) + 8, width - 2 * figures - 110)
        left, right = figures, width - figures - name
        top = 56.0
        bottom = top + max(140.0, 24.0 * len(changes))
        scale = round_scale(reach, bottom, top)
        parts = [
            text(4, 16, axis.up(), "axis"),
            text(left, 40, before, "label middle"),
            text(right, 40, after, "label middle"),
            line(left, top - 8, left, bottom + 8, "grid"),
            line(right, top - 8, right, bottom + 8, "grid"),
        ]
        starts = spread([scale(change.before) for change in changes], 17, top, bottom)
        ends = spread([scale(change.after) for change in changes], 17, top, bottom)
        for change, start, end in zip(changes, starts, ends, strict=True):
            series, weight = (0, "label strong") if change.chosen else (3, "label")
            y1, y2 = scale(change.before), scale(change.after)
            rising = f"{change.label}: {number(change.before, places)} {before}, {number(change.after, places)} {after}"
            parts.append(line(left, y1, right, y2, f"curve s{series + 1}"))
            parts.append(marker(left, y1, series=series, shape="circle", hollow=True, says=rising))
            parts.append(marker(right, y2, series=series, shape="circle", says=rising))
            parts.append(text(left - 12, start + 4.5, number(change.before, places), f"{weight} end"))
            words = f"{number(change.after, places)}  {shorten(change.label, name)}"
            parts.append(text(right + 12, end + 4.5, words, weight))
        return Drawing(width, bottom + 16, Markup("").join(parts))

    table = [(change.label, change.before, change.after) for change in changes]
    return make_chart(title, description, (of, f"{axis.name} {before}", f"{axis.name} {after}"), table, draw)
