from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from markdown_it import MarkdownIt

from rectitude.audit.card import recommender_card
from rectitude.audit.findings import accuracy_finding, activity_finding, headline, popularity_finding, verdict
from rectitude.audit.report import Example, ReportInput, Shown, recommender_report
from rectitude.audit.slices import PopularityGroup
from rectitude.evaluation.intervals import Interval
from rectitude.fairness.metrics import GroupMean

HOSTILE = "<script>alert(1)</script>"
ARABIC = "مرحبا بالعالم (1999)"


def summary(hit: float, reach: float = 0.01) -> dict[str, Interval]:
    return {
        "hr@10": Interval(hit, hit - reach, hit + reach),
        "ndcg@10": Interval(hit / 2, hit / 2 - reach, hit / 2 + reach),
        "hr@20": Interval(hit * 1.5, hit * 1.5 - reach, hit * 1.5 + reach),
        "coverage@10": Interval(0.612),
    }


def a_run(**changes: Any) -> ReportInput:
    run = ReportInput(
        name="runs/sasrec",
        model="sasrec",
        model_title="SASRec",
        paper="Kang and McAuley, ICDM 2018, arXiv 1808.09781",
        reads=("history",),
        serves_new_users=True,
        serves_new_items=False,
        dataset={"name": "MovieLens-100K", "origin": "recbole 1.2.1", "terms": "research only", "users": 943},
        config={
            "n_factors": {"value": 64, "origin": "default"},
            "dropout": {"value": 0.3, "origin": "--set"},
            "loss": {"value": {}, "origin": "default"},
        },
        protocol={"data": "4be29a3d", "split": {"rule": "leave-one-out", "seed": 0}, "k": [5, 10]},
        summary=summary(0.134),
        item_noun="film",
        baselines={"Popularity": summary(0.079), "EASE": summary(0.1)},
        curve=[
            {"epoch": 1, "loss": 7.5, "valid_metric": 0.05, "seconds": 1.0},
            {"epoch": 2, "loss": 6.5, "valid_metric": 0.0912, "seconds": 2.0},
            {"epoch": 3, "loss": 6.1, "valid_metric": None, "seconds": 3.0},
        ],
        activity={
            name: [
                GroupMean("5 to 12", 400, value, value - 0.005, value + 0.005),
                GroupMean("13 to 99", 543, 0.09, 0.085, 0.095),
            ]
            for name, value in (("SASRec", 0.05), ("Popularity", 0.03))
        },
        popularity=[
            PopularityGroup("most popular 1 %", 17, 0.34, 0.11),
            PopularityGroup("least popular 99 %", 1665, 0.66, 0.89),
        ],
        examples=[
            Example(
                "196",
                ("Heat (1995)", ARABIC),
                [Shown(2, "Aliens (1986)", held_out=True), Shown(1, HOSTILE)],
                ("Aliens (1986)",),
            ),
            Example("22", (), [Shown(1, "Fargo (1996)")], ("Up (2009)",)),
        ],
        fallback_share=0.02,
        training={"seconds": 71.3, "epochs": 3, "parameters": 178432, "targets_per_second": 81234.0},
        notes=["Ratings were read as implicit feedback."],
        lineage={"parent": None, "command": "rectitude fit ml-100k --model sasrec"},
        versions={"rectitude": "0.1.0", "numpy": "2.3.4"},
    )
    return replace(run, **changes)


def parse(page: str) -> ET.Element:
    return ET.fromstring(page.removeprefix("<!DOCTYPE html>"))  # noqa: S314


def text_of(node: ET.Element | None) -> str:
    assert node is not None
    return " ".join("".join(node.itertext()).split())


def test_the_report_begins_with_the_verdict() -> None:
    root = parse(recommender_report(a_run()))
    assert text_of(root.find("./body/header/h1")) == "SASRec on MovieLens-100K"
    assert text_of(root.find("./body/header/div")) == (
        "For 13 of 100 people, the next film was among the ten shown; "
        "showing everyone what is popular would manage 8. "
        "SASRec does better than EASE (10 of 100), the best of the 2 models beside it, "
        "by a margin that chance does not explain."
    )


@pytest.mark.parametrize(
    ("own", "others", "said"),
    [
        (0.134, {"Popularity": 0.2}, "does worse than Popularity (20 of 100) by a margin"),
        (0.134, {"EASE": 0.14}, "do not settle which is better"),
        (0.134, {}, "No other model was judged beside it"),
        (0.0042, {"Popularity": 0.0011}, "For 4 of 1,000 people"),
        (
            0.134,
            {"Popularity": 0.131},
            "the next film was among the ten shown; showing everyone what is popular would manage 131.",
        ),
        (0.0, {}, "For 0 of 1,000 people"),
    ],
)
def test_the_verdict_says_what_the_numbers_support(own: float, others: dict[str, float], said: str) -> None:
    run = a_run(summary=summary(own), baselines={name: summary(value) for name, value in others.items()})
    assert said in verdict(run)
    assert len(re.findall(r"\.(?: |$)", verdict(run))) == 2


def test_the_verdict_of_several_targets_and_of_other_lengths() -> None:
    run = a_run(single_target=False, summary={"hr@20": Interval(0.4, 0.39, 0.41)}, baselines={})
    assert verdict(run).startswith("For 40 of 100 people, at least one film they chose was among the twenty shown.")


def test_without_intervals_nothing_is_called_certain() -> None:
    run = a_run(summary={"hr@10": Interval(0.9)}, baselines={"EASE": {"hr@10": Interval(0.1)}})
    assert "do not settle" in verdict(run)


def test_findings_follow_the_intervals() -> None:
    few, many = GroupMean("1 to 5", 9, 0.05, 0.04, 0.06), GroupMean("6 to 9", 9, 0.09, 0.08, 0.1)
    assert activity_finding("ndcg@10", [few, many]).startswith(
        "Served worse: people with the shortest histories (1 to 5)"
    )
    assert activity_finding("ndcg@10", [replace(few, value=0.2, low=0.19, high=0.21), many]).startswith("Served better")
    assert activity_finding("ndcg@10", [replace(few, high=0.085), many]).startswith("No clear difference")
    assert activity_finding("ndcg@10", [few]).startswith("All people judged")
    assert "take 34\N{NO-BREAK SPACE}% of what is recommended" in popularity_finding(a_run().popularity)
    one, other = Interval(0.07, 0.06, 0.08), Interval(0.05, 0.04, 0.055)
    assert accuracy_finding("A", "ndcg@10", one, {"B": other}).startswith("A ranks best")
    assert accuracy_finding("A", "ndcg@10", other, {"B": one}).startswith("B ranks best")
    assert "not clearly" in accuracy_finding("A", "ndcg@10", one, {"B": replace(other, high=0.065)})


def test_headline_prefers_ten_then_the_longest() -> None:
    assert headline({"hr@5": Interval(0), "hr@10": Interval(0), "hr@20": Interval(0)}, "hr") == "hr@10"
    assert headline({"hr@5": Interval(0), "hr@20": Interval(0), "ndcg@50": Interval(0)}, "hr") == "hr@20"
    assert headline({"ndcg@10": Interval(0)}, "hr") is None


def test_the_accuracy_table_holds_every_metric_and_model() -> None:
    root = parse(recommender_report(a_run()))
    tables = {text_of(table.find("caption")): table for table in root.iter("table")}
    main = tables["Lists of 10, with 95 % intervals"]
    assert [text_of(node) for node in main.findall("./thead/tr/th")] == ["Measure", "SASRec", "Popularity", "EASE"]
    rows = [[text_of(cell) for cell in row] for row in main.findall("./tbody/tr")]
    assert rows[0] == [
        "Found something they choseHR@10",
        "0.134 (0.124–0.144)",
        "0.079 (0.069–0.089)",
        "0.100 (0.090–0.110)",
    ]
    assert rows[2] == ["Share of the catalogue shownCoverage@10", "0.612", "0.612", "0.612"]
    others = tables["Other lengths, with 95 % intervals"]
    assert [text_of(node) for node in others.findall("./tbody/tr/th")] == ["Found something they choseHR@20"]


def test_the_report_carries_every_part() -> None:
    root = parse(recommender_report(a_run()))
    whole = text_of(root.find("body"))
    for words in (
        "Best after epoch 2: NDCG@10 0.0912 on the validation fold",
        "The training loss went from 7.50 to 6.10",
        "Served worse: people with the shortest histories (5 to 12), NDCG@10 0.0500 against 0.0900",
        "The most popular 1 % of items take 34 % of what is recommended and 11 % of what people chose",
        "leave-one-out",
        "research only",
        "178,432",
        "2 % of the people judged were answered by popularity",
        "Ratings were read as implicit feedback.",
        "arXiv 1808.09781",
    ):
        assert words in whole, words
    assert len(list(root.iter("figure"))) == 5
    levels = [int(node.tag[1]) for node in root.iter() if re.fullmatch(r"h[1-6]", str(node.tag))]
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_examples_show_titles_in_rank_order_and_mark_the_hit() -> None:
    root = parse(recommender_report(a_run()))
    assert not list(root.iter("script"))
    groups = {text_of(node.find("h3")): node for node in root.iter("div") if node.get("class") == "group"}
    lists = groups["Person 196"].findall(".//li")
    assert [text_of(entry) for entry in lists] == ["Heat (1995)", ARABIC, HOSTILE, "Aliens (1986) chosen next"]
    assert all(entry.get("dir") == "auto" for entry in lists)
    assert "Went on to choose: Up (2009). Not shown." in text_of(groups["Person 22"])
    assert "No history is known." in text_of(groups["Person 22"])
    assert "for 1 of these 2" in text_of(root.find("body"))


def test_the_report_asks_nothing_of_any_host() -> None:
    page = recommender_report(a_run())
    assert set(re.findall(r"""(?:https?:)?//[^\s"'<>]+""", page)) == {"http://www.w3.org/2000/svg"}


def test_a_bare_run_is_reported_without_a_single_number() -> None:
    bare = a_run(
        summary={},
        baselines={},
        curve=(),
        activity={},
        popularity=(),
        examples=(),
        training={},
        notes=(),
        protocol={},
        config={},
        versions={},
        fallback_share=0.0,
    )
    whole = text_of(parse(recommender_report(bare)).find("body"))
    for words in (
        "has not been judged",
        "was not computed",
        "No examples",
        "no learning curve",
        "No protocol is recorded",
    ):
        assert words in whole, words
    assert "It has not been judged yet." in recommender_card(bare)


@pytest.mark.parametrize("value", [None, float("nan")])
def test_a_curve_without_a_measured_metric_still_shows_the_loss(value: float | None) -> None:
    curve = [{"epoch": 1, "loss": 2.0, "valid_metric": value, "seconds": 1.0}]
    page = recommender_report(a_run(curve=curve))
    assert "The training loss went from" in page
    assert "Best after epoch" not in page


def test_the_card_tells_what_happened() -> None:
    card = recommender_card(a_run(name="my runs/sasrec"))
    commands = [token.content.strip() for token in MarkdownIt().parse(card) if token.type == "fence"]
    assert "rectitude recommend 'my runs/sasrec' --user ID" in commands
    assert "rectitude evaluate 'my runs/sasrec' --fold test" in commands
    for words in (
        "For 13 of 100 people",
        "**terms**: research only",
        "**split rule**: leave-one-out",
        "| dropout | 0.3 | --set |",
        "| hr@10 | 0.134 | 0.124–0.144 |",
        "ndcg@10 for the 400 people with 5 to 12 in their history: 0.0500 (0.0450–0.0550).",
        "Popularity, not the model, answered for 2",
        "**parent**: not set",
        "**numpy**: 2.3.4",
    ):
        assert words in card, words
