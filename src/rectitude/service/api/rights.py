"""People's rights over HTTP: what is held, requests with their status and proof, choices about single items."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Path, Query, Request
from fastapi.responses import FileResponse, Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from rectitude.service import rights
from rectitude.service.access import Principal, check_user, require
from rectitude.service.api import addresses  # noqa: F401 -- {user_id:id}
from rectitude.service.api.problems import NotFoundError, responses
from rectitude.service.api.replies import reply
from rectitude.service.api.schemas import Body as Sent
from rectitude.service.rights.asking import Kind
from rectitude.service.rights.knowing import moment, told
from rectitude.service.service import Service
from rectitude.service.store import Request as Asked

router = APIRouter(tags=["rights"])
Own = Annotated[Principal, require("person")]
Operator = Annotated[Principal, require()]
User = Annotated[str, Path(alias="user_id", min_length=1, max_length=256)]
Item = Annotated[str, Path(alias="item_id", min_length=1, max_length=256)]
Identifier = Annotated[str, Path(min_length=1, max_length=64)]


class AskBody(Sent):
    """What is asked for."""

    kind: Kind = Field(description="export, delete or forget.")
    attribute: str | None = Field(None, min_length=1, max_length=256, description="What is to be forgotten.")


class ReasonBody(Sent):
    """Why a person objects."""

    reason: str | None = Field(None, max_length=2000)


class ShareBody(Sent):
    """How much of a history may be read."""

    percent: int = Field(ge=0, le=100, description="Of the history, the newest part; 100 is all.")


class ShareTold(BaseModel):
    """How much of a history may be read."""

    percent: int


class StepTold(BaseModel):
    """A step that is done."""

    name: str
    at: str


class RequestTold(BaseModel):
    """A request of a person."""

    id: str
    kind: str
    status: Literal["waiting", "queued", "running", "done", "failed"]
    parameters: dict[str, Any]
    created: str
    changed: str
    doing: str | None = Field(description="What is being done at the moment.")
    steps: list[StepTold]
    reason: str | None = Field(description="Why it failed.")
    proof: dict[str, Any] | None = Field(description="What was done and what is left, once it is done.")


class RequestList(BaseModel):
    """Requests, latest first."""

    items: list[RequestTold]


class ChoiceTold(BaseModel):
    """What a person decided about an item."""

    item: str
    kind: Literal["stop", "object"]
    reason: str | None
    at: str


class ChoiceList(BaseModel):
    """What a person decided, latest first."""

    items: list[ChoiceTold]


class Known(BaseModel):
    """Everything that is held of a person."""

    user: str
    facts: dict[str, Any]
    events: dict[str, Any]
    choices: list[dict[str, Any]]
    shared_percent: int = Field(description="Of their history that may be read.")
    requests: list[dict[str, Any]]
    keys: list[dict[str, Any]]
    deleted_at: str | None
    runs: dict[str, dict[str, Any]]
    trail: list[dict[str, Any]]


@router.get("/v1/users/{user_id:id}/known", response_model=Known, responses=responses())
async def known(request: Request, principal: Own, user: User) -> Response:
    """Everything that is held of a person: in the store, in the runs that are served, and what can be guessed."""
    check_user(principal, user)
    return reply(request, await run_in_threadpool(rights.known_of, _service(request), user))


# ---- requests --------------------------------------------------------------------------------------------------------


@router.post("/v1/users/{user_id:id}/requests", response_model=RequestTold, status_code=202, responses=responses(413))
async def ask(request: Request, principal: Own, user: User, body: Annotated[AskBody, Body()]) -> Response:
    """Ask for an export, a deletion, or that an attribute be forgotten.

    A deletion has removed the person's rows when this answers; models are repaired by the job that follows.
    """
    check_user(principal, user)
    made = await run_in_threadpool(rights.ask, _service(request), principal, body.kind, user, body.attribute)
    response = reply(request, told(made), 202)
    response.headers["location"] = f"/v1/requests/{made.id}"
    return response


@router.get("/v1/users/{user_id:id}/requests", response_model=RequestList, responses=responses())
async def requests_of(request: Request, principal: Own, user: User) -> Response:
    """A person's requests, latest first."""
    check_user(principal, user)
    found = await run_in_threadpool(_service(request).store.requests.of, user)
    return reply(request, {"items": [told(one) for one in found]})


@router.get("/v1/requests", response_model=RequestList, responses=responses())
async def requests(
    request: Request,
    principal: Own,
    status: Annotated[Literal["waiting", "queued", "running", "done", "failed"] | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Requests, latest first; a person's key sees its own, also after the deletion."""
    store = _service(request).store
    if principal.is_admin:
        found = await run_in_threadpool(store.requests.all, status, None, limit)
    else:
        found = await run_in_threadpool(store.requests.of_subject, principal.subject or "")
        found = [one for one in found if status in (None, one.status)][:limit]
    return reply(request, {"items": [told(one) for one in found]})


@router.get("/v1/requests/{identifier:id}", response_model=RequestTold, responses=responses(404))
async def status(request: Request, principal: Own, identifier: Identifier) -> Response:
    """How far a request has come, and its proof when it is done."""
    return reply(request, told(await _request(request, principal, identifier)))


@router.get(
    "/v1/requests/{identifier:id}/file",
    response_class=FileResponse,
    responses={
        **responses(404),
        200: {"description": "The file", "content": {"application/zip": {"schema": {"type": "string"}}}},
    },
)
async def file(request: Request, principal: Own, identifier: Identifier) -> Response:
    """The file of an export that is done."""
    found = await _request(request, principal, identifier)
    path = await run_in_threadpool(rights.export_file, _service(request), found)
    name = f"export-{moment(found.created)}.zip".replace(":", "")
    return FileResponse(path, media_type="application/zip", filename=name, headers={"cache-control": "no-store"})


@router.post("/v1/requests/{identifier:id}/approve", response_model=RequestTold, responses=responses(404))
async def approve(request: Request, principal: Operator, identifier: Identifier) -> Response:
    """Let a request go on that waits for an operator."""
    await _request(request, principal, identifier)
    return reply(request, told(await run_in_threadpool(rights.approve, _service(request), principal, identifier)))


@router.post("/v1/requests/{identifier:id}/retry", response_model=RequestTold, responses=responses(404))
async def retry(request: Request, principal: Operator, identifier: Identifier) -> Response:
    """Try a failed request again; what it has done stays done."""
    await _request(request, principal, identifier)
    return reply(request, told(await run_in_threadpool(rights.retry, _service(request), principal, identifier)))


async def _request(request: Request, principal: Principal, identifier: str) -> Asked:
    """A request this principal may see; to others it is not there."""
    found = await run_in_threadpool(_service(request).store.requests.get, identifier)
    if found is None or not (principal.is_admin or (found.subject is not None and found.subject == principal.subject)):
        raise NotFoundError("There is no such request", where="identifier")
    return found


# ---- choices ---------------------------------------------------------------------------------------------------------


@router.get("/v1/users/{user_id:id}/choices", response_model=ChoiceList, responses=responses())
async def choices(request: Request, principal: Own, user: User) -> Response:
    """Items of their history a person has stopped, and items they object to."""
    check_user(principal, user)
    return reply(request, await run_in_threadpool(_choices, _service(request), user))


@router.put("/v1/users/{user_id:id}/stopped/{item_id:id}", response_model=ChoiceList, responses=responses())
async def stop(request: Request, principal: Own, user: User, item: Item) -> Response:
    """Stop using an item of the person's history, from the next answer on."""
    return await _decide(request, principal, user, item, rights.stop_item)


@router.delete("/v1/users/{user_id:id}/stopped/{item_id:id}", response_model=ChoiceList, responses=responses(404))
async def undo_stop(request: Request, principal: Own, user: User, item: Item) -> Response:
    """Use the item again."""
    return await _decide(request, principal, user, item, rights.undo_stop, "This item was not stopped")


@router.put("/v1/users/{user_id:id}/objections/{item_id:id}", response_model=ChoiceList, responses=responses(413))
async def object_to(
    request: Request, principal: Own, user: User, item: Item, body: Annotated[ReasonBody | None, Body()] = None
) -> Response:
    """Object to a recommendation: the item is not shown to this person again."""
    objecting = partial(rights.object_to, reason=body.reason if body is not None else None)
    return await _decide(request, principal, user, item, objecting)


@router.delete("/v1/users/{user_id:id}/objections/{item_id:id}", response_model=ChoiceList, responses=responses(404))
async def undo_objection(request: Request, principal: Own, user: User, item: Item) -> Response:
    """Take an objection back."""
    return await _decide(request, principal, user, item, rights.undo_objection, "There is no objection to this item")


@router.put("/v1/users/{user_id:id}/share", response_model=ShareTold, responses=responses(413))
async def share(request: Request, principal: Own, user: User, body: Annotated[ShareBody, Body()]) -> Response:
    """Read only the newest part of the person's history, from the next answer on."""
    check_user(principal, user)
    await run_in_threadpool(rights.share, _service(request), principal, user, body.percent)
    return reply(request, {"percent": body.percent})


async def _decide(
    request: Request,
    principal: Principal,
    user: str,
    item: str,
    act: Callable[[Service, Principal, str, str], bool | None],
    otherwise: str = "",
) -> Response:
    """Do what a person decided about an item; the answer is all they have decided.

    Raises:
        NotFoundError: There was nothing to take back; ``otherwise`` says what.
    """
    check_user(principal, user)
    service = _service(request)

    def decide() -> dict[str, Any]:
        if act(service, principal, user, item) is False:
            raise NotFoundError(otherwise, where="item_id")
        return _choices(service, user)

    return reply(request, await run_in_threadpool(decide))


def _choices(service: Service, user: str) -> dict[str, Any]:
    found = service.store.choices(user)
    return {
        "items": [{"item": one.item, "kind": one.kind, "reason": one.reason, "at": moment(one.at)} for one in found]
    }


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service
