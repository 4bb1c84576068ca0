"""The connection to the database: one writer that commits in groups, readers beside it, errors people can act on.

SQLite runs in WAL mode with ``synchronous=FULL``: what a commit has acknowledged is on the disk, whether the process
is killed or the power fails. A sync to disk per event would be slow, so writes from all threads queue up and whatever
waits is committed together; nobody is answered before the commit that holds their write.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rectitude.core.errors import MissingExtraError, RectitudeError

try:
    from sqlalchemy import Connection, Engine, Executable, create_engine, event
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
except ImportError as error:
    raise MissingExtraError("sqlalchemy", "serve", "The service's store") from error

T = TypeVar("T")
Also = Callable[[Connection], None]
"""Something more to write in the same transaction, such as a line of the trail."""

PATIENCE_S = 10.0
"""How long reads and repeatable writes wait for a database that has gone away."""
_GROUP = 256
"""Most writes of one commit."""
_BUSY_MS = 10_000


class StoreError(RectitudeError):
    """The store cannot be used as asked."""


class StoreUnavailableError(StoreError):
    """The database does not answer at the moment; nothing of the write is there, or it may be repeated safely."""


class StoreFullError(StoreError):
    """There is no room to write; what was acknowledged before is safe."""


@dataclass
class _Write:
    act: Callable[[Connection], Any]
    repeatable: bool
    ending: Future[Any]


class Database:
    """An engine with its writer thread.

    Args:
        url: ``sqlite:///path`` or ``postgresql://…``.
        make: Make a file that is not there.

    Raises:
        StoreError: The URL is of another kind or malformed, or there is no such file.
        MissingExtraError: The driver is not installed.
    """

    def __init__(self, url: str, *, make: bool = True) -> None:
        self.engine = _engine(url, make)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._lock = threading.Lock()

    # ---- reading -------------------------------------------------------------------------------------------------

    def read(self, act: Callable[[Connection], T]) -> T:
        """Do something that only reads; tried again for a while when the database has gone away.

        Raises:
            StoreUnavailableError: The database stays away.
        """
        deadline = time.monotonic() + PATIENCE_S
        pause = 0.05
        while True:
            try:
                with self.engine.connect() as connection:
                    return act(connection)
            except SQLAlchemyError as error:
                told = explain(error)
                if not isinstance(told, StoreUnavailableError) or time.monotonic() + pause > deadline:
                    raise told from error
            time.sleep(pause)
            pause = min(2 * pause, 1.0)

    # ---- writing -------------------------------------------------------------------------------------------------

    def write(self, act: Callable[[Connection], T], *, repeatable: bool = False) -> T:
        """Do something that writes; durable when this returns.

        Args:
            act: Told the connection of the open transaction; what it raises undoes what it did and nothing else.
            repeatable: Doing it twice is as good as once, so that it may be tried again when the database went away.

        Raises:
            StoreUnavailableError: The database does not answer.
            StoreFullError: The disk is full.
            StoreError: The store is closed, or the write does not fit the tables.
        """
        asked = _Write(act, repeatable, Future())
        with self._lock:
            if self._closed:
                raise StoreError("The store is closed")
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)
                self._thread.start()
            self._queue.put(asked)
        found: T = asked.ending.result()
        return found

    def change(self, statement: Executable, also: Also | None = None) -> bool:
        """Change rows; say whether there were any, and only then write ``also`` with it.

        Raises:
            StoreUnavailableError: The database does not answer.
            StoreFullError: The disk is full.
        """

        def act(connection: Connection) -> bool:
            changed = connection.execute(statement).rowcount > 0
            if changed and also is not None:
                also(connection)
            return changed

        return self.write(act, repeatable=also is None)

    def _work(self) -> None:
        while (first := self._queue.get()) is not None:
            group = [first]
            ends = False
            with suppress(queue.Empty):
                while len(group) < _GROUP:
                    following = self._queue.get_nowait()
                    if following is None:
                        ends = True
                        break
                    group.append(following)
            self._commit(group)
            if ends:
                return

    def _commit(self, group: list[_Write]) -> None:
        """Do a group in one transaction; what is repeatable goes on being tried while the database is away."""
        deadline = time.monotonic() + PATIENCE_S
        pause = 0.05
        while group:
            failure = self._try(group)
            if failure is None:
                return
            left = [one for one in group if one.repeatable]
            if not isinstance(failure, StoreUnavailableError) or time.monotonic() + pause > deadline:
                left = []
            for one in group:
                if one not in left:
                    one.ending.set_exception(failure)
            group = left
            if group:
                time.sleep(pause)
                pause = min(2 * pause, 1.0)

    def _try(self, group: list[_Write]) -> RectitudeError | None:
        """One transaction; the error of the whole, or None where it was committed and everybody has been told."""
        endings: list[tuple[_Write, Any, BaseException | None]] = []
        try:
            with self.transaction() as connection:
                for one in group:
                    savepoint = connection.begin_nested() if len(group) > 1 else None
                    try:
                        value = one.act(connection)
                    except Exception as error:
                        told = explain(error) if isinstance(error, SQLAlchemyError) else error
                        if savepoint is None or isinstance(told, StoreUnavailableError | StoreFullError):
                            raise
                        savepoint.rollback()
                        endings.append((one, None, told))
                    else:
                        if savepoint is not None:
                            savepoint.commit()
                        endings.append((one, value, None))
        except SQLAlchemyError as error:
            return explain(error)
        except RectitudeError as error:
            return error
        except Exception as error:  # a fault of ours: told to whoever asked, the writer goes on
            for one in group:
                one.ending.set_exception(error)
            return None
        for one, value, fault in endings:
            if fault is None:
                one.ending.set_result(value)
            else:
                one.ending.set_exception(fault)
        return None

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A transaction that writes, outside the queue (migrations)."""
        with self.engine.connect() as connection:
            connection = connection.execution_options(writes=True)
            with connection.begin():
                yield connection

    @property
    def place(self) -> str:
        """Where it is, without the password."""
        return self.engine.url.render_as_string(hide_password=True)

    def close(self) -> None:
        """End the writer after what is queued, and all connections."""
        with self._lock:
            self._closed = True
            self._queue.put(None)
        if self._thread is not None:
            self._thread.join()
        self.engine.dispose()


def _engine(url: str, make: bool) -> Engine:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StoreError("The store's URL cannot be read", fix="Write sqlite:///FILE or postgresql://…") from error
    kind = parsed.get_backend_name()
    try:
        if kind == "sqlite":
            if not parsed.database or parsed.database == ":memory:":
                raise StoreError("The store needs a file, so that it survives a restart", fix="Write sqlite:///FILE")
            _own_file(Path(parsed.database), make)
            engine = create_engine(parsed, connect_args={"check_same_thread": False, "timeout": _BUSY_MS / 1000})
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
            return engine
        if kind == "postgresql":
            return create_engine(parsed.set(drivername="postgresql+psycopg"), pool_size=8, max_overflow=32)
    except ModuleNotFoundError as error:
        raise MissingExtraError("psycopg", "postgres", "A store in PostgreSQL") from error
    except NoSuchModuleError as error:
        raise StoreError(f"There is no database '{kind}'", fix="Write sqlite:///FILE or postgresql://…") from error
    raise StoreError(f"The store cannot be kept in '{kind}'", fix="Write sqlite:///FILE or postgresql://…")


def _own_file(path: Path, make: bool) -> None:
    """Make the database's file for its owner alone; SQLite gives its log the same rights."""
    if not make and not path.exists():
        raise StoreError("There is no such store", where=str(path), fix="Name the one given to 'rectitude serve'")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(0o600)
    except OSError as error:
        raise StoreError(f"The store's file cannot be written: {error.strerror}", where=str(path)) from error


def _prepare_sqlite(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # transactions begin where we say, see below
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        f"busy_timeout={_BUSY_MS}",
        "secure_delete=ON",  # what people had deleted is overwritten, not just unlinked
        "cache_size=-32768",
        "wal_autocheckpoint=16000",  # 64 MB: pages that are written often reach the file once
        "temp_store=MEMORY",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


_FULL = ("database or disk is full", "disk I/O error", "No space left", "file too large")
_NO_STORE = "file is not a database"
_AWAY = ("database is locked", "unable to open database file")
_PASSING = {"40001", "40P01", "57P01", "57P02", "57P03", "55P03"}
"""SQLSTATE of failures that pass: conflicts of transactions, shutting down, starting up."""


def explain(error: Exception) -> RectitudeError:
    """A database error as one people can act on; never with the statement's values, which may be personal."""
    if isinstance(error, RectitudeError):
        return error
    if not isinstance(error, DBAPIError):
        return StoreError(f"The store failed ({type(error).__name__})", fix="Run the service with --debug to see more")
    cause = error.orig
    text, state = str(cause), getattr(cause, "sqlstate", None)
    if any(part in text for part in _FULL) or state == "53100":
        return StoreFullError("The store's disk is full", fix="Free some space; nothing that was acknowledged is lost")
    if _NO_STORE in text:
        return StoreError("This file is not a store", fix="Give another file with --store")
    passing = error.connection_invalidated or state in _PASSING or any(part in text for part in _AWAY)
    if passing or (type(cause).__name__ == "OperationalError" and state is None and "no such" not in text):
        return StoreUnavailableError("The store's database does not answer", fix="Try again in a moment")
    return StoreError(f"The store refused the write ({type(cause).__name__})", fix="Check ids and values")
