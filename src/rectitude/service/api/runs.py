"""Runs with what is known of them, the slots they stand in, experiments and assignment."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from rectitude.client.answers import Assigned, ExperimentList, Findings, RunPage, RunTold, SlotList, SlotRow
from rectitude.service.access import Principal, check_user, require
from rectitude.service.api import addresses  # noqa: F401 -- {name:id}
from rectitude.service.api.problems import responses
from rectitude.service.api.replies import page, position, reply
from rectitude.service.api.schemas import SwapBody
from rectitude.service.service import Service
from rectitude.service.serving.info import RunInfo
from rectitude.service.serving.shelf import Shelf

router = APIRouter(tags=["runs"])
Reader = Annotated[Principal, require("read")]
Name = Annotated[str, Path(min_length=1, max_length=255)]
_PATHS = re.compile(r"\(/(?:[^()]*/)?([^()/]+)\)")
"""A path of this machine as errors say it; others are told its last part."""
_OF_DATA = ("name", "hash", "users", "items", "interactions")
"""What is told of a run's data; where they lie on this machine is not."""


@router.get("/v1/runs", response_model=RunPage, responses=responses())
async def runs(
    request: Request,
    principal: Reader,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(max_length=1000, description="Of the page before.")] = None,
) -> Response:
    """Runs that are served or could be, by name, with their first figures."""
    service: Service = request.app.state.service
    after = position(cursor, str) or ""
    found = [info for info in await run_in_threadpool(service.shelf.infos) if info.name > after]
    following = found[limit - 1].name if len(found) > limit else None
    return reply(request, page([_row(info, service.shelf) for info in found[:limit]], following))


def _named(info: RunInfo, shelf: Shelf) -> dict[str, Any]:
    return {
        "name": info.name,
        "model": info.model,
        "title": info.title,
        "created": info.config["created"],
        "slots": shelf.slots_of(info.path),
    }


def _row(info: RunInfo, shelf: Shelf) -> dict[str, Any]:
    return _named(info, shelf) | {
        "data": info.config["data"]["name"],
        "metrics": info.leading(),
        "fold": info.fold,
        "parent": info.lineage.get("parent"),
    }


@router.get("/v1/runs/{name:id}", response_model=RunTold, responses=responses(404))
async def run(request: Request, principal: Reader, name: Name) -> Response:
    """A run with its metrics, lineage and settings."""
    service: Service = request.app.state.service
    info = await run_in_threadpool(service.shelf.info, name)
    config, told = info.config, _named(info, service.shelf)
    told |= {
        "paper": info.paper,
        "data": {key: config["data"].get(key) for key in _OF_DATA},
        "split": config["split"],
        "settings": config["settings"],
        "versions": config["versions"],
        "metrics": info.metrics,
        "lineage": info.lineage,
        "remedy": info.remedy,
        "findings": len(info.findings.get("findings", ())),
        "served": _slot(service.shelf, told["slots"][0]) if told["slots"] else None,
    }
    return reply(request, told)


@router.get("/v1/runs/{name:id}/findings", response_model=Findings, responses=responses(404))
async def findings(request: Request, principal: Reader, name: Name) -> Response:
    """What the audit of a run found."""
    service: Service = request.app.state.service
    info = await run_in_threadpool(service.shelf.info, name)
    empty: dict[str, Any] = {"findings": [], "impossible": [], "protocol": {}}
    return reply(request, {"run": info.name, **empty, **info.findings})


@router.get("/v1/slots", response_model=SlotList, responses=responses())
async def slots(request: Request, principal: Reader) -> Response:
    """Which run stands in which slot, and how its best items are found."""
    shelf = request.app.state.service.shelf
    return reply(request, {"items": [_slot(shelf, name) for name in shelf.names()]})


def _slot(shelf: Shelf, name: str) -> dict[str, Any]:
    served = shelf[name]
    return {
        "slot": name,
        "run": served.name,
        "title": served.run.model.title,
        "retrieval": served.retrieval.title,
        "items": len(served.catalogue),
        "notes": [_PATHS.sub(r"(\1)", note) for note in served.notes],
    }


@router.put("/v1/slots/{slot:id}", response_model=SlotRow, responses=responses(404, 413))
async def swap(
    request: Request, principal: Annotated[Principal, require()], slot: Name, body: Annotated[SwapBody, Body()]
) -> Response:
    """Put another run into a slot. Until it is ready the old one answers; no request is dropped."""
    service: Service = request.app.state.service
    _ = service.shelf[slot]
    path = service.shelf.find(body.run)

    def exchange() -> None:
        service.shelf.swap(slot, path)
        service.store.trail.add(principal.name, "swap", None, {"slot": slot, "run": body.run})

    await run_in_threadpool(exchange)
    request.app.state.metrics.swaps.labels(slot).inc()
    return reply(request, _slot(service.shelf, slot))


@router.get("/v1/experiments", response_model=ExperimentList, responses=responses())
async def experiments(request: Request, principal: Reader) -> Response:
    """Experiments with their arms."""
    known = request.app.state.service.shelf.experiments.values()
    return reply(request, {"items": [{"name": each.name, "arms": dict(each.arms)} for each in known]})


@router.get("/v1/assignment", response_model=Assigned, responses=responses(404))
async def assignment(
    request: Request,
    principal: Annotated[Principal, require("read", "person")],
    experiment: Annotated[str, Query(min_length=1, max_length=256)],
    user: Annotated[str, Query(min_length=1, max_length=256)],
) -> Response:
    """Which arm of an experiment a person is in: a pure function of the person, the experiment and the salt."""
    check_user(principal, user)
    arm = request.app.state.service.shelf.arm(experiment, user)
    return reply(request, {"experiment": experiment, "user": user, "arm": arm})
