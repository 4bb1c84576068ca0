"""Plans for many people: in parallel processes, with a bar, in the order asked."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rectitude.core.errors import RectitudeError, RunError
from rectitude.core.progress import progress_bar
from rectitude.decisions.plans.building import Person
from rectitude.decisions.plans.policy import Policy
from rectitude.decisions.plans.prescriber import Prescriber

_PIECE = 16
"""People handed to a process at a time."""
_here: dict[str, Any] = {}
"""What a process of the pool holds: its prescriber and policy."""


def plans(
    prescriber: Prescriber, people: Sequence[tuple[str, Person]], policy: Policy, *, jobs: int = 1
) -> list[dict[str, Any]]:
    """The plan of everybody as JSON, with ``id``, in the order given.

    A person whose answers cannot be used is reported in place of a plan (``error``); the others are served.

    Args:
        prescriber: Kept as a run where ``jobs`` is more than 1.
        people: Name and answers.
        policy: What to weigh.
        jobs: Processes.

    Raises:
        RunError: Several processes are asked for, and the prescriber is not kept anywhere.
    """
    if jobs > 1 and prescriber.path is None:
        raise RunError("Several processes need a prescriber that is kept as a run", fix="Save it first, or use one job")
    found: list[dict[str, Any]] = []
    with progress_bar() as bar:
        task = bar.add_task("Planning", total=len(people), note="")
        if jobs <= 1:
            for name, person in people:
                found.append(_one(prescriber, name, person, policy))
                bar.advance(task)
            return found
        pieces = [people[at : at + _PIECE] for at in range(0, len(people), _PIECE)]
        with _one_thread(), ProcessPoolExecutor(
            jobs, get_context("spawn"), initializer=_start, initargs=(str(prescriber.path), policy)
        ) as pool:  # fmt: skip
            for rows in pool.map(_piece, pieces):
                found += rows
                bar.advance(task, len(rows))
    return found


@contextmanager
def _one_thread() -> Iterator[None]:
    """Each process computes on one thread; together they would otherwise fight for the cores."""
    before = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")}
    os.environ.update(dict.fromkeys(before, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _start(path: str, policy: Policy) -> None:
    _here["prescriber"], _here["policy"] = Prescriber.load(Path(path)), policy


def _piece(people: Sequence[tuple[str, Person]]) -> list[dict[str, Any]]:
    return [_one(_here["prescriber"], name, person, _here["policy"]) for name, person in people]


def _one(prescriber: Prescriber, name: str, person: Person, policy: Policy) -> dict[str, Any]:
    try:
        return {"id": name, **prescriber.planner(person, policy).plan().to_dict()}
    except RectitudeError as error:
        return {"id": name, "error": {"what": error.what, "where": error.where, "fix": error.fix}}
