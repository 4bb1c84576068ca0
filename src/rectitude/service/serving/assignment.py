"""Which arm of an experiment a person is in: a pure function of the person, the experiment and a salt.

Nothing is stored, so every process and every restart gives the same answer, and no table grows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from rectitude.core.errors import ConfigError

_BUCKETS = 2**64


@dataclass(frozen=True)
class Experiment:
    """Arms side by side.

    Attributes:
        name: Of the experiment; two experiments divide people independently of each other.
        arms: Slot to its share of the people; in this order.
    """

    name: str
    arms: Mapping[str, float]

    @classmethod
    def parse(cls, text: str) -> Experiment:
        """Read ``"name=main:0.9,bpr:0.1"``.

        Raises:
            ConfigError: It is written otherwise, or the shares are not positive or do not sum to one.
        """
        name, equals, rest = text.partition("=")
        arms: dict[str, float] = {}
        for entry in rest.split(","):
            slot, _, share = entry.strip().rpartition(":")
            try:
                arms[slot] = float(share)
            except ValueError:
                slot = ""
            if not slot:
                equals = ""
        if not equals or not name.strip():
            raise ConfigError(
                f"'{text}' is no experiment", where="--experiment", fix="Write it as NAME=SLOT:SHARE,SLOT:SHARE"
            )
        return cls(name.strip(), arms)

    def __post_init__(self) -> None:
        total = sum(self.arms.values())
        if not self.arms or not all(share > 0 for share in self.arms.values()) or abs(total - 1) > 1e-6:
            raise ConfigError(
                f"The shares of the experiment '{self.name}' sum to {total:g}",
                where="experiment",
                fix="Give positive shares that sum to 1",
            )

    def arm(self, user: str, salt: str) -> str:
        """The slot that serves this person."""
        point = position(user, f"{salt}\x00{self.name}")
        reached = 0.0
        for slot, share in self.arms.items():
            reached += share
            if point < reached:
                return slot
        return next(reversed(list(self.arms)))


def position(user: str, salt: str) -> float:
    """A number in [0, 1), uniform over people and fixed for a person and a salt."""
    digest = hashlib.sha256(f"{salt}\x00{user}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / _BUCKETS
