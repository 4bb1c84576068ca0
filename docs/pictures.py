"""The pictures of the service's pages, taken of real runs in a browser.

    rectitude fit ml-100k --model sasrec --seed 1 --out runs/sasrec
    rectitude fit ml-100k --model bpr --seed 1 --out runs/bpr
    rectitude evaluate runs/sasrec
    rectitude evaluate runs/bpr
    rectitude audit runs/bpr --attribute gender,age
    rectitude unlearn attribute runs/bpr --attribute gender --out runs/bpr-without-gender
    rectitude plan fit SURVEY --schema sleep-efficiency --out runs/sleep
    rectitude route import models_dev.parquet --out models.csv
    python docs/pictures.py runs/sasrec runs/bpr runs/bpr-without-gender --plan runs/sleep --models models.csv

Needs the extras ``serve``, ``plan`` and ``route``, playwright and a Chromium. Titles, people and figures are those of
the runs. The posters are drawn here, for those of the films belong to others.
"""

from __future__ import annotations

import argparse
import io
import math
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image, ImageDraw
from playwright.sync_api import Page, sync_playwright

from rectitude.service.config import ServiceConfig
from rectitude.service.launch import Launch, in_background
from rectitude.service.store import UserFacts

HERE = Path(__file__).parent
SIZES = {1280: 900, 390: 844}
MOST_BYTES = 150_000
INKS = ("#0B6B6B", "#B45309", "#5B4B8A", "#3B6FB6", "#8C2F5B", "#1F6F43", "#2B2F36", "#A8763E")


def poster(path: Path, number: int) -> None:
    """A poster of flat shapes."""
    rng = np.random.default_rng(number)
    paper, ink, other = (INKS[int(at)] for at in rng.permutation(len(INKS))[:3])
    image = Image.new("RGB", (132, 198), paper)
    draw = ImageDraw.Draw(image)
    kind, radius, x, y = number % 4, int(rng.integers(24, 52)), int(rng.integers(40, 92)), int(rng.integers(50, 110))
    if kind == 0:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=ink)
        draw.rectangle((0, 140, 132, 198), fill=other)
    elif kind == 1:
        for at in range(0, 240, 22):
            draw.polygon([(at - 80, 198), (at - 66, 198), (at, 0), (at - 14, 0)], fill=ink if at % 44 else other)
    elif kind == 2:
        draw.polygon([(0, 170), (x, y), (132, 160), (132, 198), (0, 198)], fill=ink)
        draw.ellipse((90, 20, 118, 48), fill=other)
    else:
        points = [(66 + math.sin(at / 3) * (20 + at), 30 + at * 1.6) for at in range(60)]
        draw.line(points, fill=ink, width=7)
        draw.rectangle((0, 0, 132, 14), fill=other)
    image.save(path)


@contextmanager
def service(root: Path, runs: Sequence[Path], plan: Path, models: Path, person: str) -> Iterator[str]:
    """The runs served on a store of their own; yields the address."""
    slots = {path.name: str(shutil.copytree(path, root / path.name)) for path in runs}
    posters = root / "posters"
    posters.mkdir()
    config = ServiceConfig(
        store=f"sqlite:///{root}/store.db", folder=root / "work", plan=plan, models=models, pictures=posters
    )
    opened = Launch(config=config, slots=slots).open()
    run = next(iter(opened.shelf.names()))
    for number, item in enumerate(opened.shelf[run].run.item_ids.external.to_list()):
        poster(posters / f"{item}.png", number)
    (row,) = opened.shelf[run].run.dataset().users.filter(pl.col("user_id").cast(pl.String) == person).to_dicts()
    told = {name: row[name] for name in ("age", "gender", "occupation") if row.get(name) is not None}
    opened.store.put_users([UserFacts(person, told)])
    with in_background(opened) as address:
        yield address


def scenes(page: Page, address: str, runs: Sequence[str], person: str, row: str) -> Iterator[str]:
    """Bring one page after the other before the camera; yields its name."""
    first, audited, mended = runs

    def go(path: str) -> None:
        page.goto(address + path)
        page.wait_for_load_state("networkidle")

    go(f"/explore?run={first}&person={person}&beside={audited}")
    page.locator("details.why summary").first.click()
    page.get_by_text("Place 1 of").wait_for()
    page.evaluate("scrollTo(0, 0)")
    yield "explore"
    go("/compare")
    yield "compare"
    go(f"/audit?run={audited}")
    line = page.locator("details.opens", has_text="Gender can be guessed").first
    line.locator("summary").first.click()
    line.evaluate("line => line.closest('.check').scrollIntoView()")
    yield "audit"
    go(f"/me?person={person}&run={first}")
    yield "me"
    if page.get_by_role("link", name="Download the file").count() == 0:
        page.get_by_role("button", name="Make the file").click()
        page.get_by_role("link", name="Download the file").wait_for()
    page.evaluate("document.querySelector('#rights').scrollIntoView()")
    yield "rights"
    go(f"/plan?row={row}")
    page.get_by_role("button", name="Make my plan").click()
    page.get_by_role("heading", name="How sure is it?").wait_for(timeout=60_000)
    page.evaluate("scrollTo(0, 0)")
    yield "plan"
    go("/route?say=must+see+images,+at+least+200k+context,+not+OpenAI,+under+%243,+with+blue+eyes")
    page.evaluate("document.querySelector('#chosen').closest('section').scrollIntoView()")
    yield "route"
    go(f"/runs/{mended}")
    yield "runs"


def small(shot: bytes) -> bytes:
    """A picture with as few colours as keep it below the limit."""
    image = Image.open(io.BytesIO(shot)).convert("RGB")
    for colours in (256, 128, 64):
        buffer = io.BytesIO()
        image.quantize(colours, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
        if len(buffer.getvalue()) < MOST_BYTES:
            break
    return buffer.getvalue()


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description="Write the pictures of the service's pages.")
    parser.add_argument("runs", type=Path, nargs=3, help="A run, one that was audited, and one unlearnt from that.")
    parser.add_argument("--plan", type=Path, required=True, help="A run of 'rectitude plan fit'.")
    parser.add_argument("--models", type=Path, required=True, help="A catalogue of language models.")
    parser.add_argument("--person", default="196", help="Whom Explore and Me show.")
    parser.add_argument("--row", default="5", help="Whose answers to the survey Plan is filled with.")
    parser.add_argument("--out", type=Path, default=HERE / "tutorials" / "pictures", help="Folder of the pictures.")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    names = [path.name for path in given.runs]
    with (
        tempfile.TemporaryDirectory() as folder,
        service(Path(folder), given.runs, given.plan, given.models, given.person) as address,
        sync_playwright() as playwright,
    ):
        browser: Any = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for width, height in SIZES.items():
            context = browser.new_context(viewport={"width": width, "height": height}, color_scheme="light")
            page = context.new_page()
            for name in scenes(page, address, names, given.person, given.row):
                page.wait_for_timeout(300)
                (given.out / f"{name}-{width}.png").write_bytes(small(page.screenshot()))
            context.close()
        browser.close()


if __name__ == "__main__":
    main()
