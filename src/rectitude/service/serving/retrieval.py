"""The best k items of each question: exactly up to 100,000 items, by an approximate index beyond.

Every way keeps the order of ``models.ranking``: score descending, then item index ascending. The item matrix is a file
mapped into memory, so several workers share one copy of it.

Letters: B questions, I items, d width, k list length.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rectitude.core.errors import RectitudeError
from rectitude.core.files import write_bytes
from rectitude.data.histories import Histories
from rectitude.models.base import Recommender
from rectitude.models.query import Query
from rectitude.models.ranking import NO_ITEM, masked_topk

EXACT_UP_TO = 100_000
"""Items up to which every score is computed."""
BLOCK = 1 << 17
"""Items scored at once where all are."""
RECALL_WANTED = 0.98
"""Share of the exact list that an approximate index must find on the sample, if it can."""
_SAMPLE = 200
_KEPT_FILES = 8

Mask = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Candidates:
    """What may be listed.

    Attributes:
        hidden: B rows of items that are no candidates; None hides nothing.
        common: bool [I], items that are candidates in any row; None is all.
        own: Row to bool [I], the candidates of this row.
    """

    hidden: Histories | None
    common: Mask | None = None
    own: Mapping[int, Mask] = field(default_factory=dict)

    def row(self, row: int) -> Candidates:
        """Those of one question."""
        hidden = None if self.hidden is None else self.hidden.slice(row, row + 1)
        return Candidates(hidden, self.common, {0: self.own[row]} if row in self.own else {})

    def allows(self, row: int, items: npt.NDArray[np.int64]) -> Mask:
        """Which of some items are candidates of a row."""
        allowed = np.ones(len(items), bool)
        if self.common is not None:
            allowed &= self.common[items]
        if row in self.own:
            allowed &= self.own[row][items]
        if self.hidden is not None:
            allowed &= ~np.isin(items, self.hidden[row])
        return allowed


class Retrieval(Protocol):
    """A way to the best items."""

    title: str

    def best(self, query: Query, candidates: Candidates, k: int) -> tuple[Tensor, Tensor, Mask]:
        """Items int64 [B, k], ``NO_ITEM`` where a list has ended, their scores, and where the model itself answered."""
        ...

    def scores(self, query: Query, items: Indices | None = None) -> Tensor:
        """float32 [B, n], the scores of some items or [B, I] of all; popularity's where the model cannot answer."""
        ...


class Exact:
    """Every score, as the model makes them: what evaluation does.

    Args:
        model: Any recommender.
    """

    def __init__(self, model: Recommender) -> None:
        self.model = model
        self.title = f"exact, {model.n_items:,} items"

    def scores(self, query: Query, items: Indices | None = None) -> Tensor:
        """As the model makes them."""
        scores = self.model.answer(query)[0]
        return scores if items is None else scores[:, items]

    def best(self, query: Query, candidates: Candidates, k: int) -> tuple[Tensor, Tensor, Mask]:
        """See :class:`Retrieval`."""
        scores, able = self.model.answer(query)
        _mask_rows(scores, candidates.own)
        items, values = masked_topk(scores, candidates.hidden, k, candidates.common, overwrite=True)
        return items, values, able


class Blocked:
    """Every inner product of query and item vectors, a block of the mapped item matrix at a time.

    Args:
        model: With query and item vectors.
        matrix: float32 [I, d], its item vectors.
    """

    def __init__(self, model: Recommender, matrix: Tensor) -> None:
        self.model, self.matrix = model, matrix
        self.title = f"exact, {model.n_items:,} items"

    def scores(self, query: Query, items: Indices | None = None) -> Tensor:
        """Of all items, or of some."""
        return self._scored(self.model.query_vectors(query), self.model.serves(query), ... if items is None else items)

    def _scored(self, vectors: Tensor, able: Mask, items: Any) -> Tensor:
        """Scores of the items that an index names."""
        scores = vectors @ self.matrix[items].T
        if not able.all():
            scores[torch.from_numpy(~able)] = self.model.popularity[items].to(scores.dtype)
        return scores

    def best(self, query: Query, candidates: Candidates, k: int) -> tuple[Tensor, Tensor, Mask]:
        """See :class:`Retrieval`."""
        able = self.model.serves(query)
        vectors = self.model.query_vectors(query)
        found: list[tuple[Tensor, Tensor]] = []
        for start in range(0, len(self.matrix), BLOCK):
            stop = min(start + BLOCK, len(self.matrix))
            scores = self._scored(vectors, able, slice(start, stop))
            _mask_rows(scores, {row: mask[start:stop] for row, mask in candidates.own.items()})
            hidden = None if candidates.hidden is None else _between(candidates.hidden, start, stop)
            common = None if candidates.common is None else candidates.common[start:stop]
            items, values = masked_topk(scores, hidden, k, common, overwrite=True)
            found.append((torch.where(items >= 0, items + start, items), values))
        if len(found) == 1:
            return *found[0], able
        items, values = (torch.cat(parts, 1) for parts in zip(*found, strict=True))
        return *in_order(items, values, k), able


class Approximate:
    """Candidates from a faiss index, their scores and order computed exactly.

    The index divides the items into cells (inverted file, inner product) and looks into as many of them as it takes to
    find ``RECALL_WANTED`` of the exact lists of a sample. A question that leaves too few of the candidates it finds, or
    that may only list some items, is answered exactly.

    Args:
        exact: The exact way over the same items.
        sample: Questions to measure recall with.

    Raises:
        ImportError: faiss is not installed.
    """

    def __init__(self, exact: Blocked, sample: Query, k: int = 10) -> None:
        import faiss

        self.exact = exact
        matrix = exact.matrix.numpy()
        n_items, width = matrix.shape
        n_cells = int(4 * np.sqrt(n_items))
        self._index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, n_cells, faiss.METRIC_INNER_PRODUCT)
        rows = np.linspace(0, n_items - 1, min(n_items, 64 * n_cells)).astype(np.int64)
        self._index.cp.niter = 8
        self._index.train(matrix[rows])
        for start in range(0, n_items, BLOCK):
            self._index.add(np.ascontiguousarray(matrix[start : start + BLOCK]))
        self.recall = self._tune(sample, k)
        self.title = (
            f"faiss, {n_items:,} items in {n_cells:,} cells of which {self._index.nprobe} are searched, "
            f"recall@{k} against exact {self.recall:.3f} on {len(sample)} questions"
        )

    def _tune(self, sample: Query, k: int) -> float:
        """Search more cells until enough of the exact lists is found; returns the share found."""
        everything = Candidates(None)
        wanted = self.exact.best(sample, everything, k)[0].numpy()
        recall, self._index.nprobe = 0.0, 4
        while recall < RECALL_WANTED and self._index.nprobe < self._index.nlist:
            self._index.nprobe = min(self._index.nprobe * 2, self._index.nlist)
            found = self.best(sample, everything, k)[0].numpy()
            recall = float(np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(wanted, found, strict=True)]))
        return recall

    def scores(self, query: Query, items: Indices | None = None) -> Tensor:
        """Exactly."""
        return self.exact.scores(query, items)

    def best(self, query: Query, candidates: Candidates, k: int) -> tuple[Tensor, Tensor, Mask]:
        """See :class:`Retrieval`."""
        model, matrix = self.exact.model, self.exact.matrix
        able = model.serves(query)
        vectors = model.query_vectors(query)
        longest = 0 if candidates.hidden is None else int(candidates.hidden.lengths.max(initial=0))
        _, near = self._index.search(vectors.numpy(), min(k + longest + k, len(matrix)))
        items = torch.full((len(query), k), NO_ITEM)
        values = torch.full((len(query), k), -torch.inf)
        for row in range(len(query)):
            found = near[row][near[row] >= 0]
            found = found[candidates.allows(row, found)]
            if able[row] and row not in candidates.own and len(found) >= k:
                here = torch.from_numpy(found)
                ordered = in_order(here[None], (matrix[here] @ vectors[row])[None], k)
            else:
                ordered = self.exact.best(query.slice(row, row + 1), candidates.row(row), k)[:2]
            items[row], values[row] = ordered[0][0], ordered[1][0]
        return items, values, able


def in_order(items: Tensor, values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best of some candidates by score descending, then item ascending, padded where there are fewer.

    Args:
        items: int64 [B, n], ``NO_ITEM`` where there is none.
        values: float32 [B, n], their scores, -inf where there is none.
        k: Length of a list.
    """
    by_item = items.argsort(dim=1, stable=True)
    items, values = items.gather(1, by_item), values.gather(1, by_item)
    order = values.argsort(dim=1, descending=True, stable=True)[:, :k]
    missing = (0, k - order.shape[1])
    return (
        torch.nn.functional.pad(items.gather(1, order), missing, value=NO_ITEM),
        torch.nn.functional.pad(values.gather(1, order), missing, value=-torch.inf),
    )


def choose(model: Recommender, key: str, folder: Path, sample: Query) -> tuple[Retrieval, list[str]]:
    """The way that fits a model and the number of its items.

    Args:
        model: In evaluation mode.
        key: Names what the item vectors were made from, so that a file of them can be used again.
        folder: Where files of item vectors are kept.
        sample: Questions to measure recall with.

    Returns:
        The way, and what is to be said of it at the start.
    """
    by_vectors = type(model).item_vectors is not Recommender.item_vectors and type(model).score is Recommender.score
    if not by_vectors:
        over = model.n_items > EXACT_UP_TO
        notes = (
            [f"{model.title} has no item vectors to search among, so all {model.n_items:,} are scored"] if over else []
        )
        return Exact(model), notes
    exact = Blocked(model, mapped(model, key, folder))
    if model.n_items <= EXACT_UP_TO:
        return exact, []
    try:
        return Approximate(exact, sample), []
    except ImportError:
        return exact, [
            f"{model.n_items:,} items are searched exactly because the package 'faiss' is not installed. "
            "Install it with: pip install 'rectitude[ann]'"
        ]


def sample_of(history: Histories, trained: npt.NDArray[np.bool_], count: int = _SAMPLE) -> Query:
    """Questions of people spread over the run."""
    known = np.flatnonzero(trained & (history.lengths > 0))
    users = known[np.linspace(0, max(0, len(known) - 1), min(count, len(known))).astype(np.int64)]
    return Query.of_users(users, history.take(users))


@torch.inference_mode()
def mapped(model: Recommender, key: str, folder: Path) -> Tensor:
    """Item vectors float32 [I, d] as a file mapped into memory, or in memory where no file can be written."""
    path = folder / f"items-{key}.npy"
    vectors = None
    try:
        if not path.is_file():
            vectors = model.item_vectors().float().contiguous().cpu().numpy()
            _keep(path, vectors)
        os.utime(path)
        # Copy on write: torch wants memory it could write to, and nothing ever does.
        return torch.from_numpy(np.load(path, mmap_mode="c"))
    except (OSError, RectitudeError):
        return model.item_vectors().float().contiguous().cpu() if vectors is None else torch.from_numpy(vectors)


def _keep(path: Path, vectors: npt.NDArray[np.float32]) -> None:
    """Write a matrix, and remove those not used for longest."""
    buffer = io.BytesIO()
    np.save(buffer, vectors)
    write_bytes(path, buffer.getvalue())
    files = sorted(path.parent.glob("items-*.npy"), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in files[_KEPT_FILES:]:
        file.unlink(missing_ok=True)


def _mask_rows(scores: Tensor, own: Mapping[int, Mask]) -> None:
    for row, mask in own.items():
        scores[row].masked_fill_(torch.from_numpy(~mask), -torch.inf)


def _between(rows: Histories, start: int, stop: int) -> Histories:
    """The items of ``rows`` in a block, counted from its start."""
    if start == 0 and (not len(rows.items) or int(rows.items.max()) < stop):
        return rows
    inside = (rows.items >= start) & (rows.items < stop)
    return Histories.from_pairs(rows.rows[inside], rows.items[inside] - start, len(rows))


def about(retrieval: Retrieval) -> dict[str, Any]:
    """For the page of a run."""
    return {"title": retrieval.title, "recall": getattr(retrieval, "recall", None)}
