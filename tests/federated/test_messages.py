"""Arrays and words come back as they were sent, and what is no message is refused."""

from __future__ import annotations

import numpy as np
import pytest
from flwr.app import ConfigRecord, RecordDict

from rectitude.federated.contracts import Array, Arrays, FederationError
from rectitude.federated.messages import joined, order_facts, pack, payload, unpack, unpack_order
from rectitude.federated.plan import Order

SENT: Arrays = {
    "scalar": np.asarray(2.5),
    "key": np.arange(5, dtype=np.uint8),
    "layer": np.arange(6, dtype=np.float32).reshape(3, 2).T,  # not in C order
    "nothing": np.zeros((0, 2)),
    "counts": np.array([[-1, 10]], np.int64),  # after an odd number of bytes
    "line\nend": np.array([2**64 - 1, 10], np.uint64),
}


def test_arrays_and_words_come_back() -> None:
    arrays, facts = unpack(pack(SENT, cpu=0.5, clients=[1, 2]))
    assert list(arrays) == list(SENT)
    for name, array in SENT.items():
        assert (arrays[name].dtype, arrays[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].flags.aligned
    assert facts == {"cpu": 0.5, "clients": [1, 2]}
    assert payload(SENT) == 8 + 5 + 24 + 0 + 16 + 16


@pytest.mark.parametrize("array", [np.array(["a"]), np.array([None]), np.zeros(2, np.complex128), np.array([True])])
def test_other_types_are_not_sent(array: Array) -> None:
    with pytest.raises(FederationError, match=r"'x' is of type .*, which is not sent"):
        pack({"x": array})


GOOD = joined({"x": np.zeros(3)})


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"arrays": 3},
        {"arrays": b""},
        {"arrays": GOOD[:-1]},
        {"arrays": GOOD.replace(b"[3]", b"[4]")},
        {"arrays": GOOD.replace(b"[3]", b"[-3]")},
        {"arrays": GOOD.replace(b"<f8", b"|O8")},
        {"arrays": b"[[1]]\n"},
        {"arrays": b"\xff\n"},
    ],
    ids=str,
)
def test_what_is_no_message_cannot_be_read(said: dict[str, bytes]) -> None:
    with pytest.raises(FederationError, match="cannot be read"):
        unpack(RecordDict({"message": ConfigRecord(said)}))


def test_another_record_cannot_be_read() -> None:
    with pytest.raises(FederationError, match="cannot be read"):
        unpack(RecordDict({"config": ConfigRecord({})}))


def test_an_order_comes_back_and_other_words_are_none() -> None:
    order = Order("run", "exchange", 3, 1, "dual", 2, (0, 4))
    assert unpack_order(unpack(pack({}, **order_facts(order)))[1]) == order
    with pytest.raises(FederationError, match="no order"):
        unpack_order({"run": "run", "colour": "red"})
