from __future__ import annotations

import shutil
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from page_sizes import DESK

from rectitude.data.dataset import Dataset
from rectitude.data.readers import load, write_folder
from rectitude.decisions.plans.prescriber import Prescriber
from rectitude.service.config import ServiceConfig
from rectitude.service.launch import Launch
from rectitude.service.rights import forget
from rectitude.service.service import Service
from rectitude.workflow.auditing import audit
from rectitude.workflow.fitting import fit
from rectitude.workflow.judging import evaluate
from rectitude.workflow.unlearning import unlearn_attribute

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BRIEF = {"steps": 4, "check_every": 2}
"""Of unlearning."""
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
    unlearn_attribute(root / "bpr", ["gender"], settings=BRIEF, out=root / "bpr-less", data=data)
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


# ---- in a browser ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; skips, saying so, where it or playwright is not installed.

    Not longer than a module: while it is open an event loop runs, and other tests could not run theirs.
    """
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("There is no Chromium on this machine")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def brief_unlearning() -> Iterator[None]:
    """Remedies of a few steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forget, "unlearn_attribute", partial(unlearn_attribute, settings=BRIEF))
        yield


@pytest.fixture(scope="module")
def address(
    site: Site, answer: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory, brief_unlearning: None
) -> Iterator[str]:
    """A service that does its jobs; without a key, so that whoever asks may do everything."""
    folder = tmp_path_factory.mktemp("browser")  # a deletion repairs runs in their place: these are copies
    slots = {slot: str(shutil.copytree(path, folder / Path(path).name)) for slot, path in site.slots.items()}
    with answer(replace(site, slots=slots).launch(folder, run_jobs=True)) as address:
        yield address


@pytest.fixture
def opened(browser: Browser, address: str) -> Iterator[Callable[..., Page]]:
    """Opens pages that may neither complain, nor break the content policy, nor ask any other host."""
    contexts: list[Any] = []
    wrong: list[str] = []

    def begin(
        path: str, size: tuple[int, int] = DESK, *, base: str = address, complaining: bool = False, **settings: Any
    ) -> Page:
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, base_url=base, **settings)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)

        def complained(said: Any) -> None:
            # An error page is asked for on purpose, and whoever leaves a page breaks off what it was fetching.
            of_the_network = said.text.startswith(("Failed to load resource", "htmx:afterRequest", "htmx:sendAbort"))
            if said.type in ("error", "warning") and not of_the_network and not complaining:
                wrong.append(said.text)

        def failed(came: Any) -> None:
            if came.status >= 400 and came.request.resource_type in ("image", "script", "stylesheet"):
                wrong.append(f"{came.status} {came.url}")

        page.on("console", complained)
        page.on("response", failed)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda sent: None if sent.url.startswith(base) else wrong.append(sent.url))
        page.goto(path)
        return page

    yield begin
    for context in contexts:
        context.close()
    assert wrong == []
