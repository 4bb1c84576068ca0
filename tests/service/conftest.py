from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from postgres_server import Postgres, programs
from small import fit_small, write_small

from rectitude.data.dataset import Dataset
from rectitude.service.app import create_app
from rectitude.service.config import ServiceConfig
from rectitude.service.launch import Launch, in_background
from rectitude.service.service import Service

with warnings.catch_warnings():  # it uses an old name of anyio's
    warnings.simplefilter("ignore", DeprecationWarning)
    from starlette.testclient import TestClient


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Files of item vectors go to a folder of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECTITUDE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def tiny_folder(tiny: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny data as a folder, its items with attributes and titles that are not only Latin."""
    return write_small(tiny, tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture(scope="session")
def runs(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One run of each kind that answers in a way of its own."""
    return fit_small(tiny_folder, tmp_path_factory.mktemp("runs"))


@pytest.fixture
def open_service(runs: dict[str, Path], tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Opens services on a store of their own; they are closed at the end."""
    opened: list[Service] = []

    def begin(slots: dict[str, str] | None = None, experiments: tuple[str, ...] = (), **settings: Any) -> Service:
        given = {"store": f"sqlite:///{tmp_path}/store.db", "folder": tmp_path / "service-data", **settings}
        chosen = slots or {"main": str(runs["sasrec"]), "bpr": str(runs["bpr"])}
        opened.append(Launch(config=ServiceConfig(**given), slots=chosen, experiments=experiments).open())
        return opened[-1]

    yield begin
    for service in opened:
        service.shelf.close()
        service.close()


@pytest.fixture
def service(open_service: Callable[..., Service]) -> Service:
    """SASRec as main and BPR beside it."""
    return open_service()


@pytest.fixture
def web(service: Service) -> Iterator[TestClient]:
    """The application of ``service``, asked from this machine."""
    with TestClient(create_app(service), base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture
def live(service: Service) -> Iterator[str]:
    """Address of ``service``, answering."""
    with in_background(service) as address:
        yield address


@pytest.fixture(scope="session")
def answer() -> Callable[[Service], AbstractContextManager[str]]:
    """Puts a service on a port of this machine, as a context."""
    return in_background


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL of the tests' own; skips, saying so, where it is not installed."""
    if programs() is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    server = Postgres()
    yield server
    server.remove()
