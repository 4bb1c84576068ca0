"""Requests of people as a durable queue: claimed with a lease, done in recorded steps, ended with proof."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from sqlalchemy import Connection, delete, insert, or_, select, update

from rectitude.service.store.database import Also, Database, StoreError
from rectitude.service.store.people import Subjects
from rectitude.service.store.tables import RequestRow, StepRow

Status = Literal["waiting", "queued", "running", "done", "failed"]


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a job that is done."""

    name: str
    at: float
    outcome: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for, and how far it has come.

    Attributes:
        id: Not to be guessed.
        kind: ``export``, ``delete``, ``forget`` or ``remedy``.
        user: Whom it concerns; None for remedies that concern many, and once the person was deleted.
        subject: Keyed digest of that person.
        parameters: What exactly was asked.
        actor: Who asked, as in the trail.
        status: ``waiting`` (for approval), ``queued``, ``running``, ``done`` or ``failed``.
        created: Seconds since 1970.
        changed: Likewise.
        doing: What is being done at the moment.
        attempts: How often it was taken up since a step was last done.
        reason: Why it failed.
        proof: What was done and what is left, once it is done.
        steps: Done so far.
    """

    id: str
    kind: str
    user: str | None
    subject: str | None
    parameters: dict[str, Any]
    actor: str
    status: Status
    created: float
    changed: float
    doing: str | None
    attempts: int
    reason: str | None
    proof: dict[str, Any] | None
    steps: tuple[Step, ...] = field(default=())

    @property
    def ended(self) -> bool:
        """Is nothing going to happen any more?"""
        return self.status in ("done", "failed")


class LeaseLostError(StoreError):
    """Somebody else has taken the job up."""


def new_identifier() -> str:
    """A request's id, which cannot be guessed."""
    return secrets.token_hex(16)


def recording(identifier: str, name: str, outcome: Mapping[str, Any]) -> Also:
    """Records a step as done, as a part of a transaction."""

    def act(connection: Connection) -> None:
        connection.execute(delete(StepRow).where(StepRow.request_id == identifier, StepRow.name == name))
        row = {"request_id": identifier, "name": name, "at": time.time(), "outcome": dict(outcome)}
        connection.execute(insert(StepRow), row)

    return act


class Requests:
    """The requests of a store.

    Args:
        database: Where.
        subjects: Digests of people.
    """

    def __init__(self, database: Database, subjects: Subjects) -> None:
        self._database, self._subjects = database, subjects

    def put(
        self,
        kind: str,
        user: str | None,
        parameters: Mapping[str, Any],
        actor: str,
        *,
        approved: bool = True,
        identifier: str | None = None,
        also: Sequence[Also] = (),
    ) -> Request:
        """A new request; one that is not approved waits for :meth:`approve`.

        Whoever asks for the same again before it has ended is given the request they have.

        Args:
            kind: What is asked for.
            user: Whom it concerns, if it is one person.
            parameters: What exactly.
            actor: Who asks.
            approved: It may be worked at.
            identifier: From :func:`new_identifier`, for callers that need it beforehand.
            also: Written in the same transaction, if the request is new.
        """
        identifier, moment = identifier or new_identifier(), time.time()
        subject = self._subjects.digest(user) if user is not None else None
        status: Status = "queued" if approved else "waiting"
        row = {
            "id": identifier,
            "kind": kind,
            "user_id": user,
            "subject": subject,
            "parameters": dict(parameters),
            "actor": actor,
            "status": status,
            "created": moment,
            "changed": moment,
            "attempts": 0,
        }

        same = _columns().where(
            RequestRow.kind == kind, RequestRow.subject == subject, RequestRow.status.not_in(("done", "failed"))
        )

        def act(connection: Connection) -> Request:
            for found in connection.execute(same).fetchall():
                if found[4] == row["parameters"]:
                    return Request(*found)
            connection.execute(insert(RequestRow), row)
            for write in also:
                write(connection)
            return Request(*connection.execute(_columns().where(RequestRow.id == identifier)).one())

        return self._database.write(act)

    def get(self, identifier: str) -> Request | None:
        """A request with its steps."""
        wanted = _columns().where(RequestRow.id == identifier)
        steps = select(StepRow.name, StepRow.at, StepRow.outcome).where(StepRow.request_id == identifier)

        def act(connection: Connection) -> Request | None:
            row = connection.execute(wanted).first()
            if row is None:
                return None
            done = connection.execute(steps.order_by(StepRow.at, StepRow.name)).fetchall()
            return replace(Request(*row), steps=tuple(Step(*step) for step in done))

        return self._database.read(act)

    def of(self, user: str) -> list[Request]:
        """A person's requests, latest first, without their steps."""
        return self.of_subject(self._subjects.digest(user))

    def of_subject(self, subject: str) -> list[Request]:
        """The requests of whoever has this digest, latest first; also after their deletion."""
        return self._several(_columns().where(RequestRow.subject == subject))

    def all(self, status: Status | None = None, kind: str | None = None, limit: int = 1000) -> list[Request]:
        """Requests, latest first, without their steps."""
        wanted = _columns().limit(limit)
        if status is not None:
            wanted = wanted.where(RequestRow.status == status)
        if kind is not None:
            wanted = wanted.where(RequestRow.kind == kind)
        return self._several(wanted)

    def _several(self, wanted: Any) -> list[Request]:
        wanted = wanted.order_by(RequestRow.created.desc(), RequestRow.id)
        return [Request(*row) for row in self._database.read(lambda connection: connection.execute(wanted).fetchall())]

    def approve(self, identifier: str, *, also: Also | None = None) -> bool:
        """Let a waiting request go on; say whether it was waiting."""
        return self._change(identifier, RequestRow.status == "waiting", also, status="queued")

    # ---- for the runner ------------------------------------------------------------------------------------------

    def claim(self, owner: str, lease_s: float) -> Request | None:
        """Take up the oldest request that nobody works at, for a while; None where there is none."""
        moment = time.time()
        free = or_(RequestRow.status == "queued", (RequestRow.status == "running") & (RequestRow.lease_until < moment))
        wanted = select(RequestRow.id).where(free).order_by(RequestRow.created, RequestRow.id).limit(1)
        if self._database.read(lambda connection: connection.execute(wanted).scalar()) is None:
            return None

        def act(connection: Connection) -> str | None:
            found: str | None = connection.execute(wanted.with_for_update(skip_locked=True)).scalar()
            if found is not None:
                taken = update(RequestRow).where(RequestRow.id == found)
                connection.execute(
                    taken.values(
                        status="running",
                        owner=owner,
                        lease_until=moment + lease_s,
                        attempts=RequestRow.attempts + 1,
                        changed=moment,
                    )
                )
            return found

        identifier = self._database.write(act)
        return self.get(identifier) if identifier is not None else None

    def heartbeat(self, identifier: str, owner: str, lease_s: float, doing: str | None = None) -> bool:
        """Keep the lease; False where it is lost."""
        values: dict[str, Any] = {"lease_until": time.time() + lease_s}
        if doing is not None:
            values |= {"doing": doing, "changed": time.time()}
        return self._change(identifier, RequestRow.owner == owner, **values)

    def step_done(self, identifier: str, owner: str, name: str, outcome: Mapping[str, Any]) -> None:
        """Record that a step is done; attempts are counted anew.

        Raises:
            LeaseLostError: Somebody else has taken the job up.
        """

        def act(connection: Connection) -> None:
            _still(connection, identifier, owner)
            recording(identifier, name, outcome)(connection)
            connection.execute(update(RequestRow).where(RequestRow.id == identifier).values(attempts=0))

        self._database.write(act, repeatable=True)

    def finish(
        self,
        identifier: str,
        owner: str,
        proof: Mapping[str, Any],
        *,
        nameless: bool = False,
        also: Also | None = None,
    ) -> None:
        """Report a job done, with its proof; ``nameless`` takes the person's id out of the request.

        Raises:
            LeaseLostError: Somebody else has taken the job up.
        """
        name = {"user_id": None} if nameless else {}
        self._end(identifier, owner, also, status="done", proof=dict(proof), **name)

    def finish_with(self, identifiers: Sequence[str], proof: Mapping[str, Any]) -> int:
        """Report requests done that another job has done too; those that somebody works at or that ended are left.

        Returns:
            How many were.
        """
        idle = RequestRow.status.in_(("waiting", "queued"))
        act = update(RequestRow).where(RequestRow.id.in_(identifiers), idle)
        act = act.values(status="done", proof=dict(proof), changed=time.time())
        return self._database.write(lambda connection: connection.execute(act).rowcount, repeatable=True)

    def fail(self, identifier: str, owner: str, reason: str, *, also: Also | None = None) -> None:
        """Report that a job cannot be done.

        Raises:
            LeaseLostError: Somebody else has taken the job up.
        """
        self._end(identifier, owner, also, status="failed", reason=reason)

    def release(self, identifier: str, owner: str) -> bool:
        """Give a job back to the queue as it is, for an orderly end of the process."""
        return self._change(identifier, RequestRow.owner == owner, status="queued", owner=None, lease_until=None)

    def retry(self, identifier: str, *, also: Also | None = None) -> bool:
        """Queue a failed request again; its done steps stay done."""
        return self._change(identifier, RequestRow.status == "failed", also, status="queued", reason=None, attempts=0)

    def _end(self, identifier: str, owner: str, also: Also | None, **values: Any) -> None:
        def act(connection: Connection) -> None:
            _still(connection, identifier, owner)
            ended = update(RequestRow).where(RequestRow.id == identifier)
            connection.execute(ended.values(changed=time.time(), doing=None, owner=None, lease_until=None, **values))
            if also is not None:
                also(connection)

        self._database.write(act)

    def _change(self, identifier: str, where: Any, also: Also | None = None, **values: Any) -> bool:
        values.setdefault("changed", time.time())
        act = update(RequestRow).where(RequestRow.id == identifier, where).values(**values)
        return self._database.change(act, also)


def _columns() -> Any:
    return select(
        RequestRow.id,
        RequestRow.kind,
        RequestRow.user_id,
        RequestRow.subject,
        RequestRow.parameters,
        RequestRow.actor,
        RequestRow.status,
        RequestRow.created,
        RequestRow.changed,
        RequestRow.doing,
        RequestRow.attempts,
        RequestRow.reason,
        RequestRow.proof,
    )


def _still(connection: Connection, identifier: str, owner: str) -> None:
    wanted = select(RequestRow.id).where(RequestRow.id == identifier, RequestRow.owner == owner).with_for_update()
    if connection.execute(wanted).scalar() is None:
        raise LeaseLostError("The job was taken up by another process", where=identifier)
