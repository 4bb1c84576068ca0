"""Typed configuration: TOML, JSON or ``key=value`` in, one frozen object out, with the origin of each value.

No string is ever evaluated: a value given on the command line is read as JSON where it is JSON and as text otherwise.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from rectitude.core.errors import ConfigError, did_you_mean


class Settings(BaseModel):
    """Base of every configuration: frozen, unknown keys refused, fields documented by the string below them."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


S = TypeVar("S", bound=BaseModel)


def parse_assignments(assignments: Iterable[str], *, where: str = "--set") -> dict[str, Any]:
    """Read ``["n_factors=64", "loss=bpr"]`` into a dictionary.

    Args:
        assignments: As on the command line.
        where: The option they were given by, for messages.

    Raises:
        ConfigError: An entry has no ``=`` or no key.
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"'{assignment}' is not a setting", where=where, fix="Write it as key=value")
        try:
            values[key.strip()] = json.loads(text)
        except (ValueError, RecursionError):  # also numbers of thousands of digits and absurdly deep lists
            values[key.strip()] = text
    return values


def read_config(path: str | Path) -> dict[str, Any]:
    """Read a TOML or JSON file of settings.

    Raises:
        ConfigError: The file is missing or unreadable, is neither TOML nor JSON, or does not hold a table.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError("The configuration file does not exist", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise ConfigError("The configuration file is not UTF-8 text", where=str(path)) from error
    except OSError as error:
        raise ConfigError(f"The configuration file cannot be read: {error.strerror}", where=str(path)) from error
    try:
        values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (json.JSONDecodeError, tomllib.TOMLDecodeError) as error:
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise ConfigError(f"The configuration file is not {kind}: {error}", where=str(path)) from error
    if not isinstance(values, dict):
        raise ConfigError("The configuration file must hold a table of settings", where=str(path))
    return values


def build(settings: type[S], values: Mapping[str, Any], *, where: str = "configuration") -> S:
    """Make a configuration object, or say which key is wrong and what was probably meant.

    Raises:
        ConfigError: A key is unknown or a value does not fit its field.
    """
    for key in values:
        if key not in settings.model_fields:
            raise ConfigError(
                f"Unknown setting '{key}' for {settings.__qualname__}",
                where=where,
                fix=did_you_mean(key, settings.model_fields),
            )
    try:
        return settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or settings.__qualname__
        field = settings.model_fields.get(key)
        raise ConfigError(
            f"Setting '{key}' does not accept {first.get('input')!r}: {first['msg']}",
            where=where,
            fix=field.description if field is not None and field.description else None,
        ) from error


def origins(settings: BaseModel, layers: Mapping[str, Iterable[str]]) -> dict[str, dict[str, Any]]:
    """Effective values with where each came from, for ``config.json`` and for printing.

    Args:
        settings: The configuration in effect.
        layers: Origin name to the keys it set, weakest first (``{"file run.toml": [...], "--set": [...]}``).

    Returns:
        ``{key: {"value": …, "origin": "default" | layer name}}``.
    """
    source = dict.fromkeys(type(settings).model_fields, "default")
    for layer, keys in layers.items():
        source.update(dict.fromkeys(keys, layer))
    dumped = settings.model_dump(mode="json")
    return {key: {"value": dumped[key], "origin": origin} for key, origin in source.items() if key in dumped}
