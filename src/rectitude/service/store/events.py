"""Events in and people's histories out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from rectitude.service.store.database import Database
from rectitude.service.store.people import ALL, ERASING, Subjects
from rectitude.service.store.tables import ErasedRow, EventRow

LONGEST_ID = 256
"""Characters of an id; of a kind 64."""
_CHUNK = 10_000
_DAY = 86_400
_MILLISECONDS = 100_000_000_000
"""What is larger was not seconds since 1970: the year 5138, or 1973 in milliseconds."""


class Event(NamedTuple):
    """Something a person did.

    Attributes:
        id: Chosen by the sender; the same id again is the same event.
        user: External id of the person.
        item: External id of the item.
        kind: ``view``, ``buy``, ``rating`` …
        value: Rating, amount, seconds …, if any.
        at: Seconds since 1970 in UTC.
    """

    id: str
    user: str
    item: str
    kind: str = "view"
    value: float | None = None
    at: float = 0.0


class StoredEvent(NamedTuple):
    """An event with its place in the order of arrival."""

    seq: int
    event: Event


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of a batch.

    Attributes:
        accepted: Are in the store now and were not before.
        duplicates: Were there already, or twice in the batch.
        erased: Were left out because the person was deleted after they happened.
    """

    accepted: int
    duplicates: int
    erased: int = 0


@dataclass(slots=True)
class PersonState:
    """What the store knows of a person when they are answered.

    Attributes:
        events: Oldest first; the most recent ones only, where a limit was given.
        stopped: Items of their history that are not to be used.
        objected: Items they are never to be shown.
        erased: They were deleted: what a run itself holds of them is not to be used.
        kept_back: Per cent of their history, the oldest part, that is not to be read.
    """

    events: list[Event] = field(default_factory=list)
    stopped: frozenset[str] = frozenset()
    objected: frozenset[str] = frozenset()
    erased: bool = False
    kept_back: int = 0


class Mark(NamedTuple):
    """What a person's state can be told apart by: it is as it was while the mark is.

    Attributes:
        events: How many they have.
        last: ``seq`` of the latest to arrive.
        stopped: Items of their history that are not to be used.
        objected: Items they are never to be shown.
        erased: They were deleted.
        kept_back: Per cent of their history that is not to be read.
    """

    events: int = 0
    last: int = 0
    stopped: frozenset[str] = frozenset()
    objected: frozenset[str] = frozenset()
    erased: bool = False
    kept_back: int = 0


def refusal(event: Event, now: float, tolerance_s: float) -> str | None:
    """Why an event cannot be taken, or None.

    Args:
        event: As it was sent.
        now: Seconds since 1970.
        tolerance_s: How far ahead a sender's clock may be.
    """
    if not (event.id and event.user and event.item and event.kind):
        return "id, user, item and kind must not be empty"
    if max(len(event.id), len(event.user), len(event.item)) > LONGEST_ID or len(event.kind) > 64:
        return f"ids have at most {LONGEST_ID} characters and kinds 64"
    text = event.id + event.user + event.item + event.kind
    if not text.isascii() and any("\ud800" <= sign <= "\udfff" for sign in text):
        return "ids must be whole Unicode characters"
    if "\0" in text:
        return "ids must not hold a NUL character"
    if event.value is not None and not math.isfinite(event.value):
        return "value must be a finite number"
    if not math.isfinite(event.at) or event.at < 0:
        return "at lies before 1970, or is no time"
    if event.at > now + tolerance_s:
        if event.at > _MILLISECONDS:
            return "at lies in the far future: is it in milliseconds? It must be in seconds since 1970, or ISO 8601"
        ahead = event.at - now
        shown = f"{ahead:,.0f} s" if ahead < 2 * _DAY else f"{ahead / _DAY:,.0f} days"
        return f"at lies {shown} in the future, and {tolerance_s:,.0f} s are tolerated: check the sender's clock"
    return None


class Events:
    """The part of the store that takes events and gives histories."""

    database: Database
    subjects: Subjects

    def add_events(self, events: Sequence[Event]) -> Stored:
        """Take events in; durable when this returns. The same id again is a duplicate, not an error.

        Raises:
            StoreUnavailableError: The database does not answer; the events may be sent again.
            StoreFullError: The disk is full.
        """
        given = list(events)
        if not given:
            return Stored(0, 0)

        def act(connection: Connection) -> Stored:
            kept = self._not_erased(connection, given)
            taken = sum(self._insert(connection, kept[start : start + _CHUNK]) for start in range(0, len(kept), _CHUNK))
            return Stored(taken, len(kept) - taken, len(given) - len(kept))

        return self.database.write(act, repeatable=True)

    def _not_erased(self, connection: Connection, events: list[Event]) -> list[Event]:
        """Without those of deleted people from before their deletion."""
        if not self.database.is_sqlite:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock_shared({ERASING})")
        if connection.execute(select(ErasedRow.subject).limit(1)).first() is None:
            return events
        digests = {user: self.subjects.digest(user) for user in {event.user for event in events}}
        wanted = list(digests.values())
        erased: dict[str, float] = {}
        for start in range(0, len(wanted), _CHUNK):
            rows = connection.execute(
                select(ErasedRow.subject, ErasedRow.at).where(ErasedRow.subject.in_(wanted[start : start + _CHUNK]))
            )
            erased |= {row[0]: row[1] for row in rows}
        if not erased:
            return events
        return [event for event in events if event.at > erased.get(digests[event.user], -math.inf)]

    def _insert(self, connection: Connection, events: list[Event]) -> int:
        if self.database.is_sqlite:
            found = connection.exec_driver_sql(
                "INSERT OR IGNORE INTO events (id, user_id, item_id, kind, value, at) VALUES (?, ?, ?, ?, ?, ?)",
                [tuple(event) for event in events],
                execution_options={"preserve_rowcount": True},
            )
        else:
            columns = tuple(map(list, zip(*events, strict=True)))
            found = connection.exec_driver_sql(
                "INSERT INTO events (id, user_id, item_id, kind, value, at) SELECT * FROM unnest("
                "%s::text[], %s::text[], %s::text[], %s::text[], %s::float8[], %s::float8[]) ON CONFLICT DO NOTHING",
                columns,
                execution_options={"preserve_rowcount": True},
            )
        return found.rowcount

    def histories(self, users: Sequence[str], most: int = 1000) -> dict[str, PersonState]:
        """What is known of some people, in one query.

        Args:
            users: External ids; everybody asked for is in the answer, known or not. At most some 400.
            most: Events of a person that are read, the most recent ones; their own ids are not.
        """
        states = {user: PersonState() for user in users}
        if not states:
            return states
        names = list(states)
        digests = {self.subjects.digest(user): user for user in names}
        sql, values = self._histories_sql(names, list(digests), most)
        rows = self.database.read(lambda connection: connection.exec_driver_sql(sql, values).fetchall())
        chosen: dict[tuple[str, str], set[str]] = {}
        for row in rows:
            what, who = row[0], row[1]
            if not what:
                states[who].events.append(Event._make(row))
            elif what == "erased":
                states[digests[who]].erased = True
            elif what == "share":
                states[who].kept_back = ALL - int(row[2])
            else:
                chosen.setdefault((what, who), set()).add(row[2])
        for (what, who), items in chosen.items():
            if what == "stop":
                states[who].stopped = frozenset(items)
            else:
                states[who].objected = frozenset(items)
        for state in states.values():
            state.events.reverse()
        return states

    def marks(self, users: Sequence[str]) -> dict[str, Mark]:
        """The marks of some people, in one query that reads none of their events; for whoever keeps states.

        Args:
            users: External ids; everybody asked for is in the answer, known or not. At most some 400.
        """
        marks = dict.fromkeys(users, Mark())
        if not marks:
            return marks
        digests = {self.subjects.digest(user): user for user in marks}
        many = ", ".join(["?" if self.database.is_sqlite else "%s"] * len(marks))
        sql = (
            f"SELECT '', user_id, '', count(*), max(seq) FROM events WHERE user_id IN ({many}) GROUP BY user_id "  # noqa: S608
            f"UNION ALL SELECT kind, user_id, item_id, 0, 0 FROM choices WHERE user_id IN ({many}) "
            f"UNION ALL SELECT 'erased', subject, '', 0, 0 FROM erased WHERE subject IN ({many})"
        )
        values = (*marks, *marks, *digests)
        for what, who, item, count, last in self.database.read(
            lambda connection: connection.exec_driver_sql(sql, values).fetchall()
        ):
            user = digests[who] if what == "erased" else who
            mark = marks[user]
            if not what:
                marks[user] = mark._replace(events=count, last=last)
            elif what == "erased":
                marks[user] = mark._replace(erased=True)
            elif what == "stop":
                marks[user] = mark._replace(stopped=mark.stopped | {item})
            elif what == "share":
                marks[user] = mark._replace(kept_back=ALL - int(item))
            else:
                marks[user] = mark._replace(objected=mark.objected | {item})
        return marks

    def _histories_sql(self, users: list[str], digests: list[str], most: int) -> tuple[str, tuple[object, ...]]:
        """The one query: events newest first for each person (their id left empty), choices, and who was erased."""
        columns = "'', user_id, item_id, kind, value, at"
        rows = f"SELECT {columns} FROM events WHERE user_id = "  # noqa: S608 -- names of ours
        if self.database.is_sqlite:
            sign = "?"
            of_one = f"SELECT * FROM ({rows}? ORDER BY at DESC, seq DESC LIMIT ?)"  # noqa: S608
            events = " UNION ALL ".join([of_one] * len(users))
            values: list[object] = [value for user in users for value in (user, most)]
        else:
            sign = "%s"
            of_one = f"{rows}asked.who ORDER BY at DESC, seq DESC LIMIT %s"
            asked = "unnest(%s::text[]) AS asked(who)"
            events = f"SELECT of_one.* FROM {asked} CROSS JOIN LATERAL ({of_one}) AS of_one"  # noqa: S608
            values = [users, most]
        many = ", ".join([sign] * len(users))
        empty = ", NULL" * 3
        sql = (
            f"{events} UNION ALL SELECT kind, user_id, item_id{empty} FROM choices WHERE user_id IN ({many}) "  # noqa: S608
            f"UNION ALL SELECT 'erased', subject, NULL{empty} FROM erased WHERE subject IN ({many})"
        )
        return sql, (*values, *users, *digests)

    def events(self, user: str | None = None, after: int = 0, limit: int = 100) -> list[StoredEvent]:
        """A page of events in the order of arrival; the next page begins after the last ``seq``."""
        wanted = select(
            EventRow.seq, EventRow.id, EventRow.user_id, EventRow.item_id, EventRow.kind, EventRow.value, EventRow.at
        ).where(EventRow.seq > after)
        if user is not None:
            wanted = wanted.where(EventRow.user_id == user)
        wanted = wanted.order_by(EventRow.seq).limit(limit)
        rows = self.database.read(lambda connection: connection.execute(wanted).fetchall())
        return [StoredEvent(row[0], Event(*row[1:])) for row in rows]

    def events_of(self, user: str) -> tuple[int, float | None, float | None]:
        """How many events a person has, and when the first and the last happened."""
        wanted = select(func.count(), func.min(EventRow.at), func.max(EventRow.at)).where(EventRow.user_id == user)
        count, first, last = self.database.read(lambda connection: connection.execute(wanted).one())
        return int(count), first, last
