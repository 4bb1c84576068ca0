"""Everything that is held of a person, gathered from the store and from the runs that are served."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from rectitude.data.columns import ITEM, TITLE, USER
from rectitude.runs.folder import FINDINGS, HISTORY, IDS

if TYPE_CHECKING:
    from rectitude.service.service import Service
    from rectitude.service.store import Request

_GUESSES = ("attribute-leakage", "membership-leakage")
_MOST_TRAIL = 1000


def known_of(service: Service, user: str) -> dict[str, Any]:
    """What is held of a person.

    Returns:
        ``facts``, ``events`` (how many, first and last), ``choices``, ``shared_percent`` (of their history that may be
        read), ``requests``, ``keys``, ``trail``, and ``runs`` by slot: whether the run was made with the person, their
        history in it, how many vectors it stores of them, and what its audit says can be guessed.
    """
    store = service.store
    facts = store.user(user)
    count, first, last = store.events_of(user)
    subject = store.subject(user)
    return {
        "user": user,
        "facts": facts.facts if facts is not None else {},
        "events": {"count": count, "first": moment(first), "last": moment(last)},
        "choices": [
            {"item": one.item, "kind": one.kind, "reason": one.reason, "at": moment(one.at)}
            for one in store.choices(user)
        ],
        "shared_percent": store.shared(user),
        "requests": [told(request) for request in store.requests.of(user)],
        "keys": [
            {"id": key.id, "name": key.name, "made": moment(key.made), "revoked": moment(key.revoked)}
            for key in store.keys.list(user)
        ],
        "deleted_at": moment(store.erased_at(user)),
        "runs": {slot: _in_run(Path(kept.path), user) for slot, kept in store.served().items()},
        "trail": [
            {"at": moment(entry.at), "actor": entry.actor, "action": entry.action, "details": entry.details}
            for entry in store.trail.page(limit=_MOST_TRAIL, subject=subject)
        ],
    }


def told(request: Request) -> dict[str, Any]:
    """A request as people and programs are told of it; the person's id is not in it."""
    return {
        "id": request.id,
        "kind": request.kind,
        "status": request.status,
        "parameters": request.parameters,
        "created": moment(request.created),
        "changed": moment(request.changed),
        "doing": request.doing,
        "steps": [{"name": step.name, "at": moment(step.at)} for step in request.steps],
        "reason": request.reason,
        "proof": request.proof,
    }


def moment(seconds: float | None) -> str | None:
    """A time as ISO 8601 in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def index_in(path: Path, user: str) -> int | None:
    """Index of a person in a run's folder, None where the run was made without them."""
    found = (
        pl.scan_parquet(path / IDS)
        .filter((pl.col("kind") == USER) & (pl.col("id") == user))
        .select("index")
        .collect()["index"]
    )
    return int(found[0]) if len(found) else None


def _in_run(path: Path, user: str) -> dict[str, Any]:
    about: dict[str, Any] = {"run": path.name, "made_with_them": False, "history": [], "guessable": _guessable(path)}
    index = index_in(path, user)
    if index is None:
        return about
    items = pl.scan_parquet(path / IDS).filter(pl.col("kind") == ITEM).select("index", "id", TITLE)
    history = (
        pl.scan_parquet(path / HISTORY)
        .filter(pl.col(USER) == index)
        .join(items, left_on=ITEM, right_on="index", how="left", maintain_order="left")
        .select(pl.col("id").alias("item"), TITLE)
        .collect()
    )
    return about | {"made_with_them": True, "history": history.to_dicts()}


def _guessable(path: Path) -> list[dict[str, Any]]:
    """What the run's audit says of guessing, in its own words."""
    file = path / FINDINGS
    if not file.is_file():
        return []
    found = json.loads(file.read_text(encoding="utf-8"))["findings"]
    keys = ("check", "attribute", "metric", "value", "floor", "title", "verdict")
    return [{key: one[key] for key in keys} for one in found if one["check"] in _GUESSES]
