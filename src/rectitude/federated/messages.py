"""Arrays and orders as Flower records."""

from __future__ import annotations

import sys
from typing import Any, cast

import numpy as np
from flwr.app import Array as FlowerArray
from flwr.app import ArrayRecord, ConfigRecord, RecordDict

from rectitude.federated.contracts import Arrays, FederationError
from rectitude.federated.plan import Order

_RAW = "raw"
"""Serialisation of an array: its bytes in C order, little-endian, with nothing before them."""
_LITTLE = sys.byteorder == "little"
_TYPES = {np.dtype(name): name for name in ("float64", "float32", "int64", "uint64", "uint8")}
"""What is sent, by name; asking a type for its name takes NumPy as long as all the rest of packing an array."""
_KNOWN = frozenset(_TYPES.values())


def pack(arrays: Arrays, **facts: Any) -> RecordDict:
    """Arrays and a few words as the content of a message."""
    held = ArrayRecord()
    for name, array in arrays.items():  # one by one: made from a dictionary, the record would copy each of them
        held[name] = _packed(name, np.asarray(array))
    return RecordDict({"arrays": held, "order": ConfigRecord(facts)})


def note(content: RecordDict, **facts: Any) -> None:
    """Add a few words to what :func:`pack` made."""
    for name, value in facts.items():
        cast("ConfigRecord", content["order"])[name] = value


def order_facts(order: Order) -> dict[str, Any]:
    """An order as configuration values."""
    return {**vars(order), "clients": list(order.clients)}


def unpack(content: RecordDict) -> tuple[Arrays, dict[str, Any]]:
    """Arrays and words of a message.

    Raises:
        FederationError: The content is not what :func:`pack` makes.
    """
    try:
        held, facts = content["arrays"], content["order"]  # not by kind: Flower would copy all records for that
        if not (isinstance(held, ArrayRecord) and isinstance(facts, ConfigRecord)):
            raise TypeError("its parts are of the wrong kind")
        return {name: _unpacked(array) for name, array in held.items()}, dict(facts)
    except (KeyError, ValueError, TypeError) as error:
        raise FederationError(f"A message cannot be read: {error}") from error


def unpack_order(facts: dict[str, Any]) -> Order:
    """The order of a message.

    Raises:
        FederationError: It is none.
    """
    try:
        return Order(**{**facts, "clients": tuple(facts.get("clients", ()))})
    except TypeError as error:
        raise FederationError(f"A message is no order: {error}") from error


def payload(content: RecordDict) -> int:
    """Bytes of the arrays of a message; names, shapes and Flower's envelope come on top."""
    return sum(len(array.data) for array in cast("ArrayRecord", content["arrays"]).values())  # not by kind, as above


def _packed(name: str, array: np.ndarray[Any, Any]) -> FlowerArray:
    kind = _TYPES.get(array.dtype)
    if kind is None:
        raise FederationError(f"'{name}' is of type {array.dtype}, which is not sent; use {', '.join(_TYPES.values())}")
    little = array if _LITTLE else array.astype(array.dtype.newbyteorder("<"))
    return FlowerArray(kind, array.shape, _RAW, little.tobytes())


def _unpacked(array: FlowerArray) -> np.ndarray[Any, Any]:
    if array.stype != _RAW or array.dtype not in _KNOWN:
        raise ValueError(f"an array of type {array.dtype} in form '{array.stype}'")
    values = np.frombuffer(array.data, array.dtype).reshape(array.shape)
    return values.copy() if _LITTLE else values.byteswap()
