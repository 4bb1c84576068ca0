"""People and items: what is known of them, what people decided, and deletion of all that is held of somebody."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import Connection, delete, func, select, update

from rectitude.service.store.database import Also, Database
from rectitude.service.store.tables import ChoiceRow, ErasedRow, EventRow, ItemRow, KeyRow, RequestRow, UserRow

Choice = Literal["stop", "object"]
ALL = 100
"""Per cent of a history that is read where nothing else was chosen."""
ERASED_NAME = "a person who was deleted"
ERASING = 0x6572617365
"""Of PostgreSQL's advisory locks: shared by whoever takes events, alone for whoever erases."""
CUT_OFF = "The person was deleted before this was done"


@dataclass(frozen=True, slots=True)
class UserFacts:
    """What is known of a person besides what they did.

    Attributes:
        id: External id.
        facts: Names to values, e.g. ``{"gender": "f"}``.
    """

    id: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ItemFacts:
    """What is known of an item.

    Attributes:
        id: External id.
        title: For people.
        facts: Names to values.
        withdrawn: Is not to be shown to anybody.
    """

    id: str
    title: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    withdrawn: bool = False


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a person decided about an item."""

    item: str
    kind: str
    reason: str | None
    at: float


@dataclass(frozen=True, slots=True)
class Subjects:
    """Makes names into keyed digests, which say nothing to whoever lacks the key.

    Attributes:
        key: 32 bytes.
    """

    key: bytes

    def digest(self, user: str) -> str:
        """32 hexadecimal digits."""
        return hashlib.blake2b(user.encode(), key=self.key, digest_size=16).hexdigest()


class People:
    """The part of the store that holds people and items."""

    database: Database
    subjects: Subjects

    def subject(self, user: str) -> str:
        """The keyed digest by which the trail and finished deletions know a person."""
        return self.subjects.digest(user)

    # ---- facts ---------------------------------------------------------------------------------------------------

    def put_users(self, users: Sequence[UserFacts]) -> None:
        """Insert people, or replace what is known of them."""
        rows = {user.id: {"id": user.id, "facts": user.facts, "changed": time.time()} for user in users}

        def act(connection: Connection) -> None:
            replace_rows(connection, UserRow, list(rows.values()))

        if rows:
            self.database.write(act, repeatable=True)

    def user(self, user: str) -> UserFacts | None:
        """What is known of a person, None where nothing is."""
        wanted = select(UserRow.id, UserRow.facts).where(UserRow.id == user)
        row = self.database.read(lambda connection: connection.execute(wanted).first())
        return UserFacts(row[0], row[1]) if row is not None else None

    def users(self, after: str = "", limit: int = 100) -> list[UserFacts]:
        """A page of people in the order of their ids."""
        wanted = select(UserRow.id, UserRow.facts).where(UserRow.id > after).order_by(UserRow.id).limit(limit)
        return [UserFacts(*row) for row in self.database.read(lambda connection: connection.execute(wanted).fetchall())]

    def forgetting(self, user: str, name: str) -> Callable[[Connection], bool]:
        """Removes one fact of a person, as a part of a transaction; says whether it was there."""

        def act(connection: Connection) -> bool:
            row = connection.execute(select(UserRow.facts).where(UserRow.id == user)).first()
            if row is None or name not in row[0]:
                return False
            facts = {key: value for key, value in row[0].items() if key != name}
            connection.execute(update(UserRow).where(UserRow.id == user).values(facts=facts, changed=time.time()))
            return True

        return act

    def delete_user(self, user: str) -> bool:
        """Remove what is known of a person besides what they did; say whether something was."""
        return self.database.change(delete(UserRow).where(UserRow.id == user))

    # ---- items ---------------------------------------------------------------------------------------------------

    def put_items(self, items: Sequence[ItemFacts]) -> None:
        """Insert items, or replace what is known of them."""
        given = {item.id: item for item in items}

        def act(connection: Connection) -> None:
            if not self.database.is_sqlite:  # versions are counted by one at a time; SQLite has one writer anyway
                connection.exec_driver_sql("LOCK TABLE items IN EXCLUSIVE MODE")
            version = (connection.execute(select(func.max(ItemRow.version))).scalar() or 0) + 1
            rows = [
                {"id": one.id, "title": one.title, "facts": one.facts, "withdrawn": one.withdrawn, "version": version}
                for one in given.values()
            ]
            replace_rows(connection, ItemRow, rows)

        if given:
            self.database.write(act, repeatable=True)

    def items(self, after: str = "", limit: int = 100) -> list[ItemFacts]:
        """A page of items in the order of their ids."""
        wanted = _items().where(ItemRow.id > after).order_by(ItemRow.id).limit(limit)
        return [ItemFacts(*row) for row in self.database.read(lambda connection: connection.execute(wanted).fetchall())]

    def items_since(self, version: int) -> list[ItemFacts]:
        """Items that changed after a version, for whoever keeps them in memory."""
        wanted = _items().where(ItemRow.version > version).order_by(ItemRow.version, ItemRow.id)
        return [ItemFacts(*row) for row in self.database.read(lambda connection: connection.execute(wanted).fetchall())]

    def item(self, item: str) -> ItemFacts | None:
        """What is known of an item, None where nothing is."""
        wanted = _items().where(ItemRow.id == item)
        row = self.database.read(lambda connection: connection.execute(wanted).first())
        return ItemFacts(*row) if row is not None else None

    def items_version(self) -> int:
        """Grows whenever an item is put; 0 where there is none."""
        wanted = select(func.max(ItemRow.version))
        return self.database.read(lambda connection: connection.execute(wanted).scalar()) or 0

    # ---- choices -------------------------------------------------------------------------------------------------

    def stop_item(self, user: str, item: str, *, also: Also | None = None) -> None:
        """Do not use this item of the person's history from now on."""
        self._choose(user, item, "stop", None, also)

    def undo_stop(self, user: str, item: str, *, also: Also | None = None) -> bool:
        """Use the item again; say whether it was stopped."""
        return self._unchoose(user, item, "stop", also)

    def object(self, user: str, item: str, reason: str | None = None, *, also: Also | None = None) -> None:
        """Never show this item to this person again."""
        self._choose(user, item, "object", reason, also)

    def undo_objection(self, user: str, item: str, *, also: Also | None = None) -> bool:
        """Show the item again where it is recommended; say whether there was an objection."""
        return self._unchoose(user, item, "object", also)

    def choices(self, user: str) -> list[Chosen]:
        """What a person decided, latest first."""
        wanted = (
            select(ChoiceRow.item_id, ChoiceRow.kind, ChoiceRow.reason, ChoiceRow.at)
            .where(ChoiceRow.user_id == user, ChoiceRow.kind != "share")
            .order_by(ChoiceRow.at.desc(), ChoiceRow.item_id)
        )
        return [Chosen(*row) for row in self.database.read(lambda connection: connection.execute(wanted).fetchall())]

    def share(self, user: str, percent: int, *, also: Also | None = None) -> None:
        """Read only this much of the person's history from now on, the newest part; 100 is all."""
        before = delete(ChoiceRow).where(ChoiceRow.user_id == user, ChoiceRow.kind == "share")
        row = {"user_id": user, "item_id": str(percent), "kind": "share", "reason": None, "at": time.time()}

        def act(connection: Connection) -> None:
            connection.execute(before)
            if percent != ALL:
                replace_rows(connection, ChoiceRow, [row])
            if also is not None:
                also(connection)

        self.database.write(act, repeatable=also is None)

    def shared(self, user: str) -> int:
        """Per cent of their history that a person lets be read."""
        wanted = select(ChoiceRow.item_id).where(ChoiceRow.user_id == user, ChoiceRow.kind == "share")
        found = self.database.read(lambda connection: connection.execute(wanted).scalar())
        return ALL if found is None else int(found)

    def _choose(self, user: str, item: str, kind: Choice, reason: str | None, also: Also | None) -> None:
        row = {"user_id": user, "item_id": item, "kind": kind, "reason": reason, "at": time.time()}

        def act(connection: Connection) -> None:
            replace_rows(connection, ChoiceRow, [row])
            if also is not None:
                also(connection)

        self.database.write(act, repeatable=also is None)

    def _unchoose(self, user: str, item: str, kind: Choice, also: Also | None) -> bool:
        gone = delete(ChoiceRow).where(ChoiceRow.user_id == user, ChoiceRow.item_id == item, ChoiceRow.kind == kind)
        return self.database.change(gone, also)

    # ---- deletion ------------------------------------------------------------------------------------------------

    def held(self, user: str) -> dict[str, int]:
        """Rows by table that name a person."""
        return self.database.read(self.holding(user))

    def holding(self, user: str) -> Callable[[Connection], dict[str, int]]:
        """:meth:`held` as a part of a transaction."""
        counts = {table.__tablename__: select(func.count()).where(column == user) for table, column in _NAMED.items()}
        return lambda connection: {name: int(connection.execute(n).scalar() or 0) for name, n in counts.items()}

    def erase(self, user: str, *, keep_request: str | None = None) -> dict[str, int]:
        """Remove every row of a person at once, and remember by digest that they were removed.

        Their keys go on opening what concerns their own requests, under the digest; earlier requests keep the digest
        too, and what of them is not done yet will not be. Events of before this moment that arrive later are left out.

        Args:
            user: External id.
            keep_request: The request that still needs the name to repair the models; its name goes when it ends.

        Returns:
            Rows by table that were removed or made nameless.
        """
        return self.database.write(self.erasing(user, keep_request), repeatable=True)

    def erasing(self, user: str, keep_request: str | None = None) -> Callable[[Connection], dict[str, int]]:
        """:meth:`erase` as a part of a transaction."""
        subject = self.subjects.digest(user)
        ended = RequestRow.status.in_(("done", "failed"))

        def act(connection: Connection) -> dict[str, int]:
            if not self.database.is_sqlite:  # no event may be on its way in that has been found not erased
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ERASING})")
            changed = {}
            for table, column in ((EventRow, EventRow.user_id), (UserRow, UserRow.id), (ChoiceRow, ChoiceRow.user_id)):
                changed[table.__tablename__] = connection.execute(delete(table).where(column == user)).rowcount
            keys = update(KeyRow).where(KeyRow.user_id == user)
            keys = keys.values(user_id=None, subject=subject, name=ERASED_NAME)
            changed["keys"] = connection.execute(keys).rowcount
            others = update(RequestRow).where(RequestRow.user_id == user, RequestRow.id != (keep_request or ""))
            nameless: dict[str, Any] = {"user_id": None, "parameters": {}}
            cut_off = {**nameless, "status": "failed", "reason": CUT_OFF, "owner": None, "changed": time.time()}
            changed["requests"] = connection.execute(others.where(ended).values(**nameless)).rowcount
            changed["requests"] += connection.execute(others.where(~ended).values(**cut_off)).rowcount
            replace_rows(connection, ErasedRow, [{"subject": subject, "at": time.time()}])
            return changed

        return act

    def erased_at(self, user: str) -> float | None:
        """When a person was deleted, None where they were not."""
        wanted = select(ErasedRow.at).where(ErasedRow.subject == self.subjects.digest(user))
        return self.database.read(lambda connection: connection.execute(wanted).scalar())

    def erased_subjects(self) -> set[str]:
        """Digests of everybody who was deleted, to mask a run's own users against."""
        wanted = select(ErasedRow.subject)
        return set(self.database.read(lambda connection: connection.execute(wanted).scalars().all()))

    def scrub(self) -> None:
        """Have the database overwrite what was deleted, also in its log. PostgreSQL: dead rows are vacuumed."""
        if self.database.is_sqlite:
            statements = ["PRAGMA wal_checkpoint(TRUNCATE)"]
        else:
            statements = [f"VACUUM {table.__tablename__}" for table in _NAMED]
        with self.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)


_NAMED: dict[Any, Any] = {
    EventRow: EventRow.user_id,
    UserRow: UserRow.id,
    ChoiceRow: ChoiceRow.user_id,
    KeyRow: KeyRow.user_id,
    RequestRow: RequestRow.user_id,
}
"""Where a person's id stands."""


def _items() -> Any:
    return select(ItemRow.id, ItemRow.title, ItemRow.facts, ItemRow.withdrawn)


def insert_missing(connection: Connection, table: Any, rows: list[dict[str, Any]]) -> None:
    """Insert rows; where the primary key is there, leave what is."""
    statement, keys = _insertion(connection, table)
    connection.execute(statement.on_conflict_do_nothing(index_elements=keys), rows)


def _insertion(connection: Connection, table: Any) -> tuple[Any, list[str]]:
    """An insertion into a table that can say what happens where its primary key is there, and the names of that."""
    from sqlalchemy.dialects import postgresql, sqlite

    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    return dialect.insert(table), [column.name for column in table.__table__.primary_key]


def replace_rows(connection: Connection, table: Any, rows: list[dict[str, Any]]) -> None:
    """Insert rows; where the primary key is there, replace the other columns."""
    statement, keys = _insertion(connection, table)
    others = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=others), rows)
