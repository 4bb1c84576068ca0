"""What a person, or an operator for them, can ask for. Every act is written into the trail with what it changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, get_args

from rectitude.core.errors import QueryError, did_you_mean
from rectitude.service.store import Request
from rectitude.service.store.database import Also
from rectitude.service.store.events import LONGEST_ID
from rectitude.service.store.people import ALL
from rectitude.service.store.queue import new_identifier, recording

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from rectitude.service.access import Principal
    from rectitude.service.service import Service

Kind = Literal["export", "delete", "forget"]
KINDS: tuple[Kind, ...] = get_args(Kind)
ROWS = "rows"
"""Step of a deletion that is done when it is asked for."""
_LONGEST_REASON = 2000


def ask(service: Service, principal: Principal, kind: str, user: str, attribute: str | None = None) -> Request:
    """Put a request into the queue; asking again before it has ended gives the same one.

    What can be done at once is: a deletion has removed every row of the person when this returns, and a fact to be
    forgotten is gone. What takes work follows as a job.

    Args:
        service: Of this process.
        principal: Who asks.
        kind: ``export``, ``delete`` or ``forget``.
        user: Whom it concerns.
        attribute: What is to be forgotten.

    Raises:
        QueryError: The kind is unknown, or something is missing or too long.
    """
    if kind not in KINDS:
        raise QueryError(f"There is no request '{kind}'", where="kind", fix=did_you_mean(kind, KINDS))
    if kind == "forget" and attribute is None:
        raise QueryError("It is not said what is to be forgotten", where="attribute", fix="Name it, e.g. gender")
    if kind != "forget" and attribute is not None:
        raise QueryError("Only what is to be forgotten names an attribute", where="attribute", fix="Leave it out")
    _check_id(user, "user")
    store, identifier = service.store, new_identifier()
    parameters = {"attribute": attribute} if attribute is not None else {}
    also = [store.trail.entry(principal.name, f"{kind}.asked", user=user, details={**parameters, "id": identifier})]
    approved = True
    if kind == "delete":
        also.append(_erase_rows(service, user, identifier))
    if attribute is not None:
        _check_id(attribute, "attribute")
        approved = principal.is_admin or service.config.forget == "automatic"
        removing = store.forgetting(user, attribute)

        def forget_fact(connection: Connection) -> None:
            outcome = {"fact_removed": removing(connection)}
            recording(identifier, "fact", outcome)(connection)

        also.append(forget_fact)
    request = store.requests.put(
        kind, user, parameters, principal.name, approved=approved, identifier=identifier, also=also
    )
    if kind == "delete":
        service.keys.forget()  # the person's key has no name any more
    service.jobs.wake()
    return request


def _erase_rows(service: Service, user: str, identifier: str) -> Also:
    holding, erasing = service.store.holding(user), service.store.erasing(user, identifier)

    def act(connection: Connection) -> None:
        before = holding(connection)
        erasing(connection)
        after = holding(connection)
        for counts in (before, after):
            counts["requests"] -= 1  # this one, which needs the name until it ends
        recording(identifier, ROWS, {"before": before, "after": after})(connection)

    return act


def approve(service: Service, principal: Principal, identifier: str) -> Request:
    """Let a request that waits for an operator go on.

    Raises:
        QueryError: There is no such request, or it does not wait.
    """
    return _queued(service, principal, identifier, service.store.requests.approve, "approved", "does not wait")


def retry(service: Service, principal: Principal, identifier: str) -> Request:
    """Try a failed request again; what it has done stays done.

    Raises:
        QueryError: There is no such request, or it has not failed.
    """
    return _queued(service, principal, identifier, service.store.requests.retry, "retried", "has not failed")


def _queued(
    service: Service, principal: Principal, identifier: str, act: Callable[..., bool], done: str, otherwise: str
) -> Request:
    request = of_request(service, identifier)
    entry = service.store.trail.entry(
        principal.name, f"{request.kind}.{done}", subject=request.subject, details={"id": identifier}
    )
    if not act(identifier, also=entry):
        raise QueryError(f"The request {otherwise}: it is {request.status}", where=identifier)
    service.jobs.wake()
    return of_request(service, identifier)


def of_request(service: Service, identifier: str) -> Request:
    """A request by its id.

    Raises:
        QueryError: There is none.
    """
    request = service.store.requests.get(identifier)
    if request is None:
        raise QueryError("There is no such request", where=identifier)
    return request


# ---- single items ----------------------------------------------------------------------------------------------------


def stop_item(service: Service, principal: Principal, user: str, item: str) -> None:
    """Do not use an item of the person's history; in force for the next answer.

    Raises:
        QueryError: An id is too long or empty.
    """
    _check(user, item)
    entry = service.store.trail.entry(principal.name, "item.stopped", user=user, details={"item": item})
    service.store.stop_item(user, item, also=entry)


def undo_stop(service: Service, principal: Principal, user: str, item: str) -> bool:
    """Use the item again; say whether it was stopped."""
    _check(user, item)
    entry = service.store.trail.entry(principal.name, "item.used_again", user=user, details={"item": item})
    return service.store.undo_stop(user, item, also=entry)


def object_to(service: Service, principal: Principal, user: str, item: str, reason: str | None = None) -> None:
    """Never show an item to this person again; in force for the next answer.

    Raises:
        QueryError: An id or the reason is too long.
    """
    _check(user, item)
    if reason is not None and (len(reason) > _LONGEST_REASON or "\0" in reason):
        raise QueryError(f"A reason has at most {_LONGEST_REASON:,} characters", where="reason")
    entry = service.store.trail.entry(principal.name, "item.objected", user=user, details={"item": item})
    service.store.object(user, item, reason, also=entry)


def undo_objection(service: Service, principal: Principal, user: str, item: str) -> bool:
    """Take an objection back; say whether there was one."""
    _check(user, item)
    entry = service.store.trail.entry(principal.name, "item.objection_undone", user=user, details={"item": item})
    return service.store.undo_objection(user, item, also=entry)


def share(service: Service, principal: Principal, user: str, percent: int) -> None:
    """Read only this much of the person's history, the newest part; in force for the next answer.

    Raises:
        QueryError: It is no percentage, or the id is too long or empty.
    """
    _check_id(user, "user")
    if not 0 <= percent <= ALL:
        raise QueryError("A share lies between 0 and 100 per cent", where="percent")
    entry = service.store.trail.entry(principal.name, "history.shared", user=user, details={"percent": percent})
    service.store.share(user, percent, also=entry)


def _check(user: str, item: str) -> None:
    _check_id(user, "user")
    _check_id(item, "item")


def _check_id(text: str, what: str) -> None:
    if not text or len(text) > LONGEST_ID or "\0" in text or any("\ud800" <= sign <= "\udfff" for sign in text):
        raise QueryError(f"An id has 1 to {LONGEST_ID} characters, all of them whole", where=what)
