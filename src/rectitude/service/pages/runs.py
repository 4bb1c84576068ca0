"""Runs: where did this model come from?"""

from __future__ import annotations

import shlex

from fastapi import APIRouter, Request
from fastapi.responses import Response
from markupsafe import Markup
from starlette.exceptions import HTTPException

from rectitude.audit.findings import verdict
from rectitude.audit.remedies import remedied
from rectitude.reporting import page as blocks
from rectitude.reporting.card import flat, plain
from rectitude.runs.folder import CARD, REPORT
from rectitude.service.pages.desk import Staff, readings, run_in_use, service_of, show
from rectitude.service.pages.readings import FOLDS, RunReading, lineage

router = APIRouter(include_in_schema=False)

_FIRST = ("NDCG", "Recall", "MRR", "Coverage", "Long-tail share")
_REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox allow-same-origin; frame-ancestors 'none'"
"""A report is one file with its style inside; nothing in it may run."""


@router.get("/runs")
def runs(request: Request, principal: Staff, run: str | None = None) -> Response:
    """The tree of runs, and the card of one of them."""
    return _runs(request, principal, run)


@router.get("/runs/{slot}")
def one_run(request: Request, principal: Staff, slot: str) -> Response:
    """The tree with the card of this run."""
    return _runs(request, principal, slot)


def _runs(request: Request, principal: Staff, slot: str | None) -> Response:
    found = readings(request)
    by_slot = {reading.slot: reading for reading in found}
    name = run_in_use(request, slot, list(by_slot))
    heading = "Where did this model come from?"
    if name is None:
        return show(request, "runs.html", heading, principal=principal, nodes=[], chosen=None)
    chosen = by_slot[name]
    since = service_of(request).store.served().get(name)
    return show(
        request,
        "runs.html",
        heading,
        principal=principal,
        run=None,
        nodes=lineage(found),
        chosen=chosen,
        since=since.since if since is not None else None,
        verdict=_first_sentence(verdict(chosen.facts)) if chosen.fold else "",
        measures=_measures(chosen),
        judge=shlex.join(["rectitude", "evaluate", str(chosen.path)]),
        remedied=remedied(chosen.remedy) if chosen.remedy else [],
        settings=blocks.table(
            "Settings",
            ("Setting", "Value", "Set by"),
            [(key, plain(entry["value"]), str(entry["origin"])) for key, entry in chosen.config["settings"].items()],
        ),
        origin=blocks.facts(
            {"terms": str(chosen.config["data"]["source"].get("terms") or "not stated"),
             **flat(chosen.config.get("versions", {}))}
        ),
        has_report=(chosen.path / REPORT).is_file(),
        has_card=(chosen.path / CARD).is_file(),
    )  # fmt: skip


def _first_sentence(text: str) -> str:
    return text.partition(". ")[0] + "."


def _measures(chosen: RunReading) -> Markup:
    rows = chosen.measures()
    if not rows:
        return Markup("")
    folds = list(chosen.metrics)
    heads = ("Lists of ten", *(FOLDS[fold].capitalize() for fold in folds))
    table = [
        (title, (blocks.noted(words, title), *(values.get(fold) for fold in folds))) for words, title, values in rows
    ]
    first = [row for title, row in table if title.partition("@")[0] in _FIRST]
    others = [row for title, row in table if title.partition("@")[0] not in _FIRST]
    shown = blocks.table("Figures with 95 % intervals", heads, first, by_row=True)
    return shown + blocks.folded("Other measures", blocks.table("Other measures", heads, others, by_row=True))


@router.get("/runs/{slot}/report")
def report(request: Request, principal: Staff, slot: str) -> Response:
    """The run's own report."""
    return _file(request, slot, REPORT, "text/html; charset=utf-8", {"Content-Security-Policy": _REPORT_POLICY})


@router.get("/runs/{slot}/card")
def card(request: Request, principal: Staff, slot: str) -> Response:
    """The run's model card, as it is in its folder."""
    name = f"{slot}.md".encode("ascii", "replace").decode().replace('"', "")
    head = {"Content-Disposition": f'attachment; filename="{name}"'}
    return _file(request, slot, CARD, "text/markdown; charset=utf-8", head)


def _file(request: Request, slot: str, name: str, media_type: str, headers: dict[str, str]) -> Response:
    path = {reading.slot: reading.path for reading in readings(request)}.get(slot)
    if path is None or not (path / name).is_file():
        raise HTTPException(404, "There is no such run")
    content = (path / name).read_bytes()
    head = {**headers, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
    return Response(content, media_type=media_type, headers=head)
