"""Listening and serving."""

from __future__ import annotations

import socket
from typing import Any

from rectitude.core.errors import RectitudeError


def listen(host: str, port: int) -> socket.socket:
    """A socket that waits for clients.

    Raises:
        RectitudeError: The address is taken or is not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        what = f"Cannot listen: {error.strerror or error}"
        raise RectitudeError(what, where=f"{host}:{port}", fix="Give another --port or --host") from error
    listener.listen(1024)
    return listener


def run_server(app: Any, listener: socket.socket) -> None:
    """Serve until stopped; neither addresses nor bodies of requests are logged."""
    import uvicorn

    uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, ws="none")).run(sockets=[listener])
