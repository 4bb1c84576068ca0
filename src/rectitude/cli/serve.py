"""``rectitude serve``: answer over HTTP."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rectitude.cli import options
from rectitude.cli.console import emit, line, tell
from rectitude.core.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from rectitude.service.service import Service


def serve(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN…", help="Run folders, or SLOT=RUN; the first stands in the slot 'main'."),
    ],
    store: Annotated[
        str | None, typer.Option("--store", metavar="URL", help="sqlite:///FILE (rectitude.db) or postgresql://….")
    ] = None,
    host: Annotated[str | None, typer.Option("--host", metavar="HOST", help="Address to listen at; 127.0.0.1.")] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, metavar="PORT", help="Port, 8400; 0 takes a free one.")
    ] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, metavar="N", help="Processes; 1.")] = None,
    rules: Annotated[
        Path | None, typer.Option("--rules", metavar="FILE", help="Filters and business rules (TOML or JSON).")
    ] = None,
    experiment: Annotated[
        list[str] | None,
        typer.Option("--experiment", metavar="NAME=SLOT:SHARE,…", help="Divide people among slots; may be repeated."),
    ] = None,
    plan: Annotated[
        Path | None, typer.Option("--plan", metavar="RUN", help="Run of 'rectitude plan fit', for the page Plan.")
    ] = None,
    models: Annotated[
        Path | None, typer.Option("--models", metavar="FILE", help="Catalogue of models, for the page Route.")
    ] = None,
    tls_certificate: Annotated[
        Path | None, typer.Option("--tls-certificate", metavar="FILE", help="PEM file, to speak HTTPS.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls-key", metavar="FILE", help="PEM file of the certificate's key.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="All settings of the service (TOML or JSON).")
    ] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="K=V", help="One setting of the service; may be repeated.")
    ] = None,
    json_logs: Annotated[bool, typer.Option("--json-logs", help="Log every request, one JSON object a line.")] = False,
    as_json: options.Json = False,
) -> None:
    """Serve runs over HTTP, with pages and people's rights. Ctrl-C ends it in order.

    Examples:
      rectitude serve runs/sasrec
      rectitude serve runs/sasrec bpr=runs/bpr --experiment try=main:0.9,bpr:0.1
      rectitude serve runs/sasrec --store postgresql://localhost/shop --workers 2 --port 8500
    """
    from rectitude.core.config import build
    from rectitude.decisions.routing.serving.run import listen

    given = {
        "store": store,
        "host": host,
        "port": port,
        "workers": workers,
        "rules": rules,
        "plan": plan,
        "models": models,
        "tls_certificate": tls_certificate,
        "tls_key": tls_key,
    }
    values: dict[str, Any] = {}
    for layer in options.layers(config, assignments).values():
        values |= layer
    values |= {name: value for name, value in given.items() if value is not None}
    try:
        from rectitude.service.config import ServiceConfig
        from rectitude.service.launch import Launch, log_to_stderr
        from rectitude.service.launch import serve as answer
    except ImportError as error:
        raise MissingExtraError(str(error.name), "serve", "The service") from error

    settings = build(ServiceConfig, values, where=str(config) if config is not None else "options")
    launch = Launch(config=settings, slots=_slots(runs), experiments=tuple(experiment or ()), json_logs=json_logs)
    log_to_stderr(as_json=json_logs)
    service = launch.open()
    listener = listen(settings.host, settings.port)
    name = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"{'https' if settings.tls_certificate else 'http'}://{name}:{listener.getsockname()[1]}"
    shelf = service.shelf
    if as_json:
        slots = {
            slot: {"run": str(shelf[slot].run.path), "retrieval": shelf[slot].retrieval.title} for slot in shelf.names()
        }
        emit({"address": address, "slots": slots})
    else:
        width = max(map(len, shelf.names()))
        for slot in shelf.names():
            served = shelf[slot]
            line(f"{slot:{width}}  {served.run.path}  {served.run.model.title}, {served.retrieval.title}")
        line(f"Pages   {address}/")
        line(f"Routes  {address}/docs")
    for note in _notes(service):
        if json_logs:
            logging.getLogger("rectitude.service").info("%s", note)
        else:
            tell(note)
    sys.stdout.flush()
    answer(launch, service, listener)


def _notes(service: Service) -> Iterator[str]:
    """What is to be said at the start."""
    for slot in service.shelf.names():
        yield from (f"{slot}: {note}" for note in service.shelf[slot].notes)
    if service.config.loopback and not service.store.keys.any():
        yield "No key is in the store: everybody on this machine may do everything. 'rectitude keys make' makes one"


def _slots(runs: list[str]) -> dict[str, str]:
    """``["runs/a", "runs/b", "x=runs/c"]`` as slots: main, the folder's name, the name given."""
    slots: dict[str, str] = {}
    for place, given in enumerate(runs):
        slot, equals, path = given.partition("=")
        if not equals or "/" in slot or Path(given).is_dir():
            slot, path = ("main" if place == 0 else Path(given).resolve().name), given
        if not slot or slot in slots:
            raise ConfigError(f"Two runs would stand in the slot '{slot}'", where=given, fix="Write SLOT=RUN")
        slots[slot] = path
    if "main" not in slots:
        slots = {"main": next(iter(slots.values())), **slots}
    return slots
