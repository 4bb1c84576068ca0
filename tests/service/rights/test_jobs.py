from __future__ import annotations

import json
import shutil
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rectitude.core.errors import QueryError, RectitudeError
from rectitude.service import rights
from rectitude.service.access import LOCAL, Principal
from rectitude.service.config import ServiceConfig
from rectitude.service.rights import delete, export, runner
from rectitude.service.rights.work import Work
from rectitude.service.service import Service
from rectitude.service.store import Event, KeyInfo, Request, UserFacts
from rectitude.training.run import Run

OTHER = Principal("key:1", "person", "u3", "digest")


@pytest.fixture
def begin(runs: dict[str, Path], tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Opens services that serve copies of the runs, as a process would after each start."""
    for name, path in runs.items():
        shutil.copytree(path, tmp_path / "runs" / name)
    opened: list[Service] = []

    def start(**settings: Any) -> Service:
        config = ServiceConfig(store=f"sqlite:///{tmp_path}/s.db", folder=tmp_path / "data", **settings)
        service = Service.open(config)
        if not service.store.served():
            service.store.serve("main", str(tmp_path / "runs" / "bpr"))
            service.store.serve("ease", str(tmp_path / "runs" / "ease"))
        opened.append(service)
        return service

    yield start
    for service in opened:
        service.close()


def fill(service: Service, user: str = "u3") -> KeyInfo:
    store = service.store
    store.add_events([Event(f"{user}-{n}", user, f"i{n}", at=1e9 + n) for n in range(5)])
    store.put_users([UserFacts(user, {"gender": "F", "age": 30})])
    rights.stop_item(service, LOCAL, user, "i1")
    rights.object_to(service, LOCAL, user, "i2", "seen enough")
    return store.keys.make(f"{user}'s phone", "person", user)[0]


def done(service: Service, request: Request) -> Request:
    found = service.store.requests.get(request.id)
    assert found is not None
    assert found.status == "done", found.reason
    return found


# ---- export ----------------------------------------------------------------------------------------------------------


def test_an_export_holds_everything(begin: Callable[..., Service]) -> None:
    service = begin()
    fill(service)
    fill(service, "u4")
    asked = rights.ask(service, LOCAL, "export", "u3")
    assert service.jobs.run_waiting() == 1
    path = rights.export_file(service, done(service, asked))
    assert path.stat().st_mode & 0o077 == 0
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert set(parts) == {"about.txt", "person.json", "events.jsonl", "lists.json", "trail.jsonl"}
    person = json.loads(parts["person.json"])
    assert person["facts"] == {"gender": "F", "age": 30}
    assert {(one["kind"], one["item"], one["reason"]) for one in person["choices"]} == {
        ("stop", "i1", None),
        ("object", "i2", "seen enough"),
    }
    run = Run.load(service.store.served()["main"].path)
    index = run.user_ids.index("u3")
    history = [run.item_ids[item] for item in run.history[index].tolist()]
    assert [one["item"] for one in person["runs"]["main"]["history"]] == history
    events = [json.loads(line) for line in parts["events.jsonl"].splitlines()]
    assert [event["item"] for event in events] == [f"i{n}" for n in range(5)]
    lists = json.loads(parts["lists.json"])
    assert set(lists) == {"main", "ease"}
    assert "i2" not in [item["item_id"] for item in lists["main"]["items"]]
    assert [json.loads(line)["action"] for line in parts["trail.jsonl"].splitlines()] == [
        "item.stopped",
        "item.objected",
        "export.asked",
    ]
    assert "u4" not in "".join(parts.values())


def test_an_exports_file_expires(begin: Callable[..., Service]) -> None:
    service = begin(export_hours=1e-7)
    asked = rights.ask(service, LOCAL, "export", "nobody-known")
    service.jobs.run_waiting()
    time.sleep(0.01)
    with pytest.raises(QueryError, match="gone"):
        rights.export_file(service, done(service, asked))
    export.tidy(service)
    assert list(service.config.folder.glob("exports/*")) == []


# ---- delete ----------------------------------------------------------------------------------------------------------


def test_a_deletion_removes_rows_at_once_and_everything_when_done(begin: Callable[..., Service]) -> None:
    service = begin()
    key = fill(service)
    fill(service, "u4")
    exported = rights.ask(service, LOCAL, "export", "u3")
    service.jobs.run_waiting()
    old = service.store.served()
    asked = rights.ask(service, LOCAL, "delete", "u3")
    assert asked.status == "queued"
    assert sum(service.store.held("u3").values()) == 1  # the request
    state = service.store.histories(["u3"])["u3"]
    assert (state.erased, state.events) == (True, [])
    assert service.jobs.run_waiting() == 1
    proof = done(service, asked).proof
    assert proof is not None
    assert proof["rows"] == {
        "before": {"events": 5, "users": 1, "choices": 2, "keys": 1, "requests": 1},
        "after": {"events": 0, "users": 0, "choices": 0, "keys": 0, "requests": 0},
    }
    assert {one["remedy"] for one in proof["runs"]} == {"solved again", "vectors removed"}
    assert all(one["after"] == {"id": 0, "history": 0, "stored_vectors": 0, "lists": 0} for one in proof["runs"])
    assert all(one["membership"]["before"]["asked_by_name"] > 0.55 for one in proof["runs"])
    assert len(proof["left"]) == 2
    assert proof["exported_files_removed"] == 1
    with pytest.raises(QueryError, match="gone"):
        rights.export_file(service, done(service, exported))

    served = service.store.served()
    assert {slot: Path(one.path).parent for slot, one in served.items()} == dict.fromkeys(
        old, service.config.folder.resolve() / "runs"
    )
    for slot, one in served.items():
        assert Run.load(one.path).user_ids.find("u3") is None
        assert Run.load(one.path).user_ids.find("u4") is not None
        assert Run.load(old[slot].path).user_ids.find("u3") is None  # the operator's folder is repaired too
    assert service.store.held("u4") == {"events": 5, "users": 1, "choices": 2, "keys": 1, "requests": 0}
    assert service.store.requests.of("u3")[0].user is None
    kept = service.store.keys.get(key.id)
    assert kept is not None
    assert (kept.user, kept.name) == (None, "a person who was deleted")
    actions = [entry.action for entry in service.store.trail.page(subject=service.store.subject("u3"))]
    assert actions[-2:] == ["delete.asked", "delete.done"]
    assert "u3" not in str(service.store.trail.page())
    assert service.store.trail.verify().broken_at is None


def test_the_folder_of_an_earlier_repair_goes_with_the_next(begin: Callable[..., Service]) -> None:
    service = begin()
    operators = Path(service.store.served()["main"].path)
    for user in ("u3", "u4"):
        rights.ask(service, LOCAL, "delete", user)
        service.jobs.run_waiting()
    assert len(list((service.config.folder / "runs").iterdir())) == 2
    for path in (operators, *(Path(one.path) for one in service.store.served().values())):
        names = Run.load(path).user_ids
        assert (names.find("u3"), names.find("u4")) == (None, None)
        assert names.find("u5") is not None


def test_several_that_wait_are_repaired_together(begin: Callable[..., Service]) -> None:
    service = begin()
    asked = [rights.ask(service, LOCAL, "delete", user) for user in ("u3", "u4", "u5")]
    assert service.jobs.run_waiting() == 3
    proofs = [done(service, one).proof for one in asked]
    assert [len(proof["runs"]) for proof in proofs if proof] == [2, 0, 0]
    assert proofs[0] is not None
    assert [one["together_with"] for one in proofs[0]["runs"]] == [2, 2]
    assert "No model in service was made with you" in str(proofs[1])


def test_old_folders_stay_where_configured_and_the_proof_says_so(begin: Callable[..., Service]) -> None:
    service = begin(keep_old_runs=True, on_delete="retrain")
    old = service.store.served()["main"].path
    asked = rights.ask(service, LOCAL, "delete", "u3")
    service.jobs.run_waiting()
    proof = done(service, asked).proof
    assert proof is not None
    assert {one["old_folder"] for one in proof["runs"]} == {"kept as it was"}
    assert {one["remedy"] for one in proof["runs"]} == {"solved again", "trained again"}
    assert "old run folders were kept" in proof["stays"][-1]
    assert Run.load(old).user_ids.find("u3") is not None


def test_a_run_put_back_while_the_job_runs_is_repaired_too(
    begin: Callable[..., Service], monkeypatch: pytest.MonkeyPatch, runs: dict[str, Path]
) -> None:
    service = begin()
    really = delete.exchange

    def swapped_back(work: Work, path: Path, target: Path) -> dict[str, Any]:
        outcome = really(work, path, target)
        if path.name == "bpr":
            monkeypatch.setattr(delete, "exchange", really)
            shutil.copytree(runs["bpr"], service.config.folder / "copy")
            service.store.serve("main", str((service.config.folder / "copy").resolve()))
        return outcome

    monkeypatch.setattr(delete, "exchange", swapped_back)
    asked = rights.ask(service, LOCAL, "delete", "u3")
    service.jobs.run_waiting()
    proof = done(service, asked).proof
    assert proof is not None
    assert len(proof["runs"]) == 3
    assert Run.load(service.store.served()["main"].path).user_ids.find("u3") is None


def test_somebody_the_service_never_heard_of_can_be_deleted(begin: Callable[..., Service]) -> None:
    service = begin()
    asked = rights.ask(service, LOCAL, "delete", "nobody")
    service.jobs.run_waiting()
    proof = done(service, asked).proof
    assert proof is not None
    assert proof["summary"] == "0 rows were removed from the database at once. No model in service was made with you."


# ---- forget ----------------------------------------------------------------------------------------------------------


def test_forgetting_waits_for_an_operator_and_serves_all_who_asked(
    begin: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = begin()
    fill(service)
    fill(service, "u4")
    asked = rights.ask(service, OTHER, "forget", "u3", "gender")
    other = rights.ask(service, OTHER, "forget", "u4", "gender")
    age = rights.ask(service, OTHER, "forget", "u4", "age")
    assert {one.status for one in (asked, other, age)} == {"waiting"}
    facts = service.store.user("u3")
    assert facts is not None
    assert facts.facts == {"age": 30}
    assert service.jobs.run_waiting() == 0

    settings = {"steps": 2, "check_every": 2, "most": 16, "n_listed": 5}
    unlearn = runner.forget.unlearn_attribute
    monkeypatch.setattr(
        runner.forget, "unlearn_attribute", lambda *args, **named: unlearn(*args, **named, settings=settings)
    )
    assert rights.approve(service, LOCAL, asked.id).status == "queued"
    assert service.jobs.run_waiting() == 1
    proof = done(service, asked).proof
    assert proof is not None
    by_run = {one["run"]: one for one in proof["runs"]}
    assert by_run["bpr"]["done"]
    assert any(figure["figure"].startswith("gender from stored") for figure in by_run["bpr"]["figures"])
    assert "stores nothing of people" in by_run["ease"]["why_not"]
    assert done(service, other).proof is not None
    found = service.store.requests.get(age.id)
    assert found is not None
    assert found.status == "waiting"
    assert Path(service.store.served()["main"].path).name == "bpr-without-gender"

    deletion = rights.ask(service, LOCAL, "delete", "u3")  # the operator's folder is remembered and cleared now
    service.jobs.run_waiting()
    done(service, deletion)
    assert Run.load(begin().config.folder.parent / "runs" / "bpr").user_ids.find("u3") is None


def test_what_is_already_unlearnt_or_unknown_is_said(begin: Callable[..., Service]) -> None:
    service = begin(forget="automatic")
    asked = rights.ask(service, OTHER, "forget", "u3", "shoe size")
    assert asked.status == "queued"
    service.jobs.run_waiting()
    proof = done(service, asked).proof
    assert proof is not None
    assert not proof["fact_removed"]
    assert all(not one["done"] for one in proof["runs"])
    assert len(proof["left"]) == 2


# ---- the runner ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["export", "delete"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_job_cut_off_at_any_step_is_finished_by_the_next_process(
    begin: Callable[..., Service], monkeypatch: pytest.MonkeyPatch, kind: str, when: str
) -> None:
    """Each step in turn dies once, before it is begun or between its end and its record."""

    class Killed(BaseException):
        pass

    died: set[str] = set()
    step = Work.step

    def dying(self: Work, name: str, sentence: str, act: Any) -> dict[str, Any]:
        def once() -> Any:
            if name in died:
                return act()
            died.add(name)
            if when == "after":
                act()
            raise Killed

        return step(self, name, sentence, once)

    monkeypatch.setattr(Work, "step", dying)
    service = begin(job_lease_s=0.02)
    fill(service)
    asked = rights.ask(service, LOCAL, kind, "u3")
    deaths = 0
    while True:
        process = begin(job_lease_s=0.02)
        try:
            if process.jobs.run_waiting():
                break
        except Killed:
            deaths += 1
        time.sleep(0.03)
        assert deaths < 20
    proof = done(service, asked).proof
    assert deaths == len(died) == {"export": 1, "delete": 11}[kind]
    assert proof is not None
    if kind == "delete":
        assert all(one["after"]["id"] == 0 for one in proof["runs"])
        assert {Path(one.path).parent.name for one in service.store.served().values()} == {"runs"}
    actions = [entry.action for entry in service.store.trail.page()]
    assert actions.count(f"{kind}.asked") == actions.count(f"{kind}.done") == 1


def test_a_job_that_fails_says_why_and_can_be_tried_again(
    begin: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = begin()
    asked = rights.ask(service, LOCAL, "export", "u3")
    really = runner._JOBS["export"]

    def fails(work: Work) -> dict[str, Any]:
        raise RectitudeError("There is no room")

    monkeypatch.setitem(runner._JOBS, "export", fails)
    service.jobs.run_waiting()
    found = service.store.requests.get(asked.id)
    assert found is not None
    assert (found.status, found.reason) == ("failed", "There is no room")
    monkeypatch.setitem(runner._JOBS, "export", really)
    assert rights.retry(service, LOCAL, asked.id).status == "queued"
    service.jobs.run_waiting()
    done(service, asked)
    with pytest.raises(QueryError, match="has not failed"):
        rights.retry(service, LOCAL, asked.id)
    with pytest.raises(QueryError, match="no such request"):
        rights.approve(service, LOCAL, "none")


def test_a_fault_of_ours_is_tried_a_few_times_and_then_told(
    begin: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = begin()
    monkeypatch.setattr(runner, "_POLL_S", 0.001)
    asked = rights.ask(service, LOCAL, "export", "u3")

    def broken(work: Work) -> dict[str, Any]:
        raise ZeroDivisionError("secret of u3")

    monkeypatch.setitem(runner._JOBS, "export", broken)
    assert service.jobs.run_waiting() == runner.MOST_ATTEMPTS
    found = service.store.requests.get(asked.id)
    assert found is not None
    assert (found.status, found.attempts) == ("failed", runner.MOST_ATTEMPTS)
    assert "ZeroDivisionError" in str(found.reason)
    assert "u3" not in str(found.reason)


def test_the_lease_is_kept_while_a_step_takes_long(
    begin: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    service, other = begin(job_lease_s=0.3), begin(job_lease_s=0.3)
    asked = rights.ask(service, LOCAL, "export", "u3")
    taken: list[int] = []

    def slow(work: Work) -> dict[str, Any]:
        for _ in range(10):
            time.sleep(0.1)
            taken.append(other.jobs.run_waiting())
        return work.step("only", "Doing it", lambda: {"n": 1})

    monkeypatch.setitem(runner._JOBS, "export", slow)
    assert service.jobs.run_waiting() == 1
    assert sum(taken) == 0
    assert done(service, asked).proof == {"n": 1}


def test_the_thread_works_when_woken_and_gives_back_what_is_left_when_stopped(
    begin: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = begin()
    begun, release = threading.Event(), threading.Event()

    def two_steps(work: Work) -> dict[str, Any]:
        def first() -> dict[str, Any]:
            begun.set()
            release.wait(10)
            return {}

        work.step("first", "One", first)
        return work.step("second", "Two", dict)

    monkeypatch.setitem(runner._JOBS, "export", two_steps)
    service.jobs.start()
    asked = rights.ask(service, LOCAL, "export", "u3")
    assert begun.wait(10)
    stopping = threading.Thread(target=service.jobs.stop)
    stopping.start()
    release.set()
    stopping.join(10)
    found = service.store.requests.get(asked.id)
    assert found is not None
    assert found.status == "queued"
    other = begin()
    other.jobs.start()
    other.jobs.start()
    for _ in range(200):
        found = other.store.requests.get(asked.id)
        if found is not None and found.ended:
            break
        time.sleep(0.05)
    done(other, asked)


@pytest.mark.parametrize(
    ("kind", "user", "attribute", "why"),
    [
        ("explode", "u", None, "no request 'explode'"),
        ("forget", "u", None, "not said what is to be forgotten"),
        ("export", "u", "gender", "names an attribute"),
        ("export", "", None, "1 to 256 characters"),
        ("export", "x" * 257, None, "1 to 256 characters"),
        ("delete", "a\0b", None, "whole"),
        ("delete", "\ud800", None, "whole"),
    ],
)
def test_what_cannot_be_asked_says_why(
    begin: Callable[..., Service], kind: str, user: str, attribute: str | None, why: str
) -> None:
    service = begin()
    with pytest.raises(QueryError, match=why):
        rights.ask(service, LOCAL, kind, user, attribute)
    assert service.store.trail.page() == []
    with pytest.raises(QueryError, match="reason"):
        rights.object_to(service, LOCAL, "u", "i", "x" * 2001)
