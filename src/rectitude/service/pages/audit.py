"""Audit: whom does it serve worse, what does it know?"""

from __future__ import annotations

import shlex
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response
from markupsafe import Markup
from starlette.exceptions import HTTPException

from rectitude.audit.checks.registry import CHECKS
from rectitude.core.errors import QueryError
from rectitude.reporting import page as blocks
from rectitude.service import rights
from rectitude.service.access import CheckedSession, Principal
from rectitude.service.pages.auditing import QUESTIONS, Line, checks_of
from rectitude.service.pages.desk import Runner, Staff, back_to, part, readings, run_in_use, service_of, show
from rectitude.service.pages.environment import wants_part
from rectitude.service.pages.holding import asked

router = APIRouter(include_in_schema=False)


@router.get("/audit")
def audit(request: Request, principal: Staff, run: str | None = None) -> Response:
    """The findings of a run."""
    found = readings(request)
    by_slot = {reading.slot: reading for reading in found}
    name = run_in_use(request, run, list(by_slot))
    reading = by_slot[name] if name is not None else None
    checks = checks_of(reading) if reading is not None else []
    return show(
        request,
        "audit.html",
        "Whom does it serve worse, what does it know?",
        principal=principal,
        run=name,
        runs=found,
        reading=reading,
        checks=checks,
        n_attention=sum(check.attention for check in checks),
        figures=_figures,
        command=shlex.join(["rectitude", "audit", str(reading.path)]) if reading is not None else "",
        questions=[QUESTIONS[check] for check in CHECKS],
        **_asked_for(request, principal),
    )


def _figures(line: Line) -> list[Markup]:
    return [blocks.chart(finding.figure()) for finding in line.findings if finding.groups]


def _asked_for(request: Request, principal: Principal) -> dict[str, Any]:
    """What people asked to be forgotten: what waits for whoever runs the service, and what is being done."""
    if not principal.is_admin:
        return {"waiting": [], "requests": [], "pending": False, "requests_path": ""}
    store = service_of(request).store.requests
    waiting: dict[str, list[str]] = {}
    for one in store.all(status="waiting", kind="forget"):
        waiting.setdefault(str(one.parameters.get("attribute", "")), []).append(one.id)
    doing = [one for status in ("running", "queued") for one in store.all(status=status, kind="forget")]
    return {
        "waiting": [(attribute, len(ids), ids[-1]) for attribute, ids in sorted(waiting.items())],
        "requests": [asked(store.get(one.id) or one) for one in doing[:10]],
        "pending": bool(doing),
        "requests_path": "/audit/requests",
    }


@router.get("/audit/requests")
def requests_part(request: Request, principal: Staff) -> Response:
    """What is being forgotten, as it is now."""
    if not wants_part(request):
        return back_to("/audit", "/audit")
    return part("me_requests.html", **_asked_for(request, principal))


@router.post("/audit/forget")
def forget(
    request: Request, principal: Runner, session: CheckedSession, identifier: Annotated[str, Form(max_length=100)]
) -> Response:
    """Let a request to forget go on, which changes the models for everybody."""
    try:
        rights.approve(service_of(request), principal, identifier)
    except QueryError as error:
        raise HTTPException(422, str(error)) from error
    return back_to("/audit", "/audit")
