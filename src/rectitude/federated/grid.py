"""A Flower grid inside this process: messages are answered at once, one client after the other, in the same order.

No Ray, no sockets, no threads: the same seed gives the same bits, and a traceback leads to the line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import count
from typing import Any

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

_SERVER_NODE, _RUN, _TASK = 1, 1, 1
_FIRST_NODE = 1000
_FAILED = 1


class LocalGrid(Grid):
    """Clients in this process.

    Args:
        app: What every client runs.
        nodes: Configuration of each node (``{"partition-id": 0}``).
        record: Shown every message that is sent, in both directions; this is the wire.
    """

    def __init__(
        self,
        app: ClientApp,
        nodes: Iterable[Mapping[str, Any]],
        record: Callable[[Message], None] | None = None,
    ) -> None:
        self.app, self.record = app, record
        self.contexts: dict[int, Context] = {}
        self._replies: dict[str, Message] = {}
        self._numbers = count(1)
        # Flower stamps new messages with the task that runs in this process, which its own runtimes set like this.
        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = _TASK, _RUN, _SERVER_NODE
        for config in nodes:
            self.join(config)

    def join(self, config: Mapping[str, Any]) -> int:
        """Add a node; returns its id."""
        node = _FIRST_NODE + len(self.contexts)
        self.contexts[node] = Context(_RUN, node, dict(config), RecordDict(), {})
        return node

    def set_run(self, run: Any) -> None:
        """There is one run only."""

    @property
    def run(self) -> Any:
        """Not known to this grid."""
        raise NotImplementedError("The grid inside a process has no run record")

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """A message to a node."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """All nodes, in the order they joined."""
        return list(self.contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Have every message answered."""
        ids = []
        for message in messages:
            identity = f"message-{next(self._numbers)}"
            message.metadata.__dict__["_message_id"] = identity
            self._see(message)
            reply = self._answer(message)
            if reply is not None:
                self._replies[identity] = reply
            ids.append(identity)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The replies that are there, each once."""
        return [self._replies.pop(identity) for identity in message_ids if identity in self._replies]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Send, and return the replies."""
        return self.pull_messages(self.push_messages(messages))

    def _answer(self, message: Message) -> Message | None:
        """The reply of a node, or None if there is none in time. Tests of faults override it."""
        try:
            reply = self.app(message, self.contexts[message.metadata.dst_node_id])
        except Exception as error:
            reply = Message(Error(_FAILED, f"{type(error).__name__}: {error}"), reply_to=message)
        self._see(reply)
        return reply

    def _see(self, message: Message) -> None:
        if self.record is not None:
            self.record(message)
