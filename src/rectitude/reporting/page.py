"""One self-contained HTML file: inline style, no script, no request to anywhere, everything escaped.

The block functions return markup, and :meth:`Page.section` takes nothing else, so plain text cannot slip in unescaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rectitude.reporting.chart import Cell, Chart, style_sheet
from rectitude.reporting.numbers import decimals, interval_ends, number
from rectitude.reporting.svg import clean
from rectitude.reporting.tokens import scale_variables


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("rectitude.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: value if isinstance(value, Markup) else clean(value),
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _block(macro: str, *arguments: Any) -> Markup:
    module: Any = _environment().get_template("blocks.html").module
    written: Markup = getattr(module, macro)(*arguments)
    return written


def prose(*paragraphs: str) -> Markup:
    """Plain text as paragraphs; a blank line begins another."""
    return _block("prose", [part for text in paragraphs for part in re.split(r"\n\s*\n", text) if part.strip()])


def facts(pairs: Mapping[str, Cell]) -> Markup:
    """Names and values, one under the other."""
    return _block("facts", [(name, _written(value, None)) for name, value in pairs.items()])


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[Cell]], *, by_row: bool = False) -> Markup:
    """A table with caption and scoped heads; the first cell of a row names it.

    Numbers are aligned and share their decimals down a column, or across a row where ``by_row`` (rows that measure
    different things). Anything with ``value``, ``low`` and ``high`` is written as a value and its interval; ``None``
    and NaN as a dash.

    Raises:
        ValueError: A row is longer or shorter than the head.
    """
    cells = [tuple(row) for row in rows]
    for row in cells:
        if len(row) != len(columns):
            raise ValueError(f"A row of the table '{caption}' has {len(row)} cells under {len(columns)} heads")
    numeric = [
        any(row[index] is not None for row in cells) and not any(isinstance(row[index], str) for row in cells)
        for index in range(len(columns))
    ]
    down = [_places(row[index] for row in cells) for index in range(len(columns))]
    written = []
    for row in cells:
        across = _places(row)
        written.append([_written(cell, across if by_row else down[index]) for index, cell in enumerate(row)])
    return _block("table", caption, columns, numeric, written)


def chart(figure: Chart) -> Markup:
    """A chart with its title, its description, and its numbers folded away below."""
    numbers = table("The numbers of this figure", figure.columns, figure.rows)
    return _block("chart", figure, figure.svg, figure.svg_narrow, numbers)


def listing(entries: Iterable[str | tuple[str, str]], *, ordered: bool = False) -> Markup:
    """A list; an entry may be a pair of its text and a short note that marks it."""
    pairs = [(entry, "") if isinstance(entry, str) else entry for entry in entries]
    return _block("listing", pairs, ordered)


def noted(words: str, note: str) -> Markup:
    """A table cell of words with a quieter note below."""
    return Markup('{}<br /><span class="muted">{}</span>').format(clean(words), clean(note))


def folded(summary: str, *blocks: Markup) -> Markup:
    """Blocks that open on demand, for what only some readers need."""
    return _block("folded", summary, [_checked(block) for block in blocks])


def columns(*blocks: Markup) -> Markup:
    """Blocks side by side where there is room, in reading order where there is not."""
    return _block("columns", [_checked(block) for block in blocks])


def group(heading: str, *blocks: Markup) -> Markup:
    """Blocks under a heading of the third level."""
    return _block("group", heading, [_checked(block) for block in blocks])


def _checked(block: Markup) -> Markup:
    if not isinstance(block, Markup):
        raise TypeError(f"A block is made by prose(), table(), chart() and the like, not {type(block).__name__}")
    return block


def _measures(cell: Cell) -> list[float]:
    if cell is None or isinstance(cell, str):
        return []
    return [float(cell)] if isinstance(cell, int | float) else [float(cell.value)]


def _places(cells: Iterable[Cell]) -> int:
    return decimals(measure for cell in cells for measure in _measures(cell))


def _written(cell: Cell, places: int | None) -> str | Markup:
    if cell is None:
        return "–"
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int):
        return number(cell, 0)
    if isinstance(cell, float):
        return number(cell, places)
    value, ends = number(cell.value, places), interval_ends(cell, places)
    return Markup('{} <span class="muted">{}</span>').format(value, ends) if ends else value


@dataclass(frozen=True)
class _Section:
    anchor: str
    heading: str
    short: str
    blocks: tuple[Markup, ...]


@dataclass
class Page:
    """A page under construction.

    Args:
        title: What the page is about; its only heading of the first level.
        lead: What the reader must take away, as plain text.
        footer: Where the page came from, as plain text.
    """

    title: str
    lead: str
    footer: str = ""
    _sections: list[_Section] = field(default_factory=list, init=False)

    def section(self, heading: str, *blocks: Markup, short: str | None = None) -> Page:
        """Add a section.

        Args:
            heading: Usually the question it answers.
            blocks: Made by the functions of this module.
            short: Its name in the list of sections; the heading where omitted.

        Returns:
            This page.

        Raises:
            TypeError: A block is plain text.
        """
        base = re.sub(r"[^a-z0-9]+", "-", (short or heading).lower()).strip("-") or "section"
        taken = {section.anchor for section in self._sections} | {"content"}
        anchor = next(name for name in (base, *(f"{base}-{n}" for n in range(2, 10_000))) if name not in taken)
        made = _Section(anchor, heading, short or heading, tuple(_checked(block) for block in blocks))
        self._sections.append(made)
        return self

    def html(self) -> str:
        """The whole file."""
        return (
            _environment()
            .get_template("page.html")
            .render(
                title=self.title,
                lead=prose(self.lead),
                footer=prose(self.footer),
                sections=self._sections,
                style=Markup(scale_variables())  # noqa: S704
                + style_sheet("blocks.css", "page.css", "chart.css"),
            )
        )
