"""``federate``: a table in, a fair classifier of a federation out, saved as a run with its report."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from rectitude.core.config import origins
from rectitude.core.errors import RunError
from rectitude.core.progress import progress_bar
from rectitude.federated.clients import Federation
from rectitude.federated.contracts import InfeasibleError
from rectitude.federated.frontier import Comparison, compare, rivals
from rectitude.federated.model import FederatedModel
from rectitude.federated.partition import Partition
from rectitude.federated.plan import Plan, Stage
from rectitude.federated.registry import find
from rectitude.federated.report import ReportInput, federation_card, federation_report
from rectitude.federated.request import JOINING, Request
from rectitude.federated.run import Finished, Workplace, carry_out, require
from rectitude.federated.summary import finite, judged, summarise
from rectitude.federated.tables import People
from rectitude.runs.folder import CARD, LINEAGE, METRICS, REPORT, RunFolder, now, versions

FRONTIER = "frontier.json"
_GIVEN = "command line"


def federate(
    data: str | Path | pl.DataFrame | People,
    request: Request,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    announce: Callable[[str], None] | None = None,
) -> RunFolder:
    """Train a fair classifier over clients that do not share rows, judge it on their test rows, and save it.

    A run that was cut off has left its state beside ``out``; the same call with ``resume=True`` goes on from the last
    completed exchange.

    Args:
        data: A table file, a folder with one, the name of a set under ``RECTITUDE_DATA``, or a frame.
        request: What is asked for.
        out: Run folder; ``runs/DATA-METHOD-sSEED`` by default.
        resume: Go on with a run that was cut off.
        overwrite: Replace a run that is there, and drop one that was cut off.
        progress: Show a bar.
        announce: Called with each sentence about what was guessed, dropped, or happened to clients.

    Raises:
        ConfigError: A name or setting is unknown or does not fit.
        DataError: The table cannot be used.
        FederationError: Too few clients took part; completed rounds are kept.
        InfeasibleError: The tolerances cannot be kept; says the tightest that can.
        MissingExtraError: What the engine needs is not installed.
        RunError: Something is where the run should go.
    """
    say = announce or (lambda _: None)
    settings = request.settings()
    require(request.engine)
    Partition.parse(request.partition)
    people = data if isinstance(data, People) else request.read(data, say)
    target = _target(people, request, out)
    workplace = Workplace(target.with_name(f"{target.name}.federation"))
    RunFolder.check_target(target, overwrite=overwrite or (resume and workplace.begun))
    _check_workplace(workplace, resume=resume, overwrite=overwrite)

    federation = request.federation(people, request.seed, say)
    plan = request.plan(federation, settings)
    earlier: list[Any] = []
    if resume and workplace.begun:
        plan = _same(Plan.read(workplace.folder), plan, workplace)
        kept = workplace.progress()
        earlier = kept.traffic if kept else []
        say(f"Going on after exchange {kept.number}" if kept else "Nothing was completed; starting at the beginning")
    else:
        workplace.prepare(plan, federation.clients)
    begun, used = time.perf_counter(), time.process_time()
    with progress_bar(visible=progress) as bar:
        names = [method.title for method in plan.methods]
        task = bar.add_task(names[0], total=None, note="")

        def watch(stage: int, number: int) -> None:
            bar.update(task, description=names[stage], completed=number)

        try:
            finished = carry_out(request.engine, plan, federation.clients, workplace, announce=say, watch=watch)
        except InfeasibleError:
            workplace.remove()  # going on would end the same way
            raise
        seconds = time.perf_counter() - begun + sum(row.seconds for row in earlier)
        own, elsewhere = time.process_time() - used, earlier
        if request.engine != "in-process":
            own, elsewhere = 0.0, finished.progress.traffic
        cpu = own + sum(row.server_cpu + row.clients * row.client_cpu for row in elsewhere)
        for sentence in finished.progress.notes[str(len(plan.stages) - 1)].get("sentences", []):
            say(sentence)
        comparison = _comparison(people, request, plan, lambda words: bar.update(task, description=words))
    folder = _write(target, federation, request, plan, finished, comparison, (seconds, cpu), overwrite or resume)
    workplace.remove()
    return folder


def prepare(
    data: str | Path | pl.DataFrame | People,
    request: Request,
    *,
    out: str | Path | None = None,
    host: str = "127.0.0.1",
    overwrite: bool = False,
    announce: Callable[[str], None] | None = None,
) -> Path:
    """Write everything that SuperLink and SuperNodes need for a run into a folder, and stop there.

    The folder holds the plan, ``app`` for ``flwr run``, ``tls`` with certificates, and ``clients/K``, which is all that
    goes to client K's machine. When the run has ended, :func:`federate` with ``resume=True`` makes a run folder of it.

    Args:
        data: As for :func:`federate`.
        request: As for :func:`federate`.
        out: Where the run folder will be; the folder is beside it.
        host: Address or name of SuperLink, for its certificate.
        overwrite: Drop a run of this name that was cut off.
        announce: Called with each sentence about what was guessed or dropped.

    Raises:
        ConfigError: A name or setting is unknown or does not fit.
        DataError: The table cannot be used.
        RunError: Something is where the run should go.
    """
    from rectitude.federated.deploy import write_app, write_certificates

    say = announce or (lambda _: None)
    settings = request.settings()
    people = data if isinstance(data, People) else request.read(data, say)
    target = _target(people, request, out)
    workplace = Workplace(target.with_name(f"{target.name}.federation"))
    RunFolder.check_target(target, overwrite=overwrite)
    _check_workplace(workplace, resume=False, overwrite=overwrite)
    federation = request.federation(people, request.seed, say)
    plan = replace(request.plan(federation, settings), patience=JOINING)
    workplace.prepare(plan, federation.clients)
    write_app(workplace.folder / "app", workplace.folder.resolve())
    write_certificates(workplace.folder / "tls", host)
    return workplace.folder


def _target(people: People, request: Request, out: str | Path | None) -> Path:
    return Path(out) if out is not None else Path("runs") / f"{people.name}-{request.method}-s{request.seed}"


def _check_workplace(workplace: Workplace, *, resume: bool, overwrite: bool) -> None:
    if workplace.folder.exists() and not resume:
        if not overwrite:
            raise RunError(
                "A run of this name was cut off",
                where=str(workplace.folder),
                fix="Add --resume to go on with it, or --overwrite to start again",
            )
        workplace.remove()


def _same(kept: Plan, asked: Plan, workplace: Workplace) -> Plan:
    """The plan that was begun, if it is the one that is asked for; who must take part may have changed."""
    free: dict[str, Any] = {"min_clients": asked.min_clients, "timeout": asked.timeout, "patience": asked.patience}
    if replace(kept, **free, run="") != replace(asked, run=""):
        differ = [key for key, value in asked.json().items() if key != "run" and value != {**kept.json(), **free}[key]]
        raise RunError(
            f"The run that was cut off was asked for something else ({', '.join(differ)})",
            where=str(workplace.folder),
            fix="Give the options it was begun with, or --overwrite to start again",
        )
    return replace(kept, **free)


def _comparison(people: People, request: Request, plan: Plan, watch: Callable[[str], None]) -> Comparison | None:
    if request.against == "none":
        return None
    names = rivals(request.against, request.method)
    if request.scores:
        names = [name for name in names if find(name).stage == "post"]  # the others have nothing to learn from
    main = plan.stages[-1]
    base = plan.stages[0] if len(plan.stages) > 1 else Stage("fedavg")
    return compare(
        lambda seed: request.federation(people, seed, None),
        range(request.seed, request.seed + request.seeds),
        replace(main, base=None),
        base,
        request.criterion,
        names,
        watch=watch,
    )


def _write(
    target: Path,
    federation: Federation,
    request: Request,
    plan: Plan,
    finished: Finished,
    comparison: Comparison | None,
    cost: tuple[float, float],
    overwrite: bool,
) -> RunFolder:
    progress, last = finished.progress, len(plan.stages) - 1
    model = FederatedModel(
        plan,
        last,
        {stage: progress.shared(stage) for stage in range(len(plan.stages))},
        finished.personal,
        federation.encoder,
        federation.label,
        federation.attribute,
    )
    found = [judged(plan, progress, stage) for stage in range(len(plan.stages))]
    summary = summarise(plan, progress, found, cost, request.engine)
    layers = {name: list(layer) for name, layer in (request.layers or {}).items()}
    layers[_GIVEN] = [key for key in request.bounds({}) if key in type(plan.methods[last].config).model_fields]
    config = {
        **model.config(),
        "method": request.method,
        "settings": origins(plan.methods[last].config, layers),
        "seed": request.seed,
        "engine": request.engine,
        "data": federation.about(),
        "notes": [*federation.notes, *progress.lost, *progress.notes[str(last)].get("sentences", [])],
    }

    def write(folder: RunFolder) -> None:
        model.write(folder.path)
        folder.write_json(METRICS, finite(summary))
        folder.write_json(LINEAGE, {"parent": None, "made_by": "federate", "at": now()})
        if comparison is not None:
            folder.write_json(FRONTIER, finite(comparison.json()))
        made = ReportInput(
            str(target), plan, progress, found, summary, comparison, config, federation.name, versions(), request.seeds
        )
        folder.write_text(REPORT, federation_report(made))
        folder.write_text(CARD, federation_card(made))

    return RunFolder.create(target, config, write, overwrite=overwrite)
