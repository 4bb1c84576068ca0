"""Business rules that hold for every list: what is never shown, what stands where, how much of one kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pydantic import Field

from rectitude.core.config import Settings, build, read_config
from rectitude.core.errors import ConfigError


class Pin(Settings):
    """An item with a fixed place."""

    item: str
    """Its id."""
    place: int = Field(1, ge=1)
    """Where it stands, 1 on top; a list that is shorter goes without it."""


class Rules(Settings):
    """The file of ``--rules``."""

    withdrawn: tuple[str, ...] = ()
    """Items that are never shown."""
    pinned: tuple[Pin, ...] = ()
    """Items with a fixed place, for everybody who may be shown them."""
    at_most: dict[str, int] = Field(default={})
    """Attribute to how many items of a list may share one of its values."""
    require: dict[str, tuple[str, ...]] = Field(default={})
    """Attribute to the values an item must have one of."""


def read_rules(path: str | Path) -> Rules:
    """Read a TOML or JSON file of rules.

    Raises:
        ConfigError: The file cannot be read, or a rule is not one.
    """
    rules = build(Rules, read_config(path), where=str(path))
    for attribute, most in rules.at_most.items():
        if most < 1:
            raise ConfigError(
                f"At most {most} items per {attribute} leaves no list", where=str(path), fix="Give 1 or more"
            )
    places = [pin.place for pin in rules.pinned]
    if len(set(places)) < len(places):
        raise ConfigError("Two items are pinned to the same place", where=str(path), fix="Give each its own place")
    return rules


def at_most(ordered: Iterator[int], k: int, limits: Sequence[tuple[Callable[[int], Sequence[str]], int]]) -> list[int]:
    """The first k items that keep every limit, in their order.

    Args:
        ordered: Item indices, best first.
        k: Length of the list.
        limits: Values of an item for an attribute, and how many items may share a value.
    """
    counts: list[dict[str, int]] = [{} for _ in limits]
    kept: list[int] = []
    for item in ordered:
        values = [of(item) for of, _ in limits]
        if any(
            count.get(value, 0) >= most
            for count, (_, most), has in zip(counts, limits, values, strict=True)
            for value in has
        ):
            continue
        for count, has in zip(counts, values, strict=True):
            for value in has:
                count[value] = count.get(value, 0) + 1
        kept.append(item)
        if len(kept) == k:
            break
    return kept
