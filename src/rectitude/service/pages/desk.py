"""What every page needs: who is asking, which words they may read, which run is in use, the page around it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from rectitude.service.access import Principal, page_session, require
from rectitude.service.pages.environment import HEADERS, link, page_response, render, theme_of
from rectitude.service.pages.readings import RunReading, reading

if TYPE_CHECKING:
    from rectitude.service.service import Service

RUN_COOKIE = "run"
_OF_A_PERSON = ("person", "add", "without", "beside", "k")
"""Of an address: what stays when another run is chosen."""
_YEAR = 31_536_000

Staff = Annotated[Principal, require("read")]
"""Those who answer for a run."""
Runner = Annotated[Principal, require("admin")]
"""Whoever runs the service."""
Anyone = Annotated[Principal, require("read", "person")]
"""Those, and the people recommended to."""

_WORDS = {
    "Explore": "/explore",
    "Compare": "/compare",
    "Audit": "/audit",
    "Me": "/me",
    "Plan": "/plan",
    "Route": "/route",
    "Runs": "/runs",
}


WAITS = {
    "/explore": "Asking the models",
    "/compare": "Comparing the runs, person by person",
    "/audit": "Reading the findings",
    "/me": "Gathering what is held",
    "/plan": "Looking for the smallest change worth making",
    "/route": "Weighing the models",
    "/runs": "Reading the runs",
}
"""What a page does while its reader waits for it, if they have to."""


def service_of(request: Request) -> Service:
    """The service of this process."""
    found: Service = request.app.state.service
    return found


def served(request: Request) -> dict[str, Path]:
    """Slot to folder of the runs that are served, in their order."""
    shelf = service_of(request).shelf
    return {slot: Path(shelf[slot].run.path) for slot in shelf.names()}


def readings(request: Request) -> list[RunReading]:
    """What the folders of the served runs say.

    Raises:
        RunError: One is damaged.
    """
    return [reading(slot, path) for slot, path in served(request).items()]


def run_in_use(request: Request, given: str | None, slots: Sequence[str]) -> str | None:
    """The run of the address, else the one chosen last, else the first.

    Raises:
        HTTPException: 404 where the address names a run that is not served.
    """
    if given:
        if given not in slots:
            raise HTTPException(404, "No run of this name is served")
        return given
    chosen = request.cookies.get(RUN_COOKIE, "")
    return chosen if chosen in slots else next(iter(slots), None)


def words_for(request: Request, principal: Principal) -> list[tuple[str, str]]:
    """The pages somebody may read, as word and path."""
    if principal.role == "write":
        return []
    if principal.role == "person":
        return [(word, _WORDS[word]) for word in ("Me", *(["Plan"] if service_of(request).config.plan else []))]
    return [(word, path) for word, path in _WORDS.items() if word != "Me" or principal.is_admin]


def show(
    request: Request,
    template: str,
    heading: str,
    *,
    principal: Principal | None = None,
    run: str | None = None,
    runs: Sequence[RunReading] = (),
    status: int = 200,
    **values: Any,
) -> HTMLResponse:
    """A page.

    Args:
        request: What is answered.
        template: Its file.
        heading: The question it answers.
        principal: Who is asking; None on pages for everybody.
        run: The run in use, where the page speaks of one.
        runs: What the menu of runs offers.
        status: Of the response.
        values: For the template.
    """
    service = service_of(request)
    session, fresh = page_session(request)
    active = "/" + request.url.path.split("/")[1]
    menu = [(one.slot, one.title, _with_run(request, active, one.slot)) for one in runs] if len(runs) > 1 else []
    context = {
        "heading": heading,
        "theme": theme_of(request),
        "csrf": service.sessions.token(session),
        "words": words_for(request, principal) if principal is not None else [],
        "active": active,
        "waits": WAITS,
        "here": request.url.path + (f"?{request.url.query}" if request.method == "GET" and request.url.query else ""),
        "run": run,
        "run_menu": menu,
        "signed_in": principal is not None and principal.by == "session",
        "who": _who(principal),
        **values,
    }
    response = page_response(render(template, context), status)
    if fresh:
        service.sessions.set(response, session)
    if run is not None and request.query_params.get("run") == run:
        secure = service.config.secure
        response.set_cookie(RUN_COOKIE, quote(run), max_age=_YEAR, samesite="lax", httponly=True, secure=secure)
    return response


def part(template: str, **values: Any) -> HTMLResponse:
    """A piece of a page that htmx puts into place."""
    return HTMLResponse(render(template, values), headers=HEADERS)


def back_to(address: str | None, default: str) -> Response:
    """See Other, to an address of our own or, where it is none, to the default."""
    own = address is not None and address.startswith("/") and not address.startswith(("//", "/\\"))
    return RedirectResponse(address if own and address else default, 303, headers={"Cache-Control": "no-store"})


def _with_run(request: Request, path: str, slot: str) -> str:
    """The same page of the same person about another run."""
    asked = request.query_params.multi_items()
    return link(path, ("run", slot), *((key, value) for key, value in asked if key in _OF_A_PERSON and value != slot))


def _who(principal: Principal | None) -> str:
    if principal is None:
        return ""
    if principal.by == "local":
        return "In use on this machine, without a key"
    if principal.role == "person":
        return f"Signed in as {principal.user}" if principal.user else "Signed in"
    return f"Signed in with a key of the role {principal.role}"
