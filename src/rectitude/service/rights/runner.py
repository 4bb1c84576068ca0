"""The job runner: claims requests from the store and works at them, one at a time, in a thread of the process.

The store is the queue. A claim is a lease that a second thread keeps alive; a process that dies lets it lapse, and
whichever process asks next goes on after the last recorded step.
"""

from __future__ import annotations

import logging
import os
import platform
import secrets
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rectitude.core.errors import RectitudeError
from rectitude.service.rights import delete, export, forget, remedy
from rectitude.service.rights.work import StoppingError, Work
from rectitude.service.store import Request, StoreError, StoreUnavailableError
from rectitude.service.store.queue import LeaseLostError

if TYPE_CHECKING:
    from rectitude.service.service import Service

Job = Callable[[Work], dict[str, Any]]
"""Does a request, step by step, and gives its proof."""
_JOBS: dict[str, Job] = {"export": export.run, "delete": delete.run, "forget": forget.run, "remedy": remedy.run}

MOST_ATTEMPTS = 5
"""How often a job is taken up without finishing a step before it is given up."""
_POLL_S = 1.0
_TIDY_S = 600.0
_PATIENCE_S = 5.0

_log = logging.getLogger("rectitude.service")


class Jobs:
    """Works at people's requests.

    Args:
        service: Of this process.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._owner = f"{platform.node()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._stopping, self._waking = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._tidied = -_TIDY_S

    def start(self) -> None:
        """Begin to work, in a thread."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)
            self._thread.start()

    def wake(self) -> None:
        """There is something new: look at once."""
        self._waking.set()

    def stop(self) -> None:
        """Let the step at hand end if it is short; what is left goes back into the queue."""
        self._stopping.set()
        self._waking.set()
        if self._thread is not None:
            self._thread.join(_PATIENCE_S)

    def run_waiting(self) -> int:
        """Do all that is queued, here and now; say how many jobs that were."""
        count = 0
        while not self._stopping.is_set() and (request := self._claim()) is not None:
            self._do(request)
            count += 1
        return count

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                if not self.run_waiting() and time.monotonic() > self._tidied + _TIDY_S:
                    export.tidy(self._service)
                    self._tidied = time.monotonic()
            except StoreError as error:
                if not self._stopping.is_set():
                    _log.warning("jobs: %s", error)
            except Exception:
                _log.exception("jobs: a fault of the runner")
            self._waking.wait(_POLL_S)
            self._waking.clear()

    def _claim(self) -> Request | None:
        return self._service.store.requests.claim(self._owner, self._service.config.job_lease_s)

    def _do(self, request: Request) -> None:
        work = Work(self._service, request, self._owner, self._stopping)
        requests = self._service.store.requests
        _log.info("job %s (%s): begun", request.id, request.kind)
        try:
            if request.attempts > MOST_ATTEMPTS:
                raise RectitudeError(f"It was begun {MOST_ATTEMPTS} times and never came to the end of a step")
            with _kept_alive(work):
                proof = _JOBS[request.kind](work)
            also = self._entry(request, "done", {})
            requests.finish(request.id, self._owner, proof, nameless=request.kind == "delete", also=also)
            _log.info("job %s (%s): done", request.id, request.kind)
        except LeaseLostError:
            _log.warning("job %s (%s): another process has it", request.id, request.kind)
        except StoppingError:
            requests.release(request.id, self._owner)
        except StoreUnavailableError as error:  # the lease lapses, and the job is taken up again
            _log.warning("job %s (%s): %s", request.id, request.kind, error)
        except RectitudeError as error:
            _log.warning("job %s (%s): failed", request.id, request.kind)
            self._fail(request, str(error))
        except Exception as error:
            _log.exception("job %s (%s): a fault of rectitude", request.id, request.kind)
            if request.attempts < MOST_ATTEMPTS and not self._stopping.is_set():
                requests.release(request.id, self._owner)
                self._stopping.wait(_POLL_S)
            else:
                self._fail(request, f"A fault of rectitude ({type(error).__name__}); it is in the service's log")

    def _fail(self, request: Request, reason: str) -> None:
        also = self._entry(request, "failed", {})
        self._service.store.requests.fail(request.id, self._owner, reason, also=also)

    def _entry(self, request: Request, what: str, details: dict[str, Any]) -> Any:
        return self._service.store.trail.entry(
            "service", f"{request.kind}.{what}", subject=request.subject, details={"id": request.id, **details}
        )


class _kept_alive:  # noqa: N801 -- read as a phrase
    """A thread that keeps a job's lease for the length of a block."""

    def __init__(self, work: Work) -> None:
        self._work, self._ended = work, threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(_PATIENCE_S)

    def _beat(self) -> None:
        while not self._ended.wait(self._work.config.job_lease_s / 3):
            try:
                self._work.heartbeat()
            except StoreError as error:
                _log.warning("lease of job %s: %s", self._work.request.id, error)
