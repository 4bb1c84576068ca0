"""Forget an attribute: the fact is gone when it is asked; the models that can be are made unable to tell it.

Unlearning changes the stored vectors of everybody, for an attacker learns from those who did not ask. So one job serves
all who asked before it, and an operator approves it unless configured otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rectitude.core.errors import DataError, RectitudeError
from rectitude.runs.folder import LINEAGE, RunFolder
from rectitude.service.rights.delete import exchange, retire
from rectitude.service.store import StoreError
from rectitude.unlearning.attribute import UnlearningConfig
from rectitude.workflow.unlearning import unlearn_attribute

if TYPE_CHECKING:
    from rectitude.service.rights.work import Work


def run(work: Work) -> dict[str, Any]:
    """Unlearn the attribute in every served run that stores vectors of people."""
    attribute = work.request.parameters["attribute"]
    plan = work.step("plan", "Looking which models could tell", lambda: _plan(work))
    runs = []
    for path in plan["runs"]:
        name = Path(path).name
        target = work.folder / "runs" / f"{name}-without-{attribute}"
        told = unlearn_step(work, Path(path), target, attribute)
        if told["done"]:
            work.step(
                f"exchange {name}",
                f"Putting the repaired model {name} into service",
                partial(exchange, work, Path(path), target),
            )
            work.step(
                f"retire {name}",
                f"Retiring the old folder of {name}",
                partial(retire, work, Path(path), target, clear=False),
            )
        runs.append(told)
    about_runs = {
        "attribute": attribute,
        "runs": runs,
        "left": [told["why_not"] for told in runs if not told["done"]],
    }
    if any(told["done"] for told in runs):
        work.step("others", "Telling the others who asked", lambda: _tell_others(work, attribute, about_runs))
    removed = work.outcome("fact")["fact_removed"]
    fact = f"Your {attribute} was removed" if removed else f"No {attribute} of yours was kept here"
    return {"summary": f"{fact}. {_summary(runs)}", "fact_removed": removed, **about_runs}


def _plan(work: Work) -> dict[str, Any]:
    return {"runs": sorted({kept.path for kept in work.store.served().values()})}


def unlearn_step(work: Work, path: Path, target: Path, attribute: str) -> dict[str, Any]:
    """The step that makes a run unable to tell an attribute, with the steps taken so far told while it goes on.

    Returns:
        ``done``, ``run``, and either ``new_run``, ``remedy`` and ``figures`` before and after, or ``why_not``.
    """
    sentence = f"Making {path.name} unable to tell {attribute}"

    def looked(row: dict[str, float]) -> None:
        work.check()
        work.heartbeat(f"{sentence}: step {row['step']:.0f} of at most {UnlearningConfig().steps}")

    return work.step(f"unlearn {path.name}", sentence, partial(_unlearnt, path, target, attribute, looked))


def _unlearnt(path: Path, target: Path, attribute: str, looked: Callable[[dict[str, float]], None]) -> dict[str, Any]:
    run = path.name
    lineage = RunFolder(path).read_json(LINEAGE, default={})
    remedies = RunFolder(path).config.get("remedies", [])
    if any(attribute in remedy.get("attributes", ()) for remedy in remedies):
        why = f"{run} has been made unable to tell {attribute} already ({lineage.get('at')})."
        return {"done": False, "run": run, "why_not": why}
    state = target.with_name(f"{target.name}.unlearning")
    try:
        made, told = unlearn_attribute(
            path, [attribute], out=target, resume=state.exists(), overwrite=True, on_check=looked
        )
    except StoreError:  # of the lease; no word about the run
        raise
    except DataError as error:  # nothing is stored, or there is no such attribute: not a failure, a limit
        return {"done": False, "run": run, "why_not": f"{run} stays as it is: {error.what}."}
    except RectitudeError as error:
        return {"done": False, "run": run, "why_not": f"{run} could not be changed: {error.what}."}
    figures = [
        {"figure": row["figure"], "before": row["before"], "after": row["after"]}
        for row in told["rows"]
        if row["figure"].startswith((f"{attribute} from", "ndcg"))
    ]
    return {"done": True, "run": run, "new_run": made.name, "remedy": told["remedy"], "figures": figures}


def _tell_others(work: Work, attribute: str, about_runs: dict[str, Any]) -> dict[str, Any]:
    """Everybody's vectors were changed, so it is done for all who have asked."""
    asked = [
        other.id
        for status in ("waiting", "queued")
        for other in work.store.requests.all(status=status, kind="forget")
        if other.id != work.request.id and other.parameters.get("attribute") == attribute
    ]
    proof = {"summary": f"Your {attribute} is not kept here. {_summary(about_runs['runs'])}", **about_runs}
    return {"told": work.store.requests.finish_with(asked, proof)}


def _summary(runs: list[dict[str, Any]]) -> str:
    done = [told["new_run"] for told in runs if told["done"]]
    if done:
        return f"Unlearnt in {', '.join(done)}; the figures of before and after are below."
    return "No model in service could be changed; why is said below."
