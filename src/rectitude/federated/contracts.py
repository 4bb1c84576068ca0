"""How a federated method is written: a server half and a client half in plain NumPy, and the messages between them.

A method knows nothing of Flower, of sockets or of who is late. It is a sequence of *exchanges*: the server half says
what every client is sent (one message, the same for all), the client half turns it into a reply, the replies are
combined field by field, and the server half takes the combination. The app (``rectitude.federated.app``) carries the
messages: in this process, in Flower's simulation, or over TLS; it masks, adds noise, counts bytes, saves the state
after every exchange, and goes on from there after a crash.

Three rules make that possible:

1. **Replies are combined, never inspected.** A field is a *sum* over the clients (``combine="sum"``), which is all the
   server half ever sees of it; weighted means are sent as two sums (Σ n_k θ_k and Σ n_k). The few numbers that are
   openly each client's own (its local gap in the final evaluation) are declared ``combine="each"``.
2. **State is arrays.** Server and client state are flat dictionaries of arrays: saved as safetensors, put back as they
   were. ``reply`` is a pure function of message and state: it returns the new state and changes nothing, so that an
   exchange may be asked again (after a failure, or because a client dropped out) and gives the same answer. Random
   numbers come from :func:`generator`, never from a global source.
3. **What is sent is written down.** ``Method.wire`` lists every field of every message with its shape and meaning; the
   app refuses to send a field that is not in the list, and it is printed as the method's privacy claim.

Where things are: ``rectitude.federated.registry.METHODS`` names the methods (``"module:Class"``, imported on use);
``rectitude.federated.network`` has the models (logistic regression, MLP) with their gradients and local training, for
methods of ``stage = "training"``; ``rectitude.federated.metrics.gap(cells, criterion) -> float`` is the one definition
of the reported gap, from counts [G, m, m] by (group, true class, predicted class).

Letters: n rows, d features, m classes, G groups, N clients.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field as Setting

from rectitude.core.config import Settings
from rectitude.core.errors import RectitudeError

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Arrays = dict[str, Array]
"""Content of a message or a state: names to arrays of float64, float32 or int64. Scalars are arrays of shape []."""

Criterion = Literal["dp", "eop", "eo", "eo_full"]
Part = Literal["train", "valid", "calibration", "test"]


class FederationError(RectitudeError):
    """A federation cannot go on: too few clients, or replies that cannot be used."""


class InfeasibleError(RectitudeError):
    """No classifier keeps the tolerances; the fix names the tightest that can be reached."""


@dataclass(frozen=True)
class Rows:
    """Rows of one client.

    Args:
        X: Features, the sensitive columns removed, float32 [n, d].
        y: Class 0..m−1, int64 [n].
        a: Group 0..G−1 (several attributes are crossed into one), int64 [n].
        eta: Class probabilities of the base model, float64 [n, m]; given to post-processing methods only.
    """

    X: npt.NDArray[np.float32]
    y: Integers
    a: Integers
    eta: Floats | None = None

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class ClientData:
    """Everything one client holds.

    ``train`` fits models; ``valid`` chooses among settings (nobody else touches it); ``calibration`` fits calibrators,
    duals and thresholds of post-processing; ``test`` is read by the app's final evaluation only. A method's client half
    never reads ``test``.

    Args:
        index: 0..N−1.
    """

    index: int
    name: str
    train: Rows
    valid: Rows
    calibration: Rows
    test: Rows


@dataclass(frozen=True)
class Problem:
    """What all parties know before they begin."""

    n_features: int
    classes: tuple[str, ...]
    groups: tuple[str, ...]
    clients: tuple[str, ...]
    seed: int

    @property
    def n_classes(self) -> int:
        """The letter m."""
        return len(self.classes)

    @property
    def n_groups(self) -> int:
        """The letter G."""
        return len(self.groups)

    @property
    def n_clients(self) -> int:
        """The letter N: all that may ever take part."""
        return len(self.clients)


@dataclass(frozen=True)
class Field:
    """One array of a message.

    Args:
        name: Its key. A final ``*`` stands for any ending (``theta/*``).
        shape: For people: ``"groups × classes"``.
        meaning: One line; together the lines are the privacy claim.
        combine: ``"sum"`` over the clients, or ``"each"``: stacked to [N, …] in client order, NaN where none replied.
        secure: Masked where secure aggregation is on: the server then sees only the sum. For counts, gradients
            of duals, histograms; not for model weights, whose masking would cost more than their training.
        scale: Fixed-point units per 1.0 while masked (a sum must stay below 2⁶²/scale). 1 for counts.
        sensitivity: By how much one row more or less changes the field, in L2. Counts and histograms: 1.
        clip: L2 norm to which a client's reply is cut where differential privacy is on, for fields without a
            ``sensitivity`` of their own; one row then changes it by at most twice that. A secure field with neither is
            sent without noise, and the report says that privacy does not cover it.
    """

    name: str
    shape: str
    meaning: str
    combine: Literal["sum", "each"] = "sum"
    secure: bool = False
    scale: float = 2.0**32
    sensitivity: float | None = None
    clip: float | None = None


@dataclass(frozen=True)
class Wire:
    """The two messages of one kind of exchange."""

    kind: str
    down: tuple[Field, ...] = ()
    up: tuple[Field, ...] = ()

    @cached_property
    def required(self) -> tuple[str, ...]:
        """Names of the fields that every reply has."""
        return tuple(declared.name for declared in self.up if not declared.name.endswith("*"))


@dataclass(frozen=True)
class Exchange:
    """The server half's next wish.

    Args:
        kind: One of the method's ``wire`` kinds; tells the client half what to do.
        message: Sent to every client alike.
        round: Number shown to people, from 1; exchanges of one round share it.
        requires: Kind of an exchange that a client must have answered before it is asked this one. A client that joins
            late takes part where it is None; e.g. dual rounds require ``"stats"``, because totals without a client's
            counts would contradict its gradients.
    """

    kind: str
    message: Arrays
    round: int
    requires: str | None = None


@dataclass(frozen=True)
class Combined:
    """Replies of one exchange, combined as the wire says.

    Args:
        fields: Name to sum, or to [N, …] for fields of ``combine="each"``.
        replied: Numbers of the clients that are in the sums, ascending.
    """

    fields: Arrays
    replied: tuple[int, ...]


class MethodConfig(Settings):
    """Settings every method has."""

    rounds: int = Setting(20, ge=1)
    """Rounds of the method itself; for post-processing, those after the base model was trained."""


class FairConfig(MethodConfig):
    """Settings of methods that take tolerances; the command line's --criterion, --global and --local."""

    criterion: Criterion = "dp"
    """Demographic parity, (multi-class) equal opportunity, equalised odds, or its strict form."""
    global_tolerance: float | None = Setting(0.01, ge=0)
    """Largest gap over the union of all clients; null switches the side off."""
    local_tolerance: float | dict[str, float] | None = Setting(0.02)
    """Largest gap at each client, or one per client's name; null switches the side off."""


class ServerHalf(ABC):
    """Server side of a method: what to ask next, and what to make of the combined replies."""

    @abstractmethod
    def state(self) -> Arrays:
        """All it would need to go on from here, counters included. Read after every exchange."""

    @abstractmethod
    def restore(self, state: Arrays) -> None:
        """Put a :meth:`state` back."""

    @abstractmethod
    def ask(self) -> Exchange | None:
        """The next exchange, or None when the method is done. Asking twice gives the same exchange."""

    @abstractmethod
    def take(self, exchange: Exchange, combined: Combined) -> None:
        """Move on by the combined replies to :meth:`ask`'s exchange.

        Raises:
            InfeasibleError: No classifier keeps the tolerances; says the tightest that can be reached.
        """

    @abstractmethod
    def shared(self) -> Arrays:
        """The shared part of the result: what every client gets, and what is saved as the model."""

    def notes(self) -> dict[str, Any]:
        """Facts for the report (final duals, history of gaps, …), JSON only."""
        return {}


class ClientHalf(ABC):
    """Client side of a method.

    It is built once per client and kept while the process lives: what follows from the data alone may be cached in it,
    everything else belongs into the state.
    """

    @abstractmethod
    def reply(self, kind: str, message: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
        """Answer one exchange.

        Args:
            kind: Of the exchange.
            message: As the server half made it.
            state: What this client returned last time; empty the first time, also where it joins late.

        Returns:
            The reply (exactly the ``up`` fields of the wire) and the new state. The state stays at the client.
        """

    @abstractmethod
    def personal(self, shared: Arrays, state: Arrays) -> Arrays:
        """The client's own part of the result (local duals, thresholds, calibrators, personal model); may be empty.

        Called once at the end, with the server's shared part. It stays at the client.
        """


class Method(ABC):
    """One federated method.

    Subclasses set the class attributes, ``Config``, ``wire``, and the three functions below.

    Args:
        config: An object of ``Config``.
        problem: What all parties know.
    """

    name: ClassVar[str]
    """On the command line."""
    title: ClassVar[str]
    """In tables."""
    paper: ClassVar[str]
    """Authors, title, venue and year, arXiv id where there is one."""
    Config: ClassVar[type[MethodConfig]] = MethodConfig
    stage: ClassVar[Literal["training", "post"]]
    """``"training"`` makes a model from X; ``"post"`` decides on the class probabilities of a model that is there: the
    app trains one by FedAvg first (or takes a scikit-learn model) and fills ``Rows.eta`` of every part."""
    uses_attribute: ClassVar[bool]
    """Whether :meth:`decide` needs the group of each row."""
    wire: ClassVar[tuple[Wire, ...]]
    """Every message, field by field."""

    def __init__(self, config: MethodConfig, problem: Problem) -> None:
        self.config, self.problem = config, problem

    @abstractmethod
    def server(self) -> ServerHalf:
        """A fresh server half."""

    @abstractmethod
    def client(self, data: ClientData) -> ClientHalf:
        """The client half of one client."""

    @abstractmethod
    def decide(self, rows: Mapping[str, Any], shared: Arrays, personal: Arrays, rng: np.random.Generator) -> Integers:
        """Classes for new rows, from the saved arrays alone.

        Args:
            rows: ``X`` float32 [n, d]; ``a`` int64 [n] or None; ``eta`` float64 [n, m] or None (post-processing only).
            shared: The server half's shared part.
            personal: The client's own part; empty for a client that took no part.
            rng: For ties.

        Returns:
            Class int64 [n].
        """

    def unaccounted(self) -> dict[str, str]:
        """Settings under which one row changes a reply by more than the wire says, and what they should be.

        With any of them the noise of differential privacy would not be worth the ε it is said to be, and is refused.
        """
        return {}

    def probabilities(self, rows: Mapping[str, Any], shared: Arrays, personal: Arrays) -> Floats | None:
        """Class probabilities or scores float64 [n, m], where the method has any."""
        return None


@dataclass(frozen=True)
class Evaluation:
    """What the exchange at the end of a stage measured on one part.

    Args:
        cells: Rows by (group, true class, predicted class), summed over the clients, int64 [G, m, m].
        local: Gap of each client by the run's criterion, computed at the client, float64 [N] (NaN where undefined).
        by_chance: What sampling alone would make of it, R times over, if the decision were fair, float64 [N, R].
    """

    cells: Integers
    local: Floats
    by_chance: Floats


def generator(problem: Problem, *key: int) -> np.random.Generator:
    """A generator of its own for each purpose.

    Args:
        problem: Gives the seed.
        key: What it is for, e.g. client index and round; the same key gives the same numbers.
    """
    return np.random.default_rng([problem.seed, *key])
