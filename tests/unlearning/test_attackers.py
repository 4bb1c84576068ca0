from __future__ import annotations

import numpy as np
import pytest

from rectitude.core.errors import ConfigError, DataError
from rectitude.unlearning.attackers import Attack, attack, list_features, permutation_floor, strongest


def people(n: int = 200, gap: float = 1.5, n_classes: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % n_classes)
    features = rng.normal(size=(n, 6))
    features[:, 0] += gap * labels
    return features, labels


def test_every_attacker_sees_what_is_planted_and_nothing_where_nothing_is() -> None:
    every = ("logistic", "mlp", "boosting", "knn", "rbf")
    seen = attack(*people(), attackers=every, draws=1)
    assert list(seen) == list(every)
    assert min(one.accuracy for one in seen.values()) > 0.65
    assert min(one.auc for one in seen.values()) > 0.7
    blind = attack(*people(gap=0.0), attackers=("logistic", "knn"), draws=2)
    for one in blind.values():
        assert abs(one.accuracy - 0.5) < 0.12
        assert one.low < one.accuracy < one.high


def test_shuffled_labels_give_chance_for_several_classes() -> None:
    features, labels = people(300, gap=3.0, n_classes=3)
    assert attack(features, labels, attackers=("logistic",), draws=1)["logistic"].accuracy > 0.6
    shuffled = np.random.default_rng(5).permutation(labels)
    found = attack(features, shuffled, attackers=("logistic",), draws=2)["logistic"]
    assert found.chance == pytest.approx(1 / 3)
    assert found.auc is None
    assert abs(found.accuracy - 1 / 3) < 0.1


def test_shrinking_the_vectors_hides_nothing() -> None:
    features, labels = people()
    far, near = (attack(scale * features, labels, attackers=("mlp",), draws=1)["mlp"] for scale in (1, 1e-6))
    assert near.accuracy == pytest.approx(far.accuracy, abs=0.05)


def test_classes_are_balanced_and_unknown_labels_left_out() -> None:
    features, labels = people(240)
    labels[labels == 1] = np.where(np.arange((labels == 1).sum()) < 40, 1, -1)
    found = attack(features, labels, attackers=("logistic",), draws=1)["logistic"]
    assert found.n == 80


def test_worse_than_chance_tells_too() -> None:
    wrong = Attack("mlp", 0.3, 0.25, 0.35, 0.5, 100, None)
    assert wrong.leakage == pytest.approx(0.7)
    assert wrong.ends == (pytest.approx(0.65), pytest.approx(0.75))
    three = Attack("mlp", 0.2, 0.1, 0.3, 1 / 3, 100, None)
    assert three.leakage == 0.2
    assert strongest({"a": three, "b": wrong}) is wrong


def test_the_floor_is_above_chance_and_below_what_is_planted() -> None:
    features, labels = people()
    floor = permutation_floor(features, labels, attackers=("logistic", "knn"), permutations=3)
    assert 0.5 < floor < attack(features, labels, attackers=("logistic",), draws=1)["logistic"].leakage


def test_lists_become_vectors_that_tell_who_was_shown_what() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 2
    lists = np.array([rng.choice(20, 5, replace=False) + 20 * (label and rng.random() < 0.8) for label in labels])
    lists[0, 3:] = -1
    features = list_features(lists.astype(np.int32), 40, width=8)
    assert features.shape == (120, 8)
    assert attack(features, labels, attackers=("logistic",), draws=1)["logistic"].accuracy > 0.8


def test_bad_input() -> None:
    features, labels = people(30)
    with pytest.raises(ConfigError, match=r"Unknown attacker 'mpl'.*Did you mean 'mlp'"):
        attack(features, labels, attackers=("mpl",))
    with pytest.raises(DataError, match="two classes"):
        attack(features, np.zeros(30, int))
    labels[:] = 0
    labels[:3] = 1
    with pytest.raises(DataError, match="smallest class has 3 people"):
        attack(features, labels)
