"""Training methods by name, imported only when asked for.

Other packages add theirs by the entry point group ``rectitude.methods``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from rectitude.core.config import build
from rectitude.core.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from rectitude.data.dataset import Dataset
    from rectitude.training.methods import ConfiguredMethod

_OURS = {
    "in-ucds": "rectitude.fairness.in_ucds:InUCDS",
    "in-naive": "rectitude.fairness.in_ucds:InNaive",
    "s-dro": "rectitude.fairness.s_dro:SDRO",
    "d2d-training": "rectitude.unlearning.in_training:D2DTraining",
    "adversarial": "rectitude.unlearning.in_training:Adversarial",
}


def _all() -> dict[str, str]:
    others = {point.name: point.value for point in entry_points(group="rectitude.methods")}
    return {**others, **_OURS}


def method_names() -> list[str]:
    """Every known method name, ours first."""
    return [*_OURS, *sorted(set(_all()) - set(_OURS))]


def method_class(name: str) -> type[ConfiguredMethod]:
    """The class behind a name.

    Raises:
        ConfigError: No method has this name.
    """
    known = _all()
    if name not in known:
        raise ConfigError(f"Unknown method '{name}'", where="--method", fix=did_you_mean(name, known))
    module, _, attribute = known[name].partition(":")
    found: type[ConfiguredMethod] = getattr(import_module(module), attribute)
    return found


def new_method(
    name: str, settings: Mapping[str, Any], dataset: Dataset, *, where: str = "settings"
) -> ConfiguredMethod:
    """A fresh method of a given name for these data.

    Raises:
        ConfigError: The name or a setting is unknown, or a value does not fit.
        DataError: The data lack what the method reads.
    """
    chosen = method_class(name)
    return chosen(build(chosen.Config, settings, where=where), dataset)


def parted(
    layers: Mapping[str, Mapping[str, Any]], methods: Iterable[str]
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Settings of the model and of the methods, told apart by ``METHOD.key``.

    Args:
        layers: Settings by origin, weakest first.
        methods: Names of the methods that are used.

    Returns:
        The layers with the model's own settings, and each method's settings.

    Raises:
        ConfigError: A setting is of a method that is not used.
    """
    own: dict[str, dict[str, Any]] = {}
    theirs: dict[str, dict[str, Any]] = {name: {} for name in methods}
    for origin, values in layers.items():
        own[origin] = {}
        for key, value in values.items():
            method, dot, rest = key.partition(".")
            if not dot:
                if key in theirs and isinstance(value, dict):  # a table of a file
                    theirs[key].update(value)
                else:
                    own[origin][key] = value
            elif method in theirs:
                theirs[method][rest] = value
            else:
                raise ConfigError(
                    f"The setting '{key}' is of a method that is not used",
                    where=origin,
                    fix=f"Add --method {method}" if method in _all() else did_you_mean(method, _all()),
                )
    return own, theirs
