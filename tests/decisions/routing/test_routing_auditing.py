"""The auditor and the prior analysis against planted truth."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rectitude.core.errors import ConfigError
from rectitude.decisions.routing.auditing import Recommendation, audit, read_recommendations
from rectitude.decisions.routing.building import build_catalogue
from rectitude.decisions.routing.catalogue import Catalogue
from rectitude.decisions.routing.priors import adjusted, choice_weights, features, lifts
from rectitude.decisions.routing.problem import Policy
from rectitude.decisions.routing.report import audit_report, priors_report
from rectitude.decisions.routing.router import Router
from rectitude.decisions.routing.suite import read_gold


def planted(count: int = 40) -> Catalogue:
    rng = np.random.default_rng(0)
    rows = [
        {"model": f"m{i}", "vision": bool(i % 2), "reasoning": bool(rng.random() < 0.5), "price_in": 1.0 + i,
         "price_out": 1.0 + i, "context": 1000 * (1 + i % 7)}
        for i in range(count)
    ]  # fmt: skip
    return build_catalogue(rows)


def case(models: list[str], *gold: str) -> Recommendation:
    return Recommendation(tuple(models), tuple(read_gold(text) for text in gold), "words")


def test_measures_by_hand() -> None:
    catalogue = planted()
    found = audit(catalogue, [case(["m1", "m3", "m0", "nobody"], "hard vision is true", "soft price low")])
    (told,) = found["cases"]
    assert told["hard_precision"] == 2 / 4
    assert told["coverage"] == 2 / 4
    assert told["feasible"] == 20
    assert told["near_feasible"] == 2 / 4
    assert told["relaxed_near"] == 3 / 4
    assert told["unknown_models"] == ("nobody",)
    assert found["summary"]["hard_precision"]["n"] == 1


def test_our_own_router_passes_and_a_random_one_does_not() -> None:
    catalogue = planted()
    router, rng = Router(catalogue, Policy(defaults=False)), np.random.default_rng(1)
    wishes = [
        "must see images, cheap",
        "cheap, no vision needed",
        "reasoning required, cheap",
        "must see images, long context",
    ]
    ours, theirs = [], []
    for text in wishes * 3:
        decision = router.route(text)
        clauses = tuple(c for c in decision.problem.clauses if c.origin == "feedback")
        ours.append(Recommendation(tuple(r.model for r in decision.ranking[:5]), clauses, text))
        theirs.append(Recommendation(tuple(rng.choice(catalogue.ids, 5, replace=False)), clauses, text))
    good, bad = (audit(catalogue, cases)["summary"] for cases in (ours, theirs))
    assert good["hard_precision"]["value"] == 1
    assert good["maximiser"]["value"] == 1
    assert good["regret"]["value"] < bad["regret"]["value"]
    assert bad["hard_precision"]["value"] < 0.9
    assert bad["maximiser"]["value"] < 0.5
    assert good["regret"]["low"] <= good["regret"]["value"] <= good["regret"]["high"]


def test_nothing_named_is_no_precision() -> None:
    found = audit(planted(), [case([], "hard vision is true")])
    assert math.isnan(found["cases"][0]["hard_precision"])
    assert found["cases"][0]["coverage"] == 0


def test_recommendations_are_read_and_refused() -> None:
    catalogue = planted()
    cases = read_recommendations(
        [
            {"feedback": "must see images", "models": ["m1"]},
            {
                "models": ["m1"],
                "clauses": ["hard vision is true", {"kind": "soft", "any": [{"attr": "price", "op": "low"}]}],
            },
        ],
        catalogue,
    )
    assert [len(c.clauses) for c in cases] == [1, 2]
    for wrong, said in (
        ({"feedback": "x"}, "has a list 'models'"),
        ({"models": [], "clauses": "x"}, "is a list"),
        ({"models": [], "clauses": ["soft vision"]}, "is no clause"),
        ({"models": [], "feedback": "cheaper than that one"}, "no model has been chosen"),
    ):
        with pytest.raises(ConfigError, match=said):
            read_recommendations([wrong], catalogue)
    with pytest.raises(ConfigError, match="no recommendation"):
        audit(catalogue, [])


def test_a_planted_prior_is_found_and_nothing_else() -> None:
    catalogue, rng = planted(), np.random.default_rng(2)
    seeing = [name for name in catalogue.ids if catalogue.value("vision", catalogue.row(name))]
    runs = [list(rng.choice(seeing, 3, replace=False)) for _ in range(60)]
    found = lifts(catalogue, runs, permutations=2000)
    sure = [lift.attr for lift in found if lift.q <= 0.05]
    assert sure == ["vision"]
    top = found[0]
    assert top.lift == pytest.approx(math.log(180.5 / 0.5) - math.log(20.5 / 20.5))
    assert (top.recommended, top.present) == (1, 0.5)


def test_no_prior_is_found_in_noise() -> None:
    catalogue, rng = planted(), np.random.default_rng(3)
    ps = []
    for seed in range(20):
        runs = [list(rng.choice(catalogue.ids, 3, replace=False)) for _ in range(20)]
        ps += [lift.p for lift in lifts(catalogue, runs, permutations=300, seed=seed)]
    assert 0.3 < np.mean(ps) < 0.7
    assert np.mean(np.array(ps) <= 0.05) < 0.15


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=30))
def test_benjamini_hochberg(ps: list[float]) -> None:
    p = np.array(ps)
    q = adjusted(p)
    order = np.argsort(p, kind="stable")
    brute = [min(1, *(p[order][j] * p.size / (j + 1) for j in range(i, p.size))) for i in range(p.size)]
    np.testing.assert_allclose(q[order], brute)


def test_weights_are_learnt_back_from_choices() -> None:
    catalogue, rng = planted(), np.random.default_rng(4)
    clauses = [read_gold("soft vision is true"), read_gold("soft reasoning is true"), read_gold("soft context >= 4000")]
    truth = np.array([2.0, 1.0, 0.0])
    met = np.stack(
        [catalogue.column("vision"), catalogue.column("reasoning"), (catalogue.column("context") >= 4000) * 1.0], axis=1
    )
    odds = np.exp(met @ truth)
    chosen = rng.choice(catalogue.ids, 3000, p=odds / odds.sum())
    weights = choice_weights(catalogue, clauses, list(chosen))
    np.testing.assert_allclose(weights, truth, atol=0.2)
    assert (weights >= 0).all()


def test_features_leave_out_what_all_have(small: Catalogue) -> None:
    names = {name for name, _, _ in features(small)}
    assert "tool_call" not in names
    assert {"vision", "price_in", "open_weights"} <= names


def test_bad_runs_are_refused(small: Catalogue) -> None:
    with pytest.raises(ConfigError, match="No model was recommended"):
        lifts(small, [])
    with pytest.raises(ConfigError, match="no model 'gpt-9'"):
        lifts(small, [["gpt-9"]])
    with pytest.raises(ConfigError, match="Nothing was chosen"):
        choice_weights(small, [read_gold("soft vision is true")], [])


def test_reports() -> None:
    catalogue = planted()
    page = audit_report("<it>", audit(catalogue, [case(["m1"], "hard vision is true")]))
    assert "&lt;it&gt;" in page
    assert "<script" not in page
    page = priors_report("it", lifts(catalogue, [["m1", "m3"]], permutations=200))
    assert "reads images" in page
    json.dumps(audit(catalogue, [case(["m1"], "hard vision is true")])["summary"])
