"""What the service answers, typed; the same models that its OpenAPI is made from."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


class Listed(BaseModel):
    """One place of a list."""

    rank: int
    item_id: str
    score: float | None
    title: str | None


class Why(BaseModel):
    """Why a list is what it is."""

    shares: dict[str, float] = Field(description="How much each part of the model counted.")
    because: dict[str, str] = Field(description="Item of the list to the item of the history that speaks for it.")
    titles: dict[str, str | None]


class List(BaseModel):
    """A list, with what was asked and who answered."""

    slot: str
    run: str
    experiment: str | None = None
    arm: str | None = Field(None, description="Slot the experiment chose.")
    query: dict[str, Any]
    answered_by: str = Field(description="The model, or popularity with the reason.")
    fallback: bool = Field(description="Did something other than the model answer?")
    items: list[Listed]
    notes: list[str]
    explanation: Why | None = None


class Reason(BaseModel):
    """An item of the history that speaks for the explained item."""

    item_id: str
    title: str | None
    effect: float = Field(description="What the method measured, largest first.")


class Explained(BaseModel):
    """Why an item stands where it does."""

    slot: str
    run: str
    item_id: str
    title: str | None
    rank: int | None = Field(description="Its place among all candidates, null where it is none.")
    score: float | None
    of: int = Field(description="Number of candidates.")
    answered_by: str
    method: str = Field(description="How the reasons were found.")
    reasons: list[Reason]
    shares: dict[str, float]
    notes: list[str]


class Similar(BaseModel):
    """An item like another."""

    rank: int
    item_id: str
    title: str | None
    likeness: float


class SimilarList(BaseModel):
    """Items like an item."""

    slot: str
    run: str
    item_id: str
    method: str
    items: list[Similar]


class Taken(BaseModel):
    """What became of events."""

    accepted: int = Field(description="Are stored now and were not before.")
    duplicates: int = Field(description="Were stored already.")
    erased: int = Field(description="Left out: the person was deleted after they happened.")


class Put(BaseModel):
    """What was stored."""

    stored: int


class StoredEvent(BaseModel):
    """An event as it is stored."""

    id: str
    user: str
    item: str
    kind: str
    value: float | None
    at: float


class EventPage(BaseModel):
    """A page of events in the order of arrival."""

    items: list[StoredEvent]
    next: str | None = Field(description="Cursor of the next page, null on the last.")


class UserTold(BaseModel):
    """What was told of a person."""

    id: str
    facts: dict[str, Any]


class UserPage(BaseModel):
    """A page of people."""

    items: list[UserTold]
    next: str | None


class ItemTold(BaseModel):
    """What is known of an item."""

    id: str
    title: str | None
    attributes: dict[str, Any]
    withdrawn: bool
    in_run: bool = Field(description="Can the run rank it?")
    picture: str | None = Field(description="Address of its picture.")


class ItemPage(BaseModel):
    """A page of items."""

    items: list[ItemTold]
    next: str | None


class RunNamed(BaseModel):
    """A run by its name and its model, and where it is served."""

    name: str
    model: str
    title: str
    created: str
    slots: list[str]


class RunRow(RunNamed):
    """A run in a list of runs."""

    data: str
    metrics: dict[str, float] = Field(description="Of the test fold, else of the validation fold.")
    fold: str | None
    parent: str | None


class RunPage(BaseModel):
    """A page of runs."""

    items: list[RunRow]
    next: str | None


class RunTold(RunNamed):
    """A run with all that is known of it."""

    paper: str
    data: dict[str, Any]
    split: dict[str, Any]
    settings: dict[str, Any]
    versions: dict[str, str]
    metrics: dict[str, Any]
    lineage: dict[str, Any]
    remedy: dict[str, Any]
    findings: int
    served: dict[str, Any] | None


class Findings(BaseModel):
    """What an audit found; empty before there was one."""

    run: str
    findings: list[dict[str, Any]]
    impossible: list[str]
    protocol: dict[str, Any]


class SlotRow(BaseModel):
    """A slot with the run that stands in it."""

    slot: str
    run: str
    title: str
    retrieval: str
    items: int
    notes: list[str]


class SlotList(BaseModel):
    """All slots."""

    items: list[SlotRow]


class ExperimentRow(BaseModel):
    """An experiment."""

    name: str
    arms: dict[str, float]


class ExperimentList(BaseModel):
    """All experiments."""

    items: list[ExperimentRow]


class Assigned(BaseModel):
    """Which arm a person is in."""

    experiment: str
    user: str
    arm: str


class Health(BaseModel):
    """State of the service."""

    status: str
    version: str
    slots: dict[str, str] = Field(default={}, description="Slot to the name of its run.")
    reasons: list[str] = Field(default=[], description="Why it is not ready.")
