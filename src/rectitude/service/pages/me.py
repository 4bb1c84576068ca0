"""Me: what is known of me, and how do I take it back?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import FileResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from rectitude.core.errors import QueryError
from rectitude.service import rights
from rectitude.service.access import CheckedSession, Principal, check_user, page_session, require
from rectitude.service.pages.desk import back_to, part, readings, run_in_use, service_of, show
from rectitude.service.pages.environment import link, wants_part
from rectitude.service.pages.holding import Asked, asked, guesses, holding
from rectitude.service.pages.items import places, why_view
from rectitude.service.serving.asking import Ask
from rectitude.service.serving.explaining import explain
from rectitude.service.store import Request as PersonRequest

router = APIRouter(include_in_schema=False)

Owner = Annotated[Principal, require("person")]
"""The person themselves, and whoever runs the service."""
Id = Annotated[str, Query(max_length=256)]
FormId = Annotated[str, Form(max_length=256)]

_HEADING = "What is known of me, and how do I take it back?"
_ACTS = {
    "stop": rights.stop_item,
    "use": rights.undo_stop,
    "object": rights.object_to,
    "allow": rights.undo_objection,
}
_SHOWN = 8


def _whom(principal: Principal, person: str) -> str:
    """Whose page it is; empty where nobody is named, or where they were deleted.

    Raises:
        HTTPException: 403 for another person's page.
    """
    if principal.role == "person":
        if person:
            check_user(principal, person)
        return principal.user or ""
    return person.strip()


def _address(principal: Principal, person: str) -> str:
    return link("/me", person="" if principal.role == "person" else person)


@router.get("/me")
async def me(request: Request, principal: Owner, person: Id = "", run: str | None = None) -> Response:
    """Everything that concerns one person."""
    whom = _whom(principal, person)
    values = await _values(request, principal, whom, run)
    menu = await run_in_threadpool(readings, request) if principal.is_admin else []
    return show(request, "me.html", _HEADING, principal=principal, run=values["slot"], runs=menu, whom=whom, **values)


async def _values(request: Request, principal: Principal, whom: str, run: str | None) -> dict[str, Any]:
    service = service_of(request)
    slot = run_in_use(request, run, service.shelf.names())
    requests = await run_in_threadpool(_requests, request, principal, whom)
    values: dict[str, Any] = {
        "slot": slot,
        "staff": principal.role != "person",
        "deleted": principal.role == "person" and principal.user is None,
        "address": _address(principal, whom),
        "delete_path": link("/me/delete", person=whom),
        "why_link": lambda item: link("/me/why", item=item, person=whom),
        "requests": requests,
        "requests_path": link("/me/requests", person=whom),
        "pending": _pending(requests),
        "held": None,
        "guesses": [],
        "audited": False,
        "forgettable": [],
        "recommended": None,
        "examples": [],
        "shown": _SHOWN,
    }
    if slot is None:
        return values
    served = service.shelf[slot]
    if not whom:
        values["examples"] = [served.run.user_ids[at] for at in range(min(4, len(served.run.user_ids)))]
        return values
    held = await run_in_threadpool(holding, service, slot, whom)
    found = await run_in_threadpool(readings, request)
    values |= {"held": held, "guesses": guesses(found), "audited": any(one.findings for one in found)}
    told = {name for name, _ in held.facts} | {guess.attribute for guess in values["guesses"]}
    values["forgettable"] = sorted(told - _asked_to_forget(requests))
    if held.known:
        answer = await service.shelf.ask(slot, Ask(user=whom))
        values["recommended"] = {
            "places": places(served.catalogue, slot, answer.items),
            "answered_by": answer.answered_by,
            "fallback": answer.answered_by.startswith("popularity"),
            "notes": answer.notes,
        }
    return values


def _requests(request: Request, principal: Principal, whom: str) -> list[Asked]:
    store = service_of(request).store.requests
    if principal.role == "person" and principal.subject is not None:
        found = store.of_subject(principal.subject)
    else:
        found = store.of(whom) if whom else []
    return [asked(store.get(one.id) or one, file=_has_file(request, one)) for one in found[:20]]


def _has_file(request: Request, found: PersonRequest) -> bool:
    try:
        rights.export_file(service_of(request), found)
    except QueryError:
        return False
    return True


def _asked_to_forget(requests: Sequence[Asked]) -> set[str]:
    return {one.attribute for one in requests if one.kind == "forget" and one.status != "could not be done"}


def _pending(requests: Sequence[Asked]) -> bool:
    """Is something going on that the page should follow?"""
    return any(not one.ended for one in requests)


@router.get("/me/requests")
def requests_part(request: Request, principal: Owner, person: Id = "") -> Response:
    """The requests as they are now, for the page that follows them."""
    whom = _whom(principal, person)
    found = _requests(request, principal, whom)
    path = link("/me/requests", person=whom)
    if not wants_part(request):
        return back_to(_address(principal, whom) + "#requests", "/me")
    return part("me_requests.html", requests=found, requests_path=path, pending=_pending(found))


@router.get("/me/why")
async def why(request: Request, principal: Owner, item: Id, person: Id = "", run: str | None = None) -> Response:
    """Why an item is recommended."""
    whom = _whom(principal, person)
    shelf = service_of(request).shelf
    slot = run_in_use(request, run, shelf.names())
    if slot is None or not whom:
        raise HTTPException(404, "There is nothing to explain")
    told = why_view(await explain(shelf, slot, Ask(user=whom), item))
    if wants_part(request):
        return part("why.html", why=told)
    return show(request, "why_page.html", f"Why {told.title}?", principal=principal, why=told,
                back=_address(principal, whom))  # fmt: skip


@router.post("/me/items/{act}")
async def decide(
    request: Request,
    principal: Owner,
    session: CheckedSession,
    act: Literal["stop", "use", "object", "allow"],
    item: FormId,
    person: FormId = "",
    back: Annotated[str, Form(max_length=4000)] = "",
) -> Response:
    """Take an item out of use, object to one, or take either back; in force at once."""
    whom = _named(principal, person)
    await run_in_threadpool(_ACTS[act], service_of(request), principal, whom, item)
    if back:
        return back_to(back, "/me")
    return await _after(request, principal, whom, "history" if act in ("stop", "use") else "recommended")


@router.post("/me/share")
async def share(
    request: Request,
    principal: Owner,
    session: CheckedSession,
    percent: Annotated[int, Form(ge=0, le=100)],
    person: FormId = "",
) -> Response:
    """Let only the newest part of the history be used; in force at once."""
    whom = _named(principal, person)
    await run_in_threadpool(rights.share, service_of(request), principal, whom, percent)
    return await _after(request, principal, whom, "sharing")


@router.post("/me/requests")
async def ask(
    request: Request,
    principal: Owner,
    session: CheckedSession,
    kind: Annotated[str, Form(max_length=20)],
    person: FormId = "",
    attribute: FormId = "",
) -> Response:
    """Ask for an export, for something to be forgotten, or for deletion."""
    whom = _named(principal, person)
    service = service_of(request)
    try:
        await run_in_threadpool(rights.ask, service, principal, kind, whom, attribute or None)
    except QueryError as error:
        raise HTTPException(422, str(error)) from error
    if kind == "delete":
        return back_to(_address(principal, whom) + "#requests", "/me")
    return await _after(request, principal, whom, "requests")


def _named(principal: Principal, person: str) -> str:
    whom = _whom(principal, person)
    if not whom:
        raise HTTPException(422, "Nobody was named")
    return whom


async def _after(request: Request, principal: Principal, whom: str, anchor: str) -> Response:
    if not wants_part(request):
        return back_to(f"{_address(principal, whom)}#{anchor}", "/me")
    values = await _values(request, principal, whom, None)
    token = service_of(request).sessions.token(page_session(request)[0])
    return part("me_body.html", whom=whom, csrf=token, **values)


@router.get("/me/delete")
def confirm(request: Request, principal: Owner, person: Id = "") -> Response:
    """What a deletion means, before it is asked for."""
    whom = _named(principal, person)
    service = service_of(request)
    slot = run_in_use(request, None, service.shelf.names())
    held = holding(service, slot, whom) if slot is not None else None
    return show(request, "me_delete.html", "Delete me", principal=principal, whom=whom, held=held,
                staff=principal.role != "person", address=_address(principal, whom),
                retrain=service.config.on_delete == "retrain")  # fmt: skip


@router.get("/me/exports/{identifier}")
def export(request: Request, principal: Owner, identifier: str) -> Response:
    """The file of an export, for the person it speaks of."""
    service = service_of(request)
    found = service.store.requests.get(identifier)
    if found is None or not _own(principal, found):
        raise HTTPException(404, "There is no such export")
    try:
        path = rights.export_file(service, found)
    except QueryError as error:
        raise HTTPException(404, str(error)) from error
    return FileResponse(path, media_type="application/zip", filename="what-is-known-of-me.zip",
                        headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"})  # fmt: skip


def _own(principal: Principal, found: PersonRequest) -> bool:
    return principal.is_admin or (principal.subject is not None and found.subject == principal.subject)
