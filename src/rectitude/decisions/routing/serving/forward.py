"""Sending a request on: the first endpoint that answers wins, and a stream that breaks off says so.

An endpoint is given up before its first byte on 401, 403, 404, 408, 429 and 5xx, on a time-out, and on a connection
that closes. After the first byte there is no way back, because the client has seen a part of the answer: a stream that
ends without its end mark is closed with an error event.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx

from rectitude.decisions.routing.serving.config import Provider, ServerConfig

_TRY_NEXT = frozenset({401, 402, 403, 404, 408, 409, 425, 429})
_DONE = b"[DONE]"
_TAIL = 256
"""Bytes of a stream's end that are kept to see whether it ended well."""


@dataclass(frozen=True)
class Attempt:
    """How an endpoint answered.

    Attributes:
        model: Endpoint.
        status: HTTP status; None where there was none.
        error: Why it was given up; empty for the one that answered.
    """

    model: str
    status: int | None
    error: str = ""


@dataclass
class Answer:
    """An endpoint's answer.

    Attributes:
        status: HTTP status.
        media_type: Content type.
        content: The whole body, where it is no stream.
        stream: Its pieces, where it is.
        retry_after: What a refused client was told to wait.
    """

    status: int
    media_type: str
    content: bytes = b""
    stream: AsyncIterator[bytes] | None = None
    retry_after: str | None = None


class GivenUpError(Exception):
    """An endpoint did not answer.

    Args:
        error: Why.
        status: HTTP status, where there was one.
        retry_after: Its Retry-After header.
    """

    def __init__(self, error: str, status: int | None = None, retry_after: str | None = None) -> None:
        super().__init__(error)
        self.error, self.status, self.retry_after = error, status, retry_after


def make_client(config: ServerConfig) -> httpx.AsyncClient:
    """A client without limits of its own: 200 streams at once are 200 connections."""
    timeout = httpx.Timeout(config.first_byte_timeout, connect=config.connect_timeout, pool=config.connect_timeout)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=256)
    return httpx.AsyncClient(timeout=timeout, limits=limits, trust_env=False)


async def ask(client: httpx.AsyncClient, provider: Provider, body: dict[str, Any], config: ServerConfig) -> Answer:
    """Send a request to one endpoint.

    Raises:
        GivenUpError: It did not answer, or in a way that another endpoint may do better.
    """
    headers = {"content-type": "application/json", "accept-encoding": "identity"}
    if provider.key:
        headers["authorization"] = f"Bearer {provider.key}"
    url = provider.base_url.rstrip("/") + "/chat/completions"
    sent = client.build_request("POST", url, content=json.dumps(body).encode(), headers=headers)
    try:
        response = await client.send(sent, stream=True)
    except httpx.TimeoutException as error:
        raise GivenUpError("timeout") from error
    except httpx.HTTPError as error:
        raise GivenUpError(type(error).__name__) from error
    try:
        return await _read(response, config)
    except BaseException:
        await response.aclose()
        raise


async def _read(response: httpx.Response, config: ServerConfig) -> Answer:
    status = response.status_code
    media = response.headers.get("content-type", "application/json")
    retry_after = response.headers.get("retry-after")
    if status in _TRY_NEXT or status >= 500:
        raise GivenUpError(f"HTTP {status}", status, retry_after)
    streams = media.startswith("text/event-stream") and status == 200
    pieces = response.aiter_raw()
    try:
        if not streams:
            content = b"".join([piece async for piece in pieces])
            await response.aclose()
            return Answer(status, media, content, retry_after=retry_after)
        first = await asyncio.wait_for(_first(pieces), config.first_byte_timeout)
    except (TimeoutError, httpx.TimeoutException) as error:
        raise GivenUpError("timeout", status) from error
    except httpx.HTTPError as error:
        raise GivenUpError("connection closed", status) from error
    if first is None:
        raise GivenUpError("empty stream", status)
    if _is_error(first):
        raise GivenUpError("error in stream", status)
    return Answer(status, media, stream=_passed_on(response, first, pieces, config))


async def _first(pieces: AsyncIterator[bytes]) -> bytes | None:
    """The first event or more; None where the stream ends before one."""
    seen = b""
    async for piece in pieces:
        seen += piece
        if any(line.startswith(b"data:") for line in seen.splitlines()) and seen.rstrip(b" ").endswith((b"\n", b"\r")):
            return seen
        if len(seen) > 1 << 20:
            return seen
    return seen if b"data:" in seen else None


def _is_error(event: bytes) -> bool:
    for line in event.splitlines():
        if line.startswith(b"data:"):
            try:
                value = json.loads(line[5:])
            except ValueError:
                return False
            return isinstance(value, dict) and "error" in value and "choices" not in value
    return False


async def _passed_on(
    response: httpx.Response, first: bytes, pieces: AsyncIterator[bytes], config: ServerConfig
) -> AsyncIterator[bytes]:
    tail, finished, trouble = first[-_TAIL:], b'"finish_reason":"' in first.replace(b" ", b""), ""
    try:
        yield first
        while True:
            try:
                piece = await asyncio.wait_for(anext(pieces), config.idle_timeout)
            except StopAsyncIteration:
                break
            tail = (tail + piece)[-_TAIL:]
            finished = finished or b'"finish_reason":"' in tail.replace(b" ", b"")
            yield piece
    except (TimeoutError, httpx.TimeoutException):
        trouble = "no more came from the model in time"
    except httpx.HTTPError:
        trouble = "the model's connection broke off"
    finally:
        await response.aclose()
    if _DONE not in tail and not (finished and not trouble):
        yield _cut_off(trouble or "the model's stream ended before its answer was complete")


def _cut_off(message: str) -> bytes:
    error = {"message": f"The answer is incomplete: {message}", "type": "upstream_error", "code": "stream_interrupted"}
    return b"\n\ndata: " + json.dumps({"error": error}).encode() + b"\n\n"
