"""What every route is given: the store, the runs that are served, the jobs, and who may do what."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rectitude.service.access import KeyRing, Limiter, Sessions
from rectitude.service.config import ServiceConfig
from rectitude.service.rights.runner import Jobs
from rectitude.service.store import Store

if TYPE_CHECKING:
    from rectitude.service.serving.served import ServedRun
    from rectitude.service.serving.shelf import Shelf


@dataclass
class Service:
    """The service of one process; found by routes as ``request.app.state.service``.

    Attributes:
        config: Its settings.
        store: What must not be lost.
        shelf: The runs that are served; set by whoever loads them.
        jobs: Works at people's requests.
        keys: Looks keys up.
        sessions: Page sessions and their CSRF tokens.
        limiter: Rate limits.
    """

    config: ServiceConfig
    store: Store
    shelf: Shelf = field(init=False, repr=False)
    jobs: Jobs = field(init=False, repr=False)
    keys: KeyRing = field(init=False, repr=False)
    sessions: Sessions = field(init=False, repr=False)
    limiter: Limiter = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.jobs = Jobs(self)
        self.keys = KeyRing(self.store)
        self.sessions = Sessions.of(self.store, self.config)
        self.limiter = Limiter(self.config.burst)

    @classmethod
    def open(cls, config: ServiceConfig) -> Service:
        """With the store of its configuration.

        Raises:
            StoreError: The store cannot be opened.
        """
        return cls(config, Store.open(config.store))

    def served(self, slot: str) -> ServedRun | None:
        """The run this process serves in a slot; None where it serves none there."""
        shelf = getattr(self, "shelf", None)
        return shelf[slot] if shelf is not None and slot in shelf else None

    def follow(self) -> None:
        """Serve at once what the store says is in each slot."""
        shelf = getattr(self, "shelf", None)
        if shelf is not None:
            shelf.follow()

    def close(self) -> None:
        """End the jobs in an orderly way and let go of the store."""
        self.jobs.stop()
        self.store.close()
