"""Coming and going: the key that opens a page session, light and dark, files, and what went wrong."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from rectitude.service.access import CheckedSession, everybody, identify, principal_of_key
from rectitude.service.pages import assets
from rectitude.service.pages.desk import Anyone, back_to, part, service_of, show, words_for
from rectitude.service.pages.environment import THEMES, link, wants_part

router = APIRouter(include_in_schema=False)

_YEAR = 31_536_000


@router.get("/")
def home(request: Request, principal: Anyone) -> Response:
    """The first page that somebody may read."""
    return RedirectResponse(words_for(request, principal)[0][1], 303)


@router.get("/sign-in", dependencies=[everybody()])
async def ask_key(request: Request, back: str = "/") -> Response:
    """The form for a key."""
    if await identify(request, service_of(request)) is not None:
        return back_to(back, "/")
    return show(request, "sign_in.html", "Sign in", back=back, error="")


@router.post("/sign-in", dependencies=[everybody()])
async def sign_in(
    request: Request, session: CheckedSession, key: Annotated[str, Form()] = "", back: Annotated[str, Form()] = "/"
) -> Response:
    """Open a page session with a key."""
    service = service_of(request)
    found = await service.keys.verify(key.strip())
    if found is None:
        error = "This key does not open anything. It may have been mistyped, or revoked."
        return show(request, "sign_in.html", "Sign in", back=back, error=error, status=403)
    default = "/me" if principal_of_key(found).role == "person" else "/"
    response = back_to(back if back != "/" else default, default)
    service.sessions.set(response, service.sessions.open(found.id))
    return response


@router.post("/sign-out", dependencies=[everybody()])
async def sign_out(request: Request, session: CheckedSession) -> Response:
    """End the page session."""
    response = back_to(None, "/sign-in")
    service_of(request).sessions.drop(response)
    return response


@router.post("/theme", dependencies=[everybody()])
async def theme(
    request: Request,
    session: CheckedSession,
    theme: Annotated[str, Form()] = "",
    back: Annotated[str, Form()] = "/",
) -> Response:
    """Keep the choice of light or dark."""
    response = back_to(back, "/")
    if theme in THEMES:
        response.set_cookie("theme", theme, max_age=_YEAR, samesite="lax", secure=service_of(request).config.secure)
    return response


router.add_api_route("/static/{digest}/{name}", assets.static_file, dependencies=[everybody()])

_SAID = {
    400: ("This address does not make sense", "Something in it is not as it should be."),
    403: ("This is not for you to see", "Nothing was changed."),
    404: ("There is no such page", "It may have been moved, or the address was mistyped."),
    405: ("This cannot be done here", "Nothing was changed."),
    413: ("That was too much at once", "Nothing was kept. Send less."),
    422: ("This address does not make sense", "Something in it is not as it should be."),
    429: ("Slower, please", "Too many requests came at once. Wait a few seconds and load the page again."),
    503: ("The service is busy or its database cannot be reached", "Nothing was lost. Try again in a moment."),
    507: ("The disk is full", "What was kept before is safe; nothing new was kept. Free some space and try again."),
}
_UNKNOWN = (
    "Something went wrong on our side",
    "What was kept before is safe. Try again; if it stays, the request's number helps to find the cause.",
)


def error_page(request: Request, status: int, detail: str = "", headers: dict[str, str] | None = None) -> Response:
    """What happened, what is safe, what to do; a person without a key is asked for one instead.

    Args:
        request: What was asked.
        status: Of the response.
        detail: What is wrong, as the routes say it; nothing of it is shown for errors of our own.
        headers: To be kept, such as ``Retry-After``.
    """
    if status == 401 and request.method == "GET" and not wants_part(request):
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(link("/sign-in", back="" if here == "/" else here), 303)
    title, text = _SAID.get(status, _UNKNOWN if status >= 500 else _SAID[400])
    said = detail if status < 500 and detail != HTTPStatus(status).phrase else ""
    values: dict[str, Any] = {
        "title": "Sign in again" if status == 401 else title,
        "text": "The page session has ended. Nothing was changed." if status == 401 else text,
        "detail": said,
        "request_id": getattr(request.state, "request_id", "") if status >= 500 else "",
        "signed_out": status == 401,
    }
    if wants_part(request):
        response: Response = part("error_part.html", **values)
    else:
        principal = getattr(request.state, "principal", None)
        response = show(request, "error.html", title, principal=principal, status=status, **values)
    response.status_code = status
    response.headers.update(headers or {})
    return response
