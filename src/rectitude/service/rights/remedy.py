"""A remedy for what an audit found: a new run is made beside the old one, which goes on serving.

Nothing changes for anybody until an operator puts the new run into the slot; the old one can be put back.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rectitude.core.errors import QueryError, RectitudeError
from rectitude.core.files import sha256
from rectitude.runs.folder import IDS, LINEAGE, MODEL, RunFolder, now
from rectitude.service.rights.asking import of_request
from rectitude.service.rights.delete import erased_in, replaced
from rectitude.service.rights.forget import unlearn_step
from rectitude.service.store import Request
from rectitude.training.methods import Method
from rectitude.training.run import Run
from rectitude.workflow.fitting import fit
from rectitude.workflow.unlearning import measure

if TYPE_CHECKING:
    from rectitude.service.access import Principal
    from rectitude.service.rights.work import Work
    from rectitude.service.service import Service
    from rectitude.training.trainer import Trainer

Remedy = Literal["unlearn", "in-ucds"]
"""Stored vectors made unable to tell an attribute; training again so that the less active are served as well."""


def ask_remedy(service: Service, principal: Principal, slot: str, remedy: Remedy, attribute: str) -> Request:
    """Have a new run made from the one in a slot.

    Asking again before it has ended gives the same request.

    Args:
        service: Of this process.
        principal: Who asks.
        slot: Where the run stands.
        remedy: What is done.
        attribute: By which people were found to be told apart.

    Raises:
        QueryError: No run stands in the slot.
    """
    parameters = {"slot": slot, "run": service.shelf[slot].name, "remedy": remedy, "attribute": attribute}
    asked = service.store.trail.entry(principal.name, "remedy.asked", details=parameters)
    request = service.store.requests.put("remedy", None, parameters, principal.name, also=[asked])
    service.jobs.wake()
    return request


def trains_again(run: Run) -> bool:
    """Can a run be trained again with IN-UCDS, without undoing an earlier remedy?"""
    shaped = [method for method in run.config.get("methods", ()) if "settings" in method]
    tables = run.model.trained_by == "gradient" and bool(run.model.user_tables())
    return tables and not shaped and not run.config.get("remedies")


def run(work: Work) -> dict[str, Any]:
    """Make the run."""
    name, attribute = work.request.parameters["run"], work.request.parameters["attribute"]
    path = Path(work.step("plan", f"Looking for {name}", partial(_plan, work))["path"])
    folder = work.folder / "runs"
    if work.request.parameters["remedy"] == "unlearn":
        told = unlearn_step(work, path, folder / f"{name}-without-{attribute}", attribute)
    else:
        target, sentence = (
            folder / f"{name}-in-ucds",
            f"Training {name} again, so that the less active are served as well",
        )
        told = work.step(f"train {name}", sentence, partial(_trained, work, path, target, sentence))
    if not told["done"]:
        raise RectitudeError(told["why_not"])
    summary = f"{told['new_run']} was made from {name}, which goes on serving until the new run is put in its place."
    return {"summary": summary, "attribute": attribute, "runs": [told], "left": []}


def _plan(work: Work) -> dict[str, Any]:
    slot, name = work.request.parameters["slot"], work.request.parameters["run"]
    kept = work.store.served().get(slot)
    if kept is None or Path(kept.path).name != name:
        raise RectitudeError(f"{name} is no longer in service as {slot}")
    return {"path": kept.path}


class _Watch(Method):
    """Tells how far a training has come, and ends it where the job is to stop.

    Args:
        tell: Given the number of the epoch that has ended.
    """

    name = "watch"

    def __init__(self, tell: Callable[[int], None]) -> None:
        self._tell = tell

    def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> None:
        """See :class:`Method`."""
        self._tell(int(row["epoch"]))


def _trained(work: Work, path: Path, target: Path, sentence: str) -> dict[str, Any]:
    """The new run, from the parent's data and seed; what an interrupted training left is taken up."""
    parent = Run.load(path)
    if not trains_again(parent):
        return {"done": False, "run": path.name, "why_not": f"{path.name} cannot be trained again in this way"}
    dataset, seed = parent.dataset(), parent.config["seed"]
    divided = parent.split(dataset)

    def tell(epoch: int) -> None:
        work.check()
        work.heartbeat(f"{sentence}: epoch {epoch}")

    parent_model = sha256(parent.folder.file(MODEL))
    there = (target / LINEAGE).is_file() and RunFolder(target).read_json(LINEAGE).get("parent_model") == parent_model
    if not there:
        fit(
            dataset,
            parent.config["model"],
            settings={name: entry["value"] for name, entry in parent.config["settings"].items()},
            split=parent.config["split"],
            seed=seed,
            methods=["in-ucds", _Watch(tell)],
            out=target,
            device="cpu",
            resume=True,
            overwrite=target.exists(),
            progress=False,
        )
        lineage = {"parent": path.name, "parent_model": parent_model, "made_by": "fit with in-ucds", "at": now()}
        RunFolder(target).write_json(LINEAGE, lineage)
    made = Run.load(target)
    before, after = measure(parent, divided, [], seed), measure(made, divided, [], seed)
    figures = [
        {"figure": figure, "before": before.figures[figure], "after": after.figures[figure]}
        for figure in before.figures
        if figure in after.figures and figure.startswith(("gap", "ndcg"))
    ]
    return {"done": True, "run": path.name, "new_run": made.name, "remedy": "training with IN-UCDS", "figures": figures}


def put_into_service(service: Service, principal: Principal, identifier: str, *, back: bool = False) -> str:
    """Serve the run that a remedy made where the old one stood, or the old one again; no request is dropped.

    Args:
        service: Of this process.
        principal: Who does so.
        identifier: The remedy's request.
        back: Undo it.

    Returns:
        The slot.

    Raises:
        QueryError: There is no such remedy, it is not done, another run has been put into the slot meanwhile, or
            people of that run were deleted since.
        RunError: The run cannot be read; the other one goes on serving.
    """
    request = of_request(service, identifier)
    if request.kind != "remedy" or request.proof is None:
        raise QueryError("This is no remedy that is done", where=identifier)
    old = Path(next(step.outcome["path"] for step in request.steps if step.name == "plan"))
    new = service.config.folder.resolve() / "runs" / request.proof["runs"][0]["new_run"]
    slot: str = request.parameters["slot"]
    before, after = (new, old) if back else (old, new)
    if service.shelf[slot].run.path.resolve() != before:
        raise QueryError(f"{before.name} is no longer in service as {slot}", where=identifier)
    if not (after / IDS).is_file():
        raise QueryError(f"{after.name} is no longer there: somebody it was made with was deleted", where=identifier)
    if erased_in(service, after):
        raise QueryError(f"{after.name} holds people who were deleted since it was made", where=identifier)
    service.shelf.swap(slot, after)
    replaced(service, before, after)
    service.store.trail.add(principal.name, "swap", None, {"slot": slot, "run": after.name, "remedy": identifier})
    return slot
