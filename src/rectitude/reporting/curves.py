"""Charts over two quantities or one distribution: lines, histogram with strip, frontier."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from rectitude.reporting.chart import (
    WIDE,
    Axis,
    Chart,
    Drawing,
    axis_below,
    axis_left,
    make_chart,
    require_finite,
    require_some,
)
from rectitude.reporting.numbers import decimals, number
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

_Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""
_TOP = 34.0
"""Units above a plot, for the title of its vertical axis."""


def frame(
    width: float,
    x_values: Sequence[float],
    y_values: Sequence[float],
    x_axis: Axis,
    y_axis: Axis,
    right: float,
    *,
    tall: tuple[float, float] = (240.0, 190.0),
) -> tuple[Scale, Scale, list[Markup], float]:
    """Scales and axes of a plot with a vertical axis; ``right`` is kept free for labels. Last comes the height.

    ``tall`` is the plot's own height, on wide screens and on narrow ones.
    """
    bottom = _TOP + tall[width < WIDE]
    y = round_scale(y_values, bottom, _TOP, whole=y_axis.whole)
    left = max(text_width(y.label(tick)) for tick in y.ticks) + 16
    x = fitted_scale(x_values, left, width - right, whole=x_axis.whole)
    parts = [
        text(4, 16, shorten(y_axis.up(), width - 8), "axis"),
        *axis_left(y, left, width - right),
        *axis_below(x, x_axis, bottom, bottom),
    ]
    return x, y, parts, bottom + 46


def lines(
    title: str,
    description: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    x_axis: Axis,
    y_axis: Axis,
    *,
    chosen: tuple[float, float] | None = None,
) -> Chart:
    """Lines over a common axis, such as a learning curve; named at their ends where there are several.

    Args:
        title: The finding.
        description: What is drawn.
        series: Name to (x, y) points in order of x; a NaN for y is a gap.
        x_axis: Quantity across.
        y_axis: Quantity up.
        chosen: The point to ring.

    Raises:
        ValueError: No series, one without a single finite point, or an x that is not finite.
    """
    require_some(list(series), title)
    for name, points in series.items():
        for x, _ in points:
            require_finite(x, f"An x of '{name}'")
        if not any(math.isfinite(y) for _, y in points):
            raise ValueError(f"Series '{name}' has no finite value to draw")
    xs = [x for points in series.values() for x, _ in points]
    ys = [y for points in series.values() for _, y in points if math.isfinite(y)]
    if chosen:
        xs, ys = [*xs, require_finite(chosen[0], "The chosen x")], [*ys, require_finite(chosen[1], "The chosen y")]
    places = decimals(ys)

    def draw(width: float) -> Drawing:
        several = len(series) > 1
        right = min(150.0, max(text_width(name) for name in series) + 34) if several else 30.0
        x, y, parts, height = frame(width, xs, ys, x_axis, y_axis, right)
        last = [next(p for p in reversed(points) if math.isfinite(p[1])) for points in series.values()]
        beside = spread([y(point[1]) for point in last], 17, _TOP, height - 46)
        for index, (name, points) in enumerate(series.items()):
            for piece in _unbroken(points):
                path = " ".join(f"{x(px):.2f},{y(py):.2f}" for px, py in piece)
                parts.append(element("polyline", points=path, class_=f"curve s{index % 5 + 1} dash{index % 5}"))
            shown = [point for point in points if math.isfinite(point[1])]
            if len(shown) > 20:  # a marker on every point would hide the line
                shown = [last[index]] if several else [point for point in shown if point == chosen]
            for px, py in shown:
                says = f"{name}, {x_axis.title} {number(px)}: {number(py, places)}"
                parts.append(marker(x(px), y(py), series=index, says=says))
            if several:
                parts.append(marker(width - right + 18, beside[index], series=index, says=name))
                parts.append(text(width - right + 28, beside[index] + 4.5, shorten(name, right - 32), "label"))
        if chosen:
            parts.append(ring(x(chosen[0]), y(chosen[1])))
        return Drawing(width, height, Markup("").join(parts))

    every = sorted(set(xs))
    found = [dict(points) for points in series.values()]
    table = [(px, *(values.get(px) for values in found)) for px in every]
    return make_chart(title, description, (x_axis.name, *series), table, draw)


def _unbroken(points: Sequence[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """The stretches of a line between its gaps."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if math.isfinite(point[1]):
            pieces[-1].append(point)
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]


def histogram(title: str, description: str, values: Sequence[float], axis: Axis, *, n_bins: int = 20, of: str) -> Chart:
    """How values are distributed: bars of counts, and below them a stroke per value where there are few.

    Args:
        title: The finding.
        description: What is drawn.
        values: One per thing counted.
        axis: The quantity.
        n_bins: About how many bars.
        of: What is counted ("people").

    Raises:
        ValueError: No values, or one that is not finite.
    """
    require_some(values, title)
    checked = [require_finite(value, "A value") for value in values]
    bins = round_scale(checked, 0, 1, n_ticks=n_bins, whole=axis.whole)
    counts = [0] * (len(bins.ticks) - 1)
    step = bins.ticks[1] - bins.ticks[0]
    for value in checked:
        counts[min(int((value - bins.low) / step + 1e-9), len(counts) - 1)] += 1

    def draw(width: float) -> Drawing:
        bottom = _TOP + (200.0 if width >= WIDE else 160.0)
        y = round_scale(counts, bottom, _TOP, n_ticks=4, whole=True, zero=True)
        left = max(text_width(y.label(tick)) for tick in y.ticks) + 16
        strip = 18.0 if len(checked) <= 300 else 0.0
        x = fitted_scale(bins.ticks, left, width - 24, whole=axis.whole)
        parts = [text(4, 16, of, "axis"), *axis_left(y, left, width - 24)]
        parts += axis_below(x, axis, bottom, bottom + strip)
        for (edge, after), count in zip(pairwise(bins.ticks), counts, strict=True):
            says = element("title", f"{bins.label(edge)} to {bins.label(after)}: {number(count)} {of}")
            bar = element(
                "rect", x=x(edge) + 1.5, y=y(count), width=max(0.5, x(after) - x(edge) - 3), height=bottom - y(count)
            )
            parts.append(element("g", says, bar, class_="bar s1"))
        if strip:
            parts += [line(x(value), bottom + 3, x(value), bottom + strip - 3, "stroke") for value in checked]
        return Drawing(width, bottom + strip + 46, Markup("").join(parts))

    table = [
        (f"{bins.label(edge)} to {bins.label(after)}", count)
        for (edge, after), count in zip(pairwise(bins.ticks), counts, strict=True)
    ]
    return make_chart(title, description, (axis.name, of), table, draw)


@dataclass(frozen=True)
class Trade:
    """One point of a trade-off.

    Attributes:
        label: What was chosen to get there.
        x: Quantity across.
        y: Quantity up.
        x_ends: Interval of ``x``.
        y_ends: Interval of ``y``.
        chosen: Is this the one that is proposed?
    """

    label: str
    x: float
    y: float
    x_ends: tuple[float, float] | None = None
    y_ends: tuple[float, float] | None = None
    chosen: bool = False


def frontier(
    title: str, description: str, points: Sequence[Trade], x_axis: Axis, y_axis: Axis, *, of: str = ""
) -> Chart:
    """A trade-off: points joined in the order given, the chosen one ringed, intervals as rods.

    In a crowd, a label that has no room is left to the marker's tooltip and the table; the chosen one is placed first.

    Args:
        title: The finding.
        description: What is drawn.
        points: In the order they are to be joined.
        x_axis: Quantity across.
        y_axis: Quantity up.
        of: What the labels name, head of the table's first column.

    Raises:
        ValueError: No points, or a number that is not finite.
    """
    require_some(points, title)
    xs, ys = [], []
    for point in points:
        xs += [require_finite(value, f"An x of '{point.label}'") for value in (point.x, *(point.x_ends or ()))]
        ys += [require_finite(value, f"A y of '{point.label}'") for value in (point.y, *(point.y_ends or ()))]
    x_places, y_places = decimals([point.x for point in points]), decimals([point.y for point in points])

    def draw(width: float) -> Drawing:
        x, y, parts, height = frame(width, xs, ys, x_axis, y_axis, 30.0)
        path = " ".join(f"{x(point.x):.2f},{y(point.y):.2f}" for point in points)
        parts.append(element("polyline", points=path, class_="curve s1"))
        taken = [box for point in points for box in _covers(point, x, y)]
        taken += [box for one, other in pairwise(points) for box in _on_the_way(one, other, x, y)]
        for point in points:
            px, py, series = x(point.x), y(point.y), 0 if point.chosen else 3
            rods = []
            if point.x_ends:
                rods.append(line(x(point.x_ends[0]), py, x(point.x_ends[1]), py, "rod"))
            if point.y_ends:
                rods.append(line(px, y(point.y_ends[0]), px, y(point.y_ends[1]), "rod"))
            parts.append(element("g", *rods, class_=f"whisker s{series + 1}"))
            if point.chosen:
                parts.append(ring(px, py))
            says = f"{point.label}: {number(point.x, x_places)}, {number(point.y, y_places)}"
            parts.append(marker(px, py, series=series, shape="circle", hollow=not point.chosen, says=says))
        placed = [(x(point.x) - 7, y(point.y) - 7, x(point.x) + 7, y(point.y) + 7) for point in points]
        for point in sorted(points, key=lambda point: not point.chosen):
            words = shorten(point.label, width / 2)
            box = _free_place(x(point.x), y(point.y), text_width(words), taken, placed, width, height - 46)
            if not _covered(box, placed):
                placed.append(box)
                parts.append(text(box[0], box[3] - 4, words, "label halo" + (" strong" if point.chosen else "")))
        return Drawing(width, height, Markup("").join(parts))

    table = [
        (point.label, point.x, *(point.x_ends or (None, None)), point.y, *(point.y_ends or (None, None)))
        for point in points
    ]
    heads = (of, x_axis.name, "interval from", "to", y_axis.name, "interval from", "to")
    return make_chart(title, description, heads, table, draw)


def _covers(point: Trade, x: Scale, y: Scale) -> list[_Box]:
    """Boxes of a point's marker and rods."""
    px, py = x(point.x), y(point.y)
    boxes = [(px - 9, py - 9, px + 9, py + 9)]
    if point.x_ends:
        boxes.append((x(point.x_ends[0]), py - 3, x(point.x_ends[1]), py + 3))
    if point.y_ends:
        boxes.append((px - 3, y(point.y_ends[1]), px + 3, y(point.y_ends[0])))
    return boxes


def _on_the_way(one: Trade, other: Trade, x: Scale, y: Scale) -> list[_Box]:
    """Small boxes along the line between two points."""
    steps = [step / 20 for step in range(21)]
    ways = [(x(one.x + (other.x - one.x) * t), y(one.y + (other.y - one.y) * t)) for t in steps]
    return [(px - 3, py - 3, px + 3, py + 3) for px, py in ways]


def _free_place(
    x: float, y: float, wide: float, taken: Sequence[_Box], placed: Sequence[_Box], width: float, bottom: float
) -> _Box:
    """Where a label of a point covers least, what is placed above all: beside it, above, below, at its corners."""
    half, gap = wide / 2, 12.0
    corners = [
        (x + gap, y - 9),
        (x - gap - wide, y - 9),
        (x - half, y - 30),
        (x - half, y + 12),
        (x + 6, y - 28),
        (x + 6, y + 10),
        (x - 6 - wide, y - 28),
        (x - 6 - wide, y + 10),
    ]
    boxes = [(left, top, left + wide, top + 18) for left, top in corners]
    return min(boxes, key=lambda box: _covered(box, taken) + 100 * _covered(box, placed) + _outside(box, width, bottom))


def _covered(box: _Box, taken: Sequence[_Box]) -> float:
    """Area of the box that others hold already."""
    return sum(
        max(0.0, min(box[2], other[2]) - max(box[0], other[0]))
        * max(0.0, min(box[3], other[3]) - max(box[1], other[1]))
        for other in taken
    )


def _outside(box: _Box, width: float, bottom: float) -> float:
    """How far the box leaves the plot, made to count more than any overlap."""
    return 1e4 * (max(0.0, -box[0]) + max(0.0, box[2] - width) + max(0.0, 20 - box[1]) + max(0.0, box[3] - bottom))
