from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from rectitude.reporting.card import Card, code, escape, flat, table
from rectitude.reporting.svg import clean


@dataclass(frozen=True)
class Found:
    value: float
    low: float | None = None
    high: float | None = None


def tokens(markdown: str) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(markdown)


def plain(token: Token) -> str:
    """The text of an inline token as a reader sees it; any markup but emphasis fails."""
    assert all(child.type in {"text", "text_special", "strong_open", "strong_close"} for child in token.children or [])
    return "".join(child.content for child in token.children or [])


def cells(markdown: str) -> list[list[str]]:
    rows: list[list[str]] = []
    stream = tokens(markdown)
    for before, token in pairwise(stream):
        if before.type == "tr_open":
            rows.append([])
        if before.type in {"th_open", "td_open"}:
            rows[-1].append(plain(token))
    return rows


def a_card() -> Card:
    return Card(
        title="SASRec on ml-100k",
        summary="A recommender.",
        data={"name": "ml-100k", "terms": "research | only"},
        training={"seconds": 71.25},
        config={"n_factors": {"value": 64, "origin": "default"}, "mask": {"value": True, "origin": "--set"}},
        metrics={"ndcg@10": Found(0.0812, 0.075, 0.0874), "coverage@10": Found(0.612)},
        protocol={"split": {"rule": "leave-one-out", "seed": 0}, "ks": [5, 10]},
        serves=["New people: yes."],
        usage=[("Recommend", "rectitude recommend runs/a --user 1")],
        lineage={"parent": None},
        versions={"numpy": "2.3.4"},
    )


def test_every_fact_can_be_read_back() -> None:
    written = a_card().markdown()
    stream = tokens(written)
    inline = [plain(token) for token in stream if token.type == "inline"]
    for fact in (
        "name: ml-100k",
        "terms: research | only",
        "split rule: leave-one-out",
        "ks: 5, 10",
        "parent: not set",
    ):
        assert fact in inline
    assert ["n_factors", "64", "default"] in cells(written)
    assert ["mask", "yes", "--set"] in cells(written)
    assert ["ndcg@10", "0.0812", "0.0750–0.0874"] in cells(written)
    assert ["coverage@10", "0.612", ""] in cells(written)
    assert [token.content for token in stream if token.type == "fence"] == ["rectitude recommend runs/a --user 1\n"]
    assert [token.tag for token in stream if token.type == "heading_open"] == ["h1"] + ["h2"] * 8


def test_what_is_not_known_is_said() -> None:
    written = Card(title="A", summary="B").markdown()
    for words in (
        "not been judged",
        "Nothing is recorded about the data",
        "No settings are recorded",
        "None are recorded",
    ):
        assert words in written


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_text_reads_back_as_itself(words: str) -> None:
    expected = " ".join(clean(words).split())
    assert cells(table(("a", "b"), [(words, "x")])) == [["a", "b"], [expected, "x"]]
    for token in tokens(escape(words)):
        assert token.type in {"paragraph_open", "inline", "paragraph_close"}
        if token.type == "inline":
            assert plain(token) == expected


@pytest.mark.parametrize(
    "words",
    [
        "<script>alert(1)</script>",
        "[x](http://a)",
        "# no",
        "- no",
        "1. no",
        "a|b",
        "`c`",
        "*d*",
        "&lt;",
        "=",
        "> q",
        "--",
        "- - -",
        "--set",
        "0.1.0",
        "+",
    ],
)
def test_signs_of_markdown_and_html_are_made_plain(words: str) -> None:
    (_, inline, _) = tokens(escape(words))
    assert plain(inline) == words
    assert cells(table(("a",), [(words,)])) == [["a"], [words]]


def test_a_fence_cannot_be_closed_from_inside() -> None:
    (token,) = tokens(code("echo ```\n```\nrm"))
    assert token.content == "echo ```\n```\nrm\n"


def test_nested_facts_become_one_level() -> None:
    assert flat({"a": {"b_c": 1, "d": {"e": False}}, "f": [], "g": 0.5, "h": {}, "i": None, "j": 2e6}) == {
        "a b c": "1",
        "a d e": "no",
        "f": "none",
        "g": "0.5",
        "h": "none",
        "i": "not set",
        "j": "2000000",
    }
