"""The store: one object for all that the service must not lose."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, select

from rectitude.service.store.database import Database, StoreUnavailableError
from rectitude.service.store.events import Events
from rectitude.service.store.keys import Keys
from rectitude.service.store.migrating import migrate
from rectitude.service.store.people import People, Subjects, insert_missing, replace_rows
from rectitude.service.store.queue import Requests
from rectitude.service.store.tables import ServedRow, SettingRow
from rectitude.service.store.trail import Trail


@dataclass(frozen=True, slots=True)
class Slot:
    """Which run stands in a slot.

    Attributes:
        path: Of its folder.
        since: Seconds since 1970.
    """

    path: str
    since: float


class Store(Events, People):
    """Everything durable. Synchronous and safe to call from many threads; what is written is durable on return.

    Attributes:
        keys: API keys.
        requests: Of people: the queue of the jobs.
        trail: Who asked what and what was done.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.subjects = Subjects(bytes.fromhex(self.setting_or("digest-key", lambda: secrets.token_hex(32))))
        self.keys = Keys(database, self.subjects)
        self.requests = Requests(database, self.subjects)
        self.trail = Trail(database, self.subjects)

    @classmethod
    def open(cls, url: str, *, make: bool = True) -> Store:
        """Open a store, bringing its tables up to date.

        Args:
            url: ``sqlite:///path`` or ``postgresql://…``.
            make: Make a file that is not there.

        Raises:
            StoreError: The URL is wrong, the file is no store, or the store was made by a newer version.
            StoreUnavailableError: The database does not answer.
            MissingExtraError: The driver is not installed.
        """
        database = Database(url, make=make)
        try:
            migrate(database)
            return cls(database)
        except StoreUnavailableError as error:
            database.close()
            raise StoreUnavailableError(error.what, where=database.place, fix="Is it running?") from error
        except BaseException:
            database.close()
            raise

    def close(self) -> None:
        """Write what is queued and let go of the database."""
        self.database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ping(self) -> None:
        """See whether the database answers.

        Raises:
            StoreUnavailableError: It does not.
        """
        self.database.read(lambda connection: connection.exec_driver_sql("SELECT 1").scalar())

    # ---- which run is served -------------------------------------------------------------------------------------

    def served(self) -> dict[str, Slot]:
        """Slots with the runs that stand in them."""
        wanted = select(ServedRow.slot, ServedRow.path, ServedRow.since).order_by(ServedRow.slot)
        rows = self.database.read(lambda connection: connection.execute(wanted).fetchall())
        return {slot: Slot(path, since) for slot, path, since in rows}

    def serve(self, slot: str, path: str) -> Slot:
        """Put a run into a slot; gives what was written, which another process may have replaced since."""
        put = Slot(str(path), time.time())
        row = {"slot": slot, "path": put.path, "since": put.since}
        self.database.write(lambda connection: replace_rows(connection, ServedRow, [row]), repeatable=True)
        return put

    # ---- settings ------------------------------------------------------------------------------------------------

    def setting(self, name: str) -> str | None:
        """A value the service keeps for itself."""
        wanted = select(SettingRow.value).where(SettingRow.name == name)
        return self.database.read(lambda connection: connection.execute(wanted).scalar())

    def set_setting(self, name: str, value: str) -> None:
        """Keep a value."""
        row = {"name": name, "value": value}
        self.database.write(lambda connection: replace_rows(connection, SettingRow, [row]), repeatable=True)

    def setting_or(self, name: str, make: Callable[[], str]) -> str:
        """A value, made and kept where there is none; all processes get the same one."""
        if (kept := self.setting(name)) is not None:
            return kept
        row = {"name": name, "value": make()}

        def act(connection: Connection) -> str:
            insert_missing(connection, SettingRow, [row])  # whoever comes second waits, and finds the first one's
            found: str = connection.execute(select(SettingRow.value).where(SettingRow.name == name)).scalar_one()
            return found

        return self.database.write(act, repeatable=True)
