"""Where endpoints are, which policies there are, and how long to wait; keys stay in the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import Field

from rectitude.core.config import Settings, build, read_config
from rectitude.core.errors import ConfigError, did_you_mean
from rectitude.decisions.routing.catalogue import Catalogue


class Provider(Settings):
    """A server that answers OpenAI's chat protocol."""

    base_url: str
    """With the version, ``https://openrouter.ai/api/v1``."""
    key_env: str | None = None
    """Environment variable that holds its key; none for a server that wants no key."""

    @property
    def key(self) -> str | None:
        """The key, None where none is wanted or set."""
        return os.environ.get(self.key_env) if self.key_env else None

    @property
    def ready(self) -> bool:
        """Is there a key, if one is wanted?"""
        return self.key_env is None or bool(self.key)


class ServerConfig(Settings):
    """The server's file."""

    providers: dict[str, Provider] = Field(min_length=1)
    """The catalogue's providers that can be reached."""
    models: dict[str, str] = Field(default={})
    """Endpoint to the name its provider knows it by, where that is not the catalogue's."""
    policies: dict[str, dict[str, Any]] = Field(default={})
    """Saved policies by name; ``default`` counts for every request."""
    client_key_env: str | None = None
    """Environment variable with the key that clients must send; none lets everybody in."""
    connect_timeout: float = Field(default=5.0, gt=0)
    """Seconds to reach a provider."""
    first_byte_timeout: float = Field(default=60.0, gt=0)
    """Seconds until its answer begins."""
    idle_timeout: float = Field(default=60.0, gt=0)
    """Seconds between pieces of a stream."""
    attempts: int = Field(default=4, ge=1, le=20)
    """Most endpoints to try for one request."""
    log_prompts: bool = False
    """Keep what people wrote as feedback for /v1/route/explain; prompts themselves are never kept."""


def read_server_config(path: str | Path) -> ServerConfig:
    """Read the server's file (TOML or JSON).

    Raises:
        ConfigError: It is missing, damaged, or has a setting that does not exist.
    """
    return build(ServerConfig, read_config(path), where=str(path))


def reachable(catalogue: Catalogue, config: ServerConfig) -> tuple[Catalogue, list[str]]:
    """The endpoints whose provider is configured and has its key, and what must be said about the others.

    Raises:
        ConfigError: None is left.
    """
    served = {catalogue.value("provider", row) for row in range(len(catalogue))}
    notes = []
    for name, provider in config.providers.items():
        if name.casefold() not in served:
            known = ", ".join(sorted(str(each) for each in served if each)[:8])
            hint = did_you_mean(name, [str(each) for each in served if each]) if len(served) < 20 else f"It has {known}"
            raise ConfigError(f"The catalogue has no endpoint of provider '{name}'", where="providers", fix=hint)
        if not provider.ready:
            notes.append(f"{provider.key_env} is not set, so the endpoints of '{name}' are left out")
    ready = {name.casefold() for name, provider in config.providers.items() if provider.ready}
    rows = [row for row in range(len(catalogue)) if catalogue.value("provider", row) in ready]
    if not rows:
        missing = ", ".join(str(p.key_env) for p in config.providers.values() if not p.ready)
        raise ConfigError("No endpoint can be reached", where="providers", fix=f"Set {missing}")
    return catalogue.take(rows), notes


def upstream_of(catalogue: Catalogue, config: ServerConfig, model: str) -> tuple[str, Provider, str]:
    """Name and settings of an endpoint's provider, and the name the provider knows the model by."""
    name = str(catalogue.value("provider", catalogue.row(model)))
    provider = next(each for key, each in config.providers.items() if key.casefold() == name)
    return name, provider, config.models.get(model, model.removeprefix(f"{name}:"))
