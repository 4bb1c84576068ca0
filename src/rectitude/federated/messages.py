"""Arrays and orders as the content of Flower's messages.

A message is one record of words, and one of them holds all arrays: a line of JSON, ``[[name, type, shape], …]``, and
the bytes of the arrays one after the other, in C order and little-endian. A record of Flower's for every array would
take longer to make, check and read than what a client computes in a round of duals.
"""

from __future__ import annotations

import json
import sys
from functools import lru_cache
from typing import Any, cast

import numpy as np
from flwr.app import ConfigRecord, RecordDict

from rectitude.federated.contracts import Arrays, FederationError
from rectitude.federated.plan import Order

_RECORD, _ARRAYS = "message", "arrays"
_LITTLE = sys.byteorder == "little"
_KINDS = {name: np.dtype(name).newbyteorder("=") for name in ("<f8", "<f4", "<i8", "<u8", "|u1")}
"""What is sent, by name."""
_NAMES = {kind: name for name, kind in _KINDS.items()}

Form = tuple[str, np.dtype[Any], tuple[int, ...]]
"""Name, type and shape of an array."""


def joined(arrays: Arrays) -> bytes:
    """Arrays as they are sent.

    Raises:
        FederationError: An array is of a type that is not sent.
    """
    head = _head(tuple([(name, array.dtype, array.shape) for name, array in arrays.items()]))
    return b"".join([head, *((array if _LITTLE else array.byteswap()).tobytes() for array in arrays.values())])


def content(arrays: bytes, **facts: Any) -> RecordDict:
    """What :func:`joined` made and a few words, as the content of a message."""
    return RecordDict({_RECORD: ConfigRecord({_ARRAYS: arrays, **facts})})


def pack(arrays: Arrays, **facts: Any) -> RecordDict:
    """Arrays and a few words as the content of a message; raises what :func:`joined` does."""
    return content(joined(arrays), **facts)


def unpack(said: RecordDict) -> tuple[Arrays, dict[str, Any]]:
    """Arrays and words of a message.

    Raises:
        FederationError: The content is not what :func:`pack` makes.
    """
    try:
        facts: dict[str, Any] = dict(said[_RECORD].items())
        data = cast("bytes", facts.pop(_ARRAYS))
        at, arrays = data.index(b"\n") + 1, Arrays()
        for name, kind, shape in _forms(data[:at]):
            values = np.ndarray(shape, kind, data, at)
            arrays[name] = values.copy() if _LITTLE else values.byteswap()
            at += values.nbytes
        return arrays, facts
    except (AttributeError, KeyError, ValueError, TypeError) as error:
        raise FederationError(f"A message cannot be read: {error}") from error


def order_facts(order: Order) -> dict[str, Any]:
    """An order as words."""
    return {**vars(order), "clients": list(order.clients)}


def unpack_order(facts: dict[str, Any]) -> Order:
    """The order of a message.

    Raises:
        FederationError: It is none.
    """
    try:
        return Order(**{**facts, "clients": tuple(facts.get("clients", ()))})
    except TypeError as error:
        raise FederationError(f"A message is no order: {error}") from error


def payload(arrays: Arrays) -> int:
    """Bytes of arrays in a message; names, shapes, words and Flower's envelope come on top."""
    return sum([array.nbytes for array in arrays.values()])


@lru_cache(maxsize=256)  # messages of one kind have one form
def _head(forms: tuple[Form, ...]) -> bytes:
    for name, kind, _ in forms:
        if kind not in _NAMES:
            raise FederationError(f"'{name}' is of type {kind}, which is not sent; use {', '.join(_KINDS)}")
    return json.dumps([(name, _NAMES[kind], shape) for name, kind, shape in forms]).encode() + b"\n"


@lru_cache(maxsize=256)
def _forms(head: bytes) -> tuple[Form, ...]:
    return tuple((name, _KINDS[kind], tuple(shape)) for name, kind, shape in json.loads(head))
