"""Answers as JSON: entity tags, and pages that go on by a cursor."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Any

import orjson
from fastapi import Request
from fastapi.responses import Response

from rectitude.core.errors import QueryError

JSON = "application/json"


def reply(request: Request, value: Any, status: int = 200) -> Response:
    """JSON with an entity tag, or 304 where the client has it already."""
    content = orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY)
    return tagged(request, content, JSON, status)


def tagged(request: Request, content: bytes, media_type: str, status: int = 200) -> Response:
    """Content with an entity tag, or 304 where the client has it already."""
    tag = f'"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'
    headers = {"etag": tag, "cache-control": "private, no-cache"}
    wanted = request.headers.get("if-none-match")
    if wanted is not None and (
        wanted.strip() == "*" or tag in (one.strip().removeprefix("W/") for one in wanted.split(","))
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
