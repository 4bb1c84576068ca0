"""Dealing a table's rows to clients, and a client's rows to its parts.

Source of the Dirichlet partition: Hsu, Qi and Brown, "Measuring the Effects of Non-Identical Data Distribution for
Federated Visual Classification", 2019, arXiv 1909.06335, section 2; over the sensitive attribute as in FedFACT (arXiv
2506.03777) and LoGoFair (arXiv 2503.17231).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from rectitude.core.errors import ConfigError, DataError, did_you_mean
from rectitude.federated.contracts import Integers
from rectitude.federated.tables import People

PARTS = ("train", "valid", "calibration", "test")
SHARES = (0.35, 0.05, 0.3, 0.3)
"""Of a client's rows, part by part: half of what may be learnt from is kept to calibrate on."""
SCORED_SHARES = (0.0, 0.05, 0.65, 0.3)
"""The same where class probabilities are given, so that no model is trained."""
_WHOLE = 20
"""Rows of each group that every client should hold; a Dirichlet draw is repeated until it does."""
_DRAWS = 200
_MOST_CLIENTS = 1000
_FEWEST_ROWS = 10


@dataclass(frozen=True)
class Partition:
    """How rows come to clients.

    Args:
        rule: ``iid``, ``dirichlet`` or ``column``.
        alpha: Concentration of the Dirichlet distribution; smaller is more skewed.
        over: ``group``, ``label`` or ``cell`` (both): whose shares are drawn.
        column: Whose values are the clients.
    """

    rule: str
    alpha: float = 0.5
    over: str = "group"
    column: str = ""

    @classmethod
    def parse(cls, text: str) -> Partition:
        """Read ``iid``, ``dirichlet:0.5``, ``dirichlet:0.5:label`` or ``column:NAME``.

        Raises:
            ConfigError: It is none of these.
        """
        rule, _, rest = text.partition(":")
        if rule == "iid" and not rest:
            return cls("iid")
        if rule == "column" and rest:
            return cls("column", column=rest)
        if rule == "dirichlet":
            alpha, _, over = rest.partition(":")
            try:
                found = cls("dirichlet", float(alpha or 0.5), over or "group")
            except ValueError as error:
                raise ConfigError(
                    f"'{alpha}' is no concentration", where="--partition", fix="For example 0.5"
                ) from error
            if not 0 < found.alpha < np.inf:
                raise ConfigError(f"The concentration must be above 0, not {alpha}", where="--partition")
            if found.over not in ("group", "label", "cell"):
                raise ConfigError(
                    f"A Dirichlet partition is over the group, the label or the cell, not '{over}'",
                    where="--partition",
                    fix=did_you_mean(over, ("group", "label", "cell")),
                )
            return found
        raise ConfigError(
            f"'{text}' is no partition", where="--partition", fix="Write iid, dirichlet:0.5[:label] or column:NAME"
        )

    def __str__(self) -> str:
        if self.rule == "dirichlet":
            return f"dirichlet:{self.alpha:g}:{self.over}"
        return f"column:{self.column}" if self.rule == "column" else "iid"


def deal(
    people: People,
    partition: Partition,
    n_clients: int | None,
    seed: int,
    announce: Callable[[str], None] | None = None,
) -> tuple[list[Integers], list[str]]:
    """Rows of each client.

    Args:
        people: The table.
        partition: The rule.
        n_clients: N; for a column at most as many of its values, the largest first (all where None).
        seed: Of the draw.
        announce: Told what a person should know of the outcome.

    Returns:
        Ascending row numbers of each client, and the clients' names.

    Raises:
        DataError: A client would hold too few rows.
        ConfigError: The number of clients cannot be.
    """
    say = announce or (lambda _: None)
    if partition.rule == "column":
        return _by_column(people, partition.column, n_clients, say)
    n_clients = n_clients or 5
    if not 2 <= n_clients <= _MOST_CLIENTS:
        raise ConfigError(f"A federation has 2 to {_MOST_CLIENTS} clients, not {n_clients}", where="--clients")
    if len(people) < n_clients * _FEWEST_ROWS:
        raise DataError(
            f"{len(people):,} rows are too few for {n_clients} clients",
            where=people.name,
            fix=f"Ask for at most {max(2, len(people) // _FEWEST_ROWS)} clients",
        )
    rng = np.random.default_rng([seed, 0])
    names = [f"client-{number:0{len(str(n_clients - 1))}d}" for number in range(n_clients)]
    units, first = np.unique(people.unit, return_index=True)
    if partition.rule == "iid":
        owner = rng.permutation(np.arange(len(units)) % n_clients)
    else:
        owner = _dirichlet(people, partition, n_clients, first, rng, say)
    of_row = owner[np.searchsorted(units, people.unit)]
    return [np.flatnonzero(of_row == client) for client in range(n_clients)], names


def _dirichlet(
    people: People,
    partition: Partition,
    n_clients: int,
    first: Integers,
    rng: np.random.Generator,
    say: Callable[[str], None],
) -> Integers:
    n_groups, n_classes = len(people.groups), len(people.classes)
    cell = {"group": people.a, "label": people.y, "cell": people.a * n_classes + people.y}[partition.over][first]
    group = people.a[first]
    best, fewest = np.zeros(len(first), np.int64), -1
    for _ in range(_DRAWS):
        owner = np.empty(len(first), np.int64)
        for value in np.unique(cell):
            rows = rng.permutation(np.flatnonzero(cell == value))
            ends = np.cumsum(rng.dirichlet(np.full(n_clients, partition.alpha)))[:-1] * len(rows)
            for client, piece in enumerate(np.split(rows, ends.round().astype(int))):
                owner[piece] = client
        sizes = np.bincount(owner, minlength=n_clients)
        cells = np.bincount(owner * n_groups + group, minlength=n_clients * n_groups)
        score = int(min(cells.min() if sizes.min() >= _FEWEST_ROWS else -1, _WHOLE))
        if score > fewest:
            best, fewest = owner, score
        if fewest >= _WHOLE:
            return best
    if fewest < 0:
        raise DataError(
            f"In {_DRAWS} draws some client always had fewer than {_FEWEST_ROWS} rows",
            where=f"--partition {partition}",
            fix="Ask for fewer clients or a larger concentration",
        )
    say(
        f"No draw of {_DRAWS} gave every client {_WHOLE} rows of every group; in the one taken some client has {fewest}"
    )
    return best


def _by_column(
    people: People, column: str, n_clients: int | None, say: Callable[[str], None]
) -> tuple[list[Integers], list[str]]:
    if column not in people.columns.columns:
        raise ConfigError(
            f"There is no column '{column}'", where="--partition", fix=did_you_mean(column, people.columns.columns)
        )
    values = people.columns[column].cast(pl.String).fill_null("none")
    counts = values.value_counts(sort=True).sort(["count", column], descending=[True, False])
    small = counts.filter(pl.col("count") < _FEWEST_ROWS)
    counts = counts.filter(pl.col("count") >= _FEWEST_ROWS)
    if len(small):
        say(f"{len(small)} values of '{column}' have fewer than {_FEWEST_ROWS} rows and are no clients")
    if n_clients is not None and len(counts) > n_clients:
        say(f"The {n_clients} largest of {len(counts)} values of '{column}' are the clients")
        counts = counts.head(n_clients)
    if not 2 <= len(counts) <= _MOST_CLIENTS:
        raise ConfigError(
            f"Column '{column}' makes {len(counts)} clients; 2 to {_MOST_CLIENTS} can federate", where="--partition"
        )
    names = counts[column].to_list()
    text = values.to_numpy()
    return [np.flatnonzero(text == name) for name in names], names


def cut(
    rows: Integers, people: People, rng: np.random.Generator, shares: Sequence[float] = SHARES
) -> dict[str, Integers]:
    """One client's rows cut into parts, each (group, class) cell by the same shares.

    Args:
        rows: The client's row numbers.
        people: The table.
        rng: Of the shuffling.
        shares: Of train, valid, calibration and test.

    Returns:
        Part to ascending row numbers; together they are ``rows``. Rows of one person stay together.
    """
    units, first, which = np.unique(people.unit[rows], return_index=True, return_inverse=True)
    cell = (people.a * len(people.classes) + people.y)[rows[first]]
    part = np.empty(len(units), np.int64)
    ends = np.cumsum(shares) / sum(shares)
    for value in np.unique(cell):
        members = rng.permutation(np.flatnonzero(cell == value))
        place = (np.arange(len(members)) + rng.random()) / len(members) % 1.0
        part[members] = np.minimum(np.searchsorted(ends, place, side="right"), len(shares) - 1)
    return {name: rows[part[which] == index] for index, name in enumerate(PARTS)}
