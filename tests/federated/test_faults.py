"""What happens when clients die, are late, send nonsense or join late; and that no completed round is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message

from rectitude.federated.clients import Federation
from rectitude.federated.contracts import Arrays, FederationError
from rectitude.federated.grid import LocalGrid
from rectitude.federated.messages import pack, unpack, unpack_order
from rectitude.federated.plan import Order, Plan, Stage
from rectitude.federated.run import Workplace, in_process, new_run_id

Fault = Callable[[Order, Message], Message | None]
BROKEN = 2
"""Number of the client that misbehaves."""


class FaultyGrid(LocalGrid):
    """A grid on which one client misbehaves in some exchanges."""

    def __init__(self, *given: Any, fault: Fault, when: Callable[[Order], bool], **named: Any) -> None:
        self.fault, self.when = fault, when
        super().__init__(*given, **named)

    def _answer(self, message: Message) -> Message | None:
        order = unpack_order(unpack(message.content)[1])
        client = int(self.contexts[message.metadata.dst_node_id].node_config["partition-id"])
        reply = super()._answer(message)
        if client == BROKEN and order.purpose == "exchange" and self.when(order):
            assert reply is not None
            return self.fault(order, reply)
        return reply


def changed(change: Callable[[Arrays], Arrays]) -> Fault:
    def fault(order: Order, reply: Message) -> Message:
        arrays, facts = unpack(reply.content)
        reply.content = pack(change(arrays), **facts)
        return reply

    return fault


def dies(order: Order, reply: Message) -> Message:
    from flwr.app import Error

    reply.__dict__["_content"] = None
    reply.error = Error(1, "RuntimeError: killed")
    return reply


def is_late(order: Order, reply: Message) -> None:
    return None


def first_float(arrays: Arrays, to: Callable[[Any], Any]) -> Arrays:
    name = next(name for name in arrays if name.startswith("theta"))
    return {**arrays, name: to(arrays[name])}


nan = changed(lambda arrays: first_float(arrays, lambda array: array * np.float32(np.nan)))
wrong_shape = changed(lambda arrays: first_float(arrays, lambda array: array[:1]))
undeclared = changed(lambda arrays: {**arrays, "rows": np.zeros((3, 3))})
lacking = changed(lambda arrays: {name: array for name, array in arrays.items() if name != "n"})

FAULTS = {
    "dies": (dies, "it failed (RuntimeError: killed)"),
    "late": (is_late, "no reply within 600 s"),
    "NaN": (nan, "holds NaN or infinite values"),
    "wrong shape": (wrong_shape, "has shape"),
    "undeclared field": (undeclared, "'rows' is not declared"),
    "missing field": (lacking, "its reply has shapes"),
}


def plan(federation: Federation, **named: Any) -> Plan:
    stages = (Stage("fedavg", {"rounds": 4, "local_steps": 5}), Stage("fedfact-post", {"rounds": 5}, base=0))
    given = {"min_clients": federation.problem.n_clients, **named}
    return Plan(new_run_id(), federation.problem, stages, **given)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_ends_a_round_that_needs_everybody_and_the_run_goes_on_from_the_last_completed_one(
    name: str, federation: Federation, tmp_path: Path
) -> None:
    fault, reason = FAULTS[name]
    workplace, made = Workplace(tmp_path / "run"), plan(federation)
    workplace.prepare(made, federation.clients)
    with pytest.raises(FederationError) as caught:
        in_process(
            made,
            federation.clients,
            workplace=workplace,
            grid=FaultyGrid,
            fault=fault,
            when=lambda order: order.stage == 0 and order.number == 3,
        )
    assert "Only 3 of the 4 clients needed replied to 'train' in round 3" in caught.value.what
    assert reason in caught.value.what
    assert federation.problem.clients[BROKEN] in caught.value.what
    kept = workplace.progress()
    assert kept is not None
    assert kept.number == 2
    asked: list[int] = []

    def record(message: Message) -> None:
        order = unpack(message.content)[1]
        if order.get("purpose") == "exchange":
            asked.append(int(order["number"]))

    resumed = in_process(made, federation.clients, workplace=workplace, record=record).progress
    assert min(asked) == 3
    never_broken = in_process(made, federation.clients).progress
    assert resumed.number == never_broken.number
    for key, array in never_broken.arrays.items():
        np.testing.assert_array_equal(resumed.arrays[key], array)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_leaves_one_client_out_where_fewer_are_needed(name: str, federation: Federation) -> None:
    fault, reason = FAULTS[name]
    said: list[str] = []
    progress = in_process(
        plan(federation, min_clients=3),
        federation.clients,
        announce=said.append,
        grid=FaultyGrid,
        fault=fault,
        when=lambda order: order.stage == 0 and order.number == 2,
    ).progress
    assert [row.clients for row in progress.traffic if row.stage == 0] == [4, 3, 4, 4, 4]
    assert len(said) == 1
    assert reason in said[0]
    assert progress.lost == said


@pytest.mark.parametrize("fault", [dies, is_late])
def test_who_drops_out_of_a_masked_round_is_left_out_and_the_others_are_asked_again(
    fault: Fault, federation: Federation
) -> None:
    """Their sum is right: it is what the same three clients give without masks."""
    results = []
    for secure in (True, False):
        progress = in_process(
            plan(federation, min_clients=3, secure=secure),
            federation.clients,
            grid=FaultyGrid,
            fault=fault,
            when=lambda order: order.kind == "stats",
        ).progress
        duals = [row for row in progress.traffic if row.kind == "dual"]
        assert {row.clients for row in duals} == {3}  # who has no part in the totals has none in the duals
        results.append(progress.shared(1))
    for name in results[0]:
        np.testing.assert_allclose(results[0][name], results[1][name], atol=1e-6)


def test_a_client_that_joins_late_takes_part_from_then_on(federation: Federation) -> None:
    class Joining(LocalGrid):
        sent = 0

        def __init__(self, app: Any, nodes: Any, **named: Any) -> None:
            self.waiting = list(nodes)[-1]
            super().__init__(app, list(nodes)[:-1], **named)

        def push_messages(self, messages: Any) -> Any:
            self.sent += 1
            if self.sent == 5:  # hello, keys, two rounds, and now
                self.join(self.waiting)
            return super().push_messages(messages)

    said: list[str] = []
    done = in_process(plan(federation, min_clients=3), federation.clients, announce=said.append, grid=Joining)
    clients = [row.clients for row in done.progress.traffic if row.stage == 0]
    assert clients == [3, 3, 3, 4, 4]
    assert said == [f"{federation.problem.clients[-1]} takes part from here on"]
    assert {row.clients for row in done.progress.traffic if row.stage == 1} == {4}


def test_a_client_that_joins_after_the_counts_has_no_part_in_the_duals(federation: Federation) -> None:
    """And yet it gets the base model, is judged, and has thresholds of its own."""

    class Joining(LocalGrid):
        def __init__(self, app: Any, nodes: Any, **named: Any) -> None:
            self.waiting = [list(nodes)[-1]]
            super().__init__(app, list(nodes)[:-1], **named)

        def push_messages(self, messages: Any) -> Any:
            given = list(messages)
            if self.waiting and unpack(given[0].content)[1]["kind"] == "dual":
                self.join(self.waiting.pop())
            return super().push_messages(given)

    done = in_process(plan(federation, min_clients=3), federation.clients, grid=Joining).progress
    assert {row.clients for row in done.traffic if row.kind == "dual"} == {3}
    assert done.traffic[-1].clients == 4
    assert np.isfinite(done.evaluation(1, "test").local).all()


def test_too_few_clients_to_begin_with(federation: Federation) -> None:
    class Empty(LocalGrid):
        def __init__(self, app: Any, nodes: Any, **named: Any) -> None:
            super().__init__(app, list(nodes)[:1], **named)

    with pytest.raises(FederationError, match="Only 1 of the 3 clients needed have joined"):
        in_process(plan(federation, min_clients=3), federation.clients, grid=Empty)


def test_a_client_of_another_run_is_refused(federation: Federation) -> None:
    from rectitude.federated.party import MemoryStore, Party

    made, other = plan(federation), plan(federation)
    party = Party(other, federation.clients[0], MemoryStore())
    with pytest.raises(FederationError, match="another run"):
        party.answer(Order(made.run, "hello"), {})


def test_two_nodes_that_say_they_are_one_client(federation: Federation) -> None:
    class Twice(LocalGrid):
        def __init__(self, app: Any, nodes: Any, **named: Any) -> None:
            given = list(nodes)
            super().__init__(app, [*given, given[0]], **named)

    said: list[str] = []
    done = in_process(plan(federation), federation.clients, announce=said.append, grid=Twice).progress
    assert said == [f"Two nodes say they are {federation.problem.clients[0]}; the first one is kept"]
    np.testing.assert_array_equal(
        done.shared(0)["theta/0/weight"],
        in_process(plan(federation), federation.clients).progress.shared(0)["theta/0/weight"],
    )


def test_a_damaged_checkpoint_is_said(federation: Federation, tmp_path: Path) -> None:
    from rectitude.core.errors import RunError

    workplace, made = Workplace(tmp_path / "run"), plan(federation)
    workplace.prepare(made, federation.clients)
    workplace.checkpoint.write_bytes(b"not a checkpoint")
    with pytest.raises(RunError, match=r"checkpoint\.safetensors is damaged"):
        in_process(made, federation.clients, workplace=workplace)
