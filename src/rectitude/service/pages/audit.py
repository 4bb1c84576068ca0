"""Audit: whom does it serve worse, what does it know?"""

from __future__ import annotations

import shlex

from fastapi import APIRouter, Request
from fastapi.responses import Response
from markupsafe import Markup

from rectitude.audit.checks.registry import CHECKS
from rectitude.reporting import page as blocks
from rectitude.service.pages.auditing import QUESTIONS, Line, checks_of
from rectitude.service.pages.desk import Staff, readings, run_in_use, show

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
        remedy_path=None,
        command=shlex.join(["rectitude", "audit", str(reading.path)]) if reading is not None else "",
        questions=[QUESTIONS[check] for check in CHECKS],
        may_remedy=principal.is_admin,
    )


def _figures(line: Line) -> list[Markup]:
    return [blocks.chart(finding.figure()) for finding in line.findings if finding.groups]
