"""What people did, coming in and read back."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from rectitude.client.answers import EventPage, Taken
from rectitude.core.errors import QueryError
from rectitude.service.access import Principal, check_user, require
from rectitude.service.api.problems import responses
from rectitude.service.api.replies import page, position, reply
from rectitude.service.api.schemas import EventBody
from rectitude.service.config import ServiceConfig
from rectitude.service.service import Service
from rectitude.service.store import Event, Stored, refusal

router = APIRouter(tags=["events"])
NDJSON = "application/x-ndjson"
_FIELDS = frozenset(EventBody.model_fields)
_ONE = {"$ref": "#/components/schemas/EventBody"}
_SENT = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "anyOf": [
                    _ONE,
                    {"$ref": "#/components/schemas/EventsBody"},
                    {"type": "array", "items": _ONE, "maxItems": 10_000},
                ]
            }
        },
        NDJSON: {"schema": {"type": "string", "description": "One event a line."}},
    },
}


@router.post(
    "/v1/events",
    response_model=Taken,
    responses=responses(413, 415),
    openapi_extra={"requestBody": _SENT},
)
async def take(request: Request, principal: Annotated[Principal, require("write", "person")]) -> Response:
    """Take one event, several, or a stream of lines (NDJSON); all of them or, where one cannot be used, none.

    They are durable when this answers, and the next list made for these people has read them.
    """
    service: Service = request.app.state.service
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    body = await request.body()

    def store() -> Stored:
        events = read_events(body, kind, service.config)
        if principal.role == "person":
            for user in {event.user for event in events}:
                check_user(principal, user)
            events = [event._replace(id=_own(principal) + event.id) for event in events]
        return service.store.add_events(events)

    stored = await run_in_threadpool(store)
    counts = {"accepted": stored.accepted, "duplicates": stored.duplicates, "erased": stored.erased}
    for outcome, count in counts.items():
        request.app.state.metrics.events.labels(outcome).inc(count)
    return Response(orjson.dumps(counts), media_type="application/json")


@router.get("/v1/events", response_model=EventPage, responses=responses())
async def events(
    request: Request,
    principal: Annotated[Principal, require("person")],
    user: Annotated[str | None, Query(min_length=1, max_length=256, description="Of this person only.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(max_length=200, description="Of the page before.")] = None,
) -> Response:
    """Events in the order of arrival, a page at a time."""
    service: Service = request.app.state.service
    if principal.role == "person":
        user = user or principal.user
        check_user(principal, user or "")
    after = position(cursor, int) or 0
    if not 0 <= after < 2**63:
        raise QueryError("The cursor is none of this list", where="cursor", fix="Begin without a cursor")
    found = await run_in_threadpool(service.store.events, user, after, limit + 1)
    following = found[limit - 1].seq if len(found) > limit else None
    rows = [stored.event._asdict() for stored in found[:limit]]
    if principal.role == "person":  # as they sent them
        rows = [row | {"id": row["id"].removeprefix(_own(principal))} for row in rows]
    return reply(request, page(rows, following))


def _own(principal: Principal) -> str:
    """What stands before the ids of a person's events: nobody keeps another's out by sending one of its id first."""
    return f"{principal.subject}:"


def read_events(body: bytes, kind: str, config: ServiceConfig) -> list[Event]:
    """Events of a request's body.

    Raises:
        QueryError: Something is no event; the place is said.
        HTTPException: 415, the body is of another kind.
    """
    rows = list(_lines(body)) if kind == NDJSON else _entries(body, kind)
    if len(rows) > config.max_batch:
        raise QueryError(f"{len(rows):,} events are too many", fix=f"Send at most {config.max_batch:,} at a time")
    return list(_events(rows, config))


def _lines(body: bytes) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(body.split(b"\n"), 1):
        if line.strip():
            yield f"line {number}", _json(line, f"line {number}")


def _entries(body: bytes, kind: str) -> list[tuple[str, Any]]:
    if kind != "application/json":
        raise HTTPException(415, f"Events are not read from '{kind}': send application/json or {NDJSON}")
    value = _json(body, "body")
    if isinstance(value, dict) and "events" in value:
        if set(value) != {"events"} or not isinstance(value["events"], list):
            raise QueryError("'events' is a list, and nothing stands beside it", where="body.events")
        value = value["events"]
    if isinstance(value, list):
        return [(f"body.{number}", entry) for number, entry in enumerate(value)]
    return [("body", value)]


def _json(text: bytes, where: str) -> Any:
    try:
        return orjson.loads(text)
    except ValueError as error:
        raise QueryError(f"This is not JSON: {error}", where=where) from error


def _events(rows: Iterable[tuple[str, Any]], config: ServiceConfig) -> Iterator[Event]:
    now = time.time()
    for where, row in rows:
        if type(row) is not dict or not _FIELDS.issuperset(row):
            strange = sorted(set(row) - _FIELDS) if isinstance(row, dict) else []
            what = f"An event has no '{strange[0]}'" if strange else "An event is an object"
            raise QueryError(what, where=where, fix=f"It has {', '.join(sorted(_FIELDS))}")
        user, item, kind, value = row.get("user"), row.get("item"), row.get("kind", "view"), row.get("value")
        if type(user) is not str or type(item) is not str or type(kind) is not str:
            raise QueryError("user, item and kind of an event are text, and user and item are needed", where=where)
        if value is not None and type(value) is not float and type(value) is not int:
            raise QueryError("value of an event is a number", where=where)
        at = _seconds(row["at"], where) if row.get("at") is not None else now
        name = row.get("id")
        if name is None:
            name = _made_id(row)
        elif type(name) is not str:
            raise QueryError("id of an event is text", where=where)
        event = Event(name, user, item, kind, None if value is None else float(value), at)
        reason = refusal(event, now, config.clock_tolerance_s)
        if reason is not None:
            raise QueryError(f"The event cannot be taken: {reason}", where=where)
        yield event


def _seconds(at: Any, where: str) -> float:
    if type(at) is float or type(at) is int:
        return float(at)
    if type(at) is str:
        try:
            moment = datetime.fromisoformat(at)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            pass
    raise QueryError("at of an event is seconds since 1970 or ISO 8601", where=where, fix="2026-05-01T12:00:00Z")


def _made_id(row: dict[str, Any]) -> str:
    """The same for the same event where its time was said; another each time where it was not."""
    if row.get("at") is None:
        return uuid.uuid4().hex
    return blake2b(orjson.dumps(row, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()
