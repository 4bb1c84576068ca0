"""Federated methods by name; a method is imported when it is used."""

from __future__ import annotations

from importlib import import_module

from rectitude.core.errors import ConfigError, did_you_mean
from rectitude.federated.contracts import Method

METHODS: dict[str, str] = {
    "fedavg": "rectitude.federated.training:FedAvg",
    "fedprox": "rectitude.federated.training:FedProx",
    "fairfed": "rectitude.federated.methods.fairfed:FairFed",
    "fedfb": "rectitude.federated.methods.fedfb:FedFB",
    "qffl": "rectitude.federated.methods.qffl:QFFL",
    "threshold-global": "rectitude.federated.methods.thresholds:GlobalThresholds",
    "threshold-local": "rectitude.federated.methods.thresholds:LocalThresholds",
    "logofair": "rectitude.federated.methods.logofair:LoGoFair",
    "fedfact-in": "rectitude.federated.methods.fedfact_in:FedFACTIn",
    "fedfact-post": "rectitude.federated.methods.fedfact_post:FedFACTPost",
    "wassffed": "rectitude.federated.methods.wassffed:WassFFed",
}
"""Name on the command line to ``module:Class``."""
BASES: dict[str, str] = {"scores": "rectitude.federated.methods.given:GivenProbabilities"}
"""Base models that are not asked for by name."""


def find(name: str) -> type[Method]:
    """The class of a method.

    Raises:
        ConfigError: There is no such method.
    """
    known = METHODS | BASES
    if name not in known:
        raise ConfigError(f"There is no federated method '{name}'", where="--method", fix=did_you_mean(name, METHODS))
    module, _, attribute = known[name].partition(":")
    found: type[Method] = getattr(import_module(module), attribute)
    return found
