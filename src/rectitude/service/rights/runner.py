"""The job runner: claims requests from the store and works at them, one at a time, in a thread of the process."""

from __future__ import annotations

from rectitude.service.config import ServiceConfig
from rectitude.service.store import Store


class Jobs:
    """Works at people's requests.

    Args:
        store: The queue.
        config: Lease, folders, remedies.
    """

    def __init__(self, store: Store, config: ServiceConfig) -> None:
        self.store, self.config = store, config

    def start(self) -> None:
        """Begin to work, in a thread."""

    def stop(self) -> None:
        """End in an orderly way."""
