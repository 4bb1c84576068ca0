"""Keys, made and revoked with an entry in the trail."""

from __future__ import annotations

from typing import Any

from rectitude.core.errors import QueryError
from rectitude.service.rights.knowing import moment
from rectitude.service.store import KeyInfo, Role, Store
from rectitude.service.store.database import Also


def make_key(store: Store, actor: str, name: str, role: Role, user: str | None = None) -> tuple[KeyInfo, str]:
    """A new key and its text, which is never shown again.

    Raises:
        StoreError: The role is unknown, a person's key names nobody, or another names somebody.
    """

    def told(key: KeyInfo) -> Also:
        return store.trail.entry(actor, "key.made", user=user, details={"key": key.id, "role": role})

    return store.keys.make(name, role, user, told=told)


def revoke_key(store: Store, actor: str, identifier: str) -> None:
    """Make a key open nothing.

    Raises:
        QueryError: There is no such key, or it was revoked already.
    """
    entry = store.trail.entry(actor, "key.revoked", details={"key": identifier})
    if not store.keys.revoke(identifier, also=entry):
        raise QueryError(f"No key '{identifier}' is in use", fix="'rectitude keys list' shows them")


def told_key(key: KeyInfo) -> dict[str, Any]:
    """A key as people and programs are told of it."""
    return {
        "id": key.id,
        "name": key.name,
        "role": key.role,
        "user": key.user,
        "made": moment(key.made),
        "revoked": moment(key.revoked),
    }
