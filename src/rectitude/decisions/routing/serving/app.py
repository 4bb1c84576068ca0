"""The router as an OpenAI-compatible server.

``POST /v1/chat/completions`` with ``model: "auto"`` is routed, forwarded and streamed back; ``X-Route-Model`` and
``X-Route-Reason`` say by whom and why, and ``GET /v1/route/explain?id=…`` tells everything. Keys are read from the
environment, and neither they nor prompts are ever logged.
"""

from __future__ import annotations

import hmac
import json
import logging
import os
import time
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from rectitude.core.config import build
from rectitude.core.errors import ConfigError, RectitudeError, did_you_mean
from rectitude.decisions.routing.catalogue import Catalogue
from rectitude.decisions.routing.catalogue import Request as Profile
from rectitude.decisions.routing.clauses import Atom, Clause
from rectitude.decisions.routing.parsing.rules import Parsed, parse_rules
from rectitude.decisions.routing.problem import Policy
from rectitude.decisions.routing.router import Decision, Router
from rectitude.decisions.routing.serving.chat import Chat, read_chat
from rectitude.decisions.routing.serving.config import ServerConfig, reachable, upstream_of
from rectitude.decisions.routing.serving.forward import Answer, Attempt, GivenUpError, ask, make_client

_log = logging.getLogger("rectitude.route")
_KEPT = 1000
"""Decisions that can be explained afterwards."""
_CACHED = 2048
"""Decisions kept for requests of the same kind."""
_LONGEST_BODY = 64 << 20


class _UnknownClientError(Exception):
    """A client without the key."""


@dataclass
class _Record:
    """A request that was answered."""

    decision: Decision
    attempts: list[Attempt]
    model: str | None
    seconds: float


class RoutingService:
    """What the server does, without the protocol around it.

    Args:
        catalogue: Endpoints; those that cannot be reached are left out.
        config: The server's file.

    Raises:
        ConfigError: No endpoint can be reached, or a policy cannot be read.
    """

    def __init__(self, catalogue: Catalogue, config: ServerConfig) -> None:
        self.config = config
        self.catalogue, self.notes = reachable(catalogue, config)
        plain = {name: build(Policy, values, where=f"policies.{name}") for name, values in config.policies.items()}
        default = plain.get("default", Policy())
        self.routers = {"": Router(self.catalogue, default)}
        standing = self.routers[""].policy.clauses
        for name, policy in plain.items():
            if name != "default":
                both = policy.model_copy(update={"clauses": (*standing, *policy.clauses)})
                self.routers[name] = Router(self.catalogue, both)
        self.routers["default"] = self.routers[""]
        self.client_key = os.environ.get(config.client_key_env or "")
        if config.client_key_env and not self.client_key:
            raise ConfigError(
                f"{config.client_key_env} is not set", where="client_key_env", fix="Set it, or leave it out"
            )
        self.records: OrderedDict[str, _Record] = OrderedDict()
        self._decided: OrderedDict[Any, Decision] = OrderedDict()

    def admits(self, authorization: str) -> bool:
        """May this client come in?"""
        if not self.client_key:
            return True
        return hmac.compare_digest(authorization.encode(), f"Bearer {self.client_key}".encode())

    def decide(self, policy: str, feedback: str, request: Profile, model: str = "auto") -> Decision:
        """Route, or take the decision for the same wishes of a request of the same kind.

        Raises:
            ConfigError: There is no such policy or model, or the feedback is too long.
        """
        key = (policy, feedback, request, model)
        if key in self._decided:
            self._decided.move_to_end(key)
            return self._decided[key]
        if policy not in self.routers:
            fix = did_you_mean(policy, [name for name in self.routers if name])
            raise ConfigError(f"There is no policy '{policy}'", where="policy", fix=fix)
        router = self.routers[policy]
        if model == "auto":
            decision = router.route(feedback, request=request)
        else:
            decision = router.route(feedback, request=request, reader=_pinned(self.catalogue, model))
        self._decided[key] = decision
        if len(self._decided) > _CACHED:
            self._decided.popitem(last=False)
        return decision

    def keep(self, decision: Decision, attempts: list[Attempt], model: str | None, seconds: float) -> str:
        """Remember a request so that it can be explained; returns its id."""
        name = uuid.uuid4().hex
        self.records[name] = _Record(decision, attempts, model, seconds)
        if len(self.records) > _KEPT:
            self.records.popitem(last=False)
        return name

    def explain(self, name: str) -> dict[str, Any]:
        """Everything about a request but what was written in it.

        Raises:
            ConfigError: The request is not known any more.
        """
        if name not in self.records:
            fix = f"The last {_KEPT} are kept; ids are in the header X-Route-Id"
            raise ConfigError("There is no such request", where="id", fix=fix)
        record = self.records[name]
        attempts = [{"model": a.model, "status": a.status, "error": a.error} for a in record.attempts]
        told = self.told(record.decision)
        return {"id": name, "model": record.model, "attempts": attempts, "seconds": round(record.seconds, 4), **told}

    def told(self, decision: Decision) -> dict[str, Any]:
        """A decision as JSON, without the words of the feedback where they are not to be kept."""
        value = decision.to_dict()
        if not self.config.log_prompts:
            value["unparsed"] = len(value["unparsed"])
            value["suspicious"] = len(value["suspicious"])
        return value


def _pinned(catalogue: Catalogue, model: str) -> Any:
    """A reader that adds the wish for just this model."""
    name = catalogue.ids[catalogue.row(model)]

    def read(text: str, names: Any, *, has_last: bool = False) -> Parsed:
        parsed = parse_rules(text, names, has_last=has_last)
        parsed.clauses.append(Clause(kind="hard", any=(Atom(attr="model", op="in", value=(name,)),)))
        return parsed

    return read


def create_app(catalogue: Catalogue, config: ServerConfig) -> FastAPI:
    """The server.

    Raises:
        ConfigError: See :class:`RoutingService`.
    """
    service = RoutingService(catalogue, config)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with make_client(config) as client:
            app.state.client = client
            yield

    def admit(request: Request) -> None:
        if not service.admits(request.headers.get("authorization", "")):
            raise _UnknownClientError

    app = FastAPI(title="Rectitude router", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    known = [Depends(admit)]
    app.state.service = service

    @app.exception_handler(RectitudeError)
    async def refuse(request: Request, error: RectitudeError) -> JSONResponse:
        return _error(400, str(error), "invalid_request_error", "bad_request")

    @app.exception_handler(_UnknownClientError)
    async def turn_away(request: Request, error: _UnknownClientError) -> JSONResponse:
        return _error(401, "The key is missing or wrong", "invalid_request_error", "invalid_api_key")

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "models": len(service.catalogue), "catalogue": service.catalogue.hash}

    @app.get("/v1/models", dependencies=known)
    async def models() -> dict[str, Any]:
        names = ["auto", *(f"auto:{name}" for name in service.routers if name not in ("", "default"))]
        listed = [*names, *service.catalogue.ids]
        return {
            "object": "list",
            "data": [{"id": n, "object": "model", "created": 0, "owned_by": "rectitude"} for n in listed],
        }

    @app.get("/v1/route/explain", dependencies=known)
    async def explain(id: str) -> dict[str, Any]:  # noqa: A002 -- the name in the address
        return service.explain(id)

    @app.post("/v1/route/explain", dependencies=known)
    async def preview(request: Request) -> dict[str, Any]:
        body = await _json(request)
        wanted = {"feedback", "policy", "request", "model"}
        if not isinstance(body, dict) or set(body) - wanted:
            raise ConfigError(f"The body takes {', '.join(sorted(wanted))}", where="body")
        profile = build(Profile, body.get("request") or {}, where="request")
        policy, feedback = (str(body.get(key) or "") for key in ("policy", "feedback"))
        return service.told(service.decide(policy, feedback, profile, str(body.get("model") or "auto")))

    @app.post("/v1/chat/completions", dependencies=known)
    async def complete(request: Request) -> Response:
        chat = read_chat(await _json(request), request.headers)
        return await _complete(app, service, chat)

    return app


async def _json(request: Request) -> Any:
    body = await request.body()
    if len(body) > _LONGEST_BODY:
        raise ConfigError("The request is too long", where="body")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ConfigError("The request is not JSON", where="body") from error


async def _complete(app: FastAPI, service: RoutingService, chat: Chat) -> Response:
    began = time.perf_counter()
    decision = service.decide(chat.policy, chat.feedback, chat.request, chat.model)
    if decision.status != "feasible":
        name = service.keep(decision, [], None, time.perf_counter() - began)
        return _error(422, _no_model(decision), "invalid_request_error", "no_feasible_model", {"x-route-id": name})
    attempts: list[Attempt] = []
    waits: list[str] = []
    for model in _candidates(decision, service.config.attempts):
        _, provider, upstream = upstream_of(service.catalogue, service.config, model)
        try:
            answer = await ask(app.state.client, provider, {**chat.body, "model": upstream}, service.config)
        except GivenUpError as error:
            attempts.append(Attempt(model, error.status, error.error))
            waits += [error.retry_after] if error.retry_after else []
            continue
        attempts.append(Attempt(model, answer.status))
        seconds = time.perf_counter() - began
        name = service.keep(decision, attempts, model, seconds)
        _log.info("%s %s %s %.0f ms", name, model, answer.status, 1000 * seconds)
        return _reply(
            answer, {"x-route-id": name, "x-route-model": _ascii(model), "x-route-reason": reason(decision, attempts)}
        )
    name = service.keep(decision, attempts, None, time.perf_counter() - began)
    tried = "; ".join(f"{a.model}: {a.error}" for a in attempts)
    busy = bool(attempts) and all(a.status == 429 for a in attempts)
    _log.warning("%s none of %d endpoints answered", name, len(attempts))
    headers = {"x-route-id": name, **({"retry-after": min(waits)} if busy and waits else {})}
    code, kind = (429, "rate_limit_exceeded") if busy else (502, "upstream_unavailable")
    return _error(code, f"No endpoint answered: {tried}", "upstream_error", kind, headers)


def _candidates(decision: Decision, most: int) -> list[str]:
    """Feasible models in order, the near-feasible ones first by their nature."""
    return [ranked.model for ranked in decision.ranking if not ranked.violates][:most]


def reason(decision: Decision, attempts: list[Attempt]) -> str:
    """Why this model answers, in one line that fits a header."""
    problem, model = decision.problem, attempts[-1].model
    ranked = next(entry for entry in decision.ranking if entry.model == model)
    told = [f"value {ranked.value:g} of {problem.points(problem.total):g}", f"regret {ranked.regret:.3f}"]
    met = [
        str(clause) for clause in problem.clauses if clause.kind == "hard" and clause.origin in ("feedback", "policy")
    ]
    told += [f"meets: {', '.join(met)}"] if met else []
    told += [f"after {attempt.model}: {attempt.error}" for attempt in attempts[:-1]]
    told += [f"open question: {question}" for question in decision.explanation["questions"]]
    if decision.parsed is not None and (spans := len(decision.parsed.unparsed) + len(decision.parsed.suspicious)):
        told.append(f"not understood or not read: {spans} part{'s' if spans > 1 else ''} of the feedback")
    return _ascii("; ".join(told))[:500]


def _no_model(decision: Decision) -> str:
    told = decision.explanation
    parts = [
        "The wishes contradict each other" if decision.status == "contradictory" else "No model meets every hard wish"
    ]
    parts += [str(question) for question in told["questions"]]
    parts += [str(entry["says"]) for entry in told.get("correction_sets", ())]
    return "; ".join(parts)


def _reply(answer: Answer, headers: dict[str, str]) -> Response:
    if answer.stream is not None:
        return StreamingResponse(answer.stream, answer.status, headers, answer.media_type)
    return Response(answer.content, answer.status, headers, answer.media_type)


def _error(status: int, message: str, kind: str, code: str, headers: dict[str, str] | None = None) -> JSONResponse:
    error = {"message": message, "type": kind, "param": None, "code": code}
    return JSONResponse({"error": error}, status, headers)


def _ascii(text: str) -> str:
    return "".join(c if 32 <= ord(c) < 127 else "?" for c in text)
