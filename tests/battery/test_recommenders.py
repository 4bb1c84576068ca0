"""What every recommender owes: it says what it is, answers everybody the same way, and survives being saved."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from rectitude.core.config import build
from rectitude.core.errors import ConfigError, QueryError
from rectitude.data.dataset import Dataset
from rectitude.data.histories import Histories
from rectitude.data.split import Split, SplitConfig, split
from rectitude.evaluation.evaluator import evaluate_fold
from rectitude.models.base import Choice, GradientConfig, ModelConfig, Range, Recommender
from rectitude.models.query import Query
from rectitude.models.ranking import masked_topk
from rectitude.models.registry import model_class
from rectitude.models.sequential.sasrec import SequentialRecommender
from rectitude.training.run import Run
from rectitude.training.trainer import Trainer
from rectitude.training.tuning import new_model
from rectitude.workflow import fit

Ready = Callable[[str], Recommender]


def everybody(divided: Split) -> Query:
    """Trained people and strangers with the same histories, in turn."""
    known = Query.of_users(np.arange(divided.n_users), divided.known)
    rows = np.repeat(np.arange(divided.n_users), 2)
    users = np.where(np.arange(len(rows)) % 2, -1, known.users[rows])
    return Query(users, divided.known.take(rows))


def strangers(*rows: list[int]) -> Query:
    return Query.of_histories(Histories.from_rows(rows))


def lists(scores: Tensor, query: Query, k: int = 10) -> Tensor:
    return masked_topk(scores, query.history, k)[0]


# ---- what it says of itself ----------------------------------------------------------------------------------------


def test_a_model_says_what_it_is(recommender: str) -> None:
    kind = model_class(recommender)
    assert kind.name == recommender
    assert kind.title
    assert len(kind.paper) > 20
    assert kind.reads <= {"user", "history"}
    assert isinstance(kind.serves_new_users, bool)
    assert isinstance(kind.serves_new_items, bool)
    assert kind.trained_by in ("gradient", "fit")
    assert issubclass(kind.Config, GradientConfig if kind.trained_by == "gradient" else ModelConfig)
    assert kind.__doc__
    assert (
        "Source:" in (Path(__import__(kind.__module__, fromlist=["_"]).__file__).read_text("utf-8")) or not kind.reads
    )


def test_every_setting_is_described_and_unknown_ones_are_refused(recommender: str) -> None:
    config = model_class(recommender).Config
    for key, field in config.model_fields.items():
        assert field.description, key
        assert len(field.description) > 10, key
        assert not field.is_required(), key
        with pytest.raises(ConfigError, match=f"Unknown setting '{key}x'.*Did you mean"):
            build(config, {f"{key}x": 1})
    with pytest.raises(ConfigError, match="Unknown setting 'no_such_thing'"):
        build(config, {"no_such_thing": 1})


def test_what_is_searched_are_settings_the_model_takes(recommender: str) -> None:
    config = model_class(recommender).Config
    for key, where in config.search_space().items():
        assert key in config.model_fields
        if isinstance(where, Range):
            assert where.low < where.high
        values = where.options if isinstance(where, Choice) else (where.low, where.high)
        for value in values:
            assert getattr(build(config, {key: value}), key) == value


# ---- saving --------------------------------------------------------------------------------------------------------


def test_a_saved_model_gives_the_same_bits(recommender: str, ready: Ready, divided: Split) -> None:
    model = ready(recommender)
    copy = type(model)(model.config, divided.n_users, divided.n_items).eval()
    copy.load_state_dict(load(save({name: tensor.contiguous() for name, tensor in model.state_dict().items()})))
    query = everybody(divided)
    (scores, able), (again, able_again) = model.answer(query), copy.answer(query)
    assert torch.equal(scores, again)
    assert (able == able_again).all()


def test_a_run_answers_as_the_model_it_was_made_from(
    recommender: str, tiny: Dataset, fresh: Any, tmp_path: Path
) -> None:
    config = fresh(recommender).config
    run = fit(tiny, recommender, settings=config.model_dump(), out=tmp_path / "run", progress=False)
    loaded = Run.load(tmp_path / "run")
    query = Query.of_users(np.arange(tiny.n_users), run.history)
    assert torch.equal(run.model.answer(query)[0], loaded.model.answer(query)[0])
    assert loaded.model.config == config
    assert not loaded.model.training
    assert run.recommend("u3") == loaded.recommend("u3")
    assert len(loaded.recommend(history=["i1", "i2"], k=5).items) == 5
    with pytest.raises(QueryError, match="Nothing is left"):
        loaded.recommend(history=[f"i{i}" for i in range(tiny.n_items)])


# ---- training ------------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bits_and_another_does_not(recommender: str, train: Any) -> None:
    states = [train(recommender, seed, epochs=2).model.state_dict() for seed in (1, 1, 2)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    if model_class(recommender).trained_by == "gradient":
        assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_a_trained_model_is_in_evaluation_mode_and_knows_its_people(
    recommender: str, ready: Ready, divided: Split
) -> None:
    model = ready(recommender)
    assert not model.training
    assert model.popularity.tolist() == np.bincount(divided.train.items, minlength=divided.n_items).tolist()
    assert model.trained_users.all()


def test_what_is_planted_is_learnt(recommender: str, ready: Ready, divided: Split) -> None:
    def ndcg(name: str) -> float:
        return evaluate_fold(ready(name), divided.valid).mean("ndcg@10")

    if recommender == "popularity":
        return
    kind = model_class(recommender)
    margin = 0.3 if issubclass(kind, SequentialRecommender) else 0.1  # the order of events is most of what is planted
    assert ndcg(recommender) > ndcg("popularity") + margin


# ---- answering -----------------------------------------------------------------------------------------------------


def test_scores_are_finite_numbers_for_every_item(recommender: str, ready: Ready, divided: Split) -> None:
    query = everybody(divided)
    scores = ready(recommender).score(query)
    assert scores.shape == (len(query), divided.n_items)
    assert scores.dtype == torch.float32
    assert torch.isfinite(scores).all()


def test_people_are_served_as_the_flags_say(recommender: str, ready: Ready, divided: Split) -> None:
    model = ready(recommender)
    known = Query.of_users(np.arange(divided.n_users), divided.known)
    assert model.answer(known)[1].all()
    scores, able = model.answer(Query.of_histories(divided.known))
    assert (able == model.serves_new_users).all()
    if not model.serves_new_users:
        assert torch.equal(scores, model.popularity.expand_as(scores))


def test_popularity_answers_a_stranger_of_whom_nothing_is_known_and_says_so(recommender: str, ready: Ready) -> None:
    model = ready(recommender)
    scores, able = model.answer(strangers([], [3]))
    assert able[0] == (not model.reads)
    assert torch.equal(scores[0], model.popularity)
    assert torch.isfinite(scores).all()


def test_histories_of_one_item_and_of_all_items(recommender: str, ready: Ready) -> None:
    model = ready(recommender)
    query = strangers([7], list(range(model.n_items)), [5] * 100)
    scores, _ = model.answer(query)
    assert torch.isfinite(scores).all()
    shown = lists(scores, query)
    assert (shown[0] >= 0).all()
    assert 7 not in shown[0]
    assert (shown[1] == -1).all()
    assert 5 not in shown[2]


@pytest.mark.parametrize("size", [1, 7])
def test_the_size_of_a_block_changes_no_answer(recommender: str, ready: Ready, divided: Split, size: int) -> None:
    model, query = ready(recommender), everybody(divided)
    whole, able = model.answer(query)
    parts = [model.answer(query.slice(at, min(at + size, len(query)))) for at in range(0, len(query), size)]
    scores = torch.cat([part for part, _ in parts])
    torch.testing.assert_close(scores, whole, rtol=1e-5, atol=1e-5 * float(whole.std()))
    assert torch.equal(lists(scores, query), lists(whole, query))
    assert (np.concatenate([served for _, served in parts]) == able).all()


def test_the_memory_of_an_evaluation_changes_no_list(recommender: str, ready: Ready, divided: Split) -> None:
    whole, narrow = (evaluate_fold(ready(recommender), divided.valid, memory_budget=m) for m in (None, 5000))
    assert (whole.lists == narrow.lists).all()
    assert (whole.per_user["ndcg@10"] == narrow.per_user["ndcg@10"]).all()


def test_the_order_of_questions_changes_no_answer(recommender: str, ready: Ready, divided: Split) -> None:
    model, query = ready(recommender), everybody(divided)
    order = np.random.default_rng(0).permutation(len(query))
    scores, _ = model.answer(query)
    asked = Query(query.users[order], query.history.take(order))
    shuffled, _ = model.answer(asked)
    torch.testing.assert_close(shuffled, scores[order], rtol=1e-5, atol=1e-5 * float(scores.std()))
    assert torch.equal(lists(shuffled, asked), lists(scores, query)[order])


def test_an_answer_belongs_to_the_one_who_asked(recommender: str, ready: Ready, divided: Split) -> None:
    model, query = ready(recommender), everybody(divided)
    scores, _ = model.answer(query)
    kept = scores.clone()
    scores.fill_(math.nan)  # ranking writes its mask into scores
    torch.rand(7)  # answers draw no random numbers
    assert torch.equal(model.answer(query)[0], kept)
    assert not kept.requires_grad


def test_vectors_and_scores_agree(recommender: str, ready: Ready, divided: Split) -> None:
    model, query = ready(recommender), everybody(divided)
    if type(model).query_vectors is Recommender.query_vectors:
        pytest.skip(f"{model.title} has no vectors")
    products = model.query_vectors(query) @ model.item_vectors().T
    torch.testing.assert_close(model.score(query), products, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rule", ["cold-user", "cold-item"])
def test_people_and_items_without_training_data_do_no_harm(
    recommender: str, rule: Any, tiny: Dataset, fresh: Any
) -> None:
    apart = split(tiny, SplitConfig(rule=rule)).development()
    model = new_model(recommender, fresh(recommender, epochs=1).config.model_dump(), apart, seed=0)
    Trainer(model, apart, content=tiny.content, progress=False).train()
    judged = evaluate_fold(model, apart.valid)
    assert (judged.lists[:, :10] >= 0).all()
    assert np.isfinite(judged.list_scores[:, :10]).all()
    if rule == "cold-user":
        assert not model.trained_users.all()
        assert (judged.answered == model.serves_new_users).all()
