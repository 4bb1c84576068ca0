"""A run is exchanged while requests come in, in one process and in two."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from rectitude.service.service import Service


def hammer(address: str, stop: threading.Event, seen: list[tuple[int, str]], user: str) -> None:
    with httpx.Client(base_url=address, timeout=30) as client:
        while not stop.is_set():
            answer = client.get("/v1/recommend", params={"user": user})
            seen.append((answer.status_code, answer.json().get("run", "")))


def test_no_request_fails_while_runs_are_exchanged(service: Service, live: str, runs: dict[str, Path]) -> None:
    stop, seen = threading.Event(), [[] for _ in range(6)]
    threads = [threading.Thread(target=hammer, args=(live, stop, seen[n], f"u{n}")) for n in range(6)]
    for thread in threads:
        thread.start()
    with httpx.Client(base_url=live, timeout=30) as operator:
        for name in ("ease", "bpr", "sasrec", "ease", "sasrec") * 2:
            assert operator.put("/v1/slots/main", json={"run": name}).status_code == 200
            told = operator.get("/v1/recommend?user=u1").json()
            assert told["run"] == name
            assert told["answered_by"] == {"ease": "EASE", "bpr": "BPR-MF", "sasrec": "SASRec"}[name]
    stop.set()
    for thread in threads:
        thread.join()
    answers = [answer for each in seen for answer in each]
    assert len(answers) > 30
    assert {status for status, _ in answers} == {200}
    assert {name for _, name in answers} == {"ease", "bpr", "sasrec"}


def test_a_run_that_cannot_be_read_leaves_the_old_one(
    service: Service, live: str, runs: dict[str, Path], tmp_path: Path
) -> None:
    import shutil

    broken = runs["ease"].parent / "broken"
    shutil.copytree(runs["ease"], broken)
    (broken / "model.safetensors").write_bytes(b"nothing")
    try:
        answer = httpx.put(f"{live}/v1/slots/main", json={"run": "broken"})
        assert answer.status_code == 422
        assert "cannot be read" in answer.json()["detail"]
        assert httpx.get(f"{live}/v1/recommend?user=u1").json()["run"] == "sasrec"
        assert service.store.served()["main"].path == str(runs["sasrec"])
    finally:
        shutil.rmtree(broken)


@pytest.fixture
def two_workers(runs: dict[str, Path], tmp_path: Path):
    """``rectitude serve`` with two processes; yields the command and its address."""
    command = [sys.executable, "-m", "rectitude", "serve", str(runs["sasrec"]), "--store", f"sqlite:///{tmp_path}/w.db"]
    command += ["--port", "0", "--workers", "2", "--json", "--json-logs"]
    log = (tmp_path / "log").open("wb")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert process.stdout is not None
    told = b""
    while not told.rstrip().endswith(b"}\n}") and not told.endswith(b"\n}\n"):
        piece = process.stdout.readline()
        assert piece, (tmp_path / "log").read_text()
        told += piece
    address = json.loads(told)["address"]
    for _ in range(600):
        try:
            if httpx.get(f"{address}/health/ready", timeout=5).status_code == 200:
                break
        except httpx.TransportError:
            time.sleep(0.1)
    yield process, address, tmp_path / "log"
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    process.stdout.close()
    log.close()


@pytest.mark.slow
def test_two_processes_share_events_swaps_and_counters_and_end_in_order(two_workers, runs: dict[str, Path]) -> None:
    process, address, log = two_workers

    def ask(path: str) -> dict:  # each time by a new connection, so that either process may answer
        answer = httpx.get(f"{address}{path}", timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    for number in range(20):
        event = {"user": f"new{number}", "item": "i4"}
        assert httpx.post(f"{address}/v1/events", json=event, timeout=30).status_code == 200
        assert ask(f"/v1/recommend?user=new{number}")["answered_by"] == "SASRec"  # has read it, whoever took it in
    assert httpx.put(f"{address}/v1/slots/main", json={"run": "ease"}, timeout=30).status_code == 200
    deadline = time.monotonic() + 30
    while {ask("/v1/recommend?user=u1")["run"] for _ in range(20)} != {"ease"}:
        assert time.monotonic() < deadline
    count = 'rectitude_requests_total{method="POST",route="/v1/events",status="200"} 20.0'
    assert count in httpx.get(f"{address}/metrics", timeout=30).text
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) in (0, -signal.SIGTERM)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert all(line["level"] == "info" for line in lines), [line for line in lines if line["level"] != "info"]
    assert sum(line.get("route") == "/v1/events" for line in lines) == 20
    assert "new3" not in log.read_text()
