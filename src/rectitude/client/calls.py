"""What can be asked of the service: each call as data, before anything is sent."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

from rectitude.client.answers import (
    Assigned,
    EventPage,
    ExperimentList,
    Explained,
    Findings,
    Health,
    ItemPage,
    ItemTold,
    List,
    Put,
    RunPage,
    RunTold,
    SimilarList,
    SlotList,
    SlotRow,
    Taken,
    UserPage,
    UserTold,
)

T = TypeVar("T")

BATCH = 5000
"""Events of one request."""


@dataclass(frozen=True)
class Event:
    """Something a person did.

    Attributes:
        user: External id of the person.
        item: External id of the item.
        kind: ``view``, ``buy``, ``rating`` …
        value: Rating, amount, seconds …, if any.
        at: Seconds since 1970 in UTC, or ISO 8601; the time of arrival if None.
        id: The same event sent again is taken once by it; made here where it is not given.
    """

    user: str
    item: str
    kind: str = "view"
    value: float | None = None
    at: float | str | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request.

    Attributes:
        method: Of HTTP.
        path: With what is in it quoted.
        read: Makes the answer of the JSON that comes back.
        query: Parameters; None leaves one out.
        content: The body.
        media_type: Of the body.
        repeatable: Sending it twice is as good as once.
    """

    method: str
    path: str
    read: Callable[[Any], T]
    query: Mapping[str, Any] = field(default_factory=dict)
    content: bytes | None = None
    media_type: str = "application/json"
    repeatable: bool = True

    @property
    def params(self) -> dict[str, Any]:
        """The parameters that are given."""
        return {name: value for name, value in self.query.items() if value is not None}


def _body(**fields: Any) -> bytes:
    return json.dumps({name: value for name, value in fields.items() if value is not None}).encode()


def _in_path(text: str) -> str:
    return quote(text, safe="")


def _listed(values: Iterable[str] | None) -> list[str] | None:
    return None if values is None else list(values)


# ---- lists -----------------------------------------------------------------------------------------------------------


def recommend(
    user: str | None = None,
    *,
    history: Sequence[str] | None = None,
    features: Mapping[str, Any] | None = None,
    k: int = 10,
    exclude_seen: bool = True,
    exclude: Sequence[str] = (),
    only: Sequence[str] | None = None,
    where: Mapping[str, Any] | None = None,
    explain: bool = False,
    slot: str | None = None,
    experiment: str | None = None,
) -> Call[List]:
    """The best k items for a person, for anybody with a history, or for somebody of some features.

    Args:
        user: External id of a person; instead of ``history`` or ``features``.
        history: External item ids, oldest first.
        features: What is known of somebody, ``{"gender": "F"}``.
        k: Length of the list.
        exclude_seen: Leave out what is in the history.
        exclude: Items that are not to be listed.
        only: Items the list may be made of.
        where: Attribute to value, values or bounds: ``{"genres": "Comedy", "year": {"min": 1990}}``.
        explain: Tell why, as far as the model can.
        slot: Which of the served runs answers; main if None.
        experiment: Let this experiment choose the slot by the user.
    """
    content = _body(
        user=user,
        history=_listed(history),
        features=None if features is None else dict(features),
        k=k,
        exclude_seen=exclude_seen,
        exclude=list(exclude),
        only=_listed(only),
        where=dict(where or {}),
        explain=explain,
        slot=slot,
        experiment=experiment,
    )
    return Call("POST", "/v1/recommend", List.model_validate, content=content)


def explain(
    item: str, *, user: str | None = None, history: Sequence[str] | None = None, slot: str | None = None
) -> Call[Explained]:
    """Why an item stands where it does in somebody's list."""
    content = _body(item=item, user=user, history=_listed(history), slot=slot)
    return Call("POST", "/v1/explain", Explained.model_validate, content=content)


def similar(item: str, k: int = 10, *, slot: str | None = None) -> Call[SimilarList]:
    """Items like an item."""
    return Call("GET", f"/v1/items/{_in_path(item)}/similar", SimilarList.model_validate, {"k": k, "slot": slot})


# ---- what people did -------------------------------------------------------------------------------------------------


def send_batch(events: Sequence[Event]) -> Call[Taken]:
    """Take in events of one request; durable when this returns."""
    lines = "\n".join(json.dumps(asdict(event)) for event in events)
    media_type = "application/x-ndjson"
    return Call("POST", "/v1/events", Taken.model_validate, content=lines.encode(), media_type=media_type)


def events(user: str | None = None, *, limit: int = 100, cursor: str | None = None) -> Call[EventPage]:
    """A page of events in the order of arrival; ``next`` of it is the cursor of the following one."""
    return Call("GET", "/v1/events", EventPage.model_validate, {"user": user, "limit": limit, "cursor": cursor})


# ---- items and people ------------------------------------------------------------------------------------------------


def put_item(
    item: str, *, title: str | None = None, facts: Mapping[str, Any] | None = None, withdrawn: bool = False
) -> Call[Put]:
    """Insert an item, or replace what was told of it."""
    content = _body(title=title, facts=dict(facts or {}), withdrawn=withdrawn)
    return Call("PUT", f"/v1/items/{_in_path(item)}", Put.model_validate, content=content)


def put_items(items: Iterable[Mapping[str, Any]]) -> Call[Put]:
    """Insert items, or replace what was told of them: ``{"id", "title", "facts", "withdrawn"}`` each."""
    return Call("POST", "/v1/items", Put.model_validate, content=_body(items=[dict(item) for item in items]))


def item(item: str, *, slot: str | None = None) -> Call[ItemTold]:
    """What is known of an item."""
    return Call("GET", f"/v1/items/{_in_path(item)}", ItemTold.model_validate, {"slot": slot})


def items(
    text: str | None = None, *, limit: int = 100, cursor: str | None = None, slot: str | None = None
) -> Call[ItemPage]:
    """Items whose title holds a text, or a page of all."""
    query = {"q": text, "limit": limit, "cursor": cursor, "slot": slot}
    return Call("GET", "/v1/items", ItemPage.model_validate, query)


def put_user(user: str, facts: Mapping[str, Any]) -> Call[Put]:
    """Insert a person, or replace what was told of them."""
    return Call("PUT", f"/v1/users/{_in_path(user)}", Put.model_validate, content=_body(facts=dict(facts)))


def put_users(users: Iterable[Mapping[str, Any]]) -> Call[Put]:
    """Insert people, or replace what was told of them: ``{"id", "facts"}`` each."""
    return Call("POST", "/v1/users", Put.model_validate, content=_body(users=[dict(user) for user in users]))


def user(user: str) -> Call[UserTold]:
    """What was told of a person."""
    return Call("GET", f"/v1/users/{_in_path(user)}", UserTold.model_validate)


def users(*, limit: int = 100, cursor: str | None = None) -> Call[UserPage]:
    """A page of people."""
    return Call("GET", "/v1/users", UserPage.model_validate, {"limit": limit, "cursor": cursor})


# ---- runs ------------------------------------------------------------------------------------------------------------


def runs(*, limit: int = 100, cursor: str | None = None) -> Call[RunPage]:
    """A page of runs that are served or could be."""
    return Call("GET", "/v1/runs", RunPage.model_validate, {"limit": limit, "cursor": cursor})


def run(name: str) -> Call[RunTold]:
    """A run with its metrics, lineage and settings."""
    return Call("GET", f"/v1/runs/{_in_path(name)}", RunTold.model_validate)


def findings(run: str) -> Call[Findings]:
    """What the audit of a run found."""
    return Call("GET", f"/v1/runs/{_in_path(run)}/findings", Findings.model_validate)


def slots() -> Call[SlotList]:
    """Which run stands in which slot."""
    return Call("GET", "/v1/slots", SlotList.model_validate)


def swap(slot: str, run: str) -> Call[SlotRow]:
    """Put another run into a slot while it answers."""
    return Call("PUT", f"/v1/slots/{_in_path(slot)}", SlotRow.model_validate, content=_body(run=run))


def experiments() -> Call[ExperimentList]:
    """Experiments with their arms."""
    return Call("GET", "/v1/experiments", ExperimentList.model_validate)


def assignment(experiment: str, user: str) -> Call[Assigned]:
    """Which arm of an experiment a person is in."""
    return Call("GET", "/v1/assignment", Assigned.model_validate, {"experiment": experiment, "user": user})


# ---- people's rights -------------------------------------------------------------------------------------------------


def known(user: str) -> Call[dict[str, Any]]:
    """Everything that is held of a person."""
    return Call("GET", f"/v1/users/{_in_path(user)}/known", dict)


def ask(
    user: str, kind: Literal["export", "delete", "forget"], *, attribute: str | None = None
) -> Call[dict[str, Any]]:
    """Ask for an export, a deletion, or that an attribute be forgotten; the answer holds the request's ``id``."""
    content = _body(kind=kind, attribute=attribute)
    return Call("POST", f"/v1/users/{_in_path(user)}/requests", dict, content=content, repeatable=False)


def request(identifier: str) -> Call[dict[str, Any]]:
    """How far a request has come, and its proof when it is done."""
    return Call("GET", f"/v1/requests/{_in_path(identifier)}", dict)


def requests(user: str) -> Call[dict[str, Any]]:
    """A person's requests, latest first."""
    return Call("GET", f"/v1/users/{_in_path(user)}/requests", dict)


def choices(user: str) -> Call[dict[str, Any]]:
    """Items of their history a person has stopped, and items they object to."""
    return Call("GET", f"/v1/users/{_in_path(user)}/choices", dict)


def share(user: str, percent: int) -> Call[dict[str, Any]]:
    """Read only the newest part of the person's history, from the next answer on; 100 per cent is all."""
    return Call("PUT", f"/v1/users/{_in_path(user)}/share", dict, content=_body(percent=percent))


def stop(user: str, item: str) -> Call[dict[str, Any]]:
    """Stop using an item of the person's history, from the next answer on."""
    return Call("PUT", f"/v1/users/{_in_path(user)}/stopped/{_in_path(item)}", dict)


def undo_stop(user: str, item: str) -> Call[dict[str, Any]]:
    """Use the item again."""
    return Call("DELETE", f"/v1/users/{_in_path(user)}/stopped/{_in_path(item)}", dict)


def object_to(user: str, item: str, *, reason: str | None = None) -> Call[dict[str, Any]]:
    """Never show an item to a person again."""
    path = f"/v1/users/{_in_path(user)}/objections/{_in_path(item)}"
    return Call("PUT", path, dict, content=_body(reason=reason))


def undo_objection(user: str, item: str) -> Call[dict[str, Any]]:
    """Take an objection back."""
    return Call("DELETE", f"/v1/users/{_in_path(user)}/objections/{_in_path(item)}", dict)


# ---- the service -----------------------------------------------------------------------------------------------------


def ready() -> Call[Health]:
    """Is the service ready?"""
    return Call("GET", "/health/ready", Health.model_validate)
