"""The trail: who asked what and what was done, append-only.

People stand in it as keyed digests, so that deleting somebody needs no change of the trail. Triggers of the database
refuse changes, and each entry carries the hash of the one before it: whoever changes one in spite of that must change
all that follow, and the newest hash is told at each verification, to be kept elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, select

from rectitude.service.store.database import Also, Database
from rectitude.service.store.people import Subjects
from rectitude.service.store.tables import TrailRow

_FIRST = "0" * 64
_PAGE = 5000


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the trail.

    Attributes:
        seq: 1, 2, 3 …
        at: Seconds since 1970.
        actor: ``key:ID``, ``person:DIGEST``, ``local`` or ``service``.
        action: What was asked or done, e.g. ``delete.asked``, ``delete.done``.
        subject: Keyed digest of the person it concerns, if any.
        details: Nothing that names a person.
        hash: Of this entry and, through it, of all before.
    """

    seq: int
    at: float
    actor: str
    action: str
    subject: str | None
    details: dict[str, Any]
    hash: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What checking the chain found.

    Attributes:
        entries: How many there are.
        head: Hash of the newest: keep it elsewhere to notice if the end is cut off.
        broken_at: The first entry that does not follow from the one before, None where all do.
    """

    entries: int
    head: str
    broken_at: int | None


class Trail:
    """The trail of a store.

    Args:
        database: Where.
        subjects: Digests of people.
    """

    def __init__(self, database: Database, subjects: Subjects) -> None:
        self._database, self._subjects = database, subjects

    def add(self, actor: str, action: str, user: str | None = None, details: Mapping[str, Any] | None = None) -> None:
        """Append an entry; durable when this returns.

        Args:
            actor: Who.
            action: What.
            user: External id of the person it concerns; only the digest is written.
            details: Nothing that names a person.
        """
        self._database.write(self.entry(actor, action, user=user, details=details))

    def entry(
        self,
        actor: str,
        action: str,
        *,
        user: str | None = None,
        subject: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> Also:
        """An entry to be written in the transaction of what it tells of.

        Args:
            actor: Who.
            action: What.
            user: External id of the person it concerns, of which the digest is written.
            subject: That digest, where the name is not known any more.
            details: Nothing that names a person.
        """
        told = json.dumps(dict(details or {}), sort_keys=True, ensure_ascii=False)
        digest = self._subjects.digest(user) if user is not None else subject
        newest = select(TrailRow.seq, TrailRow.hash).order_by(TrailRow.seq.desc()).limit(1)

        def act(connection: Connection) -> None:
            if not self._database.is_sqlite:  # SQLite has one writer anyway
                connection.exec_driver_sql("LOCK TABLE trail IN EXCLUSIVE MODE")
            last = connection.execute(newest).first()
            seq, previous = (last[0], last[1]) if last is not None else (0, _FIRST)
            row = {
                "seq": seq + 1,
                "at": time.time(),
                "actor": actor,
                "action": action,
                "subject": digest,
                "details": told,
                "previous": previous,
            }
            connection.execute(insert(TrailRow), row | {"hash": _hash(row)})

        return act

    def page(self, after: int = 0, limit: int = 100, subject: str | None = None) -> list[Entry]:
        """Entries in their order, all or those about one person."""
        wanted = select(
            TrailRow.seq,
            TrailRow.at,
            TrailRow.actor,
            TrailRow.action,
            TrailRow.subject,
            TrailRow.details,
            TrailRow.hash,
        ).where(TrailRow.seq > after)
        if subject is not None:
            wanted = wanted.where(TrailRow.subject == subject)
        wanted = wanted.order_by(TrailRow.seq).limit(limit)
        rows = self._database.read(lambda connection: connection.execute(wanted).fetchall())
        return [Entry(*row[:5], json.loads(row[5]), row[6]) for row in rows]

    def verify(self) -> Verified:
        """Compute the whole chain again."""
        count, previous = 0, _FIRST
        while True:
            rows = self._database.read(_next(count))
            for found in rows:
                row = dict(found)
                kept = row.pop("hash")
                if row["seq"] != count + 1 or row["previous"] != previous or _hash(row) != kept:
                    return Verified(count, previous, count + 1)
                count, previous = count + 1, kept
            if len(rows) < _PAGE:
                return Verified(count, previous, None)


def _next(after: int) -> Callable[[Connection], Sequence[RowMapping]]:
    wanted = select(*TrailRow.__table__.columns).where(TrailRow.seq > after).order_by(TrailRow.seq).limit(_PAGE)
    return lambda connection: connection.execute(wanted).mappings().all()


def _hash(row: Mapping[str, Any]) -> str:
    text = json.dumps({key: row[key] for key in sorted(row)}, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
