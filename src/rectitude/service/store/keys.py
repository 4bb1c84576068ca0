"""API keys: made once, shown once, kept as a digest.

A key is ``rk_<id>_<secret>``; the secret is 32 random bytes, so its plain SHA-256 cannot be guessed back.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sqlalchemy import Connection, func, insert, select, update

from rectitude.core.errors import did_you_mean
from rectitude.service.store.database import Also, Database, StoreError
from rectitude.service.store.people import Subjects
from rectitude.service.store.tables import KeyRow

Role = Literal["read", "write", "person", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
_PREFIX = "rk_"


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What may be told of a key.

    Attributes:
        id: First part of its text.
        name: What it is for.
        role: What it may do.
        user: Whom a person's key belongs to; None once they were deleted.
        subject: Keyed digest of that person.
        made: Seconds since 1970.
        revoked: Likewise, None while it is good.
    """

    id: str
    name: str
    role: Role
    user: str | None
    subject: str | None
    made: float
    revoked: float | None


class Keys:
    """The keys of a store.

    Args:
        database: Where.
        subjects: Digests of people.
    """

    def __init__(self, database: Database, subjects: Subjects) -> None:
        self._database, self._subjects = database, subjects

    def make(
        self, name: str, role: Role, user: str | None = None, *, told: Callable[[KeyInfo], Also] | None = None
    ) -> tuple[KeyInfo, str]:
        """A new key and its text, which is never shown again.

        Args:
            name: What it is for.
            role: What it may do.
            user: Whom a person's key belongs to.
            told: Makes an entry of the trail, to be written with it.

        Raises:
            StoreError: The role is unknown, a person's key names nobody, or another names somebody.
        """
        if role not in ROLES:
            raise StoreError(f"There is no role '{role}'", fix=did_you_mean(role, ROLES))
        if (role == "person") != (user is not None):
            raise StoreError(
                "A person's key belongs to one person, and other keys to nobody",
                fix="Give the role person and a user, or neither",
            )
        identifier, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        subject = self._subjects.digest(user) if user is not None else None
        info = KeyInfo(identifier, name, role, user, subject, time.time(), None)
        row = {
            "id": identifier,
            "name": name,
            "role": role,
            "user_id": user,
            "subject": subject,
            "digest": _digest(secret),
            "made": info.made,
            "revoked": None,
        }

        def act(connection: Connection) -> None:
            connection.execute(insert(KeyRow), row)
            if told is not None:
                told(info)(connection)

        self._database.write(act)
        return info, f"{_PREFIX}{identifier}_{secret}"

    def verify(self, text: str) -> KeyInfo | None:
        """The key a text opens, None where it opens nothing; takes as long for a wrong secret as for a right one."""
        prefix, _, rest = text.partition(_PREFIX)
        identifier, _, secret = rest.partition("_")
        if prefix or not identifier.isalnum() or not text.isascii():
            return None
        row = self._database.read(
            lambda connection: connection.execute(_columns(KeyRow.digest).where(KeyRow.id == identifier)).first()
        )
        kept = row[-1] if row is not None else "0" * 64
        right = hmac.compare_digest(_digest(secret), kept)
        if row is None or not right:
            return None
        info = KeyInfo(*row[:-1])
        return info if info.revoked is None else None

    def get(self, identifier: str) -> KeyInfo | None:
        """A key by its id."""
        wanted = _columns().where(KeyRow.id == identifier)
        row = self._database.read(lambda connection: connection.execute(wanted).first())
        return KeyInfo(*row) if row is not None else None

    def list(self, user: str | None = None) -> list[KeyInfo]:
        """All keys, or a person's, oldest first."""
        wanted = _columns().order_by(KeyRow.made, KeyRow.id)
        if user is not None:
            wanted = wanted.where(KeyRow.user_id == user)
        return [KeyInfo(*row) for row in self._database.read(lambda connection: connection.execute(wanted).fetchall())]

    def any(self) -> bool:
        """Is there a key that is good?"""
        wanted = select(func.count()).select_from(KeyRow).where(KeyRow.revoked.is_(None))
        return bool(self._database.read(lambda connection: connection.execute(wanted).scalar()))

    def revoke(self, identifier: str, *, also: Also | None = None) -> bool:
        """Make a key open nothing; say whether it did before."""
        revoked = update(KeyRow).where(KeyRow.id == identifier, KeyRow.revoked.is_(None)).values(revoked=time.time())
        return self._database.change(revoked, also)


def _columns(*more: Any) -> Any:
    return select(
        KeyRow.id, KeyRow.name, KeyRow.role, KeyRow.user_id, KeyRow.subject, KeyRow.made, KeyRow.revoked, *more
    )


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
