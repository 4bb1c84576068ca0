"""Compare: which run is better, and is that certain?"""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from rectitude.core.errors import RectitudeError
from rectitude.reporting import page as blocks
from rectitude.service.pages.comparing import Beside, beside, choices
from rectitude.service.pages.desk import Staff, readings, show
from rectitude.service.pages.readings import FOLDS

router = APIRouter(include_in_schema=False)


@router.get("/compare")
def compare(
    request: Request,
    principal: Staff,
    run: Annotated[list[str] | None, Query()] = None,
    fold: Literal["test", "valid"] | None = None,
) -> Response:
    """The runs side by side."""
    found = readings(request)
    judged = next((name for name in FOLDS if sum(name in reading.metrics for reading in found) > 1), "test")
    people = fold or judged
    offered = choices(found, run or [], people)
    chosen = [choice.reading for choice in offered if choice.chosen]
    told: Beside | None = None
    error: RectitudeError | None = None
    if len(chosen) > 1:
        try:
            told = beside(chosen, people)
        except RectitudeError as problem:
            error = problem
    return show(
        request,
        "compare.html",
        "Which run is better, and is that certain?",
        principal=principal,
        offered=offered,
        possible=sum(not choice.why_not for choice in offered),
        fold=people,
        folds=FOLDS,
        told=told,
        figures=[blocks.chart(figure) for figure in told.figures] if told else [],
        gaps=blocks.chart(told.gaps) if told else "",
        error=error,
    )
