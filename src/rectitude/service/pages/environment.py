"""Templates with escaping on, what they write with, and the headers that pages are sent with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse

from rectitude.core.about import __version__
from rectitude.reporting import page as blocks
from rectitude.reporting.numbers import number, percent
from rectitude.reporting.svg import clean
from rectitude.service.pages.assets import assets

POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""Nothing inline, nothing from elsewhere."""

HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Vary": "Cookie, HX-Request",
}

THEMES = ("light", "dark")


def words_of(name: str) -> str:
    """A column's name as people say it: ``sleep_hours`` as ``sleep hours``."""
    return name.replace("_", " ")


def when(moment: float | str | datetime, style: str = "") -> Markup:
    """A time as an element that the script writes in the reader's locale and zone; without it, in UTC."""
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    elif not isinstance(moment, datetime):
        moment = datetime.fromtimestamp(moment, UTC)
    moment = moment.astimezone(UTC)
    shown = f"{moment.day} {moment:%B %Y}" if style == "day" else f"{moment.day} {moment:%B %Y, %H:%M} UTC"
    kind = Markup(' data-style="day"') if style == "day" else ""
    return Markup('<time datetime="{}"{}>{}</time>').format(moment.isoformat(timespec="seconds"), kind, shown)


def count(value: int) -> Markup:
    """A whole number that the script writes in the reader's locale."""
    return Markup('<data value="{}">{:,}</data>').format(value, value)


def plural(value: int, one: str, many: str | None = None) -> Markup:
    """``1 film``, ``2,000 films``."""
    return Markup("{} {}").format(count(value), one if value == 1 else many or f"{one}s")


def filled(share: float, of: int = 5) -> int:
    """How many of ``of`` blocks stand for a share."""
    return min(of, max(0, math.floor(share * of + 0.5)))


def seconds(value: float) -> str:
    """A duration in the unit people would say it in."""
    if value < 1:
        return f"{1000 * value:.0f} ms"
    return f"{value:.1f} s" if value < 60 else f"{value / 60:.0f} min"


@lru_cache(maxsize=1)
def environment() -> Environment:
    """The templates of this package."""
    made = Environment(
        loader=PackageLoader("rectitude.service.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: value if isinstance(value, Markup) else clean(value),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        when=when, count=count, plural=plural, number=number, percent=percent, words=words_of, seconds=seconds,
        filled=filled, sentence=sentence,
    )  # fmt: skip
    made.globals.update(blocks=blocks, asset=lambda name: assets()[name].address, version=__version__, link=link)
    return made


def link(path: str, *pairs: tuple[str, Any], **query: Any) -> str:
    """A path with a query; ``None`` and empty values are left out, lists are repeated."""
    found = [*pairs, *query.items()]
    flat = [
        (key, str(one))
        for key, value in found
        if value not in (None, "", ())
        for one in (value if isinstance(value, list | tuple) else [value])
    ]
    return f"{path}?{urlencode(flat)}" if flat else path


def render(template: str, context: Mapping[str, Any]) -> str:
    """A template with its values."""
    return environment().get_template(template).render(context)


def wants_part(request: Request) -> bool:
    """Does htmx ask for a part of a page only?"""
    return "hx-request" in request.headers and "hx-history-restore-request" not in request.headers


def theme_of(request: Request) -> str:
    """The reader's choice of light or dark, empty where the system decides."""
    chosen = request.cookies.get("theme", "")
    return chosen if chosen in THEMES else ""


def page_response(text: str, status: int = 200) -> HTMLResponse:
    """A page with its headers."""
    return HTMLResponse(text, status, headers=HEADERS)


def sentence(text: object) -> Markup:
    """Text with its first letter large and a full stop."""
    words = str(text).strip()
    return escape(words[:1].upper() + words[1:] + ("" if words.endswith((".", "?", "!")) else "."))
