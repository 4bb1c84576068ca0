"""What the service must not lose: events, people, items, keys, requests of people and the trail of what was done.

SQLite by default, PostgreSQL by URL; :class:`Store` is all that other rooms need.
"""

from rectitude.service.store.database import StoreError, StoreFullError, StoreUnavailableError
from rectitude.service.store.events import Event, Mark, PersonState, Stored, StoredEvent, refusal
from rectitude.service.store.keys import KeyInfo, Role
from rectitude.service.store.people import ItemFacts, UserFacts
from rectitude.service.store.queue import Request, Step
from rectitude.service.store.store import Slot, Store
from rectitude.service.store.trail import Entry

__all__ = [
    "Entry",
    "Event",
    "ItemFacts",
    "KeyInfo",
    "Mark",
    "PersonState",
    "Request",
    "Role",
    "Slot",
    "Step",
    "Store",
    "StoreError",
    "StoreFullError",
    "StoreUnavailableError",
    "Stored",
    "StoredEvent",
    "UserFacts",
    "refusal",
]
