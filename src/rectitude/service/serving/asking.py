"""What is asked of a served run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rectitude.core.errors import QueryError


@dataclass(frozen=True, slots=True)
class Between:
    """Numbers from ``low`` to ``high``, both included; None is no bound."""

    low: float | None = None
    high: float | None = None


Condition = tuple[str, ...] | Between
"""Any of some values, or a number within bounds."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One question, in external ids.

    Attributes:
        user: A person; instead of ``history`` or ``features``.
        history: Items of anybody, oldest first.
        features: What is known of somebody (``{"gender": "F"}``), or ``{"text": …}`` for models that read text.
        k: Length of the list.
        exclude_seen: Leave out what is in the history.
        exclude: Items that are not to be listed.
        only: The items the list may be made of; None is all.
        where: Attribute of an item to the values it may have.
        explain: Tell why, as far as the model can.
    """

    user: str | None = None
    history: tuple[str, ...] | None = None
    features: Mapping[str, Any] | None = None
    k: int = 10
    exclude_seen: bool = True
    exclude: tuple[str, ...] = ()
    only: tuple[str, ...] | None = None
    where: Mapping[str, Condition] = field(default_factory=dict)
    explain: bool = False

    def __post_init__(self) -> None:
        if sum(given is not None for given in (self.user, self.history, self.features)) != 1:
            raise QueryError(
                "Ask with one of a user, a history and features", fix="Give user=ID, history=ID,ID or features={…}"
            )
        if self.k < 1:
            raise QueryError(f"A list of {self.k} items cannot be made", fix="Give k=1 or more")

    def told(self) -> dict[str, Any]:
        """The question as it is repeated in the answer."""
        asked: dict[str, Any] = {}
        if self.user is not None:
            asked["user"] = self.user
        elif self.history is not None:
            asked["history"] = list(self.history)
        else:
            asked["features"] = dict(self.features or {})
        return asked | {"k": self.k, "exclude_seen": self.exclude_seen}
