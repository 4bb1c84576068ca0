from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import uvicorn
from postgres_server import Postgres, programs

from rectitude.data.dataset import Dataset
from rectitude.data.readers import load, write_folder
from rectitude.decisions.routing.serving.run import listen
from rectitude.service.app import create_app
from rectitude.service.config import ServiceConfig
from rectitude.service.launch import Launch
from rectitude.service.service import Service
from rectitude.workflow.fitting import fit

with warnings.catch_warnings():  # it uses an old name of anyio's
    warnings.simplefilter("ignore", DeprecationWarning)
    from starlette.testclient import TestClient

KINDS = ("Red", "Green", "Blue")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Files of item vectors go to a folder of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECTITUDE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def tiny_folder(tiny: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny data as a folder, its items with attributes and titles that are not only Latin."""
    items = tiny.items.with_columns(
        pl.Series("kind", [KINDS[i % 3] for i in range(tiny.n_items)]),
        pl.Series("year", [1990 + i for i in range(tiny.n_items)]),
        pl.Series("genres", [["even" if i % 2 == 0 else "odd", "all"] for i in range(tiny.n_items)]),
    )
    titles = items["title"].to_list()
    titles[1], titles[2] = "ألف ليلة وليلة", "<script>alert('x')</script> & \"Café\""
    items = items.with_columns(pl.Series("title", titles))
    folder = tmp_path_factory.mktemp("data") / "tiny"
    write_folder(Dataset("tiny", tiny.interactions, tiny.users, items), folder)
    return folder


@pytest.fixture(scope="session")
def runs(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One run of each kind that answers in a way of its own."""
    root = tmp_path_factory.mktemp("runs")
    data = load(tiny_folder)
    small: dict[str, dict[str, Any]] = {
        "sasrec": {"n_factors": 8, "epochs": 2, "max_length": 20, "n_negatives": 16, "n_blocks": 1, "n_heads": 1},
        "bpr": {"n_factors": 8, "epochs": 2},
        "ease": {},
    }
    return {
        name: fit(data, name, settings=settings, out=root / name, progress=False).path
        for name, settings in small.items()
    }


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


@contextmanager
def answering(service: Service) -> Iterator[str]:
    """A service on a port of this machine; yields its address."""
    listener = listen("127.0.0.1", 0)
    config = uvicorn.Config(create_app(service), log_config=None, access_log=False, ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def live(service: Service) -> Iterator[str]:
    """Address of ``service``, answering."""
    with answering(service) as address:
        yield address


@pytest.fixture(scope="session")
def answer() -> Callable[[Service], Any]:
    """Puts a service on a port of this machine, as a context."""
    return answering


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL of the tests' own; skips, saying so, where it is not installed."""
    if programs() is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    server = Postgres()
    yield server
    server.remove()
