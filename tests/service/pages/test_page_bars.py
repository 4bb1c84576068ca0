"""Nothing bars anybody: axe, keyboard, touch, on every page in every state, light and dark, on a desk and a phone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from page_sizes import DESK, PHONE, fits

from rectitude.service.config import ServiceConfig
from rectitude.service.launch import Launch

if TYPE_CHECKING:
    from playwright.sync_api import Page

axe_package = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
AXE = next(Path(axe_package.__file__).parent.rglob("axe.min.js")).read_text(encoding="utf-8")
"""Run by us rather than by its package, so that the content policy stays in force."""

STATES: dict[str, tuple[str, str]] = {
    "explore, empty": ("/explore?run=main", ""),
    "explore, options": ("/explore?run=main", "type:film"),
    "explore, a person": ("/explore?person=u3&beside=bpr&add=i2&without=i5", "details.why summary"),
    "explore, titles": ("/explore?add=i1&add=i2&add=i3", ""),
    "explore, found": ("/explore?q=film", ""),
    "explore, nothing found": ("/explore?q=nothing-of-the-kind", ""),
    "compare": ("/compare", "figure summary"),
    "compare, one chosen": ("/compare?run=main", ""),
    "audit": ("/audit?run=bpr", "details.opens summary"),
    "audit, empty": ("/audit?run=main", ""),
    "audit, a remedy": ("/audit/remedy?run=bpr&remedy=unlearn&attribute=gender", ""),
    "me, nobody named": ("/me", ""),
    "me": ("/me?person=u3", "details.why summary"),
    "me, why alone": ("/me/why?person=u3&item=i5", ""),
    "me, unknown": ("/me?person=nobody", ""),
    "me, delete": ("/me/delete?person=u3", ""),
    "plan": ("/plan", ""),
    "plan, a wrong answer": ("/plan?row=3", "wrong:Exercise days"),
    "plan, filled": ("/plan?row=3", "button.first"),
    "route": ("/route", ""),
    "route, a wish": ("/route?say=must+see+images,+cheap,+blorp&why_not=coder", ""),
    "route, a wrong number": ("/route?say=cheap&tokens_in=lots", ""),
    "route, nothing fits": ("/route?say=must+see+images,+context+of+at+least+900000000+tokens", ""),
    "runs": ("/runs/less", ".fold summary"),
    "no such page": ("/no-such-page", ""),
    "a wrong address": ("/compare?fold=other", ""),
}
SERVED_NOTHING: dict[str, tuple[str, str]] = {
    name: (f"/{name}", "") for name in ("explore", "compare", "audit", "me", "plan", "route", "runs")
}
WITH_KEYS = {
    "sign in": ("/sign-in", ""),
    "sign in, refused": ("/sign-in", "key:rk_none_such"),
    "a person's own page": ("/sign-in?back=/me", "key:person"),
    "not for them": ("/sign-in?back=/compare", "key:person"),
    "a fault of ours": ("/sign-in?back=/runs", "key:admin"),
}
_SAID = {
    "sign in, refused": "does not open anything",
    "a person's own page": "What can be guessed",
    "not for them": "This is not for you to see",
    "a fault of ours": "Something went wrong on our side",
}
_RULES = "{resultTypes: ['violations'], rules: {'region': {enabled: true}}}"


@pytest.mark.parametrize("name", STATES)
def test_nothing_bars_anybody(opened: Callable[..., Page], name: str) -> None:
    path, act = STATES[name]
    page = opened(path, DESK)
    if act.startswith("type:"):
        page.get_by_role("combobox").first.press_sequentially(act[5:])
        page.get_by_role("option").first.wait_for()
    elif act.startswith("wrong:"):
        page.get_by_role("textbox", name=act[6:]).fill("many")
        page.get_by_role("button", name="Make my plan").click()
        page.get_by_text("Write a number").wait_for()
    elif act:
        page.locator(act).first.click()
        page.wait_for_load_state("networkidle")
    if name == "plan, filled":
        page.get_by_role("heading", name="How sure is it?").wait_for(timeout=30_000)
    bars_nobody(page)


def test_what_was_asked_for_bars_nobody(opened: Callable[..., Page]) -> None:
    """A file that is ready, a history shared in part, a deletion with its proof; a remedy that is done."""
    page = opened("/me?person=u25&run=main", DESK)
    page.get_by_role("button", name="Make the file").click()
    page.get_by_role("link", name="Download the file").wait_for(timeout=20_000)
    page.get_by_role("slider").press("PageDown")
    page.get_by_text("kept, but nothing is concluded").wait_for()
    bars_nobody(page)
    page.goto("/audit/remedy?run=bpr&remedy=unlearn&attribute=gender")
    page.get_by_role("button", name="Make the run").click()
    page.get_by_role("button", name="into service").first.wait_for(timeout=60_000)
    page.get_by_text("Show the proof").first.click()
    bars_nobody(page)
    page.goto("/me/delete?person=u25")
    page.get_by_role("button", name="Delete this person").click()
    page.locator("p", has_text="were repaired").first.wait_for(timeout=60_000)
    page.get_by_text("Show the proof").first.click()
    bars_nobody(page)


@pytest.fixture(scope="module")
def bare(answer: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service that serves nothing."""
    folder = tmp_path_factory.mktemp("bare")
    config = ServiceConfig(store=f"sqlite:///{folder}/store.db", folder=folder / "data", run_jobs=False)
    with answer(Launch(config=config, slots={}).open()) as address:
        yield address


@pytest.mark.parametrize("name", SERVED_NOTHING)
def test_what_is_empty_bars_nobody(opened: Callable[..., Page], bare: str, name: str) -> None:
    page = opened(SERVED_NOTHING[name][0], DESK, base=bare)
    assert page.locator(".empty").count() == 1
    assert page.locator(".empty code").inner_text().startswith("rectitude serve")
    bars_nobody(page)


@pytest.fixture(scope="module")
def locked(
    site: Any, answer: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, dict[str, str]]]:
    """A service with keys, whose Runs are broken; and the keys by role."""
    service = site.launch(tmp_path_factory.mktemp("locked"))
    keys = {
        "person": service.store.keys.make("one", "person", "u5")[1],
        "admin": service.store.keys.make("me", "admin")[1],
    }

    def broken() -> None:
        raise RuntimeError("on purpose")

    service.store.served = broken
    with answer(service) as address:
        yield address, keys


@pytest.mark.parametrize("name", WITH_KEYS)
def test_keys_and_faults_bar_nobody(opened: Callable[..., Page], locked: tuple[str, dict[str, str]], name: str) -> None:
    address, keys = locked
    path, act = WITH_KEYS[name]
    page = opened(path, DESK, base=address)
    assert page.evaluate("document.activeElement.id") == "key"
    if act:
        page.get_by_label("Key").fill(keys.get(act[4:], act[4:]))
        page.get_by_role("button", name="Sign in").press("Enter")
        page.get_by_text(_SAID[name]).first.wait_for()
    bars_nobody(page)


def bars_nobody(page: Page) -> None:
    """axe finds nothing, in light and in dark, on a desk and on a phone; and nothing is wider than the screen."""
    for size in (DESK, PHONE):
        page.set_viewport_size({"width": size[0], "height": size[1]})
        fits(page)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert violations(page) == [], f"{size[0]} px, {scheme}"


def violations(page: Page) -> list[str]:
    """What axe finds, each with the elements it is about."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    found = json.loads(page.evaluate(f"axe.run(document, {_RULES}).then(told => JSON.stringify(told.violations))"))
    return [f"{one['id']}: {node['html'][:200]} ({node['failureSummary']})" for one in found for node in one["nodes"]]


# ---- keyboard and touch ----------------------------------------------------------------------------------------------

PAGES = ("/explore?person=u3&beside=bpr", "/compare", "/audit?run=bpr", "/me?person=u3", "/plan", "/runs/less",
         "/route?say=must+see+images,+cheap", "/audit/remedy?run=bpr&remedy=unlearn&attribute=gender")  # fmt: skip
_REACHABLE = """[...document.querySelectorAll(
  'a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex="0"]')]
  .filter(e => e.checkVisibility({visibilityProperty: true}) && !e.disabled)"""


@pytest.mark.parametrize("path", PAGES)
def test_all_is_reached_by_the_tab_key_and_shows_that_it_is(opened: Callable[..., Page], path: str) -> None:
    page = opened(path, DESK)
    wanted = page.evaluate(f"(window.all = {_REACHABLE}).length")
    reached = set()
    for _ in range(wanted):
        page.keyboard.press("Tab")
        place, outlined = page.evaluate(
            "[all.indexOf(document.activeElement), getComputedStyle(document.activeElement).outlineStyle !== 'none']"
        )
        assert outlined, page.evaluate("document.activeElement.outerHTML")
        reached.add(place)
    missed = set(range(wanted)) - reached
    assert not missed, [page.evaluate("n => all[n].outerHTML", n) for n in missed]


@pytest.mark.parametrize("path", PAGES)
def test_what_is_touched_is_large_enough(opened: Callable[..., Page], path: str) -> None:
    """At least 40 px high, but for links in running text and in tables."""
    page = opened(path, PHONE, has_touch=True, is_mobile=True)
    small = page.evaluate(
        f"""{_REACHABLE}
        .filter(e => !e.matches('.skip, .scroll, pre') && !(e.matches('a:not(.button)') && e.closest('p, li, td')))
        .map(e => [e.closest('label') || e, e]).filter(([box]) => box.getBoundingClientRect().height < 39.5)
        .map(([box, e]) => `${{box.getBoundingClientRect().height}}: ${{e.outerHTML.slice(0, 160)}}`)"""
    )
    assert small == []
