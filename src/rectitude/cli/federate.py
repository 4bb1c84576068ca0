"""``rectitude federate``: a fair classifier over clients that do not share rows."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rectitude.cli import options
from rectitude.cli.console import Stopped, emit, grid, line, plural, show, tell
from rectitude.core.errors import ConfigError

if TYPE_CHECKING:
    from rectitude.runs.folder import RunFolder

_CLASSIFIERS = "Classifier", "Accuracy", "Global gap", "Largest local", "By chance", "Mean local"


def federate(
    ctx: typer.Context,
    data: Annotated[
        str,
        typer.Argument(metavar="DATA", help="A table file, a folder with one, or a known set (adult, compas, …)."),
    ],
    method: Annotated[
        str,
        typer.Option(
            "--method",
            "-m",
            metavar="NAME",
            help="fedfact-post, logofair, fedfact-in, wassffed, threshold-global, threshold-local, fairfed, fedfb, "
            "qffl, fedavg or fedprox.",
        ),
    ],
    criterion: Annotated[
        Literal["dp", "eop", "eo", "eo_full"],
        typer.Option("--criterion", help="Demographic parity, equal opportunity or equalised odds."),
    ] = "dp",
    global_tolerance: Annotated[
        str | None, typer.Option("--global", metavar="X", help="Largest gap over all clients; 'none' for no bound.")
    ] = None,
    local_tolerance: Annotated[
        str | None,
        typer.Option("--local", metavar="X", help="Largest gap at each client, or 'CLIENT=X,…'; 'none' for no bound."),
    ] = None,
    clients: Annotated[int | None, typer.Option("--clients", metavar="N", help="Number of clients (5).")] = None,
    partition: Annotated[
        str,
        typer.Option(
            "--partition",
            metavar="RULE",
            help="iid, dirichlet:ALPHA[:group|label|cell], or column:NAME, whose values are the clients.",
        ),
    ] = "dirichlet:0.5",
    label: Annotated[
        str | None, typer.Option("--label", metavar="COLUMN", help="Column of the label; guessed if not given.")
    ] = None,
    attribute: Annotated[
        str | None,
        typer.Option(
            "--attribute",
            metavar="COLUMN",
            help="Sensitive attribute: gender, race:African-American, age>=40, or crossed by a comma.",
        ),
    ] = None,
    drop: Annotated[
        str | None, typer.Option("--drop", metavar="COLUMN,…", help="Columns that must not be features.")
    ] = None,
    scores: Annotated[
        str | None,
        typer.Option(
            "--scores",
            metavar="COLUMN,…",
            help="Columns with the class probabilities of a classifier of yours, one a class in their order (of two "
            "classes the second's is enough): post-processed instead of a base model trained here.",
        ),
    ] = None,
    scaling: Annotated[
        Literal["standard", "minmax"], typer.Option("--scaling", help="How numbers become features.")
    ] = "standard",
    config: options.Config = None,
    settings: options.Set = None,
    base: Annotated[
        str, typer.Option("--base", metavar="NAME", help="Trains the model that a post-processing method decides on.")
    ] = "fedavg",
    base_set: Annotated[
        list[str] | None, typer.Option("--base-set", metavar="K=V", help="One setting of the base method.")
    ] = None,
    seed: options.Seed = 0,
    against: Annotated[
        str,
        typer.Option(
            "--against",
            metavar="WHOM",
            help="Other methods of the frontier: none, post (those on the same base model), all, or names.",
        ),
    ] = "post",
    seeds: Annotated[
        int, typer.Option("--seeds", metavar="N", help="Seeds of the frontier; error bars are over them.")
    ] = 1,
    engine: Annotated[
        Literal["in-process", "simulation", "superlink"],
        typer.Option("--engine", help="This process, Flower's simulation, or SuperLink and SuperNodes over TLS."),
    ] = "in-process",
    min_clients: Annotated[
        int | None,
        typer.Option("--min-clients", metavar="N", help="Fewest replies with which a round is valid; all by default."),
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="S", help="Seconds a client may take to reply.")
    ] = 600.0,
    masks: Annotated[
        bool, typer.Option("--masks/--no-masks", help="Secure aggregation of counts and duals by pairwise masks.")
    ] = True,
    noise: Annotated[
        float | None,
        typer.Option("--noise", metavar="Z", help="Differential privacy of counts and duals: the noise multiplier."),
    ] = None,
    delta: Annotated[float, typer.Option("--delta", metavar="D", help="Delta of differential privacy.")] = 1e-5,
    prepare: Annotated[
        bool,
        typer.Option("--prepare", help="Write what SuperLink and SuperNodes need, say how to start them, and stop."),
    ] = False,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Of SuperLink, for --prepare and its certificate.")
    ] = "127.0.0.1",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="RUN", help="Run folder; runs/DATA-METHOD-sSEED if not given.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was cut off.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a run that is there.")] = False,
    as_json: options.Json = False,
) -> None:
    """Train a fair classifier over clients that share no rows.

    The table is dealt to simulated clients, the method is run, and the result is judged on every client's test rows.
    The run holds the model, a report with the price of each tolerance and the frontier of accuracy and fairness, and
    what was sent. What was guessed about the data is said first.

    Examples:
      rectitude federate adult --method fedfact-post --criterion dp --global 0.01 --local 0.02
      rectitude federate scored.csv --method logofair --scores p_yes --label hired --attribute gender
      rectitude federate adult --method fedavg --clients 5 --partition dirichlet:0.5 --against none --json --overwrite
    """
    from rectitude.core.config import parse_assignments
    from rectitude.federated.federate import federate as carry_out
    from rectitude.federated.federate import prepare as write_down
    from rectitude.federated.request import Request

    request = Request(
        method=method,
        criterion=criterion,
        global_tolerance=_global(global_tolerance),
        local_tolerance=_local(local_tolerance),
        layers=options.layers(config, settings),
        base=base,
        base_layers={"--base-set": parse_assignments(base_set, where="--base-set")} if base_set else None,
        n_clients=clients,
        partition=partition,
        label=label,
        attribute=attribute,
        drop=options.id_list(drop) if drop else (),
        scores=options.id_list(scores) if scores else (),
        scaling=scaling,
        seed=seed,
        engine=engine,
        min_clients=min_clients,
        timeout=timeout,
        secure=masks,
        noise=noise,
        delta=delta,
        against=against,
        seeds=seeds,
    )
    if prepare:
        folder = write_down(data, request, out=out, host=host, overwrite=overwrite, announce=tell)
        _next_steps(folder, host, ctx.obj, as_json=as_json)
        return
    try:
        run = carry_out(data, request, out=out, resume=resume, overwrite=overwrite, announce=tell)
    except KeyboardInterrupt as interrupt:
        words = ctx.obj if "--resume" in ctx.obj else [*ctx.obj, "--resume"]
        raise Stopped("Stopped", fix=f"Go on with: rectitude {shlex.join(words)}") from interrupt
    _result(run, as_json=as_json)


def _next_steps(folder: Path, host: str, words: list[str], *, as_json: bool) -> None:
    """The commands with which a prepared federation is carried out by hand."""
    clients = sorted((entry.name for entry in (folder / "clients").iterdir()), key=int)
    address, tls = f"{host}:8000", folder / "tls"
    kept = [
        word
        for before, word in zip(["", *words], words, strict=False)
        if word not in ("--prepare", "--json", "--overwrite") and "--engine" not in (before, word.partition("=")[0])
    ]
    again = shlex.join([*kept, "--resume"])
    steps = {
        "superlink": f"flower-superlink --host {host} --port 8000 --disable-runtime-dependency-installation "
        f"--ssl-ca-certfile {tls}/ca.crt --ssl-certfile {tls}/server.crt --ssl-keyfile {tls}/server.key",
        "supernodes": [
            f"flower-supernode --superlink {address} --root-certificates {tls}/ca.crt --port {9100 + int(client)} "
            f"--node-config 'folder=\"{(folder / 'clients' / client).resolve()}\"'"
            for client in clients
        ],
        "connection": f'[superlink.federation]\naddress = "{address}"\nroot-certificates = "{tls.resolve()}/ca.crt"',
        "run": f"flwr run {folder}/app federation --stream",
        "collect": f"rectitude {again}",
    }
    if as_json:
        emit({"folder": str(folder), "clients": len(clients), **steps})
        return
    line(f"Prepared  {folder}")
    line(f"Server    {steps['superlink']}")
    for step in steps["supernodes"]:
        line(f"Client    {step}")
    line("Connection, to be put into config.toml of FLWR_HOME:")
    line(str(steps["connection"]))
    line(f"Start     {steps['run']}")
    line(f"Collect   {steps['collect']}")


def _global(text: str | None) -> float | None:
    return None if text is None else _tolerance(text, "--global")


def _local(text: str | None) -> float | dict[str, float] | None:
    if text is None or "=" not in text:
        return None if text is None else _tolerance(text, "--local")
    pairs = [entry.rpartition("=") for entry in text.split(",")]
    return {name.strip(): _tolerance(value, "--local") for name, _, value in pairs}


def _tolerance(text: str, where: str) -> float:
    """A number from 0; ``none`` is infinite."""
    if text.strip().lower() == "none":
        return math.inf
    try:
        value = float(text)
    except ValueError as error:
        raise ConfigError(
            f"'{text}' is no tolerance", where=where, fix="Give a number such as 0.02, or none"
        ) from error
    if not 0 <= value < math.inf:
        raise ConfigError(f"A tolerance is at least 0, not {text}", where=where)
    return value


def _result(run: RunFolder, *, as_json: bool) -> None:
    from rectitude.runs.folder import METRICS, REPORT

    summary: dict[str, Any] = run.read_json(METRICS)
    if as_json:
        emit({**summary, "run": str(run.path)})
        return
    table = grid(*_CLASSIFIERS, right=(1, 2, 3, 4, 5))
    for name, figures in ((f"{_base_name(run)}, before", summary.get("base")), (summary["method"], summary)):
        if figures is not None:
            table.add_row(name, *(_written(figures[key]) for key in _KEYS))
    tell(
        f"{plural(summary['clients'], 'client')}, {plural(summary['rounds'], 'round')}, "
        f"{plural(summary['bytes_per_client'], 'byte')} sent by each, {summary['seconds']:.1f} s "
        f"({summary['cpu_seconds']:.1f} s of CPU time)"
    )
    show(f"Test rows of all clients, by {summary['criterion']}", "", table, "")
    show("By chance: the largest local gap that sampling alone gives a fair decision", "")
    line(f"Run     {run.path}")
    line(f"Report  {run.path / REPORT}")
    line(f"Next    rectitude classify {shlex.quote(str(run.path))} ROWS.csv")


_KEYS = "accuracy", "global_gap", "local_gap_max", "local_gap_max_by_chance", "local_gap_mean"


def _base_name(run: RunFolder) -> str:
    return str(run.config["plan"]["stages"][0]["method"])


def _written(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
