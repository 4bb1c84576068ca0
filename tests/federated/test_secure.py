"""Masks add up to nothing, hide everything, and differ from occasion to occasion."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rectitude.federated import secure
from rectitude.federated.clients import Federation
from rectitude.federated.contracts import FederationError
from rectitude.federated.party import MemoryStore, Party
from rectitude.federated.plan import Order, Plan, Stage


def clients(n: int) -> list[dict[int, bytes]]:
    private = [secure.new_private_key() for _ in range(n)]
    public = [secure.public_key(key) for key in private]
    return [{j: secure.shared_secret(private[k], public[j], "run") for j in range(n) if j != k} for k in range(n)]


FIVE = clients(5)


def test_both_sides_agree_on_the_secret_and_every_pair_on_another() -> None:
    secrets = {(k, j): secret for k, mine in enumerate(FIVE) for j, secret in mine.items()}
    assert all(secrets[k, j] == secrets[j, k] for k, j in secrets)
    assert len(set(secrets.values())) == 10
    private = [secure.new_private_key() for _ in range(2)]
    of_run = {secure.shared_secret(private[0], secure.public_key(private[1]), run) for run in ("one", "two")}
    assert len(of_run) == 2


@given(st.sets(st.integers(0, 4), min_size=2), st.integers(1, 40))
def test_the_masks_of_those_who_take_part_add_up_to_zero(who: set[int], n_words: int) -> None:
    total = np.zeros(n_words, np.uint64)
    for client in who:
        total = total + secure.mask(FIVE[client], client, sorted(who), "run/1/0/counts", n_words)
    assert not total.any()


def test_masks_differ_between_exchanges_attempts_and_fields() -> None:
    occasions = "run/1/0/a", "run/2/0/a", "run/1/1/a", "run/1/0/b"
    masks = {secure.mask(FIVE[0], 0, range(5), occasion, 4).tobytes() for occasion in occasions}
    assert len(masks) == len(occasions)


def test_a_mask_is_uniform() -> None:
    words = secure.mask(FIVE[0], 0, range(5), "run/1/0/x", 40_000)
    counts = np.bincount(words.view(np.uint8), minlength=256)
    expected = counts.sum() / 256
    assert ((counts - expected) ** 2 / expected).sum() < 350  # chi-square, 255 degrees: p < 1e-4


@given(
    st.lists(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3), min_size=5, max_size=5),
    st.sampled_from([1.0, 2.0**20, 2.0**32]),
)
def test_the_sum_of_masked_replies_is_the_sum(values: list[list[float]], scale: float) -> None:
    total = np.zeros(3, np.uint64)
    for client, array in enumerate(values):
        total = total + secure.encode(np.asarray(array), scale) + secure.mask(FIVE[client], client, range(5), "o", 3)
    wanted = np.asarray(values).sum(0)
    np.testing.assert_allclose(secure.decode(total, scale), wanted, atol=5 / scale, rtol=1e-12)


def test_counts_come_back_as_whole_numbers() -> None:
    counts = np.asarray([0, 7, 2**40])
    back = secure.decode(secure.encode(counts, 1.0), 1.0)
    assert back.dtype == np.int64
    np.testing.assert_array_equal(back, counts)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e19])
def test_what_cannot_be_summed_is_not_masked(value: float) -> None:
    with pytest.raises(FederationError, match="not finite or too large"):
        secure.encode(np.asarray([value]), 1.0)


def test_every_exchange_and_attempt_has_a_mask_of_its_own(federation: Federation) -> None:
    """Also where secrets are stretched for several exchanges at once; and a client that begins anew has the same."""
    made = Plan("run", federation.problem, (Stage("fedavg"),))
    parties = [Party(made, data, MemoryStore()) for data in federation.clients]
    keys = np.stack([party.answer(Order("run", "hello"), {})["key"] for party in parties])
    for party in parties:
        party.answer(Order("run", "keys"), {"clients": np.arange(len(parties)), "keys": keys})
    clients = tuple(range(len(parties)))
    seen = set()
    for number in range(1, 100):
        for attempt in range(2):
            order = Order("run", "exchange", number, attempt=attempt, clients=clients)
            masks = [party._mask(order, 3) for party in parties]
            assert not np.add.reduce(masks).any()
            seen.add(masks[0].tobytes())
            again = Party(made, federation.clients[0], parties[0].store)
            np.testing.assert_array_equal(again._mask(order, 3), masks[0])
    assert len(seen) == 99 * 2
    assert parties[0]._mask(order, 1000).shape == (1000,)
