from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from rectitude.data.dataset import Dataset
from rectitude.data.readers import load, write_folder
from rectitude.decisions.plans.prescriber import Prescriber
from rectitude.service.config import ServiceConfig
from rectitude.service.launch import Launch
from rectitude.service.service import Service
from rectitude.workflow.auditing import audit
from rectitude.workflow.fitting import fit
from rectitude.workflow.judging import evaluate
from rectitude.workflow.unlearning import unlearn_attribute

HOSTILE = "<script>window.broken=1</script> & \"Café\" 'x'"
RIGHT_TO_LEFT = "ألف ليلة وليلة"


@dataclass(frozen=True)
class Site:
    """What the pages are shown with: runs by slot, a run of plans, a catalogue of models."""

    slots: dict[str, str]
    plan: Path
    models: Path

    def launch(self, folder: Path, **settings: object) -> Service:
        """A service on a store of its own."""
        given = {
            "store": f"sqlite:///{folder}/store.db",
            "folder": folder / "service-data",
            "plan": self.plan,
            "models": self.models,
            "run_jobs": False,
            **settings,
        }
        return Launch(config=ServiceConfig(**given), slots=self.slots).open()


def png(colour: tuple[int, int, int]) -> bytes:
    """A small picture of one colour."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    rows = b"".join(b"\0" + bytes(colour) * 20 for _ in range(30))
    head = struct.pack(">IIBBBBB", 20, 30, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.fixture(scope="session")
def shop(tiny: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny data with pictures, years, and titles that try to break out."""
    folder = tmp_path_factory.mktemp("shop") / "films"
    titles = [f"Film {index}" for index in range(tiny.n_items)]
    titles[1], titles[2], titles[3] = RIGHT_TO_LEFT, HOSTILE, "A very long title " * 12
    items = tiny.items.with_columns(
        pl.Series("title", titles),
        pl.Series("year", [1990 + index for index in range(tiny.n_items)]),
        pl.Series("genres", [["Comedy", "Drama"] if index % 2 else ["Action"] for index in range(tiny.n_items)]),
        pl.Series("poster", [f"posters/{index}.png" if index % 4 else None for index in range(tiny.n_items)]),
    )
    write_folder(Dataset("films", tiny.interactions, tiny.users, items), folder)
    (folder / "posters").mkdir()
    for index in range(tiny.n_items):
        if index % 4:
            (folder / "posters" / f"{index}.png").write_bytes(png((40 * index % 256, 90, 120)))
    return folder


@pytest.fixture(scope="session")
def site(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Three runs: one solved, one with vectors and an audit, one that was unlearnt from it."""
    root = tmp_path_factory.mktemp("site")
    data = load(shop)
    fit(data, "ease", out=root / "ease", progress=False)
    fit(data, "bpr", settings={"n_factors": 8, "epochs": 3}, out=root / "bpr", progress=False)
    for name in ("ease", "bpr"):
        evaluate(root / name, data=data)
    checks = ["accuracy-gap", "popularity-bias", "exposure", "attribute-leakage", "membership-leakage"]
    audit(root / "bpr", attributes=["gender"], checks=checks, data=data)
    settings = {"steps": 4, "check_every": 2}
    unlearn_attribute(root / "bpr", ["gender"], settings=settings, out=root / "bpr-less", data=data)
    slots = {"main": str(root / "ease"), "bpr": str(root / "bpr"), "less": str(root / "bpr-less")}
    return Site(slots, survey(root), models(root))


def survey(root: Path) -> Path:
    """A run of plans, from people whose sleep hangs on two habits."""
    rng = np.random.default_rng(0)
    n = 240
    exercise, screen = rng.integers(0, 6, n), rng.integers(0, 7, n)
    odds = 0.9 * (exercise - 2.5) - 0.8 * (screen - 3)
    table = pl.DataFrame(
        {
            "exercise_days": exercise,
            "screen_hours": screen,
            "smoking": np.where(rng.random(n) < 0.4, "Yes", "No"),
            "age": rng.integers(20, 70, n),
            "good_sleep": np.where(rng.random(n) < 1 / (1 + np.exp(-odds)), "Yes", "No"),
        }
    )
    quick = {"outer_folds": 0, "inner_folds": 2, "n_bootstraps": 3, "families": ["logistic"]}
    policy = {"draws": 10, "time_limit": 5.0}
    Prescriber.fit(table, "good_sleep", settings=quick, policy=policy, out=root / "sleep")
    return root / "sleep"


def models(root: Path) -> Path:
    """A catalogue of four models."""
    path = root / "models.csv"
    path.write_text(
        "model,provider,vision,price_in,price_out,context,q.code\n"
        "small,acme,false,0.1,0.4,32000,40\n"
        "seer,acme,true,0.5,2,128000,60\n"
        "coder,other,false,3,15,200000,90\n"
        "all,other,true,5,20,1000000,88\n",
        encoding="utf-8",
    )
    return path


@pytest.fixture
def shown(site: Site, tmp_path: Path) -> Iterator[Service]:
    """A service with pages, closed at the end."""
    service = site.launch(tmp_path)
    yield service
    service.shelf.close()
    service.close()
