"""A table as the clients of a federation: dealt, cut into parts, and made into numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from rectitude.core.errors import DataError
from rectitude.federated.contracts import ClientData, Problem, Rows
from rectitude.federated.encoder import Encoder, Scaling
from rectitude.federated.partition import PARTS, SCORED_SHARES, SHARES, Partition, cut, deal
from rectitude.federated.tables import People, read_people

_CUTTING = 1  # a purpose of random numbers


@dataclass(frozen=True)
class Federation:
    """Clients and what they have in common.

    Args:
        name: Of the data.
        problem: Classes, groups, clients, seed.
        clients: Their rows.
        encoder: How their columns became numbers. Levels, means and scales come from the training rows of all clients:
            they are agreed on before the federation begins.
        label: Column of the label.
        attribute: The sensitive attribute.
        partition: How the rows were dealt.
        notes: What was guessed, dropped or merged.
    """

    name: str
    problem: Problem
    clients: tuple[ClientData, ...]
    encoder: Encoder
    label: str
    attribute: str
    partition: str
    notes: tuple[str, ...] = ()

    def about(self) -> dict[str, Any]:
        """Facts for the run folder."""
        sizes = {part: sum(len(getattr(client, part)) for client in self.clients) for part in PARTS}
        return {
            "name": self.name,
            "label": self.label,
            "attribute": self.attribute,
            "partition": self.partition,
            "clients": self.problem.n_clients,
            "features": self.problem.n_features,
            "classes": list(self.problem.classes),
            "groups": list(self.problem.groups),
            "rows": sizes,
        }


def federation_of(
    data: str | Path | pl.DataFrame | People,
    *,
    label: str | None = None,
    attribute: str | None = None,
    n_clients: int | None = None,
    partition: str | Partition = "dirichlet:0.5",
    drop: Sequence[str] = (),
    scores: Sequence[str] = (),
    scaling: Scaling = "standard",
    shares: Sequence[float] | None = None,
    seed: int = 0,
    cut_number: int = 0,
    announce: Callable[[str], None] | None = None,
) -> Federation:
    """Read a table and deal it to clients.

    Args:
        data: As for :func:`rectitude.federated.tables.read_people`.
        label: Column of the label; known or guessed where omitted.
        attribute: Sensitive attribute; known or guessed where omitted.
        n_clients: N; 5 where omitted, or all values of a partition's column.
        partition: ``iid``, ``dirichlet:0.5``, ``dirichlet:0.5:label`` or ``column:NAME``.
        drop: Columns that must not be features.
        scores: Columns with class probabilities, as for :func:`rectitude.federated.tables.read_people`.
        scaling: Of numbers: ``standard`` or ``minmax``.
        shares: Of train, valid, calibration and test in every client; where omitted,
            :data:`~rectitude.federated.partition.SHARES`, or with given probabilities no training rows.
        seed: Of the draw and the cuts.
        cut_number: Which of the seed's cuts: the same clients with other rows in their parts.
        announce: Called with each sentence about what was guessed, dropped or merged.

    Raises:
        DataError: The table cannot be used, or a client would hold too few rows.
        ConfigError: The partition cannot be.
    """
    rule = partition if isinstance(partition, Partition) else Partition.parse(partition)
    notes: list[str] = []

    def say(sentence: str) -> None:
        notes.append(sentence)
        if announce is not None:
            announce(sentence)

    if isinstance(data, People):
        people = data
    else:
        people = read_people(data, label=label, attribute=attribute, drop=drop, scores=scores, announce=say)
    shares = shares or (SCORED_SHARES if people.scores else SHARES)
    if rule.rule == "column" and rule.column in people.frame.columns:
        people = people.without(rule.column)
    owned, names = deal(people, rule, n_clients, seed, say)
    key = [cut_number] if cut_number else []
    rngs = [np.random.default_rng([seed, _CUTTING, k, *key]) for k in range(len(owned))]
    cuts = [cut(rows, people, rng, shares) for rows, rng in zip(owned, rngs, strict=True)]
    if people.scores:
        encoder = Encoder.of_scores(people.scores)
    else:
        encoder = Encoder.fit(people.frame[np.concatenate([parts["train"] for parts in cuts])], scaling)
    X = encoder.transform(people.frame)
    problem = Problem(X.shape[1], people.classes, people.groups, tuple(names), seed)
    clients = tuple(
        ClientData(index, name, **{part: Rows(X[rows], people.y[rows], people.a[rows]) for part, rows in parts.items()})
        for index, (name, parts) in enumerate(zip(names, cuts, strict=True))
    )
    if people.scores and (doubt := _doubt(clients, problem)):
        say(doubt)
    if absent := _absent(clients, problem):
        say(f"Groups without rows at a client: {absent}")
    return Federation(people.name, problem, clients, encoder, people.label, people.attribute, str(rule), tuple(notes))


def federation_of_arrays(
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    sensitive: npt.ArrayLike,
    client: npt.ArrayLike,
    *,
    shares: Sequence[float] = SHARES,
    seed: int = 0,
) -> Federation:
    """Arrays whose rows say which client they belong to.

    Args:
        X: Features [n, d].
        y: Class of each row [n], of any type that sorts.
        sensitive: Group of each row [n], likewise.
        client: Name of each row's client [n].
        shares: Of train, valid, calibration and test in every client.
        seed: Of the cuts.

    Raises:
        DataError: Lengths differ, features are not finite, or there are fewer than two classes, groups or clients.
    """
    features = np.asarray(X, np.float32)
    columns = {"y": np.asarray(y), "sensitive": np.asarray(sensitive), "client": np.asarray(client)}
    if features.ndim != 2 or any(values.shape != (len(features),) for values in columns.values()):
        shapes = ", ".join(f"{name} {values.shape}" for name, values in {"X": features, **columns}.items())
        raise DataError(f"One value per row is wanted: {shapes}", where="fit")
    if not np.isfinite(features).all():
        raise DataError("X holds NaN or infinite values", where="fit", fix="Impute them first")
    found = {name: np.unique(values, return_inverse=True) for name, values in columns.items()}
    for name, (values, _) in found.items():
        if len(values) < 2:
            raise DataError(f"'{name}' has fewer than two different values", where="fit")
    names = {name: tuple(str(value) for value in values) for name, (values, _) in found.items()}
    codes = {name: np.asarray(code, np.int64) for name, (_, code) in found.items()}
    frame = pl.DataFrame({"client": columns["client"].astype(str)})
    people = People(
        *("the arrays", frame, codes["y"], codes["sensitive"], names["y"], names["sensitive"], "y", "sensitive"),
        *(frame, np.arange(len(features), dtype=np.int64)),
    )
    problem = Problem(features.shape[1], names["y"], names["sensitive"], names["client"], seed)
    clients = []
    for index, name in enumerate(names["client"]):
        rows = np.flatnonzero(codes["client"] == index)
        parts = cut(rows, people, np.random.default_rng([seed, _CUTTING, index]), shares)
        cells = {part: Rows(features[own], people.y[own], people.a[own]) for part, own in parts.items()}
        clients.append(ClientData(index, name, **cells))
    return Federation(people.name, problem, tuple(clients), Encoder(()), "y", "sensitive", "as given")


def _doubt(clients: Sequence[ClientData], problem: Problem) -> str:
    """A sentence where given probabilities are mostly wrong: columns out of order, most likely."""
    rows = [client.calibration for client in clients]
    X, y = np.concatenate([r.X for r in rows]), np.concatenate([r.y for r in rows])
    decided = X.argmax(axis=1) if X.shape[1] > 1 else X[:, 0] > 0.5
    right = float((decided == y).mean())
    if right >= 1 / problem.n_classes:
        return ""
    return (
        f"The most probable class is the true one in {right:.0%} of the calibration rows: are the columns in the order "
        f"of the classes ({', '.join(problem.classes)})?"
    )


def _absent(clients: Sequence[ClientData], problem: Problem) -> str:
    found = []
    for client in clients:
        present = np.unique(np.concatenate([getattr(client, part).a for part in PARTS]))
        missing = [name for group, name in enumerate(problem.groups) if group not in present]
        found += [f"{client.name} has no {' and no '.join(missing)}"] if missing else []
    return "; ".join(found)
