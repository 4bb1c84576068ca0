"""Plan: what small change would help most?"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData

from rectitude.core.errors import QueryError, RectitudeError
from rectitude.reporting import page as blocks
from rectitude.runs.folder import CONFIG
from rectitude.service.access import CheckedSession, Principal, page_session
from rectitude.service.pages.desk import Anyone, part, service_of, show
from rectitude.service.pages.environment import wants_part, words_of
from rectitude.service.pages.kept import Kept

if TYPE_CHECKING:
    from rectitude.decisions.plans.prescriber import Prescriber
    from rectitude.decisions.plans.schema import Feature

router = APIRouter(include_in_schema=False)

_HEADING = "What small change would help most?"
_KEEP, _ANSWER = "keep:", "a:"
_CHANGES = (1, 2, 3)
_USUAL_CHANGES = 2
_solving = threading.Lock()


@dataclass(frozen=True)
class Question:
    """A question of the survey as a form asks it.

    Attributes:
        name: Column.
        label: In words.
        unit: Of numbers.
        levels: Answers to choose from; empty where a number is asked for.
        mutable: May a plan change it?
        given: What was answered.
        kept: Is it not to be changed?
        error: What is wrong with the answer.
    """

    name: str
    label: str
    unit: str
    levels: tuple[str, ...]
    mutable: bool
    given: str = ""
    kept: bool = False
    error: str = ""


def _read(path: Path) -> Prescriber:
    from rectitude.decisions.plans.prescriber import Prescriber

    return Prescriber.load(path)


prescriber = Kept(_read, CONFIG)
"""The run of plans in a folder."""


def questions(found: Prescriber, form: Mapping[str, Any], errors: Mapping[str, str]) -> list[Question]:
    """The questions with what was answered, those that can change first."""
    made = []
    for name, feature in found.schema.used().items():
        label = feature.label or words_of(name)
        made.append(
            Question(
                name, label[:1].upper() + label[1:], feature.unit, _levels(feature), feature.mutable,
                str(form.get(_ANSWER + name, "")), _KEEP + name in form, errors.get(name, ""),
            )
        )  # fmt: skip
    return sorted(made, key=lambda question: not question.mutable)


def _levels(feature: Feature) -> tuple[str, ...]:
    if feature.kind in ("integer", "continuous"):
        return ()
    return tuple(level if isinstance(level, str) else f"{level:g}" for level in feature.levels)


def read_answers(found: Prescriber, form: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Answers by question, numbers as numbers, and what is wrong with which."""
    answers: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for name, feature in found.schema.used().items():
        text = str(form.get(_ANSWER + name, "")).strip()
        if not text:
            continue
        if feature.kind in ("integer", "continuous"):
            try:
                answers[name] = float(text.replace(",", "."))
            except ValueError:
                errors[name] = "Write a number, such as 2 or 2.5"
        elif text in _levels(feature):
            own = feature.levels[_levels(feature).index(text)]
            answers[name] = own
        else:
            errors[name] = "Choose one of the answers"
    return answers, errors


@dataclass(frozen=True)
class Item:
    """A change as the page tells it."""

    sentence: str
    uncertain: bool
    detail: str


def told(found: Prescriber, answers: Mapping[str, Any], locked: list[str], changes: int) -> dict[str, Any]:
    """The plan for somebody, ready to be shown.

    Raises:
        RectitudeError: The answers do not fit, or no plan can be made.
    """
    from rectitude.decisions.plans.report import certainty, frontier_chart, weighing
    from rectitude.decisions.plans.sentences import chance

    person = found.read_person({"answers": dict(answers), "locked": locked}, where="your answers")
    with _solving:
        plan = found.planner(person, {"max_changes": changes}).plan().to_dict()
    good = found.schema.target.words
    others = [
        (" ".join(other["plan"]), chance(other["p1"]), chance_of(other.get("p1_judge")), other["effort"])
        for other in plan["alternatives"]
    ]
    return {
        "verdict": plan["verdict"],
        "before": chance(plan["p0"]),
        "after": chance(plan["p1"]) if plan["plan"] else "",
        "good": good,
        "items": [Item(item["sentence"], item["uncertain"], _detail(item["chosen"])) for item in plan["plan"]],
        "solved": _STATUS[plan["status"]],
        "reasons": plan["reasons"],
        "notes": plan["notes"],
        "sure": certainty(plan, good),
        "frontier": blocks.chart(frontier_chart(plan, good)) if len(plan["frontier"]) > 1 else "",
        "others": blocks.table("With other habits", ("Instead", "Chance after", "By the judge", "Effort"), others)
        if others
        else "",
        "weighing": weighing(found, person),
        "caution": plan["caution"],
    }


def chance_of(value: float | None) -> str | None:
    """``62 %``, None where it is not known."""
    from rectitude.decisions.plans.sentences import chance

    return None if value is None else chance(value)


_STATUS = {
    "optimal": "Proven to be the best within the limits",
    "feasible": "The best that was found in the time allowed",
    "infeasible": "Nothing is allowed",
}


def _detail(chosen: float | None) -> str:
    if chosen is None:
        return ""
    return f"Advised again in {100 * chosen:.0f} of 100 runs with the people and the weights shaken a little"


@router.get("/plan")
async def ask(request: Request, principal: Anyone, row: str = "") -> Response:
    """The questions; for those who answer for the model, with the answers of somebody of the survey on request."""
    return await _answer(request, principal, None, row if principal.role != "person" else "")


@router.post("/plan")
async def plan(request: Request, principal: Anyone, session: CheckedSession) -> Response:
    """The plan for these answers; nothing of them is kept."""
    return await _answer(request, principal, await request.form(), "")


async def _answer(request: Request, principal: Principal, form: FormData | None, row: str) -> Response:
    path = service_of(request).config.plan
    values: dict[str, Any] = {"questions": [], "result": None, "error": None, "row": row, "changes": _USUAL_CHANGES,
                              "choices": _CHANGES, "configured": path is not None, "example": "", "good": "",
                              "caution": "", "staff": principal.role != "person"}  # fmt: skip
    status = 200
    if path is not None:
        try:
            found = await run_in_threadpool(prescriber, path)
            given: Mapping[str, Any] = form if form is not None else _of_row(found, row)
            values |= {"good": found.schema.target.words, "example": (found.ids("test") or [""])[0]}
            answers, errors = read_answers(found, given)
            values["questions"] = questions(found, given, errors)
            if form is not None:
                values["changes"] = _changes(form)
                locked = [name for name in found.schema.mutable() if _KEEP + name in form]
                if errors:
                    status = 422
                elif not answers:
                    status, values["error"] = 422, QueryError("No question was answered", fix="Answer one at least")
                else:
                    values["result"] = await run_in_threadpool(told, found, answers, locked, values["changes"])
        except RectitudeError as error:
            status, values["error"] = (422 if values["questions"] or row else 200), error
    if form is not None and wants_part(request):
        return part("plan_form.html", csrf=service_of(request).sessions.token(page_session(request)[0]), **values)
    return show(request, "plan.html", _HEADING, principal=principal, status=status, **values)


def _changes(form: Mapping[str, Any]) -> int:
    text = str(form.get("changes", _USUAL_CHANGES))
    return int(text) if text in map(str, _CHANGES) else _USUAL_CHANGES


def _of_row(found: Prescriber, row: str) -> dict[str, str]:
    if not row:
        return {}
    answers = found.person(row).answers
    return {
        _ANSWER + name: value if isinstance(value, str) else f"{value:g}"
        for name, value in answers.items()
        if value is not None
    }
