"""Folds for training, choosing and judging, with the test fold sealed.

A split is made once from a dataset, a rule and a seed, and can be made again from its protocol. What is used to train
or to choose is handed over by :meth:`Split.development`, which does not contain the test fold at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field

from rectitude.core.config import Settings
from rectitude.core.errors import ConfigError, DataError, SealedFoldError
from rectitude.data.columns import ITEM, RATING, SPLIT, TIMESTAMP, USER
from rectitude.data.dataset import Dataset
from rectitude.data.histories import Histories

Rule = Literal["leave-one-out", "temporal", "ratio", "cold-user", "cold-item", "column"]


class SplitConfig(Settings):
    """How interactions are divided."""

    rule: Rule = "leave-one-out"
    """leave-one-out, temporal (global time), ratio (random per user), cold-user, cold-item or column."""
    valid_share: float = Field(0.1, gt=0, lt=1)
    """Share of events (temporal, ratio), users (cold-user) or items (cold-item) held out for choosing."""
    test_share: float = Field(0.1, gt=0, lt=1)
    """The same for judging."""
    seed: int = 0
    """Seed of the random rules (ratio, cold-user, cold-item)."""
    train_on_valid: bool = False
    """Train on the validation part too, once settings and epochs are chosen; nothing is left to choose on then."""


@dataclass(frozen=True, eq=False)
class Fold:
    """Questions with held-out answers: from this history, what comes next?

    Attributes:
        users: int32 [Q], user of each query.
        history: Q rows, what may be known when the question is asked, oldest first; also what is masked as seen.
        targets: Q rows, the held-out items, without those already in the history.
    """

    users: npt.NDArray[np.int32]
    history: Histories
    targets: Histories

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True, eq=False)
class Split:
    """Training histories and two folds of questions.

    Attributes:
        config: The rule it was made by.
        train: n_users rows; users held out altogether have an empty row.
        valid: Fold for choosing and early stopping.
        known: n_users rows, all events but the test answers: what a served model may be asked with.
        n_items: Catalogue size.
        cold_items: bool [n_items], items without any training interaction.
        notes: What the rule had to leave out, one sentence each.
        train_ratings: float32, rating (or count) of each event of ``train``, 0 where unknown; None without a column.
    """

    config: SplitConfig
    train: Histories
    valid: Fold
    known: Histories
    n_items: int
    notes: tuple[str, ...] = ()
    train_ratings: npt.NDArray[np.float32] | None = None
    _test: Fold | None = None
    _seal: list[bool] = field(default_factory=lambda: [True], repr=False)

    @property
    def n_users(self) -> int:
        """Number of users."""
        return len(self.train)

    @property
    def cold_items(self) -> npt.NDArray[np.bool_]:
        """bool [n_items], items that no training row holds."""
        return np.asarray(np.bincount(self.train.items, minlength=self.n_items) == 0)

    @property
    def test(self) -> Fold:
        """The test fold, only inside :meth:`opened`.

        Raises:
            SealedFoldError: The fold is sealed or was left out by :meth:`development`.
        """
        if self._test is None or self._seal[0]:
            raise SealedFoldError(
                "The test fold is sealed",
                fix="Choose models and settings on the validation fold; only 'evaluate' opens the test fold",
            )
        return self._test

    @contextmanager
    def opened(self) -> Iterator[Split]:
        """Break the seal for the length of a block. For ``evaluate`` and ``export`` only."""
        self._seal[0] = False
        try:
            yield self
        finally:
            self._seal[0] = True

    def development(self) -> Split:
        """The same split without its test fold: what trainers and tuners are given."""
        return Split(self.config, self.train, self.valid, self.known, self.n_items, self.notes, self.train_ratings)

    def protocol(self) -> dict[str, Any]:
        """What must be known to make this split again."""
        return self.config.model_dump(mode="json")


def split(dataset: Dataset, config: SplitConfig | None = None) -> Split:
    """Divide a dataset.

    Raises:
        ConfigError: The rule needs a column the data does not have.
        DataError: Nothing is left to train on or to ask about.
    """
    config = config or SplitConfig()
    if config.valid_share + config.test_share >= 1:
        raise ConfigError(
            f"valid_share {config.valid_share:g} and test_share {config.test_share:g} leave nothing to train on",
            where="split",
            fix="Lower them; 0.1 each is usual",
        )
    if dataset.n_users < 2 or dataset.n_items < 2:
        raise DataError(
            f"'{dataset.name}' has {dataset.n_users} user(s) and {dataset.n_items} item(s)",
            fix="A recommender needs at least two of each",
        )
    assignment, notes = _RULES[config.rule](dataset, config)
    made = _assemble(dataset, config, assignment, notes)
    for name, fold in (("validation", made.valid), ("test", made._test)):
        left_out = name == "validation" and config.train_on_valid
        if not left_out and (fold is None or not len(fold)):
            raise DataError(
                f"The {config.rule} split leaves no question for the {name} fold of '{dataset.name}'",
                fix="Use more data or another rule (--split)",
            )
    if not len(made.train.items):
        raise DataError(f"The {config.rule} split leaves nothing to train on", fix="Use more data or another rule")
    return made


TRAIN, VALID, TEST = 0, 1, 2


def _assemble(dataset: Dataset, config: SplitConfig, assignment: npt.NDArray[np.int8], notes: list[str]) -> Split:
    """Turn a fold number per interaction into histories and questions."""
    user = dataset.interactions[USER].to_numpy()
    item = dataset.interactions[ITEM].to_numpy()
    n_users = dataset.n_users

    def rows(mask: npt.NDArray[np.bool_]) -> Histories:
        return Histories.from_pairs(user[mask], item[mask], n_users)

    if config.train_on_valid:
        assignment = np.where(np.isin(assignment, (VALID, _known_half(VALID))), TRAIN, assignment)
        notes.append("Trained on the validation part too: there is no early stopping and no validation figure")
    train = rows(assignment == TRAIN)
    folds = []
    repeats = 0
    for number in (VALID, TEST):
        past = rows(assignment < number)
        if config.rule == "cold-item":
            past = rows(assignment == TRAIN)
        elif config.rule == "cold-user":
            past = rows(assignment == _known_half(number))
        future = rows(assignment == number)
        targets = _new_targets(past, future, dataset.n_items)
        repeats += len(future.items) - len(targets.items)
        asked = np.flatnonzero(targets.lengths > 0).astype(np.int32)
        folds.append(Fold(asked, past.take(asked), targets.take(asked)))
    if repeats:
        notes.append(f"{repeats} held-out interactions repeat an item the user already has and are not asked about")
    known = rows(assignment != TEST)
    ratings = None
    if RATING in dataset.interactions.columns:
        ratings = dataset.interactions[RATING].cast(pl.Float32).fill_null(0.0).to_numpy()[assignment == TRAIN]
    return Split(config, train, folds[0], known, dataset.n_items, tuple(notes), ratings, folds[1])


def _known_half(number: int) -> int:
    """Fold number under which a held-out user's known events are filed (never a training number)."""
    return 10 + number


def _new_targets(past: Histories, future: Histories, n_items: int) -> Histories:
    """Distinct held-out items per row that the row's past does not hold: those a masked ranking can contain."""
    future = future.unique()
    known = past.rows * np.int64(n_items) + past.items
    asked = future.rows * np.int64(n_items) + future.items
    new = ~np.isin(asked, known)
    return Histories.from_pairs(future.rows[new], future.items[new], len(future))


def _leave_one_out(dataset: Dataset, config: SplitConfig) -> tuple[npt.NDArray[np.int8], list[str]]:
    histories = dataset.histories()
    lengths = histories.lengths
    from_end = np.repeat(histories.offsets[1:], lengths) - np.arange(len(histories.items))
    enough = np.repeat(lengths >= 3, lengths)
    assignment = np.where(enough & (from_end == 1), TEST, np.where(enough & (from_end == 2), VALID, TRAIN))
    notes = ["Leave-one-out lets a model learn from other people's later events; judge for production by 'temporal'"]
    if dataset.source.get("time") == "order":
        notes.append("The data have no time: a user's last interaction is the last in the file; consider 'ratio'")
    if tied := _tied_at_the_end(dataset, histories):
        notes.append(
            f"For {tied} of {dataset.n_users} people the last two interactions share one timestamp: which of them is "
            "held out follows the order of the file"
        )
    if short := int((lengths < 3).sum()):
        notes.append(f"{short} users with fewer than 3 interactions are only trained on")
    return assignment.astype(np.int8), notes


def _tied_at_the_end(dataset: Dataset, histories: Histories) -> int:
    """People whose last two interactions happened at the same time."""
    if TIMESTAMP not in dataset.interactions.columns:
        return 0
    time = dataset.interactions[TIMESTAMP].to_numpy()
    last = histories.offsets[1:][histories.lengths >= 3] - 1
    return int((time[last] == time[last - 1]).sum())


def _temporal(dataset: Dataset, config: SplitConfig) -> tuple[npt.NDArray[np.int8], list[str]]:
    if TIMESTAMP not in dataset.interactions.columns or dataset.source.get("time") == "position":
        raise ConfigError(
            f"A temporal split needs a timestamp, and '{dataset.name}' has none",
            fix="Use --split leave-one-out or ratio",
        )
    if missing := dataset.interactions[TIMESTAMP].null_count():
        raise ConfigError(
            f"A temporal split needs every timestamp, and {missing} interactions of '{dataset.name}' have none",
            fix="Use --split column or leave-one-out",
        )
    time = dataset.interactions[TIMESTAMP].to_numpy()
    order = np.sort(time)
    n = len(order)
    test_from = order[min(n - 1, round(n * (1 - config.test_share)))]
    valid_from = order[min(n - 1, round(n * (1 - config.test_share - config.valid_share)))]
    assignment = np.where(time >= test_from, TEST, np.where(time >= valid_from, VALID, TRAIN))
    return assignment.astype(np.int8), []


def _ratio(dataset: Dataset, config: SplitConfig) -> tuple[npt.NDArray[np.int8], list[str]]:
    histories = dataset.histories()
    lengths = histories.lengths
    key = np.random.default_rng(config.seed).random(len(histories.items))
    order = np.lexsort((key, histories.rows))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order)) - np.repeat(histories.offsets[:-1], lengths)
    n_test = np.floor(lengths * config.test_share + 0.5).astype(np.int64)
    n_valid = np.floor(lengths * config.valid_share + 0.5).astype(np.int64)
    too_short = lengths - n_test - n_valid < 1
    n_test[too_short], n_valid[too_short] = 0, 0
    test, valid = np.repeat(n_test, lengths), np.repeat(n_valid, lengths)
    assignment = np.where(place < test, TEST, np.where(place < test + valid, VALID, TRAIN))
    return assignment.astype(np.int8), []


def _draw(n: int, config: SplitConfig) -> npt.NDArray[np.int8]:
    """A random fold per entity."""
    order = np.random.default_rng(config.seed).permutation(n)
    n_test, n_valid = max(1, round(n * config.test_share)), max(1, round(n * config.valid_share))
    if n_test + n_valid >= n:
        raise DataError(f"{n} are too few to hold out {n_valid} and {n_test}", fix="Lower valid_share and test_share")
    fold = np.full(n, TRAIN, np.int8)
    fold[order[:n_test]] = TEST
    fold[order[n_test : n_test + n_valid]] = VALID
    return fold


def _cold_user(dataset: Dataset, config: SplitConfig) -> tuple[npt.NDArray[np.int8], list[str]]:
    """Held-out users show their earlier 80 % at question time and are asked about the rest, one event at least."""
    histories = dataset.histories()
    lengths = histories.lengths
    fold = np.repeat(_draw(dataset.n_users, config), histories.lengths)
    position = np.arange(len(histories.items)) - np.repeat(histories.offsets[:-1], histories.lengths)
    n_known = np.minimum(np.ceil(lengths * 0.8).astype(np.int64), lengths - 1)
    n_known[lengths == 1] = 1
    shown = (fold != TRAIN) & (position < np.repeat(n_known, lengths))
    single = int(((fold != TRAIN) & np.repeat(lengths == 1, lengths)).sum())
    notes = [f"{single} held-out users have a single interaction and are not asked"] if single else []
    return np.where(shown, fold + 10, fold).astype(np.int8), notes


def _cold_item(dataset: Dataset, config: SplitConfig) -> tuple[npt.NDArray[np.int8], list[str]]:
    return _draw(dataset.n_items, config)[dataset.interactions[ITEM].to_numpy()], []


def _column(dataset: Dataset, config: SplitConfig) -> tuple[npt.NDArray[np.int8], list[str]]:
    if SPLIT not in dataset.interactions.columns:
        raise ConfigError(f"'{dataset.name}' has no 'split' column", fix="Use another rule, e.g. --split leave-one-out")
    names = {"train": TRAIN, "valid": VALID, "validation": VALID, "tune": VALID, "dev": VALID, "test": TEST}
    column = dataset.interactions[SPLIT].cast(pl.String).str.to_lowercase()
    unknown = sorted(set(column.unique().to_list()) - set(names), key=str)
    if unknown:
        raise DataError(
            f"The split column holds {unknown[0]!r}", where="column 'split'", fix="Use train, valid (or tune) and test"
        )
    assignment = column.replace_strict(names, return_dtype=pl.Int8).to_numpy().copy()
    if config.train_on_valid or (assignment == VALID).any():
        return assignment, []
    return _with_validation(dataset, config, assignment)


def _with_validation(
    dataset: Dataset, config: SplitConfig, assignment: npt.NDArray[np.int8]
) -> tuple[npt.NDArray[np.int8], list[str]]:
    """A validation fold out of a published training part: each user's last event, or a random share without time."""
    rows = np.flatnonzero(assignment == TRAIN)
    histories = Histories.from_pairs(dataset.interactions[USER].to_numpy()[rows], rows, dataset.n_users)
    lengths = histories.lengths
    if dataset.source.get("time", "timestamp") == "order":
        key = np.random.default_rng(config.seed).random(len(rows))
        rows = rows[np.lexsort((key, histories.rows))]
        n_valid = np.floor(lengths * config.valid_share + 0.5).astype(np.int64)
        how = f"{config.valid_share:g} of each user's training interactions, drawn at random"
    else:
        n_valid = (lengths >= 2).astype(np.int64)
        how = "each user's last training interaction"
    n_valid[lengths - n_valid < 1] = 0
    from_end = np.repeat(histories.offsets[1:], lengths) - np.arange(len(rows))
    assignment[rows[from_end <= np.repeat(n_valid, lengths)]] = VALID
    return assignment, [f"The split column has no validation part: {how} took its place"]


_RULES = {
    "leave-one-out": _leave_one_out,
    "temporal": _temporal,
    "ratio": _ratio,
    "cold-user": _cold_user,
    "cold-item": _cold_item,
    "column": _column,
}
