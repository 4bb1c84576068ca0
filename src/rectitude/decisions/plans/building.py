"""From a person's answers to a problem: levels in reach, efforts, surrogate gains, rules, wishes and cuts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rectitude.core.errors import QueryError, did_you_mean
from rectitude.decisions.plans.conditions import Answer, Condition, spoken
from rectitude.decisions.plans.encode import Encoder, Question
from rectitude.decisions.plans.policy import EffortKind
from rectitude.decisions.plans.problem import Choice, Clause, Problem, Row
from rectitude.decisions.plans.schema import NUMERIC, Schema


class Person(Mapping[str, Any]):
    """Answers with what the person adds to them.

    Args:
        answers: Feature to answer, None where missing.
        locked: Features this person will not change.
        resistance: Feature to a multiplier of its resistance, 0.5 (ready) to 2 (not at all).
        wishes: Conditions that the plan must fulfil, such as ``exercise >= 2``.
    """

    def __init__(
        self,
        answers: Mapping[str, Answer | None],
        *,
        locked: Sequence[str] = (),
        resistance: Mapping[str, float] | None = None,
        wishes: Sequence[str] = (),
    ) -> None:
        self.answers, self.locked, self.wishes = dict(answers), tuple(locked), tuple(wishes)
        self.resistance = dict(resistance or {})

    def __getitem__(self, name: str) -> Answer | None:
        return self.answers[name]

    def __iter__(self) -> Any:
        return iter(self.answers)

    def __len__(self) -> int:
        return len(self.answers)


NOT_WEIGHED = "is not answered, so no change of it is weighed"


@dataclass(frozen=True)
class Population:
    """What the training table tells of each mutable feature, for efforts, gains and plausibility.

    Attributes:
        levels: Feature to the numbers of its levels, ascending, without 'not answered'.
        below: Feature to the share of people with at most that level.
        curves: Feature to the level curve, log-odds.
        weights: Feature to its share of all mutable features' importance (G1).
        slopes: Feature to the sign of its slope (G1).
        counts: Feature to how many people are at each level.
        together: Pair of features to counts of people at both levels, int [v, u].
    """

    levels: dict[str, list[float]]
    below: dict[str, list[float]]
    curves: dict[str, list[float]]
    weights: dict[str, float]
    slopes: dict[str, float]
    counts: dict[str, list[int]]
    together: dict[str, dict[str, list[list[int]]]] = field(default_factory=dict)


class Builder:
    """Makes the problem of a person.

    Args:
        schema: What the table means.
        encoder: How it is encoded.
        population: What the training table tells.
        effort: How efforts are measured.
        gain: Which surrogate gain is used.
        min_seen: Pairs of levels seen together less often are cut off.
    """

    def __init__(
        self,
        schema: Schema,
        encoder: Encoder,
        population: Population,
        *,
        effort: EffortKind = "range",
        gain: str = "curve",
        min_seen: int = 5,
    ) -> None:
        self.schema, self.encoder, self.population = schema, encoder, population
        self.effort, self.gain, self.min_seen = effort, gain, min_seen

    def problem(self, person: Person, attributions: Mapping[str, float] | None = None) -> Problem:
        """A person's problem.

        Args:
            person: Answers, locks, multipliers and wishes.
            attributions: The person's own Shapley values, for the gain ``personal``.

        Raises:
            QueryError: A lock, multiplier or wish speaks of a feature that a plan cannot change.
        """
        self._check(person)
        notes = self._notes(person)
        choices = []
        wished = {Condition.parse(wish, where="the wishes").name for wish in person.wishes}
        for name, feature in self.schema.mutable().items():
            if name in person.locked:
                continue
            if person[name] is None and name not in wished:
                # answering is no change of habit, and a model credits it with all that sets those apart who answered
                notes.append(f"'{feature.label or name}' {NOT_WEIGHED}")
                continue
            choice = self._choice(self.encoder.questions[name], person, (attributions or {}).get(name))
            if len(choice.values) > 1:
                choices.append(choice)
        index = {choice.name: position for position, choice in enumerate(choices)}
        clauses = [*self._rule_clauses(person, choices, index), *self._wishes(person, choices, index)]
        rows = [*self._rule_rows(person, choices, index), *self._group_rows(person, choices)]
        return Problem(
            self.encoder.row(person), tuple(choices), tuple(clauses), tuple(rows), self._cuts(choices), tuple(notes)
        )

    def _check(self, person: Person) -> None:
        mutable = self.schema.mutable()
        for name in (*person.locked, *person.resistance):
            if name not in mutable:
                raise QueryError(
                    f"'{name}' is not something a plan can change", fix=did_you_mean(name, mutable), where="the person"
                )
        for name, times in person.resistance.items():
            if not 0.5 <= times <= 2.0:
                raise QueryError(
                    f"The multiplier {times:g} of '{name}' is outside 0.5 (ready) to 2 (not ready)", where="the person"
                )

    def _notes(self, person: Person) -> list[str]:
        notes = []
        for name, question in self.encoder.questions.items():
            value = person[name]
            words = question.feature.label or name
            if value is None:
                if not question.gaps and question.feature.kind != "nominal" and not question.feature.mutable:
                    notes.append(f"'{words}' is not answered; the usual answer is assumed")
                continue
            code = question.code(value, where="the answers")
            if question.feature.kind == "nominal":
                if code < 0:
                    notes.append(f"The model has not seen the answer '{spoken(value)}' to '{words}'")
            elif not question.low <= code <= question.high and question.feature.kind in NUMERIC:
                notes.append(
                    f"'{words}' is {spoken(value)}, outside the {question.low:g} to {question.high:g} the model has "
                    "seen: its prediction is a guess there"
                )
        return notes

    def _choice(self, question: Question, person: Person, own: float | None) -> Choice:
        feature, name = question.feature, question.name
        value = person[name]
        now = np.nan if value is None else question.code(value, where="the answers")
        allowed = self._allowed(question, now)
        codes = np.array(
            sorted({*allowed, *([] if np.isnan(now) or (now < 0 and feature.kind == "nominal") else [now])})
        )
        current = int(np.flatnonzero(codes == now)[0]) if (codes == now).any() else -1
        if current < 0:  # not answered, or a label the model has not seen: a level of its own, never advised
            codes, current = np.concatenate([[now], codes]), 0
        values = tuple(
            value if index == current else (float(code) if feature.kind in NUMERIC else feature.levels[int(code)])
            for index, code in enumerate(codes)
        )
        times = person.resistance.get(name, 1.0)
        steps = np.where(np.isnan(codes), question.fill, codes) - (question.fill if np.isnan(now) else now)
        return Choice(
            name=name,
            values=values,
            codes=codes,
            vectors=question.vectors(codes),
            columns=question.columns,
            current=current,
            effort=self._efforts(question, codes, now, current),
            hours=np.zeros(len(codes)) if feature.kind == "nominal" else feature.hours * steps,
            resistance=feature.resistance * times,
            gain=self._gains(question, codes, now, current, own),
            unit=feature.group or name,
        )

    def _allowed(self, question: Question, now: float) -> list[float]:
        feature = question.feature
        levels, counts = self.population.levels[question.name], self.population.counts[question.name]
        found = []
        for code, count in zip(levels, counts, strict=True):
            if count < self.min_seen:
                continue
            if not np.isnan(now) and feature.kind != "nominal":
                step = code - now
                if feature.max_step is not None and abs(step) > feature.max_step + 1e-9:
                    continue
                if (feature.direction == "up" and step < 0) or (feature.direction == "down" and step > 0):
                    continue
            found.append(code)
        return found

    def _efforts(self, question: Question, codes: np.ndarray, now: float, current: int) -> np.ndarray:
        feature, name = question.feature, question.name
        if feature.kind == "nominal" or np.isnan(now):
            return np.where(np.arange(len(codes)) == current, 0.0, 1.0)
        if feature.group is not None:  # turning one on turns another off: one change, one effort
            return np.where((np.arange(len(codes)) != current) & (codes == 1), 1.0, 0.0)
        levels, below = np.array(self.population.levels[name]), np.array(self.population.below[name])
        spread = max(levels[-1] - levels[0], 1e-12)
        share = np.abs(codes - now) / spread
        if self.effort == "range":
            return np.asarray(share)
        if self.effort == "convex":
            return np.asarray(share**1.5)
        at = np.interp(codes, levels, below)
        base = float(np.interp(now, levels, below))
        if self.effort == "percentile":
            return np.asarray(np.abs(at - base))
        floor = 1e-3
        up = np.abs(np.log(np.maximum(1 - at, floor) / max(1 - base, floor)))
        down = np.abs(np.log(np.maximum(at, floor) / max(base, floor)))
        return np.asarray(np.where(codes > now, up, np.where(codes < now, down, 0.0)))

    def _gains(self, question: Question, codes: np.ndarray, now: float, current: int, own: float | None) -> np.ndarray:
        name, kind = question.name, question.feature.kind
        levels, curve = np.array(self.population.levels[name]), np.array(self.population.curves[name])
        unknown = np.isnan(now) or (kind == "nominal" and now < 0)
        if self.gain == "global":
            if kind == "nominal" or unknown:
                return np.zeros(len(codes))
            spread = max(levels[-1] - levels[0], 1e-12)
            return np.asarray(self.population.weights[name] * self.population.slopes[name] * (codes - now) / spread)
        here = 0.0 if unknown else self._on_curve(levels, curve, np.array([now]), kind)[0]
        if self.gain == "personal" and own is not None:
            here = own
        gains = self._on_curve(levels, curve, np.where(np.isnan(codes), levels[0], codes), kind) - here
        gains[current] = 0.0
        return gains

    @staticmethod
    def _on_curve(levels: np.ndarray, curve: np.ndarray, codes: np.ndarray, kind: str) -> np.ndarray:
        if kind == "nominal":
            return np.array([curve[np.flatnonzero(levels == code)[0]] if code in levels else 0.0 for code in codes])
        return np.asarray(np.interp(codes, levels, curve))

    # Rules, wishes and cuts, as clauses over levels and as weighted sums

    def _part(
        self, condition: Condition, person: Person, choices: Sequence[Choice], index: Mapping[str, int]
    ) -> tuple[int, frozenset[int]] | bool:
        """The levels at which a condition holds; a truth value where its feature cannot change."""
        levels = self.schema.used()[condition.name].levels
        if condition.name not in index:
            value = person[condition.name]
            return value is not None and condition.holds(value, levels)
        choice = choices[index[condition.name]]
        holding = [
            position for position, value in enumerate(choice.values)
            if value is not None and condition.holds(value, levels)
        ]  # fmt: skip
        return index[condition.name], frozenset(holding)

    def _rule_clauses(self, person: Person, choices: Sequence[Choice], index: Mapping[str, int]) -> Iterable[Clause]:
        for rule in self.schema.rules:
            if rule.sum:
                continue
            parts: dict[int, frozenset[int]] = {}
            settled = False
            for position, condition in enumerate(rule.conditions()):
                wanted = bool(rule.if_) and position == 1  # the others must fail
                found = self._part(condition, person, choices, index)
                if isinstance(found, bool):
                    settled |= found == wanted
                    continue
                which, holding = found
                every = frozenset(range(len(choices[which].values)))
                parts[which] = parts.get(which, frozenset()) | (holding if wanted else every - holding)
            if not settled and parts:
                yield Clause(str(rule), "rule", parts)

    def _rule_rows(self, person: Person, choices: Sequence[Choice], index: Mapping[str, int]) -> Iterable[Row]:
        for rule in self.schema.rules:
            terms, fixed = {}, 0.0
            for name, weight in rule.sum.items():
                if name in index:
                    choice = choices[index[name]]
                    usual = self.encoder.questions[name].fill
                    amounts = [usual if value is None else float(value) for value in choice.values]
                    terms[index[name]] = weight * np.array(amounts)
                else:
                    value = person[name]
                    fixed += weight * (self.encoder.questions[name].fill if value is None else float(value))
            if terms:
                low = -math.inf if rule.at_least is None else rule.at_least - fixed
                high = math.inf if rule.at_most is None else rule.at_most - fixed
                yield Row(str(rule), terms, low, high)

    def _group_rows(self, person: Person, choices: Sequence[Choice]) -> Iterable[Row]:
        """Of a group one is on: before, after, and whatever may not change among them counted."""
        groups: dict[str, list[str]] = {}
        for name, feature in self.schema.used().items():
            if feature.group is not None:
                groups.setdefault(feature.group, []).append(name)
        for group, members in groups.items():
            terms = {
                position: np.array([float(code == 1) for code in choice.codes])
                for position, choice in enumerate(choices) if choice.name in members
            }  # fmt: skip
            free = {choices[position].name for position in terms}
            on = sum(self._is_on(name, person) for name in members if name not in free)
            if terms:
                yield Row(f"one of '{group}' is on", terms, 1.0 - on, 1.0 - on)

    def _is_on(self, name: str, person: Person) -> bool:
        value = person[name]
        return value is not None and self.encoder.questions[name].code(value, where="the answers") == 1

    def _wishes(self, person: Person, choices: Sequence[Choice], index: Mapping[str, int]) -> Iterable[Clause]:
        for text in person.wishes:
            condition = Condition.parse(text, where="wishes")
            self.schema.feature(condition.name, where="wishes")
            found = self._part(condition, person, choices, index)
            if isinstance(found, bool):
                if not found:
                    why = "this person keeps it" if condition.name in person.locked else "a plan cannot change it"
                    yield Clause(f"wish '{text}', but {why}", "wish", {}, always=True)
                continue
            which, holding = found
            values = choices[which].values
            reach = "" if holding else f", but a plan can only reach {', '.join(map(spoken, values))}"
            yield Clause(f"wish '{text}'{reach}", "wish", {which: holding}, always=True)

    def _cuts(self, choices: Sequence[Choice]) -> dict[tuple[int, int], np.ndarray]:
        """Pairs of levels hardly anybody is at together; who is a rarity already may stay as rare in what stays."""
        found: dict[tuple[int, int], np.ndarray] = {}
        if not self.min_seen:
            return found
        for one, a in enumerate(choices):
            for other in range(one + 1, len(choices)):
                b = choices[other]
                rows, columns = self._nearest(a), self._nearest(b)
                counts = np.array(self.population.together[a.name][b.name])[np.ix_(rows, columns)]
                counts[rows < 0, :], counts[:, columns < 0] = self.min_seen, self.min_seen
                need = np.full(counts.shape, self.min_seen)
                now = counts[a.current, b.current]
                need[a.current, :] = np.minimum(need[a.current, :], now)
                need[:, b.current] = np.minimum(need[:, b.current], now)
                seen = counts >= need
                if not seen.all():
                    found[one, other] = seen
        return found

    def _nearest(self, choice: Choice) -> np.ndarray:
        """Position of each level among the population's, −1 for 'not answered' and labels never seen."""
        levels = np.array(self.population.levels[choice.name])
        nominal = self.encoder.questions[choice.name].feature.kind == "nominal"
        return np.array(
            [
                -1 if np.isnan(code) or (nominal and code < 0) else int(np.abs(levels - code).argmin())
                for code in choice.codes
            ]
        )
