from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rectitude.data.histories import Histories
from rectitude.models.ranking import NO_ITEM, NotANumberError, masked_topk


@st.composite
def problems(draw: st.DrawFn) -> tuple[np.ndarray, list[list[int]], list[list[int]], np.ndarray | None, int]:
    n_rows, n_items = draw(st.integers(1, 12)), draw(st.integers(1, 15))
    values = st.sampled_from([-2.0, -0.0, 0.0, 1.0, 1.5, float("inf"), -float("inf"), 1e-45, -1e-45])
    scores = np.array(draw(st.lists(values, min_size=n_rows * n_items, max_size=n_rows * n_items)), np.float32)
    subset = st.lists(st.integers(0, n_items - 1), unique=True, max_size=n_items)
    seen, last = (draw(st.lists(subset, min_size=n_rows, max_size=n_rows)) for _ in range(2))
    allowed = draw(st.none() | st.lists(st.booleans(), min_size=n_items, max_size=n_items).map(np.array))
    return scores.reshape(n_rows, n_items), seen, last, allowed, draw(st.integers(1, 18))


@given(problems())
def test_equals_sorting_every_row(problem: tuple) -> None:
    scores, seen, last, allowed, k = problem
    items, values = masked_topk(
        torch.from_numpy(scores), Histories.from_rows(seen), k, allowed, last=Histories.from_rows(last)
    )
    for row, scored in enumerate(scores):
        candidates = [
            item
            for item in range(len(scored))
            if item not in seen[row] and (allowed is None or allowed[item]) and scored[item] > -np.inf
        ]
        candidates.sort(key=lambda item: (-scored[item], item in last[row], item))
        expected = (candidates + [NO_ITEM] * k)[:k]
        assert items[row].tolist() == expected
        assert values[row].tolist() == [scored[item] if item >= 0 else -np.inf for item in expected]


def test_ties_are_broken_by_item_index() -> None:
    items, _ = masked_topk(torch.zeros(3, 100), None, 5)
    assert items.tolist() == [[0, 1, 2, 3, 4]] * 3


def test_scores_are_left_alone_unless_given_away() -> None:
    scores = torch.arange(6.0).view(2, 3)
    seen = Histories.from_rows([[2], [0]])
    masked_topk(scores, seen, 2)
    assert scores.tolist() == [[0, 1, 2], [3, 4, 5]]
    masked_topk(scores, seen, 2, overwrite=True)
    assert scores.tolist() == [[0, 1, -torch.inf], [-torch.inf, 4, 5]]


def test_scores_shared_by_all_rows_can_be_masked() -> None:
    row = torch.arange(4.0)
    items, _ = masked_topk(row.expand(2, 4), Histories.from_rows([[3], [2, 3]]), 1, overwrite=True)
    assert items.tolist() == [[2], [1]]
    assert row.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(dtype: torch.dtype) -> None:
    items, values = masked_topk(torch.tensor([[1.0, 3.0, 2.0]], dtype=dtype), None, 2)
    assert items.tolist() == [[1, 2]]
    assert values.dtype == torch.float32


def test_nan_is_refused_where_it_is_a_candidate() -> None:
    scores = torch.tensor([[1.0, 2.0, 3.0], [1.0, torch.nan, 3.0]])
    with pytest.raises(NotANumberError, match="row 1") as caught:
        masked_topk(scores, None, 1)
    assert caught.value.row == 1
    items, _ = masked_topk(scores, Histories.from_rows([[], [1]]), 2)
    assert items.tolist() == [[2, 1], [2, 0]]
