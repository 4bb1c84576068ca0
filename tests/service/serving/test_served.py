from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rectitude.core.errors import ConfigError, QueryError
from rectitude.evaluation.store import read_evaluation
from rectitude.service.serving.asking import Ask, Between
from rectitude.service.serving.catalogue import Upserts
from rectitude.service.serving.explaining import explained, similar
from rectitude.service.serving.rules import Pin, Rules, read_rules
from rectitude.service.serving.served import ServedRun, newest
from rectitude.service.store import Event, ItemFacts, PersonState
from rectitude.training.run import Answer
from rectitude.workflow.judging import evaluate, evaluation_file


def ids(answer: Answer) -> list[str]:
    return [item.item_id for item in answer.items]


def state(*items: str, **more: Any) -> PersonState:
    return PersonState([Event(f"e{n}", "x", item, at=float(n)) for n, item in enumerate(items)], **more)


@pytest.fixture(scope="module")
def sasrec(runs: dict[str, Path]) -> ServedRun:
    return ServedRun.load(runs["sasrec"])


@pytest.fixture(scope="module")
def ease(runs: dict[str, Path]) -> ServedRun:
    return ServedRun.load(runs["ease"])


@pytest.mark.parametrize("name", ["sasrec", "bpr", "ease"])
def test_lists_are_those_of_the_run_and_of_the_evaluation(runs: dict[str, Path], name: str) -> None:
    served = ServedRun.load(runs[name])
    evaluation = evaluate(served.run, "test", ks=(10,))
    assert read_evaluation(evaluation_file(served.run, "test")).users.tolist() == evaluation.users.tolist()
    users = [served.run.user_ids[user] for user in evaluation.users.tolist()]
    answers = served.answer([Ask(user) for user in users], {})
    for user, answer, judged in zip(users, answers, evaluation.lists, strict=True):
        alone = served.run.recommend(user)
        assert ids(answer) == ids(alone)
        assert answer.answered_by == alone.answered_by
        scores, theirs = ([item.score for item in each.items] for each in (answer, alone))
        np.testing.assert_allclose(scores, theirs, rtol=1e-5, atol=1e-6)
        assert ids(answer) == [served.run.item_ids[item] for item in judged if item >= 0]


def test_a_real_run_lists_what_its_evaluation_ranked(real_data: Any, tmp_path: Path) -> None:
    from rectitude.workflow.fitting import fit

    run = fit(real_data("ml-100k"), "ease", out=tmp_path / "ease", progress=False)
    judged = evaluate(run, "test", ks=(10,))
    served = ServedRun.load(run.path)
    users = [run.user_ids[user] for user in judged.users.tolist()]
    answers = [
        answer
        for start in range(0, 943, 32)
        for answer in served.answer([Ask(u) for u in users[start : start + 32]], {})
    ]
    assert [ids(a) for a in answers] == [run.item_ids.take(row) for row in judged.lists]


def test_events_are_read_in_the_next_answer(sasrec: ServedRun) -> None:
    user = sasrec.run.user_ids[3]
    before, after = (
        sasrec.answer([Ask(user), Ask(user)], {})[0],
        sasrec.answer([Ask(user)], {user: state("i30", "i31")})[0],
    )
    assert [i.score for i in before.items] != [i.score for i in after.items]
    assert not {"i30", "i31"} & set(ids(after))
    own = [sasrec.run.item_ids[i] for i in sasrec.run.history[3]]
    as_history = sasrec.answer([Ask(history=(*own, "i30", "i31"))], {})[0]
    assert ids(as_history) == ids(after)


def test_stopped_items_are_not_read_and_not_shown_and_objected_ones_are_not_shown(sasrec: ServedRun) -> None:
    user = sasrec.run.user_ids[3]
    own = [sasrec.run.item_ids[i] for i in sasrec.run.history[3]]
    stopped = frozenset(own[-2:])
    told = sasrec.answer([Ask(user)], {user: PersonState(stopped=stopped)})[0]
    rest = tuple(item for item in own if item not in stopped)
    without = sasrec.answer([Ask(history=rest, exclude=tuple(stopped))], {})[0]
    assert ids(told) == ids(without)
    first = ids(told)[0]
    again = sasrec.answer([Ask(user)], {user: PersonState(stopped=stopped, objected=frozenset({first}))})[0]
    assert ids(again)[:9] == ids(told)[1:]
    shown_anyway = sasrec.answer(
        [Ask(user, exclude_seen=False, k=40)], {user: PersonState(objected=frozenset({first}))}
    )[0]
    assert first not in ids(shown_anyway)


@pytest.mark.parametrize(("percent", "read"), [(100, 8), (50, 4), (44, 4), (43, 3), (1, 1), (0, 0)])
def test_the_newest_part_of_a_history_is_what_is_shared(percent: int, read: int) -> None:
    assert newest(np.arange(8, dtype=np.int32), percent).tolist() == list(range(8))[8 - read :]
    assert newest(np.arange(0, dtype=np.int32), percent).tolist() == []


def test_what_is_not_shared_is_not_read_and_not_shown(sasrec: ServedRun) -> None:
    user = sasrec.run.user_ids[3]
    own = [sasrec.run.item_ids[i] for i in sasrec.run.history[3]]
    half = sasrec.answer([Ask(user, k=40)], {user: PersonState(kept_back=50)})[0]
    read = [sasrec.run.item_ids[i] for i in newest(sasrec.run.history[3], 50)]
    rest = tuple(item for item in own if item not in read)
    assert ids(half) == ids(sasrec.answer([Ask(history=tuple(read), exclude=rest, k=40)], {})[0])
    nothing = sasrec.answer([Ask(user, k=40)], {user: PersonState(kept_back=100)})[0]
    stranger = sasrec.answer([Ask("nobody", exclude=tuple(own), k=40)], {})[0]
    assert (ids(nothing), nothing.answered_by) == (ids(stranger), stranger.answered_by)


def test_of_an_erased_person_nothing_of_the_run_is_used(sasrec: ServedRun) -> None:
    user = sasrec.run.user_ids[3]
    erased = sasrec.answer([Ask(user)], {user: PersonState(erased=True)})[0]
    stranger = sasrec.answer([Ask("nobody")], {})[0]
    assert (ids(erased), erased.answered_by) == (ids(stranger), stranger.answered_by)
    assert erased.answered_by == "popularity (no known history)"
    since = sasrec.answer([Ask(user)], {user: state("i5", erased=True)})[0]
    assert ids(since) == ids(sasrec.answer([Ask(history=("i5",))], {})[0])


def test_a_batch_of_different_questions_is_answered_in_order(sasrec: ServedRun) -> None:
    asks = [
        Ask("u1", k=3),
        Ask(features={"gender": "F"}, k=4),
        Ask(history=("i1", "unknown"), k=2),
        Ask("nobody", k=5),
        *[Ask(f"u{n}", k=n % 7 + 1) for n in range(20)],
    ]
    together = sasrec.answer(asks, {})
    alone = [sasrec.answer([ask], {})[0] for ask in asks]
    assert [ids(a) for a in together] == [ids(a) for a in alone]
    assert [a.answered_by for a in together] == [a.answered_by for a in alone]
    assert [len(a.items) for a in together] == [ask.k for ask in asks]
    assert "unknown" in together[2].notes[0]


def test_conditions_only_and_exclude(sasrec: ServedRun) -> None:
    def listed(**more: Any) -> list[str]:
        return ids(sasrec.answer([Ask("u3", k=40, exclude_seen=False, **more)], {})[0])

    everything = listed()
    number = {item: int(item[1:]) for item in everything}
    assert listed(where={"kind": ("Red",)}) == [i for i in everything if number[i] % 3 == 0]
    assert listed(where={"year": Between(2000, None), "genres": ("odd",)}) == [
        i for i in everything if number[i] >= 10 and number[i] % 2
    ]
    assert listed(only=("i1", "i2", "i3", "zz"), exclude=("i2",)) == [i for i in everything if i in ("i1", "i3")]
    with pytest.raises(QueryError, match="Did you mean 'kind'"):
        listed(where={"kin": ("Red",)})
    nothing = sasrec.answer([Ask("u3", where={"kind": ("Violet",)})], {})[0]
    assert nothing.items == []
    assert "Nothing is left" in nothing.notes[-1]


def test_rules(runs: dict[str, Path], sasrec: ServedRun) -> None:
    plain = ids(sasrec.answer([Ask("u3", k=40, exclude_seen=False)], {})[0])
    rules = Rules(
        withdrawn=(plain[0],),
        pinned=(Pin(item=plain[30], place=2), Pin(item="unknown", place=1)),
        at_most={"kind": 2},
        require={"genres": ("all",)},
    )
    served = ServedRun.load(runs["sasrec"], rules=rules)
    assert "unknown" in " ".join(served.notes)
    answer = served.answer([Ask("u3", k=6, exclude_seen=False)], {})[0]
    expected: list[str] = []
    for item in plain[1:]:  # by hand: down the ranking, two of each kind
        if sum(int(item[1:]) % 3 == int(other[1:]) % 3 for other in expected) < 2:
            expected.append(item)
    expected = [item for item in expected[:6] if item != plain[30]]
    expected.insert(1, plain[30])
    assert ids(answer) == expected[:6]
    assert [i.rank for i in answer.items] == list(range(1, len(answer.items) + 1))
    not_for_me = served.answer([Ask("u3", exclude_seen=False)], {"u3": PersonState(objected=frozenset({plain[30]}))})[0]
    assert plain[30] not in ids(not_for_me)


def test_a_limit_goes_down_the_ranking_as_far_as_it_must(runs: dict[str, Path], sasrec: ServedRun) -> None:
    served = ServedRun.load(runs["sasrec"], rules=Rules(at_most={"genres": 1}))
    assert len(ids(served.answer([Ask("u3", k=10, exclude_seen=False)], {})[0])) == 1  # every item is of 'all'


def test_rules_are_checked_when_they_are_read(tmp_path: Path, runs: dict[str, Path]) -> None:
    file = tmp_path / "rules.toml"
    for text, said in (
        ("widrawn = ['i1']", "Did you mean 'withdrawn'"),
        ("at_most = {kind = 0}", "leaves no list"),
        ("pinned = [{item = 'a'}, {item = 'b'}]", "same place"),
        ("pinned = [{item = 'a', place = 0}]", "greater than or equal to 1"),
    ):
        file.write_text(text)
        with pytest.raises(ConfigError, match=said):
            read_rules(file)
    with pytest.raises(QueryError, match="no attribute 'colour'"):
        ServedRun.load(runs["ease"], rules=Rules(at_most={"colour": 1}))


def test_what_is_told_of_items_changes_lists_titles_and_search(runs: dict[str, Path]) -> None:
    upserts = Upserts()
    served = ServedRun.load(runs["sasrec"], upserts=upserts)
    first = ids(served.answer([Ask("u3")], {})[0])[0]
    upserts.apply(
        [ItemFacts(first, withdrawn=True), ItemFacts("i7", "Nouveau", {"kind": "New"}), ItemFacts("z", "Zed")]
    )
    answer = served.answer([Ask("u3", k=40, exclude_seen=False)], {})[0]
    assert first not in ids(answer)
    assert next(i.title for i in answer.items if i.item_id == "i7") == "Nouveau"
    assert ids(served.answer([Ask("u3", exclude_seen=False, where={"kind": ("New",)})], {})[0]) == ["i7"]
    assert [item.id for item in served.catalogue.search("nouveau")] == ["i7"]
    unknown = served.catalogue.item("z")
    assert unknown is not None
    assert (unknown.in_run, unknown.title) == (False, "Zed")


def test_titles_are_found_without_case_and_accents_in_any_script(sasrec: ServedRun) -> None:
    search = sasrec.catalogue.search
    assert [i.id for i in search("ليلة")] == ["i1"]
    assert [i.id for i in search("CAFE")] == ["i2"]
    assert search("title 3")[0].id == "i3"
    assert search("  ") == []
    assert len(search("title", 5)) == 5


def test_popularity_among_like_people(ease: ServedRun) -> None:
    answer = ease.answer([Ask(features={"gender": "F"}, k=40)], {})[0]
    counts = np.zeros(40)
    for user in range(1, 60, 2):
        np.add.at(counts, ease.run.history[user], 1)
    assert answer.answered_by == "popularity among 30 people with gender F"
    assert [int(i.score) for i in answer.items] == sorted(counts.astype(int).tolist(), reverse=True)
    nobody = ease.answer([Ask(features={"gender": "X"})], {})[0]
    assert nobody.answered_by == "popularity (nobody like this is known)"
    with pytest.raises(QueryError, match="Did you mean 'gender'"):
        ease.answer([Ask(features={"gendre": "F"})], {})


def test_similar_items(sasrec: ServedRun, ease: ServedRun) -> None:
    vectors = sasrec.run.model.item_vectors().detach().numpy()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = [f"i{i}" for i in np.argsort(-(unit @ unit[4]), kind="stable") if i != 4][:5]
    assert [row["item_id"] for row in similar(sasrec, "i4", 5)] == expected
    chosen = np.zeros((60, 40))
    chosen[ease.run.history.rows, ease.run.history.items] = 1
    cosine = (chosen.T @ chosen[:, 4]) / np.sqrt(chosen.sum(0) * chosen[:, 4].sum())
    found = similar(ease, "i4", 39)
    np.testing.assert_allclose([row["likeness"] for row in found], np.sort(np.delete(cosine, 4))[::-1], atol=1e-5)
    assert ease.likeness.method == "cosine of who chose both"


def test_an_explanation_is_what_leaving_an_item_out_does(sasrec: ServedRun) -> None:
    history = ("i1", "i2", "i3", "i4")
    item = ids(sasrec.answer([Ask(history=history)], {})[0])[2]
    told = explained(sasrec, Ask(history=history), None, item)
    assert told["rank"] == 3
    assert told["of"] == 36

    def score(items: tuple[str, ...]) -> float:
        answer = sasrec.answer([Ask(history=items, k=40, exclude_seen=False)], {})[0]
        return next(i.score for i in answer.items if i.item_id == item)

    effects = {left: score(history) - score(tuple(i for i in history if i != left)) for left in history}
    best = [(left, effect) for left, effect in sorted(effects.items(), key=lambda e: -e[1]) if effect > 0]
    assert [row["item_id"] for row in told["reasons"]] == [left for left, _ in best]
    np.testing.assert_allclose([row["effect"] for row in told["reasons"]], [effect for _, effect in best], atol=1e-4)
    assert explained(sasrec, Ask(history=history), None, "i1")["rank"] is None  # seen, so no candidate


def test_a_list_is_explained_by_leaving_out_where_the_model_cannot_tell(sasrec: ServedRun) -> None:
    history = ("i1", "i2", "i3", "i4")
    answer = sasrec.answer([Ask(history=history, explain=True, k=5)], {})[0]
    assert answer.explanation is not None
    for item in answer.items:
        told = explained(sasrec, Ask(history=history), None, item.item_id)["reasons"]
        assert answer.explanation.because.get(item.item_id) == (told[0]["item_id"] if told else None)
    assert answer.notes == ["What speaks for an item was found by leaving items of the history out, one at a time"]


def test_a_model_that_reads_no_history_is_explained_by_likeness(runs: dict[str, Path]) -> None:
    served = ServedRun.load(runs["bpr"])
    user = served.run.user_ids[3]
    item = ids(served.answer([Ask(user)], {})[0])[0]
    told = explained(served, Ask(user), None, item)
    assert told["method"] == "likeness to the item"
    effects = [row["effect"] for row in told["reasons"]]
    assert effects == sorted(effects, reverse=True)
    with pytest.raises(QueryError, match="does not know the item"):
        explained(served, Ask(user), None, "nowhere")


def test_a_question_is_one_of_three() -> None:
    with pytest.raises(QueryError, match="one of a user, a history and features"):
        Ask("u", history=("i1",))
    with pytest.raises(QueryError, match="one of a user"):
        Ask()
    with pytest.raises(QueryError, match="list of 0 items"):
        Ask("u", k=0)
