from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rectitude.core.errors import QueryError
from rectitude.service import rights
from rectitude.service.access import LOCAL
from rectitude.service.config import ServiceConfig
from rectitude.service.launch import Launch
from rectitude.service.rights import forget
from rectitude.service.rights.work import Work
from rectitude.service.service import Service
from rectitude.service.store import Request
from rectitude.training.run import Run
from rectitude.workflow.unlearning import unlearn_attribute

BRIEF = {"steps": 4, "check_every": 2, "most": 16, "n_listed": 5}


@pytest.fixture
def start(runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Service]]:
    """Opens services on one store, each as a process would after a restart."""
    monkeypatch.setattr(forget, "unlearn_attribute", partial(unlearn_attribute, settings=BRIEF))
    for name in ("bpr", "ease"):
        shutil.copytree(runs[name], tmp_path / "runs" / name)
    slots = {"main": tmp_path / "runs" / "bpr", "ease": tmp_path / "runs" / "ease"}
    opened: list[Service] = []

    def begin() -> Service:
        config = ServiceConfig(store=f"sqlite:///{tmp_path}/s.db", folder=tmp_path / "data", run_jobs=False)
        opened.append(Launch(config=config, slots={slot: str(path) for slot, path in slots.items()}).open())
        return opened[-1]

    yield begin
    for service in opened:
        service.shelf.close()
        service.close()


def ended(service: Service, request: Request) -> Request:
    found = service.store.requests.get(request.id)
    assert found is not None
    assert found.ended
    return found


def test_a_remedy_makes_a_run_beside_and_changes_nothing_until_it_is_put_into_service(
    start: Callable[[], Service],
) -> None:
    service = start()
    asked = rights.ask_remedy(service, LOCAL, "main", "unlearn", "gender")
    assert rights.ask_remedy(service, LOCAL, "main", "unlearn", "gender").id == asked.id
    assert (asked.user, asked.subject, asked.status) == (None, None, "queued")
    said: list[str] = []
    beat = Work.heartbeat

    def heard(work: Work, doing: str | None = None) -> None:
        said.append(doing or "")
        beat(work, doing)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Work, "heartbeat", heard)
        assert service.jobs.run_waiting() == 1
    assert any("step 2 of at most" in sentence for sentence in said)
    proof = ended(service, asked).proof
    assert proof is not None
    (made,) = proof["runs"]
    assert made["new_run"] == "bpr-without-gender"
    assert {"before", "after"} <= set(made["figures"][0])
    assert service.shelf["main"].name == "bpr"

    assert rights.put_into_service(service, LOCAL, asked.id) == "main"
    assert service.shelf["main"].name == "bpr-without-gender"
    assert service.shelf["ease"].name == "ease"
    assert start().shelf["main"].name == "bpr-without-gender"
    with pytest.raises(QueryError, match="no longer in service"):
        rights.put_into_service(service, LOCAL, asked.id)
    rights.put_into_service(service, LOCAL, asked.id, back=True)
    assert service.shelf["main"].name == "bpr"
    actions = [entry.action for entry in service.store.trail.page(limit=9)]
    assert actions == ["remedy.asked", "remedy.done", "swap", "swap"]


def test_what_cannot_be_mended_fails_with_its_reason(start: Callable[[], Service]) -> None:
    service = start()
    solved = rights.ask_remedy(service, LOCAL, "ease", "unlearn", "gender")
    unknown = rights.ask_remedy(service, LOCAL, "main", "unlearn", "shoe size")
    service.jobs.run_waiting()
    assert "stores nothing of people" in str(ended(service, solved).reason)
    assert "shoe size" in str(ended(service, unknown).reason)
    for request in (solved, unknown):
        with pytest.raises(QueryError, match="no remedy that is done"):
            rights.put_into_service(service, LOCAL, request.id)


def test_a_run_that_has_left_service_is_not_mended(start: Callable[[], Service]) -> None:
    service = start()
    asked = rights.ask_remedy(service, LOCAL, "main", "unlearn", "gender")
    service.shelf.swap("main", service.shelf["ease"].run.path)
    service.jobs.run_waiting()
    assert "no longer in service" in str(ended(service, asked).reason)


def test_a_run_with_people_who_were_deleted_since_is_not_put_into_service(start: Callable[[], Service]) -> None:
    service = start()
    asked = rights.ask_remedy(service, LOCAL, "main", "unlearn", "gender")
    service.jobs.run_waiting()
    service.store.erase("u3")
    with pytest.raises(QueryError, match="deleted since"):
        rights.put_into_service(service, LOCAL, asked.id)


def test_a_remedy_cut_off_is_ended_by_the_next_process(start: Callable[[], Service]) -> None:
    class Killed(BaseException):
        pass

    service = start()
    asked = rights.ask_remedy(service, LOCAL, "main", "unlearn", "gender")
    beat = Work.heartbeat

    def die(work: Work, doing: str | None = None) -> None:
        beat(work, doing)
        if doing is not None and "step 2" in doing:
            raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Work, "heartbeat", die)
        service.jobs.run_waiting()
    found: Any = service.store.requests.get(asked.id)
    assert not found.ended
    service.store.requests.release(asked.id, service.jobs._owner)  # what the end of its lease does
    again = start()
    assert again.jobs.run_waiting() == 1
    assert ended(again, asked).status == "done"


def test_training_again_serves_the_less_active_as_well(
    start: Callable[[], Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = start()
    assert rights.trains_again(service.shelf["main"].run)
    assert not rights.trains_again(service.shelf["ease"].run)
    asked = rights.ask_remedy(service, LOCAL, "main", "in-ucds", "activity")
    said: list[str] = []
    beat = Work.heartbeat

    def heard(work: Work, doing: str | None = None) -> None:
        said.append(doing or "")
        beat(work, doing)

    monkeypatch.setattr(Work, "heartbeat", heard)
    service.jobs.run_waiting()
    proof: Any = ended(service, asked).proof
    assert any("epoch 1" in sentence for sentence in said)
    (made,) = proof["runs"]
    assert (made["new_run"], made["remedy"]) == ("bpr-in-ucds", "training with IN-UCDS")
    assert {row["figure"] for row in made["figures"]} >= {"gap by activity", "ndcg@10"}
    rights.put_into_service(service, LOCAL, asked.id)
    new = service.shelf["main"].run
    assert new.folder.read_json("lineage.json")["parent"] == "bpr"
    assert not rights.trains_again(new)
    solved = rights.ask_remedy(service, LOCAL, "ease", "in-ucds", "activity")
    service.jobs.run_waiting()
    assert "cannot be trained again" in str(ended(service, solved).reason)


def test_a_deletion_reaches_what_remedies_made_and_what_they_replaced(start: Callable[[], Service]) -> None:
    service = start()
    asked = rights.ask_remedy(service, LOCAL, "main", "unlearn", "gender")
    ready = rights.ask_remedy(service, LOCAL, "main", "in-ucds", "activity")
    service.jobs.run_waiting()
    old = service.shelf["main"].run.path
    rights.put_into_service(service, LOCAL, asked.id)
    deletion = rights.ask(service, LOCAL, "delete", "u3")
    service.jobs.run_waiting()
    proof: Any = ended(service, deletion).proof
    assert proof["unserved_runs_removed"] == ["bpr-in-ucds"]
    assert Run.load(old).user_ids.find("u3") is None
    for one in (asked, ready):
        with pytest.raises(QueryError):
            rights.put_into_service(service, LOCAL, one.id, back=one is asked)
    assert service.shelf["main"].run.user_ids.find("u3") is None
