"""What leaves the clients, recorded on the wire and checked against what is promised."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from flwr.app import Message

from rectitude.federated import secure
from rectitude.federated.clients import Federation
from rectitude.federated.contracts import Arrays, FederationError
from rectitude.federated.messages import payload, unpack
from rectitude.federated.partition import PARTS
from rectitude.federated.party import EVALUATION, MemoryStore, Party, field_of
from rectitude.federated.plan import Order, Plan, Stage
from rectitude.federated.registry import METHODS, find
from rectitude.federated.run import in_process, new_run_id

OWN = {"hello": {"index", "key"}, "keys": set(), "model": set()}
"""Fields of the app's own messages, upwards."""


def stages(method: str, settings: Mapping[str, Any]) -> tuple[Stage, ...]:
    kind = find(method)
    if kind.stage == "post":
        return Stage("fedavg", {"rounds": 2, "local_steps": 5}), Stage(method, settings, base=0)
    return (Stage(method, {"rounds": 2, **settings}),)


def plan(federation: Federation, method: str, settings: Mapping[str, Any] | None = None, **named: Any) -> Plan:
    return Plan(new_run_id(), federation.problem, stages(method, settings or {}), min_clients=4, **named)


class Wire:
    """Every message of a run, as order and arrays."""

    def __init__(self, federation: Federation, method: str, settings: Mapping[str, Any] | None = None) -> None:
        self.plan, self.federation = plan(federation, method, settings), federation
        self.down: list[tuple[Order, Arrays]] = []
        self.up: list[tuple[Order, Arrays]] = []
        self.halves: list[Party] = []
        orders: dict[str, Order] = {}

        def record(message: Message) -> None:
            arrays, facts = unpack(message.content)
            asked = message.metadata.reply_to_message_id
            if not asked:
                order = Order(**{**facts, "clients": tuple(facts.get("clients", ()))})
                orders[message.metadata.message_id] = order
                self.down.append((order, arrays))
            else:
                assert set(facts) == {"cpu"}
                self.up.append((orders[asked], arrays))

        self.done = in_process(self.plan, federation.clients, record=record)

    def sent(self) -> Iterator[tuple[Order, str, Any]]:
        for order, arrays in self.up:
            for name, array in arrays.items():
                yield order, name, array


POOLED = {"pooling": "shrink"}
CASES = [*((name, {}) for name in sorted(METHODS)), ("logofair", POOLED)]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: " ".join((case[0], *case[1])))
def wire(request: pytest.FixtureRequest, federation: Federation) -> Wire:
    return Wire(federation, *request.param)


def test_only_declared_fields_are_sent(wire: Wire) -> None:
    for order, name, _ in wire.sent():
        if order.purpose == "exchange":
            kinds = {w.kind: w for w in wire.plan.methods[order.stage].wire}
            field_of(kinds[order.kind], name)
        elif order.purpose == "evaluate":
            field_of(EVALUATION, name)
        else:
            assert name in OWN[order.purpose]


def test_no_message_has_as_many_numbers_as_there_are_rows(wire: Wire) -> None:
    """No axis is as long as one of the client's parts, so nothing is sent row by row."""
    sizes = {len(getattr(client, part)) for client in wire.federation.clients for part in PARTS}
    sizes |= {len(client.train) + len(client.calibration) for client in wire.federation.clients}
    for _, name, array in wire.sent():
        assert not sizes & set(array.shape), name


def test_no_row_and_no_label_is_in_any_message(wire: Wire) -> None:
    """No stretch of bytes of rows or labels is found in what was sent."""
    for client in wire.federation.clients:
        rows = [row.tobytes() for row in client.train.X[:20]]
        labels = [client.train.y[:32].tobytes(), client.calibration.y[:32].tobytes(), client.test.y[:32].tobytes()]
        groups = [client.train.a[:32].tobytes(), client.test.a[:32].tobytes()]
        for _, name, array in wire.sent():
            content = array.tobytes()
            assert not any(piece in content for piece in (*rows, *labels, *groups)), name


def test_what_is_declared_secure_looks_random_and_adds_up(wire: Wire) -> None:
    """Each masked reply alone has no small number; without masks the same fields are small."""
    masked: dict[tuple[int, str], list[Any]] = {}
    for order, name, array in wire.sent():
        if order.purpose == "exchange":
            declared = field_of(next(w for w in wire.plan.methods[order.stage].wire if w.kind == order.kind), name)
        elif order.purpose == "evaluate":
            declared = field_of(EVALUATION, name)
        else:
            continue
        if declared.secure:
            assert array.dtype == np.uint64
            masked.setdefault((order.number, name), []).append((array, declared.scale))
        else:
            assert array.dtype != np.uint64
    assert masked
    words = np.concatenate([array.ravel() for several in masked.values() for array, _ in several])
    high = words >> np.uint64(56)  # of small numbers the top byte would be 0 or 255
    assert np.isin(high, (0, 255)).mean() < 0.1
    for several in masked.values():
        total = several[0][0].copy()
        for array, _ in several[1:]:
            total = total + array
        assert np.abs(secure.decode(total, several[0][1])).max() < 1e9


def test_what_a_client_keeps_is_not_sent(federation: Federation) -> None:
    """Local duals, thresholds and calibrators stay: no value of a client's own part is among what it sent."""
    for method, settings in (("fedfact-post", {}), ("logofair", {}), ("logofair", POOLED)):
        wire = Wire(federation, method, settings)
        sent = np.concatenate([array.ravel().astype(np.float64) for _, _, array in wire.sent()])
        for own in wire.done.personal.values():
            for name, array in own[1].items():
                kept = np.asarray(array, np.float64).ravel()
                telling = kept[np.abs(kept - np.round(kept, 2)) > 1e-6]  # not 0, 1, ½ and the like
                assert not np.isin(telling, sent).any(), name


def test_a_field_that_is_not_declared_does_not_leave(federation: Federation) -> None:
    made = plan(federation, "fedavg")
    party = Party(made, federation.clients[0], MemoryStore())
    half = party.half(0)
    reply = half.reply

    def leaky(kind: str, message: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
        sent, new = reply(kind, message, state)
        return {**sent, "labels": federation.clients[0].train.y}, new

    half.reply = leaky  # type: ignore[method-assign]
    exchange = made.methods[0].server().ask()
    assert exchange is not None
    with pytest.raises(FederationError, match="'labels' is not declared"):
        party.answer(Order(made.run, "exchange", 1, 0, exchange.kind, 0, (0, 1, 2, 3)), exchange.message)


def test_post_processing_sends_little_more_than_its_duals(federation: Federation) -> None:
    wire = Wire(federation, "fedfact-post")
    rows = [row for row in wire.done.progress.traffic if row.kind == "dual"]
    dual = next(arrays["lambda"] for order, arrays in wire.down if order.kind == "dual")
    assert max(row.up for row in rows) <= 4 * dual.nbytes
    counted = [payload(arrays) for order, arrays in wire.up if order.kind == "dual"]
    assert np.mean(counted) == pytest.approx(np.mean([row.up for row in rows]))


@pytest.mark.parametrize("settings", [{}, POOLED], ids=["", "pooled"])
def test_with_and_without_masks_the_result_is_the_same(federation: Federation, settings: dict[str, Any]) -> None:
    masked, bare = (
        in_process(plan(federation, "fedfact-post", settings, secure=secure), federation.clients).progress
        for secure in (True, False)
    )
    for name, array in bare.shared(1).items():
        np.testing.assert_allclose(masked.shared(1)[name], array, atol=1e-7)
    np.testing.assert_array_equal(masked.evaluation(1, "test").cells, bare.evaluation(1, "test").cells)
