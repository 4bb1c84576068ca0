from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from itertools import pairwise

import pytest

from rectitude.reporting.charts import Axis, Dot, dots_with_intervals
from rectitude.reporting.page import Page, chart, columns, facts, folded, group, listing, noted, prose, table
from rectitude.reporting.tokens import DARK, LIGHT, SCALE, css_variables

HOSTILE = '<script>alert("1")</script><img src=x onerror=alert(1)> & \x00'


@dataclass(frozen=True)
class Found:
    value: float
    low: float | None = None
    high: float | None = None


def parse(page: str) -> ET.Element:
    """The page as a tree: it is written to be well-formed XML as well."""
    assert page.startswith("<!DOCTYPE html>")
    return ET.fromstring(page.removeprefix("<!DOCTYPE html>"))  # noqa: S314


def a_page(words: str = "Plain words") -> str:
    figure = dots_with_intervals(words, words, [Dot(words, 0.5, 0.4, 0.6)], Axis(words), of=words)
    page = Page(words, f"{words}\n\n{words}", footer=words)
    page.section(words, prose(words), facts({words: words, "n": 1234}), chart(figure))
    page.section(words, table(words, (words, "value"), [(words, Found(0.0812, 0.075, 0.0874)), ("b", None)]))
    page.section("Third", columns(listing([words, (words, words)], ordered=True), group(words, prose(words))))
    page.section("Fourth", folded(words, table("t", ("a",), [(noted(words, words),)])))
    return page.html()


def text_of(node: ET.Element) -> str:
    return " ".join("".join(node.itertext()).split())


@pytest.mark.parametrize("words", [HOSTILE, "مرحبا بالعالم", "{{ 7 * 7 }} {% raw %}", "a]]>b -->"])
def test_any_text_comes_out_as_text(words: str) -> None:
    root = parse(a_page(words))
    assert not list(root.iter("script"))
    assert not list(root.iter("img"))
    shown = " ".join(words.replace("\x00", "").split())
    heading = root.find("./body/header/h1")
    assert heading is not None
    assert text_of(heading) == shown
    for tag in ("title", "h2", "h3", "p", "dt", "dd", "li", "caption", "th", "figcaption", "summary"):
        assert any(shown in text_of(node) for node in root.iter(tag)), tag


def test_text_of_any_direction_is_set_by_itself() -> None:
    root = parse(a_page("مرحبا"))
    for tag in ("h1", "h2", "h3", "p", "dd", "li"):
        assert all(node.get("dir") == "auto" for node in root.iter(tag)), tag


def test_nothing_is_asked_of_any_host() -> None:
    page = a_page()
    for url in re.findall(r"""(?:https?:)?//[^\s"'<>]+""", page):
        assert url == "http://www.w3.org/2000/svg"
    assert "url(" not in page
    assert "@import" not in page
    root = parse(page)
    for node in root.iter():
        assert node.get("src") is None
        assert (node.get("href") or "#").startswith("#")
    assert not list(root.iter("link"))
    policy = root.find("./head/meta[@http-equiv='Content-Security-Policy']")
    assert policy is not None
    assert str(policy.get("content")).startswith("default-src 'none'")


def test_headings_are_in_order_and_anchors_lead_to_them() -> None:
    root = parse(a_page())
    levels = [int(node.tag[1]) for node in root.iter() if re.fullmatch(r"h[1-6]", str(node.tag))]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    ids = [node.get("id") for node in root.iter() if node.get("id")]
    assert len(ids) == len(set(ids))
    links = [str(node.get("href"))[1:] for node in root.iter("a")]
    assert set(links) <= set(ids)
    assert links[0] == "content"


def test_landmarks_and_language_are_there() -> None:
    root = parse(a_page())
    assert root.get("lang") == "en"
    body = root.find("body")
    assert body is not None
    assert [child.tag for child in body] == ["a", "header", "main", "footer"]
    nav = root.find(".//nav")
    assert nav is not None
    assert nav.get("aria-label")
    assert all(node.get("aria-labelledby") for node in root.iter("section"))
    viewport = root.find("./head/meta[@name='viewport']")
    assert viewport is not None


def test_tables_have_captions_scopes_and_aligned_numbers() -> None:
    block = table(
        "Accuracy", ("Metric", "SASRec", "n"), [("NDCG", Found(0.0812, 0.075, 0.0874), 5), ("HR", None, 1200)]
    )
    root = ET.fromstring(block)  # noqa: S314
    assert root.findtext(".//caption") == "Accuracy"
    assert [node.get("scope") for node in root.findall(".//thead//th")] == ["col"] * 3
    assert [node.get("scope") for node in root.findall(".//tbody//th")] == ["row"] * 2
    assert [node.get("class") for node in root.findall(".//thead//th")] == [None, "n", "n"]
    cells = [text_of(node) for node in root.findall(".//tbody//td")]
    assert cells == ["0.0812 (0.0750–0.0874)", "5", "–", "1,200"]


def test_decimals_are_shared_down_a_column_or_across_a_row() -> None:
    rows = [("a", 0.0812, 0.5), ("b", 9.5, 0.25)]
    down = ET.fromstring(table("t", ("", "x", "y"), rows))  # noqa: S314
    assert [text_of(node) for node in down.findall(".//td")] == ["0.08", "0.500", "9.50", "0.250"]
    across = ET.fromstring(table("t", ("", "x", "y"), rows, by_row=True))  # noqa: S314
    assert [text_of(node) for node in across.findall(".//td")] == ["0.081", "0.500", "9.50", "0.25"]


def test_a_chart_carries_both_drawings_and_its_numbers() -> None:
    figure = dots_with_intervals(
        "The finding", "What is drawn.", [Dot("SASRec", 0.0712, 0.061, 0.082)], Axis("NDCG@10")
    )
    root = ET.fromstring(chart(figure))  # noqa: S314
    assert root.tag == "figure"
    assert [node.get("class") for node in root.iter("{http://www.w3.org/2000/svg}svg")] == [
        "chart wide",
        "chart narrow",
    ]
    caption = root.find("figcaption")
    assert caption is not None
    assert text_of(caption) == "The findingWhat is drawn."
    assert [text_of(node) for node in root.findall(".//tbody/tr/*")] == ["SASRec", "0.0712", "0.0610", "0.0820"]
    assert root.findtext(".//summary") == "Show numbers"


def test_plain_text_and_ragged_rows_are_refused() -> None:
    with pytest.raises(TypeError, match="not str"):
        Page("t", "l").section("h", "<b>plain</b>")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="has 1 cells under 2 heads"):
        table("t", ("a", "b"), [("only",)])


def luminance(colour: str) -> float:
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("name", sorted(set(LIGHT) - {"paper", "card", "line"}))
def test_everything_read_stands_out_from_paper_and_card(theme: dict[str, str], name: str) -> None:
    """Source: WCAG 2.2, success criterion 1.4.3: contrast of at least 4.5."""
    assert contrast(theme[name], theme["paper"]) >= 4.5
    assert contrast(theme[name], theme["card"]) >= 4.5


def test_contrast_agrees_with_the_definition_at_its_ends() -> None:
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21)
    assert contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.01)


def test_both_themes_define_the_same_tokens_and_every_token_used_is_defined() -> None:
    assert LIGHT.keys() == DARK.keys()
    assert "prefers-color-scheme:dark" in css_variables()
    used = set(re.findall(r"var\(--([a-z0-9-]+)\)", a_page()))
    assert used - {"series"} <= LIGHT.keys() | SCALE.keys()
