"""Delete me: rows when it is asked, then every run that is served is repaired, exchanged, and its old folder cleared.

While the models are being repaired the person's history in them is masked, for the store knows the digest of whoever
was deleted. Nothing is reported done before the last check has found nothing.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from rectitude.core.errors import RectitudeError
from rectitude.core.files import replace_folder
from rectitude.data.columns import USER
from rectitude.runs.folder import IDS
from rectitude.service.rights.asking import ROWS
from rectitude.service.rights.export import remove_files
from rectitude.service.rights.knowing import index_in
from rectitude.service.rights.work import Work
from rectitude.workflow.deletion import EMPTY, delete_people, folder_hash

if TYPE_CHECKING:
    from rectitude.service.service import Service

_MIRRORS = "repaired-runs"
"""Setting: folders an operator named, each with the repaired run that has taken its place in service."""
_MOST_ROUNDS = 10
_FOLLOWED_WITHIN_S = 2.0
"""Other processes look every second which runs to serve."""
_STAYS = (
    "The table the run was made from is its keeper's: take the person out of it too, or the next training brings them "
    "back.",
    "Copies made by others (backups of the database and of run folders, exported lists) are not reached from here.",
    "A keyed digest stays, by which late events of before the deletion are turned away, and the trail of this request.",
)


def run(work: Work) -> dict[str, Any]:
    """Repair what is served and prove it."""
    user, subject = work.request.user, work.request.subject
    if user is None or subject is None:
        raise RectitudeError("The request does not say whom it concerns")
    files = work.step("files", "Removing exported files", lambda: {"removed": remove_files(work.service, subject)})
    repaired: list[dict[str, Any]] = []
    for number in range(1, _MOST_ROUNDS + 1):
        plan = work.step(f"plan {number}", "Looking which models hold the person", lambda: _plan(work, user))
        for path, slots in plan["runs"].items():
            repaired.append(_repair(work, user, Path(path), slots, f"{number} {Path(path).name}"))
        if not plan["runs"]:
            break
    else:
        raise RectitudeError("Runs that hold the person were put into service again and again", fix="Ask once more")
    unserved = work.step(
        "unserved", "Removing runs that stand ready and hold the person", lambda: _unserved(work, user)
    )
    checked = work.step("check", "Checking that nothing is left", lambda: _check(work, user))
    rows = work.outcome(ROWS)
    return {
        "summary": _summary(rows, repaired),
        "rows": {**rows, "after": checked["rows"]},
        "exported_files_removed": files["removed"],
        "runs": repaired,
        "unserved_runs_removed": unserved["removed"],
        "left": [sentence for one in repaired for sentence in one["left"]],
        "stays": [*_STAYS, *(["The old run folders were kept, as configured."] if work.config.keep_old_runs else ())],
        "checked": checked,
    }


def _unserved(work: Work, user: str) -> dict[str, Any]:
    """Runs that a remedy made hold the person too, put into service or not; they can be made again."""
    serving = {kept.path for kept in work.store.served().values()}
    found = [path.parent for path in sorted((work.folder / "runs").glob(f"*/{IDS}")) if str(path.parent) not in serving]
    held = [path for path in found if index_in(path, user) is not None]
    for path in held:
        shutil.rmtree(path)
    return {"removed": [path.name for path in held]}


def _plan(work: Work, user: str) -> dict[str, Any]:
    found: dict[str, list[str]] = {}
    for slot, kept in work.store.served().items():
        if index_in(Path(kept.path), user) is not None:
            found.setdefault(kept.path, []).append(slot)
    return {"runs": found}


def _repair(work: Work, user: str, path: Path, slots: list[str], name: str) -> dict[str, Any]:
    """One run through repair, exchange and clearing."""
    target = work.folder / "runs" / f"{_stem(path)}-{work.request.id[:8]}"
    told = work.step(f"repair {name}", f"Repairing the model {path.name}", lambda: _repaired(work, user, path, target))
    work.step(
        f"exchange {name}", f"Putting the repaired model {path.name} into service", lambda: exchange(work, path, target)
    )
    clear = not work.config.keep_old_runs
    cleared = work.step(
        f"clear {name}", f"Clearing the old folder of {path.name}", lambda: retire(work, path, target, clear=clear)
    )
    return {**told, "slots": slots, **cleared}


def _stem(path: Path) -> str:
    """Name of the run without what earlier repairs added."""
    stem, dash, last = path.name.rpartition("-")
    repaired = dash and len(last) == 8 and all(sign in "0123456789abcdef" for sign in last)
    return stem if repaired else path.name


def _repaired(work: Work, user: str, path: Path, target: Path) -> dict[str, Any]:
    """The new run, without this person and without everybody else who was deleted since it was made."""
    others = [other for other in erased_in(work.service, path) if other != user]
    people = [user, *others]
    marks = [work.store.subject(person) for person in people]
    made, told = delete_people(
        path,
        people,
        out=target,
        retrain=work.config.on_delete == "retrain",
        marks=marks,
        overwrite=True,  # what a process that died left here
    )
    return {
        "run": path.name,
        "new_run": made.name,
        "model": made.model.title,
        "remedy": told["remedy"],
        "why": told["why"],
        "before": told["before"][0],
        "after": told["after"][0],
        "membership": told["membership"][0],
        "files": told["files"],
        "left": told["left"],
        "together_with": len(others),
        "seconds": told["seconds"],
    }


def erased_in(service: Service, path: Path) -> list[str]:
    """People in a run's folder who were deleted from the service."""
    erased = service.store.erased_subjects()
    names = pl.scan_parquet(path / IDS).filter(pl.col("kind") == USER).select("id").collect()["id"]
    return [name for name in names.to_list() if not name.startswith(EMPTY) and service.store.subject(name) in erased]


def exchange(work: Work, path: Path, target: Path) -> dict[str, Any]:
    """Serve another run in every slot where a run stands; this process does when this returns, others soon after."""
    moved = [slot for slot, kept in work.store.served().items() if kept.path == str(path)]
    for slot in moved:
        work.store.serve(slot, str(target))
    work.service.follow()
    if work.config.workers > 1:
        time.sleep(_FOLLOWED_WITHIN_S)
    return {"slots": moved}


def retire(work: Work, path: Path, target: Path, *, clear: bool) -> dict[str, Any]:
    """Deal with the folder of a run that is out of service: ours is removed; an operator's is theirs.

    Args:
        work: The job.
        path: The old run.
        target: The run in its place.
        clear: Make the operator's folder a copy of the new run, so that nothing in it is left; otherwise it stays, and
            a later deletion clears it.
    """
    for folder in _theirs(work.service, path)[0] if clear else ():
        if Path(folder).exists():
            with replace_folder(folder) as building:
                shutil.copytree(target, building, dirs_exist_ok=True)
    replaced(work.service, path, target)
    if is_ours(work.service, path):
        shutil.rmtree(path, ignore_errors=True)
        return {"old_folder": "removed"}
    return {"old_folder": "replaced by a copy of the repaired run" if clear else "kept as it was"}


def is_ours(service: Service, path: Path) -> bool:
    """Did the service make this run, rather than an operator name it?"""
    return path.resolve().is_relative_to(service.config.folder.resolve() / "runs")


def _theirs(service: Service, path: Path) -> tuple[list[str], dict[str, str]]:
    """Folders an operator named in whose place a run stands, its own among them; and all such folders with the run."""
    mirrors: dict[str, str] = json.loads(service.store.setting(_MIRRORS) or "{}")
    own = [] if is_ours(service, path) else [str(path)]
    return [folder for folder, run in mirrors.items() if run == str(path)] + own, mirrors


def replaced(service: Service, path: Path, target: Path) -> None:
    """Remember that a run stands in service where another did, so that a later deletion clears the other's folder."""
    folders, mirrors = _theirs(service, path)
    mirrors |= dict.fromkeys(folders, str(target))
    mirrors.pop(str(target), None)
    service.store.set_setting(_MIRRORS, json.dumps(mirrors, sort_keys=True))


def _check(work: Work, user: str) -> dict[str, Any]:
    """Count again, everywhere.

    Raises:
        RectitudeError: Something is left.
    """
    work.store.scrub()
    rows = work.store.held(user)
    rows["requests"] -= 1  # this one, whose name goes with its end
    runs: dict[str, Any] = {}
    for slot, kept in work.store.served().items():
        path = Path(kept.path)
        runs[slot] = {"run": path.name, "held": index_in(path, user) is not None, "files": folder_hash(path)}
    if any(rows.values()) or any(run["held"] for run in runs.values()):
        what = ", ".join(
            [name for name, count in rows.items() if count] + [s for s, run in runs.items() if run["held"]]
        )
        raise RectitudeError(f"Something of the person has come back meanwhile: {what}", fix="Ask once more")
    return {"rows": rows, "runs": runs}


def _summary(rows: dict[str, Any], repaired: list[dict[str, Any]]) -> str:
    count = sum(rows["before"].values())
    told = f"{count:,} rows were removed from the database at once."
    if not repaired:
        return f"{told} No model in service was made with you."
    models = "; ".join(f"{one['model']}: {one['remedy']}" for one in repaired)
    return f"{told} {len(repaired)} model{'s were' if len(repaired) > 1 else ' was'} repaired ({models})."
