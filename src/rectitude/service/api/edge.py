"""What every request passes on its way in and out: a name, a limit on its body, counters, a line in the log."""

from __future__ import annotations

import logging
import re
import time
import uuid
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rectitude.service.api.addresses import keep_slashes
from rectitude.service.api.metrics import Metrics
from rectitude.service.api.problems import Teller, problem

_log = logging.getLogger("rectitude.service.requests")
_faults = logging.getLogger("rectitude.service")
_SANE = re.compile(rb"[A-Za-z0-9._:@-]{1,128}\Z")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_DEFAULTS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)


class _TooLargeError(HTTPException):
    """The body is longer than allowed; what is left of it is not read, so the connection ends."""

    def __init__(self, most: int) -> None:
        super().__init__(413, f"The body is longer than {most:,} bytes", {"Connection": "close"})


class Edge:
    """The outermost middleware.

    Args:
        app: What it stands around.
        tell: Tells people of a fault on a page.
        metrics: Where requests are counted.
        max_body_bytes: Longest body; a longer one is refused before it is read.
    """

    def __init__(self, app: ASGIApp, tell: Teller, metrics: Metrics, max_body_bytes: int) -> None:
        self._app, self._tell, self._metrics, self._most = app, tell, metrics, max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, whatever happens to it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        if b"%2" in scope.get("raw_path", b""):
            scope["path"] = keep_slashes(scope["raw_path"])
        given, length = _headers(scope)
        name = given.decode() if given and _SANE.match(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = name
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _completed(message.get("headers", ()), name)
            await send(message)

        self._metrics.in_flight.inc()
        try:
            if length > self._most:
                raise _TooLargeError(self._most)
            if b"%00" in scope.get("raw_path", b"") + scope["query_string"]:
                await problem(422, "An address holds no NUL character", name)(scope, receive, answer)
                return
            await self._app(scope, _limited(receive, self._most), answer)
        except _TooLargeError as error:
            refusal = problem(413, error.detail, name)
            refusal.headers.update(error.headers or {})
            if not status:
                await refusal(scope, receive, answer)
        except Exception:
            _faults.exception("request %s failed", name)
            if not status:
                await self._fault(scope, name)(scope, receive, answer)
        finally:
            self._metrics.in_flight.dec()
            self._count(scope, status, time.perf_counter() - begun, name)

    def _fault(self, scope: Scope, name: str) -> Response:
        try:
            told = self._tell(Request(scope), 500, "", {})
        except Exception:  # the page that tells of it cannot be made either
            _faults.exception("request %s: no page of its failure", name)
            told = None
        return told or problem(500, "This is a fault of the service", name)

    def _count(self, scope: Scope, status: int, seconds: float, name: str) -> None:
        route = route_of(scope)
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.requests.labels(method, route, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        if _log.isEnabledFor(logging.INFO):
            # The route, not the address: addresses hold ids of people.
            told = {"request": name, "method": method, "route": route, "status": status, "seconds": round(seconds, 4)}
            _log.info("%s %s %s %.1f ms", method, route, status, 1000 * seconds, extra={"told": told})


def _limited(receive: Receive, most: int) -> Receive:
    """Refuses a body as soon as more of it has come than is allowed."""
    read = 0

    async def limited() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > most:
            raise _TooLargeError(most)
        return message

    return limited


def route_of(scope: Scope) -> str:
    """The pattern a request's address fits; ``none`` for all that fit nothing."""
    return str(getattr(scope.get("route"), "path", "none")).replace(":id}", "}")


def _headers(scope: Scope) -> tuple[bytes, int]:
    """The request's own name and the length it announces, where it says them."""
    name, length = b"", 0
    for key, value in scope["headers"]:
        if key == b"x-request-id":
            name = value
        elif key == b"content-length" and value.isdigit():
            length = int(value[:18])
    return name, length


def _completed(headers: Any, name: str) -> list[tuple[bytes, bytes]]:
    found = [*headers, (b"x-request-id", name.encode())]
    there = {key for key, _ in found}
    return found + [default for default in _DEFAULTS if default[0] not in there]
