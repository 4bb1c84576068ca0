"""Answers as JSON: entity tags, and pages that go on by a cursor."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import asdict
from functools import cache
from typing import Any, TypeVar

import orjson
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, ValidationError

from rectitude.core.errors import QueryError

JSON = "application/json"


Q = TypeVar("Q", bound=BaseModel)


def read_query(request: Request, model: type[Q]) -> Q:
    """The query of an address as a model whose list fields may be repeated.

    Several times as fast as FastAPI's parameters, which matters where many requests are answered.

    Raises:
        RequestValidationError: It does not fit, or has a parameter that is none.
    """
    values: dict[str, Any] = {}
    for name, value in request.query_params.multi_items():
        many = name in _lists_of(model)
        if name in values or many:
            values.setdefault(name, [])
            values[name] = [*values[name], value] if isinstance(values[name], list) else [values[name], value]
        else:
            values[name] = value
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise RequestValidationError([{**one, "loc": ("query", *one["loc"])} for one in error.errors()]) from error


@cache
def _lists_of(model: type[BaseModel]) -> frozenset[str]:
    shapes = model.model_json_schema()["properties"].items()
    return frozenset(
        name for name, shape in shapes if any(one.get("type") == "array" for one in shape.get("anyOf", ()))
    )


def query_parameters(model: type[BaseModel]) -> list[dict[str, Any]]:
    """The same model for OpenAPI."""
    found = []
    for name, shape in model.model_json_schema()["properties"].items():
        about = shape.pop("description", "")
        found.append({"name": name, "in": "query", "required": False, "schema": shape, "description": about})
    return found


def reply(request: Request, value: Any, status: int = 200) -> Response:
    """JSON with an entity tag, or 304 where the client has it already."""
    return tagged(request, as_json(value), JSON, status)


def as_json(value: Any) -> bytes:
    """JSON of plain values and data classes."""
    try:
        return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY)
    except TypeError:  # whole numbers beyond 64 bits and halves of characters, which JSON may hold
        return json.dumps(value, default=lambda one: asdict(one)).encode()


def tagged(request: Request, content: bytes, media_type: str, status: int = 200) -> Response:
    """Content with an entity tag, or 304 where the client has it already."""
    tag = f'"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'
    headers = {"etag": tag, "cache-control": "private, no-cache"}
    wanted = request.headers.get("if-none-match")
    if (
        request.method == "GET"
        and wanted is not None
        and (wanted.strip() == "*" or tag in (one.strip().removeprefix("W/") for one in wanted.split(",")))
    ):
        return Response(None, 304, headers)
    return Response(content, status, headers, media_type)


def cursor(position: Any) -> str:
    """Where the next page begins, as a text nobody needs to read."""
    return base64.urlsafe_b64encode(orjson.dumps(position)).rstrip(b"=").decode()


def position(text: str | None, kind: type) -> Any:
    """What a cursor says, None where there is none.

    Raises:
        QueryError: It was not made by this route.
    """
    if text is None:
        return None
    try:
        found = orjson.loads(base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True))
    except (ValueError, binascii.Error):
        found = None
    if type(found) is not kind:
        raise QueryError("The cursor is none of this list", where="cursor", fix="Begin without a cursor")
    return found


def page(items: list[Any], following: Any | None) -> dict[str, Any]:
    """One page of a list."""
    return {"items": items, "next": None if following is None else cursor(following)}
