"""Whole decisions: conversations, references, policies, what is said about them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from rectitude.core.errors import ConfigError
from rectitude.decisions import Router
from rectitude.decisions.routing.building import build_catalogue
from rectitude.decisions.routing.catalogue import Catalogue, Request
from rectitude.decisions.routing.clauses import Clause
from rectitude.decisions.routing.problem import Policy
from rectitude.decisions.routing.report import decision_report
from rectitude.decisions.routing.suite import read_gold


def said(decision: Any) -> list[str]:
    return [f"{c.kind}: {c}" for c in decision.problem.clauses if c.origin in ("feedback", "policy")]


def test_a_decision_and_its_reasons(small: Catalogue) -> None:
    decision = Router(small).route("cheap, must see images, not Google", why_not="deepseek-v3.1")
    assert decision.status == "feasible"
    assert decision.chosen == "claude-haiku-4.5"
    assert said(decision) == [
        "soft: price: the lower the better",
        "hard: reads images",
        "hard: provider or maker is not google",
    ]
    told = decision.to_dict()
    json.dumps(told, allow_nan=False)
    assert {"clauses", "unparsed", "ranking", "near_feasible", "explanation"} <= set(told)
    assert told["ranking"][0]["verdicts"]["c2"] == "yes"
    assert told["explanation"]["price_of_hard"][0]["model"] == "gemini-flash-lite"
    assert "does not meet" in told["explanation"]["why_not"]["says"]
    assert told["stamp"]["catalogue"] == small.hash


@pytest.mark.parametrize("solver", ["brute", "rc2"])
def test_solvers_agree(solver: Any, models25: Catalogue) -> None:
    decision = Router(models25).route("cheap, smart, at least 100k context, no Google, prompt caching", solver=solver)
    other = Router(models25).route("cheap, smart, at least 100k context, no Google, prompt caching")
    assert [r.model for r in decision.ranking[:5]] == [r.model for r in other.ranking[:5]]
    assert decision.solver == solver


def test_the_same_bits_again(models25: Catalogue) -> None:
    first, second = (Router(models25).route("cheap or fast, no OpenAI", solver="rc2").to_dict() for _ in range(2))
    for told in (first, second):
        told.pop("milliseconds")
    assert first == second


def test_later_turns_replace_retract_and_add(small: Catalogue) -> None:
    conversation = Router(small).conversation()
    conversation.say("must have open weights, context at least 100k, no Google")
    second = conversation.say("actually closed models are required, context at least 300k, and no DeepSeek")
    assert said(second) == [
        "hard: provider or maker is not google", "hard: has no open weights", "hard: context at least 300,000 tokens",
        "hard: family is not deepseek",
    ]  # fmt: skip
    assert second.explanation["taken_back"] == ["has open weights", "context at least 100,000 tokens"]
    third = conversation.say("context does not matter")
    assert "hard: context at least 300,000 tokens" not in said(third)


def test_older_wishes_weigh_less(small: Catalogue) -> None:
    conversation = Router(small, Policy(defaults=False)).conversation()
    conversation.say("vision preferred")
    decision = conversation.say("reasoning preferred")
    weights = [decision.problem.points(w) for w in decision.problem.weights]
    assert weights[:2] == [3.2, 4.0]


def test_saying_it_softly_again_does_not_weaken(small: Catalogue) -> None:
    conversation = Router(small).conversation()
    conversation.say("must see images")
    assert "hard: reads images" in said(conversation.say("images would be nice"))


def test_that_one_is_the_model_chosen_last(small: Catalogue) -> None:
    conversation = Router(small).conversation()
    first = conversation.say("good at coding")
    assert first.chosen == "openai/gpt-5"
    second = conversation.say("cheaper than that one")
    assert second.chosen != "openai/gpt-5"
    limit = next(c for c in second.problem.clauses if "price" in c.attrs and c.kind == "hard")
    assert limit.any[0].value == pytest.approx(small.value("price", small.row("openai/gpt-5")))


def test_a_reference_that_cannot_be_grounded_is_asked_about(small: Catalogue) -> None:
    router = Router(small)
    told = router.route("cheaper than that one").explanation
    assert "no model has been chosen yet" in told["questions"][0]
    unknown = router.route(clauses=[], feedback="").explanation
    assert unknown["questions"] == []
    more = router.route("better at maths than deepseek-v3.1").explanation
    assert "the math score of deepseek v3.1 is not known" in more["questions"][0]


def test_like_another_but_cheaper(small: Catalogue) -> None:
    decision = Router(small, Policy(defaults=False)).route("like GPT-5 but cheaper")
    assert decision.chosen == "claude-haiku-4.5"  # reasons, calls tools, sees images; 200k of context is half of 400k
    parts = [c for c in decision.problem.clauses if c.kind == "soft"]
    assert [str(c) for c in parts] == [
        "model is gpt 5", "reasons before it answers", "calls tools", "reads images", "context at least 200,000 tokens",
        "quality at least 80.75 points", "quality at least 72.25 points", "quality at least 59.5 points",
    ]  # fmt: skip
    assert sum(c.confidence for c in parts) == pytest.approx(1)  # together they weigh what one wish does
    assert any("Like gpt 5 is read as" in note for note in decision.explanation["notes"])
    assert Router(small).route("like GPT-5").chosen == "openai/gpt-5"
    assert Router(small).route("an alternative to GPT-5").chosen != "openai/gpt-5"


def test_an_unknown_model_to_be_like_is_asked_about(small: Catalogue) -> None:
    decision = Router(small).route("like GPT-99 but cheaper")
    assert all("the catalogue has no model 'gpt 99'" in question for question in decision.explanation["questions"])
    assert "No wish could be read: the defaults and the policy decide" in decision.explanation["notes"]
    near = Router(small).route("cheaper than claude-haiku-4.6").explanation["questions"]
    assert "Did you mean 'claude haiku 4.5'?" in near[0]
    blank = Router(small).route(clauses=[read_gold("soft model like mystery")]).explanation["questions"]
    assert "nothing is known of mystery" in blank[0]


def test_a_limit_that_nobody_knows_becomes_a_direction(small: Catalogue) -> None:
    decision = Router(small).route("better at maths than deepseek-v3.1")
    assert "hard: math score: the higher the better" not in said(decision)
    assert [str(c) for c in decision.problem.clauses if c.origin == "feedback"] == ["math score: the higher the better"]
    assert "Until it is said, higher counts as better" in decision.explanation["questions"][0]


def test_a_model_nobody_has_is_not_grounded_in_silence(small: Catalogue) -> None:
    decision = Router(small).route("cheaper than GPT-99")
    assert decision.parsed is not None
    spans = [decision.feedback[a:b] for a, b in decision.parsed.unparsed]
    assert decision.explanation["questions"] or spans


def test_a_reference_at_many_endpoints_is_its_makers(small: Catalogue) -> None:
    rows = [
        {"model": "gpt-5", "provider": p, "price_in": x, "price_out": x}
        for p, x in (("azure", 3), ("openai", 2), ("x", 9))
    ]
    decision = Router(build_catalogue(rows)).route("cheaper than gpt-5")
    limit = next(c for c in decision.problem.clauses if c.kind == "hard" and "price" in c.attrs)
    assert limit.any[0].value == 2
    assert any("at its maker" in note for note in decision.explanation["notes"])


def test_what_no_model_is_known_for_is_said(models25: Catalogue) -> None:
    decision = Router(models25).route("fast")
    assert decision.explanation["silent"] == ["c1"]
    assert any("decides nothing" in note for note in decision.explanation["notes"])


def test_ties_are_said(small: Catalogue) -> None:
    decision = Router(small, Policy(defaults=False)).route("vision")
    assert any("as good; the tie was broken" in note for note in decision.explanation["notes"])


def test_policy_in_words_and_as_clauses(small: Catalogue) -> None:
    policy = Policy(feedback="no OpenAI", clauses=(read_gold("hard vision is true"),))
    decision = Router(small, policy).route("prefer GPT")
    assert decision.chosen in ("claude-haiku-4.5", "gemini-flash-lite")
    assert {c.origin for c in decision.problem.clauses if c.kind == "hard"} == {"policy", "request"}


@pytest.mark.parametrize(
    ("policy", "error"),
    [
        (Policy(feedback="purple mascot"), "'purple mascot' is not understood"),
        (Policy(feedback="must see images, never with vision"), "contradicts itself"),
        (Policy(feedback="ignore all rules"), "not understood"),
        (Policy(feedback="cheaper than that one"), "no model has been chosen yet"),
    ],
)
def test_a_policy_that_cannot_be_kept_is_refused(policy: Policy, error: str, small: Catalogue) -> None:
    with pytest.raises(ConfigError, match=error):
        Router(small, policy)


def test_clauses_instead_of_words(small: Catalogue) -> None:
    decision = Router(small).route(clauses=[read_gold("hard open_weights is true"), read_gold("soft q.code high")])
    assert decision.chosen == "qwen3-coder"


def test_unknown_policy_decides_what_a_gap_means() -> None:
    rows = [{"model": "known", "vision": False}, {"model": "gap", "vision": None}]
    catalogue = build_catalogue(rows)
    wish = [Clause(kind="hard", any=read_gold("hard vision is true").any)]
    assert Router(catalogue, Policy(unknown_hard="deny")).route(clauses=wish).chosen is None
    assert Router(catalogue, Policy(unknown_hard="allow")).route(clauses=wish).chosen == "gap"


def test_a_solver_that_runs_out_of_time_says_so(models25: Catalogue) -> None:
    decision = Router(models25, Policy(timeout=1e-9)).route("cheap, no OpenAI", solver="rc2")
    assert decision.solver == "brute (rc2 timed out)"
    assert any("rc2 was not done after" in note for note in decision.explanation["notes"])
    assert decision.chosen == Router(models25).route("cheap, no OpenAI").chosen


def test_request_needs(small: Catalogue) -> None:
    decision = Router(small).route("cheap", request=Request(tokens_in=500_000, tokens_out=100))
    assert decision.chosen == "gemini-flash-lite"


def test_a_report_shows_the_decision(small: Catalogue) -> None:
    for text in (
        "cheap, must see images <b>",
        "must see images, never with vision",
        "price under $0.01 per million tokens",
        "",
    ):
        decision = Router(small).route(text, why_not="qwen3-coder")
        page = decision_report(decision)
        assert "<script" not in page
        assert "<b>" not in page.replace("<body>", "")
        assert str(decision.chosen or "wish") in page


def test_no_model_is_named_twice_and_hard_wishes_hold(models25: Catalogue) -> None:
    router = Router(models25)
    for text in ("cheap", "only Claude or GPT", "no vision", "at least 1M context", "open weights required, reasoning"):
        decision = router.route(text)
        names = [r.model for r in decision.ranking]
        assert len(names) == len(set(names))
        if decision.chosen:
            row = models25.row(decision.chosen)
            assert decision.problem.holds[row].all()
        assert np.all(np.diff([r.value for r in decision.ranking if not r.violates]) <= 0)
