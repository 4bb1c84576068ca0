"""Several trade-offs in one chart: a path of points for each method, with intervals, and a key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from rectitude.reporting.chart import (
    Axis,
    Chart,
    Drawing,
    make_chart,
    require_finite,
    require_some,
)
from rectitude.reporting.curves import Trade, frame
from rectitude.reporting.numbers import decimals, number
from rectitude.reporting.svg import (
    element,
    line,
    marker,
    ring,
    shorten,
    text,
    text_width,
)

_KEY_ROW = 20.0


def tradeoffs(
    title: str,
    description: str,
    series: Mapping[str, Sequence[Trade]],
    x_axis: Axis,
    y_axis: Axis,
    *,
    of: str = "",
) -> Chart:
    """Trade-offs of several methods: points of one method joined in the order given, intervals as rods.

    A series is told by its marker's shape and its line's dashes as well as by its colour; after ten series these
    repeat, filled markers first and hollow ones then.

    Args:
        title: The finding.
        description: What is drawn.
        series: Method to its points; the label of a point says what was chosen to get there.
        x_axis: Quantity across.
        y_axis: Quantity up.
        of: What the series are, head of the table's first column.

    Raises:
        ValueError: No points, or a number that is not finite.
    """
    require_some([point for points in series.values() for point in points], title)
    every = [(name, point) for name, points in series.items() for point in points]
    xs = [require_finite(v, f"An x of '{name}'") for name, p in every for v in (p.x, *(p.x_ends or ()))]
    ys = [require_finite(v, f"A y of '{name}'") for name, p in every for v in (p.y, *(p.y_ends or ()))]
    x_places, y_places = decimals([p.x for _, p in every]), decimals([p.y for _, p in every])

    def draw(width: float) -> Drawing:
        x, y, parts, below = frame(width, xs, ys, x_axis, y_axis, 30.0, tall=(300.0, 230.0))
        for index, (name, points) in enumerate(series.items()):
            if len(points) > 1:
                path = " ".join(f"{x(point.x):.2f},{y(point.y):.2f}" for point in points)
                parts.append(element("polyline", points=path, class_=f"curve s{index % 5 + 1} dash{index % 5}"))
            for point in points:
                px, py = x(point.x), y(point.y)
                rods = [line(x(point.x_ends[0]), py, x(point.x_ends[1]), py, "rod")] if point.x_ends else []
                rods += [line(px, y(point.y_ends[0]), px, y(point.y_ends[1]), "rod")] if point.y_ends else []
                parts.append(element("g", *rods, class_=f"whisker s{index % 5 + 1}"))
                if point.chosen:
                    parts.append(ring(px, py))
                chosen = f", {point.label}" if point.label else ""
                says = f"{name}{chosen}: {number(point.x, x_places)}, {number(point.y, y_places)}"
                parts.append(marker(px, py, series=index, hollow=index % 10 > 4, says=says))
        key, height = _key(list(series), width, below + 12)
        return Drawing(width, height, Markup("").join([*parts, *key]))

    rows = [(name, p.label, p.x, *(p.x_ends or (None, None)), p.y, *(p.y_ends or (None, None))) for name, p in every]
    heads = (of, "setting", x_axis.name, "interval from", "to", y_axis.name, "interval from", "to")
    return make_chart(title, description, heads, rows, draw)


def _key(names: Sequence[str], width: float, top: float) -> tuple[list[Markup], float]:
    """Marker and name of every series in as many columns as fit; last comes the drawing's height."""
    column = min(width - 8, max(text_width(name) for name in names) + 34)
    across = max(1, int((width - 8) // column))
    parts: list[Markup] = []
    for index, name in enumerate(names):
        left, base = 12 + column * (index % across), top + _KEY_ROW * (index // across)
        parts.append(marker(left, base, series=index, hollow=index % 10 > 4, says=name))
        parts.append(text(left + 12, base + 4.5, shorten(name, column - 20), "label"))
    return parts, top + _KEY_ROW * (-(-len(names) // across))
