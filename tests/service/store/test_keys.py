from __future__ import annotations

import pytest
from sqlalchemy import text

from rectitude.service.store import Store, StoreError


def test_a_key_opens_until_it_is_revoked(store: Store) -> None:
    assert not store.keys.any()
    key, secret = store.keys.make("shop", "write")
    assert secret.startswith(f"rk_{key.id}_")
    assert store.keys.any()
    assert store.keys.verify(secret) == key
    assert store.keys.revoke(key.id)
    assert not store.keys.revoke(key.id)
    assert store.keys.verify(secret) is None
    assert not store.keys.any()
    found = store.keys.get(key.id)
    assert found is not None
    assert found.revoked is not None


def test_nothing_else_opens(store: Store) -> None:
    key, secret = store.keys.make("a", "admin")
    other, _ = store.keys.make("b", "read")
    wrong = [secret[:-1], secret + "x", secret.replace(key.id, other.id), "", "rk_", "rk__", f"rk_{key.id}_"]
    wrong += [f"x{secret}", secret.upper(), f" {secret}", "rk_' OR 1=1 --_x", "rk_é_x", "\0", "rk_" + "a" * 10_000]
    assert [store.keys.verify(text) for text in wrong] == [None] * len(wrong)


def test_the_secret_is_nowhere_in_the_store(store: Store) -> None:
    _, secret = store.keys.make("a", "admin")
    rows = store.database.read(lambda connection: connection.execute(text("SELECT * FROM keys")).fetchall())
    assert secret.rpartition("_")[2] not in str(rows)
    assert secret not in str(store.keys.list())


def test_a_persons_key_belongs_to_a_person_and_no_other_does(store: Store) -> None:
    with pytest.raises(StoreError, match="belongs to one person"):
        store.keys.make("x", "person")
    with pytest.raises(StoreError, match="belongs to one person"):
        store.keys.make("x", "read", "u")
    with pytest.raises(StoreError, match="no role 'root'"):
        store.keys.make("x", "root")  # type: ignore[arg-type]


def test_a_deleted_persons_key_keeps_a_digest_and_no_name(store: Store) -> None:
    _, secret = store.keys.make("Anna's phone", "person", "anna")
    store.erase("anna")
    found = store.keys.verify(secret)
    assert found is not None
    assert (found.user, found.subject, found.name) == (None, store.subject("anna"), "a person who was deleted")
    assert store.keys.list("anna") == []
