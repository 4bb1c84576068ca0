"""Questions that wait together are answered together, by one thread that computes.

Nothing waits for others to come: while a batch is computed the next one gathers, so a lone question is answered at once
and many share the work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

from rectitude.core.errors import RectitudeError

Q = TypeVar("Q")
A = TypeVar("A")

MOST_AT_ONCE = 16
"""Questions of one batch: more gain nothing and make everybody wait longer."""
MOST_WAITING = 4096
"""Questions that may wait; more are turned away."""


class BusyError(RectitudeError):
    """More is asked than can be answered."""

    def __init__(self) -> None:
        super().__init__("The service is busy", fix="Try again in a moment")


class Batcher(Generic[Q, A]):
    """Gathers questions on the event loop and answers them in a thread.

    Args:
        compute: Answers of a batch, in order; an exception in the place of an answer fails that question only.
        executor: With one thread.
    """

    def __init__(self, compute: Callable[[Sequence[Q]], Sequence[A | Exception]], executor: Executor) -> None:
        self._compute, self._executor = compute, executor
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []
        self._observe: Callable[[int], None] = lambda _: None
        self._computing: asyncio.Future[Sequence[A | Exception]] | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def watch(self, observe: Callable[[int], None]) -> None:
        """Tell the size of every batch."""
        self._observe = observe

    async def ask(self, question: Q) -> A:
        """The answer to one question.

        Raises:
            BusyError: Too many are waiting.
        """
        if len(self._waiting) >= MOST_WAITING:
            raise BusyError
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        if self._computing is None:
            self._begin()
        return await answer

    def _begin(self) -> None:
        batch, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
        batch = [entry for entry in batch if not entry[1].done()]  # who left does not cost
        if not batch:
            self._computing = None
            return
        self._observe(len(batch))
        loop = asyncio.get_running_loop()
        self._computing = loop.run_in_executor(self._executor, self._compute, [question for question, _ in batch])
        self._computing.add_done_callback(lambda found: self._end([answer for _, answer in batch], found))

    def _end(self, waiting: list[asyncio.Future[A]], found: asyncio.Future[Sequence[A | Exception]]) -> None:
        self._begin()
        failure = None if found.cancelled() else found.exception()
        if found.cancelled() or failure is not None:
            answers: Sequence[A | Exception | BaseException] = [failure or BusyError()] * len(waiting)
        else:
            answers = found.result()
        for future, answer in zip(waiting, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, BaseException):
                future.set_exception(answer)
            else:
                future.set_result(answer)
