"""How the service runs."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from rectitude.core.config import Settings


class ServiceConfig(Settings):
    """Settings of ``rectitude serve``; safe as they are: this machine only."""

    store: str = "sqlite:///rectitude.db"
    """URL of the database: sqlite:///FILE or postgresql://USER@HOST/NAME."""
    folder: Path = Path("service-data")
    """Where exports, repaired runs and the work in progress of jobs are kept."""
    host: str = "127.0.0.1"
    """Address to listen at; one that others reach needs a key in the store."""
    port: int = Field(8400, ge=0, le=65535)
    """Port to listen at; 0 takes a free one."""
    tls_certificate: Path | None = None
    """PEM file; with tls_key, the service speaks HTTPS itself."""
    tls_key: Path | None = None
    """PEM file of the certificate's private key."""
    behind_tls: bool = False
    """A reverse proxy speaks HTTPS for the service: cookies are marked secure."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses of proxies whose X-Forwarded-For says who asks."""
    allowed_hosts: tuple[str, ...] = ()
    """Names the service answers to besides those of this machine; needed where a proxy passes another name on."""
    workers: int = Field(1, ge=1, le=64)
    """Processes."""
    salt: str = Field("rectitude", min_length=1)
    """Of the A/B assignment: with the same salt a person stays in the same arm."""
    rate_per_minute: float = Field(6000, ge=0)
    """Requests a minute of one key; 0 sets no limit. Use without keys on this machine has none."""
    person_rate_per_minute: float = Field(300, ge=0)
    """Requests a minute of a person's key or page session."""
    burst: int = Field(200, ge=1)
    """Requests that may come at once before the rate counts."""
    max_body_bytes: int = Field(4 << 20, ge=1024)
    """Largest body of a request."""
    max_batch: int = Field(10_000, ge=1)
    """Most events, users or items of one request."""
    max_k: int = Field(200, ge=1)
    """Longest list."""
    max_history: int = Field(1000, ge=1)
    """Most recent events of a person that are read for an answer."""
    clock_tolerance_s: float = Field(300, ge=0)
    """How far in the future an event may lie before it is refused."""
    pictures: Path | None = None
    """Folder with pictures of the items, named by their ids."""
    rules: Path | None = None
    """TOML or JSON file of filters and business rules."""
    plan: Path | None = None
    """Run of 'rectitude plan fit' that the page Plan asks."""
    models: Path | None = None
    """Catalogue of language models that the page Route chooses from."""
    on_delete: Literal["rows", "retrain"] = "rows"
    """What a deletion does to models trained by gradient: remove the person's stored vectors, or train again without
    them. Models solved by a formula are always solved again."""
    keep_old_runs: bool = False
    """Leave the folder of a run that was repaired as it was; by default the person is taken out of it too."""
    forget: Literal["asked", "automatic"] = "asked"
    """Unlearning an attribute changes the model for everybody: done when an operator approves, or by itself."""
    session_hours: float = Field(12.0, gt=0)
    """How long a page session lasts."""
    export_hours: float = Field(72.0, gt=0)
    """How long an export can be fetched."""
    job_lease_s: float = Field(30.0, gt=0)
    """A job whose process has not been heard of for so long is taken up by another."""
    run_jobs: bool = True
    """Does this process work at jobs?"""

    @property
    def loopback(self) -> bool:
        """Is the service to be reached from this machine only?"""
        return is_loopback(self.host)

    @property
    def private(self) -> bool:
        """Does nothing but this machine reach the service, not even through a proxy?"""
        return self.loopback and not (self.allowed_hosts or self.trusted_proxies or self.behind_tls)

    @property
    def secure(self) -> bool:
        """Do browsers reach the service by HTTPS?"""
        return self.behind_tls or self.tls_certificate is not None

    def model_post_init(self, _: Any) -> None:
        """Refuse half of a TLS pair."""
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key are given together or not at all")


def is_loopback(host: str) -> bool:
    """Is this the address or name of the machine for itself?"""
    name = host.strip("[]").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
