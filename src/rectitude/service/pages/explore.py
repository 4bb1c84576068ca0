"""Explore: what would it show this person, and why?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import RedirectResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from rectitude.core.errors import QueryError
from rectitude.service.access import Principal
from rectitude.service.pages.desk import Staff, part, readings, run_in_use, service_of, show
from rectitude.service.pages.environment import link
from rectitude.service.pages.holding import objected_to
from rectitude.service.pages.items import ItemView, Place, item_view, places, why_view
from rectitude.service.serving.asking import Ask
from rectitude.service.serving.catalogue import fold
from rectitude.service.serving.explaining import explain
from rectitude.service.serving.served import ServedRun
from rectitude.service.serving.shelf import Shelf

router = APIRouter(include_in_schema=False)

MOST_ADDED = 100
"""Titles in an address."""
LENGTHS = (10, 20, 50)
SHOWN_OF_HISTORY = 8
_HEADING = "What would it show this person, and why?"
_PEOPLE, _TITLES = 5, 8


@dataclass(frozen=True)
class View:
    """What the address says.

    Attributes:
        run: Slot on the left.
        beside: Slot on the right, empty for none.
        person: Whose lists, empty where only titles are given.
        added: Items put to the history, oldest first.
        without: Items left out of it.
        k: Length of the lists.
    """

    run: str
    beside: str = ""
    person: str = ""
    added: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    k: int = LENGTHS[0]

    @property
    def empty(self) -> bool:
        """Is nobody asked about?"""
        return not self.person and not self.added

    @property
    def altered(self) -> bool:
        """Is a person's history another than it is?"""
        return bool(self.person) and bool(self.added or self.without)

    def pairs(self, **changes: Any) -> list[tuple[str, Any]]:
        """The query of an address that says so, with some of it changed."""
        said = {"run": self.run, "beside": self.beside, "person": self.person, "add": self.added,
                "without": self.without, "k": self.k if self.k != LENGTHS[0] else "", **changes}  # fmt: skip
        return [(key, value) for key, value in said.items() if value not in ("", (), None)]

    def link(self, **changes: Any) -> str:
        """Such an address."""
        return link("/explore", *self.pairs(**changes))

    def adding(self, item: str) -> str:
        """The address with a title more."""
        added = tuple(one for one in self.added if one != item)
        return self.link(add=(*added, item), without=tuple(one for one in self.without if one != item))

    def leaving_out(self, item: str) -> str:
        """The address with a title less."""
        if item in self.added:
            return self.link(add=tuple(one for one in self.added if one != item))
        return self.link(without=tuple(dict.fromkeys((*self.without, item))))


Slots = Annotated[str, Query(max_length=256)]
Ids = Annotated[list[str] | None, Query(max_length=MOST_ADDED)]


def _view(
    request: Request,
    run: str | None = None,
    beside: Slots = "",
    person: Slots = "",
    add: Ids = None,
    without: Ids = None,
    k: int = LENGTHS[0],
) -> View | None:
    slots = service_of(request).shelf.names()
    chosen = run_in_use(request, run, slots)
    if chosen is None:
        return None
    if beside and beside not in slots:
        raise HTTPException(404, "No run of this name is served")
    length = k if k in LENGTHS else LENGTHS[0]
    return View(
        chosen, beside, person.strip(), tuple(dict.fromkeys(add or ())), tuple(dict.fromkeys(without or ())), length
    )


Addressed = Annotated[View | None, Depends(_view)]


@router.get("/explore")
async def explore(
    request: Request,
    principal: Staff,
    view: Addressed,
    q: Slots = "",
    why: Slots = "",
) -> Response:
    """Somebody's lists, or the way to them."""
    shelf = service_of(request).shelf
    found = await run_in_threadpool(readings, request)
    if view is None:
        return show(request, "explore.html", _HEADING, principal=principal, view=None)
    served = shelf[view.run]
    suggested = await run_in_threadpool(suggestions, served, view, q) if q.strip() else None
    if suggested is not None and suggested.exact:
        return RedirectResponse(suggested.exact, 303)
    values: dict[str, Any] = {"columns": [], "history": [], "n_history": 0, "why": None, "error": None,
                              "left_out": [], "objected": []}  # fmt: skip
    if not view.empty:
        try:
            values |= await _lists(shelf, view, why)
        except QueryError as error:
            values["error"] = error
    return show(
        request, "explore.html", _HEADING, principal=principal, run=view.run, runs=found, view=view, q=q,
        may_object=_may_object(principal, view),
        suggested=suggested, begin=_begin(served, view) if view.empty else None, lengths=LENGTHS,
        shown=SHOWN_OF_HISTORY, why_link=lambda of, item: link("/explore/why", *view.pairs(k=""), of=of, item=item),
        others=[(one.slot, one.title) for one in found if one.slot != view.run], **values,
    )  # fmt: skip


@dataclass(frozen=True)
class Column:
    """One run's list.

    Attributes:
        slot: The run.
        title: Its model.
        places: The list.
        answered_by: Who made it.
        fallback: Did something else than the model?
        seconds: It took.
        notes: What of the question could not be used.
    """

    slot: str
    title: str
    places: Sequence[Place]
    answered_by: str
    fallback: bool
    seconds: float
    notes: Sequence[str] = field(default_factory=tuple)


async def _lists(shelf: Shelf, view: View, why: str) -> dict[str, Any]:
    asked = await shelf.compute(lambda: _ask(shelf, view))
    slots = [view.run, *([view.beside] if view.beside else [])]
    answers = await asyncio.gather(*(_timed(shelf, slot, asked.ask) for slot in slots))
    columns = []
    for at, (slot, (answer, taken)) in enumerate(zip(slots, answers, strict=True)):
        served = shelf[slot]
        against = answers[0][0].items if at else None
        columns.append(
            Column(
                slot, served.run.model.title, places(served.catalogue, slot, answer.items, against),
                answer.answered_by, answer.answered_by.startswith("popularity"), taken, answer.notes,
            )
        )  # fmt: skip
    catalogue = shelf[view.run].catalogue
    told = None
    slot, _, item = why.partition(":")
    if item and slot in slots:
        told = (slot, item, why_view(await explain(shelf, slot, asked.ask, item)))
    return {
        "columns": columns,
        "history": [item_view(catalogue, view.run, one) for one in reversed(asked.history)],
        "n_history": len(asked.history),
        "left_out": [item_view(catalogue, view.run, one) for one in view.without],
        "objected": objected_to(shelf[view.run], view.run, asked.objected),
        "why": told,
    }


@dataclass(frozen=True)
class Asked:
    """The question, the history it stands on, oldest first, and what the person is never to be shown."""

    ask: Ask
    history: Sequence[str]
    objected: Sequence[str] = ()


def _ask(shelf: Shelf, view: View) -> Asked:
    """A person as they are is asked about by name; changed, or made of titles, by history."""
    served, history = shelf[view.run], []
    objected: tuple[str, ...] = ()
    if view.person:
        ask = Ask(user=view.person, k=view.k)
        state = shelf.state(ask)
        indices = served.person(ask, state).history
        history = [served.run.item_ids[index] for index in indices.tolist()]
        objected = tuple(state.objected) if state is not None else ()
        if not view.altered:
            return Asked(ask, history, objected)
    kept = [item for item in history if item not in view.without and item not in view.added]
    changed = (*kept, *(item for item in view.added if item not in view.without))
    return Asked(Ask(history=changed, k=view.k, exclude=(*view.without, *objected)), changed, objected)


def _may_object(principal: Principal, view: View) -> bool:
    """May this reader object for the person who is shown?"""
    return principal.is_admin and bool(view.person) and not view.altered


async def _timed(shelf: Shelf, slot: str, ask: Ask) -> tuple[Any, float]:
    began = time.perf_counter()
    answer = await shelf.ask(slot, ask)
    return answer, time.perf_counter() - began


@router.get("/explore/why")
async def why(
    request: Request,
    principal: Staff,
    view: Addressed,
    item: Slots,
    of: Slots,
) -> Response:
    """Why an item is in a list, as a part that opens in place."""
    shelf = service_of(request).shelf
    if view is None or view.empty or of not in shelf:
        raise HTTPException(404, "There is nothing to explain")
    asked = await shelf.compute(lambda: _ask(shelf, view))
    return part("why.html", why=why_view(await explain(shelf, of, asked.ask, item)))


# ---- finding people and titles ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Suggestions:
    """What was found for what was typed.

    Attributes:
        people: Id and address of people.
        titles: Items, with the address that adds them.
        exact: Where to go at once: the person of exactly this id; empty where there is none.
    """

    people: Sequence[tuple[str, str]]
    titles: Sequence[tuple[ItemView, str]]
    exact: str = ""


def suggestions(served: ServedRun, view: View, text: str) -> Suggestions:
    """People whose id begins with the text, titles that hold it."""
    wanted = text.strip()
    ids = served.run.user_ids
    begins = ids.external.filter(ids.external.str.starts_with(wanted)).head(_PEOPLE).to_list() if wanted else []
    people = [wanted, *(one for one in begins if one != wanted)] if ids.find(wanted) is not None else begins
    found = served.catalogue.search(wanted, _TITLES)
    titles = [(item_view(served.catalogue, view.run, item.id), view.adding(item.id)) for item in found if item.in_run]
    exact = ""
    if ids.find(wanted) is not None and not titles:
        exact = _of_person(view, wanted)
    elif not people and len(titles) == 1 and fold(titles[0][0].title) == fold(wanted):
        exact = titles[0][1]
    return Suggestions([(one, _of_person(view, one)) for one in people[:_PEOPLE]], titles, exact)


def _of_person(view: View, person: str) -> str:
    return view.link(person=person, add=(), without=())


@router.get("/explore/suggest")
def suggest(
    request: Request,
    principal: Staff,
    view: Addressed,
    q: Slots = "",
) -> Response:
    """The options under the search field."""
    if view is None:
        raise HTTPException(404, "No run is served")
    served = service_of(request).shelf[view.run]
    found = suggestions(served, view, q) if q.strip() else Suggestions((), ())
    return part("suggest.html", suggested=found, q=q.strip())


def _begin(served: ServedRun, view: View) -> dict[str, Any]:
    """What to begin with: some people, and titles that many know."""
    popularity = served.run.model.popularity.cpu().numpy()
    best = np.argsort(-popularity, kind="stable")[:60].tolist()
    known = [item_view(served.catalogue, view.run, served.run.item_ids[index]) for index in best]
    pictured = [item for item in known if item.picture] or known
    n_people = len(served.run.user_ids)
    chosen = sorted({int(place) for place in np.linspace(0, max(0, n_people - 1), 6)[1:-1]}) if n_people else []
    people = [served.run.user_ids[index] for index in chosen]
    return {
        "people": [(person, _of_person(view, person)) for person in people],
        "titles": [(item, view.adding(item.id)) for item in pictured[:8]],
    }
