"""Starting the service: one process, or several that share a port and a store."""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from rectitude.core.config import Settings, build
from rectitude.decisions.routing.serving.run import listen
from rectitude.service.access import check_binding
from rectitude.service.api.metrics import MULTIPROCESS
from rectitude.service.app import create_app
from rectitude.service.config import ServiceConfig
from rectitude.service.service import Service
from rectitude.service.serving.assignment import Experiment
from rectitude.service.serving.shelf import Shelf

_SPEC = "RECTITUDE_SERVICE"
"""Variable that tells a worker what to serve."""
GRACE_SECONDS = 20
"""How long requests that are being answered may take when the service is told to stop."""


class Launch(Settings):
    """What is served, and how."""

    config: ServiceConfig
    slots: dict[str, str]
    """Slot to run folder."""
    roots: tuple[str, ...] = ()
    """Folders whose runs may be put into a slot over HTTP."""
    experiments: tuple[str, ...] = ()
    """NAME=SLOT:SHARE,SLOT:SHARE."""
    json_logs: bool = False
    """One JSON object a line on standard error, a line for every request."""

    def open(self) -> Service:
        """The store opened and the runs loaded.

        Raises:
            RectitudeError: The store cannot be opened, a run cannot be read, or the address is public without a key.
        """
        experiments = [Experiment.parse(text) for text in self.experiments]
        service = Service.open(self.config)
        try:
            check_binding(self.config, service.store)
            beside = [Path(path).resolve().parent for path in self.slots.values()]
            roots = [*map(Path, self.roots), *beside, self.config.folder / "runs"]
            service.shelf = Shelf(self.config, service.store, roots=roots, experiments=experiments)
            service.shelf.load(self.slots)
        except BaseException:
            service.close()
            raise
        return service


def serve(launch: Launch, service: Service, listener: Any) -> None:
    """Answer until stopped.

    Args:
        launch: What is served, and how.
        service: Opened; several workers each open their own.
        listener: The socket.
    """
    settings = _uvicorn_settings(launch.config)
    if launch.config.workers == 1:
        app = create_app(service)
        _settle()
        uvicorn.Server(uvicorn.Config(app, **settings)).run(sockets=[listener])
        return
    service.shelf.close()
    service.close()
    from uvicorn.supervisors import Multiprocess

    with tempfile.TemporaryDirectory(prefix="rectitude-metrics-") as folder:
        os.environ |= {_SPEC: launch.model_dump_json(), MULTIPROCESS: folder}
        config = uvicorn.Config(
            "rectitude.service.launch:worker", factory=True, workers=launch.config.workers, **settings
        )
        Multiprocess(config, target=uvicorn.Server(config).run, sockets=[listener]).run()


@contextmanager
def in_background(service: Service, port: int = 0) -> Iterator[str]:
    """Answer in a thread of this process, on a port of this machine: for notebooks, tools and tests.

    Args:
        service: Opened; closed at the end.
        port: To listen at; 0 takes a free one.

    Yields:
        The address.
    """
    listener = listen("127.0.0.1", port)
    server = uvicorn.Server(uvicorn.Config(create_app(service), **_uvicorn_settings(service.config)))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="service")
    thread.start()
    try:
        yield f"{'https' if service.config.tls_certificate else 'http'}://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def worker() -> FastAPI:
    """The application of one of several processes."""
    launch = build(Launch, json.loads(os.environ[_SPEC]), where=_SPEC)
    log_to_stderr(as_json=launch.json_logs)
    app = create_app(launch.open())
    _settle()
    return app


def _settle() -> None:
    """Let the collector pass over what was loaded and stays: looking at it all stops answers for 0.1 to 0.5 s."""
    gc.collect()
    gc.freeze()


def _uvicorn_settings(config: ServiceConfig) -> dict[str, Any]:
    return {
        "log_level": "warning",
        "log_config": None,
        "access_log": False,  # ours names routes, not addresses, which hold ids of people
        "ws": "none",
        "server_header": False,
        "proxy_headers": False,  # who asks is found out by access.client_address, through trusted proxies only
        "timeout_graceful_shutdown": GRACE_SECONDS,
        "timeout_keep_alive": 30,
        "backlog": 2048,
        "ssl_certfile": config.tls_certificate,
        "ssl_keyfile": config.tls_key,
    }


# ---- log -------------------------------------------------------------------------------------------------------------


class _JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        told = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        more = getattr(record, "told", None)
        told |= more if more is not None else {"message": record.getMessage()}
        if record.exc_info:
            told["error"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=False)


def log_to_stderr(*, as_json: bool) -> None:
    """Send the log of the service to standard error: faults and changes, and with ``as_json`` every request."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines() if as_json else logging.Formatter("%(levelname)s %(message)s"))
    for name, level in (("rectitude", logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
    logging.getLogger("rectitude.service.requests").setLevel(logging.INFO if as_json else logging.WARNING)
