"""One person's problem: what may change to what, at which effort and surrogate gain, and what must hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from rectitude.decisions.plans.conditions import Answer, spoken

Levels = tuple[int, ...]
"""A plan as the chosen level of each choice."""


@dataclass(frozen=True)
class Choice:
    """One feature that may change.

    Attributes:
        name: The feature.
        values: Answers it may take, ascending where ordered, v of them; the current one among them.
        codes: Their numbers, NaN for 'not answered', float64 [v].
        vectors: Their columns of the encoded table, float64 [v, width].
        columns: Where these columns are.
        current: Position of the current answer.
        effort: Effort of going there, float64 [v], 0 at the current one.
        hours: Hours a day it takes more, float64 [v].
        resistance: r times the person's own multiplier.
        gain: Log-odds by the surrogate, float64 [v], 0 at the current one.
        unit: Changes of choices of one unit (a group) count once.
    """

    name: str
    values: tuple[Answer | None, ...]
    codes: np.ndarray
    vectors: np.ndarray
    columns: slice
    current: int
    effort: np.ndarray
    hours: np.ndarray
    resistance: float
    gain: np.ndarray
    unit: str


@dataclass(frozen=True)
class Clause:
    """At least one of some choices must be at one of some levels.

    Attributes:
        name: What it is for, in words.
        kind: rule or wish.
        parts: Choice to the levels that fulfil it.
        always: Holds even where nothing it speaks of changes (wishes).
    """

    name: str
    kind: str
    parts: dict[int, frozenset[int]]
    always: bool = False


@dataclass(frozen=True)
class Row:
    """A weighted sum of what is chosen, within two ends where something it speaks of changes.

    Attributes:
        name: What it is for, in words.
        terms: Choice to the amount at each level.
        low: Lower end.
        high: Upper end.
    """

    name: str
    terms: dict[int, np.ndarray]
    low: float
    high: float


@dataclass(frozen=True)
class Problem:
    """What a solver is given.

    Attributes:
        row: The person, encoded, float64 [columns].
        choices: What may change.
        clauses: Rules and wishes.
        rows: Linear rules.
        cuts: Pair of choices to which pairs of their levels are plausible, bool [v, u].
        notes: What a reader must know of this person's answers.
    """

    row: np.ndarray
    choices: tuple[Choice, ...]
    clauses: tuple[Clause, ...] = ()
    rows: tuple[Row, ...] = ()
    cuts: Mapping[tuple[int, int], np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def stay(self) -> Levels:
        """The empty plan."""
        return tuple(choice.current for choice in self.choices)

    def encoded(self, levels: Levels) -> np.ndarray:
        """The person after a plan, float64 [columns]."""
        row = self.row.copy()
        for choice, level in zip(self.choices, levels, strict=True):
            row[choice.columns] = choice.vectors[level]
        return row

    def units(self, levels: Levels) -> list[str]:
        """What changes, each group once, in order."""
        changed = (choice.unit for choice, level in zip(self.choices, levels, strict=True) if level != choice.current)
        return list(dict.fromkeys(changed))

    def effort(self, levels: Levels) -> float:
        """Sum of efforts."""
        return float(sum(choice.effort[level] for choice, level in zip(self.choices, levels, strict=True)))

    def resistance(self, levels: Levels) -> float:
        """Sum of efforts times resistance."""
        return float(sum(c.effort[level] * c.resistance for c, level in zip(self.choices, levels, strict=True)))

    def hours(self, levels: Levels) -> float:
        """Hours a day it takes more."""
        return float(sum(choice.hours[level] for choice, level in zip(self.choices, levels, strict=True)))

    def gain(self, levels: Levels) -> float:
        """Log-odds by the surrogate."""
        return float(sum(choice.gain[level] for choice, level in zip(self.choices, levels, strict=True)))

    def violated(self, levels: Levels) -> list[str]:
        """Names of the rules, wishes and cuts that a plan breaks."""
        changed = {index for index, choice in enumerate(self.choices) if levels[index] != choice.current}
        broken = []
        for clause in self.clauses:
            bound = clause.always or bool(changed & set(clause.parts))
            if bound and not any(levels[index] in allowed for index, allowed in clause.parts.items()):
                broken.append(clause.name)
        for row in self.rows:
            total = sum(amount[levels[index]] for index, amount in row.terms.items())
            if changed & set(row.terms) and not row.low - 1e-9 <= total <= row.high + 1e-9:
                broken.append(row.name)
        for (one, other), seen in self.cuts.items():
            if not seen[levels[one], levels[other]]:
                a, b = self.choices[one], self.choices[other]
                said = f"{a.name} {spoken(a.values[levels[one]])} with {b.name} {spoken(b.values[levels[other]])}"
                broken.append(f"too few people have {said}")
        return broken

    def scaled(self, gains: Sequence[float], resistances: Sequence[float]) -> Problem:
        """The same with the gains and resistances of each choice multiplied."""
        choices = tuple(
            replace(choice, gain=choice.gain * g, resistance=choice.resistance * r)
            for choice, g, r in zip(self.choices, gains, resistances, strict=True)
        )
        return replace(self, choices=choices)

    def with_gains(self, gains: Iterable[np.ndarray]) -> Problem:
        """The same with other surrogate gains."""
        choices = tuple(replace(choice, gain=gain) for choice, gain in zip(self.choices, gains, strict=True))
        return replace(self, choices=choices)
