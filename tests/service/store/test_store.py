from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from rectitude.core.errors import RectitudeError
from rectitude.service.store import ItemFacts, Store, StoreError, StoreFullError, UserFacts
from rectitude.service.store.tables import Base


def test_migrations_make_the_tables_that_are_declared(store: Store) -> None:
    with store.database.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, Base.metadata) == []
        assert context.get_current_revision() == "0001"


def test_a_store_of_a_newer_version_is_refused_and_left_alone(store: Store, again: Callable[[], Store]) -> None:
    store.database.write(lambda connection: connection.execute(text("UPDATE alembic_version SET version_num='9999'")))
    with pytest.raises(StoreError, match="newer version"):
        again()
    found = store.database.read(lambda c: c.execute(text("SELECT version_num FROM alembic_version")).scalar())
    assert found == "9999"


def test_two_that_start_at_once_make_one_store(url: str) -> None:
    opened: list[Store] = []
    threads = [threading.Thread(target=lambda: opened.append(Store.open(url))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({store.subject("u") for store in opened}) == 1
    for store in opened:
        store.close()


def test_a_setting_two_make_at_once_is_one(store: Store, again: Callable[[], Store]) -> None:
    other, both = again(), threading.Barrier(2)
    got: list[str] = []

    def make(value: str) -> str:
        both.wait(60)  # neither has found one
        return value

    threads = [
        threading.Thread(target=lambda each=each, name=name: got.append(each.setting_or("salt", lambda: make(name))))
        for name, each in (("one", store), ("two", other))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 2
    assert set(got) == {store.setting("salt")}
    other.close()


def test_everything_is_there_after_opening_again(store: Store, again: Callable[[], Store]) -> None:
    store.put_users([UserFacts("u", {"gender": "f", "ø": [1, None]})])
    store.put_items([ItemFacts("i", "Amélie", {"year": 2001}), ItemFacts("j", withdrawn=True)])
    store.serve("main", "/runs/a")
    store.set_setting("name", "value")
    other = again()
    assert other.user("u") == UserFacts("u", {"gender": "f", "ø": [1, None]})
    assert other.items() == [ItemFacts("i", "Amélie", {"year": 2001}), ItemFacts("j", withdrawn=True)]
    assert other.served()["main"].path == "/runs/a"
    assert other.setting("name") == "value"
    assert other.subject("u") == store.subject("u") != store.subject("v")
    other.close()


def test_items_that_changed_are_told_by_version(store: Store) -> None:
    assert store.items_version() == 0
    store.put_items([ItemFacts("a"), ItemFacts("b")])
    first = store.items_version()
    store.put_items([ItemFacts("b", "new"), ItemFacts("b", "newest")])
    assert store.items_version() > first
    assert store.items_since(first) == [ItemFacts("b", "newest")]
    assert store.items(after="a", limit=1) == [ItemFacts("b", "newest")]
    assert (store.item("a"), store.item("zzz")) == (ItemFacts("a"), None)


def test_people_are_put_replaced_and_removed(store: Store) -> None:
    store.put_users([UserFacts("u", {"a": 1}), UserFacts("v")])
    store.put_users([UserFacts("u", {"b": 2})])
    assert store.users() == [UserFacts("u", {"b": 2}), UserFacts("v")]
    assert store.users(after="u") == [UserFacts("v")]
    assert store.delete_user("u")
    assert not store.delete_user("u")
    assert store.user("u") is None


def test_a_write_that_fails_undoes_itself_and_nothing_else(store: Store) -> None:
    started, release = threading.Event(), threading.Event()

    def slow(_: object) -> None:
        started.set()
        release.wait(10)

    def bad(connection: object) -> None:
        connection.execute(text("UPDATE settings SET value = 'x'"))  # type: ignore[attr-defined]
        raise RectitudeError("on purpose")

    store.set_setting("kept", "before")
    errors: list[Exception] = []

    def attempt() -> None:
        try:
            store.database.write(bad)
        except RectitudeError as error:
            errors.append(error)

    threads = [threading.Thread(target=store.database.write, args=(slow,))]
    threads[0].start()
    started.wait(10)  # what follows is committed together
    threads += [threading.Thread(target=attempt), threading.Thread(target=store.set_setting, args=("other", "1"))]
    for thread in threads[1:]:
        thread.start()
    release.set()
    for thread in threads:
        thread.join()
    assert [error.what for error in errors] == ["on purpose"]  # type: ignore[attr-defined]
    assert (store.setting("kept"), store.setting("other")) == ("before", "1")


def test_a_closed_store_says_so(url: str) -> None:
    store = Store.open(url)
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.set_setting("a", "b")


def test_deletion_overwrites_what_was_there(tmp_path: Path) -> None:
    from rectitude.service.store import Event

    with Store.open(f"sqlite:///{tmp_path}/s.db") as store:
        store.add_events([Event(f"{n}", "somebody-unmistakable", "i", at=n) for n in range(300)])
        store.put_users([UserFacts("somebody-unmistakable", {"a": 1})])
        store.keys.make("somebody-unmistakable's", "person", "somebody-unmistakable")
        store.requests.finish_with([store.requests.put("export", "somebody-unmistakable", {}, "local").id], {})
        assert any(b"somebody-unmistakable" in path.read_bytes() for path in tmp_path.iterdir())
        store.erase("somebody-unmistakable")
        store.scrub()
        assert not any(b"somebody-unmistakable" in path.read_bytes() for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("nonsense", "URL cannot be read"),
        ("mysql://x/y", "cannot be kept in 'mysql'"),
        ("sqlite://", "needs a file"),
        ("sqlite:////proc/nowhere/s.db", "cannot be written"),
        ("postgresql://u:hidden@127.0.0.1:1/x", "does not answer"),
    ],
)
def test_wrong_addresses_are_told_without_passwords(url: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rectitude.service.store.database.PATIENCE_S", 0.1)
    with pytest.raises(StoreError, match=why) as caught:
        Store.open(url)
    assert "hidden" not in str(caught.value)


def test_a_file_that_is_no_store_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear reader, this is a letter and no database. " * 20)
    with pytest.raises(StoreError, match="not a store"):
        Store.open(f"sqlite:///{path}")
    assert path.read_text().startswith("Dear reader")
    with pytest.raises(StoreError, match="no such store"):
        Store.open(f"sqlite:///{tmp_path}/none.db", make=False)
    assert not (tmp_path / "none.db").exists()


def test_the_file_is_for_its_owner_alone_and_safe_from_power_cuts(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path}/s.db") as store:
        store.set_setting("a", "b")
        for path in tmp_path.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with store.database.engine.connect() as connection:
            pragma = {
                name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous", "secure_delete")
            }
    assert pragma == {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1}


_FILL = """
import resource, sys
from rectitude.service.store import Event, Store, StoreFullError
store = Store.open(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
acknowledged = 0
try:
    for start in range(1000):
        store.add_events([Event(f"{start}-{n}", "u", "i", at=start) for n in range(100)])
        acknowledged += 100
except StoreFullError as error:
    print(acknowledged, error)
    store.histories(["u"])
"""


def test_a_full_disk_is_told_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    done = subprocess.run([sys.executable, "-c", _FILL, url], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    count, _, told = done.stdout.partition(" ")
    assert "full" in told
    with sqlite3.connect(tmp_path / "s.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    with Store.open(url) as store:
        assert store.events_of("u")[0] >= int(count) > 0
        store.set_setting("goes", "on")
    assert StoreFullError("x").what == "x"
