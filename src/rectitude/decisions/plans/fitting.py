"""From a survey table to everything a plan needs: two models on disjoint people, bootstraps, curves and counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from pydantic import Field

from rectitude.core.config import Settings
from rectitude.core.errors import DataError
from rectitude.core.progress import progress_bar
from rectitude.decisions.plans.attribution import importance, level_curve, shapley
from rectitude.decisions.plans.building import Population
from rectitude.decisions.plans.classifier import (
    CANDIDATES,
    Candidate,
    Family,
    Fitted,
    choose_and_fit,
    fit_score,
    folds,
    majority_metrics,
    nested_cv,
    prediction_metrics,
)
from rectitude.decisions.plans.encode import Encoder, Question
from rectitude.decisions.plans.schema import Schema
from rectitude.decisions.plans.score import Score
from rectitude.decisions.plans.table import People

PLANNER, JUDGE, TEST = "planner", "judge", "test"
CONSENSUS: tuple[Family, ...] = ("logistic", "boosted")
"""Families whose consensus may be asked for: one adds answers up, the other sees what they do together."""


class FitSettings(Settings):
    """How a prescriber is fitted."""

    families: tuple[Family, ...] = ("logistic", "boosted", "forest")
    """Classifiers that are compared."""
    judge_share: float = Field(default=0.4, gt=0, lt=0.8)
    """Share of people whom only the independent judge learns from."""
    test_share: float = Field(default=0.2, gt=0, lt=0.8)
    """Share of people nobody learns from."""
    outer_folds: int = Field(default=5, ge=0)
    """Folds by which the whole procedure is judged (nested cross-validation); 0 leaves it out."""
    inner_folds: int = Field(default=3, ge=2)
    """Folds by which a classifier is chosen and calibrated."""
    n_bootstraps: int = Field(default=10, ge=2)
    """Refits on resampled people, for intervals and the robust objective (5–20)."""
    background: int = Field(default=200, ge=10)
    """People that answers are compared with in attributions (100–200)."""
    explained: int = Field(default=1000, ge=50)
    """People whose attributions make the level curves (800–2000)."""
    monotone: bool = True
    """Hold the model to what the schema calls better."""

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """The classifiers, from simple to complex."""
        return tuple(candidate for candidate in CANDIDATES if candidate.family in self.families)


@dataclass(frozen=True)
class Fit:
    """What fitting gives.

    Attributes:
        encoder: Answers as numbers.
        planner: The model plans are made with.
        judge: The model they are judged by, of another family and other people.
        bootstraps: Refits of the planner.
        families: The simplest candidate of each family of the consensus, from the planner's people; none where one of
            them predicts nothing.
        population: Level curves, weights and counts.
        folds: Fold of each row.
        background: Rows that attributions compare with, [m, columns].
        metrics: Everything measured.
    """

    encoder: Encoder
    planner: Fitted
    judge: Fitted
    bootstraps: tuple[Score, ...]
    families: tuple[Score, ...]
    population: Population
    folds: list[str]
    background: np.ndarray
    metrics: dict[str, Any]


def split_people(good: np.ndarray, groups: np.ndarray | None, settings: FitSettings, seed: int) -> list[str]:
    """Fold of each row: planner, judge or test, the outcome spread evenly and households kept together.

    Raises:
        DataError: Nothing would be left for the planner.
    """
    if settings.judge_share + settings.test_share > 0.9:
        raise DataError("judge_share and test_share leave nobody for the planner", fix="Keep their sum below 0.9")
    parts = np.zeros(len(good), dtype=int)
    for number, (_, rest) in enumerate(
        folds(good, groups, 20, seed) if _enough(good) else folds(good, groups, 5, seed)
    ):
        parts[rest] = number
    n_parts = int(parts.max()) + 1
    n_test, n_judge = round(n_parts * settings.test_share), round(n_parts * settings.judge_share)
    names = [TEST] * max(1, n_test) + [JUDGE] * max(1, n_judge)
    names += [PLANNER] * (n_parts - len(names))
    return [names[part] for part in parts]


def _enough(good: np.ndarray) -> bool:
    return int(min(good.sum(), len(good) - good.sum())) >= 40


def fit(people: People, schema: Schema, settings: FitSettings, *, seed: int, announce: Callable[[str], None]) -> Fit:
    """Fit everything.

    Raises:
        DataError: The table is too small, or the answers do not predict the outcome.
    """
    groups = None
    if schema.household is not None:
        groups = people.answers[schema.household].cast(pl.String).fill_null("").rank("dense").to_numpy()
    parts = split_people(people.good, groups, settings, seed)
    where = {name: np.flatnonzero([part == name for part in parts]) for name in (PLANNER, JUDGE, TEST)}
    encoder = Encoder.fit(schema, people.answers[where[PLANNER].tolist()])
    x, y = encoder.matrix(people.answers), people.good.astype(int)
    signs = encoder.monotone() if settings.monotone else np.zeros(encoder.n_columns, dtype=int)
    candidates = settings.candidates
    if not candidates:
        raise DataError("No classifier is allowed", where="families", fix="Name logistic, boosted or forest")
    per_choice = settings.inner_folds * len(candidates) + 1
    total = (settings.outer_folds + 1) * per_choice + settings.inner_folds * 3 + settings.n_bootstraps
    with progress_bar() as bar:
        task = bar.add_task("Fitting", total=total, note="")
        learn = where[PLANNER]

        def tick() -> None:
            bar.advance(task)

        planner = choose_and_fit(
            x[learn],
            y[learn],
            candidates,
            monotone=signs,
            groups=_part(groups, learn),
            seed=seed,
            n_folds=settings.inner_folds,
            tick=tick,
        )
        announce(f"Planner: {planner.candidate.words}, from {len(learn):,} people")
        rest = where[JUDGE]
        others = [one for one in CANDIDATES if one.family != planner.candidate.family]
        judge = choose_and_fit(
            x[rest], y[rest], others, monotone=np.zeros(encoder.n_columns, dtype=int), groups=_part(groups, rest),
            seed=seed + 1, n_folds=settings.inner_folds, tick=tick,
        )  # fmt: skip
        announce(f"Judge: {judge.candidate.words}, from {len(rest):,} other people")
        bootstraps = []
        rng = np.random.default_rng(seed)
        for number in range(settings.n_bootstraps):
            drawn = learn[rng.integers(len(learn), size=len(learn))]
            refit = fit_score(planner.candidate, x[drawn], y[drawn], monotone=signs, seed=seed + number)
            bootstraps.append(refit.stretched(planner.slope, planner.shift))
            bar.advance(task)
        families = consensus(
            planner, x[learn], y[learn], monotone=signs, groups=_part(groups, learn), n_folds=settings.inner_folds,
            seed=seed,
        )  # fmt: skip
        nested = []
        if settings.outer_folds:
            known = np.concatenate([learn, rest])
            nested = nested_cv(
                x[known], y[known], candidates, monotone=signs, groups=_part(groups, known), seed=seed,
                n_outer=settings.outer_folds, n_inner=settings.inner_folds, tick=tick,
            )  # fmt: skip
        bar.update(task, completed=total)
    chosen = learn[np.random.default_rng(seed + 2).permutation(len(learn))]
    background, explained = x[chosen[: settings.background]], chosen[: settings.explained]
    answers = people.answers[learn.tolist()]
    population = population_of(schema, encoder, answers, planner.score, x[explained], background,
                               people.answers[explained.tolist()])  # fmt: skip
    held = where[TEST]
    metrics = {
        "people": {name: len(rows) for name, rows in where.items()},
        "good_share": float(y.mean()),
        "nested_cv": nested,
        "candidates": {
            name: {"log_loss": loss, "standard_error": error} for name, (loss, error) in planner.losses.items()
        },
        "test": prediction_metrics(planner.score(x[held]), y[held], planner.threshold),
        "test_judge": prediction_metrics(judge.score(x[held]), y[held], judge.threshold),
        "test_majority": majority_metrics(y[held]),
        "calibration": calibration_curve(planner.score(x[held]), y[held]),
    }
    return Fit(encoder, planner, judge, tuple(bootstraps), families, population, parts, background, metrics)


def consensus(
    planner: Fitted, x: np.ndarray, y: np.ndarray, *, monotone: np.ndarray, groups: np.ndarray | None, n_folds: int,
    seed: int,
) -> tuple[Score, ...]:  # fmt: skip
    """The simplest candidate of each family of :data:`CONSENSUS`, calibrated; none where one predicts nothing.

    Args:
        planner: What was chosen from the same rows; what it has calibrated is not calibrated again.
        x: Encoded table, float64 [n, columns].
        y: 1 for the good outcome, [n].
        monotone: Which way each column must act.
        groups: Households that stay together.
        n_folds: Folds of the calibration.
        seed: Of what is random.
    """
    known = {candidate: (slope, shift) for candidate, slope, shift in planner.calibrations}
    found = []
    for family in CONSENSUS:
        candidate = next(one for one in CANDIDATES if one.family == family)
        if candidate == planner.candidate:
            found.append(planner.score)
        elif candidate in known:
            score = fit_score(candidate, x, y, monotone=monotone, seed=seed)
            found.append(score.stretched(*known[candidate]))
        else:
            try:
                fitted = choose_and_fit(x, y, [candidate], monotone=monotone, groups=groups, n_folds=n_folds, seed=seed)
            except DataError:
                return ()
            found.append(fitted.score)
    return tuple(found)


def _part(groups: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    return None if groups is None else groups[rows]


def calibration_curve(odds: np.ndarray, y: np.ndarray, n_bins: int = 8) -> list[dict[str, float]]:
    """Predicted and found share of good outcomes in groups of equal size."""
    chance = 1 / (1 + np.exp(-odds))
    parts = [part for part in np.array_split(np.argsort(chance), n_bins) if len(part)]
    return [
        {"predicted": float(chance[part].mean()), "found": float(y[part].mean()), "people": len(part)} for part in parts
    ]


def population_of(
    schema: Schema,
    encoder: Encoder,
    answers: pl.DataFrame,
    score: Score,
    explained: np.ndarray,
    background: np.ndarray,
    explained_answers: pl.DataFrame,
) -> Population:
    """What the planner's people tell of each mutable feature.

    Args:
        schema: What the table means.
        encoder: How it is encoded.
        answers: The planner's people.
        score: The planner's model.
        explained: Rows to attribute, [n, columns].
        background: Rows to compare with.
        explained_answers: The same rows as answers.
    """
    base, values = shapley(score, encoder.owners(), explained, background)
    if not np.allclose(base + values.sum(axis=1), score(explained), atol=1e-6):
        raise DataError("Attributions do not add up to the score", fix="This is a fault of rectitude: report it")
    codes, seen = encoder.codes(explained_answers), encoder.codes(answers)
    summary = importance(encoder, values, codes)
    mutable = schema.mutable()
    total = sum(summary[name]["weight"] for name in mutable) or 1.0
    names, order = list(mutable), list(encoder.questions)
    levels = {name: level_codes(encoder.questions[name], score) for name in names}
    found = Population(
        levels={name: list(map(float, levels[name])) for name in names},
        below={}, curves={}, counts={}, together={},
        weights={name: summary[name]["weight"] / total for name in names},
        slopes={name: summary[name]["slope"] for name in names},
    )  # fmt: skip
    nearest = {}
    for name in names:
        known = seen[name][~np.isnan(seen[name])]
        found.below[name] = [float((known <= level + 1e-9).mean()) for level in levels[name]]
        curve = level_curve(codes[name], values[:, order.index(name)], levels[name], mutable[name].better)
        found.curves[name] = [float(value) for value in curve]
        place = _nearest(seen[name], levels[name], nominal=mutable[name].kind == "nominal")
        nearest[name] = place
        found.counts[name] = np.bincount(place[place >= 0], minlength=len(levels[name])).tolist()
    for one in names:
        found.together[one] = {}
        for other in names[names.index(one) + 1 :]:
            both = (nearest[one] >= 0) & (nearest[other] >= 0)
            table = np.zeros((len(levels[one]), len(levels[other])), dtype=int)
            np.add.at(table, (nearest[one][both], nearest[other][both]), 1)
            found.together[one][other] = table.tolist()
    return found


def _nearest(codes: np.ndarray, levels: np.ndarray, *, nominal: bool) -> np.ndarray:
    place = np.abs(np.nan_to_num(codes, nan=-1e18)[:, None] - levels[None, :]).argmin(axis=1)
    return np.where(np.isnan(codes) | (nominal & (codes < 0)), -1, place)


def level_codes(question: Question, score: Score) -> np.ndarray:
    """Numbers of the levels a plan may give; without levels, one between any two cuts of the model's trees.

    Raises:
        DataError: The feature has no levels, and the model does not cut it.
    """
    feature = question.feature
    if feature.kind in ("binary", "ordinal", "nominal"):
        return np.arange(len(feature.levels), dtype=float)
    if feature.levels:
        return np.array([float(level) for level in feature.levels])
    cuts = score.thresholds(question.start)
    cuts = cuts[(cuts > question.low) & (cuts < question.high)]
    if not len(cuts):
        return np.linspace(question.low, question.high, 5)
    ends = np.concatenate([[question.low], cuts, [question.high]])
    return np.unique((ends[:-1] + ends[1:]) / 2)
