"""The tables of the store. A change here needs a migration; a test compares the two."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Double, Index, Integer, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Serial = BigInteger().with_variant(Integer, "sqlite")


class Base(DeclarativeBase):
    """Base of all tables."""

    type_annotation_map = {str: Text, float: Double, dict[str, Any]: JSON}  # noqa: RUF012 -- SQLAlchemy's own contract


class EventRow(Base):
    """What a person did, in the order it arrived (``seq``); people's histories are read in the order of ``at``.

    The index holds all that a history needs, so that reading one does not visit the rows: five times as fast, for a
    third more work when writing.
    """

    __tablename__ = "events"
    __table_args__ = (
        Index("events_of_user", "user_id", "at", "seq", "item_id", "kind", "value"),
        {"sqlite_autoincrement": True},
    )

    seq: Mapped[int] = mapped_column(Serial, primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    user_id: Mapped[str]
    item_id: Mapped[str]
    kind: Mapped[str]
    value: Mapped[float | None]
    at: Mapped[float]


class UserRow(Base):
    """What is known of a person besides what they did."""

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(primary_key=True)
    facts: Mapped[dict[str, Any]]
    changed: Mapped[float]


class ItemRow(Base):
    """What is known of an item besides what the run knows."""

    __tablename__ = "items"

    id: Mapped[str] = mapped_column(primary_key=True)
    title: Mapped[str | None]
    facts: Mapped[dict[str, Any]]
    withdrawn: Mapped[bool] = mapped_column(Boolean)
    version: Mapped[int] = mapped_column(Serial, index=True)


class ChoiceRow(Base):
    """What a person decided about an item: not to use it (``stop``), or never to be shown it (``object``).

    Of ``share``, how much of their history may be read, there is one a person, with the percentage as its item.
    """

    __tablename__ = "choices"

    user_id: Mapped[str] = mapped_column(primary_key=True)
    item_id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(8), primary_key=True)
    reason: Mapped[str | None]
    at: Mapped[float]


class ErasedRow(Base):
    """Keyed digest of a person who was deleted, so that no run's own history and no late event brings them back."""

    __tablename__ = "erased"

    subject: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[float]


class KeyRow(Base):
    """An API key; of its secret only a digest. ``user_id`` of a person's key goes when they are deleted."""

    __tablename__ = "keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    role: Mapped[str]
    user_id: Mapped[str | None] = mapped_column(index=True)
    subject: Mapped[str | None]
    digest: Mapped[str]
    made: Mapped[float]
    revoked: Mapped[float | None]


class RequestRow(Base):
    """What a person or an operator asked for: the queue of the jobs."""

    __tablename__ = "requests"
    __table_args__ = (Index("requests_waiting", "status", "created"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    user_id: Mapped[str | None]
    subject: Mapped[str | None] = mapped_column(index=True)
    parameters: Mapped[dict[str, Any]]
    actor: Mapped[str]
    status: Mapped[str]
    created: Mapped[float]
    changed: Mapped[float]
    doing: Mapped[str | None]
    owner: Mapped[str | None]
    lease_until: Mapped[float | None]
    attempts: Mapped[int]
    reason: Mapped[str | None]
    proof: Mapped[dict[str, Any] | None]


class StepRow(Base):
    """A step of a job that is done, with its outcome; a job that is taken up again skips it."""

    __tablename__ = "steps"

    request_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[float]
    outcome: Mapped[dict[str, Any]]


class TrailRow(Base):
    """Who asked what and what was done. Triggers refuse changes; each row carries the hash of the one before."""

    __tablename__ = "trail"

    seq: Mapped[int] = mapped_column(Serial, primary_key=True, autoincrement=False)
    at: Mapped[float]
    actor: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str | None] = mapped_column(index=True)
    details: Mapped[str]
    previous: Mapped[str]
    hash: Mapped[str]


class ServedRow(Base):
    """Which run stands in which slot."""

    __tablename__ = "served"

    slot: Mapped[str] = mapped_column(primary_key=True)
    path: Mapped[str]
    since: Mapped[float]


class SettingRow(Base):
    """Small things the service keeps for itself, e.g. the secret its cookies are signed with."""

    __tablename__ = "settings"

    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]
