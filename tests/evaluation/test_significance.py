from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rectitude.core.errors import ConfigError, RectitudeError
from rectitude.evaluation.evaluator import evaluate_fold
from rectitude.evaluation.significance import compare, holm, paired_test, sign_flip_p_values


@pytest.mark.parametrize("seed", range(4))
def test_p_value_is_near_that_of_all_sign_flips(seed: int) -> None:
    rng = np.random.default_rng(seed)
    differences = np.append(rng.normal(0.4, 1, 9).round(1), [0, 0, 0])
    flips = np.array(list(product([-1, 1], repeat=9)))
    sums = np.abs(flips @ differences[:9])
    exact = np.mean(sums >= abs(differences.sum()) - 1e-9)
    found = sign_flip_p_values(differences[:, None], seed=1, permutations=20_000)[0]
    assert found == pytest.approx(exact, abs=0.015)


def test_no_difference_is_never_significant() -> None:
    values = np.random.default_rng(0).random(50)
    found = paired_test(values, values, seed=0)
    assert found.p == 1
    assert (found.effect.value, found.effect.low, found.effect.high) == (0, 0, 0)


def test_a_planted_difference_is_found_with_its_size_and_sign() -> None:
    rng = np.random.default_rng(0)
    base = rng.random(2000)
    found = paired_test(base + rng.normal(0.02, 0.1, 2000), base, seed=0)
    assert found.p < 0.001
    assert found.effect.low < 0.02 < found.effect.high
    assert found.effect.low > 0
    mirrored = paired_test(base, base + 0.02, seed=0)
    assert mirrored.effect.value == pytest.approx(-0.02)
    assert mirrored.p == pytest.approx(1 / 10_001)


def test_false_alarms_come_as_often_as_the_level_says() -> None:
    rng = np.random.default_rng(0)
    null = rng.normal(size=(40, 400))
    p_values = sign_flip_p_values(null, seed=3, permutations=999)
    assert np.mean(p_values <= 0.05) == pytest.approx(0.05, abs=0.03)


def test_different_lengths_are_refused() -> None:
    with pytest.raises(ConfigError, match="3 and 2"):
        paired_test(np.zeros(3), np.zeros(2), seed=0)


def test_holm_on_a_worked_example() -> None:
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    assert holm([0.4, 0.9]).tolist() == [0.8, 0.9]
    assert not len(holm([]))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_holm_rejects_what_stepping_down_rejects(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert np.all(adjusted >= np.array(p_values) - 1e-12)
    for level in (0.01, 0.05, 0.2):
        rejected = np.zeros(len(p_values), bool)
        for step, index in enumerate(np.argsort(p_values, kind="stable")):
            if p_values[index] * (len(p_values) - step) > level:
                break
            rejected[index] = True
        assert (adjusted <= level).tolist() == rejected.tolist()


@pytest.fixture
def evaluations(fixed_scores: Callable, make_fold: Callable) -> dict:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 50, (300, 1))
    fold = make_fold([[]] * 300, targets.tolist())
    tables = {name: rng.random((300, 50)) for name in ("weak", "alike", "strong")}
    for row, (target,) in enumerate(targets):
        tables["strong"][row, target] += 0.3
    return {name: evaluate_fold(fixed_scores(table, np.ones(50)), fold) for name, table in tables.items()}


def test_compare_all_pairs(evaluations: dict) -> None:
    found = compare(evaluations, ["ndcg@10", "recall@10", "coverage@10"])
    assert [(row.metric, row.first, row.second) for row in found.rows] == [
        (metric, first, second)
        for first, second in (("weak", "alike"), ("weak", "strong"), ("alike", "strong"))
        for metric in ("ndcg@10", "recall@10")
    ]
    by_pair = {(row.first, row.second, row.metric): row for row in found.rows}
    assert by_pair["weak", "strong", "ndcg@10"].p_adjusted < 0.01
    assert by_pair["weak", "strong", "ndcg@10"].effect.high < 0
    assert by_pair["weak", "alike", "ndcg@10"].p_adjusted > 0.05
    np.testing.assert_allclose([row.p_adjusted for row in found.rows], holm([row.p for row in found.rows]))
    assert found.values["weak"]["coverage@10"].value == evaluations["weak"].mean("coverage@10")


def test_compare_with_a_baseline(evaluations: dict) -> None:
    found = compare(evaluations, ["ndcg@10"], baseline="alike")
    assert [(row.first, row.second) for row in found.rows] == [("weak", "alike"), ("strong", "alike")]
    assert found.rows[1].effect.value == pytest.approx(
        evaluations["strong"].mean("ndcg@10") - evaluations["alike"].mean("ndcg@10")
    )
    written = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert written["tests"][1]["effect"]["value"] == found.rows[1].effect.value
    assert written["protocol"]["candidates"] == "all 50 items"
    assert set(written["metrics"]) == {"weak", "alike", "strong"}


def test_only_list_metrics_need_no_test(evaluations: dict) -> None:
    assert compare(evaluations, ["gini@10"]).rows == ()


def test_compare_refuses_other_questions(evaluations: dict, fixed_scores: Callable, make_fold: Callable) -> None:
    other = evaluate_fold(fixed_scores(np.zeros((300, 50))), make_fold([[]] * 299, [[0]] * 299))
    with pytest.raises(RectitudeError, match=r"'weak' and 'other' were not evaluated alike: 'queries'"):
        compare({**evaluations, "other": other})


def test_compare_says_what_is_unknown(evaluations: dict) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'ndcg@10'"):
        compare(evaluations, ["ndgc@10"])
    with pytest.raises(ConfigError, match="Did you mean 'weak'"):
        compare(evaluations, baseline="waek")
    with pytest.raises(ConfigError, match="at least two"):
        compare({"weak": evaluations["weak"]})
