from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from rectitude.client import answers
from rectitude.client.answers import Health
from rectitude.service.app import create_app
from rectitude.service.service import Service
from rectitude.service.serving.info import RunInfo
from rectitude.service.store.store import Slot


def test_runs_with_metrics_lineage_and_findings(web: TestClient, runs: dict[str, Path]) -> None:
    page = answers.RunPage.model_validate(web.get("/v1/runs").json())
    assert [run.name for run in page.items] == ["bpr", "ease", "sasrec"]
    assert [run.slots for run in page.items] == [["bpr"], [], ["main"]]
    told = answers.RunTold.model_validate(web.get("/v1/runs/sasrec").json())
    assert told.served is not None
    assert told.served["retrieval"] == "exact, 40 items"
    assert str(runs["sasrec"].parent) not in web.get("/v1/runs/sasrec").text  # no path of the machine
    findings = answers.Findings.model_validate(web.get("/v1/runs/sasrec/findings").json())
    assert findings.findings == []
    made = {"findings": [{"title": "A gap"}], "impossible": ["no ages"], "protocol": {"k": [10]}}
    file = runs["ease"] / "findings.json"
    file.write_text(json.dumps(made))
    assert web.get("/v1/runs/ease/findings").json() == {"run": "ease", **made}
    file.unlink()


@pytest.mark.parametrize(
    "name", ["..", ".", "%2e%2e", "..%2f..%2fetc", "none", "sasrec%2F..%2Fease", "\\..", "%F0%9F%98%80" * 255]
)
def test_names_that_are_no_run(web: TestClient, name: str) -> None:
    assert web.get(f"/v1/runs/{name}/findings").status_code == 404


@pytest.mark.parametrize(
    "name",
    ["../sasrec", "/etc", "..", "sasrec/../ease", "none", "a\u0000b", "~", "C:\\x", "x" * 255, "\U0001f600" * 255],
)
def test_only_runs_of_the_folders_served_can_be_put_into_a_slot(web: TestClient, name: str) -> None:
    assert web.put("/v1/slots/main", json={"run": name}).status_code == 404
    assert web.get("/v1/recommend?user=u1").json()["run"] == "sasrec"


def test_links_and_hidden_folders_lead_nowhere(web: TestClient, runs: dict[str, Path], tmp_path: Path) -> None:
    root = runs["ease"].parent
    shutil.copytree(runs["ease"], tmp_path / "outside")
    shutil.copytree(runs["ease"], root / ".ease.new.being-built")
    strange = {"link": tmp_path / "outside", "up": root.parent, "round": root / "round", "gone": root / "nothing"}
    for name, target in strange.items():
        (root / name).symlink_to(target)
    try:
        for name in (*strange, ".ease.new.being-built"):
            assert web.put("/v1/slots/main", json={"run": name}).status_code == 404
            assert web.get(f"/v1/runs/{name}").status_code == 404
        assert [run["name"] for run in web.get("/v1/runs").json()["items"]] == ["bpr", "ease", "sasrec"]
    finally:
        for name in strange:
            (root / name).unlink()
        shutil.rmtree(root / ".ease.new.being-built")


def test_a_run_is_read_again_only_when_a_file_of_it_changed(
    web: TestClient, runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    read, seen = RunInfo.read, []

    def counted(path: Path) -> RunInfo:
        seen.append(path.name)
        return read(path)

    monkeypatch.setattr(RunInfo, "read", counted)
    first = web.get("/v1/runs").json()
    assert sorted(seen) == ["bpr", "ease", "sasrec"]
    seen.clear()
    for _ in range(3):
        assert web.get("/v1/runs").json() == first
        assert web.get("/v1/runs/ease").status_code == 200
    assert seen == []
    file = runs["ease"] / "findings.json"
    file.write_text(json.dumps({"findings": [], "impossible": ["no ages"], "protocol": {}}))
    assert web.get("/v1/runs/ease/findings").json()["impossible"] == ["no ages"]
    assert seen == ["ease"]
    file.unlink()
    assert web.get("/v1/runs/ease/findings").json()["impossible"] == []
    assert seen == ["ease", "ease"]


def test_no_path_of_the_machine_is_told(web: TestClient, service: Service, runs: dict[str, Path]) -> None:
    root = runs["ease"].parent
    broken = root / "broken"
    shutil.copytree(runs["ease"], broken)
    (broken / "metrics.json").write_text("{")
    service.shelf["main"].notes.append(f"The data cannot be read (/{root.name}/x y/data). Give them")
    try:
        told = web.get("/v1/runs/broken")
        assert told.status_code == 422
        assert (told.json()["where"], told.json()["fix"]) == ("metrics.json", "Train the run again")
        assert "broken" not in [run["name"] for run in web.get("/v1/runs").json()["items"]]
        notes = web.get("/v1/slots").json()["items"][0]["notes"]
        assert notes[-1] == "The data cannot be read (data). Give them"
        for path in ("/v1/runs", "/v1/runs/ease", "/v1/runs/broken", "/v1/slots"):
            assert str(root.parent) not in web.get(path).text
    finally:
        shutil.rmtree(broken)


def test_two_swaps_at_once_end_with_what_the_store_says(service: Service, runs: dict[str, Path]) -> None:
    serve = service.store.serve

    def overtaken(slot: str, path: str) -> Slot:
        put = serve(slot, path)
        serve(slot, str(runs["bpr"]))  # another process, before this one has looked again
        return put

    service.store.serve = overtaken  # type: ignore[method-assign]
    service.shelf.swap("main", runs["ease"])
    service.shelf.follow()
    assert service.shelf["main"].name == Path(service.store.served()["main"].path).name == "bpr"


def test_a_swap_is_served_kept_and_survives_a_restart(
    open_service: Callable[..., Service], runs: dict[str, Path]
) -> None:
    service = open_service()
    with TestClient(create_app(service), base_url="http://127.0.0.1") as web:
        answer = web.put("/v1/slots/main", json={"run": "ease"})
        assert answers.SlotRow.model_validate(answer.json()).run == "ease"
        assert web.get("/v1/recommend?user=u1").json()["answered_by"] == "EASE"
        assert [row["run"] for row in web.get("/v1/slots").json()["items"]] == ["ease", "bpr"]
        assert web.put("/v1/slots/none", json={"run": "ease"}).status_code == 404
        assert "swap" in [entry.action for entry in service.store.trail.page()]
    again = open_service()  # with the same command line
    assert again.shelf["main"].name == "ease"
    anew = open_service({"main": str(runs["bpr"])})  # with another run
    assert anew.shelf["main"].name == "bpr"


def test_other_processes_follow_a_swap_and_items(open_service: Callable[..., Service], runs: dict[str, Path]) -> None:
    from rectitude.service.store import ItemFacts

    one, other = open_service(), open_service()
    one.shelf.swap("main", runs["ease"])
    one.store.put_items([ItemFacts("i1", withdrawn=True)])
    assert other.shelf["main"].name == "sasrec"
    other.shelf.follow()
    assert other.shelf["main"].name == "ease"
    withdrawn = other.shelf["main"].catalogue.withdrawn()
    assert withdrawn is not None
    assert withdrawn.nonzero()[0].tolist() == [1]


def test_a_folder_that_was_changed_in_place_is_read_again(
    open_service: Callable[..., Service], runs: dict[str, Path]
) -> None:
    one, other = open_service(), open_service()
    before = other.shelf["main"]
    one.store.serve("main", str(runs["sasrec"]))
    other.shelf.follow()
    assert other.shelf["main"] is not before


def test_health_and_metrics(web: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Health.model_validate(web.get("/health/live").json()).status == "alive"
    assert Health.model_validate(web.get("/health/ready").json()).slots == {"main": "sasrec", "bpr": "bpr"}
    for user in ("u1", "u2", 'nobody-<">'):
        web.get("/v1/recommend", params={"user": user})
    web.get("/v1/users/somebody")
    web.get("/v1/none-of-these/<u1>")
    text = web.get("/metrics").text
    assert 'rectitude_requests_total{method="GET",route="/v1/recommend",status="200"} 3.0' in text
    assert 'rectitude_lists_total{answered_by="fallback",slot="main"} 1.0' in text
    assert 'route="none",status="404"' in text
    assert 'route="/v1/users/{user_id}",status="404"' in text
    assert "somebody" not in text
    assert "u1" not in text
    assert "nobody" not in text


def test_the_reference_loads_nothing_from_elsewhere(web: TestClient) -> None:
    page = web.get("/docs")
    assert "<script" not in page.text
    assert "http" not in page.text.replace("httpx", "")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for path in web.get("/openapi.json").json()["paths"]:
        assert path in page.text
