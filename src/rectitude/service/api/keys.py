"""API keys over HTTP, for administrators."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Path, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from rectitude.service.access import Principal, require
from rectitude.service.api import addresses  # noqa: F401 -- {user_id:id}
from rectitude.service.api.problems import NotFoundError, responses
from rectitude.service.api.replies import reply
from rectitude.service.api.schemas import Body as Sent
from rectitude.service.api.schemas import Id
from rectitude.service.rights.keeping import make_key, revoke_key, told_key
from rectitude.service.service import Service
from rectitude.service.store import Role

router = APIRouter(tags=["keys"])
Operator = Annotated[Principal, require()]


class KeyBody(Sent):
    """A key to be made."""

    name: str = Field(min_length=1, max_length=200, description="What it is for.")
    role: Role
    user: Id | None = Field(None, description="Whom a person's key belongs to.")


class KeyTold(BaseModel):
    """What may be told of a key."""

    id: str
    name: str
    role: Role
    user: str | None
    made: str
    revoked: str | None


class KeyMade(KeyTold):
    """A new key with its text."""

    key: str = Field(description="Shown this once.")


class KeyList(BaseModel):
    """Keys, oldest first."""

    items: list[KeyTold]


@router.get("/v1/keys", response_model=KeyList, responses=responses())
async def keys(request: Request, principal: Operator) -> Response:
    """All keys, without their secrets."""
    service: Service = request.app.state.service
    found = await run_in_threadpool(service.store.keys.list)
    return reply(request, {"items": [told_key(key) for key in found]})


@router.post("/v1/keys", response_model=KeyMade, status_code=201, responses=responses(413))
async def make(request: Request, principal: Operator, body: Annotated[KeyBody, Body()]) -> Response:
    """Make a key. Its text is in this answer and nowhere else."""
    service: Service = request.app.state.service
    key, text = await run_in_threadpool(make_key, service.store, principal.name, body.name, body.role, body.user)
    service.keys.forget()
    response = reply(request, {**told_key(key), "key": text}, 201)
    response.headers["cache-control"] = "no-store"
    return response


@router.delete("/v1/keys/{identifier:id}", status_code=204, responses=responses(404))
async def revoke(
    request: Request, principal: Operator, identifier: Annotated[str, Path(min_length=1, max_length=64)]
) -> Response:
    """Make a key open nothing, within a second in every process."""
    service: Service = request.app.state.service
    if await run_in_threadpool(service.store.keys.get, identifier) is None:
        raise NotFoundError("There is no such key", where="identifier")
    await run_in_threadpool(revoke_key, service.store, principal.name, identifier)
    service.keys.forget()
    return Response(status_code=204)
