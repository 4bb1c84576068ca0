"""The trail over HTTP: who asked what, and what was done."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from rectitude.core.errors import QueryError
from rectitude.service.access import Principal, check_user, require
from rectitude.service.api import addresses  # noqa: F401 -- {user_id:id}
from rectitude.service.api.problems import responses
from rectitude.service.api.replies import page, position, reply
from rectitude.service.rights.knowing import moment
from rectitude.service.service import Service

router = APIRouter(tags=["trail"])
Operator = Annotated[Principal, require()]
Limit = Annotated[int, Query(ge=1, le=1000)]
Cursor = Annotated[str | None, Query(max_length=200, description="Of the page before.")]


class EntryTold(BaseModel):
    """One line of the trail."""

    seq: int
    at: str
    actor: str
    action: str
    subject: str | None = Field(description="Keyed digest of the person it concerns.")
    details: dict[str, Any]
    hash: str


class EntryPage(BaseModel):
    """A page of the trail, oldest first."""

    items: list[EntryTold]
    next: str | None


class VerifiedTold(BaseModel):
    """What computing the chain again found."""

    entries: int
    head: str = Field(description="Hash of the newest entry; kept elsewhere, it shows whether the end was cut off.")
    broken_at: int | None = Field(description="The first entry that does not follow from the one before.")


@router.get("/v1/trail", response_model=EntryPage, responses=responses())
async def trail(
    request: Request,
    principal: Operator,
    user: Annotated[str | None, Query(min_length=1, max_length=256, description="About this person only.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """The trail, a page at a time."""
    return await _page(request, user, limit, cursor)


@router.get("/v1/trail/verification", response_model=VerifiedTold, responses=responses())
async def verification(request: Request, principal: Operator) -> Response:
    """Compute the chain of hashes again."""
    service: Service = request.app.state.service
    found = await run_in_threadpool(service.store.trail.verify)
    return reply(request, {"entries": found.entries, "head": found.head, "broken_at": found.broken_at})


@router.get("/v1/users/{user_id:id}/trail", response_model=EntryPage, responses=responses())
async def trail_of(
    request: Request,
    principal: Annotated[Principal, require("person")],
    user: Annotated[str, Path(alias="user_id", min_length=1, max_length=256)],
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """What was asked and done that concerns a person."""
    check_user(principal, user)
    return await _page(request, user, limit, cursor)


async def _page(request: Request, user: str | None, limit: int, cursor: str | None) -> Response:
    service: Service = request.app.state.service
    after = position(cursor, int) or 0
    if not 0 <= after < 2**63:
        raise QueryError("The cursor is none of this list", where="cursor", fix="Begin without a cursor")
    subject = service.store.subject(user) if user is not None else None
    found = await run_in_threadpool(service.store.trail.page, after, limit + 1, subject)
    items = [
        {
            "seq": entry.seq,
            "at": moment(entry.at),
            "actor": entry.actor,
            "action": entry.action,
            "subject": entry.subject,
            "details": entry.details,
            "hash": entry.hash,
        }
        for entry in found[:limit]
    ]
    return reply(request, page(items, found[limit - 1].seq if len(found) > limit else None))
