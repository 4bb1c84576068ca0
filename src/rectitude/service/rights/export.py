"""Export my data: everything that is held of a person as one ZIP file, for them alone and for some days."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rectitude.core.errors import QueryError, RectitudeError
from rectitude.core.files import sha256, write_bytes
from rectitude.service.rights.knowing import known_of, moment

if TYPE_CHECKING:
    from rectitude.service.rights.work import Work
    from rectitude.service.service import Service
    from rectitude.service.store import Request

_PAGE = 5000
_ABOUT = """What is held of you
===================

person.json    facts, choices, requests, keys, what each model was made with, and what can be guessed from it
events.jsonl   everything you did here, one event a line, in the order it arrived
lists.json     what each model would recommend to you now, and why as far as it can tell
trail.jsonl    what was asked and done that concerns you

Made {made} (UTC). The file can be fetched until {until}.
"""


def run(work: Work) -> dict[str, Any]:
    """Write the file and say what is in it."""
    user = work.request.user
    if user is None:
        raise RectitudeError("The person was deleted before this was done")
    return work.step("file", "Gathering what is held", lambda: _write(work, user))


def export_file(service: Service, request: Request) -> Path:
    """The file of an export that is done.

    Raises:
        QueryError: The request is of another kind, is not done, or its file is gone.
    """
    if request.kind != "export":
        raise QueryError("Only an export has a file", where=request.id)
    if request.status != "done" or request.proof is None:
        raise QueryError(f"The export is not done: it is {request.status}", where=request.id)
    path = _path(service, request.id)
    if time.time() > request.proof["until"] or not path.is_file():
        raise QueryError("The export's file is gone", where=request.id, fix="Ask for a new export")
    return path


def remove_files(service: Service, subject: str) -> int:
    """Remove the files of a person's exports; say how many there were."""
    removed = 0
    for request in service.store.requests.of_subject(subject):
        path = _path(service, request.id)
        if request.kind == "export" and path.exists():
            path.unlink()
            removed += 1
    return removed


def tidy(service: Service) -> None:
    """Remove files whose time is over, and those of requests that did not end."""
    for path in _folder(service).glob("*.zip"):
        request = service.store.requests.get(path.stem)
        if request is None or request.status == "failed" or (request.proof or {}).get("until", 1e18) < time.time():
            path.unlink(missing_ok=True)


def _folder(service: Service) -> Path:
    return service.config.folder / "exports"


def _path(service: Service, identifier: str) -> Path:
    return _folder(service) / f"{identifier}.zip"


def _write(work: Work, user: str) -> dict[str, Any]:
    made, until = time.time(), time.time() + 3600 * work.config.export_hours
    known = known_of(work.service, user)
    trail = known.pop("trail")
    lists = _lists(work, user)
    buffer = io.BytesIO()
    events = 0
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("about.txt", _ABOUT.format(made=moment(made), until=moment(until)))
        archive.writestr("person.json", _json(known))
        archive.writestr("lists.json", _json(lists))
        archive.writestr("trail.jsonl", "".join(f"{_line(entry)}\n" for entry in trail))
        with archive.open("events.jsonl", "w") as file:
            for event in _events(work, user):
                file.write(f"{_line(event)}\n".encode())
                events += 1
    path = _path(work.service, work.request.id)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_bytes(path, buffer.getvalue())
    path.chmod(0o600)
    held_in_runs = {slot: len(about["history"]) for slot, about in known["runs"].items()}
    return {
        "summary": "Everything that is held of you is in the file.",
        "events": events,
        "history_in_runs": held_in_runs,
        "lists": sorted(lists),
        "bytes": path.stat().st_size,
        "sha256": sha256(path),
        "until": until,
        "fetch_until": moment(until),
    }


def _events(work: Work, user: str) -> Iterator[dict[str, Any]]:
    after = 0
    while page := work.store.events(user, after, _PAGE):
        for stored in page:
            yield stored.event._asdict() | {"at": moment(stored.event.at)}
        after = page[-1].seq


def _lists(work: Work, user: str) -> dict[str, Any]:
    """What every slot would list, answered as it is served."""
    from rectitude.service.serving.asking import Ask
    from rectitude.service.serving.served import ServedRun

    states = work.store.histories([user], work.config.max_history)
    lists: dict[str, Any] = {}
    for slot, kept in work.store.served().items():
        served = work.service.served(slot) or ServedRun.load(kept.path)
        try:
            lists[slot] = served.answer([Ask(user=user, k=20, explain=True)], states)[0].to_dict()
        except RectitudeError as error:
            lists[slot] = {"not_answered": str(error)}
    return lists


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
