"""The pages' own files: one style sheet, one script, htmx from its package; named by content so they can be kept."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response

from rectitude.core.errors import MissingExtraError
from rectitude.reporting.tokens import css_variables, scale_variables

_FOREVER = "public, max-age=31536000, immutable"
_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}


@dataclass(frozen=True)
class Asset:
    """A file as it is sent.

    Attributes:
        content: Its bytes.
        media_type: Of the response.
        address: Path with a digest of the content, so that a browser may keep it for ever.
    """

    content: bytes
    media_type: str
    address: str


def _style() -> str:
    """The colours, what reports and pages share, and what is the pages' own."""
    shared = resources.files("rectitude.reporting").joinpath("templates")
    own = resources.files(__package__).joinpath("static", "page.css")
    sheets = [shared.joinpath("blocks.css"), shared.joinpath("chart.css"), own]
    return (
        css_variables(chosen=True) + scale_variables() + "".join(sheet.read_text(encoding="utf-8") for sheet in sheets)
    )


def _htmx() -> bytes:
    try:
        return resources.files("js_lib_htmx").joinpath("static", "htmx", "htmx.min.js").read_bytes()
    except ModuleNotFoundError as error:
        raise MissingExtraError("js_lib_htmx", "serve", "The service's pages") from error


@lru_cache(maxsize=1)
def assets() -> dict[str, Asset]:
    """File name to asset.

    Raises:
        MissingExtraError: The package that brings htmx is not installed.
    """
    static = resources.files(__package__).joinpath("static")
    files = {
        "page.css": _style().encode(),
        "app.js": static.joinpath("app.js").read_bytes(),
        "htmx.js": _htmx(),
        "icon.svg": static.joinpath("icon.svg").read_bytes(),
    }
    return {name: _asset(name, content) for name, content in files.items()}


def _asset(name: str, content: bytes) -> Asset:
    digest = hashlib.sha256(content).hexdigest()[:12]
    return Asset(content, _TYPES[name.rpartition(".")[2]], f"/static/{digest}/{name}")


async def static_file(request: Request) -> Response:
    """One of the files; an address of another version is answered with today's file, which is not to be kept."""
    found = assets().get(request.path_params["name"])
    if found is None:
        return Response("There is no such file", 404, media_type="text/plain")
    kept = _FOREVER if request.url.path == found.address else "no-cache"
    return Response(found.content, media_type=found.media_type, headers={"Cache-Control": kept})
