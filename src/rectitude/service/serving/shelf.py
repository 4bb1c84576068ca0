"""The runs that are served, by the slots they stand in; a run can be exchanged while questions are answered.

Which run stands in a slot is in the store: every process follows it, so a swap made in one reaches the others within
about a second, and a restart serves what was served before.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rectitude.core.errors import QueryError, RectitudeError, did_you_mean
from rectitude.service.serving.asking import Ask
from rectitude.service.serving.assignment import Experiment
from rectitude.service.serving.batching import MOST_WAITING, Batcher, BusyError
from rectitude.service.serving.catalogue import Upserts
from rectitude.service.serving.info import Infos, RunInfo, run_in
from rectitude.service.serving.keeping import Kept
from rectitude.service.serving.rules import Rules, read_rules
from rectitude.service.serving.served import ServedRun, Since
from rectitude.service.serving.texts import TEXT
from rectitude.training.run import Answer

if TYPE_CHECKING:
    from rectitude.service.config import ServiceConfig
    from rectitude.service.store import PersonState, Slot, Store

T = TypeVar("T")

MAIN = "main"
"""The slot that answers where none is named."""
FOLLOW_SECONDS = 1.0
"""How often the store is asked whether a slot or an item has changed."""

_log = logging.getLogger("rectitude.service")


class UnknownSlotError(QueryError):
    """No run stands in a slot of this name, or there is no such experiment."""


class UnknownRunError(QueryError):
    """There is no run of this name."""


class Shelf:
    """What a process serves.

    Args:
        config: Of the service.
        store: Says which run stands in which slot.
        roots: Folders whose runs may be put into a slot over HTTP.
        experiments: By name.
    """

    def __init__(
        self,
        config: ServiceConfig,
        store: Store,
        *,
        roots: Sequence[Path] = (),
        experiments: Sequence[Experiment] = (),
    ) -> None:
        self._config, self._store = config, store
        self.roots = list(dict.fromkeys(root.resolve() for root in roots))
        self.experiments = {experiment.name: experiment for experiment in experiments}
        self.upserts = Upserts()
        self._items_version = 0
        self.rules = read_rules(config.rules) if config.rules is not None else Rules()
        self._runs: dict[str, ServedRun] = {}
        self._people: dict[str, Kept] = {}
        self._kept: dict[str, Slot] = {}
        self._infos = Infos()
        self._placing = threading.Lock()
        self._computing = 0
        self._executor = ThreadPoolExecutor(1, "compute", initializer=_one_thread)
        self.batcher: Batcher[tuple[str, Ask], Answer] = Batcher(self._answer, self._executor)

    # ---- what stands where ---------------------------------------------------------------------------------------

    def __getitem__(self, slot: str) -> ServedRun:
        try:
            return self._runs[slot]
        except KeyError:
            fix = did_you_mean(slot, self._runs)
            raise UnknownSlotError(f"No run is served as '{slot}'", where="slot", fix=fix) from None

    def __contains__(self, slot: object) -> bool:
        return slot in self._runs

    def names(self) -> list[str]:
        """The slots, ``main`` first."""
        return sorted(self._runs, key=lambda slot: (slot != MAIN, slot))

    def load(self, slots: Mapping[str, str | Path]) -> None:
        """Fill the slots at the start: with what the command line names, or what has been put there since.

        A slot keeps the run that was put into it later (a model repaired after a deletion, a swap) as long as the
        command line names the same run as then; naming another run decides anew.

        Raises:
            RunError: A run cannot be read.
        """
        self.take_in_items()
        kept = self._store.served()
        for slot, path in slots.items():
            given = str(Path(path).resolve())
            name = f"slot-given:{slot}"
            if slot in kept and self._store.setting(name) == given:
                self._place(slot, self._read(kept[slot].path), kept[slot])
                continue
            self.swap(slot, given)
            self._store.set_setting(name, given)
        for experiment in self.experiments.values():
            for slot in experiment.arms:
                _ = self[slot]  # an arm without a run is refused at the start

    def swap(self, slot: str, path: str | Path) -> ServedRun:
        """Put a run into a slot; questions go on being answered, by the old run until the new one is ready.

        Raises:
            RunError: The run cannot be read; the old one goes on serving.
        """
        path = Path(path).resolve()
        served = self._read(path)
        self._place(slot, served, self._store.serve(slot, str(path)))
        return served

    def _read(self, path: str | Path) -> ServedRun:
        served = ServedRun.load(path, rules=self.rules, upserts=self.upserts, pictures=self._config.pictures)
        self._executor.submit(served.warm_up).result()  # where it will be asked
        return served

    def _place(self, slot: str, served: ServedRun, kept: Slot) -> None:
        with self._placing:
            self._kept[slot] = kept
            self._people = {**self._people, slot: Kept(served)}
            self._runs = {**self._runs, slot: served}

    def follow(self) -> None:
        """Take in what other processes changed: runs in slots, and items."""
        for slot, kept in self._store.served().items():
            if slot in self._runs and self._kept[slot] != kept:
                _log.info("slot %s: now %s", slot, Path(kept.path).name)
                self._place(slot, self._read(kept.path), kept)
        self.take_in_items()

    def take_in_items(self) -> None:
        """Read the items that changed in the store."""
        version = self._store.items_version()
        if version != self._items_version:
            self.upserts.apply(self._store.items_since(self._items_version))
            self._items_version = version

    async def keep_following(self) -> None:
        """Follow until cancelled."""
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            try:
                await asyncio.to_thread(self.follow)
            except RectitudeError as error:  # the next round may succeed; what is served goes on
                _log.warning("%s", error)

    def find(self, name: str) -> Path:
        """Folder of a run by its name, among the folders that runs may be taken from.

        Raises:
            UnknownRunError: The name is none, or there is no such run.
        """
        for root in self.roots:
            if (path := run_in(root, name)) is not None:
                return path
        raise UnknownRunError(f"There is no run '{name}'", where="run", fix="GET /v1/runs lists them")

    def slots_of(self, path: Path) -> list[str]:
        """Slots a run stands in."""
        return [slot for slot in self.names() if self._runs[slot].run.path.resolve() == path.resolve()]

    def infos(self) -> list[RunInfo]:
        """Every run that is served or could be, by name."""
        found = {info.name: info for root in reversed(self.roots) for info in self._infos.within(root)}
        found |= {served.name: self._infos.of(served.run.path) for served in self._runs.values()}
        return [found[name] for name in sorted(found)]

    def info(self, name: str) -> RunInfo:
        """A run by its name.

        Raises:
            UnknownRunError: There is none.
        """
        for served in self._runs.values():
            if served.name == name:
                return self._infos.of(served.run.path)
        return self._infos.of(self.find(name))

    # ---- questions -----------------------------------------------------------------------------------------------

    async def ask(self, slot: str, ask: Ask) -> Answer:
        """The answer of a slot, computed together with what else is asked at the moment.

        Raises:
            UnknownSlotError: No run stands there.
            QueryError: The question cannot be answered.
            BusyError: Too many wait.
        """
        served = self[slot]
        if ask.features is not None and TEXT in ask.features:
            await asyncio.to_thread(served.check_text(ask.features).encode, ask.features[TEXT])
        return await self.batcher.ask((slot, ask))

    async def compute(self, act: Callable[[], T]) -> T:
        """Do something with a run in the thread that computes.

        Raises:
            BusyError: Too many wait.
        """
        if self._computing >= MOST_WAITING:
            raise BusyError
        self._computing += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, act)
        finally:
            self._computing -= 1

    def state(self, ask: Ask) -> PersonState | None:
        """What the store knows of who asks; waits for the store."""
        return None if ask.user is None else self._store.histories([ask.user], self._config.max_history)[ask.user]

    def arm(self, experiment: str, user: str) -> str:
        """The slot that serves a person in an experiment.

        Raises:
            UnknownSlotError: There is no such experiment.
        """
        found = self.experiments.get(experiment)
        if found is None:
            known = self.experiments
            fix = did_you_mean(experiment, known) if known else "Start the service with --experiment"
            raise UnknownSlotError(f"There is no experiment '{experiment}'", where="experiment", fix=fix)
        return found.arm(user, self._config.salt)

    def _answer(self, batch: Sequence[tuple[str, Ask]]) -> list[Answer | Exception]:
        """A batch: one question to the store (two where people did something since), one to each run."""
        marks = self._store.marks(list(dict.fromkeys(ask.user for _, ask in batch if ask.user is not None)))
        answers: dict[int, Answer | Exception] = {}
        for slot in dict.fromkeys(slot for slot, _ in batch):
            places = [place for place, (wanted, _) in enumerate(batch) if wanted == slot]
            kept = self._people[slot]
            served = kept.served
            users = dict.fromkeys(user for place in places if (user := batch[place][1].user) is not None)
            states = kept.states(self._store, marks, list(users), self._config.max_history)
            asks = [batch[place][1] for place in places]
            try:
                found: Sequence[Answer | Exception] = served.answer(asks, states)
            except Exception as error:  # of one question, or a fault of ours; the others are answered all the same
                found = [error] if len(asks) == 1 else [_alone(served, ask, states) for ask in asks]
            answers.update(zip(places, found, strict=True))
        return [answers[place] for place in range(len(batch))]

    def close(self) -> None:
        """Answer what waits, then end the thread."""
        self._executor.shutdown()


def _alone(served: ServedRun, ask: Ask, states: Mapping[str, Since]) -> Answer | Exception:
    try:
        return served.answer([ask], states)[0]
    except Exception as error:
        return error


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)  # batches come one after the other; a second thread is worth less than a second process
