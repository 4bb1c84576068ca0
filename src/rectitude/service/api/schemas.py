"""What is sent in over HTTP, as OpenAPI tells it; what comes out is in ``rectitude.client.answers``.

Answers are written without going through those models, which would cost more than the answer itself; the tests check
that they agree.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from rectitude.service.serving.asking import Ask, Between, Condition

LONGEST_ID = 256
MOST_NAMED = 10_000
"""Items that one question may name."""

Id = Annotated[str, Field(min_length=1, max_length=LONGEST_ID, pattern=r"^[^\x00]*$")]
"""Anything but NUL, which databases do not take."""
Ids = Annotated[list[Id], Field(max_length=MOST_NAMED)]


class Body(BaseModel):
    """Base of what is sent in: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Bounds(Body):
    """A number within bounds, both included."""

    min: float | None = None
    max: float | None = None


Wanted = str | Annotated[list[str], Field(min_length=1, max_length=1000)] | Bounds


class RecommendBody(Body):
    """A question: one of user, history and features."""

    user: Id | None = Field(None, description="A person, known to the run or by events.")
    history: Ids | None = Field(None, description="Items of anybody, oldest first.")
    features: dict[str, str | int | float] | None = Field(
        None, description='What is known of somebody, {"gender": "F"}.', max_length=20
    )
    k: int = Field(10, ge=1, description="Length of the list.")
    exclude_seen: bool = Field(True, description="Leave out what is in the history.")
    exclude: Ids = Field(default=[], description="Items that are not to be listed.")
    only: Ids | None = Field(None, description="Items the list may be made of.")
    where: dict[str, Wanted] = Field(
        default={}, max_length=20, description='Attribute to value, values or bounds: {"year": {"min": 1990}}.'
    )
    explain: bool = Field(False, description="Tell why, as far as the model can.")
    slot: str | None = Field(None, description="Which of the served runs answers; main if not given.")
    experiment: str | None = Field(None, description="Let this experiment choose the slot; needs a user.")

    def ask(self) -> Ask:
        """As it is asked of a run."""
        return Ask(
            user=self.user,
            history=None if self.history is None else tuple(self.history),
            features=self.features,
            k=self.k,
            exclude_seen=self.exclude_seen,
            exclude=tuple(self.exclude),
            only=None if self.only is None else tuple(self.only),
            where={name: condition(wanted) for name, wanted in self.where.items()},
            explain=self.explain,
        )


class RecommendQuery(Body):
    """The same question as a URL asks it."""

    user: Id | None = Field(None, description="A person, known to the run or by events.")
    history: str | None = Field(None, description="Items of anybody, oldest first, between commas.")
    feature: list[str] | None = Field(None, description="NAME:VALUE of somebody; may be repeated.")
    k: int = Field(10, ge=1, description="Length of the list.")
    exclude_seen: bool = Field(True, description="Leave out what is in the history.")
    exclude: str | None = Field(None, description="Items that are not to be listed, between commas.")
    only: str | None = Field(None, description="Items the list may be made of, between commas.")
    where: list[str] | None = Field(
        None, description="ATTRIBUTE:VALUE, or ATTRIBUTE:LOW..HIGH; may be repeated, and then either value will do."
    )
    explain: bool = Field(False, description="Tell why, as far as the model can.")
    slot: str | None = Field(None, description="Which of the served runs answers; main if not given.")
    experiment: str | None = Field(None, description="Let this experiment choose the slot; needs a user.")


def condition(wanted: Wanted) -> Condition:
    """What an attribute must be."""
    if isinstance(wanted, Bounds):
        return Between(wanted.min, wanted.max)
    return (wanted,) if isinstance(wanted, str) else tuple(wanted)


class ExplainBody(Body):
    """Which place of a list is to be explained: a person's or a history's, and the item."""

    user: Id | None = None
    history: Ids | None = None
    item: Id
    slot: str | None = None


class EventBody(Body):
    """Something a person did."""

    id: Id | None = Field(
        None,
        description="Sent again with the same id, an event is taken once. Without one, it is made of the other fields, "
        "so that the same event with the same time is taken once too.",
    )
    user: Id
    item: Id
    kind: str = Field("view", min_length=1, max_length=64)
    value: float | None = None
    at: float | str | None = Field(
        None, description="Seconds since 1970 in UTC, or ISO 8601; the time of arrival if not given."
    )


class EventsBody(Body):
    """Several events."""

    events: list[EventBody] = Field(max_length=100_000)


class UserBody(Body):
    """What is known of a person besides what they did."""

    facts: dict[str, JsonValue] = Field(default={}, max_length=200)


class UserRow(UserBody):
    """The same with the id."""

    id: Id


class ItemBody(Body):
    """What is known of an item."""

    title: str | None = Field(None, max_length=2000)
    facts: dict[str, JsonValue] = Field(default={}, max_length=200)
    withdrawn: bool = Field(False, description="Never shown to anybody.")


class ItemRow(ItemBody):
    """The same with the id."""

    id: Id


class UsersBody(Body):
    """Several people."""

    users: list[UserRow] = Field(max_length=100_000)


class ItemsBody(Body):
    """Several items."""

    items: list[ItemRow] = Field(max_length=100_000)


class SwapBody(Body):
    """Which run is put into a slot."""

    run: str = Field(min_length=1, max_length=255, description="Name of a run that GET /v1/runs lists.")
