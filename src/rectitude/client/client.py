"""Talking to the service, waiting for each answer or not."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterable, Callable, Coroutine, Iterable
from functools import wraps
from itertools import islice
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

from rectitude.client import calls
from rectitude.client.answers import Taken
from rectitude.client.calls import BATCH, Call, Event
from rectitude.core.errors import MissingExtraError, RectitudeError

try:
    import httpx
except ImportError as error:
    raise MissingExtraError("httpx", "serve", "The client of the service") from error

P = ParamSpec("P")
T = TypeVar("T")

_PASSING = frozenset({429, 502, 503, 504})
_LONGEST_PAUSE = 10.0


class ServiceError(RectitudeError):
    """The service did not do what was asked.

    Attributes:
        status: Of HTTP; None where no answer came.
        problem: What the service said, as it said it.
    """

    def __init__(self, what: str, status: int | None, problem: dict[str, Any] | None = None) -> None:
        self.status, self.problem = status, problem or {}
        super().__init__(what, where=self.problem.get("where"), fix=self.problem.get("fix"))


class _Talk(Generic[T]):
    """One call with its repetitions: told what came of each sending, it says how long to wait before the next.

    Args:
        call: What is asked.
        retries: How often it is sent again.
    """

    answer: T

    def __init__(self, call: Call[T], retries: int) -> None:
        self._call, self._left, self._pause = call, retries, 0.1
        body = {} if call.content is None else {"content": call.content, "headers": {"Content-Type": call.media_type}}
        self.request: dict[str, Any] = {"method": call.method, "url": call.path, "params": call.params, **body}

    def heard(self, came: httpx.Response) -> float | None:
        """An answer came: seconds until the call is to be sent again, None where ``answer`` is there.

        Raises:
            ServiceError: The service refused.
        """
        if came.is_success:
            self.answer = self._call.read(came.json() if came.content else None)
            return None
        if came.status_code not in _PASSING or not self._left:
            raise _told(came)
        return self._again(came.headers.get("retry-after", ""))

    def missed(self, error: httpx.TransportError) -> float:
        """No answer came: seconds until the call is to be sent again.

        Raises:
            ServiceError: It may not be sent again, or was often enough.
        """
        unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
        if not self._left or not (self._call.repeatable or unsent):
            raise ServiceError(f"The service did not answer: {error or type(error).__name__}", None) from error
        return self._again("")

    def _again(self, wished: str) -> float:
        waiting = float(wished) if wished.isdigit() else self._pause * random.uniform(0.5, 1.5)
        self._left, self._pause = self._left - 1, 2 * self._pause
        return min(waiting, _LONGEST_PAUSE)


def _told(response: httpx.Response) -> ServiceError:
    try:
        problem = response.json()
    except ValueError:
        problem = None
    problem = problem if isinstance(problem, dict) else {}
    what = problem.get("detail") or problem.get("title") or response.reason_phrase
    return ServiceError(f"{what} ({response.status_code})", response.status_code, problem)


def _settings(address: str, key: str | None, timeout: float, options: dict[str, Any]) -> dict[str, Any]:
    headers = {"Accept": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
    return {"base_url": address, "headers": headers, "timeout": timeout, **options}


def _sum(parts: Iterable[Taken]) -> Taken:
    total = Taken(accepted=0, duplicates=0, erased=0)
    for part in parts:
        total.accepted += part.accepted
        total.duplicates += part.duplicates
        total.erased += part.erased
    return total


def _blocking(make: Callable[P, Call[T]]) -> Callable[Concatenate[Client, P], T]:
    @wraps(make)
    def method(self: Client, /, *given: P.args, **named: P.kwargs) -> T:
        return self.do(make(*given, **named))

    return method


def _awaited(make: Callable[P, Call[T]]) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]:
    @wraps(make)
    async def method(self: AsyncClient, /, *given: P.args, **named: P.kwargs) -> T:
        return await self.do(make(*given, **named))

    return method


class Client:
    """The service, waiting for each answer.

    What fails in passing (no connection, 429, 502, 503, 504) is tried again, after as long as the service asks for;
    events carry ids, so that one sent twice is taken once.

    Args:
        address: ``http://127.0.0.1:8400``.
        key: Text of an API key.
        timeout: Seconds an answer may take.
        retries: How often a call is tried again.
        options: Of ``httpx.Client``, such as ``verify`` or ``transport``.
    """

    def __init__(
        self, address: str, key: str | None = None, *, timeout: float = 30.0, retries: int = 4, **options: Any
    ) -> None:
        self._http = httpx.Client(**_settings(address, key, timeout, options))
        self._retries = retries

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def do(self, call: Call[T]) -> T:
        """Make a call.

        Raises:
            ServiceError: The service refused, or did not answer.
        """
        talk = _Talk(call, self._retries)
        while True:
            try:
                pause = talk.heard(self._http.request(**talk.request))
            except httpx.TransportError as error:
                pause = talk.missed(error)
            if pause is None:
                return talk.answer
            time.sleep(pause)

    def send(self, events: Iterable[Event]) -> Taken:
        """Take in events, thousands to a request; all that is counted is durable."""
        rest = iter(events)
        return _sum(self.do(calls.send_batch(batch)) for batch in iter(lambda: list(islice(rest, BATCH)), []))

    recommend = _blocking(calls.recommend)
    explain = _blocking(calls.explain)
    similar = _blocking(calls.similar)
    events = _blocking(calls.events)
    put_item = _blocking(calls.put_item)
    put_items = _blocking(calls.put_items)
    item = _blocking(calls.item)
    items = _blocking(calls.items)
    put_user = _blocking(calls.put_user)
    put_users = _blocking(calls.put_users)
    user = _blocking(calls.user)
    users = _blocking(calls.users)
    runs = _blocking(calls.runs)
    run = _blocking(calls.run)
    findings = _blocking(calls.findings)
    slots = _blocking(calls.slots)
    swap = _blocking(calls.swap)
    experiments = _blocking(calls.experiments)
    assignment = _blocking(calls.assignment)
    known = _blocking(calls.known)
    ask = _blocking(calls.ask)
    request = _blocking(calls.request)
    requests = _blocking(calls.requests)
    choices = _blocking(calls.choices)
    share = _blocking(calls.share)
    stop = _blocking(calls.stop)
    undo_stop = _blocking(calls.undo_stop)
    object_to = _blocking(calls.object_to)
    undo_objection = _blocking(calls.undo_objection)
    ready = _blocking(calls.ready)


class AsyncClient:
    """The service, for ``asyncio``; see :class:`Client`.

    Args:
        address: ``http://127.0.0.1:8400``.
        key: Text of an API key.
        timeout: Seconds an answer may take.
        retries: How often a call is tried again.
        options: Of ``httpx.AsyncClient``.
    """

    def __init__(
        self, address: str, key: str | None = None, *, timeout: float = 30.0, retries: int = 4, **options: Any
    ) -> None:
        self._http = httpx.AsyncClient(**_settings(address, key, timeout, options))
        self._retries = retries

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    async def do(self, call: Call[T]) -> T:
        """Make a call.

        Raises:
            ServiceError: The service refused, or did not answer.
        """
        talk = _Talk(call, self._retries)
        while True:
            try:
                pause = talk.heard(await self._http.request(**talk.request))
            except httpx.TransportError as error:
                pause = talk.missed(error)
            if pause is None:
                return talk.answer
            await asyncio.sleep(pause)

    async def send(self, events: Iterable[Event] | AsyncIterable[Event]) -> Taken:
        """Take in events, thousands to a request; all that is counted is durable."""
        parts: list[Taken] = []
        batch: list[Event] = []
        async for event in _one_by_one(events):
            batch.append(event)
            if len(batch) == BATCH:
                parts.append(await self.do(calls.send_batch(batch)))
                batch = []
        if batch:
            parts.append(await self.do(calls.send_batch(batch)))
        return _sum(parts)

    recommend = _awaited(calls.recommend)
    explain = _awaited(calls.explain)
    similar = _awaited(calls.similar)
    events = _awaited(calls.events)
    put_item = _awaited(calls.put_item)
    put_items = _awaited(calls.put_items)
    item = _awaited(calls.item)
    items = _awaited(calls.items)
    put_user = _awaited(calls.put_user)
    put_users = _awaited(calls.put_users)
    user = _awaited(calls.user)
    users = _awaited(calls.users)
    runs = _awaited(calls.runs)
    run = _awaited(calls.run)
    findings = _awaited(calls.findings)
    slots = _awaited(calls.slots)
    swap = _awaited(calls.swap)
    experiments = _awaited(calls.experiments)
    assignment = _awaited(calls.assignment)
    known = _awaited(calls.known)
    ask = _awaited(calls.ask)
    request = _awaited(calls.request)
    requests = _awaited(calls.requests)
    choices = _awaited(calls.choices)
    share = _awaited(calls.share)
    stop = _awaited(calls.stop)
    undo_stop = _awaited(calls.undo_stop)
    object_to = _awaited(calls.object_to)
    undo_objection = _awaited(calls.undo_objection)
    ready = _awaited(calls.ready)


async def _one_by_one(events: Iterable[Event] | AsyncIterable[Event]) -> AsyncIterable[Event]:
    if isinstance(events, AsyncIterable):
        async for event in events:
            yield event
    else:
        for event in events:
            yield event
