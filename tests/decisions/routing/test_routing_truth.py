"""Three-valued truth, expectation, staircases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rectitude.core.errors import ConfigError
from rectitude.decisions.routing.building import build_catalogue
from rectitude.decisions.routing.catalogue import Catalogue
from rectitude.decisions.routing.clauses import Atom, Clause, Guard, clause_schema, merged, read_clauses
from rectitude.decisions.routing.truth import TruthTable, atom_truth, disjunction, expected, staircase

KLEENE = {(1, 1): 1, (1, 0): 1, (1, -1): 1, (0, 0): 0, (0, -1): -1, (-1, -1): -1}


@given(st.lists(st.tuples(st.sampled_from([1, 0, -1]), st.sampled_from([1, 0, -1])), min_size=1, max_size=20))
def test_or_is_strong_kleene(pairs: list[tuple[int, int]]) -> None:
    a, b = (np.array(column, np.int8) for column in zip(*pairs, strict=True))
    wanted = [KLEENE.get(pair, KLEENE.get(pair[::-1])) for pair in pairs]
    assert disjunction([a, b]).tolist() == wanted


def truth(catalogue: Catalogue, **atom: object) -> dict[str, int]:
    found = atom_truth(catalogue, Atom.model_validate(atom))
    return dict(zip(catalogue.ids, found.tolist(), strict=True))


def test_atoms_of_every_kind(small: Catalogue) -> None:
    vision = truth(small, attr="vision", op="is", value=True)
    assert (vision["openai/gpt-5"], vision["deepseek-v3.1"], vision["mystery"]) == (1, 0, -1)
    assert truth(small, attr="vision", op="is", value=True, negate=True)["mystery"] == -1
    assert truth(small, attr="family", op="in", value=["claude", "qwen"])["claude-haiku-4.5"] == 1
    openai = truth(small, attr="vendor", op="has", value=["openai"])
    assert (openai["openai/gpt-5"], openai["mystery"], openai["qwen3-coder"]) == (1, 1, 0)
    assert truth(small, attr="vendor", op="has", value=["google"])["mystery"] == -1
    assert truth(small, attr="released", op=">=", value="2025-09-22")["deepseek-v3.1"] == 1
    assert truth(small, attr="released", op=">", value="2025-09-22")["deepseek-v3.1"] == 0
    best = truth(small, attr="q.code", op="best", value=2)
    assert [name for name, value in best.items() if value == 1] == ["openai/gpt-5", "qwen3-coder"]
    assert truth(small, attr="model", op="in", value=["GPT-5"])["openai/gpt-5"] == 1
    assert set(truth(small, attr="languages", op="has", value=["german"]).values()) == {-1}


def test_converted_prices_meet_their_own_limit() -> None:
    catalogue = build_catalogue([{"model": "a", "input_cost_per_token": 0.0000001, "output_cost_per_token": 3e-7}])
    assert atom_truth(catalogue, Atom(attr="price_in", op="<=", value=0.1)).tolist() == [1]
    assert atom_truth(catalogue, Atom(attr="price_in", op="<", value=0.1)).tolist() == [0]


def test_expectation_is_the_shrunk_share_of_family_then_provider_then_all() -> None:
    rows = [{"model": f"gpt-{i}", "provider": "p", "vision": i < 3} for i in range(4)]
    rows += [
        {"model": "gpt-x", "provider": "p", "vision": None},
        {"model": "claude-1", "provider": "r", "vision": False},
    ]
    catalogue = build_catalogue(rows)
    chance = expected(catalogue, atom_truth(catalogue, Atom(attr="vision", op="is", value=True))[None])[0]
    overall = (3 + 4 * 0.5) / (5 + 4)
    provider = (3 + 4 * overall) / (4 + 4)
    assert chance[4] == pytest.approx((3 + 4 * provider) / (4 + 4))
    assert chance[[0, 3, 5]].tolist() == [1, 0, 0]


def test_staircase_is_bounded_and_monotone(small: Catalogue) -> None:
    atom = Atom(attr="price", op="low")
    steps = staircase(small, atom)
    assert steps == sorted(steps)
    table = TruthTable(small, [Clause(any=(atom,))])
    prices = small.column("price")
    total = sum((row.truth == 1) * row.share for row in table.rows)
    known = np.flatnonzero(~np.isnan(prices))
    ranked = known[np.argsort(prices[known])]
    assert np.all(np.diff(total[ranked]) <= 1e-12)
    assert total.max() == pytest.approx(1)
    assert total.min() >= 0


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=40))
@settings(max_examples=30)
def test_staircases_have_at_most_five_steps_of_equal_weight(prices: list[float]) -> None:
    catalogue = build_catalogue([{"model": f"m{i}", "price_in": p, "price_out": p} for i, p in enumerate(prices)])
    rows = TruthTable(catalogue, [Clause(any=(Atom(attr="price", op="low"),))]).rows
    assert 1 <= len(rows) <= 5
    assert sum(row.share for row in rows) == pytest.approx(1)


@pytest.mark.parametrize(
    ("atom", "said"),
    [
        ({"attr": "speed", "op": "low"}, "No attribute of a model is called 'speed'"),
        ({"attr": "vision", "op": "<=", "value": 1}, "takes is, not"),
        ({"attr": "vision", "op": "is", "value": 1.5}, "true or false"),
        ({"attr": "price", "op": "<=", "value": "cheap"}, "takes a number"),
        ({"attr": "price", "op": "low", "value": 1}, "takes no value"),
        ({"attr": "family", "op": "in", "value": []}, "list of names"),
        ({"attr": "released", "op": ">=", "value": "soon"}, "Invalid isoformat"),
        ({"attr": "price", "op": "best", "value": 0}, "how many"),
        ({"attr": "vision", "op": "is", "ref_model": "a"}, "Only a comparison"),
        ({"attr": "price", "op": "<=", "value": 1, "run": "rm"}, "Extra inputs"),
    ],
)
def test_what_is_no_clause_is_refused(atom: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_clauses([{"any": [atom]}])


def test_a_direction_cannot_be_hard_or_one_of_several() -> None:
    low = {"attr": "price", "op": "low"}
    for clause in ({"kind": "hard", "any": [low]}, {"any": [low, {"attr": "vision", "op": "is", "value": True}]}):
        with pytest.raises(ConfigError, match="soft clause of its own"):
            read_clauses([clause])


def test_schema_leaves_no_room_for_anything_else() -> None:
    schema = clause_schema()
    assert schema["additionalProperties"] is False
    assert all(part["additionalProperties"] is False for part in schema["$defs"].values())


def test_saying_it_twice_counts_once_and_hard_wins() -> None:
    atom = Atom(attr="vision", op="is", value=True)
    clauses = [Clause(any=(atom,), strength=2), Clause(any=(atom,), kind="hard"), Clause(any=(atom,), strength=5)]
    assert [clause.kind for clause in merged(clauses)] == ["hard"]
    other = Clause(any=(atom,), guard=Guard(tag="code"))
    assert len(merged([*clauses, other])) == 2
