"""A client of a federation: it answers orders about its own rows, and keeps its state and keys to itself.

Nothing here knows how messages travel; ``rectitude.federated.app`` puts it behind Flower.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rectitude.core.files import write_bytes
from rectitude.federated import privacy, secure
from rectitude.federated.contracts import (
    Array,
    Arrays,
    ClientData,
    ClientHalf,
    FederationError,
    Field,
    Floats,
    Rows,
    Wire,
    generator,
)
from rectitude.federated.metrics import count_cells, gap, gaps_by_chance
from rectitude.federated.partition import PARTS
from rectitude.federated.plan import Order, Plan, dump, read_arrays

Scorer = Callable[[Array], Array]
"""Features float32 [n, d] to class probabilities [n, m]: a model the client has already."""

JUDGED = ("valid", "test")
"""Parts that a stage's final evaluation measures."""
EVALUATION = Wire(
    "evaluate",
    (Field("*", "as the method's result", "shared part of the result"),),
    (
        Field("cells/*", "groups × classes × classes", "rows by group, true and predicted class", secure=True, scale=1),
        Field("gap/*", "1", "the client's own gap, which the report shows", combine="each"),
        Field("chance/*", "draws", "what sampling alone would make of it if the decision were fair", combine="each"),
    ),
)
"""The exchange at the end of every stage."""
_TIES, _CHANCE = 9, 10  # purposes of random numbers
_MASKED_AHEAD = 64  # words of a pair's stream that are made at once
_DRAWS = 200  # of the gap by chance


class Store(ABC):
    """Where a client keeps what must not leave it."""

    @abstractmethod
    def get(self, name: str) -> Arrays:
        """What is kept under a name, empty if nothing is."""

    @abstractmethod
    def put(self, name: str, arrays: Arrays) -> None:
        """Keep something."""


class MemoryStore(Store):
    """Keeps it while the process lives.

    Args:
        content: What is kept, by name.
    """

    def __init__(self, content: dict[str, Arrays] | None = None) -> None:
        self.content = content if content is not None else {}

    def get(self, name: str) -> Arrays:
        """What is kept under a name."""
        return self.content.get(name, {})

    def put(self, name: str, arrays: Arrays) -> None:
        """Keep something."""
        self.content[name] = arrays


class FileStore(Store):
    """Keeps it in a folder, one safetensors file a name.

    Args:
        folder: Made when first needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, name: str) -> Arrays:
        """What is kept under a name."""
        path = self._path(name)
        return read_arrays(path) if path.exists() else {}

    def put(self, name: str, arrays: Arrays) -> None:
        """Keep something; after a crash there is the old or the new."""
        write_bytes(self._path(name), dump(arrays))

    def _path(self, name: str) -> Path:
        return self.folder / f"{name.replace('/', '-')}.safetensors"


class Party:
    """One client.

    Args:
        plan: What the federation does.
        data: The client's rows.
        store: Where it keeps its state.
        scorer: Its own model, for post-processing stages without a base stage.
    """

    def __init__(self, plan: Plan, data: ClientData, store: Store, scorer: Scorer | None = None) -> None:
        self.plan, self.data, self.store, self.scorer = plan, data, store, scorer
        self._halves: dict[int, ClientHalf] = {}
        self._rows: dict[int, ClientData] = {}
        self._ahead: tuple[Any, secure.Words] | None = None

    def answer(self, order: Order, message: Arrays) -> Arrays:
        """Do what an order asks.

        Raises:
            FederationError: The order is of another run, or the reply cannot be sent.
        """
        if order.run != self.plan.run:
            raise FederationError("The order is of another run than this client was started for")
        if order.purpose == "hello":
            key = np.frombuffer(secure.public_key(self._private_key), np.uint8)
            return {"index": np.asarray(self.data.index, np.int64), "key": key}
        if order.purpose == "keys":
            self.store.put("keys", message)
            self.__dict__.pop("_secrets", None)
            self._ahead = None
            return {}
        if order.purpose == "model":
            self.store.put(f"base/{order.stage}", message)
            self._rows.clear()
            self._halves.clear()
            return {}
        if order.purpose == "evaluate":
            return self._outgoing(order, EVALUATION, self._evaluate(order.stage, message), noise=False)
        reply, wire = self._exchange(order, message)
        return self._outgoing(order, wire, reply, noise=self.plan.noise is not None)

    # ---- the exchanges of a method -------------------------------------------------------------------------------

    def _exchange(self, order: Order, message: Arrays) -> tuple[Arrays, Wire]:
        wire = next(wire for wire in self.plan.methods[order.stage].wire if wire.kind == order.kind)
        state, slot = self._state(order.stage, order.number)
        reply, new = self.half(order.stage).reply(order.kind, message, state)
        self.store.put(slot, new | {"exchange": np.asarray(order.number, np.int64)})
        return reply, wire

    def _state(self, stage: int, before: int) -> tuple[Arrays, str]:
        """The newest state from before an exchange, and where the next is to be kept.

        Two states are kept, so that an exchange may be asked again after it has been answered.
        """
        state, at = Arrays(), 1
        for slot in (0, 1):
            kept = self.store.get(f"state/{stage}/{slot}")
            if kept and int(state.get("exchange", -1)) < int(kept["exchange"]) < before:
                state, at = kept, slot
        return {name: array for name, array in state.items() if name != "exchange"}, f"state/{stage}/{1 - at}"

    def half(self, stage: int) -> ClientHalf:
        """The method's client half, with the rows it may see."""
        if stage not in self._halves:
            self._halves[stage] = self.plan.methods[stage].client(self.rows(stage))
        return self._halves[stage]

    def rows(self, stage: int) -> ClientData:
        """The client's rows as a stage sees them."""
        if stage not in self._rows:
            self._rows[stage] = self._as_seen_by(stage)
        return self._rows[stage]

    def _as_seen_by(self, stage: int) -> ClientData:
        data = self.data
        if self.plan.learns_from_calibration(stage):
            both = [data.train, data.calibration]
            X, y, a = (np.concatenate([getattr(rows, name) for rows in both]) for name in ("X", "y", "a"))
            return replace(data, train=Rows(X, y, a), calibration=Rows(X[:0], y[:0], a[:0]))
        if self.plan.methods[stage].stage == "training":
            return data
        filled = {
            part: replace(getattr(data, part), eta=self._probabilities(stage, getattr(data, part).X)) for part in PARTS
        }
        return replace(data, **filled)

    def _probabilities(self, stage: int, X: Any) -> Floats:
        base = self.plan.stages[stage].base
        if base is None:
            if self.scorer is None:
                raise FederationError("A post-processing method needs a model, and there is none")
            found: Floats | None = np.asarray(self.scorer(X), np.float64)
        else:
            personal = self.store.get(f"personal/{base}")
            found = self.plan.methods[base].probabilities({"X": X}, self.store.get(f"base/{base}"), personal)
        expected = (len(X), self.plan.problem.n_classes)
        if found is None or found.shape != expected or not np.isfinite(found).all():
            raise FederationError(
                f"The base model gives no class probabilities of shape {expected}",
                fix="Use a model that has predict_proba and was fitted on every class",
            )
        return found

    # ---- the end of a stage --------------------------------------------------------------------------------------

    def _evaluate(self, stage: int, shared: Arrays) -> Arrays:
        state, _ = self._state(stage, np.iinfo(np.int64).max)
        personal = self.half(stage).personal(shared, state)
        self.store.put(f"personal/{stage}", personal)
        data, reply = self.rows(stage), Arrays()
        method, problem = self.plan.methods[stage], self.plan.problem
        for part in JUDGED:
            rows: Rows = getattr(data, part)
            given = {"X": rows.X, "a": rows.a, "eta": rows.eta}
            decided = method.decide(given, shared, personal, generator(problem, _TIES, data.index))
            cells = count_cells(rows.y, decided, rows.a, problem.n_groups, problem.n_classes)
            reply[f"cells/{part}"] = cells
            reply[f"gap/{part}"] = np.asarray(gap(cells, self.plan.criterion), np.float64)
            rng = generator(problem, _CHANCE, data.index)
            reply[f"chance/{part}"] = gaps_by_chance(cells, self.plan.criterion, _DRAWS, rng)
        return reply

    # ---- what leaves the client ----------------------------------------------------------------------------------

    def _outgoing(self, order: Order, wire: Wire, reply: Arrays, *, noise: bool) -> Arrays:
        """The reply as the wire declares it, noised and masked where the plan asks for it."""
        sent, hidden = Arrays(), Arrays()
        for name, array in reply.items():
            declared = field_of(wire, name)
            masked = declared.secure and self.plan.secure
            checked = masked and not noise  # by masking itself
            if declared.combine == "sum" and not checked and not np.isfinite(array).all():
                raise FederationError(f"The reply's '{name}' is not finite")
            if noise and privacy.is_noised(declared) and self.plan.noise is not None:
                rng = np.random.default_rng(secrets.randbits(128))
                array = privacy.noised(array, declared, self.plan.noise, len(order.clients) if masked else 1, rng)
                array = np.rint(array).astype(np.int64) if declared.scale == 1 else array
            if masked:
                hidden[name] = array * declared.scale
            else:
                sent[name] = np.asarray(array)
        if missing := [name for name in wire.required if name not in reply]:
            raise FederationError(f"The reply lacks {', '.join(missing)}")
        return sent | self._masked(order, hidden) if hidden else sent

    def _masked(self, order: Order, scaled: Arrays) -> Arrays:
        """All fields that only sums may be known of, under one mask, which they share in the order of their names."""
        names = sorted(scaled)
        words = secure.encode(np.concatenate([scaled[name].ravel() for name in names]), 1.0, ", ".join(names))
        words += self._mask(order, words.size)
        sent, at = Arrays(), 0
        for name in names:
            until = at + scaled[name].size
            sent[name] = words[at:until].reshape(scaled[name].shape)
            at = until
        return sent

    def _mask(self, order: Order, n_words: int) -> secure.Words:
        """One row of the masks of several exchanges: secrets are stretched once for all that are as long."""
        n_rows = max(1, _MASKED_AHEAD // max(n_words, 1))
        block, row = divmod(order.number, n_rows)
        whose = order.clients, f"{order.run}/{block}/{order.attempt}/{n_words}"
        if self._ahead is None or self._ahead[0] != whose:
            stretched = secure.mask(self._secrets, self.data.index, *whose, n_rows * n_words)
            self._ahead = whose, stretched.reshape(n_rows, n_words)
        return np.asarray(self._ahead[1][row])

    @cached_property
    def _private_key(self) -> bytes:
        kept = self.store.get("private-key")
        if not kept:
            kept = {"key": np.frombuffer(secure.new_private_key(), np.uint8).copy()}
            self.store.put("private-key", kept)
        return kept["key"].tobytes()

    @cached_property
    def _secrets(self) -> dict[int, bytes]:
        kept = self.store.get("keys")
        if not kept:
            raise FederationError("A masked reply is asked for before the keys were exchanged")
        return {
            int(index): secure.shared_secret(self._private_key, key.tobytes(), self.plan.run)
            for index, key in zip(kept["clients"], kept["keys"], strict=True)
            if int(index) != self.data.index
        }


def field_of(wire: Wire, name: str) -> Field:
    """The declaration of an array that is about to be sent, or was received.

    Raises:
        FederationError: The wire does not declare it.
    """
    for declared in wire.up:
        if name == declared.name or (declared.name.endswith("*") and name.startswith(declared.name[:-1])):
            return declared
    raise FederationError(f"'{name}' is not declared in the messages of '{wire.kind}', so it is not sent")
