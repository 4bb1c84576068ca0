from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rectitude.core.errors import ConfigError, DataError, SealedFoldError
from rectitude.data.dataset import Dataset
from rectitude.data.split import Fold, Split, SplitConfig, split

RULES = ("leave-one-out", "temporal", "ratio", "cold-user", "cold-item", "column")
Events = list[tuple[int, int, int]]


def make(
    events: Events, *, n_users: int, n_items: int, time: str = "timestamp", fold: list[str] | None = None
) -> Dataset:
    """A dataset of (user, item, time), sorted as readers sort."""
    order = sorted(range(len(events)), key=lambda row: (events[row][0], events[row][2]))
    user, item, when = np.array([events[row] for row in order], np.int64).reshape(-1, 3).T
    frame = pl.DataFrame({"user": user.astype(np.int32), "item": item.astype(np.int32), "timestamp": when})
    if fold is not None:
        frame = frame.with_columns(pl.Series("split", [fold[row] for row in order], pl.String))
    users = pl.DataFrame({"user_id": [f"u{i}" for i in range(n_users)]})
    items = pl.DataFrame({"item_id": [f"i{i}" for i in range(n_items)]})
    return Dataset("drawn", frame, users, items, source={"time": time})


@st.composite
def datasets(draw: st.DrawFn, *, repeats: bool = False) -> Dataset:
    """10 to 16 users, each with 3 to 9 events over 12 items; times drawn, ties included."""
    n_users = draw(st.integers(10, 16))
    events: Events = []
    for user in range(n_users):
        row = draw(st.lists(st.integers(0, 11), min_size=3, max_size=9, unique=not repeats))
        events += [(user, item, draw(st.integers(0, 200))) for item in row]
    fold = [("train", "valid", "test")[row % 3] for row in range(len(events))]
    return make(events, n_users=n_users, n_items=12, fold=fold)


def opened(made: Split) -> tuple[Fold, Fold]:
    with made.opened():
        return made.valid, made.test


def pairs(fold: Fold) -> list[tuple[int, int]]:
    return list(zip(fold.users[fold.targets.rows].tolist(), fold.targets.items.tolist(), strict=True))


def try_split(dataset: Dataset, rule: str, seed: int = 0) -> Split | None:
    """The split, or None where the draw leaves a fold empty, which is refused and tested elsewhere."""
    try:
        return split(dataset, SplitConfig(rule=rule, seed=seed, valid_share=0.2, test_share=0.2))
    except DataError:
        return None


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=25, deadline=None)
@given(dataset=datasets(), seed=st.integers(0, 5))
def test_every_interaction_is_in_exactly_one_place(rule: str, dataset: Dataset, seed: int) -> None:
    if (made := try_split(dataset, rule, seed)) is None:
        return
    valid, test = opened(made)
    placed = Counter(zip(made.train.rows.tolist(), made.train.items.tolist(), strict=True))
    placed.update(pairs(valid))
    placed.update(pairs(test))
    if rule == "cold-user":
        for fold in (valid, test):
            placed.update(zip(fold.users[fold.history.rows].tolist(), fold.history.items.tolist(), strict=True))
    everything = Counter(dataset.interactions.select("user", "item").iter_rows())
    assert placed == everything


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=25, deadline=None)
@given(dataset=datasets(repeats=True), seed=st.integers(0, 5))
def test_no_target_is_in_its_own_history_and_none_is_asked_twice(rule: str, dataset: Dataset, seed: int) -> None:
    if (made := try_split(dataset, rule, seed)) is None:
        return
    for fold in opened(made):
        for query in range(len(fold)):
            targets = fold.targets[query].tolist()
            assert targets
            assert len(set(targets)) == len(targets)
            assert not set(targets) & set(fold.history[query].tolist())
        assert len(set(fold.users.tolist())) == len(fold)


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=15, deadline=None)
@given(dataset=datasets(), seed=st.integers(0, 5))
def test_same_seed_gives_the_same_split(rule: str, dataset: Dataset, seed: int) -> None:
    one, other = try_split(dataset, rule, seed), try_split(dataset, rule, seed)
    if one is None or other is None:
        assert one is other
        return
    assert np.array_equal(one.train.items, other.train.items)
    assert np.array_equal(one.train.offsets, other.train.offsets)
    for first, second in zip(opened(one), opened(other), strict=True):
        assert np.array_equal(first.users, second.users)
        assert pairs(first) == pairs(second)
        assert np.array_equal(first.history.items, second.history.items)


@pytest.mark.parametrize("rule", ["ratio", "cold-user", "cold-item"])
def test_another_seed_gives_another_split(rule: str, tiny: Dataset) -> None:
    one, other = (split(tiny, SplitConfig(rule=rule, seed=seed)) for seed in (0, 1))
    assert pairs(one.valid) != pairs(other.valid)


@settings(max_examples=40, deadline=None)
@given(dataset=datasets())
def test_temporal_has_no_future_in_the_past(dataset: Dataset) -> None:
    if (made := try_split(dataset, "temporal")) is None:
        return
    when = {
        (user, item): time for user, item, time in dataset.interactions.select("user", "item", "timestamp").iter_rows()
    }
    trained = [when[pair] for pair in zip(made.train.rows.tolist(), made.train.items.tolist(), strict=True)]
    valid, test = opened(made)
    asked_valid, asked_test = ([when[pair] for pair in pairs(fold)] for fold in (valid, test))
    assert max(trained) < min(asked_valid)
    assert max(asked_valid) < min(asked_test)
    for fold, earliest in ((valid, min(asked_valid)), (test, min(asked_test))):
        known = zip(fold.users[fold.history.rows].tolist(), fold.history.items.tolist(), strict=True)
        assert all(when[pair] < earliest for pair in known)


@settings(max_examples=25, deadline=None)
@given(dataset=datasets())
def test_leave_one_out_takes_the_last_two(dataset: Dataset) -> None:
    made = split(dataset, SplitConfig())
    histories = dataset.histories()
    valid, test = opened(made)
    for user in range(dataset.n_users):
        row = histories[user].tolist()
        assert made.train[user].tolist() == row[:-2]
        assert valid.targets[user].tolist() == row[-2:-1]
        assert valid.history[user].tolist() == row[:-2]
        assert test.targets[user].tolist() == row[-1:]
        assert test.history[user].tolist() == row[:-1]


def test_users_with_fewer_than_three_events_are_only_trained_on() -> None:
    events = [(0, item, item) for item in range(4)] + [(1, 0, 0), (1, 1, 1)]
    made = split(make(events, n_users=2, n_items=4), SplitConfig())
    assert made.train[1].tolist() == [0, 1]
    assert opened(made)[1].users.tolist() == [0]
    assert any(note.startswith("1 users with fewer than 3") for note in made.notes)


def test_a_repeated_last_item_is_not_asked_about_and_that_is_said() -> None:
    events = [(0, item, time) for time, item in enumerate([0, 1, 2, 3])]
    events += [(1, item, time) for time, item in enumerate([0, 1, 2, 0])]
    made = split(make(events, n_users=2, n_items=4), SplitConfig())
    valid, test = opened(made)
    assert valid.users.tolist() == [0, 1]
    assert test.users.tolist() == [0]
    assert any(note.startswith("1 held-out interactions repeat") for note in made.notes)


@settings(max_examples=25, deadline=None)
@given(dataset=datasets(), seed=st.integers(0, 5))
def test_cold_users_and_items_are_unknown_to_training(dataset: Dataset, seed: int) -> None:
    if (made := try_split(dataset, "cold-user", seed)) is not None:
        valid, test = opened(made)
        assert made.train.lengths[valid.users].sum() == made.train.lengths[test.users].sum() == 0
        assert not set(valid.users) & set(test.users)
        assert all(len(fold.history[query]) for fold in (valid, test) for query in range(len(fold)))
    if (made := try_split(dataset, "cold-item", seed)) is not None:
        valid, test = opened(made)
        trained = set(made.train.items.tolist())
        assert not trained & set(valid.targets.items.tolist())
        assert not trained & set(test.targets.items.tolist())
        assert not set(valid.targets.items.tolist()) & set(test.targets.items.tolist())
        assert set(np.flatnonzero(~made.cold_items).tolist()) == trained


def test_ratio_holds_out_its_share_of_every_user() -> None:
    events = [(user, item, item) for user in range(5) for item in range(20)]
    made = split(make(events, n_users=5, n_items=20), SplitConfig(rule="ratio", valid_share=0.1, test_share=0.25))
    valid, test = opened(made)
    assert made.train.lengths.tolist() == [13] * 5
    assert valid.targets.lengths.tolist() == [2] * 5
    assert test.targets.lengths.tolist() == [5] * 5
    assert all((np.diff(made.train[user]) > 0).all() for user in range(5)), "training rows stay in time order"


def test_temporal_shares_are_shares_of_all_events() -> None:
    events = [(row % 10, row // 10, row) for row in range(200)]
    made = split(make(events, n_users=10, n_items=20), SplitConfig(rule="temporal", valid_share=0.1, test_share=0.2))
    assert len(made.train.items) == 140


def test_column_follows_the_data_under_any_usual_name() -> None:
    events = [(user, item, item) for user in range(3) for item in range(4)]
    made = split(
        make(events, n_users=3, n_items=4, fold=["Train", "train", "tune", "TEST"] * 3), SplitConfig(rule="column")
    )
    valid, test = opened(made)
    assert made.train.items.tolist() == [0, 1] * 3
    assert valid.targets.items.tolist() == [2] * 3
    assert test.targets.items.tolist() == [3] * 3
    assert test.history[0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("time", ["timestamp", "order"])
def test_column_without_validation_takes_it_from_training(time: str) -> None:
    events = [(user, item, item) for user in range(6) for item in range(12)]
    fold = (["train"] * 10 + ["test"] * 2) * 6
    dataset = make(events, n_users=6, n_items=12, time=time, fold=fold)
    made = split(dataset, SplitConfig(rule="column", valid_share=0.2))
    valid, test = opened(made)
    assert test.targets.items.tolist() == [10, 11] * 6, "the published test part is left as it is"
    if time == "timestamp":
        assert valid.targets.items.tolist() == [9] * 6
    else:
        assert valid.targets.lengths.tolist() == [2] * 6
    assert "no validation part" in made.notes[0]


def test_column_of_unknown_words_is_refused() -> None:
    events = [(user, item, item) for user in range(3) for item in range(4)]
    dataset = make(events, n_users=3, n_items=4, fold=["train", "train", "holdout", "test"] * 3)
    with pytest.raises(DataError, match=r"'holdout'.*Use train, valid"):
        split(dataset, SplitConfig(rule="column"))


def test_the_test_fold_is_sealed(tiny: Dataset) -> None:
    made = split(tiny)
    with pytest.raises(SealedFoldError, match="only 'evaluate'"):
        _ = made.test
    with made.opened() as unsealed:
        assert len(unsealed.test)
    with pytest.raises(SealedFoldError):
        _ = made.test


def test_the_seal_closes_after_a_failure(tiny: Dataset) -> None:
    made = split(tiny)
    with pytest.raises(ZeroDivisionError), made.opened():
        _ = 1 / 0
    with pytest.raises(SealedFoldError):
        _ = made.test


def test_development_has_no_test_fold_to_open(tiny: Dataset) -> None:
    made = split(tiny)
    development = made.development()
    assert np.array_equal(development.train.items, made.train.items)
    with development.opened(), pytest.raises(SealedFoldError):
        _ = development.test
    with made.opened(), pytest.raises(SealedFoldError):
        _ = development.test


@pytest.mark.parametrize("rule", ["leave-one-out", "temporal", "ratio", "cold-user", "cold-item"])
def test_training_on_the_validation_part_leaves_the_test_part_alone(rule: str, tiny: Dataset) -> None:
    one, both = (split(tiny, SplitConfig(rule=rule, train_on_valid=flag)) for flag in (False, True))
    assert len(both.valid) == 0
    assert pairs(opened(both)[1]) == pairs(opened(one)[1])
    held_back = len(one.valid.targets.items)
    if rule == "cold-user":
        held_back += len(one.valid.history.items)
    repeats = len(both.train.items) - len(one.train.items) - held_back
    assert 0 <= repeats <= len(tiny.interactions) // 10
    assert any("validation part too" in note for note in both.notes)


@pytest.mark.parametrize("rule", ["leave-one-out", "temporal", "ratio"])
def test_known_events_are_all_but_the_test_answers(rule: str, tiny: Dataset) -> None:
    made = split(tiny, SplitConfig(rule=rule))
    _, test = opened(made)
    for query, user in enumerate(test.users):
        assert made.known[int(user)].tolist() == test.history[query].tolist()


@pytest.mark.parametrize(
    ("dataset", "rule", "message"),
    [
        (make([(0, 0, 0), (0, 1, 1), (0, 2, 2)], n_users=1, n_items=3), "leave-one-out", "1 user.* at least two"),
        (make([(0, 0, 0), (1, 0, 1)], n_users=2, n_items=1), "leave-one-out", "1 item.* at least two"),
        (make([(0, 0, 0), (1, 1, 1)], n_users=2, n_items=2), "leave-one-out", "no question for the validation"),
        (make([(0, 0, 5), (1, 1, 5), (1, 0, 5)], n_users=2, n_items=2), "temporal", "no question|nothing to train"),
        (make([(0, 0, 0), (1, 1, 1)], n_users=2, n_items=2), "cold-user", "too few"),
    ],
)
def test_too_little_data_is_refused(dataset: Dataset, rule: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        split(dataset, SplitConfig(rule=rule))


def test_rules_say_what_column_they_lack(tiny: Dataset) -> None:
    with pytest.raises(ConfigError, match="no 'split' column"):
        split(tiny, SplitConfig(rule="column"))
    positions = make([(0, 0, 0), (1, 1, 1)], n_users=2, n_items=2, time="position")
    with pytest.raises(ConfigError, match="needs a timestamp"):
        split(positions, SplitConfig(rule="temporal"))
    gaps = make([(0, 0, 0), (1, 1, 1)], n_users=2, n_items=2)
    gaps = Dataset("gaps", gaps.interactions.with_columns(timestamp=pl.Series([1, None])), gaps.users, gaps.items)
    with pytest.raises(ConfigError, match="1 interactions of 'gaps' have none"):
        split(gaps, SplitConfig(rule="temporal"))


def test_shares_that_leave_no_training_are_refused(tiny: Dataset) -> None:
    with pytest.raises(ConfigError, match="leave nothing to train on"):
        split(tiny, SplitConfig(rule="temporal", valid_share=0.5, test_share=0.5))


def test_cold_users_with_one_event_are_not_asked() -> None:
    events = [(user, item, item) for user in range(10) for item in range(5)] + [(user, 0, 0) for user in range(10, 20)]
    made = split(make(events, n_users=20, n_items=5), SplitConfig(rule="cold-user", valid_share=0.3, test_share=0.3))
    valid, test = opened(made)
    assert max([*valid.users, *test.users]) < 10
    assert any("single interaction" in note for note in made.notes)
    assert all(len(row) == 1 for row in (valid.targets[0], test.targets[0]))
