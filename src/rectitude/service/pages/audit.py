"""Audit: whom does it serve worse, what does it know?"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import Response
from markupsafe import Markup
from starlette.exceptions import HTTPException

from rectitude.audit.checks.registry import CHECKS
from rectitude.core.errors import QueryError
from rectitude.reporting import page as blocks
from rectitude.service import rights
from rectitude.service.access import CheckedSession, Principal, page_session
from rectitude.service.pages.auditing import QUESTIONS, Line, checks_of
from rectitude.service.pages.desk import Runner, Staff, back_to, part, readings, run_in_use, served, service_of, show
from rectitude.service.pages.environment import link, wants_part
from rectitude.service.pages.holding import asked
from rectitude.service.pages.readings import reading
from rectitude.service.rights.remedy import Remedy
from rectitude.unlearning.attribute import UnlearningConfig

router = APIRouter(include_in_schema=False)

Word = Annotated[str, Query(max_length=256)]
Sent = Annotated[str, Form(max_length=256)]


@router.get("/audit")
def audit(request: Request, principal: Staff, run: str | None = None) -> Response:
    """The findings of a run."""
    found = readings(request)
    by_slot = {reading.slot: reading for reading in found}
    name = run_in_use(request, run, list(by_slot))
    chosen = by_slot[name] if name is not None else None
    checks = checks_of(chosen) if chosen is not None else []
    return show(
        request,
        "audit.html",
        "Whom does it serve worse, what does it know?",
        principal=principal,
        run=name,
        runs=found,
        reading=chosen,
        checks=checks,
        n_attention=sum(check.attention for check in checks),
        figures=_figures,
        command=shlex.join(["rectitude", "audit", str(chosen.path)]) if chosen is not None else "",
        questions=[QUESTIONS[check] for check in CHECKS],
        curable=_curable(request, name),
        cure_link=lambda cure: link("/audit/remedy", run=name, remedy=cure.remedy, attribute=cure.attribute),
        **_asked_for(request, principal),
    )


def _figures(line: Line) -> list[Markup]:
    return [blocks.chart(finding.figure()) for finding in line.findings if finding.groups]


def _asked_for(request: Request, principal: Principal) -> dict[str, Any]:
    """What people asked to be forgotten: what waits for whoever runs the service, and what is being done."""
    if not principal.is_admin:
        return {"waiting": [], "requests": [], "pending": False, "requests_path": "", "mending": None}
    store = service_of(request).store.requests
    waiting: dict[str, list[str]] = {}
    for one in store.all(status="waiting", kind="forget"):
        waiting.setdefault(str(one.parameters.get("attribute", "")), []).append(one.id)
    doing = [one for status in ("running", "queued") for one in store.all(status=status, kind="forget")]
    in_service = {slot: path.name for slot, path in served(request).items()}
    shown = [*doing[:10], *store.all(kind="remedy", limit=5)]
    requests = [asked(store.get(one.id) or one, in_service=in_service) for one in shown]
    return {
        "waiting": [(attribute, len(ids), ids[-1]) for attribute, ids in sorted(waiting.items())],
        "requests": requests,
        "pending": any(not one.ended for one in requests),
        "requests_path": "/audit/requests",
        "mending": {(one.run, one.remedy, one.attribute) for one in requests if one.remedy and not one.ended},
    }


@router.get("/audit/requests")
def requests_part(request: Request, principal: Staff) -> Response:
    """What is being forgotten, as it is now."""
    if not wants_part(request):
        return back_to("/audit", "/audit")
    token = service_of(request).sessions.token(page_session(request)[0])
    return part("me_requests.html", csrf=token, **_asked_for(request, principal))


@router.post("/audit/forget")
def forget(
    request: Request, principal: Runner, session: CheckedSession, identifier: Annotated[str, Form(max_length=100)]
) -> Response:
    """Let a request to forget go on, which changes the models for everybody."""
    with _refusals():
        rights.approve(service_of(request), principal, identifier)
    return back_to("/audit#asked", "/audit")


@router.get("/audit/remedy")
def confirm(request: Request, principal: Runner, run: Word, remedy: Remedy, attribute: Word) -> Response:
    """What a remedy does, before it is begun."""
    line = _line(request, run, remedy, attribute)
    found, mended = line.findings[0], service_of(request).shelf[run].run
    return show(
        request,
        "audit_remedy.html",
        "Try a remedy",
        principal=principal,
        slot=run,
        run_name=served(request)[run].name,
        remedy=remedy,
        attribute=attribute,
        says=line.says,
        right=round(100 * found.value),
        lots=round(100 * (found.floor or 0)),
        n_people=len(mended.user_ids),
        took=mended.config["training"].get("seconds"),
        steps=UnlearningConfig().steps,
    )


@router.post("/audit/remedy")
def mend(
    request: Request,
    principal: Runner,
    session: CheckedSession,
    run: Sent,
    remedy: Annotated[Remedy, Form()],
    attribute: Sent,
) -> Response:
    """Begin a remedy, which makes a new run and leaves the old one in service."""
    _line(request, run, remedy, attribute)
    rights.ask_remedy(service_of(request), principal, run, remedy, attribute)
    return back_to(link("/audit", run=run) + "#asked", "/audit")


@router.post("/audit/serve")
def serve(
    request: Request,
    principal: Runner,
    session: CheckedSession,
    identifier: Annotated[str, Form(max_length=100)],
    back: Annotated[bool, Form()] = False,
) -> Response:
    """Put the run that a remedy made into service, or the old one back."""
    with _refusals():
        slot = rights.put_into_service(service_of(request), principal, identifier, back=back)
    request.app.state.metrics.swaps.labels(slot).inc()
    return back_to(link("/audit", run=slot) + "#asked", "/audit")


def _curable(request: Request, run: str | None) -> set[str]:
    """The remedies that a run allows: stored vectors to be edited, or a training that can be made again."""
    if run is None:
        return set()
    found = service_of(request).shelf[run].run
    return {*(["unlearn"] if found.model.user_tables() else []), *(["in-ucds"] if rights.trains_again(found) else [])}


def _line(request: Request, run: str, remedy: Remedy, attribute: str) -> Line:
    """The finding that a remedy is for.

    Raises:
        HTTPException: 404 where there is none.
    """
    path = served(request).get(run)
    if path is not None and remedy in _curable(request, run):
        for line in [line for check in checks_of(reading(run, path)) for line in check.lines]:
            if line.cure is not None and (line.cure.remedy, line.cure.attribute) == (remedy, attribute):
                return line
    raise HTTPException(404, "There is no finding that this would mend")


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except QueryError as error:
        raise HTTPException(422, str(error)) from error
