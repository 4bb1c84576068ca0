"""The pictures of the pages' tutorial: an invented catalogue of films, a few runs, and a browser.

Run with ``python docs/pictures.py``; needs the extras ``serve``, ``audit`` and ``plan``, playwright and a Chromium.
Everything shown is made here: titles, posters, people.
"""

from __future__ import annotations

import argparse
import io
import math
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import uvicorn
from PIL import Image, ImageDraw
from playwright.sync_api import Page, sync_playwright

from rectitude.data.dataset import Dataset
from rectitude.data.readers import load, write_folder
from rectitude.decisions.plans.prescriber import Prescriber
from rectitude.decisions.plans.schema import parse_schema
from rectitude.decisions.routing.serving.run import listen
from rectitude.service.app import create_app
from rectitude.service.config import ServiceConfig
from rectitude.service.launch import Launch
from rectitude.service.store import UserFacts
from rectitude.workflow.auditing import audit
from rectitude.workflow.fitting import fit
from rectitude.workflow.judging import evaluate
from rectitude.workflow.unlearning import unlearn_attribute

HERE = Path(__file__).parent
SIZES = {1280: 900, 390: 844}
MOST_BYTES = 150_000
GENRES = ("Drama", "Comedy", "Thriller", "Adventure", "Science fiction", "Romance")
FIRST = ("The Quiet", "A Borrowed", "Seven", "The Last", "Under the", "Beyond the", "The Glass", "Small", "Northern",
         "The Painted", "Winter", "An Honest", "The Second", "Paper", "The Long", "Blue", "Every", "The Hidden",
         "Salt and", "Nobody's")  # fmt: skip
LAST = ("Harbour", "Garden", "Letters", "Orchard", "Meridian", "Station")
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


def shop(folder: Path) -> Path:
    """People who mostly stay with two genres, women and men not with the same ones."""
    rng = np.random.default_rng(1)
    titles = [f"{first} {last}" for first in FIRST for last in LAST]
    genre = np.arange(len(titles)) % len(GENRES)
    appeal = rng.zipf(1.6, len(titles)).clip(1, 30).astype(float)
    n_people, rows = 400, []
    gender = np.where(rng.random(n_people) < 0.45, "F", "M")
    for person in range(n_people):
        leaning = np.roll(np.array([6.0, 5.0, 1.0, 1.0, 0.6, 3.0]), 0 if gender[person] == "F" else 3)
        taste = rng.dirichlet(leaning)[genre] * appeal
        seen = rng.choice(len(titles), size=int(rng.integers(8, 40)), replace=False, p=taste / taste.sum())
        rows += [(person, int(item), 1_700_000_000 + person * 977 + at * 86_400) for at, item in enumerate(seen)]
    user, item, when = zip(*rows, strict=True)
    interactions = pl.DataFrame({"user": user, "item": item, "timestamp": when}).with_columns(
        pl.col("user", "item").cast(pl.Int32), pl.col("timestamp").cast(pl.Int64)
    )
    people = pl.DataFrame({"user_id": [f"{100 + at}" for at in range(n_people)], "gender": gender})
    items = pl.DataFrame(
        {
            "item_id": [f"f{at}" for at in range(len(titles))],
            "title": titles,
            "year": rng.integers(1968, 2025, len(titles)),
            "genres": [[GENRES[at]] for at in genre],
            "poster": [f"posters/{at}.png" for at in range(len(titles))],
        }
    )
    write_folder(Dataset("films", interactions, people, items), folder)
    (folder / "posters").mkdir()
    for at in range(len(titles)):
        poster(folder / "posters" / f"{at}.png", at)
    return folder


def sleep(out: Path) -> None:
    """A run of plans from an invented survey."""
    rng = np.random.default_rng(0)
    n = 500
    exercise, screen = rng.integers(0, 6, n), rng.integers(0, 7, n)
    smoking = rng.random(n) < 0.4
    odds = 0.7 * (exercise - 2.5) - 0.6 * (screen - 3) - 1.2 * (smoking - 0.4)
    table = pl.DataFrame(
        {
            "exercise_days": exercise,
            "screen_hours": screen,
            "smoking": np.where(smoking, "Yes", "No"),
            "age": rng.integers(20, 70, n),
            "good_sleep": np.where(rng.random(n) < 1 / (1 + np.exp(-odds)), "Yes", "No"),
        }
    )
    habit = {"kind": "integer", "mutable": True, "max_step": 3}
    schema = {
        "target": {"column": "good_sleep", "good": "Yes", "label": "sound sleep"},
        "features": {
            "exercise_days": {**habit, "levels": list(range(6)), "direction": "up", "better": "more",
                              "label": "exercise", "unit": "days a week"},
            "screen_hours": {**habit, "levels": list(range(7)), "direction": "down", "better": "less",
                             "label": "screen time", "unit": "hours an evening"},
            "smoking": {"kind": "binary", "levels": ["No", "Yes"], "mutable": True, "direction": "down",
                        "better": "less", "resistance": 3},
            "age": {"kind": "integer", "unit": "years"},
        },
    }  # fmt: skip
    quick = {"outer_folds": 0, "families": ["logistic"]}
    Prescriber.fit(table, schema=parse_schema(schema, where="the survey"), settings=quick, out=out)


MODELS = """model,provider,vision,open_weights,price_in,price_out,context,q.code
heron-small,acme,false,true,0.1,0.4,32000,41
heron-vision,acme,true,true,0.5,2,128000,63
osprey,birdworks,true,false,2.5,10,200000,84
osprey-mini,birdworks,true,false,0.3,1.2,200000,58
kestrel-code,falcon,false,true,0.8,3.2,128000,88
kestrel-max,falcon,true,false,5,20,1000000,91
"""


@contextmanager
def service(root: Path) -> Iterator[str]:
    """Everything trained and served; yields its address."""
    data = load(shop(root / "films"))
    fit(data, "sasrec", settings={"epochs": 12, "n_factors": 32}, seed=1, out=root / "sasrec", progress=False)
    fit(data, "bpr", settings={"epochs": 30, "n_factors": 32}, seed=1, out=root / "bpr", progress=False)
    for name in ("sasrec", "bpr"):
        evaluate(root / name, data=data)
    audit(root / "bpr", attributes=["gender"], data=data)
    steps = {"steps": 100, "check_every": 25}
    unlearn_attribute(root / "bpr", ["gender"], settings=steps, out=root / "bpr-without-gender", data=data)
    sleep(root / "sleep")
    (root / "models.csv").write_text(MODELS, encoding="utf-8")
    config = ServiceConfig(
        store=f"sqlite:///{root}/store.db", folder=root / "work", plan=root / "sleep", models=root / "models.csv"
    )
    slots = {name: str(root / name) for name in ("sasrec", "bpr", "bpr-without-gender")}
    opened = Launch(config=config, slots=slots).open()
    opened.store.put_users([UserFacts("142", {"gender": "F", "age": 34, "town": "Porto"})])
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(create_app(opened), log_config=None, access_log=False, ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def scenes(page: Page, address: str) -> Iterator[str]:
    """Bring one page after the other before the camera; yields its name."""

    def go(path: str) -> None:
        page.goto(address + path)
        page.wait_for_load_state("networkidle")

    go("/explore?run=sasrec&person=142&beside=bpr")
    page.locator("details.why summary").first.click()
    page.get_by_text("Place 1 of").wait_for()
    if page.viewport_size["width"] < 700:
        page.evaluate("scrollTo(0, 0)")
    yield "explore"
    go("/compare")
    yield "compare"
    go("/audit?run=bpr")
    page.locator("details.opens summary").first.click()
    yield "audit"
    go("/me?person=142&run=sasrec")
    yield "me"
    go("/me?person=142&run=sasrec")
    if page.get_by_role("link", name="Download the file").count() == 0:
        page.get_by_role("button", name="Make the file").click()
        page.get_by_role("link", name="Download the file").wait_for()
    page.locator("#rights").scroll_into_view_if_needed()
    page.evaluate("document.querySelector('#rights').scrollIntoView()")
    yield "rights"
    go("/plan")
    for label, answer in (("Exercise", "1"), ("Screen time", "5"), ("Age", "41")):
        page.get_by_role("textbox", name=label).fill(answer)
    page.get_by_role("button", name="Make my plan").click()
    page.get_by_role("heading", name="How sure is it?").wait_for()
    page.evaluate("scrollTo(0, 0)")
    yield "plan"
    go("/route?say=must+see+images,+good+at+coding,+under+%243,+with+blue+eyes")
    page.locator("#chosen").scroll_into_view_if_needed()
    yield "route"
    go("/runs/bpr-without-gender")
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
    parser = argparse.ArgumentParser(description="Write the pictures of the pages' tutorial.")
    parser.add_argument("--out", type=Path, default=HERE / "tutorials" / "pictures", help="Folder of the pictures.")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, service(Path(folder)) as address, sync_playwright() as playwright:
        browser: Any = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for width, height in SIZES.items():
            context = browser.new_context(viewport={"width": width, "height": height}, color_scheme="light")
            page = context.new_page()
            for name in scenes(page, address):
                page.wait_for_timeout(300)
                (out / f"{name}-{width}.png").write_bytes(small(page.screenshot()))
            context.close()
        browser.close()


if __name__ == "__main__":
    main()
