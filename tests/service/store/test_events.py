from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rectitude.service.store import Event, PersonState, Store, Stored, refusal


def event(name: str, user: str = "u", item: str = "i", at: float = 1.0, **rest: object) -> Event:
    return Event(name, user, item, at=at, **rest)  # type: ignore[arg-type]


def test_the_same_id_again_is_a_duplicate_whatever_else_it_says(store: Store) -> None:
    assert store.add_events([event("a"), event("b"), event("a", item="other")]) == Stored(2, 1)
    assert store.add_events([event("a", user="v"), event("c")]) == Stored(1, 1)
    assert [(one.event.id, one.event.item) for one in store.events()] == [("a", "i"), ("b", "i"), ("c", "i")]
    assert store.add_events([]) == Stored(0, 0)


def test_histories_are_in_the_order_of_time_then_of_arrival(store: Store) -> None:
    late = [event("1", item="x", at=30.0), event("2", item="y", at=10.0), event("3", item="z", at=10.0)]
    store.add_events(late)
    store.add_events([event("4", item="w", at=20.0, kind="buy", value=2.5)])
    found = store.histories(["u", "nobody"])
    assert [one.item for one in found["u"].events] == ["y", "z", "w", "x"]
    assert found["u"].events[2] == Event("", "u", "w", "buy", 2.5, 20.0)
    assert found["nobody"] == PersonState()
    assert [one.item for one in store.histories(["u"], most=2)["u"].events] == ["w", "x"]


def test_choices_and_deletions_come_with_the_history(store: Store) -> None:
    store.add_events([event("1"), event("2", user="v")])
    store.stop_item("u", "i")
    store.object("u", "j", "ugly")
    store.object("v", "k")
    store.erase("v")
    found = store.histories(["u", "v", "w"])
    assert (found["u"].stopped, found["u"].objected, found["u"].erased) == ({"i"}, {"j"}, False)
    assert found["v"] == PersonState(erased=True)
    assert not found["w"].erased
    assert store.undo_stop("u", "i")
    assert not store.undo_stop("u", "i")
    assert store.undo_objection("u", "j")
    assert store.histories(["u"])["u"].stopped == frozenset()


def test_a_share_comes_with_the_history_and_replaces_the_one_before(store: Store) -> None:
    store.add_events([event("1")])
    before = store.marks(["u"])["u"]
    store.share("u", 60)
    store.share("u", 30)
    assert store.shared("u") == 30
    assert store.choices("u") == []
    assert (store.histories(["u"])["u"].kept_back, store.marks(["u"])["u"].kept_back) == (70, 70)
    store.share("u", 100)
    assert (store.shared("u"), store.shared("nobody"), store.held("u")["choices"]) == (100, 100, 0)
    assert store.marks(["u"])["u"] == before
    store.share("u", 0)
    store.erase("u")
    assert store.shared("u") == 100


def test_pages_of_events_leave_nothing_out(store: Store) -> None:
    store.add_events([event(str(n), user="ab"[n % 2]) for n in range(25)])
    seen, after = [], 0
    while page := store.events("a", after, 4):
        seen += [one.event.id for one in page]
        after = page[-1].seq
    assert seen == [str(n) for n in range(0, 25, 2)]
    assert store.events_of("a") == (13, 1.0, 1.0)
    assert store.events_of("nobody") == (0, None, None)


def test_late_events_of_a_deleted_person_are_turned_away_and_new_ones_are_not(store: Store) -> None:
    store.add_events([event("1", at=5.0)])
    store.erase("u")
    moment = time.time()
    sent = [event("1", at=5.0), event("2", at=moment - 60), event("3", at=moment + 60), event("4", user="v")]
    assert store.add_events(sent) == Stored(2, 0, 2)
    assert [one.event.id for one in store.events()] == ["3", "4"]


def test_names_in_any_script_come_back_as_they_went_in(store: Store) -> None:
    names = ["فيلم", "שלום ‏", "日本語", "a'; DROP TABLE events; --", "%s ? :x", "\u202e\U0001f600", " ", "\n"]
    store.add_events([Event(f"e{n}", name, name, name) for n, name in enumerate(names)])
    for name in names:
        assert [one.item for one in store.histories([name])[name].events] == [name]


@given(st.lists(st.tuples(st.integers(0, 8), st.sampled_from("uvw"), st.floats(0, 4, width=16)), max_size=30))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_and_repetition_ends_in_the_same_histories(store: Store, rows: list[tuple[int, str, float]]) -> None:
    start = len(store.events(limit=100_000))
    names = {name: f"{start}-{name}" for name, _, _ in rows}
    first: dict[str, Event] = {}
    for name, user, at in rows:
        first.setdefault(names[name], Event(names[name], f"{start}-{user}", "i", at=at))
    sent = [Event(names[name], f"{start}-{user}", "i", at=at) for name, user, at in rows]
    assert store.add_events(sent) == Stored(len(first), len(rows) - len(first))
    assert store.add_events(sent[::-1]) == Stored(0, len(rows))
    for user in "uvw":
        mine = sorted(one.at for one in first.values() if one.user == f"{start}-{user}")
        assert [one.at for one in store.histories([f"{start}-{user}"])[f"{start}-{user}"].events] == mine


def test_many_threads_and_two_processes_lose_nothing(store: Store, again: Callable[[], Store]) -> None:
    stores = [store, again()]

    def send(number: int) -> None:
        for start in range(20):
            stores[number % 2].add_events([event(f"{number}-{start}-{n}") for n in range(5)] + [event(f"all-{start}")])

    threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.events_of("u")[0] == 8 * 100 + 20
    stores[1].close()


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (event(""), "empty"),
        (event("a", user="x" * 257), "256 characters"),
        (event("a", kind="x" * 65), "64"),
        (event("a", item="\ud800"), "Unicode"),
        (event("a", item="\0"), "NUL"),
        (event("a", value=float("nan")), "finite"),
        (event("a", at=float("inf")), "before 1970"),
        (event("a", at=-1.0), "before 1970"),
        (event("a", at=1401.0), "101 s in the future"),
    ],
)
def test_what_cannot_be_taken_says_why(bad: Event, why: str) -> None:
    assert why in str(refusal(bad, now=1300.0, tolerance_s=100.0))


def test_what_is_late_or_a_little_early_is_taken() -> None:
    for at in (0.0, 1300.0, 1400.0):
        assert refusal(event("ü" * 256, at=at), now=1300.0, tolerance_s=100.0) is None
