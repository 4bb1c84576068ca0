"""Is it alive, is it ready, what has it counted."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from rectitude.client.answers import Health
from rectitude.core.about import __version__
from rectitude.core.errors import RectitudeError
from rectitude.service.access import Principal, everybody, require
from rectitude.service.api.metrics import CONTENT_TYPE
from rectitude.service.service import Service

router = APIRouter(tags=["health"])


@router.get("/health/live", response_model=Health, dependencies=[everybody()])
async def live() -> Response:
    """The process answers."""
    return _health("alive")


@router.get(
    "/health/ready",
    response_model=Health,
    dependencies=[everybody()],
    responses={503: {"model": Health, "description": "Not ready, with the reasons."}},
)
async def ready(request: Request) -> Response:
    """Runs are loaded and the store answers: send requests here."""
    service: Service = request.app.state.service
    reasons = [] if service.shelf.names() else ["No run is loaded"]
    try:
        await run_in_threadpool(service.store.ping)
    except RectitudeError as error:
        reasons.append(error.what)
    if reasons:
        return _health("not ready", 503, reasons=reasons)
    return _health("ready", slots={slot: service.shelf[slot].name for slot in service.shelf.names()})


def _health(status: str, code: int = 200, **extra: Any) -> Response:
    told = {"status": status, "version": __version__, "slots": {}, "reasons": [], **extra}
    return Response(orjson.dumps(told), code, media_type="application/json")


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"description": "Prometheus' text format.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    },
)
async def metrics(request: Request, principal: Annotated[Principal, require("read")]) -> Response:
    """Counters for Prometheus."""
    return Response(await run_in_threadpool(request.app.state.metrics.text), headers={"content-type": CONTENT_TYPE})
