from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rectitude.service.serving import keeping
from rectitude.service.serving.keeping import Kept
from rectitude.service.serving.served import ServedRun, Since
from rectitude.service.store import Event, Store


@pytest.fixture
def store(tmp_path: Path):
    with Store.open(f"sqlite:///{tmp_path}/store.db") as store:
        yield store


@pytest.fixture(scope="module")
def served(runs: dict[str, Path]) -> ServedRun:
    return ServedRun.load(runs["ease"])


def told(since: Since) -> tuple[object, ...]:
    return (
        since.items.tolist(),
        sorted(since.stopped.tolist()),
        sorted(since.objected.tolist()),
        since.erased,
        since.kept_back,
    )


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["event", "early", "stop", "undo", "object", "share", "erase", "ask"]),
        st.sampled_from(["u1", "p2", "p3"]),
        st.integers(0, 39),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ACTS, st.integers(1, 4))
def test_what_is_kept_is_what_the_store_says(store: Store, served: ServedRun, acts: list, most: int) -> None:
    kept, users = Kept(served), ["u1", "p2", "p3", "nobody"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keeping, "MOST_EVENTS", 6)
        for number, (what, user, item) in enumerate(acts):
            if what == "event":
                store.add_events([Event(f"{id(kept)}-{number}", user, f"i{item}", at=1e9 + number)])
            elif what == "early":  # arrives late, happened before all others
                store.add_events([Event(f"{id(kept)}-{number}", user, f"i{item}", at=float(item))])
            elif what == "stop":
                store.stop_item(user, f"i{item}")
            elif what == "undo":
                store.undo_stop(user, f"i{item}")
            elif what == "object":
                store.object(user, f"i{item}", None)
            elif what == "share":
                store.share(user, 100 - item)
            elif what == "erase":
                store.erase(user)
            found = kept.states(store, store.marks(users), users, most)
            expected = store.histories(users, most)
            assert {user: told(found[user]) for user in users} == {
                user: told(served.since(expected[user])) for user in users
            }
            assert kept._events == sum(len(since.items) for _, since in kept._people.values()) <= 6


def test_who_did_nothing_since_is_not_read_again(
    store: Store, served: ServedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add_events([Event(f"e{n}", f"p{n % 2}", "i1") for n in range(10)])
    asked: list[list[str]] = []
    histories = store.histories
    monkeypatch.setattr(store, "histories", lambda users, most: asked.append(list(users)) or histories(users, most))
    kept, users = Kept(served), ["p0", "p1", "nobody"]
    for _ in range(3):
        kept.states(store, store.marks(users), users, 100)
    store.add_events([Event("new", "p1", "i2")])
    assert kept.states(store, store.marks(users), users, 100)["p1"].items.tolist()[-1] == 2
    assert [users for users in asked if users] == [["p0", "p1"], ["p1"]]
    assert len(kept) == 2
    monkeypatch.setattr(keeping, "MOST_PEOPLE", 1)
    store.add_events([Event("newer", "p0", "i2")])
    kept.states(store, store.marks(users), users, 100)
    assert len(kept) == 1
