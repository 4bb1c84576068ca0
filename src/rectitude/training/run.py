"""A trained recommender with all it needs to answer: its folder on disk, and questions to it in the data's own ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from rectitude.core.config import build
from rectitude.core.errors import DataError, QueryError, RunError
from rectitude.data.columns import ITEM, TITLE, USER
from rectitude.data.dataset import Dataset, Ids
from rectitude.data.histories import Histories
from rectitude.data.readers import load
from rectitude.data.split import Split, SplitConfig, split
from rectitude.models.base import Recommender
from rectitude.models.query import Query
from rectitude.models.ranking import masked_topk
from rectitude.models.registry import model_class
from rectitude.runs.folder import HISTORY, IDS, MODEL, RunFolder


@dataclass(frozen=True)
class Recommended:
    """One place of a list."""

    rank: int
    item_id: str
    score: float
    title: str | None


@dataclass(frozen=True)
class Explanation:
    """Why a list is what it is, as far as the model can tell.

    Attributes:
        shares: How much each part of the model counted for this person; they sum to one.
        because: Item of the list to the item of the history that speaks for it most, in external ids.
        titles: Of the items in ``because``.
    """

    shares: dict[str, float]
    because: dict[str, str]
    titles: dict[str, str | None]


@dataclass(frozen=True)
class Answer:
    """A list with what was asked and who answered.

    Attributes:
        query: What was asked, in external ids.
        answered_by: Title of the model, or ``popularity`` with the reason.
        items: Best first.
        notes: What of the question could not be used.
        explanation: Why, where it was asked for.
    """

    query: dict[str, Any]
    answered_by: str
    items: list[Recommended]
    notes: list[str] = field(default_factory=list)
    explanation: Explanation | None = None

    def to_dict(self) -> dict[str, Any]:
        """``{"query", "answered_by", "items": [{"rank", "item_id", "score", "title"}], "notes"}``.

        ``explanation`` is there only where it was asked for.
        """
        told = asdict(self)
        if self.explanation is None:
            del told["explanation"]
        return told


@dataclass(frozen=True, eq=False)
class Run:
    """A recommender ready to answer.

    Attributes:
        folder: Its folder.
        model: In evaluation mode.
        user_ids: External ids of the people it was trained with.
        item_ids: External ids of the catalogue.
        titles: Of the items, None where unknown.
        history: U rows, what each person had done before the test fold (training and validation events).
    """

    folder: RunFolder
    model: Recommender
    user_ids: Ids
    item_ids: Ids
    titles: list[str | None]
    history: Histories

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> Run:
        """Read a run folder of a recommender.

        Raises:
            RunError: The folder is missing, foreign, damaged, or of another version.
        """
        folder = RunFolder(path)
        if folder.config.get("kind") != "recommender":
            raise RunError(f"The run is a {folder.config.get('kind')}, not a recommender", where=str(path))
        ids = folder.read_table(IDS)
        users, items = (ids.filter(pl.col("kind") == kind) for kind in (USER, ITEM))
        chosen = model_class(folder.config["model"])
        values = {key: entry["value"] for key, entry in folder.config["settings"].items()}
        model = chosen(build(chosen.Config, values, where=str(folder.path)), len(users), len(items))
        try:
            model.load_state_dict(load_file(folder.file(MODEL)))
        except (SafetensorError, RuntimeError) as error:
            reason = " ".join(line.strip() for line in str(error).splitlines()[:2])
            raise RunError(
                f"The model cannot be read: {reason}", where=str(folder.path / MODEL), fix="Train the run again"
            ) from error
        model.to(torch.device(device)).eval()
        events = folder.read_table(HISTORY)
        history = Histories.from_pairs(events[USER].to_numpy(), events[ITEM].to_numpy(), len(users))
        return cls(folder, model, Ids(USER, users["id"]), Ids(ITEM, items["id"]), items[TITLE].to_list(), history)

    @property
    def path(self) -> Path:
        """The folder."""
        return self.folder.path

    @property
    def config(self) -> dict[str, Any]:
        """Content of ``config.json``."""
        return self.folder.config

    @property
    def name(self) -> str:
        """Name of the folder, for tables."""
        return self.path.name

    def dataset(self, data: str | Path | Dataset | None = None, *, content: bool = False) -> Dataset:
        """The data the run was made from, read again from where it came from, without people deleted from the run.

        Args:
            data: Where it is now, if it has moved, or the data themselves.
            content: Read item content too, as training does; the model itself carries what it read.

        Raises:
            RunError: It cannot be read again, or is no longer the same.
        """
        dataset = data if isinstance(data, Dataset) else self._load(data, content)
        if dataset.hash != self.config["data"]["hash"]:
            was = self.config["data"]["hash"]
            raise RunError(
                f"The data has changed since the run was made: its hash is {dataset.hash}, it was {was}",
                where=dataset.name if data is None or isinstance(data, Dataset) else str(data),
                fix="Give the data as it was with --data, or train again",
            )
        now, were = self.user_ids.external, dataset.user_ids.external
        if not now.equals(were):
            dataset = dataset.without_people({int(at): now[int(at)] for at in (now != were).arg_true()})
        return dataset

    def _load(self, data: str | Path | None, content: bool) -> Dataset:
        source = self.config["data"]["source"]
        place = data or _place(source)
        if place is None:
            raise RunError(
                "The run was made from a frame in memory, which cannot be read again",
                where=str(self.path),
                fix="Give the data with --data",
            )
        options = source.get("options", {}) if content else {**source.get("options", {}), "content": ()}
        try:
            return load(place, **options)
        except DataError as error:
            raise RunError(
                f"The data of the run cannot be read again: {error.what}",
                where=error.where or str(place),
                fix="Give the data as it was with --data",
            ) from error

    def split(self, dataset: Dataset) -> Split:
        """The split of the run, made again."""
        return split(dataset, build(SplitConfig, self.config["split"], where=str(self.path)))

    # ---- questions -----------------------------------------------------------------------------------------------

    def recommend(
        self,
        user: str | int | None = None,
        *,
        history: Sequence[str | int] | None = None,
        k: int = 10,
        exclude_seen: bool = True,
        only: Sequence[str | int] | None = None,
        explain: bool = False,
    ) -> Answer:
        """The best k items for a known person, or for anybody with a history.

        Args:
            user: External id of a person of the training data.
            history: External item ids, oldest first; instead of ``user``.
            k: Length of the list.
            exclude_seen: Leave out what is in the history.
            only: External ids the list may be made of.
            explain: Tell why, as far as the model can.

        Raises:
            QueryError: Neither or both of user and history are given, the user is unknown, or nothing may be
                recommended.
        """
        if (user is None) == (history is None):
            raise QueryError("Ask with either a user or a history", fix="Give --user ID or --history ID,ID,…")
        if k < 1:
            raise QueryError(f"A list of {k} items cannot be made", fix="Give -k 1 or more")
        notes: list[str] = []
        if user is not None:
            index = self.user_ids.index(user)
            rows = self.history.take(np.array([index]))
            query = Query(np.array([index]), rows, self.model.device)
            asked: dict[str, Any] = {"user": str(user)}
        else:
            known = self.known_items(history or (), "history", notes)
            rows = Histories.from_rows([known])
            query = Query.of_histories(rows, self.model.device)
            asked = {"history": [str(item) for item in history or ()]}
        allowed = self._allowed(only, notes)
        scores, able = self.model.answer(query)
        items, values = masked_topk(scores, rows if exclude_seen else None, k, allowed, overwrite=True)
        best = [
            Recommended(rank, self.item_ids[item], score, self.titles[item])
            for rank, (item, score) in enumerate(zip(items[0].tolist(), values[0].tolist(), strict=True), 1)
            if item >= 0
        ]
        if not best:
            raise QueryError("Nothing is left to recommend", fix="Allow more items, or add --include-seen")
        asked |= {"k": k, "exclude_seen": exclude_seen}
        answered_by = self.model.title if able[0] else f"popularity ({self.why_not(query)})"
        explanation = self.explain(query, items, notes) if explain and able[0] else None
        return Answer(asked, answered_by, best, notes, explanation)

    def explain(self, query: Query, items: Tensor, notes: list[str]) -> Explanation | None:
        """Why one list is what it is; None, and a note, where the model cannot tell.

        Args:
            query: One question.
            items: int64 [1, k], its list.
            notes: What is said beside the list.
        """
        with torch.no_grad():
            shares = {name: round(float(value[0]), 4) for name, value in self.model.shares(query).items()}
            reasons = self.model.reasons(query, items)
        because: dict[str, str] = {}
        titles: dict[str, str | None] = {}
        if reasons is not None:
            for item, reason in zip(items[0].tolist(), reasons[0].tolist(), strict=True):
                if item >= 0 and reason >= 0:
                    because[self.item_ids[item]] = self.item_ids[reason]
                    titles |= {self.item_ids[place]: self.titles[place] for place in (item, reason)}
        if not shares and not because:
            notes.append(f"{self.model.title} cannot tell why")
            return None
        return Explanation(shares, because, titles)

    def why_not(self, query: Query) -> str:
        """Why the model cannot answer one question itself."""
        if not len(query.history.items):
            return "no known history"
        return f"{self.model.title} does not serve people it was not trained with"

    def known_items(self, identifiers: Sequence[str | int], what: str, notes: list[str]) -> list[int]:
        """Indices of the items the run knows; a note is added for the others."""
        found = [(identifier, self.item_ids.find(identifier)) for identifier in identifiers]
        unknown = [str(identifier) for identifier, index in found if index is None]
        if unknown:
            shown = ", ".join(unknown[:5]) + (", …" if len(unknown) > 5 else "")
            notes.append(f"{len(unknown)} of {len(found)} items of the {what} are unknown and were left out: {shown}")
        return [index for _, index in found if index is not None]

    def _allowed(self, only: Sequence[str | int] | None, notes: list[str]) -> npt.NDArray[np.bool_] | None:
        if only is None:
            return None
        allowed = np.zeros(len(self.item_ids), bool)
        allowed[self.known_items(only, "allowed list", notes)] = True
        return allowed

    # ---- titles --------------------------------------------------------------------------------------------------

    @cached_property
    def _by_title(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for index, title in enumerate(self.titles):
            if title is not None:
                found.setdefault(title.casefold(), index)
        return found

    def find_title(self, text: str) -> str:
        """External id of the item whose title was meant: equal but for case, or the only one that begins so.

        Raises:
            QueryError: No title or several fit.
        """
        wanted = text.strip().casefold()
        if not self._by_title:
            raise QueryError("The items of this run have no titles", fix="Ask with item ids: --history ID,ID,…")
        if wanted in self._by_title:
            return self.item_ids[self._by_title[wanted]]
        begins = [title for title in self._by_title if title.startswith(wanted)]
        if len(begins) == 1:
            return self.item_ids[self._by_title[begins[0]]]
        if begins:
            several = "; ".join(str(self.titles[self._by_title[title]]) for title in begins[:5])
            raise QueryError(f"'{text}' is the beginning of {len(begins)} titles", fix=f"Write more of it: {several}")
        near = get_close_matches(wanted, self._by_title, n=1, cutoff=0.6)
        meant = f"Did you mean '{self.titles[self._by_title[near[0]]]}'?" if near else "Write it as the data does"
        raise QueryError(f"No item is titled '{text}'", fix=meant)


def _place(source: Mapping[str, Any]) -> str | None:
    """Where a run's data were: as it was said, or, for files and seen from another folder, where that pointed to."""
    given: str | None = source.get("data")
    if given is not None and source.get("origin") in ("file", "folder") and not Path(given).exists():
        return str(source["location"])
    return given
