"""A plan in Flower's simulation: every client a task of Ray on this machine."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rectitude.federated.app import Progress
from rectitude.federated.contracts import FederationError
from rectitude.federated.flower import ENDED, EVENTS, apps_in, outcome
from rectitude.federated.plan import Plan
from rectitude.federated.processes import HOST, free_ports, last_words, process
from rectitude.federated.run import Workplace

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_METRICS_COLLECTION": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "FLWR_TELEMETRY_ENABLED": "0",
}
_STARTING = 300.0  # seconds a busy machine may need to start Ray
_CLIENT: dict[str, Any] = {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}}


def simulate(plan: Plan, workplace: Workplace, *, announce: Callable[[str], None] | None = None) -> Progress:
    """Carry out a prepared plan in the simulation.

    Args:
        plan: What to do.
        workplace: Where plan, rows and progress are.
        announce: Told afterwards of clients that failed.

    Raises:
        FederationError: Ray did not start, or too few clients took part.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    from flwr.simulation import run_simulation

    logging.getLogger("flwr").setLevel(logging.ERROR)  # it tells people to use other commands than this one
    for stale in (ENDED, EVENTS):
        (workplace.folder / stale).unlink(missing_ok=True)
    server, client = apps_in(workplace.folder.resolve())
    with _ray(workplace.folder.resolve() / "ray.log"):
        try:
            run_simulation(server, client, plan.problem.n_clients, backend_config=_CLIENT)
        except RuntimeError:
            if not (workplace.folder / ENDED).exists():  # the server app's own word is better than Flower's
                raise
    events = workplace.folder / EVENTS
    if announce is not None and events.exists():
        for sentence in events.read_text(encoding="utf-8").splitlines():
            announce(sentence)
    return outcome(workplace)


@contextmanager
def _ray(log: Path) -> Iterator[None]:
    """A Ray of our own with ports given beforehand, and this process connected to it.

    Left to choose its ports, Ray gives up where its agents need more than 15 seconds to tell them, which they do on a
    busy machine (ray-project/ray issue 65983).
    """
    import ray

    names = ("port", "dashboard-agent-grpc-port", "dashboard-agent-listen-port", "metrics-export-port")
    ports = dict(zip((*names, "runtime-env-agent-port"), free_ports(len(names) + 1), strict=True))
    words = ["ray", "start", "--head", "--block", "--disable-usage-stats", "--include-dashboard", "false"]
    words += [f"--node-ip-address={HOST}", "--num-cpus", str(max(2, os.cpu_count() or 1))]
    words += [f"--{name}={port}" for name, port in ports.items()]
    with process(words, log, os.environ) as started:
        until = time.monotonic() + _STARTING
        while True:
            try:
                socket.create_connection((HOST, ports["port"])).close()  # Ray would complain by itself
                ray.init(address=f"{HOST}:{ports['port']}", logging_level=logging.ERROR, log_to_driver=False)
                break
            except (OSError, RuntimeError, ValueError) as error:
                if started.poll() is not None or time.monotonic() > until:
                    raise FederationError(
                        f"Ray did not start: {last_words(log)}", where=str(log), fix="Use --engine in-process"
                    ) from error
                time.sleep(1.0)
        try:
            yield
        finally:
            ray.shutdown()
