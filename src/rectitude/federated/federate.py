"""``federate``: a table in, a fair classifier of a federation out, saved as a run with its report."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from rectitude.core.config import build, origins
from rectitude.core.errors import ConfigError, RunError
from rectitude.core.progress import progress_bar
from rectitude.federated import privacy
from rectitude.federated.clients import Federation, federation_of
from rectitude.federated.contracts import Criterion, FairConfig, InfeasibleError, Method, MethodConfig
from rectitude.federated.encoder import Scaling
from rectitude.federated.frontier import Comparison, Figures, compare, figures, rivals
from rectitude.federated.model import FederatedModel
from rectitude.federated.partition import Partition
from rectitude.federated.plan import Plan, Stage
from rectitude.federated.registry import BASES, METHODS, find
from rectitude.federated.report import ReportInput, federation_card, federation_report
from rectitude.federated.run import Engine, Finished, Workplace, carry_out, new_run_id
from rectitude.federated.tables import People, read_people
from rectitude.runs.folder import CARD, LINEAGE, METRICS, REPORT, RunFolder, now, versions

CRITERIA = ("dp", "eop", "eo", "eo_full")
FRONTIER = "frontier.json"
_GIVEN = "command line"
_JOINING = 600.0  # seconds to wait for clients that are processes of their own


@dataclass(frozen=True)
class Request:
    """What ``federate`` is asked for.

    Args:
        method: Name of the method.
        criterion: What is compared between groups.
        global_tolerance: Largest gap over all clients; None is the method's default, ``inf`` switches it off.
        local_tolerance: Largest gap at each client, or one per client's name; likewise.
        layers: Settings of the method by origin, weakest first.
        base: Method that trains the base model of a post-processing method.
        base_layers: Its settings by origin.
        n_clients: N.
        partition: How rows come to clients.
        label: Column of the label.
        attribute: The sensitive attribute.
        drop: Columns that must not be features.
        scores: Columns with class probabilities to be post-processed; no base model is trained then.
        scaling: Of numbers: ``standard`` or ``minmax``.
        seed: Of everything random.
        engine: Where it runs.
        min_clients: Fewest replies with which a round is valid; all where None.
        timeout: Seconds a client may take to reply.
        secure: Mask count and dual messages.
        noise: Noise multiplier of the count and dual messages.
        delta: δ of differential privacy.
        against: Other methods of the frontier: ``none``, ``post``, ``all`` or names with commas.
        seeds: Seeds of the frontier, from ``seed`` on.
    """

    method: str
    criterion: Criterion = "dp"
    global_tolerance: float | None = None
    local_tolerance: float | Mapping[str, float] | None = None
    layers: Mapping[str, Mapping[str, Any]] | None = None
    base: str = "fedavg"
    base_layers: Mapping[str, Mapping[str, Any]] | None = None
    n_clients: int | None = None
    partition: str = "dirichlet:0.5"
    label: str | None = None
    attribute: str | None = None
    drop: Sequence[str] = ()
    scores: Sequence[str] = ()
    scaling: Scaling = "standard"
    seed: int = 0
    engine: Engine = "in-process"
    min_clients: int | None = None
    timeout: float = 600.0
    secure: bool = True
    noise: float | None = None
    delta: float = 1e-5
    against: str = "post"
    seeds: int = 1


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
        RunError: Something is where the run should go.
    """
    say = announce or (lambda _: None)
    settings = _settings(request)
    Partition.parse(request.partition)
    people = data if isinstance(data, People) else _people(data, request, say)
    target = _target(people, request, out)
    workplace = Workplace(target.with_name(f"{target.name}.federation"))
    RunFolder.check_target(target, overwrite=overwrite or (resume and workplace.begun))
    _check_workplace(workplace, resume=resume, overwrite=overwrite)

    federation = _federation(people, request, request.seed, say)
    plan = _plan(federation, request, settings)
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
        cpu = time.process_time() - used + sum(row.server_cpu + row.clients * row.client_cpu for row in earlier)
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
    settings = _settings(request)
    people = data if isinstance(data, People) else _people(data, request, say)
    target = _target(people, request, out)
    workplace = Workplace(target.with_name(f"{target.name}.federation"))
    RunFolder.check_target(target, overwrite=overwrite)
    _check_workplace(workplace, resume=False, overwrite=overwrite)
    federation = _federation(people, request, request.seed, say)
    plan = replace(_plan(federation, request, settings), patience=_JOINING)
    workplace.prepare(plan, federation.clients)
    write_app(workplace.folder / "app", workplace.folder.resolve())
    write_certificates(workplace.folder / "tls", host)
    return workplace.folder


# ---- what is asked for -------------------------------------------------------------------------------------------


def _settings(request: Request) -> MethodConfig:
    """The method's settings, refused before any work where they do not fit."""
    if request.method in BASES:
        raise ConfigError(f"'{request.method}' is no method", where="--method", fix="Name columns with --scores")
    kind = find(request.method)
    values = _merged(request.layers)
    if issubclass(kind.Config, FairConfig):
        values = {**values, **_bounds(request, values)}
    elif request.global_tolerance is not None or request.local_tolerance is not None:
        raise ConfigError(
            f"{kind.title} takes no tolerance",
            where="--global, --local",
            fix="Use a method that does, such as fedfact-post, or leave the tolerances out",
        )
    for name, layer in (request.layers or {}).items():
        build(kind.Config, layer, where=name)
    config = build(kind.Config, values, where=request.method)
    if request.scores:
        _require_scored(request)
    elif kind.stage == "post" and (request.base in BASES or find(request.base).stage != "training"):
        raise ConfigError(f"'{request.base}' trains no model", where="--base", fix="For example fedavg or fedprox")
    for name, layer in (request.base_layers or {}).items():
        build(find(request.base).Config, layer, where=name)
    if not 1 <= request.seeds <= 100:
        raise ConfigError("The frontier takes 1 to 100 seeds", where="--seeds")
    if request.noise is not None and request.noise <= 0:
        raise ConfigError("The noise multiplier must be above 0", where="--noise")
    rivals(request.against, request.method)
    return config


def _require_scored(request: Request) -> None:
    """Given probabilities are post-processed, and take the place of a base model."""
    kind = find(request.method)
    if kind.stage != "post":
        possible = ", ".join(name for name in METHODS if find(name).stage == "post")
        raise ConfigError(
            f"{kind.title} trains a model of its own, and would not use the given probabilities",
            where="--scores",
            fix=f"Post-process them with one of {possible}",
        )
    if request.base != "fedavg" or request.base_layers:
        raise ConfigError(
            "Given probabilities are the base model; there is none to train", where="--base", fix="Leave it out"
        )


def _bounds(request: Request, values: Mapping[str, Any]) -> dict[str, Any]:
    bounds: dict[str, Any] = {"criterion": request.criterion}
    for key, given in (("global_tolerance", request.global_tolerance), ("local_tolerance", request.local_tolerance)):
        if isinstance(given, Mapping):
            bounds[key] = dict(given)
        elif given is not None:
            bounds[key] = given if np.isfinite(given) else None
        elif key in values:
            bounds[key] = values[key]
    return bounds


def _merged(layers: Mapping[str, Mapping[str, Any]] | None) -> dict[str, Any]:
    return {key: value for layer in (layers or {}).values() for key, value in layer.items()}


def _people(data: str | Path | pl.DataFrame, request: Request, say: Callable[[str], None]) -> People:
    return read_people(
        data,
        label=request.label,
        attribute=request.attribute,
        drop=request.drop,
        scores=request.scores,
        announce=say,
    )


def _target(people: People, request: Request, out: str | Path | None) -> Path:
    return Path(out) if out is not None else Path("runs") / f"{people.name}-{request.method}-s{request.seed}"


def _federation(people: People, request: Request, seed: int, say: Callable[[str], None] | None) -> Federation:
    return federation_of(
        people,
        n_clients=request.n_clients,
        partition=request.partition,
        scaling=request.scaling,
        seed=seed,
        announce=say,
    )


def _plan(federation: Federation, request: Request, settings: MethodConfig) -> Plan:
    problem = federation.problem
    unknown = _unknown_clients(request, problem.clients)
    if unknown:
        raise ConfigError(
            f"There is no client '{unknown}'", where="--local", fix=f"Known: {', '.join(problem.clients)}"
        )
    needed = request.min_clients or problem.n_clients
    if not 1 <= needed <= problem.n_clients:
        raise ConfigError(f"{needed} of {problem.n_clients} clients cannot be needed", where="--min-clients")
    main = Stage(request.method, settings.model_dump(mode="json"))
    stages: tuple[Stage, ...] = (main,)
    if find(request.method).stage == "post":
        name = next(iter(BASES)) if request.scores else request.base
        base = build(find(name).Config, _merged(request.base_layers), where="--base-set")
        stages = (Stage(name, base.model_dump(mode="json")), replace(main, base=0))
    plan = Plan(
        new_run_id(),
        problem,
        stages,
        request.criterion,
        request.secure,
        request.noise,
        request.delta,
        needed,
        request.timeout,
        patience=0.0 if request.engine == "in-process" else _JOINING,
    )
    methods = plan.methods  # refused before any work
    if request.noise is not None:
        for method in methods:
            _require_exact(method)
    return plan


def _require_exact(method: Method) -> None:
    """Refuse noise whose ε would be a guess."""
    if beyond := method.unaccounted():
        *others, last = beyond
        what = f"{', '.join(others)} and {last}" if others else last
        raise ConfigError(
            f"{method.title} with {what}: one row can change a reply by more than the noise is made for, so that no "
            "ε could be stated",
            where="--noise",
            fix=f"Add {' '.join(beyond.values())}",
        )


def _unknown_clients(request: Request, known: Sequence[str]) -> str:
    given = request.local_tolerance if isinstance(request.local_tolerance, Mapping) else {}
    return next((name for name in given if name not in known), "")


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
        lambda seed: _federation(people, request, seed, None),
        range(request.seed, request.seed + request.seeds),
        replace(main, base=None),
        base,
        request.criterion,
        names,
        watch=watch,
    )


# ---- what comes out ------------------------------------------------------------------------------------------------


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
    judged = [_judged(plan, progress, stage) for stage in range(len(plan.stages))]
    summary = summarise(plan, progress, judged, cost, request.engine)
    layers = {name: list(layer) for name, layer in (request.layers or {}).items()}
    layers[_GIVEN] = [key for key in _bounds(request, {}) if key in type(plan.methods[last].config).model_fields]
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
            str(target), plan, progress, judged, summary, comparison, config, federation.name, versions(), request.seeds
        )
        folder.write_text(REPORT, federation_report(made))
        folder.write_text(CARD, federation_card(made))

    return RunFolder.create(target, config, write, overwrite=overwrite)


def _judged(plan: Plan, progress: Any, stage: int) -> Figures:
    measured = progress.evaluation(stage, "test")
    return figures(plan.stages[stage].method, "", measured, plan.criterion)


def summarise(
    plan: Plan, progress: Any, judged: Sequence[Figures], cost: tuple[float, float], engine: str
) -> dict[str, Any]:
    """The run in figures; the first seven keys are those that others build on."""
    last = judged[-1]
    exchanges = [row for row in progress.traffic if row.kind != "evaluate"]
    by_stage = {}
    for number, stage in enumerate(plan.stages):
        rows = [row for row in exchanges if row.stage == number]
        by_stage[stage.method] = {
            "rounds": len({row.round for row in rows}),
            "exchanges": len(rows),
            "bytes_up_per_exchange": float(np.mean([row.up for row in rows])) if rows else 0.0,
            "bytes_down_per_exchange": float(np.mean([row.down for row in rows])) if rows else 0.0,
            "client_cpu_per_exchange": float(np.median([row.client_cpu for row in rows])) if rows else 0.0,
            "server_cpu_per_exchange": float(np.median([row.server_cpu for row in rows])) if rows else 0.0,
            "seconds_per_exchange": float(np.median([row.seconds for row in rows])) if rows else 0.0,
        }
    summary: dict[str, Any] = {
        "accuracy": last.accuracy[0],
        "global_gap": last.global_gap[0],
        "local_gap_max": last.local_gap_max,
        "local_gap_mean": last.local_gap_mean,
        "clients": plan.problem.n_clients,
        "rounds": sum(stage["rounds"] for stage in by_stage.values()),
        "bytes_per_client": round(sum(row.up for row in progress.traffic)),
        "bytes_received_per_client": round(sum(row.down for row in progress.traffic)),
        "method": plan.stages[-1].method,
        "criterion": plan.criterion,
        "fold": "test",
        "groups": list(plan.problem.groups),
        "classes": list(plan.problem.classes),
        "local_gap_max_by_chance": last.by_chance[0],
        "local_gap_max_by_chance_interval": list(last.by_chance[1:]),
        "local_gaps": dict(zip(plan.problem.clients, last.local_gaps, strict=True)),
        "accuracy_interval": list(last.accuracy[1:]),
        "global_gap_interval": list(last.global_gap[1:]),
        "engine": engine,
        "seconds": cost[0],
        "cpu_seconds": cost[1],
        "stages": by_stage,
        "secure_aggregation": plan.secure,
    }
    if len(judged) > 1:
        summary["base"] = judged[0].json()
    if plan.noise is not None:
        from rectitude.federated.app import releases

        spent = privacy.epsilon(releases(plan, progress.traffic), plan.noise, plan.delta)
        exact = {
            declared.name
            for method in plan.methods
            for wire in method.wire
            for declared in wire.up
            if not privacy.is_noised(declared)
        }
        summary["privacy"] = {
            "epsilon": spent,
            "delta": plan.delta,
            "noise_multiplier": plan.noise,
            "not_covered": sorted(exact),
        }
    return summary


def finite(value: Any) -> Any:
    """The same with null for what is no number: JSON has no NaN."""
    return json.loads(json.dumps(value), parse_constant=lambda _: None)
