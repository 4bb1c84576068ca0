"""A run in service: the object that was evaluated, asked in batches, with what people did since taken in.

Letters: B questions of a batch, I items.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rectitude.core.errors import QueryError, RectitudeError
from rectitude.core.files import sha256
from rectitude.data.dataset import Dataset
from rectitude.data.histories import Histories
from rectitude.data.obtain import cache_folder
from rectitude.models.query import Query
from rectitude.models.ranking import masked_topk
from rectitude.runs.folder import MODEL
from rectitude.service.serving.asking import Ask
from rectitude.service.serving.catalogue import Catalogue, Mask, Upserts
from rectitude.service.serving.leaving import left_out
from rectitude.service.serving.likeness import Likeness
from rectitude.service.serving.people import LikePeople
from rectitude.service.serving.retrieval import Candidates, Retrieval, choose, sample_of
from rectitude.service.serving.rules import Rules, at_most
from rectitude.service.serving.texts import TEXT, Texts
from rectitude.training.run import Answer, Explanation, Recommended, Run

if TYPE_CHECKING:
    from rectitude.service.store import PersonState

GROUP = 8
"""Questions scored together: those whose histories are of like length, so that few positions are padding."""

Indices = npt.NDArray[np.int32]
_NOTHING = np.empty(0, np.int32)


@dataclass(slots=True)
class Person:
    """Who asks, in indices of the run.

    Attributes:
        index: Of a person the run was trained with, -1 for anybody else.
        history: Items the model may read, oldest first.
        seen: Those and what the person took out of use.
        objected: Items never to be shown to them.
        notes: What of the question could not be used.
    """

    index: int = -1
    history: Indices = field(default_factory=lambda: _NOTHING)
    seen: Indices = field(default_factory=lambda: _NOTHING)
    objected: Indices = field(default_factory=lambda: _NOTHING)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Since:
    """What the store knows of a person, in indices of the run; what the run does not know is left out.

    Attributes:
        items: Of their events, oldest first.
        stopped: Items that are not to be read.
        objected: Items never to be shown to them.
        erased: What the run itself holds of them is not to be used.
        kept_back: Per cent of their history, the oldest part, that is not to be read.
    """

    items: Indices = field(default_factory=lambda: _NOTHING)
    stopped: Indices = field(default_factory=lambda: _NOTHING)
    objected: Indices = field(default_factory=lambda: _NOTHING)
    erased: bool = False
    kept_back: int = 0


class ServedRun:
    """A run that answers.

    Args:
        run: The run, its model in evaluation mode.
        catalogue: Its items.
        retrieval: How the best items are found.
        rules: Business rules.
        like_people: Popularity among people of some attributes; None where the data of the run cannot be read.
        texts: Answers questions in words; None where the items have no vectors of text.
        notes: What is to be said when it begins to serve.
    """

    def __init__(
        self,
        run: Run,
        catalogue: Catalogue,
        retrieval: Retrieval,
        rules: Rules | None = None,
        like_people: LikePeople | None = None,
        texts: Texts | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        self.run, self.catalogue, self.retrieval = run, catalogue, retrieval
        self.rules, self.like_people, self.texts, self.notes = rules or Rules(), like_people, texts, list(notes)
        self.likeness = Likeness(run)
        self._ids = run.item_ids.external.to_list()
        self._pins = self._known_pins()
        for attribute in (*self.rules.at_most, *self.rules.require):
            catalogue.column(attribute)  # a rule about an attribute that does not exist is refused at the start

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        rules: Rules | None = None,
        upserts: Upserts | None = None,
        data: str | Path | Dataset | None = None,
        pictures: Path | None = None,
    ) -> ServedRun:
        """Read a run folder and make it ready.

        Args:
            path: The folder.
            rules: Business rules.
            upserts: Items as they were told to the service.
            data: Where the data of the run is now, if it has moved.
            pictures: Folder with pictures named by the items' ids; the data's own pictures if None.

        Raises:
            RunError: The folder is missing, foreign, damaged, or of another version.
            QueryError: A rule names an attribute that items do not have.
        """
        run = Run.load(path)
        notes: list[str] = []
        table, folder, like_people = None, None, None
        try:
            dataset = run.dataset(data)
        except RectitudeError as error:
            notes.append(f"Attributes and pictures of items are not known: {error}")
        else:
            table = dataset.items
            like_people = LikePeople(dataset.users, run.history)
            location = dataset.source.get("location")
            if location:
                folder = Path(location) if Path(location).is_dir() else Path(location).parent
        catalogue = Catalogue(run.item_ids, run.titles, table, folder, pictures, upserts)
        sample = sample_of(run.history, run.model.trained_users.numpy())
        key = hashlib.sha256(f"{run.config['model']} {sha256(run.folder.file(MODEL))}".encode()).hexdigest()[:16]
        with torch.inference_mode():
            retrieval, told = choose(run.model, key, cache_folder().parent / "serving", sample)
        return cls(run, catalogue, retrieval, rules, like_people, Texts.of(run), notes + told)

    @property
    def name(self) -> str:
        """Name of the run's folder."""
        return self.run.name

    def warm_up(self) -> None:
        """Answer once, so that the first person asking does not wait for what is made at first use."""
        self.answer([Ask(history=tuple(self._ids[:1]))], {})

    @property
    def reads_history(self) -> bool:
        """Do events take effect in the next answer? Otherwise they only leave out what was seen."""
        return "history" in self.run.model.reads

    def _known_pins(self) -> list[tuple[int, int]]:
        pins = []
        for pin in sorted(self.rules.pinned, key=lambda pin: pin.place):
            index = self.run.item_ids.find(pin.item)
            if index is None:
                self.notes.append(f"The pinned item '{pin.item}' is unknown to {self.name} and will not be shown")
            else:
                pins.append((pin.place, index))
        return pins

    # ---- who asks ------------------------------------------------------------------------------------------------

    def since(self, state: PersonState) -> Since:
        """What the store knows of a person, in indices."""
        events = self._indices([event.item for event in state.events])
        stopped, objected = self._indices(state.stopped), self._indices(state.objected)
        return Since(events, stopped, objected, state.erased, state.kept_back)

    def person(self, ask: Ask, state: PersonState | Since | None) -> Person:
        """The person of a question: what the run holds of them and what they did since."""
        found = Person()
        if ask.history is not None:
            found.history = np.array(self.run.known_items(ask.history, "history", found.notes), np.int32)
            found.seen = found.history
        if ask.user is None:
            return found
        since = Since() if state is None else state if isinstance(state, Since) else self.since(state)
        index = self.run.user_ids.find(ask.user)
        if index is not None and not since.erased:
            found.index, found.history = index, self.run.history[index]
        found.seen = np.concatenate([found.history, since.items]) if len(since.items) else found.history
        found.history = found.seen
        if len(since.stopped):
            found.history = found.seen[~np.isin(found.seen, since.stopped)]
            found.seen = np.concatenate([found.seen, since.stopped])
        if since.kept_back:
            found.history = newest(found.history, 100 - since.kept_back)
            if self.reads_history or since.kept_back == 100:
                found.index = -1  # the vector that is stored of them was learnt from all of it
        found.objected = since.objected
        return found

    def _indices(self, identifiers: Collection[str]) -> Indices:
        if not identifiers:
            return _NOTHING
        places = (self.run.item_ids.find(identifier) for identifier in identifiers)
        return np.array([place for place in places if place is not None], np.int32)

    # ---- lists ---------------------------------------------------------------------------------------------------

    def answer(self, asks: Sequence[Ask], states: Mapping[str, PersonState] | Mapping[str, Since]) -> list[Answer]:
        """The lists of a batch of questions.

        Args:
            asks: The questions.
            states: Person to what the store knows of them; who is not there is unknown to the store.

        Raises:
            QueryError: A question names an attribute that items do not have, or cannot be answered by this run.
        """
        people = [self.person(ask, None if ask.user is None else states.get(ask.user)) for ask in asks]
        answers: dict[int, Answer] = {}
        places = [place for place, ask in enumerate(asks) if ask.features is None]
        if self.reads_history:
            places.sort(key=lambda place: len(people[place].history))
        with torch.inference_mode():
            for start in range(0, len(places), GROUP):
                group = places[start : start + GROUP]
                found = self._answer_group([asks[p] for p in group], [people[p] for p in group])
                answers.update(zip(group, found, strict=True))
            for place, ask in enumerate(asks):
                if ask.features is not None:
                    answers[place] = self._answer_features(ask, people[place])
        return [answers[place] for place in range(len(asks))]

    def query(self, people: Sequence[Person]) -> Query:
        """People as the model is asked about them."""
        users = np.array([person.index for person in people], np.int64)
        return Query(users, Histories.from_rows([person.history for person in people]), self.run.model.device)

    def candidates(self, asks: Sequence[Ask], people: Sequence[Person]) -> Candidates:
        """What may be listed for each."""
        rows = []
        for ask, person in zip(asks, people, strict=True):
            parts = [person.objected, self._indices(ask.exclude)]
            rows.append(np.concatenate([person.seen, *parts] if ask.exclude_seen else parts))
        own = {row: mask for row, ask in enumerate(asks) if (mask := self._own(ask, people[row])) is not None}
        return Candidates(Histories.from_rows(rows), self.common(), own)

    def common(self) -> Mask | None:
        """Items that may be shown to anybody; None is all."""
        withdrawn = self.catalogue.withdrawn()
        if withdrawn is None and not self.rules.withdrawn and not self.rules.require:
            return None
        allowed = np.ones(len(self._ids), bool) if withdrawn is None else ~withdrawn
        allowed[self._indices(self.rules.withdrawn)] = False
        for attribute, values in self.rules.require.items():
            allowed &= self.catalogue.mask(attribute, values)
        return allowed

    def _own(self, ask: Ask, person: Person) -> Mask | None:
        """Items that this question may list; None is all."""
        allowed = None
        if ask.only is not None:
            allowed = np.zeros(len(self._ids), bool)
            allowed[self.run.known_items(ask.only, "allowed list", person.notes)] = True
        for attribute, condition in ask.where.items():
            mask = self.catalogue.mask(attribute, condition)
            allowed = mask.copy() if allowed is None else allowed & mask
        return allowed

    def _answer_group(self, asks: Sequence[Ask], people: Sequence[Person]) -> list[Answer]:
        query, candidates = self.query(people), self.candidates(asks, people)
        k = min(max(ask.k for ask in asks), len(self._ids))
        items, values, able = self.retrieval.best(query, candidates, k)
        lists = zip(items.tolist(), values.tolist(), strict=True)
        answers = []
        for row, (ask, person, (best, scores)) in enumerate(zip(asks, people, lists, strict=True)):
            answered_by = self.answered_by(query.slice(row, row + 1), able=bool(able[row]))
            ranked = _ended(best, scores, ask.k)
            if self.rules.at_most or self._pins:
                of_row = partial(self._row_scores, query, row)
                ranked = self._by_rules(ranked, candidates.row(row), of_row, ask.k, person.notes)
            explanation = None
            if ask.explain and able[row] and ranked:
                explanation = self._explain(query.slice(row, row + 1), dict(ranked), person.notes)
            answers.append(self._made(ask, person, answered_by, ranked, explanation))
        return answers

    def _explain(self, query: Query, ranked: Mapping[int, float], notes: list[str]) -> Explanation | None:
        """Why a list is what it is: as the model tells, or else by leaving items of the history out."""
        told: list[str] = []
        shown = list(ranked)
        explanation = self.run.explain(query, torch.tensor([shown]), told)
        found = None
        if explanation is None:
            scale = max(map(abs, ranked.values()))
            found = left_out(self.retrieval, self.run.model, query, np.array(shown), scale)
        if found is None:
            notes += told
            return explanation
        places, effects = found
        best = effects.argmax(0)
        pairs = [
            (item, places[row]) for n, (item, row) in enumerate(zip(shown, best, strict=True)) if effects[row, n] > 0
        ]
        notes.append("What speaks for an item was found by leaving items of the history out, one at a time")
        because = {self._ids[item]: self._ids[place] for item, place in pairs}
        titles = {self._ids[place]: self.catalogue.titles[place] for pair in pairs for place in pair}
        return Explanation({}, because, titles)

    def answered_by(self, query: Query, *, able: bool) -> str:
        """Who answers one question, in words."""
        return self.run.model.title if able else f"popularity ({self.run.why_not(query)})"

    def _made(
        self, ask: Ask, person: Person, answered_by: str, ranked: Sequence[tuple[int, float]], explanation: Any = None
    ) -> Answer:
        titles = self.catalogue.titles
        items = [
            Recommended(rank, self._ids[item], score, titles[item]) for rank, (item, score) in enumerate(ranked, 1)
        ]
        if not items:
            person.notes.append("Nothing is left to recommend: allow more items, or those already seen")
        return Answer(ask.told(), answered_by, items, person.notes, explanation)

    def _answer_features(self, ask: Ask, person: Person) -> Answer:
        """A list for somebody of whom only features, or words, are known."""
        features = ask.features or {}
        if TEXT in features:
            scores, answered_by = self.check_text(features).scores(features[TEXT])
        elif self.like_people is None:
            raise QueryError(
                "What people of some features choose is not known, because the data of the run cannot be read",
                where="features",
                fix="Ask with a history",
            )
        else:
            scores, answered_by = self.like_people.scores(features, self.run.model.popularity, person.notes)
        candidates = self.candidates([ask], [person])
        ranked = _ended(*_top(scores.clone(), candidates, min(ask.k, len(scores))), ask.k)
        if self.rules.at_most or self._pins:
            ranked = self._by_rules(ranked, candidates, lambda: scores, ask.k, person.notes)
        return self._made(ask, person, answered_by, ranked)

    def check_text(self, features: Mapping[str, Any]) -> Texts:
        """What answers a question in words.

        Raises:
            QueryError: The run has no vectors of text, or something else is asked too.
        """
        if len(features) > 1:
            raise QueryError("text is asked alone", where="features", fix="Leave the other features out")
        if self.texts is None:
            raise QueryError(
                f"{self.name} has no vectors of its items' texts",
                where="features",
                fix="Train a run with content made by 'rectitude encode --text …'",
            )
        return self.texts

    # ---- rules ---------------------------------------------------------------------------------------------------

    def _row_scores(self, query: Query, row: int) -> Tensor:
        return self.retrieval.scores(query.slice(row, row + 1))[0]

    def _by_rules(
        self,
        ranked: list[tuple[int, float]],
        candidates: Candidates,
        scores: Callable[[], Tensor],
        k: int,
        notes: list[str],
    ) -> list[tuple[int, float]]:
        """The list with the limits kept and the pinned items in their places."""
        if self.rules.at_most:
            limits = [(partial(self.catalogue.values, name), most) for name, most in self.rules.at_most.items()]
            value = dict(ranked)
            kept = at_most(self._longer(ranked, candidates, scores, value), k, limits)
            ranked = [(item, value[item]) for item in kept]
        for place, item in self._pins:
            if not candidates.allows(0, np.array([item]))[0] or place > k:
                continue
            score = dict(ranked).get(item)
            ranked = [entry for entry in ranked if entry[0] != item]
            if place > len(ranked) + 1:
                continue
            ranked.insert(place - 1, (item, float(scores()[item]) if score is None else score))
            notes.append(f"Place {place} is pinned by a rule")
        return ranked[:k]

    def _longer(
        self,
        ranked: Sequence[tuple[int, float]],
        candidates: Candidates,
        scores: Callable[[], Tensor],
        value: dict[int, float],
    ) -> Iterator[int]:
        """Items in order: those of the list, then as far down the ranking as is asked."""
        yield from (item for item, _ in ranked)
        width, n_items = len(ranked), len(self._ids)
        all_scores = scores()
        while 0 < width < n_items:
            wider = min(4 * width, n_items)
            best, values = _top(all_scores.clone(), candidates, wider)
            for item, score in zip(best[width:], values[width:], strict=True):
                if item < 0:
                    return
                value[item] = score
                yield item
            width = wider


def newest(history: Indices, percent: int) -> Indices:
    """The newest part of a history, at least one item of it where it is to be more than nothing."""
    count = len(history)
    read = max((count * percent + 50) // 100, 1) if percent and count else 0
    return history[count - read :]


def _top(scores: Tensor, candidates: Candidates, k: int) -> tuple[list[int], list[float]]:
    """One list from one row of scores, which is written into."""
    row = scores[None]
    for mask in candidates.own.values():
        row[0].masked_fill_(torch.from_numpy(~mask), -torch.inf)
    items, values = masked_topk(row, candidates.hidden, k, candidates.common, overwrite=True)
    return items[0].tolist(), values[0].tolist()


def _ended(items: Sequence[int], scores: Sequence[float], k: int) -> list[tuple[int, float]]:
    """Items with scores up to where the list ends."""
    return [(item, score) for item, score in zip(items[:k], scores[:k], strict=True) if item >= 0]
