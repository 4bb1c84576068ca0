"""Items and people: put in, looked up, searched."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Request
from fastapi.responses import FileResponse, Response
from starlette.concurrency import run_in_threadpool

from rectitude.client.answers import ItemPage, ItemTold, Put, SimilarList, UserPage, UserTold
from rectitude.core.errors import QueryError
from rectitude.service.access import Principal, check_user, require
from rectitude.service.api import addresses  # noqa: F401 -- {item_id:id}
from rectitude.service.api.problems import NotFoundError, responses
from rectitude.service.api.replies import page, position, reply
from rectitude.service.api.schemas import ItemBody, ItemsBody, UserBody, UsersBody
from rectitude.service.service import Service
from rectitude.service.serving.catalogue import Catalogue
from rectitude.service.serving.explaining import similar
from rectitude.service.serving.shelf import MAIN
from rectitude.service.store import ItemFacts, UserFacts

router = APIRouter(tags=["catalogue"])
Reader = Annotated[Principal, require("read", "person")]
Writer = Annotated[Principal, require("write")]
Identifier = Annotated[str, Path(min_length=1, max_length=256)]
Limit = Annotated[int, Query(ge=1, le=1000)]
Cursor = Annotated[str | None, Query(max_length=1000, description="Of the page before.")]
InSlot = Annotated[str, Query(description="Of this served run.")]


# ---- items -----------------------------------------------------------------------------------------------------------


@router.get("/v1/items", response_model=ItemPage, responses=responses(404))
async def items(
    request: Request,
    principal: Reader,
    q: Annotated[str | None, Query(max_length=500, description="Text that titles hold; the best come first.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
    slot: InSlot = MAIN,
) -> Response:
    """Items whose title holds a text, or all of them, a page at a time."""
    service: Service = request.app.state.service
    catalogue = service.shelf[slot].catalogue
    if q is not None:
        found = await run_in_threadpool(catalogue.search, q, limit)
        return reply(request, page([asdict(item) for item in found], None))
    start = position(cursor, int) or 0
    if start < 0:
        raise QueryError("The cursor is none of this list", where="cursor", fix="Begin without a cursor")
    return reply(request, await run_in_threadpool(_items_from, catalogue, start, limit))


def _items_from(catalogue: Catalogue, start: int, limit: int) -> dict[str, Any]:
    """Items of the run in its order, then those it does not know by their ids."""
    names = catalogue.identifiers(start, limit + 1)
    found = [asdict(item) for name in names[:limit] if (item := catalogue.item(name)) is not None]
    return page(found, start + limit if len(names) > limit else None)


@router.post("/v1/items", response_model=Put, responses=responses(413))
async def put_items(request: Request, principal: Writer, body: Annotated[ItemsBody, Body()]) -> Response:
    """Insert items, or replace what was told of them; lists follow at once."""
    rows = [ItemFacts(item.id, item.title, item.facts, item.withdrawn) for item in body.items]
    return await _store_items(request, rows)


@router.put("/v1/items/{item_id:id}", response_model=Put, responses=responses(413))
async def put_item(
    request: Request, principal: Writer, item_id: Identifier, body: Annotated[ItemBody, Body()]
) -> Response:
    """Insert an item, or replace what was told of it; lists follow at once."""
    return await _store_items(request, [ItemFacts(item_id, body.title, body.facts, body.withdrawn)])


async def _store_items(request: Request, rows: list[ItemFacts]) -> Response:
    service: Service = request.app.state.service
    _check_batch(service, len(rows))

    def store() -> None:
        service.store.put_items(rows)
        service.shelf.take_in_items()

    await run_in_threadpool(store)
    return reply(request, {"stored": len({row.id for row in rows})})


@router.get("/v1/items/{item_id:id}", response_model=ItemTold, responses=responses(404))
async def item(request: Request, principal: Reader, item_id: Identifier, slot: InSlot = MAIN) -> Response:
    """What is known of an item."""
    service: Service = request.app.state.service
    found = service.shelf[slot].catalogue.item(item_id)
    if found is None:
        raise NotFoundError(f"There is no item '{item_id}'")
    return reply(request, asdict(found))


@router.get(
    "/v1/items/{item_id:id}/picture",
    response_class=FileResponse,
    responses={
        200: {
            "description": "The picture.",
            "content": {kind: {} for kind in ("image/jpeg", "image/png", "image/webp")},
        },
        **responses(404),
    },
)
async def picture(request: Request, principal: Reader, item_id: Identifier, slot: InSlot = MAIN) -> Response:
    """The picture of an item."""
    service: Service = request.app.state.service
    catalogue = service.shelf[slot].catalogue
    path = await run_in_threadpool(catalogue.picture_path, item_id)
    if path is None:
        raise NotFoundError(f"There is no picture of '{item_id}'")
    return FileResponse(
        path, media_type=catalogue.picture_type(path), headers={"Cache-Control": "private, max-age=3600"}
    )


@router.get("/v1/items/{item_id:id}/similar", response_model=SimilarList, responses=responses(404))
async def similar_items(
    request: Request,
    principal: Reader,
    item_id: Identifier,
    k: Annotated[int, Query(ge=1, description="Length of the list.")] = 10,
    slot: InSlot = MAIN,
) -> Response:
    """Items like an item: by the model's own vectors where it has them, else by who chose both."""
    service: Service = request.app.state.service
    if k > service.config.max_k:
        raise QueryError(f"A list has at most {service.config.max_k} items", where="k")
    served = service.shelf[slot]
    if served.run.item_ids.find(item_id) is None:
        raise NotFoundError(f"{served.name} does not know the item '{item_id}'")
    found = await service.shelf.compute(lambda: similar(served, item_id, k))
    told = {"slot": slot, "run": served.name, "item_id": item_id, "method": served.likeness.method, "items": found}
    return reply(request, told)


# ---- people ----------------------------------------------------------------------------------------------------------


@router.get("/v1/users", response_model=UserPage, responses=responses())
async def users(
    request: Request, principal: Annotated[Principal, require()], limit: Limit = 100, cursor: Cursor = None
) -> Response:
    """What was told of people, in the order of their ids, a page at a time."""
    service: Service = request.app.state.service
    after = position(cursor, str) or ""
    found = await run_in_threadpool(service.store.users, after, limit + 1)
    following = found[limit - 1].id if len(found) > limit else None
    return reply(request, page([{"id": user.id, "facts": user.facts} for user in found[:limit]], following))


@router.post("/v1/users", response_model=Put, responses=responses(413))
async def put_users(request: Request, principal: Writer, body: Annotated[UsersBody, Body()]) -> Response:
    """Insert people, or replace what was told of them."""
    return await _store_users(request, [UserFacts(user.id, user.facts) for user in body.users])


@router.put("/v1/users/{user_id:id}", response_model=Put, responses=responses(413))
async def put_user(
    request: Request, principal: Writer, user_id: Identifier, body: Annotated[UserBody, Body()]
) -> Response:
    """Insert a person, or replace what was told of them."""
    return await _store_users(request, [UserFacts(user_id, body.facts)])


async def _store_users(request: Request, rows: list[UserFacts]) -> Response:
    service: Service = request.app.state.service
    _check_batch(service, len(rows))
    await run_in_threadpool(service.store.put_users, rows)
    return reply(request, {"stored": len({row.id for row in rows})})


@router.get("/v1/users/{user_id:id}", response_model=UserTold, responses=responses(404))
async def user(request: Request, principal: Annotated[Principal, require("person")], user_id: Identifier) -> Response:
    """What was told of a person."""
    check_user(principal, user_id)
    service: Service = request.app.state.service
    found = await run_in_threadpool(service.store.user, user_id)
    if found is None:
        raise NotFoundError(f"Nothing was told of '{user_id}'")
    return reply(request, {"id": found.id, "facts": found.facts})


def _check_batch(service: Service, count: int) -> None:
    most = service.config.max_batch
    if count > most:
        raise QueryError(f"{count:,} are too many", where="body", fix=f"Send at most {most:,} at a time")
