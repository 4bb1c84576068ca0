"""What the store knows of people, kept between their questions for as long as it has not changed.

Every batch asks the store for the marks of its people, which costs one query whatever they did; only those whose mark
has changed, in whatever process, are read again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rectitude.service.serving.served import ServedRun, Since

if TYPE_CHECKING:
    from rectitude.service.store import Mark, Store

MOST_PEOPLE = 50_000
MOST_EVENTS = 2_000_000
"""People and events of them that are kept for a run, 4 bytes an event; who was least lately asked for goes first."""


class Kept:
    """The people of one run.

    Args:
        served: The run.
    """

    def __init__(self, served: ServedRun) -> None:
        self.served = served
        self._people: OrderedDict[str, tuple[Mark, Since]] = OrderedDict()
        self._events = 0

    def __len__(self) -> int:
        return len(self._people)

    def states(self, store: Store, marks: Mapping[str, Mark], users: Sequence[str], most: int) -> dict[str, Since]:
        """What is known of some people.

        Args:
            store: Asked about those who changed.
            marks: Of these people, as they are now.
            users: Whom.
            most: Events of a person that are read.
        """
        found: dict[str, Since] = {}
        for user in users:
            entry = self._people.get(user)
            if entry is not None and entry[0] == marks[user]:
                self._people.move_to_end(user)
                found[user] = entry[1]
        changed = [user for user in users if user not in found]
        blank = [user for user in changed if not any(marks[user])]
        found |= dict.fromkeys(blank, Since())  # nothing is known of them, so nothing needs to be kept
        rest = [user for user in changed if any(marks[user])]
        for user, state in store.histories(rest, most).items():
            found[user] = self.served.since(state)
            self._keep(user, marks[user], found[user])
        return found

    def _keep(self, user: str, mark: Mark, since: Since) -> None:
        replaced = self._people.pop(user, None)
        self._events += len(since.items) - (len(replaced[1].items) if replaced is not None else 0)
        self._people[user] = (mark, since)
        while len(self._people) > MOST_PEOPLE or self._events > MOST_EVENTS:
            _, (_, gone) = self._people.popitem(last=False)
            self._events -= len(gone.items)
