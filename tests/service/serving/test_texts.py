from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rectitude.core.errors import QueryError
from rectitude.data.content import write_content
from rectitude.data.dataset import Dataset
from rectitude.data.readers import load
from rectitude.encoders.text import SentenceEncoder
from rectitude.service.serving.asking import Ask
from rectitude.service.serving.served import ServedRun
from rectitude.workflow.fitting import fit


@pytest.fixture
def served(tiny_folder: Path, tiny: Dataset, tmp_path: Path) -> ServedRun:
    ids = [f"i{n}" for n in range(40) if n != 7]  # one item has no text
    vectors = tiny.content["text"][[n for n in range(40) if n != 7]]
    write_content(tmp_path / "text.npz", ids, vectors, {"encoder": "text all-MiniLM-L6-v2 float32"})
    data = load(tiny_folder, content=[tmp_path / "text.npz"])
    run = fit(data, "vlm4rec", out=tmp_path / "run", progress=False)
    return ServedRun.load(run.path)


def test_words_find_the_items_whose_text_is_most_like_them(
    served: ServedRun, tiny: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def encode(self: SentenceEncoder, texts: list[str]) -> np.ndarray:
        asked.extend(texts)
        return 3 * tiny.content["text"][[11]]

    monkeypatch.setattr(SentenceEncoder, "encode", encode)
    asks = [Ask(features={"text": "about eleven"}, k=39, exclude=("i12",))] * 2
    answer = served.answer(asks, {})[1]
    vectors = tiny.content["text"].astype(np.float64)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    order = [f"i{n}" for n in np.argsort(-(unit @ unit[11])) if n not in (7, 12)]
    assert [item.item_id for item in answer.items] == order
    assert answer.items[0].score == pytest.approx(1.0)
    assert answer.answered_by == "likeness of text (all-MiniLM-L6-v2)"
    assert asked == ["about eleven"]


@pytest.mark.parametrize("features", [{"text": ""}, {"text": 3}, {"text": "x" * 3000}, {"text": "a", "gender": "F"}])
def test_what_is_no_question_in_words(served: ServedRun, features: dict) -> None:
    with pytest.raises(QueryError, match="text is"):
        served.answer([Ask(features=features)], {})


def test_vectors_that_are_not_those_of_the_training_are_not_used(
    served: ServedRun, runs: dict[str, Path], tmp_path: Path
) -> None:
    assert ServedRun.load(runs["ease"]).texts is None
    ids = [f"i{n}" for n in range(40)]
    write_content(
        tmp_path / "text.npz", ids, np.ones((40, 3), np.float32), {"encoder": "text all-MiniLM-L6-v2 float32"}
    )
    changed = ServedRun.load(served.run.path)
    with pytest.raises(QueryError, match="no vectors of its items' texts"):
        changed.answer([Ask(features={"text": "a"})], {})
