"""Pages in a real browser: each page's main task on a desk and a phone, for screen readers, and without a script."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe_package = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="There is no Chromium on this machine")

DESK, PHONE = (1280, 900), (390, 844)
AXE = next(Path(axe_package.__file__).parent.rglob("axe.min.js"))
"""Run by us rather than by its package, so that the content policy stays in force."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(site: Any, answer: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("browser")  # a deletion repairs runs in their place: these are copies
    slots = {slot: str(shutil.copytree(path, folder / Path(path).name)) for slot, path in site.slots.items()}
    service = replace(site, slots=slots).launch(folder, run_jobs=True)
    with answer(service) as address:
        yield address


@pytest.fixture
def opened(browser: Browser, address: str) -> Iterator[Callable[..., Page]]:
    """Opens pages that may neither complain, nor break the content policy, nor ask any other host."""
    contexts: list[Any] = []
    wrong: list[str] = []

    def begin(path: str, size: tuple[int, int] = DESK, **settings: Any) -> Page:
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, base_url=address, **settings)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda sent: None if sent.url.startswith(address) else wrong.append(sent.url))
        page.goto(path)
        return page

    yield begin
    for context in contexts:
        context.close()
    assert wrong == []


def fits(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{page.url} is wider than the screen"


both = pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])


# ---- main tasks ------------------------------------------------------------------------------------------------------


@both
def test_explore_by_keyboard(opened: Callable[..., Page], size: tuple[int, int]) -> None:
    """Type a title, choose it with the arrows, put a run beside, ask why, leave a title out."""
    page = opened("/explore?run=main", size)
    field = page.get_by_role("combobox", name="Search a person")
    field.press_sequentially("film 1")
    page.get_by_role("option").first.wait_for()
    assert field.get_attribute("aria-expanded") == "true"
    field.press("ArrowDown")
    assert field.get_attribute("aria-activedescendant") == page.get_by_role("option").first.get_attribute("id")
    chosen = page.locator(f"#{field.get_attribute('aria-activedescendant')}")
    assert chosen.get_attribute("aria-selected") == "true"
    field.press("Escape")
    assert field.get_attribute("aria-expanded") == "false"
    field.press("ArrowDown")
    field.press("Enter")
    page.wait_for_url("**add=**")
    page.get_by_role("combobox", name="Beside").select_option("bpr")
    page.get_by_role("heading", name="BPR-MF").wait_for()
    why = page.locator("details.why").first
    why.locator("summary").press("Enter")
    why.get_by_text("Place 1 of").wait_for()
    assert page.locator("ol.list").nth(0).locator("li.item").count() == 10
    fits(page)
    page.get_by_role("link", name="Leave out").first.press("Enter")
    page.get_by_role("heading", name="Begin with titles many know").wait_for()


@both
def test_explore_a_person(opened: Callable[..., Page], size: tuple[int, int]) -> None:
    page = opened("/explore?run=main", size)
    page.get_by_role("combobox", name="Search a person").fill("u12")
    page.get_by_role("option", name="u12", exact=True).click()
    page.get_by_text("Person u12").wait_for()
    assert page.get_by_role("heading", name="History").is_visible()
    page.get_by_role("link", name="Leave out").first.click()
    page.get_by_text("with another history").wait_for()
    fits(page)


@both
def test_compare_runs(opened: Callable[..., Page], size: tuple[int, int]) -> None:
    page = opened("/compare", size)
    assert page.locator("svg.chart:visible").get_by_text("no difference").first.is_visible()
    page.get_by_text("Show numbers").first.click()
    assert page.get_by_role("table", name="The numbers of this figure").first.is_visible()
    page.get_by_role("checkbox", name="bpr").uncheck()
    page.get_by_text("Choose two runs or more").wait_for()
    fits(page)


@both
def test_audit_opens_each_line(opened: Callable[..., Page], size: tuple[int, int]) -> None:
    page = opened("/audit?run=bpr", size)
    line = page.locator("details.opens").first
    assert not line.get_by_text("What would change it").is_visible()
    line.locator("summary").first.press("Enter")
    assert line.get_by_text("What would change it").is_visible()
    assert line.locator("svg.chart:visible").count() >= 1
    line.get_by_text("Show numbers").first.click()
    assert line.get_by_role("table").first.is_visible()
    fits(page)


@both
def test_me_takes_it_back(opened: Callable[..., Page], size: tuple[int, int]) -> None:
    """Stop using an item and undo it; object; make the file and fetch it; delete, after being asked once more."""
    person = "u21" if size == DESK else "u22"
    page = opened(f"/me?person={person}", size)
    page.get_by_role("button", name="stop using").first.click()
    page.get_by_role("button", name="use again").first.wait_for()
    assert page.evaluate("document.activeElement.id") == "used-1", "the focus stays where it was"
    page.get_by_role("button", name="use again").first.click()
    page.get_by_role("button", name="use again").wait_for(state="detached")
    page.get_by_role("button", name="never show this").first.click()
    page.get_by_role("heading", name="Never to be shown").wait_for()
    page.get_by_role("button", name="Make the file").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the file").click(timeout=20_000)
    assert download.value.suggested_filename == "what-is-known-of-me.zip"
    fits(page)
    page.get_by_role("link", name="Delete this person").click()
    assert page.get_by_text("It cannot be undone").is_visible()
    page.get_by_role("button", name="Delete this person").click()
    page.get_by_text("Nothing is held any more").wait_for()
    page.locator("p", has_text="were repaired").first.wait_for(timeout=60_000)
    page.get_by_text("Show the proof").first.click()
    assert page.get_by_role("table", name="vectors removed").first.is_visible()
    fits(page)


@both
def test_plan_from_answers(opened: Callable[..., Page], size: tuple[int, int]) -> None:
    page = opened("/plan", size)
    page.get_by_role("textbox", name="Exercise days").fill("1")
    page.get_by_role("textbox", name="Screen hours").fill("6")
    page.get_by_role("button", name="Make my plan").click()
    page.get_by_role("heading", name="How sure is it?").wait_for(timeout=30_000)
    assert page.get_by_text("chance of", exact=False).first.is_visible()
    assert page.get_by_role("textbox", name="Exercise days").input_value() == "1"
    fits(page)


@both
def test_route_a_wish(opened: Callable[..., Page], size: tuple[int, int]) -> None:
    page = opened("/route", size)
    page.get_by_label("What do you wish for?").fill("must see images, cheap, blorp")
    page.get_by_role("button", name="Find a model").click()
    page.get_by_role("heading", name="seer").wait_for()
    assert page.locator("mark").filter(has_text="images").is_visible()
    assert page.get_by_text("Not understood, and so not counted").is_visible()
    page.get_by_role("link", name="why not? all").click()
    page.get_by_text("Why not all?").wait_for()
    fits(page)


@both
def test_runs_and_where_they_came_from(opened: Callable[..., Page], size: tuple[int, int]) -> None:
    page = opened("/runs", size)
    page.get_by_role("link", name="bpr-less").click()
    assert page.get_by_role("heading", name="What did the remedy change?").is_visible()
    assert page.locator(".tree ul ul").get_by_role("link", name="bpr-less").get_attribute("aria-current") == "true"
    fits(page)
    page.goto("/runs/bpr")
    page.get_by_role("link", name="Read the whole report").click()
    assert page.get_by_role("heading", level=1).inner_text().startswith("BPR")


# ---- around the pages ------------------------------------------------------------------------------------------------


def test_light_and_dark_is_remembered_without_a_flash(opened: Callable[..., Page]) -> None:
    page = opened("/runs", color_scheme="light")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Switch to dark").click()
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark != light
    page.goto("/compare")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == light, "paper is light"


def test_menus_and_the_way_past_the_bar_by_keyboard(opened: Callable[..., Page]) -> None:
    page = opened("/audit?run=bpr", PHONE)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    menu = page.locator("details.words-menu")
    menu.locator("summary").press("Enter")
    assert menu.get_by_role("link", name="Compare").is_visible()
    page.keyboard.press("Escape")
    assert not menu.get_by_role("link", name="Compare").is_visible()
    runs = page.locator("details.menu").first
    runs.locator("summary").click()
    runs.get_by_role("link", name="main").click()
    page.wait_for_url("**run=main")


def test_times_are_written_as_the_reader_writes_them(opened: Callable[..., Page]) -> None:
    page = opened("/runs/bpr", locale="de-DE", timezone_id="Asia/Tokyo")
    time = page.locator("time").first
    assert "UTC" not in time.inner_text()
    assert "." in time.inner_text()
    assert "," in page.locator("td.n").first.inner_text()


def test_everything_works_without_a_script(opened: Callable[..., Page]) -> None:
    page = opened("/explore?run=main", java_script_enabled=False)
    page.get_by_role("combobox", name="Search a person").fill("film 1")
    page.get_by_role("button", name="Search").click()
    page.locator("#found ~ ul a").first.click()
    page.locator("details.why summary").first.click()
    page.locator("details.why .reason a").first.click()
    assert page.get_by_text("Place 1 of").is_visible()
    page.get_by_role("combobox", name="Beside").select_option("bpr")
    page.get_by_role("button", name="Show").click()
    assert page.get_by_role("heading", name="BPR-MF").is_visible()
    page.goto("/compare")
    page.get_by_role("button", name="Compare").click()
    assert page.get_by_role("heading", name="Every test").is_visible()
    page.goto("/me?person=u9")
    page.get_by_role("button", name="stop using").first.click()
    assert page.get_by_text("not used", exact=True).first.is_visible()
    page.get_by_role("button", name="Switch to dark").click()
    assert page.locator("html").get_attribute("data-theme") == "dark"


def test_titles_that_try_to_break_out_stay_text(opened: Callable[..., Page]) -> None:
    page = opened("/explore?add=i2&add=i1&add=i3", PHONE)
    assert page.get_by_text("<script>window.broken=1</script>").first.is_visible()
    assert page.evaluate("window.broken") is None
    title = page.get_by_text("ألف ليلة وليلة").first
    assert title.evaluate("element => getComputedStyle(element).direction") == "rtl"
    fits(page)


# ---- for everybody ---------------------------------------------------------------------------------------------------

STATES: dict[str, tuple[str, str]] = {
    "explore, empty": ("/explore?run=main", ""),
    "explore, options": ("/explore?run=main", "type:film"),
    "explore, a person": ("/explore?person=u3&beside=bpr&add=i2&without=i5", "details.why summary"),
    "explore, found": ("/explore?q=film", ""),
    "compare": ("/compare", "figure summary"),
    "audit": ("/audit?run=bpr", "details.opens summary"),
    "audit, empty": ("/audit?run=main", ""),
    "me": ("/me?person=u3", "details.why summary"),
    "me, unknown": ("/me?person=nobody", ""),
    "me, delete": ("/me/delete?person=u3", ""),
    "plan, filled": ("/plan?row=3", "button.first"),
    "route": ("/route?say=must+see+images,+cheap,+blorp&why_not=coder", ""),
    "route, nothing fits": ("/route?say=must+see+images,+context+of+at+least+900000000+tokens", ""),
    "runs": ("/runs/less", ".fold summary"),
}
_RULES = "{resultTypes: ['violations'], rules: {'region': {enabled: true}}}"


@pytest.mark.parametrize("name", STATES)
def test_nothing_bars_anybody(opened: Callable[..., Page], name: str) -> None:
    """axe finds nothing, in light and in dark, on a desk and on a phone; and nothing is wider than the screen."""
    path, act = STATES[name]
    page = opened(path, DESK, color_scheme="light")
    if act.startswith("type:"):
        page.get_by_role("combobox").first.press_sequentially(act[5:])
        page.get_by_role("option").first.wait_for()
    elif act:
        page.locator(act).first.click()
        page.wait_for_load_state("networkidle")
    if name == "plan, filled":
        page.get_by_role("heading", name="How sure is it?").wait_for(timeout=30_000)
    for size, scheme in ((DESK, "light"), (PHONE, "dark")):
        page.set_viewport_size({"width": size[0], "height": size[1]})
        page.emulate_media(color_scheme=scheme)
        assert violations(page) == []
        fits(page)


def violations(page: Page) -> list[str]:
    """What axe finds, each with the elements it is about."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = json.loads(page.evaluate(f"axe.run(document, {_RULES}).then(told => JSON.stringify(told.violations))"))
    return [f"{one['id']}: {node['html'][:200]} ({node['failureSummary']})" for one in found for node in one["nodes"]]
