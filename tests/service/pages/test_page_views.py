"""What pages are made from, without a browser: words, orders, states."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rectitude.audit.checks.finding import Finding
from rectitude.evaluation.intervals import Interval
from rectitude.evaluation.significance import Comparison, Difference
from rectitude.fairness.metrics import GroupMean
from rectitude.service.pages.assets import assets
from rectitude.service.pages.auditing import checks_of, judged
from rectitude.service.pages.comparing import choices, label, verdict
from rectitude.service.pages.environment import environment, filled, link, plural, sentence, when
from rectitude.service.pages.explore import View
from rectitude.service.pages.holding import asked, certainty_words, guesses, step_words
from rectitude.service.pages.items import places, why_view
from rectitude.service.pages.plan import prescriber, questions, read_answers
from rectitude.service.pages.readings import RunReading, lineage
from rectitude.service.pages.route import Piece, pieces
from rectitude.service.serving.catalogue import Catalogue
from rectitude.service.store import Request, Step
from rectitude.training.run import Recommended


@pytest.fixture(scope="session")
def read(site: Any) -> dict[str, RunReading]:
    return {slot: RunReading.read(slot, Path(path)) for slot, path in site.slots.items()}


def finding(
    check: str, value: float, low: float | None, high: float | None, floor: float | None, **more: Any
) -> Finding:
    groups = more.pop("groups", (GroupMean("F", 40, value, low, high), GroupMean("M", 60, 2 * value, low, high)))
    told = {"attribute": "gender", "metric": "NDCG@10", "floor_name": "chance", "title": "T", "verdict": "V", **more}
    return Finding(check=check, groups=groups, value=value, low=low, high=high, floor=floor, **told)


# ---- words -----------------------------------------------------------------------------------------------------------


def test_an_address_leaves_out_what_is_empty_and_repeats_lists() -> None:
    assert link("/x", a="", b=None, c=["1", "&"], d="é") == "/x?c=1&c=%26&d=%C3%A9"
    assert link("/x") == "/x"


def test_times_are_written_for_machines_and_for_readers_without_a_script() -> None:
    assert when(0.0) == '<time datetime="1970-01-01T00:00:00+00:00">1 January 1970, 00:00 UTC</time>'
    assert when("2026-02-03T04:05:06+01:00", "day").endswith('data-style="day">3 February 2026</time>')


@pytest.mark.parametrize(("value", "said"), [(1, "film"), (0, "films"), (2000, "films")])
def test_one_is_not_many(value: int, said: str) -> None:
    assert plural(value, "film").endswith(f"{value:,}</data> {said}")


def test_a_sentence_ends_once_and_is_escaped() -> None:
    assert sentence("nothing <b>is</b> left") == "Nothing &lt;b&gt;is&lt;/b&gt; left."
    assert sentence("Which one?") == "Which one?"


@pytest.mark.parametrize(("share", "blocks"), [(-1, 0), (0, 0), (0.09, 0), (0.1, 1), (0.5, 3), (1, 5), (2, 5)])
def test_blocks_stand_for_a_share(share: float, blocks: int) -> None:
    assert filled(share) == blocks


def test_every_template_can_be_read() -> None:
    names = environment().list_templates()
    assert {"base.html", "explore.html", "compare.html", "audit.html", "me.html", "plan.html", "route.html"} < set(
        names
    )
    for name in names:
        source = environment().loader.get_source(environment(), name)[0]  # type: ignore[union-attr]
        assert environment().get_template(name)
        assert "style=" not in source, "the content policy allows no inline style"
        assert "|safe" not in source
        assert "http://" not in source.replace("http://www.w3.org/2000/svg", "")


def test_files_are_named_by_their_content_and_hold_both_schemes() -> None:
    found = assets()
    assert all(asset.address.endswith(name) for name, asset in found.items())
    css = found["page.css"].content.decode()
    assert "data-theme=dark" in css
    assert "prefers-color-scheme:dark" in css
    assert "url(" not in css
    assert b"htmx" in found["htmx.js"].content


# ---- runs ------------------------------------------------------------------------------------------------------------


def test_runs_stand_under_the_run_they_were_made_from(read: dict[str, RunReading]) -> None:
    roots = lineage(read.values())
    assert {root.name for root in roots} == {"ease", "bpr"}
    (parent,) = [root for root in roots if root.name == "bpr"]
    assert [(child.name, child.made_by) for child in parent.children] == [("bpr-less", "unlearn attribute gender")]


def test_a_parent_that_is_not_served_is_named(read: dict[str, RunReading]) -> None:
    (root,) = lineage([read["less"]])
    assert (root.name, root.reading, len(root.children)) == ("bpr", None, 1)


def test_runs_that_name_each_other_are_all_shown(read: dict[str, RunReading]) -> None:
    one = replace(read["bpr"], slot="one", path=Path("one"), lineage={"parent": "two"})
    two = replace(read["bpr"], slot="two", path=Path("two"), lineage={"parent": "one"})
    seen: list[str] = []

    def walk(nodes: Any) -> None:
        for node in nodes:
            seen.append(node.name)
            assert len(seen) < 10, "the tree has no end"
            walk(node.children)

    walk(lineage([one, two]))
    assert sorted(seen) == ["one", "two"]


# ---- compare ---------------------------------------------------------------------------------------------------------


def compared(means: dict[str, float], p: dict[tuple[str, str], float]) -> Comparison:
    values = {name: {"ndcg@10": Interval(value)} for name, value in means.items()}
    rows = tuple(
        Difference("ndcg@10", one, other, Interval(means[one] - means[other]), at, at) for (one, other), at in p.items()
    )
    return Comparison(values, rows, {})


def test_the_verdict_says_what_is_certain_and_what_is_not() -> None:
    means = {"a": 0.1, "b": 0.3, "c": 0.2}
    sure = compared(means, {("a", "b"): 0.001, ("a", "c"): 0.001, ("b", "c"): 0.01})
    assert verdict(sure) == ("b ranks better than the other 2, and chance does not explain it", True)
    tied = compared(means, {("a", "b"): 0.001, ("a", "c"): 0.2, ("b", "c"): 0.4})
    assert verdict(tied) == ("Between b and c it is not settled which ranks better; both are ahead of a", False)


def test_only_runs_that_were_judged_alike_can_be_compared(read: dict[str, RunReading]) -> None:
    offered = {choice.reading.slot: choice for choice in choices(list(read.values()), [], "test")}
    assert offered["main"].chosen
    assert offered["bpr"].chosen
    assert offered["less"].why_not == "not judged on these people yet"
    other = replace(read["bpr"], slot="other", protocols={"test": {**read["bpr"].protocols["test"], "data": "another"}})
    offered = {choice.reading.slot: choice for choice in choices([*read.values(), other], ["main"], "test")}
    assert offered["other"].why_not == "judged on other data or other people"
    assert not offered["bpr"].chosen


def test_a_run_is_named_with_its_model_unless_it_says_so(read: dict[str, RunReading]) -> None:
    assert label(read["main"]) == "main (EASE)"
    assert label(read["bpr"]) == "bpr"


# ---- audit -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "attention", "says"),
    [
        (finding("accuracy-gap", 0.1, 0.02, 0.2, 0.05), True, "Women are served 50"),
        (finding("accuracy-gap", 0.1, -0.02, 0.2, 0.05), False, "Nobody is served worse"),
        (finding("worst-group", 0.1, 0.0, 0.2, 0.2), True, "One group is served worse"),
        (finding("worst-group", 0.1, 0.0, 0.2, 0.05), False, "No group"),
        (finding("popularity-bias", 0.3, 0.1, 0.4, 0.0), True, "30"),
        (finding("popularity-bias", 0.3, -0.1, 0.4, 0.0), False, "no more popular"),
        (finding("exposure", 0.1, 0.05, 0.15, 0.4), True, "Rare things are 10"),
        (finding("exposure", 0.1, 0.05, 0.5, 0.4), False, "Rare things are 10"),
        (finding("attribute-leakage", 0.7, 0.6, 0.8, 0.55, metric="balanced accuracy from recommended lists"), True,
         "Gender can be guessed from the lists people see: right for 70 of 100"),
        (finding("attribute-leakage", 0.5, 0.4, 0.6, 0.55, metric="balanced accuracy from recommended lists"), False,
         "Gender cannot be guessed"),
        (finding("membership-leakage", 0.7, 0.6, 0.8, 0.55), True, "70 of 100 guesses are right"),
        (finding("calibration", 0.7, 0.6, 0.8, 0.5, metric="divergence of genres"), True, "people's own mix of genres"),
        (finding("of a plug-in", 0.7, 0.6, 0.8, 0.5), False, "T"),
    ],
)  # fmt: skip
def test_a_finding_is_said_in_plain_words(made: Finding, attention: bool, says: str) -> None:
    found, words = judged(made)
    assert found is attention
    assert says in words


def test_the_same_finding_by_several_attributes_is_one_line(read: dict[str, RunReading]) -> None:
    both = [
        finding("popularity-bias", 0.3, 0.1, 0.4, 0.0),
        finding("popularity-bias", 0.3, 0.1, 0.4, 0.0, attribute="age"),
    ]
    (check,) = checks_of(replace(read["bpr"], findings=both))
    assert [(line.by, len(line.findings)) for line in check.lines] == [("gender and age", 2)]


def test_what_needs_attention_stands_first_and_only_stored_vectors_have_a_remedy(read: dict[str, RunReading]) -> None:
    leak = finding("attribute-leakage", 0.7, 0.6, 0.8, 0.55, metric="balanced accuracy from stored vectors (users)")
    calm = finding("accuracy-gap", 0.1, -0.02, 0.2, 0.05)
    found = checks_of(replace(read["bpr"], findings=[calm, leak]))
    assert [check.name for check in found] == ["attribute-leakage", "accuracy-gap"]
    cure = found[0].lines[0].cure
    assert cure is not None
    assert cure.command.startswith("rectitude unlearn attribute ")
    assert (cure.remedy, cure.attribute) == ("unlearn", "gender")
    assert found[1].lines[0].cure is None


# ---- explore ---------------------------------------------------------------------------------------------------------


def test_lists_tell_what_moved(tiny: Any) -> None:
    from rectitude.data.dataset import Ids

    ids = tiny.items["item_id"]
    catalogue = Catalogue(Ids("item", ids), tiny.items["title"].to_list())
    one = [Recommended(rank, item, 1.0, None) for rank, item in enumerate(("i1", "i2", "i3"), 1)]
    other = [Recommended(rank, item, 1.0, None) for rank, item in enumerate(("i3", "i9", "i2"), 1)]
    found = places(catalogue, "a b", other, one)
    assert [(place.moved, place.new) for place in found] == [(2, False), (None, True), (-1, False)]
    assert [place.moved for place in places(catalogue, "a b", one)] == [None] * 3
    assert found[0].item.initial == "T"


def test_addresses_of_explore_add_and_leave_out() -> None:
    view = View("main", person="7", added=("1", "2"))
    assert view.adding("3").endswith("add=1&add=2&add=3")
    assert "add=2" not in view.leaving_out("2")
    assert view.leaving_out("9").endswith("without=9")
    assert view.altered
    assert not View("main", person="7").altered
    assert View("main").empty


def test_reasons_are_told_against_the_strongest() -> None:
    told = {
        "item_id": "1", "title": None, "rank": 3, "of": 40, "shares": {"text": 0.2, "image": 0.8}, "notes": [],
        "method": "likeness to the item",
        "reasons": [{"item_id": "2", "title": "B", "effect": 0.5}, {"item_id": "3", "title": None, "effect": 0.25}],
    }  # fmt: skip
    found = why_view(told)
    assert found.title == "Item 1"
    assert [(reason.title, reason.strength) for reason in found.reasons] == [("B", 1.0), ("Item 3", 0.5)]
    assert list(found.shares) == ["image", "text"]
    assert "likeness" in found.method


# ---- me --------------------------------------------------------------------------------------------------------------


def request(**changes: Any) -> Request:
    usual: dict[str, Any] = {
        "id": "r1", "kind": "delete", "user": None, "subject": "s", "parameters": {}, "actor": "a", "status": "done",
        "created": 0.0, "changed": 1.0, "doing": None, "attempts": 1, "reason": None, "proof": None, "steps": (),
    }  # fmt: skip
    return Request(**{**usual, **changes})


def test_a_request_is_told_in_words() -> None:
    proof = {
        "summary": "All gone.", "left": ["One thing", "One thing"], "stays": ["A digest"],
        "runs": [{"run": "bpr", "remedy": "vectors removed", "before": {"history": 12}, "after": {"history": 0},
                  "membership": {"before": {"asked_by_name": 0.9}, "after": {"asked_by_name": 0.5}}}],
    }  # fmt: skip
    found = asked(request(proof=proof, steps=(Step("repair 1 bpr", 0.5, {}), Step("check", 0.6, {}))))
    assert (found.title, found.status, found.summary, found.left) == ("Delete me", "done", "All gone.", ["One thing"])
    assert [words for words, _ in found.steps] == ["Model bpr repaired", "Checked that nothing is left"]
    assert found.models[0].counts == [("history", "12", "0")]
    assert found.models[0].figures == [
        ("how well it can be told that they were in it, asked by name (0.5: it cannot)", "0.900", "0.500")
    ]
    waiting = asked(request(kind="forget", status="waiting", parameters={"attribute": "age_group"}))
    assert (waiting.title, waiting.ended, waiting.attribute) == ("Forget age group", False, "age_group")
    assert asked(request(status="failed", reason="no disk")).reason == "no disk"


def test_a_step_nobody_knows_keeps_its_name() -> None:
    assert step_words("knit 2 socks") == "knit 2 socks"


def test_guesses_are_ordered_by_how_sure_they_are(read: dict[str, RunReading]) -> None:
    gender = finding("attribute-leakage", 0.9, 0.8, 1.0, 0.5)
    weaker = finding("attribute-leakage", 0.6, 0.5, 0.7, 0.5)
    age = finding("attribute-leakage", 0.3, 0.2, 0.4, 0.35, attribute="age")
    found = guesses([replace(read["bpr"], findings=[age, weaker]), replace(read["bpr"], findings=[gender])])
    assert [(guess.name, guess.words, guess.right, guess.lots) for guess in found] == [
        ("gender", "mostly right", 90, 50),
        ("age", "no better than drawing lots", 30, 35),
    ]
    assert certainty_words(0.2) == "somewhat better than drawing lots"


# ---- plan and route --------------------------------------------------------------------------------------------------


def test_answers_are_read_and_refused_question_by_question(site: Any) -> None:
    found = prescriber(site.plan)
    form = {"a:exercise_days": "2,5", "a:screen_hours": "many", "a:smoking": "Perhaps", "keep:smoking": "on"}
    answers, errors = read_answers(found, form)
    assert answers == {"exercise_days": 2.5}
    assert set(errors) == {"screen_hours", "smoking"}
    shown = {question.name: question for question in questions(found, form, errors)}
    assert shown["exercise_days"].given == "2,5"
    assert shown["screen_hours"].error == "Write a number, such as 2 or 2.5"
    assert shown["smoking"].kept
    assert shown["smoking"].levels


def test_what_was_written_is_cut_where_it_was_read() -> None:
    text = "cheap, blorp and images"
    found = pieces(text, [("c1", (0, 5)), ("c2", (17, 23)), ("c3", (17, 23))], [(7, 12)])
    assert "".join(piece.text for piece in found) == text
    assert found[0] == Piece("cheap", ("c1",), "read")
    assert Piece("blorp", (), "not") in found
    assert found[-1] == Piece("images", ("c2", "c3"), "read")
    assert pieces("", [], []) == []
    assert pieces("a", [("c1", (0, 99))], []) == [Piece("a", ("c1",), "read")]
