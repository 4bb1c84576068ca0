"""The same apps in this process, in Flower's simulation, and on SuperLink with SuperNodes over TLS: same numbers."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from rectitude.core.errors import MissingExtraError
from rectitude.federated import run
from rectitude.federated.clients import federation_of
from rectitude.federated.contracts import FederationError
from rectitude.federated.deploy import deploy, write_certificates
from rectitude.federated.federate import federate
from rectitude.federated.flower import apps_in, drive, outcome
from rectitude.federated.grid import LocalGrid
from rectitude.federated.plan import Plan, Stage
from rectitude.federated.registry import METHODS, find
from rectitude.federated.request import Request
from rectitude.federated.run import Engine, Finished, Workplace, carry_out, in_process, new_run_id


def prepared(table: pl.DataFrame, folder: Path) -> tuple[Plan, Workplace, Finished]:
    """A small plan in a workplace, and what it gives in this process."""
    federation = federation_of(table, n_clients=2, partition="dirichlet:5", seed=1)
    stages = (Stage("fedavg", {"rounds": 1}), Stage("fedfact-post", {"rounds": 1}, base=0))
    plan = Plan(new_run_id(), federation.problem, stages, min_clients=2, patience=300.0)
    workplace = Workplace(folder)
    workplace.prepare(plan, federation.clients)
    return plan, workplace, in_process(plan, federation.clients)


def assert_same(one: Finished, two: Finished) -> None:
    """To the last bit but for the order of sums."""
    assert one.progress.arrays.keys() == two.progress.arrays.keys()
    for name, array in one.progress.arrays.items():
        np.testing.assert_allclose(array, two.progress.arrays[name], rtol=1e-6, atol=1e-9, err_msg=name)
    assert one.personal.keys() == two.personal.keys()
    for client, stages in one.personal.items():
        for stage, arrays in stages.items():
            for name, array in arrays.items():
                np.testing.assert_allclose(array, two.personal[client][stage][name], rtol=1e-6, atol=1e-9)
    bytes_up = [[row.up for row in done.progress.traffic] for done in (one, two)]
    assert bytes_up[0] == bytes_up[1]


@pytest.mark.slow
def test_superlink_over_tls_gives_the_numbers_of_one_process(table: pl.DataFrame, tmp_path: Path) -> None:
    plan, workplace, expected = prepared(table, tmp_path / "work")
    found = carry_out("superlink", plan, (), workplace)
    assert_same(expected, found)
    assert "wrong version number" not in (workplace.folder / "logs" / "superlink.log").read_text(errors="replace")


@pytest.mark.slow
def test_a_supernode_that_does_not_trust_the_certificate_takes_no_part(table: pl.DataFrame, tmp_path: Path) -> None:
    plan, workplace, _ = prepared(table, tmp_path / "work")
    write_certificates(tmp_path / "other")
    with pytest.raises(
        FederationError, match=r"Only [01] of the 2 SuperNodes needed could join SuperLink.*certificate"
    ):
        deploy(plan, workplace, root_certificate=tmp_path / "other" / "ca.crt")
    assert workplace.progress() is None


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
def test_the_simulation_gives_the_numbers_of_one_process(table: pl.DataFrame, tmp_path: Path) -> None:
    """In a process of its own: Ray and Flower change logging, signals and the environment."""
    plan, workplace, expected = prepared(table, tmp_path / "work")
    code = (
        "from pathlib import Path\n"
        "from rectitude.federated.plan import Plan\n"
        "from rectitude.federated.run import Workplace\n"
        "from rectitude.federated.simulate import simulate\n"
        f"folder = Path({str(workplace.folder)!r})\n"
        "simulate(Plan.read(folder), Workplace(folder))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ), check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    progress = workplace.progress()
    assert progress is not None
    assert_same(expected, Finished(progress, workplace.personal(plan)))


def test_certificates_are_those_of_the_address_and_of_no_other_authority(tmp_path: Path) -> None:
    """A TLS server with our certificate is trusted with our authority, and refused with another or another name."""
    write_certificates(tmp_path / "ours")
    write_certificates(tmp_path / "other")
    assert (tmp_path / "ours" / "server.key").stat().st_mode & 0o077 == 0
    assert not (tmp_path / "ours" / "ca.key").exists()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "ours" / "server.crt", tmp_path / "ours" / "server.key")

    def handshake(authority: Path, name: str) -> None:
        client = ssl.create_default_context(cafile=str(authority))
        sent, received = (ssl.MemoryBIO() for _ in range(2))
        ours = client.wrap_bio(received, sent, server_hostname=name)
        theirs = server.wrap_bio(sent, received, server_side=True)
        for _ in range(4):
            for side in (ours, theirs):
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    continue
        assert ours.version() is not None

    handshake(tmp_path / "ours" / "ca.crt", "127.0.0.1")
    handshake(tmp_path / "ours" / "ca.crt", "localhost")
    with pytest.raises(
        ssl.SSLCertVerificationError, match=r"self-signed certificate|unable to get local issuer|signature"
    ):
        handshake(tmp_path / "other" / "ca.crt", "127.0.0.1")
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        handshake(tmp_path / "ours" / "ca.crt", "127.0.0.2")


def test_a_port_that_is_free_can_be_listened_on() -> None:
    from rectitude.federated.processes import free_ports

    ports = free_ports(3)
    assert len(set(ports)) == 3
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", ports[0]))


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_client_that_is_a_new_process_at_every_message_gives_the_same_numbers(
    method: str, table: pl.DataFrame, tmp_path: Path
) -> None:
    """Everything a client half needs is in its rows and its state, which it reads from files each time."""
    federation = federation_of(table, n_clients=2, partition="dirichlet:5", seed=1)
    post = find(method).stage == "post"
    first = (Stage("fedavg", {"rounds": 1}),) if post else ()
    plan = Plan(new_run_id(), federation.problem, (*first, Stage(method, {"rounds": 3}, base=0 if post else None)))
    workplace = Workplace(tmp_path / "work")
    workplace.prepare(plan, federation.clients)
    expected = in_process(plan, federation.clients)
    server, client = apps_in(workplace.folder)
    grid = LocalGrid(client, [{"partition-id": 0}, {"partition-id": 1}])
    drive(grid, workplace.folder)
    assert server is not None
    assert_same(expected, Finished(outcome(workplace), workplace.personal(plan)))


@pytest.mark.parametrize(
    ("engine", "package", "extra"), [("simulation", "ray", "fed-sim"), ("superlink", "flwr", "fed")]
)
def test_what_an_engine_lacks_is_said_before_anything_is_written(
    engine: Engine, package: str, extra: str, table: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "find_spec", lambda name: None if name == package else find_spec(name))
    with pytest.raises(MissingExtraError, match=f"needs the package '{package}'") as caught:
        federate(table, Request("fedavg", engine=engine), out=tmp_path / "made", progress=False)
    assert f"rectitude[{extra}]" in str(caught.value.fix)
    assert not list(tmp_path.iterdir())
