"""Pages in a real browser: each page's main task on a desk and a phone, by keyboard, and without a script."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from page_sizes import DESK, PHONE, fits

if TYPE_CHECKING:
    from playwright.sync_api import Page

both = pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])


def story(page: Page) -> None:
    """Open the history, which is folded on a phone."""
    if not page.locator(".past").first.is_visible():
        page.locator(".story > summary").press("Enter")


# ---- main tasks ------------------------------------------------------------------------------------------------------


@both
def test_explore_by_keyboard(opened: Callable[..., Page], size: tuple[int, int]) -> None:
    """Type a title, choose it with the arrows, put a run beside, ask why, leave a title out."""
    page = opened("/explore?run=main", size)
    field = page.get_by_role("combobox", name="Search a person")
    field.press_sequentially("film 1")
    page.get_by_role("option").first.wait_for()
    page.locator("[role=combobox][aria-expanded=true]").wait_for()
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
    story(page)
    page.get_by_role("link", name="Leave out").first.press("Enter")
    page.get_by_role("heading", name="Begin with titles many know").wait_for()


@both
def test_explore_a_person(opened: Callable[..., Page], size: tuple[int, int]) -> None:
    page = opened("/explore?run=main", size)
    page.get_by_role("combobox", name="Search a person").fill("u12")
    page.get_by_role("option", name="u12", exact=True).click()
    page.get_by_text("Person u12").wait_for()
    assert page.get_by_role("heading", name="History").is_visible()
    story(page)
    page.get_by_role("link", name="Leave out").first.click()
    page.get_by_text("with another history").wait_for()
    fits(page)


@both
def test_explore_objects_for_a_person(opened: Callable[..., Page], size: tuple[int, int]) -> None:
    """What is objected to is gone from the list and can be allowed again; of made-up histories it is left out."""
    person = "u13" if size == DESK else "u14"
    page = opened(f"/explore?run=main&person={person}", size)
    title = page.locator("ol.list .title").first.inner_text()
    page.get_by_role("button", name=f"never show this {title}", exact=True).click()
    page.get_by_role("heading", name="Never to be shown").wait_for()
    assert page.locator("ol.list .title").first.inner_text() != title
    page.get_by_role("button", name=f"allow again {title}", exact=True).click()
    page.get_by_role("heading", name="Never to be shown").wait_for(state="detached")
    assert page.locator("ol.list .title").first.inner_text() == title
    page.goto("/explore?run=main&add=i5")
    title = page.locator("ol.list .title").first.inner_text()
    page.get_by_role("link", name=f"not this one {title}", exact=True).click()
    page.get_by_role("link", name=f"put back {title}", exact=True).wait_for()
    assert title not in page.locator("ol.list .title").all_inner_texts()
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
def test_audit_tries_a_remedy(opened: Callable[..., Page], size: tuple[int, int]) -> None:
    """Asked once more, made beside the old run, looked at, put into service, and taken back."""
    page = opened("/audit?run=bpr", size)
    page.locator("details.opens", has_text="Gender can be guessed").first.locator("summary").first.click()
    page.get_by_role("link", name="Try the remedy for gender").click()
    assert page.get_by_text("Nothing changes for anybody yet").is_visible()
    fits(page)
    page.get_by_role("button", name="Make the run").click()
    page.get_by_text("was made from bpr").first.wait_for(timeout=60_000)
    page.get_by_text("Show the proof").first.click()
    assert page.get_by_role("table", name="attribute unlearning").first.is_visible()
    fits(page)
    page.get_by_role("button", name="Put bpr-without-gender into service").first.click()
    page.get_by_text("bpr-without-gender is in service in its place").first.wait_for()
    page.goto("/audit?run=bpr")
    page.get_by_role("button", name="Put bpr back").first.click()
    page.get_by_role("button", name="Put bpr-without-gender into service").first.wait_for()


@both
def test_me_shares_less_by_keyboard(opened: Callable[..., Page], size: tuple[int, int]) -> None:
    page = opened("/me?person=u19&run=main", size)
    slider = page.get_by_role("slider", name="The newest part of their history")
    slider.focus()
    for _ in range(10):
        slider.press("ArrowLeft")
    assert page.get_by_text("would be used, the newest").is_visible()
    page.get_by_text("the older ones are kept").wait_for()
    assert slider.input_value() == "50"
    assert slider.get_attribute("aria-valuetext") == "50 %"
    assert page.evaluate("document.activeElement.id") == "share", "the focus stays where it was"
    assert page.get_by_text("not shared", exact=True).count() > 0
    slider.press("Home")
    page.get_by_text("somebody who has just arrived").wait_for()
    slider.press("End")
    page.get_by_text("are used.").wait_for()
    assert page.get_by_text("not shared", exact=True).count() == 0
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


def test_what_takes_long_says_what_is_done(opened: Callable[..., Page]) -> None:
    page = opened("/runs", DESK)
    page.evaluate("addEventListener('click', (event) => event.preventDefault())")  # the next page never comes
    page.get_by_role("link", name="Compare").click()
    page.get_by_role("status").get_by_text("Comparing the runs, person by person").wait_for()
    page.locator("main .loading .n", has_text="1 s").wait_for()
    assert page.locator("main .bones").first.is_visible()
    assert page.locator("main").get_attribute("aria-busy") == "true"
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow'))")  # as when the reader comes back to it
    assert page.locator("main .loading").count() == 0
    assert page.locator("main").get_attribute("aria-busy") is None


def test_a_part_that_cannot_be_fetched_says_so_and_can_be_tried_again(opened: Callable[..., Page]) -> None:
    page = opened("/explore?run=main&person=u3", DESK, complaining=True)
    page.route("**/explore/why*", lambda route: route.abort())
    page.locator("details.why summary").nth(0).click()
    page.get_by_text("The service cannot be reached").wait_for()
    page.unroute("**/explore/why*")
    page.route("**/explore/why*", lambda route: route.continue_(url=route.request.url.replace("item=", "item=no")))
    page.locator("details.why summary").nth(1).click()
    page.get_by_role("alert").get_by_text("does not know the item").wait_for()
    page.unroute("**/explore/why*")
    page.locator("details.why summary").nth(2).click()
    page.locator("details.why").nth(2).get_by_text("Place 3 of").wait_for()
    assert page.locator("#trouble").inner_html() == ""


def test_on_a_phone_what_was_makes_way_for_what_is_answered(opened: Callable[..., Page]) -> None:
    desk, phone = opened("/explore?person=u3", DESK), opened("/explore?person=u3", PHONE)
    assert desk.locator(".past").first.is_visible()
    assert not phone.locator(".past").first.is_visible()
    assert phone.locator("ol.list .title").first.bounding_box()["y"] < 844  # type: ignore[index]
    phone.get_by_role("heading", name="History").click()
    assert phone.locator(".past").first.is_visible()


def test_nothing_moves_for_who_wants_it_still(opened: Callable[..., Page]) -> None:
    for motion, names in (("no-preference", "breathe"), ("reduce", "none")):
        page = opened("/explore?person=u3", DESK, reduced_motion=motion)
        shown = "getComputedStyle(document.querySelector('.bones i')).animationName"
        assert page.evaluate(shown) == names


def test_titles_that_try_to_break_out_stay_text(opened: Callable[..., Page]) -> None:
    page = opened("/explore?add=i2&add=i1&add=i3", PHONE)
    story(page)
    assert page.get_by_text("<script>window.broken=1</script>").first.is_visible()
    assert page.evaluate("window.broken") is None
    title = page.get_by_text("ألف ليلة وليلة").first
    assert title.evaluate("element => getComputedStyle(element).direction") == "rtl"
    fits(page)
