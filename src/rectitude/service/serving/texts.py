"""Questions in words, for runs whose items carry vectors of their text: what is most like what was written."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rectitude.core.errors import QueryError, RectitudeError
from rectitude.data.content import fingerprint, read_file
from rectitude.encoders.text import SentenceEncoder
from rectitude.training.run import Run

TEXT = "text"
"""The feature that is words rather than an attribute."""
KEPT = 1024
"""Texts whose vectors are remembered; the least lately used goes first."""
LONGEST = 2000


class Texts:
    """Vectors of the items' texts, and the encoder that made them.

    Args:
        encoder: Loaded when first asked.
        items: float32 [I, d], a row of NaN where an item has no text.
    """

    def __init__(self, encoder: SentenceEncoder, items: Tensor) -> None:
        self._encoder = encoder
        self._items = torch.nn.functional.normalize(items, dim=1)
        self._known: OrderedDict[str, Tensor] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def of(cls, run: Run) -> Texts | None:
        """Of the content a run was trained with; None where it read no text, or the vectors are not there any more."""
        for name, about in run.config["data"].get("content", {}).items():
            kind, _, rest = str(about.get("made_by", {}).get("encoder", "")).partition(" ")
            model, _, precision = rest.rpartition(" ")
            if kind != "text" or precision not in ("float32", "int8"):
                continue
            try:
                file = read_file(name, Path(str(about.get("file", ""))))
            except (RectitudeError, OSError):
                continue
            items = np.full((len(run.item_ids), file.vectors.shape[1]), np.nan, np.float32)
            for row, identifier in enumerate(file.ids or ()):
                if (index := run.item_ids.find(identifier)) is not None:
                    items[index] = file.vectors[row]
            if fingerprint(items) == about.get("hash"):
                return cls(SentenceEncoder(model, precision), torch.from_numpy(items))  # type: ignore[arg-type]
        return None

    def encode(self, text: Any) -> None:
        """Make the vector of a text, which takes a while at first; not for the thread that computes lists.

        Raises:
            QueryError: It is no text.
            MissingExtraError: The encoder is not installed.
        """
        if not isinstance(text, str) or not text.strip() or len(text) > LONGEST:
            raise QueryError(f"text is 1 to {LONGEST} characters", where="features")
        with self._lock:
            if text not in self._known:
                vector = torch.from_numpy(self._encoder.encode([text])[0])
                self._known[text] = torch.nn.functional.normalize(vector, dim=0)
                if len(self._known) > KEPT:
                    self._known.popitem(last=False)
            self._known.move_to_end(text)

    def scores(self, text: str) -> tuple[Tensor, str]:
        """Cosine of every item's text with a text that was encoded: float32 [I], and who answers, in words."""
        self.encode(text)
        scores = (self._items @ self._known[text]).nan_to_num(nan=-torch.inf)
        return scores, f"likeness of text ({self._encoder.model})"
