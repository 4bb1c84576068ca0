"""A job at work: steps that are recorded when they are done, so that a job taken up again goes on after them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rectitude.service.store.queue import LeaseLostError

if TYPE_CHECKING:
    from rectitude.service.service import Service
    from rectitude.service.store import Request


class StoppingError(Exception):
    """The process ends; the job goes back into the queue as it is."""


class Work:
    """What the steps of a job are given.

    Args:
        service: Of this process.
        request: What is being done.
        owner: Name under which the lease is held.
        stopping: Set when the process ends.
    """

    def __init__(self, service: Service, request: Request, owner: str, stopping: threading.Event) -> None:
        self.service, self.store, self.config = service, service.store, service.config
        self.request, self.owner = request, owner
        self._stopping = stopping
        self._lost = threading.Event()
        self._done: dict[str, dict[str, Any]] = {step.name: step.outcome for step in request.steps}

    @property
    def folder(self) -> Path:
        """Where the service keeps files; made where it is missing."""
        self.config.folder.mkdir(parents=True, exist_ok=True)
        return self.config.folder.resolve()

    def step(self, name: str, sentence: str, act: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """Do a step unless it is done already; either way give its outcome.

        Args:
            name: Under which it is recorded.
            sentence: What people are told while it is done.
            act: May be begun again after a crash, so doing it twice is as good as once.

        Raises:
            StoppingError: The process ends.
            LeaseLostError: Another process has taken the job up.
        """
        if name not in self._done:
            self.check()
            self.heartbeat(sentence)
            outcome = dict(act())
            self.check()
            self.store.requests.step_done(self.request.id, self.owner, name, outcome)
            self._done[name] = outcome
        return self._done[name]

    def outcome(self, name: str) -> dict[str, Any]:
        """Of a step that was done when the request was made."""
        return self._done[name]

    def heartbeat(self, doing: str | None = None) -> None:
        """Keep the lease."""
        if not self.store.requests.heartbeat(self.request.id, self.owner, self.config.job_lease_s, doing):
            self._lost.set()

    def check(self) -> None:
        """See whether the job may go on."""
        if self._lost.is_set():
            raise LeaseLostError("The job was taken up by another process", where=self.request.id)
        if self._stopping.is_set():
            raise StoppingError
