"""Tolerances of a method, checked and by client."""

from __future__ import annotations

from rectitude.core.errors import ConfigError, did_you_mean
from rectitude.federated.contracts import FairConfig, Problem


def require_fair(config: FairConfig, problem: Problem) -> None:
    """Check tolerances against the problem.

    Raises:
        ConfigError: A local tolerance is negative or names a client there is not, or there is one group only.
    """
    local = config.local_tolerance
    tolerances = local if isinstance(local, dict) else {} if local is None else {"all clients": local}
    for name, value in tolerances.items():
        if value < 0:
            raise ConfigError(f"The local tolerance of {name} is {value}", fix="A tolerance is a gap: zero or more")
        if isinstance(local, dict) and name not in problem.clients:
            raise ConfigError(f"There is no client '{name}'", where="--local", fix=did_you_mean(name, problem.clients))
    if problem.n_groups < 2:
        raise ConfigError("There is only one group, so there is nothing to compare", fix="Choose another attribute")


def local_tolerance(config: FairConfig, name: str) -> float | None:
    """A client's own tolerance, or None where it has none."""
    local = config.local_tolerance
    return local.get(name) if isinstance(local, dict) else local
