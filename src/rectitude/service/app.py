"""The service as an ASGI application."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, Response

from rectitude.core.about import __version__
from rectitude.service import pages
from rectitude.service.access import HostGuard, everybody
from rectitude.service.api import catalogue, events, health, problems, recommend, runs
from rectitude.service.api.edge import Edge
from rectitude.service.api.metrics import Metrics
from rectitude.service.api.reference import reference_page
from rectitude.service.api.replies import JSON, tagged
from rectitude.service.api.schemas import EventBody, EventsBody
from rectitude.service.service import Service

_OWN = (recommend, events, catalogue, runs, health)
_OTHERS = ("rights", "keys", "trail")
_ALWAYS = (401, 403, 422, 429, 503)
"""Problems that every route under /v1 may answer with."""
_SWITCH_SECONDS = 0.0005
"""How long the computing thread may keep the interpreter from the event loop."""


def create_app(service: Service) -> FastAPI:
    """The application of one process.

    Args:
        service: With its shelf filled.
    """
    app = FastAPI(
        title="Rectitude",
        version=__version__,
        description="Recommendations, audits and people's rights over HTTP.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=_lifespan,
        redirect_slashes=False,
    )
    app.state.service, app.state.metrics = service, Metrics()
    service.shelf.batcher.watch(app.state.metrics.batch.observe)
    problems.install(app, _tell)
    for router in _routers():
        app.include_router(router)
    app.include_router(_reference(app))
    app.include_router(pages.router(), include_in_schema=False)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    app.add_middleware(HostGuard, config=service.config)
    app.add_middleware(Edge, tell=_tell, metrics=app.state.metrics, max_body_bytes=service.config.max_body_bytes)
    return app


def _tell(request: Request, status: int, detail: str, headers: dict[str, str]) -> Response | None:
    """A page for a person, where it is a page that went wrong."""
    return pages.error_page(request, status, detail, headers) if pages.is_page(request.url.path) else None


def _routers() -> list[APIRouter]:
    found = [module.router for module in _OWN]
    names = [f"rectitude.service.api.{name}" for name in _OTHERS]
    there = [name for name in names if importlib.util.find_spec(name) is not None]
    return found + [importlib.import_module(name).router for name in there]


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    switching = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECONDS)
    if service.config.run_jobs:
        service.jobs.start()
    following = asyncio.create_task(service.shelf.keep_following())
    try:
        yield
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        sys.setswitchinterval(switching)
        await asyncio.to_thread(_stop, service)


def _stop(service: Service) -> None:
    service.shelf.close()
    service.close()


# ---- what it says of itself ------------------------------------------------------------------------------------------


def _reference(app: FastAPI) -> APIRouter:
    router = APIRouter(include_in_schema=False, dependencies=[everybody()])

    @router.get("/openapi.json")
    async def openapi(request: Request) -> Response:
        import orjson

        return tagged(request, orjson.dumps(app.openapi()), JSON)

    @router.get("/docs")
    async def docs() -> Response:
        policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
        return HTMLResponse(reference_page(app.openapi()), headers={"Content-Security-Policy": policy})

    return router


def _openapi(app: FastAPI) -> dict[str, Any]:
    """OpenAPI that tells the truth: problems as they are sent, keys where they are needed, nothing FastAPI presumes."""
    if app.openapi_schema is not None:
        return app.openapi_schema
    made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for model in (problems.Problem, problems.FieldProblem, EventBody, EventsBody):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= schema.pop("$defs", {})
        schemas[model.__name__] = schema
    made["components"]["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "A key made with 'rectitude keys make'."}
    }
    for path, operations in made["paths"].items():
        for method, operation in operations.items():
            _tell_truth(path, method, operation)
    app.openapi_schema = made
    return made


def _tell_truth(path: str, method: str, operation: dict[str, Any]) -> None:
    answers = operation["responses"]
    answers.pop("422", None)
    usual: tuple[int, ...] = (422,)
    if not path.startswith("/health"):
        operation["security"] = [{"key": []}]
        usual = _ALWAYS
    if "requestBody" in operation:
        usual += (400, 413, 415)
    if method != "get":
        usual += (507,)
    told = {str(status): about for status, about in problems.responses(*usual).items()}
    if "200" in answers and operation.get("operationId", "").endswith("_get"):
        told["304"] = {"description": "The client has it already (If-None-Match)"}
    operation["responses"] = dict(sorted({**told, **answers}.items()))
