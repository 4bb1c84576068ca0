"""A client of the service: ``Client`` waits for each answer, ``AsyncClient`` is for ``asyncio``."""

from rectitude.client.calls import Event
from rectitude.client.client import AsyncClient, Client, ServiceError

__all__ = ["AsyncClient", "Client", "Event", "ServiceError"]
