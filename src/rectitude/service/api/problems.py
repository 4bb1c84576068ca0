"""Errors over HTTP: ``application/problem+json`` (RFC 9457), whatever went wrong."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Protocol

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from rectitude.core.errors import ConfigError, DataError, QueryError, RectitudeError, RunError
from rectitude.service.serving.batching import BusyError
from rectitude.service.serving.shelf import UnknownRunError, UnknownSlotError
from rectitude.service.store import StoreError, StoreFullError, StoreUnavailableError

MEDIA_TYPE = "application/problem+json"
_MOST_ERRORS = 20
_PLAINLY = {
    "extra_forbidden": "There is no such field",
    "missing": "This is needed",
    "model_attributes_type": "This should be an object",
    "dict_type": "This should be an object",
    "list_type": "This should be a list",
    "string_type": "This should be text",
    "int_parsing": "This should be a whole number",
    "float_parsing": "This should be a number",
    "bool_parsing": "This should be true or false",
}
"""Kinds of errors whose own words speak of Python."""


class FieldProblem(BaseModel):
    """One field that cannot be used."""

    where: str = Field(description="Path of the field, such as body.k or query.user.")
    detail: str = Field(description="What is wrong with it.")


class Problem(BaseModel):
    """What went wrong, where, and what to do about it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"title": "Not Found", "status": 404}]})

    type: str = Field("about:blank", description="Kind of problem; about:blank where the status says it all.")
    title: str = Field(description="Name of the status.")
    status: int = Field(description="HTTP status.")
    detail: str | None = Field(None, description="What is wrong, in one sentence.")
    where: str | None = Field(None, description="Field, file or setting it was found in.")
    fix: str | None = Field(None, description="What can be done about it.")
    errors: list[FieldProblem] | None = Field(None, description="Every field that cannot be used.")
    request_id: str | None = Field(None, description="Name of the request in the log.")


class NotFoundError(QueryError):
    """What the address names is not there."""


_STATUS: tuple[tuple[type[RectitudeError], int], ...] = (
    (NotFoundError, 404),
    (UnknownSlotError, 404),
    (UnknownRunError, 404),
    (BusyError, 503),
    (StoreUnavailableError, 503),
    (StoreFullError, 507),
    (StoreError, 422),
    (QueryError, 422),
    (ConfigError, 422),
    (DataError, 422),
    (RunError, 422),
)


def problem(status: int, detail: str | None, request_id: str | None = None, **extra: Any) -> Response:
    """A response that tells of a problem."""
    told = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **extra,
        "request_id": request_id,
    }
    content = orjson.dumps({key: value for key, value in told.items() if value is not None})
    return Response(content, status, media_type=MEDIA_TYPE)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For OpenAPI: the problems a route may answer with, besides those every route may."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in sorted({*statuses})
    }


class Teller(Protocol):
    """Tells of a problem in another way than JSON; None leaves it to JSON."""

    def __call__(self, request: Request, status: int, detail: str, headers: dict[str, str]) -> Response | None:
        """The response."""
        ...


def install(app: FastAPI, tell: Teller) -> None:
    """Make every error of an application a problem.

    Args:
        app: The application.
        tell: Asked first, for pages that people read.
    """

    def answer(request: Request, status: int, detail: str | None, headers: dict[str, str], **extra: Any) -> Response:
        sentence = f"{detail or ''}. {extra['fix']}" if extra.get("fix") else detail or ""
        told = tell(request, status, sentence, headers)
        if told is None:
            told = problem(status, detail or _usual(request, status), request.state.request_id, **extra)
            told.headers.update(headers)
        return told

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        detail = error.detail if error.detail != HTTPStatus(error.status_code).phrase else None
        return answer(request, error.status_code, detail, dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> Response:
        found = error.errors()
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if found[0]["loc"] == ("body",) and found[0]["type"] != "missing" and not _is_json(kind):
            return answer(request, 415, f"A body of the type '{kind}' is not read", {}, fix="Send application/json")
        if found[0]["type"] == "json_invalid":
            place = found[0]["loc"][-1]
            detail = f"The body is not JSON: {found[0]['ctx']['error']} at character {place}"
            return answer(request, 422, detail, {}, where="body")
        errors = [
            {"where": _path(one["loc"]), "detail": _PLAINLY.get(one["type"], one["msg"])}
            for one in found[:_MOST_ERRORS]
        ]
        first = errors[0]
        detail = f"{first['where']}: {first['detail']}"
        return answer(request, 422, detail, {}, where=first["where"], errors=errors)

    @app.exception_handler(RectitudeError)
    async def said(request: Request, error: RectitudeError) -> Response:
        status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
        headers = {"Retry-After": "1"} if status == 503 else {}
        return answer(request, status, error.what, headers, where=last_part(error.where), fix=error.fix)


def _plainly(error: dict[str, Any]) -> str:
    return _PLAINLY.get(error["type"]) or str(error["msg"])


def _usual(request: Request, status: int) -> str | None:
    """What is said where nothing in particular is."""
    if status == 404:
        return "There is no such route: /docs lists all there are"
    if status == 405:
        return f"This route does not take {request.method}"
    return None


def last_part(where: str | None) -> str | None:
    """Where something was found, a path of this machine by its last part: the rest concerns nobody else."""
    return where.rstrip("/").rpartition("/")[2] if where is not None and where.startswith("/") else where


def _is_json(kind: str) -> bool:
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location)
