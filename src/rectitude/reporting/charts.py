"""Accessible SVG charts for reports, documents and pages.

Each function takes the finding as title, what is drawn as description, plain data, and returns a :class:`Chart`:
an SVG for wide and one for narrow screens, with ``<title>``, ``<desc>`` and ``role="img"``, coloured by the tokens of
the page, and the numbers drawn as rows of a table. Nothing is told by colour alone.
"""

from __future__ import annotations

from rectitude.reporting.chart import Axis, Cell, Chart, style_sheet
from rectitude.reporting.comparisons import Change, Dot, bars, dots_with_intervals, slope, small_multiples
from rectitude.reporting.curves import Trade, frontier, histogram, lines

__all__ = [
    "Axis",
    "Cell",
    "Change",
    "Chart",
    "Dot",
    "Trade",
    "bars",
    "dots_with_intervals",
    "frontier",
    "histogram",
    "lines",
    "slope",
    "small_multiples",
    "style_sheet",
]
