"""Answers as numbers a model can read, and back: the one place where the two meet.

Every question becomes one column or more. Numbers stay as they are, ordered labels become their position, labels
without order one column each. A missing answer becomes the usual one and, where the training table had such gaps, a
column that says so; thus no model ever meets a NaN, whose branch each library chooses in its own way. Values are
rounded to float32, the precision in which forests compare.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from rectitude.core.errors import DataError, did_you_mean
from rectitude.decisions.plans.conditions import Answer, place, spoken
from rectitude.decisions.plans.schema import NUMERIC, Feature, Schema


@dataclass(frozen=True)
class Question:
    """How one feature is encoded.

    Attributes:
        name: The feature.
        feature: What it is.
        start: Its first column.
        width: How many columns it has.
        fill: Code that stands for a missing answer, unused for nominal ones.
        gaps: Does its last column say that the answer is missing?
        low: Smallest code of the training table.
        high: Largest.
    """

    name: str
    feature: Feature
    start: int
    width: int
    fill: float
    gaps: bool
    low: float
    high: float

    @property
    def columns(self) -> slice:
        """Its columns of the matrix."""
        return slice(self.start, self.start + self.width)

    def code(self, value: Answer, *, where: str) -> float:
        """The number of an answer: itself, or the label's position; −1 for a label of a nominal one not seen.

        Raises:
            DataError: It does not belong to the question.
        """
        if self.feature.kind in NUMERIC:
            if isinstance(value, str):
                raise DataError(f"'{value}' is no number", where=f"{where}, '{self.name}'", fix="Give a number")
            return float(value)
        found = place(value, self.feature.levels)
        if found is None and self.feature.kind != "nominal":
            raise DataError(
                f"'{spoken(value)}' is not an answer to '{self.name}'",
                where=where,
                fix=did_you_mean(spoken(value), [spoken(level) for level in self.feature.levels]),
            )
        return -1.0 if found is None else float(found)

    def vector(self, value: Answer | None, *, where: str = "the answers") -> np.ndarray:
        """The columns of an answer, float64 [width]."""
        code = np.nan if value is None else self.code(value, where=where)
        return np.asarray(self.vectors(np.array([code]))[0])

    def vectors(self, codes: np.ndarray) -> np.ndarray:
        """The columns of answers given by their codes, NaN where missing; [n] to [n, width]."""
        found = np.zeros((len(codes), self.width))
        missing = np.isnan(codes)
        if self.feature.kind == "nominal":
            known = ~missing & (codes >= 0)
            found[np.flatnonzero(known), codes[known].astype(int)] = 1.0
        else:
            found[:, 0] = np.where(missing, self.fill, codes)
            if self.gaps:
                found[:, 1] = missing
        return found.astype(np.float32).astype(np.float64)


class Encoder:
    """Tables as matrices.

    Args:
        questions: In order of their columns.
    """

    def __init__(self, questions: Sequence[Question]) -> None:
        self.questions = {question.name: question for question in questions}
        self.n_columns = sum(question.width for question in questions)

    @classmethod
    def fit(cls, schema: Schema, answers: pl.DataFrame) -> Encoder:
        """Learn from a table what the usual answers are and where there are gaps.

        Raises:
            DataError: A value does not belong to its question.
        """
        questions, start = [], 0
        for name, feature in schema.used().items():
            blank = Question(name, feature, 0, 0, 0.0, False, 0.0, 0.0)
            codes = _codes(blank, answers[name])
            known = codes[~np.isnan(codes)]
            if not len(known):
                raise DataError(f"Nobody answered '{name}'", fix="Set its role to forbidden")
            gaps = len(known) < len(codes) and feature.kind != "nominal"
            width = len(feature.levels) if feature.kind == "nominal" else 1 + gaps
            fill = float(np.quantile(known, 0.5, method="lower"))
            questions.append(Question(name, feature, start, width, fill, gaps, float(known.min()), float(known.max())))
            start += width
        return cls(questions)

    def codes(self, answers: pl.DataFrame) -> dict[str, np.ndarray]:
        """Each question's answers as numbers, NaN where missing."""
        return {name: _codes(question, answers[name]) for name, question in self.questions.items()}

    def matrix(self, answers: pl.DataFrame) -> np.ndarray:
        """A table as float64 [n, columns], every value one of float32's."""
        parts = [self.questions[name].vectors(codes) for name, codes in self.codes(answers).items()]
        return np.concatenate(parts, axis=1)

    def row(self, answers: Mapping[str, Answer | None]) -> np.ndarray:
        """One person as float64 [columns]."""
        return np.concatenate([question.vector(answers[name]) for name, question in self.questions.items()])

    def owners(self) -> np.ndarray:
        """Which question each column belongs to, int [columns]."""
        return np.repeat(np.arange(len(self.questions)), [question.width for question in self.questions.values()])

    def monotone(self) -> np.ndarray:
        """+1 for columns of which more is better, −1 for less, 0 elsewhere; int [columns]."""
        signs = np.zeros(self.n_columns, dtype=int)
        for question in self.questions.values():
            if question.feature.better is not None:
                signs[question.start] = 1 if question.feature.better == "more" else -1
        return signs

    def to_dict(self) -> dict[str, Any]:
        """What was learnt, as JSON holds it; the features are in the schema."""
        return {
            question.name: {"fill": question.fill, "gaps": question.gaps, "low": question.low, "high": question.high}
            for question in self.questions.values()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], schema: Schema) -> Encoder:
        """The inverse of :meth:`to_dict`."""
        questions, start = [], 0
        for name, feature in schema.used().items():
            width = len(feature.levels) if feature.kind == "nominal" else 1 + bool(values[name]["gaps"])
            questions.append(Question(name, feature, start, width, **values[name]))
            start += width
        return cls(questions)


def _codes(question: Question, column: pl.Series) -> np.ndarray:
    if column.dtype == pl.Float64 and question.feature.kind in NUMERIC:
        return column.to_numpy().astype(np.float64)
    values = column.to_list()
    table = {None: np.nan}
    for row, value in enumerate(values):
        if value not in table:
            table[value] = question.code(value, where=f"row {row + 1}")
    return np.array([table[value] for value in values], dtype=np.float64)
