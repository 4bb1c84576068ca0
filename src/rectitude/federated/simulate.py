"""A plan in Flower's simulation: every client a task of Ray on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from rectitude.core.errors import MissingExtraError
from rectitude.federated.app import Progress
from rectitude.federated.flower import ENDED, EVENTS, apps_in, outcome
from rectitude.federated.plan import Plan
from rectitude.federated.run import Workplace

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "FLWR_TELEMETRY_ENABLED": "0",
    "RAY_raylet_start_wait_time_s": "300",  # a busy machine starts Ray in minutes
    "RAY_agent_register_timeout_ms": "300000",
    "RAY_enable_metrics_collection": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}

_BACKEND: dict[str, dict[str, Any]] = {
    "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
    "init_args": {"include_dashboard": False},
}


def simulate(plan: Plan, workplace: Workplace, *, announce: Callable[[str], None] | None = None) -> Progress:
    """Carry out a prepared plan in the simulation.

    Args:
        plan: What to do.
        workplace: Where plan, rows and progress are.
        announce: Told afterwards of clients that failed.

    Raises:
        MissingExtraError: Ray is not installed.
        FederationError: Too few clients took part.
    """
    if find_spec("ray") is None:
        raise MissingExtraError("ray", "fed-sim", "Flower's simulation")
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    from flwr.simulation import run_simulation

    (workplace.folder / ENDED).unlink(missing_ok=True)
    server, client = apps_in(workplace.folder.resolve())
    run_simulation(server, client, plan.problem.n_clients, backend_config=_BACKEND)
    events = workplace.folder / EVENTS
    if announce is not None and events.exists():
        for sentence in events.read_text(encoding="utf-8").splitlines():
            announce(sentence)
    return outcome(workplace)
