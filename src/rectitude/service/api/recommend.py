"""Lists: by user, by history, by features; and why an item stands where it does."""

from __future__ import annotations

import math
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request
from fastapi.responses import Response

from rectitude.client.answers import Explained, List
from rectitude.core.errors import QueryError
from rectitude.service.access import Principal, check_user, require
from rectitude.service.api.problems import responses
from rectitude.service.api.replies import query_parameters, read_query, reply
from rectitude.service.api.schemas import Bounds, ExplainBody, RecommendBody, RecommendQuery, Wanted
from rectitude.service.service import Service
from rectitude.service.serving.asking import Ask
from rectitude.service.serving.explaining import explain
from rectitude.service.serving.shelf import MAIN
from rectitude.training.run import Answer

router = APIRouter(tags=["recommend"])
Asker = Annotated[Principal, require("read", "person")]


@router.get(
    "/v1/recommend",
    response_model=List,
    responses=responses(404),
    openapi_extra={"parameters": query_parameters(RecommendQuery)},
)
async def recommend(request: Request, principal: Asker) -> Response:
    """A list for a person, or for anybody with a history. What a URL cannot hold is asked with POST."""
    given = read_query(request, RecommendQuery)
    body = RecommendBody.model_construct(
        user=given.user,
        history=_ids(given.history),
        features=None if given.feature is None else dict(_pair(entry, "feature") for entry in given.feature),
        k=given.k,
        exclude_seen=given.exclude_seen,
        exclude=_ids(given.exclude) or [],
        only=_ids(given.only),
        where=_conditions(given.where),
        explain=given.explain,
        slot=given.slot,
        experiment=given.experiment,
    )
    return await _answer(request, principal, body)


@router.post("/v1/recommend", response_model=List, responses=responses(404, 413))
async def recommend_for(request: Request, principal: Asker, body: Annotated[RecommendBody, Body()]) -> Response:
    """A list for a person, anybody's history, or features."""
    return await _answer(request, principal, body)


@router.post("/v1/explain", response_model=Explained, responses=responses(404, 413))
async def explain_item(request: Request, principal: Asker, body: Annotated[ExplainBody, Body()]) -> Response:
    """Why an item stands where it does in somebody's list."""
    service: Service = request.app.state.service
    if body.user is not None:
        check_user(principal, body.user)
    slot = body.slot or MAIN
    ask = Ask(user=body.user, history=None if body.history is None else tuple(body.history))
    told = await explain(service.shelf, slot, ask, body.item)
    return reply(request, {"slot": slot, "run": service.shelf[slot].name, **told})


async def _answer(request: Request, principal: Principal, body: RecommendBody) -> Response:
    service: Service = request.app.state.service
    shelf, config = service.shelf, service.config
    if body.user is not None:
        check_user(principal, body.user)
    if body.k > config.max_k:
        raise QueryError(f"A list has at most {config.max_k} items", where="k", fix=f"Give k={config.max_k} or less")
    slot, head = body.slot or MAIN, {}
    if body.experiment is not None:
        if body.user is None or body.slot is not None:
            raise QueryError("An experiment chooses the slot by the user", where="experiment", fix="Give user, no slot")
        slot = shelf.arm(body.experiment, body.user)
        head = {"experiment": body.experiment, "arm": slot}
    ask = body.ask()
    run = shelf[slot].name
    answer = await shelf.ask(slot, ask)
    told = {"slot": slot, "run": run, **head, **answer_told(answer)}
    request.app.state.metrics.lists.labels(slot, "fallback" if told["fallback"] else "model").inc()
    return reply(request, told)


def answer_told(answer: Answer) -> dict[str, Any]:
    """An answer as JSON has it."""
    told: dict[str, Any] = {
        "query": answer.query,
        "answered_by": answer.answered_by,
        "fallback": answer.answered_by.startswith("popularity"),
        "items": answer.items,
        "notes": answer.notes,
    }
    if answer.explanation is not None:
        told["explanation"] = answer.explanation
    return told


def _ids(text: str | None) -> list[str] | None:
    """Ids between commas."""
    return None if text is None else [entry.strip() for entry in text.split(",") if entry.strip()]


def _pair(entry: str, where: str) -> tuple[str, str]:
    name, colon, value = entry.partition(":")
    if not colon or not name:
        raise QueryError(f"'{entry}' is no {where}", where=where, fix="Write it as NAME:VALUE")
    return name, value


def _conditions(entries: list[str] | None) -> dict[str, Wanted]:
    """``["genres:Comedy", "year:1990..1999"]`` as conditions; values of one attribute are alternatives."""
    found: dict[str, Wanted] = {}
    for entry in entries or ():
        name, value = _pair(entry, "where")
        low, dots, high = value.partition("..")
        before = found.get(name)
        if dots and before is None:
            found[name] = Bounds.model_construct(min=_number(low), max=_number(high))
        elif dots or isinstance(before, Bounds):
            raise QueryError(f"'{name}' is given bounds and something else", where="where", fix="Give one of them")
        else:
            found[name] = [*before, value] if isinstance(before, list) else [value]
    return found


def _number(text: str) -> float | None:
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise QueryError(f"'{text}' is no number", where="where", fix="Write bounds as year:1990..1999")
    return number
