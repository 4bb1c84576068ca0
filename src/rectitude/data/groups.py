"""Groups of people: by how much they did, and by what their data say of them.

Letters: U users.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from rectitude.core.errors import ConfigError, DataError, did_you_mean
from rectitude.data.columns import USER_ID
from rectitude.data.split import Split

ADVANTAGED, DISADVANTAGED = "advantaged", "disadvantaged"
ACTIVITY = "activity"

MOST_CLASSES = 50
"""An attribute with more classes is an identifier rather than a group."""
_FEW_NUMBERS = 10
"""A number with at most this many values is a code whose values are classes."""

ActivityKey = Literal["train_value_sum", "train_count"]


@dataclass(frozen=True, eq=False)
class Groups:
    """A partition of the people, as far as it is known.

    Attributes:
        attribute: What it is by.
        names: Of the groups, C of them.
        labels: int64 [U], group of each person, -1 where unknown or left out.
        notes: What was left out, one sentence each.
    """

    attribute: str
    names: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    notes: tuple[str, ...] = ()

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """int64 [C], people in each group."""
        return np.bincount(self.labels[self.labels >= 0], minlength=len(self.names))

    def members(self, name: str) -> npt.NDArray[np.int64]:
        """int64, the people of a group."""
        return np.flatnonzero(self.labels == self.names.index(name))

    def crossed(self, other: Groups) -> Groups:
        """Everybody by both attributes: C₁ · C₂ groups, of which some may be empty."""
        labels = np.where((self.labels >= 0) & (other.labels >= 0), self.labels * len(other.names) + other.labels, -1)
        names = tuple(f"{one}, {two}" for one in self.names for two in other.names)
        return Groups(f"{self.attribute} and {other.attribute}", names, labels)


def activity_groups(split: Split, *, share: float = 0.05, key: ActivityKey = "train_value_sum") -> Groups:
    """The most active people and all others, by the training events alone.

    Args:
        split: Of the data.
        share: Of the people with training events that are called advantaged; their number is rounded.
        key: ``train_value_sum`` ranks by the sum of ratings (or counts) in training, which gives the groups that were
            published with In-UCDS exactly; ``train_count`` by the number of events. Equal keys rank by index.

    Raises:
        ConfigError: The share leaves one of the groups empty, or the data have no values to sum.

    Source:
        Li, Chen, Fu, Ge, Zhang, "User-oriented Fairness in Recommendation", WWW 2021.
    """
    train = split.train
    if key == "train_value_sum":
        if split.train_ratings is None:
            raise ConfigError(
                "The data have no column of ratings or counts to rank people by", fix="Use train_count instead"
            )
        activity = np.bincount(train.rows, split.train_ratings, minlength=len(train))
    else:
        activity = train.lengths.astype(np.float64)
    trained = np.flatnonzero(train.lengths > 0)
    n_advantaged = round(share * len(trained))
    if not 0 < n_advantaged < len(trained):
        empty = ADVANTAGED if n_advantaged <= 0 else DISADVANTAGED
        raise ConfigError(
            f"A share of {share:g} of {len(trained)} people leaves nobody in the {empty} group",
            where="share",
            fix="Choose a share with at least one person on either side",
        )
    order = trained[np.argsort(-activity[trained], kind="stable")]
    labels = np.full(len(train), -1, np.int64)
    labels[order[:n_advantaged]], labels[order[n_advantaged:]] = 0, 1
    return Groups(ACTIVITY, (ADVANTAGED, DISADVANTAGED), labels)


def default_key(split: Split) -> ActivityKey:
    """The published ranking where the data have values to sum, else the number of events."""
    return "train_count" if split.train_ratings is None else "train_value_sum"


def attribute_groups(users: pl.DataFrame, wanted: str, *, fewest: int = 10) -> Groups:
    """People by an attribute of the users table.

    Args:
        users: Row i describes user i.
        wanted: Name of a column. A number with many values is cut into three groups of about equal size, or where
            ``NAME:EDGE:EDGE`` says: ``age:35:45`` makes the groups below 35, 35 to 44, and 45 and above.
        fewest: A class with fewer people is left out, with a note: nothing can be said of it.

    Raises:
        ConfigError: There is no such attribute, or the edges are no rising numbers.
        DataError: It is the same for everybody, has only classes of too few people, or names people one by one.
    """
    name, *edges = wanted.split(":")
    attributes = [column for column in users.columns if column != USER_ID]
    if name not in attributes:
        if not attributes:
            raise ConfigError(f"The data say nothing of people, so there is no attribute '{name}'", fix=_NO_USERS)
        raise ConfigError(f"Unknown attribute '{name}'", where="users", fix=did_you_mean(name, attributes))
    column = users[name]
    if edges or (column.dtype.is_numeric() and column.n_unique() > _FEW_NUMBERS):
        classes = _cut(column, name, edges)
    else:
        if column.dtype.is_nested():
            raise DataError(f"'{name}' holds lists, and a group needs one value per person", where="users")
        classes = column.cast(pl.String)
    return _from_classes(classes, name, fewest)


_NO_USERS = "Put a users.parquet with user_id and attributes beside the interactions"


def _cut(column: pl.Series, name: str, edges: Sequence[str]) -> pl.Series:
    if not column.dtype.is_numeric():
        raise ConfigError(f"'{name}' is text and cannot be cut at numbers", where="users", fix=f"Write '{name}' alone")
    values = column.cast(pl.Float64).to_numpy()
    known = values[np.isfinite(values)]
    if not len(known):
        raise DataError(f"'{name}' is known of nobody", where="users")
    if edges:
        try:
            cuts = [float(edge) for edge in edges]
        except ValueError as error:
            raise ConfigError(f"'{':'.join(edges)}' are no edges", fix=f"Write numbers, e.g. {name}:35:45") from error
        if cuts != sorted(set(cuts)):
            raise ConfigError(f"The edges {':'.join(edges)} do not rise", fix=f"Write e.g. {name}:35:45")
    else:
        cuts = sorted(set(np.quantile(known, [1 / 3, 2 / 3], method="higher").tolist()))
    place = np.searchsorted(cuts, values, side="right")
    whole = bool((known == np.floor(known)).all()) and all(cut == int(cut) for cut in cuts)
    labels = [_range_name(cuts, i, whole=whole) for i in range(len(cuts) + 1)]
    return pl.Series(
        [labels[at] if np.isfinite(value) else None for at, value in zip(place, values, strict=True)], dtype=pl.String
    )


def _range_name(cuts: Sequence[float], place: int, *, whole: bool) -> str:
    if place == 0:
        return f"below {cuts[0]:g}"
    if place == len(cuts):
        return f"{cuts[-1]:g} and above"
    return f"{cuts[place - 1]:g} to {cuts[place] - 1:g}" if whole else f"{cuts[place - 1]:g} up to {cuts[place]:g}"


def _from_classes(classes: pl.Series, name: str, fewest: int) -> Groups:
    counts = dict(classes.drop_nulls().value_counts(sort=True).iter_rows())
    if not counts:
        raise DataError(f"'{name}' is known of nobody", where="users")
    if len(counts) == 1:
        raise DataError(f"Everybody has the same {name} ({next(iter(counts))}): there are no groups", where="users")
    small = {label: n for label, n in counts.items() if n < fewest}
    kept = sorted(set(counts) - set(small), key=_natural)
    if len(kept) < 2:
        people = "one person each" if max(small.values()) == 1 else f"fewer than {fewest} people"
        raise DataError(
            f"'{name}' has {len(counts)} classes, {len(small)} of them of {people}: too few to say anything of a group",
            where="users",
            fix="Choose an attribute with larger classes, or cut a number with NAME:EDGE:EDGE",
        )
    if len(kept) > MOST_CLASSES:
        raise DataError(f"'{name}' has {len(kept)} classes: it names people rather than groups", where="users")
    notes = []
    if small:
        told = ", ".join(f"'{label}' ({n})" for label, n in sorted(small.items(), key=lambda pair: -pair[1])[:5])
        more = ", …" if len(small) > 5 else ""
        notes.append(f"Classes of {name} with fewer than {fewest} people are left out: {told}{more}")
    if unknown := classes.null_count():
        notes.append(f"{name} is unknown of {unknown:,} of {len(classes):,} people, who are left out")
    index = {label: i for i, label in enumerate(kept)}
    labels = np.array([index.get(label, -1) for label in classes.to_list()], np.int64)
    return Groups(name, tuple(kept), labels, tuple(notes))


def _natural(label: Any) -> tuple[int, float, str]:
    """Ranges and bands in the order of their numbers, words after the alphabet."""
    digits = "".join(sign if sign.isdigit() else " " for sign in label).split()
    if not digits:
        return (1, 0.0, label)
    return (0, float(digits[0]) - (0.5 if label.startswith(("below", "under")) else 0.0), label)
