"""Route: which model should answer, and why that one?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from rectitude.core.errors import RectitudeError
from rectitude.service.pages.desk import Staff, service_of, show
from rectitude.service.pages.environment import link
from rectitude.service.pages.kept import Kept

if TYPE_CHECKING:
    from rectitude.decisions.routing.clauses import Clause
    from rectitude.decisions.routing.router import Decision, Router

router = APIRouter(include_in_schema=False)

_HEADING = "Which model should answer, and why that one?"
_EXAMPLES = (
    "cheap, must see images, not OpenAI",
    "at least 200k context, good at coding, under $3",
    "open weights if possible, calls tools, released this year",
)
NEEDS = ("vision", "pdf", "audio_in", "tool_call", "structured_output", "reasoning")
_SHOWN = 8
_NEAR = 12


@dataclass(frozen=True)
class Piece:
    """A stretch of what was written.

    Attributes:
        text: The words.
        wishes: Ids of the wishes read from it.
        kind: ``read``, ``not`` understood, ``refused`` because it addresses the rules, or empty.
    """

    text: str
    wishes: tuple[str, ...] = ()
    kind: str = ""


def pieces(
    text: str, wishes: Sequence[tuple[str, tuple[int, int]]], unread: Sequence[tuple[int, int]],
    refused: Sequence[tuple[int, int]] = (),
) -> list[Piece]:  # fmt: skip
    """What was written, cut where something was read from it or was not."""
    spans = [(span, name, "read") for name, span in wishes]
    spans += [(span, "", "not") for span in unread] + [(span, "", "refused") for span in refused]
    cuts = sorted({0, len(text), *(end for span, _, _ in spans for end in span if 0 <= end <= len(text))})
    made = []
    for start, end in pairwise(cuts):
        inside = [(name, kind) for (low, high), name, kind in spans if low <= start and end <= high]
        names = tuple(name for name, kind in inside if kind == "read")
        kind = "read" if names else next((kind for _, kind in inside), "")
        made.append(Piece(text[start:end], names, kind))
    return made


def _read(path: Path) -> Router:
    from rectitude.decisions.routing.router import Router

    return Router(path)


routing = Kept(_read)
"""The router of a catalogue."""


@router.get("/route")
def route(
    request: Request,
    principal: Staff,
    say: Annotated[str, Query(max_length=4000)] = "",
    tokens_in: Annotated[str, Query(max_length=12)] = "",
    tokens_out: Annotated[str, Query(max_length=12)] = "",
    need: Annotated[list[str] | None, Query(max_length=20)] = None,
    why_not: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """What was understood of a wish, the ranking, and the reasons."""
    path = service_of(request).config.models
    needs = [name for name in NEEDS if name in (need or ())]
    values: dict[str, Any] = {
        "configured": path is not None, "say": say, "tokens_in": tokens_in, "tokens_out": tokens_out, "needs": needs,
        "why_not": why_not, "all_needs": [], "decision": None, "error": None, "n_models": 0, "examples": _EXAMPLES,
        "wrong": {},
    }  # fmt: skip
    if path is not None:
        try:
            found = routing(path)
            values |= {"n_models": len(found.catalogue), "all_needs": _needs()}
            counts, values["wrong"] = _counts(tokens_in, tokens_out)
            if (say.strip() or needs) and not values["wrong"]:
                values["decision"] = _decided(found, say, counts, needs, why_not.strip())
        except RectitudeError as error:
            values["error"] = error

    def link_to(**changes: Any) -> str:
        said = {"say": say, "tokens_in": tokens_in, "tokens_out": tokens_out, "need": needs, **changes}
        return link("/route", *said.items())

    return show(request, "route.html", _HEADING, principal=principal, link_to=link_to, **values)


def _needs() -> list[tuple[str, str]]:
    from rectitude.decisions.routing.attributes import ATTRIBUTES

    return [(name, ATTRIBUTES[name].title) for name in NEEDS]


def _counts(tokens_in: str, tokens_out: str) -> tuple[dict[str, int], dict[str, str]]:
    counts, wrong = {}, {}
    for name, text in (("tokens_in", tokens_in), ("tokens_out", tokens_out)):
        plain = text.strip().replace(",", "").replace(" ", "")
        if not plain:
            continue
        if plain.isascii() and plain.isdigit():
            counts[name] = int(plain)
        else:
            wrong[name] = "Write a whole number"
    return counts, wrong


@dataclass(frozen=True)
class Wish:
    """A wish as it was understood."""

    id: str
    says: str
    hard: bool
    weight: float
    origin: str


@dataclass(frozen=True)
class Line:
    """A model of the ranking.

    Attributes:
        model: Its name.
        value: Weight of the wishes it meets.
        verdicts: Of each wish, in their order: ``yes``, ``no`` or ``unknown``.
        breaks: Wishes it must meet and does not.
        chosen: Is it the one?
        near: Is it nearly as good?
    """

    model: str
    value: float
    verdicts: Sequence[str]
    breaks: Sequence[str]
    chosen: bool
    near: bool


_ORIGIN = {"feedback": "you", "request": "the request", "policy": "the standing policy", "default": "usual"}


def _decided(found: Router, say: str, counts: dict[str, int], needs: list[str], why_not: str) -> dict[str, Any]:
    from rectitude.decisions.routing.catalogue import Request as Needs

    request = Needs(**counts, needs=frozenset(needs))
    made = found.route(say, request=request, why_not=why_not or None)
    problem, parsed, reasons = made.problem, made.parsed, made.explanation
    wishes = [
        Wish(c.id, str(c), c.kind == "hard", problem.points(weight), _ORIGIN.get(c.origin, c.origin))
        for c, weight in zip(problem.clauses, problem.weights, strict=True)
        if _of_interest(c)
    ]
    spans = [(c.id, c.span) for c in problem.clauses if c.origin == "feedback" and c.span is not None]
    unread, refused = (list(parsed.unparsed), list(parsed.suspicious)) if parsed is not None else ([], [])
    return {
        "title": _title(made),
        "status": made.status,
        "feasible": reasons["feasible_models"],
        "most": problem.points(problem.total),
        "pieces": pieces(made.feedback, spans, unread, refused),
        "unread": [made.feedback[start:end] for start, end in unread],
        "refused": [made.feedback[start:end] for start, end in refused],
        "wishes": wishes,
        "lines": _lines(made, [wish.id for wish in wishes]),
        "near": list(made.near_feasible[:_NEAR]),
        "n_near": len(made.near_feasible),
        "prices": [entry["says"] for entry in reasons["price_of_hard"]],
        "ways": [entry["says"] for entry in reasons.get("correction_sets", ())],
        "questions": reasons["questions"],
        "notes": reasons["notes"],
        "why_not": reasons.get("why_not"),
        "catalogue": problem.catalogue,
    }


def _of_interest(clause: Clause) -> bool:
    """Leave out what always holds and nobody said."""
    return clause.origin != "default" and not (clause.origin == "request" and clause.attrs == {"deprecated"})


def _title(made: Decision) -> str:
    return {
        "feasible": f"{made.chosen}",
        "infeasible": "No model meets everything that must be",
        "contradictory": "These wishes contradict each other",
    }[made.status]


def _lines(made: Decision, wishes: Sequence[str]) -> list[Line]:
    """The best models, each at its best provider only."""
    lines: dict[str, Line] = {}
    for ranked in made.ranking:
        bare = ranked.model.casefold().rpartition("/")[2].rpartition(":")[2]
        if bare not in lines and len(lines) < _SHOWN:
            verdicts = [ranked.verdicts[wish] for wish in wishes]
            lines[bare] = Line(
                ranked.model, ranked.value, verdicts, ranked.violates, ranked.model == made.chosen, ranked.near_feasible
            )
    return list(lines.values())
