from __future__ import annotations

import json
from collections.abc import Callable

import pytest

import rectitude
from rectitude.core.errors import RectitudeError
from rectitude.evaluation.protocol import MUST_AGREE, fold_hash, require_same, stamp


def test_stamp_says_everything_and_is_json(make_fold: Callable) -> None:
    found = stamp(
        make_fold([[1], [2]], [[3], [4, 5]]),
        ks=(20, 5),
        mask_seen=False,
        seed=3,
        n_items=9,
        n_fallback=1,
        data_hash="abc",
        split={"rule": "ratio"},
        fold_name="test",
    )
    assert json.loads(json.dumps(found)) == found
    assert found["data"] == "abc"
    assert found["split"] == {"rule": "ratio"}
    assert found["fold"] == "test"
    assert (found["queries"]["count"], found["queries"]["held_out_items"]) == (2, 3)
    assert found["candidates"] == "all 9 items"
    assert found["seen_items"] == "ranked"
    assert found["k"] == [5, 20]
    assert found["seed"] == 3
    assert found["answered"] == {"by_model": 1, "by_fallback": 1, "fallback": "popularity"}
    assert set(found["versions"]) == {"rectitude", "torch", "numpy", "python"}
    assert found["versions"]["rectitude"] == rectitude.__version__


def test_hash_tells_folds_apart(make_fold: Callable) -> None:
    folds = [
        make_fold([[1], [2]], [[3], [4]]),
        make_fold([[1], [2]], [[3], [5]]),
        make_fold([[1, 2], []], [[3], [4]]),
        make_fold([[1], [2]], [[3, 4], []]),
        make_fold([[1], [2]], [[3], [4]], users=[0, 2]),
    ]
    assert len({fold_hash(fold) for fold in folds}) == len(folds)
    assert fold_hash(folds[0]) == fold_hash(make_fold([[1], [2]], [[3], [4]]))


@pytest.mark.parametrize("field", MUST_AGREE)
def test_difference_is_named(make_fold: Callable, field: str) -> None:
    one = stamp(make_fold([[1]], [[2]]), ks=(5,), mask_seen=True, seed=0, n_items=9, data_hash="abc", split={})
    require_same({"a": one, "b": dict(one), "c": {**one, "seed": 9, "k": [1], "versions": {}}})
    with pytest.raises(RectitudeError, match=f"'a' and 'b' were not evaluated alike: '{field}' is"):
        require_same({"a": one, "b": {**one, field: "other"}})
