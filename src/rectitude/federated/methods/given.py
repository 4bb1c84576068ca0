"""Class probabilities that the table holds already: the base model of post-processing where there is none to train.

Any classifier at all, a forest, boosted trees, a vendor's score, is post-processed without being loaded: what it said
of each row is in columns of the table, and the saved model decides about new rows with the same columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from rectitude.federated.contracts import (
    Arrays,
    ClientData,
    ClientHalf,
    Combined,
    Exchange,
    Floats,
    Integers,
    Method,
    ServerHalf,
    Wire,
)


class GivenProbabilities(Method):
    """The features are the probabilities: one column a class, or that of the second of two classes."""

    name: ClassVar[str] = "scores"
    title: ClassVar[str] = "Given probabilities"
    paper: ClassVar[str] = "none: a classifier from elsewhere"
    stage = "training"
    uses_attribute: ClassVar[bool] = False
    wire: ClassVar[tuple[Wire, ...]] = ()

    def server(self) -> ServerHalf:
        """Asks for nothing."""
        return _Silent()

    def client(self, data: ClientData) -> ClientHalf:
        """Is asked nothing."""
        return _Unasked()

    def probabilities(self, rows: Mapping[str, Any], shared: Arrays, personal: Arrays) -> Floats | None:
        """The columns, divided by their sum."""
        given = np.asarray(rows["X"], np.float64)
        found = np.concatenate([1 - given, given], axis=1) if given.shape[1] == 1 else given
        return np.asarray(found / found.sum(axis=1, keepdims=True))

    def decide(self, rows: Mapping[str, Any], shared: Arrays, personal: Arrays, rng: np.random.Generator) -> Integers:
        """The most probable class."""
        return np.asarray(np.argmax(np.asarray(self.probabilities(rows, shared, personal)), axis=1), np.int64)


class _Silent(ServerHalf):
    def state(self) -> Arrays:
        return {}

    def restore(self, state: Arrays) -> None:
        return

    def ask(self) -> Exchange | None:
        return None

    def take(self, exchange: Exchange, combined: Combined) -> None:
        raise NotImplementedError("Nothing was asked")

    def shared(self) -> Arrays:
        return {}


class _Unasked(ClientHalf):
    def reply(self, kind: str, message: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
        raise NotImplementedError("Nothing is asked")

    def personal(self, shared: Arrays, state: Arrays) -> Arrays:
        return {}
