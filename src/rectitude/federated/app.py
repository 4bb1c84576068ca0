"""The federation as Flower apps, written once on the Message API.

``client_app`` puts a :class:`~rectitude.federated.party.Party` behind Flower; ``Coordinator`` is what the server app
runs. Both are the same in this process (``LocalGrid``), in Flower's simulation, and on SuperLink and SuperNodes.

**What is sent.** Beside the fields each method declares in its ``wire`` and those of the evaluation
(``party.EVALUATION``), which this module refuses to exceed:

* ``hello`` up: the client's number and its public key for masking; down: nothing.
* ``keys`` down: everybody's number and public key; up: nothing.
* ``model`` down: the weights of a base model; up: nothing.
* with every reply: CPU seconds it took; with every order: run, exchange number, kind, and whose replies are summed.

No message holds rows, labels, or what a method keeps in a client's state. Weights, where a method sends them, are a
client's own unless the method declares them ``secure``; counts, histograms and gradients of duals are masked, so that
the server learns their sums over the clients only.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from rectitude.core.errors import RectitudeError
from rectitude.federated import privacy, secure
from rectitude.federated.contracts import (
    Array,
    Arrays,
    Combined,
    Evaluation,
    Exchange,
    FederationError,
    Field,
    ServerHalf,
    Wire,
)
from rectitude.federated.messages import content, joined, order_facts, pack, payload, unpack, unpack_order
from rectitude.federated.party import EVALUATION, Party, field_of
from rectitude.federated.plan import Order, Plan, scoped, under

_MESSAGE = {"hello": "query", "keys": "query", "model": "train", "exchange": "train", "evaluate": "evaluate"}
_Form = tuple[tuple[str, tuple[int, ...]], ...]
_JOINING = 0.5  # seconds between looks at who has joined


def client_app(party: Callable[[Context], Party]) -> ClientApp:
    """The client side.

    Args:
        party: Finds or makes the client of a node, by its context.
    """
    app = ClientApp()

    def handle(message: Message, context: Context) -> Message:
        begun = time.process_time()
        try:
            arrays, facts = unpack(message.content)
            reply = joined(party(context).answer(unpack_order(facts), arrays))
            return Message(content(reply, cpu=time.process_time() - begun), reply_to=message)
        except RectitudeError as error:
            return Message(pack({}, error=str(error)), reply_to=message)

    for register in (app.query, app.train, app.evaluate):
        register()(handle)
    return app


@dataclass
class Traffic:
    """What one exchange cost.

    Args:
        stage: Number of the stage.
        kind: Of the exchange, or the app's own purpose.
        round: As people count.
        clients: How many replied.
        up: Bytes of arrays a client sent, mean over clients.
        down: Bytes of arrays a client received, mean over clients.
        client_cpu: CPU seconds of a client, mean over clients.
        server_cpu: CPU seconds of the server for asking and taking (in one process, without the clients').
        seconds: From sending to taking.
    """

    stage: int
    kind: str
    round: int
    clients: int
    up: float
    down: float
    client_cpu: float
    server_cpu: float
    seconds: float


@dataclass
class Progress:
    """Where a run stands; all that is needed to go on, as arrays and JSON.

    Args:
        number: Exchanges completed.
        stage: Stage that is under way.
        asked: Whether the stage's method is done, so that only model and evaluation are missing.
        arrays: State of the server half under way (``state/…``), shared parts (``shared/STAGE/…``) and evaluations.
        answered: ``"stage/kind"`` to the clients that have answered it.
        traffic: Of all exchanges.
        notes: Of the finished stages.
        lost: Sentences on clients that failed.
    """

    number: int = 0
    stage: int = 0
    asked: bool = False
    arrays: Arrays = field(default_factory=dict)
    answered: dict[str, list[int]] = field(default_factory=dict)
    traffic: list[Traffic] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """Everything but the arrays, as JSON."""
        return {name: value for name, value in asdict(self).items() if name != "arrays"}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any], arrays: Arrays) -> Progress:
        """What was saved."""
        traffic = [Traffic(**row) for row in facts["traffic"]]
        return cls(**{**facts, "traffic": traffic, "arrays": arrays})

    def shared(self, stage: int) -> Arrays:
        """Shared part of a finished stage's result."""
        return scoped(self.arrays, f"shared/{stage}")

    def evaluation(self, stage: int, part: str) -> Evaluation:
        """What a finished stage's evaluation measured on a part."""
        found = scoped(self.arrays, f"evaluation/{stage}")
        return Evaluation(found[f"cells/{part}"].astype(np.int64), found[f"gap/{part}"], found[f"chance/{part}"])


class Coordinator:
    """The server side of a run.

    Args:
        plan: What is to be done.
        grid: How messages travel.
        progress: Where to go on from.
        save: Called with the progress after every completed exchange.
        announce: Told of clients that join or fail.
        watch: Called after every round with stage and round.
    """

    def __init__(
        self,
        plan: Plan,
        grid: Grid,
        *,
        progress: Progress | None = None,
        save: Callable[[Progress], None] | None = None,
        announce: Callable[[str], None] | None = None,
        watch: Callable[[int, int], None] | None = None,
    ) -> None:
        self.plan, self.grid = plan, grid
        self.progress = progress or Progress()
        self.save, self.announce, self.watch = save, announce or (lambda _: None), watch
        self.nodes: dict[int, int] = {}
        self._keys: dict[int, Array] = {}
        self._greeted: set[int] = set()
        self._begun = False

    def run(self) -> Progress:
        """Go through all stages.

        Raises:
            FederationError: Too few clients took part in a round; all completed rounds are saved.
            InfeasibleError: A method found that its tolerances cannot be kept.
        """
        self._gather()
        while self.progress.stage < len(self.plan.stages):
            stage = self.progress.stage
            half = self.plan.methods[stage].server()
            if state := scoped(self.progress.arrays, "state"):
                half.restore(state)
            while not self.progress.asked:
                self._step(stage, half)
            self._finish(stage, half)
        return self.progress

    # ---- one exchange ----------------------------------------------------------------------------------------------

    def _step(self, stage: int, half: ServerHalf) -> None:
        begun = time.process_time()
        exchange = half.ask()
        if exchange is None:
            self.progress.asked = True
            return
        asking = time.process_time() - begun
        wire = next(wire for wire in self.plan.methods[stage].wire if wire.kind == exchange.kind)
        order = Order(self.plan.run, "exchange", self.progress.number + 1, stage, exchange.kind)
        combined, traffic = self._round(order, exchange, wire, self._eligible(stage, exchange.requires))
        begun = time.process_time()
        half.take(exchange, combined)
        traffic.server_cpu += asking + time.process_time() - begun
        answered = self.progress.answered.setdefault(f"{stage}/{exchange.kind}", [])
        answered += [client for client in combined.replied if client not in answered]
        self._completed(traffic, under("state", half.state()))
        if self.watch is not None:
            self.watch(stage, exchange.round)

    def _completed(self, traffic: Traffic, state: Arrays) -> None:
        kept = {name: array for name, array in self.progress.arrays.items() if not name.startswith("state/")}
        self.progress.arrays = kept | state
        self.progress.number += 1
        self.progress.traffic.append(traffic)
        if self.save is not None:
            self.save(self.progress)

    def _finish(self, stage: int, half: ServerHalf) -> None:
        """Hand on the model where another stage builds on it, and evaluate."""
        shared = half.shared()
        number = self.progress.number + 1
        clients = self._eligible(stage, None)
        if any(other.base == stage for other in self.plan.stages):
            self._deliver(Order(self.plan.run, "model", number, stage), shared, clients)
        order = Order(self.plan.run, "evaluate", number, stage, EVALUATION.kind)
        last = self.progress.traffic[-1].round if self.progress.traffic else 0
        combined, traffic = self._round(order, Exchange(EVALUATION.kind, shared, last), EVALUATION, clients)
        self.progress.arrays |= under(f"shared/{stage}", shared) | under(f"evaluation/{stage}", combined.fields)
        self.progress.notes[str(stage)] = half.notes()
        self.progress.stage, self.progress.asked = stage + 1, False
        self._completed(traffic, {})

    def _round(self, order: Order, exchange: Exchange, wire: Wire, clients: Sequence[int]) -> tuple[Combined, Traffic]:
        """Ask until the replies of the same clients can be summed; those that fail are left out."""
        begun, clients = time.perf_counter(), tuple(clients)
        self._need(clients, "have joined")
        failed: list[str] = []
        masked = self.plan.secure and any(declared.secure for declared in wire.up)
        while True:
            asked = replace(order, clients=clients)
            replies, cpu, sizes, reasons = self._ask(asked, exchange.message, clients)
            used = time.process_time()
            reasons |= _misfits(replies, exchange.message, wire)
            good = tuple(client for client in clients if client not in reasons)
            failed += self._by_reason(reasons)
            self._report(order, reasons)
            self._need(good, f"replied to '{exchange.kind}' in round {exchange.round}", failed)
            if good == clients or not masked:
                break
            clients, order = good, replace(order, attempt=order.attempt + 1)  # the masks of those lost are in the sum
        fields = self._combine({client: replies[client] for client in good}, wire)
        taken = time.process_time() - used
        traffic = Traffic(
            order.stage,
            exchange.kind,
            exchange.round,
            len(good),
            sum(sizes[client][0] for client in good) / len(good),
            sum(sizes[client][1] for client in good) / len(good),
            sum(cpu[client] for client in good) / len(good),
            taken,
            time.perf_counter() - begun,
        )
        return Combined(fields, good), traffic

    def _ask(
        self, order: Order, arrays: Arrays, clients: Iterable[int]
    ) -> tuple[dict[int, Arrays], dict[int, float], dict[int, tuple[int, int]], dict[int, str]]:
        """Send one order to clients; replies, CPU seconds, bytes up and down, and reasons of those without a reply."""
        to = {self.nodes[client]: client for client in clients}
        said, down = pack(arrays, **order_facts(order)), payload(arrays)
        messages = [
            Message(said, node, _MESSAGE[order.purpose], group_id=str(order.number), ttl=self.plan.timeout + 60)
            for node in to
        ]
        replies: dict[int, Arrays] = {}
        cpu: dict[int, float] = {}
        sizes: dict[int, tuple[int, int]] = {}
        reasons: dict[int, str] = {}
        for message in self.grid.send_and_receive(messages, timeout=self.plan.timeout):
            client = to.pop(message.metadata.src_node_id, None)
            if client is None:
                continue
            if message.has_error():
                reasons[client] = f"it failed ({_one_line(message.error.reason)})"
                continue
            try:
                found, facts = unpack(message.content)
            except FederationError as error:
                reasons[client] = str(error)
                continue
            if "error" in facts:
                reasons[client] = str(facts["error"])
                continue
            replies[client], cpu[client] = found, float(facts.get("cpu", 0.0))
            sizes[client] = payload(found), down
        reasons |= dict.fromkeys(to.values(), f"no reply within {self.plan.timeout:g} s")
        return replies, cpu, sizes, reasons

    def _combine(self, replies: Mapping[int, Arrays], wire: Wire) -> Arrays:
        """Sum or stack each field, clients in ascending order."""
        fields, clients = Arrays(), sorted(replies)
        for name in replies[clients[0]]:
            declared = field_of(wire, name)
            arrays = [replies[client][name] for client in clients]
            if declared.combine == "each":
                stacked = np.full((self.plan.problem.n_clients, *arrays[0].shape), np.nan)
                stacked[clients] = arrays
                fields[name] = stacked
            else:
                fields[name] = _sum(arrays, declared, masked=declared.secure and self.plan.secure)
            if self.plan.noise is not None and declared.scale == 1 and privacy.is_noised(declared):
                fields[name] = np.maximum(fields[name], 0)  # noise can make a count negative
        return fields

    # ---- who takes part --------------------------------------------------------------------------------------------

    def _gather(self) -> None:
        """Wait for enough clients."""
        until = time.monotonic() + self.plan.patience
        self._meet()
        while len(self.nodes) < self.plan.min_clients and time.monotonic() < until:
            time.sleep(_JOINING)
            self._meet()
        self._need(tuple(self.nodes), "have joined")
        self._begun = True

    def _meet(self) -> None:
        """Greet nodes that were not there before, and give everybody everybody's keys."""
        present = set(self.grid.get_node_ids())
        self.nodes = {client: node for client, node in self.nodes.items() if node in present}
        new = sorted(present - self._greeted)
        if not new:
            return
        hello = pack({}, **order_facts(Order(self.plan.run, "hello", self.progress.number)))
        greetings = [Message(hello, node, _MESSAGE["hello"], ttl=self.plan.timeout + 60) for node in new]
        for message in self.grid.send_and_receive(greetings, timeout=self.plan.timeout):
            if message.has_error():
                self.announce(f"A node that joined failed: {_one_line(message.error.reason)}")
                continue
            arrays, facts = unpack(message.content)
            if "index" not in arrays:
                self.announce(f"A node that joined was refused: {facts.get('error', 'it is no client of this run')}")
                continue
            self._admit(int(arrays["index"]), message.metadata.src_node_id, arrays["key"])
        self._greeted |= set(new)
        if self.plan.secure and self.nodes:
            clients = sorted(self._keys)
            keys = {"clients": np.asarray(clients), "keys": np.stack([self._keys[client] for client in clients])}
            self._deliver(Order(self.plan.run, "keys", self.progress.number), keys, sorted(self.nodes))

    def _admit(self, client: int, node: int, key: Array) -> None:
        if not 0 <= client < self.plan.problem.n_clients or len(key) != secure.KEY_BYTES:
            self.announce(f"A node that joined says it is client {client}, which there is not")
            return
        if client in self.nodes:
            self.announce(f"Two nodes say they are {self._name(client)}; the first one is kept")
            return
        self.nodes[client], self._keys[client] = node, key
        if self._begun:
            self.announce(f"{self._name(client)} takes part from here on")

    def _eligible(self, stage: int, requires: str | None) -> tuple[int, ...]:
        """Clients that can be asked: present, with the base model, and having answered what is required."""
        known = set(self.nodes)
        self._meet()
        base = self.plan.stages[stage].base
        if base is not None and (late := sorted(set(self.nodes) - known)):
            order = Order(self.plan.run, "model", self.progress.number, base)
            self._deliver(order, self.progress.shared(base), late)
        able = set(self.nodes)
        if requires is not None:
            able &= set(self.progress.answered.get(f"{stage}/{requires}", []))
        return tuple(sorted(able))

    def _deliver(self, order: Order, arrays: Arrays, clients: Sequence[int]) -> None:
        """Send something that needs no reply but an acknowledgement; those that fail are left out from here on."""
        _, _, _, reasons = self._ask(replace(order, clients=tuple(clients)), arrays, clients)
        self._report(order, reasons)

    def _report(self, order: Order, reasons: Mapping[int, str]) -> None:
        for client, reason in reasons.items():
            sentence = f"{self._name(client)} is left out of exchange {order.number} ({order.kind or order.purpose})"
            self.progress.lost.append(f"{sentence}: {reason}")
            self.announce(self.progress.lost[-1])

    def _need(self, clients: Sequence[int], what: str, failed: Sequence[str] = ()) -> None:
        if len(clients) < self.plan.min_clients:
            raise FederationError(
                f"Only {len(clients)} of the {self.plan.min_clients} clients needed {what}"
                + (f" ({'; '.join(failed)})" if failed else ""),
                fix="Completed rounds are kept: bring the clients back and go on with --resume, or ask for fewer with "
                "--min-clients",
            )

    def _by_reason(self, reasons: Mapping[int, str]) -> list[str]:
        """``"client-1, client-3: no reply within 60 s"``."""
        alike: dict[str, list[str]] = {}
        for client, reason in reasons.items():
            alike.setdefault(reason, []).append(self._name(client))
        return [f"{', '.join(names)}: {reason}" for reason, names in alike.items()]

    def _name(self, client: int) -> str:
        return self.plan.problem.clients[client]


def server_app(run: Callable[[Grid, Context], None]) -> ServerApp:
    """The server side around what drives a :class:`Coordinator`."""
    app = ServerApp()
    app.main()(run)
    return app


def releases(plan: Plan, traffic: Iterable[Traffic]) -> int:
    """Noised fields a run has sent."""
    sent = 0
    for row in traffic:
        for wire in plan.methods[row.stage].wire:
            if wire.kind == row.kind:
                sent += sum(privacy.is_noised(declared) for declared in wire.up)
    return sent


def _sum(arrays: Sequence[Array], declared: Field, *, masked: bool) -> Array:
    if masked:
        words = np.zeros_like(arrays[0])
        for array in arrays:
            words = words + array  # modulo 2⁶⁴
        return secure.decode(words, declared.scale)
    exact = all(array.dtype == np.int64 for array in arrays)
    total = np.zeros(arrays[0].shape, np.int64 if exact else np.float64)
    for array in arrays:
        total = total + array
    return np.asarray(total)


def _misfits(replies: Mapping[int, Arrays], message: Arrays, wire: Wire) -> dict[int, str]:
    """Why replies cannot be combined: undeclared or missing fields, other shapes than asked or usual, no numbers."""
    reasons: dict[int, str] = {}
    forms = {client: _form(reply) for client, reply in replies.items()}
    counted = Counter(forms.values())
    undeclared = {form: _undeclared(form, message, wire) for form in counted}  # as a rule there is one form only
    usual = counted.most_common(1)[0][0] if counted else ()
    for client, form in forms.items():
        reason = undeclared[form] or _no_number(replies[client], wire)
        if reason is None and form != usual:
            reason = f"its reply has shapes {dict(form)} where the others' have {dict(usual)}"
        if reason is not None:
            reasons[client] = reason
    return reasons


def _form(reply: Arrays) -> _Form:
    return tuple(sorted([(name, array.shape) for name, array in reply.items()]))


def _undeclared(form: _Form, message: Arrays, wire: Wire) -> str | None:
    for name, shape in form:
        try:
            field_of(wire, name)
        except FederationError as error:
            return error.what
        if name in message and message[name].shape != shape:
            return f"'{name}' has shape {shape}, not {message[name].shape}"
    return None


def _no_number(reply: Arrays, wire: Wire) -> str | None:
    for name, array in reply.items():
        if array.dtype.kind == "f" and field_of(wire, name).combine == "sum" and not np.isfinite(array).all():
            return f"'{name}' holds NaN or infinite values"
    return None


def _one_line(text: str | None) -> str:
    return " ".join((text or "no reason given").split())[:300]
