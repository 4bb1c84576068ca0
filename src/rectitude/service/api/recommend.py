"""Lists: by user, by history, by features; and why an item stands where it does."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Body, Query, Request
from fastapi.responses import Response

from rectitude.core.errors import QueryError
from rectitude.service.access import Principal, check_user, require
from rectitude.service.api.problems import responses
from rectitude.service.api.replies import JSON, reply, tagged
from rectitude.service.api.schemas import (
    Bounds,
    ExplainBody,
    Explained,
    List,
    RecommendBody,
    Wanted,
)
from rectitude.service.service import Service
from rectitude.service.serving.asking import Ask
from rectitude.service.serving.explaining import explain
from rectitude.service.serving.shelf import MAIN
from rectitude.training.run import Answer

router = APIRouter(tags=["recommend"])
Asker = Annotated[Principal, require("read", "person")]


@router.get("/v1/recommend", response_model=List, responses=responses(404))
async def recommend(
    request: Request,
    principal: Asker,
    user: Annotated[str | None, Query(min_length=1, max_length=256, description="A person.")] = None,
    history: Annotated[str | None, Query(description="Items, oldest first, between commas.")] = None,
    k: Annotated[int, Query(ge=1, description="Length of the list.")] = 10,
    exclude_seen: Annotated[bool, Query(description="Leave out what is in the history.")] = True,
    exclude: Annotated[str | None, Query(description="Items that are not to be listed, between commas.")] = None,
    only: Annotated[str | None, Query(description="Items the list may be made of, between commas.")] = None,
    where: Annotated[
        list[str] | None, Query(description="ATTRIBUTE:VALUE, or ATTRIBUTE:LOW..HIGH; may be repeated.")
    ] = None,
    feature: Annotated[list[str] | None, Query(description="NAME:VALUE of somebody; may be repeated.")] = None,
    explain: Annotated[bool, Query(description="Tell why, as far as the model can.")] = False,
    slot: Annotated[str | None, Query(description="Which of the served runs answers.")] = None,
    experiment: Annotated[str | None, Query(description="Let this experiment choose the slot.")] = None,
) -> Response:
    """A list for a person, or for anybody with a history. What a URL cannot hold is asked with POST."""
    body = RecommendBody.model_construct(
        user=user,
        history=_ids(history),
        features=None if feature is None else dict(_pair(entry, "feature") for entry in feature),
        k=k,
        exclude_seen=exclude_seen,
        exclude=_ids(exclude) or [],
        only=_ids(only),
        where=_conditions(where),
        explain=explain,
        slot=slot,
        experiment=experiment,
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
    return tagged(request, orjson.dumps(told), JSON)


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
        return float(text)
    except ValueError:
        raise QueryError(f"'{text}' is no number", where="where", fix="Write bounds as year:1990..1999") from None
