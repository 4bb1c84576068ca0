"""Noise of the right size, on the right fields, accounted for."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rectitude.federated import privacy
from rectitude.federated.clients import Federation
from rectitude.federated.contracts import Field
from rectitude.federated.plan import Plan, Stage
from rectitude.federated.run import in_process, new_run_id

COUNTS = Field("counts", "groups", "rows", secure=True, scale=1, sensitivity=1.0)
DUALS = Field("duals", "groups", "gradients", secure=True, clip=0.5)


def test_what_is_too_long_is_shortened_and_the_rest_left() -> None:
    np.testing.assert_allclose(privacy.clipped(np.asarray([3.0, 4.0]), 1.0), [0.6, 0.8])
    np.testing.assert_array_equal(privacy.clipped(np.asarray([0.3, 0.4]), 1.0), [0.3, 0.4])
    np.testing.assert_array_equal(privacy.clipped(np.zeros(2), 1.0), [0, 0])


def test_one_row_changes_counts_by_one_and_clipped_messages_by_twice_the_norm() -> None:
    assert privacy.bound(COUNTS) == 1
    assert privacy.bound(DUALS) == 1
    assert privacy.bound(Field("x", "1", "free")) is None


@pytest.mark.parametrize("n_sharing", [1, 4])
def test_noise_of_the_sum_has_the_size_that_is_accounted_for(n_sharing: int) -> None:
    rng = np.random.default_rng(0)
    replies = [privacy.noised(np.zeros(20_000), COUNTS, 3.0, n_sharing, rng) for _ in range(n_sharing)]
    assert np.sum(replies, 0).std() == pytest.approx(3.0, rel=0.03)


def test_epsilon_of_the_gaussian_mechanism() -> None:
    """ρ = k / 2z² and ε = ρ + 2√(ρ ln 1/δ), by hand for k = 8, z = 2."""
    assert privacy.epsilon(8, 2.0, 1e-5) == pytest.approx(1 + 2 * math.sqrt(math.log(1e5)))
    assert privacy.epsilon(0, 2.0, 1e-5) == 0
    assert privacy.epsilon(9, 2.0, 1e-5) > privacy.epsilon(8, 2.0, 1e-5)


def stats_plan(federation: Federation, **named: object) -> Plan:
    stages = (Stage("fedavg", {"rounds": 1, "local_steps": 2}), Stage("fedfact-post", {"rounds": 2}, base=0))
    return Plan(new_run_id(), federation.problem, stages, **{"min_clients": 4, **named})  # type: ignore[arg-type]


def test_noise_changes_the_result_and_is_fresh_every_time(federation: Federation) -> None:
    results = [
        in_process(stats_plan(federation, noise=noise), federation.clients).progress.shared(1)
        for noise in (None, 1.0, 1.0)
    ]
    totals = [result["totals"] for result in results]
    assert not np.allclose(totals[0], totals[1], atol=1e-3)
    assert not np.allclose(totals[1], totals[2], atol=1e-3)
    assert np.abs(totals[0] - totals[1]).max() < 20  # a standard deviation is 1


def test_a_field_that_nothing_bounds_gets_no_noise() -> None:
    assert privacy.is_noised(COUNTS)
    assert privacy.is_noised(DUALS)
    assert not privacy.is_noised(Field("flag", "1", "yes or no", secure=True))
    assert not privacy.is_noised(Field("theta/*", "as the layer", "weights", sensitivity=1.0))
    with pytest.raises(ValueError, match="Nothing bounds the field 'flag'"):
        privacy.noised(np.zeros(1), Field("flag", "1", "yes or no"), 1.0, 1, np.random.default_rng(0))
