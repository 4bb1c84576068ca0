from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from rectitude.client import answers
from rectitude.client.answers import Health
from rectitude.service.app import create_app
from rectitude.service.service import Service


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


@pytest.mark.parametrize("name", ["..", ".", "%2e%2e", "..%2f..%2fetc", "none", "a%00b", "sasrec%2F..%2Fease", "\\.."])
def test_names_that_are_no_run(web: TestClient, name: str) -> None:
    assert web.get(f"/v1/runs/{name}/findings").status_code == 404


@pytest.mark.parametrize(
    "name", ["../sasrec", "/etc", "..", "sasrec/../ease", "none", "a\u0000b", "~", "C:\\x", "x" * 255]
)
def test_only_runs_of_the_folders_served_can_be_put_into_a_slot(web: TestClient, name: str) -> None:
    assert web.put("/v1/slots/main", json={"run": name}).status_code == 404
    assert web.get("/v1/recommend?user=u1").json()["run"] == "sasrec"


def test_a_link_out_of_the_folder_is_not_followed(web: TestClient, runs: dict[str, Path], tmp_path: Path) -> None:
    import shutil

    shutil.copytree(runs["ease"], tmp_path / "outside")
    link = runs["ease"].parent / "link"
    link.symlink_to(tmp_path / "outside")
    try:
        assert web.put("/v1/slots/main", json={"run": "link"}).status_code == 404
    finally:
        link.unlink()


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
