"""A provider that answers OpenAI's chat protocol on a port of this machine, well or badly as its model's name says."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route


class Upstream:
    """Keeps what it was asked.

    ``behaviour`` maps a model to what it does: ok, 429, 500, 400, hang, empty, error-event, cut (ends without its end
    mark), stall (stops in the middle), reset (closes the connection in the middle).
    """

    def __init__(self) -> None:
        self.behaviour: dict[str, str] = {}
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.open = self.most_open = 0
        self.wait_for = 0

    async def chat(self, request: Request) -> Response:
        body = await request.json()
        self.asked.append(body)
        self.headers.append(dict(request.headers))
        does = self.behaviour.get(body["model"], "ok")
        if does.isdigit():
            headers = {"retry-after": "7"} if does == "429" else {}
            return JSONResponse({"error": {"message": "no", "type": "x", "code": does}}, int(does), headers)
        if does == "hang":
            await asyncio.sleep(30)
        if body.get("stream"):
            return StreamingResponse(self.pieces(body["model"], does), media_type="text/event-stream")
        message = {"role": "assistant", "content": f"I am {body['model']}"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4}
        return JSONResponse({"id": "c", "object": "chat.completion", "created": 0, "model": body["model"],
                             "choices": [choice], "usage": usage})  # fmt: skip

    async def pieces(self, model: str, does: str) -> AsyncIterator[bytes]:
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        try:
            if does == "empty":
                return
            if does == "error-event":
                yield b'data: {"error": {"message": "overloaded"}}\n\n'
                return
            for number, word in enumerate(["I ", "am ", model]):
                yield event(model, {"content": word}, None)
                while self.most_open < self.wait_for:
                    await asyncio.sleep(0.005)
                if does == "cut" and number == 1:
                    return
                if does == "reset" and number == 1:
                    raise ConnectionResetError
                if does == "stall" and number == 1:
                    await asyncio.sleep(30)
            yield event(model, {}, "stop")
            yield b"data: [DONE]\n\n"
        finally:
            self.open -= 1

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/v1/chat/completions", self.chat, methods=["POST"])])


def event(model: str, delta: dict[str, Any], finish: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    value = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": model, "choices": [choice]}
    return b"data: " + json.dumps(value).encode() + b"\n\n"


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """Serve an application from a thread; yields its address."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(512)
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="critical", lifespan="on", ws="none", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        listener.close()
