from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch

from rectitude.core.errors import ConfigError, DataError, RectitudeError
from rectitude.core.memory import total_memory
from rectitude.data.histories import Histories
from rectitude.data.split import Fold, split
from rectitude.evaluation.evaluator import Evaluation, block_rows, evaluate_fold
from rectitude.evaluation.intervals import bootstrap_interval


def ranks_by_counting(model, fold: Fold, query: int, mask_seen: bool) -> dict[int, int]:
    """Rank of each held-out item by the rule: better, tied and not held out, tied and held out with no larger index."""
    scores = model.table[fold.users[query]].tolist()
    seen = set(fold.history[query].tolist()) if mask_seen else set()
    targets = set(fold.targets[query].tolist())
    candidates = set(range(len(scores))) - seen
    return {
        target: sum(scores[i] > scores[target] for i in candidates)
        + sum(scores[i] == scores[target] for i in candidates - targets)
        + sum(scores[i] == scores[target] for i in targets & candidates if i <= target)
        for target in targets & candidates
    }


def same(a: Evaluation, b: Evaluation) -> bool:
    arrays = [
        np.array_equal(getattr(a, name), getattr(b, name)) for name in ("users", "lists", "list_scores", "answered")
    ]
    metrics = [np.array_equal(a.per_user[metric], b.per_user[metric]) for metric in a.per_user]
    return all(arrays + metrics) and a.overall == b.overall and list(a.per_user) == list(b.per_user)


@pytest.mark.parametrize("mask_seen", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_equals_counting_by_the_tie_rule(random_case: Callable, seed: int, mask_seen: bool) -> None:
    model, fold = random_case(seed, levels=[1, 2, 4, 1000][seed % 4])
    ks = (1, 3, 10, 40)  # 40 is more than there are items
    found = evaluate_fold(model, fold, ks=ks, mask_seen=mask_seen)
    for query in range(len(fold)):
        expected = ranks_by_counting(model, fold, query, mask_seen)
        n_targets = len(fold.targets[query])
        for k in ks:
            ranks = sorted(rank for rank in expected.values() if rank <= k)
            ideal = sum(1 / np.log2(np.arange(min(n_targets, k)) + 2))
            assert found.per_user[f"ndcg@{k}"][query] == pytest.approx(sum(1 / np.log2(r + 1) for r in ranks) / ideal)
            assert found.per_user[f"recall@{k}"][query] == len(ranks) / n_targets
            assert found.per_user[f"mrr@{k}"][query] == (1 / ranks[0] if ranks else 0)
        for target, rank in expected.items():  # the lists themselves are in the order of the ranks
            assert found.lists[query, rank - 1] == target


def test_an_export_of_the_lists_gives_the_same_ndcg(random_case: Callable) -> None:
    model, fold = random_case(3)
    found = evaluate_fold(model, fold, ks=(10,))
    again = []
    for query, row in enumerate(found.lists):
        targets = set(fold.targets[query].tolist())
        dcg = sum(1 / np.log2(rank + 1) for rank, item in enumerate(row.tolist(), start=1) if item in targets)
        again.append(dcg / sum(1 / np.log2(np.arange(min(len(targets), 10)) + 2)))
    assert np.mean(again) == pytest.approx(found.mean("ndcg@10"), abs=1e-12)


def test_equal_scores_never_favour_the_held_out_item(fixed_scores: Callable, make_fold: Callable) -> None:
    model, fold = fixed_scores(np.zeros((1, 20))), make_fold([[]], [[0]])
    found = evaluate_fold(model, fold, ks=(19, 20))
    assert found.mean("hr@19") == 0
    assert found.mean("mrr@20") == 1 / 20


def test_block_size_changes_nothing(random_case: Callable) -> None:
    model, fold = random_case(1, n_users=101)
    whole = evaluate_fold(model, fold)
    row = 16 * model.n_items
    for rows in (1, 2, 7, 64, 100):
        model.blocks.clear()
        assert same(evaluate_fold(model, fold, memory_budget=rows * row + 3), whole)
        assert max(model.blocks) <= rows
        assert max(model.blocks) - min(model.blocks) <= 1


def test_block_rows_follow_from_memory() -> None:
    assert block_rows(1000, 16_000 * 10) == 10
    assert block_rows(1000, 1) == 1
    assert block_rows(1000) == 1024
    assert block_rows(10**6, 10**12) == 64
    assert block_rows(10**7) * 16 * 10**7 <= max(min(256 << 20, total_memory() // 20), 16 * 10**7)


def test_everything_seen_and_empty_history(fixed_scores: Callable, make_fold: Callable) -> None:
    model = fixed_scores(np.arange(12).reshape(3, 4), popularity=[1, 1, 1, 1])
    fold = make_fold([[0, 1, 2, 3], [], [3, 2]], [[1], [3], [0, 1]])
    found = evaluate_fold(model, fold, ks=(3,))
    assert found.lists.tolist() == [[-1, -1, -1], [3, 2, 1], [1, 0, -1]]
    assert found.per_user["ndcg@3"].tolist() == [0, 1, 1]
    assert found.per_user["precision@3"].tolist() == [0, pytest.approx(1 / 3), pytest.approx(2 / 3)]
    assert found.per_user["novelty@3"].tolist() == [0, 2, 2]
    assert found.list_scores[0].tolist() == [-np.inf] * 3
    unmasked = evaluate_fold(model, fold, ks=(3,), mask_seen=False)
    assert unmasked.lists[0].tolist() == [3, 2, 1]
    assert unmasked.per_user["mrr@3"][0] == pytest.approx(1 / 3)


def test_popularity_answers_for_strangers_and_is_counted(fixed_scores: Callable, make_fold: Callable) -> None:
    model = fixed_scores([[1, 2, 3], [0, 0, 0]], popularity=[5, 9, 1])
    model.trained_users[1] = False
    found = evaluate_fold(model, make_fold([[], []], [[0], [0]]), ks=(2,))
    assert found.lists.tolist() == [[2, 1], [1, 0]]
    assert found.answered.tolist() == [True, False]
    assert found.protocol["answered"] == {"by_model": 1, "by_fallback": 1, "fallback": "popularity"}


def test_repeated_held_out_items_count_once(fixed_scores: Callable, make_fold: Callable) -> None:
    model = fixed_scores([[1, 2, 3]])
    found = evaluate_fold(model, make_fold([[]], [[2, 0, 2]]), ks=(1,))
    assert found.mean("recall@1") == 0.5


def test_scores_from_vectors(make_fold: Callable, fixed_scores: Callable) -> None:
    rng = np.random.default_rng(0)
    users, items = rng.normal(size=(50, 8)).astype(np.float32), rng.normal(size=(33, 8)).astype(np.float32)
    fold = make_fold([rng.permutation(33)[:9].tolist() for _ in users], [[int(rng.integers(33))] for _ in users])
    from_scores = fixed_scores(users @ items.T)
    from_vectors = fixed_scores(np.zeros((50, 33)))
    from_vectors.query_vectors = lambda query: torch.from_numpy(users)[query.user_tensor()]
    from_vectors.item_vectors = lambda: torch.from_numpy(items)
    from_vectors.score = lambda query: from_vectors.query_vectors(query) @ from_vectors.item_vectors().T
    expected = evaluate_fold(from_scores, fold)
    for budget in (None, 16 * 33 * 7):
        assert np.array_equal(evaluate_fold(from_vectors, fold, memory_budget=budget).lists, expected.lists)


def test_model_is_scored_in_evaluation_mode_without_gradients(random_case: Callable) -> None:
    model, fold = random_case(0)
    modes = []
    inner = model.score

    def score(query: object) -> torch.Tensor:
        modes.append((model.training, torch.is_grad_enabled()))
        return inner(query)

    model.score = score
    model.train()
    evaluate_fold(model, fold)
    assert set(modes) == {(False, False)}
    assert model.training


def test_summary_has_intervals_over_users(random_case: Callable) -> None:
    model, fold = random_case(2)
    found = evaluate_fold(model, fold, ks=(5, 10), seed=4)
    summary = found.summary()
    assert set(summary) == {
        f"{metric}@{k}"
        for k in (5, 10)
        for metric in ("ndcg", "recall", "hr", "precision", "mrr", "map", "novelty", "tail_share", "coverage", "gini")
    }
    for metric, values in found.per_user.items():
        interval = summary[metric]
        assert interval.value == found.mean(metric)
        assert interval.low <= interval.value <= interval.high
        alone = bootstrap_interval(values, seed=4)
        assert interval.low == pytest.approx(alone.low, abs=1e-12)
        assert interval.high == pytest.approx(alone.high, abs=1e-12)
    assert summary["coverage@5"].low is None
    assert summary["gini@5"].high is None
    assert found.to_dict()["metrics"]["gini@5"] == {"value": found.mean("gini@5"), "low": None, "high": None}
    assert evaluate_fold(model, fold, ks=(5, 10), seed=4).to_dict() == found.to_dict()


def test_real_folds(tiny, fixed_scores: Callable) -> None:
    made = split(tiny)
    model = fixed_scores(np.random.default_rng(0).random((tiny.n_users, tiny.n_items)))
    model.prepare(made.train)
    found = evaluate_fold(model, made.valid, ks=(tiny.n_items,))
    assert found.mean(f"recall@{tiny.n_items}") == 1
    assert len(found.users) == len(made.valid)


@pytest.mark.parametrize("value", [np.nan, -np.nan])
def test_scores_that_are_not_numbers_name_model_and_user(
    fixed_scores: Callable, make_fold: Callable, value: float
) -> None:
    table = np.zeros((6, 5))
    table[4, 2] = value
    fold = make_fold([[]] * 3, [[1]] * 3, users=[0, 4, 5])
    with pytest.raises(RectitudeError, match=r"Fixed scores gave user 4 a score that is not a number"):
        evaluate_fold(fixed_scores(table), fold, memory_budget=16 * 5)


def test_scores_of_the_wrong_shape(fixed_scores: Callable, make_fold: Callable) -> None:
    model = fixed_scores(np.zeros((1, 5)))
    model.score = lambda query: torch.zeros(len(query), 6)
    with pytest.raises(RectitudeError, match=r"\(1, 6\) for 1 questions and 5 items"):
        evaluate_fold(model, make_fold([[]], [[1]]))


def test_bad_folds_and_cut_offs(fixed_scores: Callable, make_fold: Callable) -> None:
    model = fixed_scores(np.zeros((2, 5)))
    with pytest.raises(DataError, match="query 1 of the fold"):
        evaluate_fold(model, make_fold([[], []], [[1], []]))
    with pytest.raises(DataError, match="no question"):
        evaluate_fold(model, Fold(np.empty(0, np.int32), Histories.from_rows([]), Histories.from_rows([])))
    with pytest.raises(DataError, match="item index 5"):
        evaluate_fold(model, make_fold([[5]], [[1]]))
    for ks in ((), (0, 5)):
        with pytest.raises(ConfigError, match="Cut-offs"):
            evaluate_fold(model, make_fold([[]], [[1]]), ks=ks)


RANX = """
import json, sys
import ranx

qrels, run, wanted = json.load(sys.stdin)
run = ranx.Run(run)
ranx.evaluate(ranx.Qrels(qrels), run, wanted, return_mean=False)
json.dump(run.scores, sys.stdout, default=float)
"""


def test_agrees_with_ranx(random_case: Callable) -> None:
    pytest.importorskip("ranx", reason="the independent metrics are not installed")
    model, fold = random_case(5, levels=10**6)
    ks = (5, 10)
    found = evaluate_fold(model, fold, ks=ks)
    qrels = {f"q{q}": {f"i{item}": 1 for item in fold.targets[q].tolist()} for q in range(len(fold))}
    run = {
        f"q{q}": {f"i{item}": float(-rank) for rank, item in enumerate(row) if item >= 0} or {"none": 0.0}
        for q, row in enumerate(found.lists.tolist())
    }
    names = {"ndcg": "ndcg", "recall": "recall", "hr": "hit_rate", "precision": "precision", "mrr": "mrr", "map": "map"}
    wanted = [f"{theirs}@{k}" for theirs in names.values() for k in ks]
    # Compiling ranx takes minutes and running it as plain Python takes none.
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-c", RANX]
    text = json.dumps([qrels, run, wanted])
    theirs = json.loads(
        subprocess.run(command, input=text, env=environment, capture_output=True, text=True, check=True).stdout
    )
    for ours, other in names.items():
        for k in ks:
            values = found.per_user[f"{ours}@{k}"]
            if ours == "map":  # ranx divides by the number of held-out items, we by how many the list can hold
                n_targets = fold.targets.lengths
                values = values * np.minimum(n_targets, k) / n_targets
            expected = [theirs[f"{other}@{k}"][f"q{q}"] for q in range(len(fold))]
            np.testing.assert_allclose(values, expected, atol=1e-9, err_msg=f"{ours}@{k}")
