"""``Prescriber``: fitted on a survey table, kept as a run, asked for plans."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.special import expit

from rectitude.core.config import build, origins
from rectitude.core.errors import ConfigError, QueryError, RunError, did_you_mean
from rectitude.core.files import write_json, write_text
from rectitude.decisions.plans.attribution import shapley
from rectitude.decisions.plans.building import Builder, Person, Population
from rectitude.decisions.plans.conditions import Answer
from rectitude.decisions.plans.encode import Encoder
from rectitude.decisions.plans.fitting import FitSettings, fit
from rectitude.decisions.plans.guess import guess_schema, note_lines
from rectitude.decisions.plans.plan import Plan
from rectitude.decisions.plans.planning import Models, Planner
from rectitude.decisions.plans.policy import Policy
from rectitude.decisions.plans.problem import Problem
from rectitude.decisions.plans.schema import Schema, dump_schema, parse_schema, read_schema, toml_text
from rectitude.decisions.plans.score import Score
from rectitude.decisions.plans.table import ROW, answers_of, clean, read_survey
from rectitude.runs.folder import CARD, CONFIG, LINEAGE, METRICS, REPORT, RunFolder

KIND = "plan"
PEOPLE, MODELS, CURVES, SCHEMA = "people.parquet", "models.json", "curves.json", "schema.toml"
FOLD = "\0fold"


def _silent(sentence: str) -> None:
    """Say nothing."""


class Prescriber:
    """Plans from a survey: which one or two changes go with a better outcome, and whether they are worth it.

    >>> prescriber = Prescriber.fit("survey.csv", target="good_sleep", out="runs/sleep")  # doctest: +SKIP
    >>> prescriber.plan(row="17").verdict  # doctest: +SKIP

    Source: arXiv 2603.16937 (abstract); the formulation is a reconstruction. Embedding: arXiv 1705.10883.
    """

    def __init__(
        self,
        schema: Schema,
        encoder: Encoder,
        models: Models,
        population: Population,
        background: np.ndarray,
        people: pl.DataFrame,
        config: Mapping[str, Any],
        metrics: Mapping[str, Any],
        path: Path | None = None,
    ) -> None:
        self.schema, self.encoder, self.models, self.population = schema, encoder, models, population
        self.background, self.people, self.config, self.metrics, self.path = background, people, config, metrics, path

    # Fitting and keeping

    @classmethod
    def fit(
        cls,
        table: str | Path | Any,
        target: str | None = None,
        *,
        good: Answer | None = None,
        schema: Schema | str | Path | None = None,
        settings: FitSettings | Mapping[str, Any] | None = None,
        policy: Policy | Mapping[str, Any] | None = None,
        seed: int = 0,
        out: str | Path | None = None,
        overwrite: bool = False,
        announce: Callable[[str], None] = _silent,
    ) -> Prescriber:
        """Fit on a survey table.

        Args:
            table: CSV, TSV or Parquet file, folder with ``data.parquet``, or a frame.
            target: The outcome's column; may be left out where the schema names it.
            good: What is wanted of it (``No``, ``>= 0.85``); the schema's, or guessed.
            schema: What the table means, or a TOML or JSON file of it; guessed if None.
            settings: How to fit.
            policy: How plans are made unless told otherwise.
            seed: Of everything random.
            out: Keep it there as a run.
            overwrite: Replace a run that is there.
            announce: Called with each sentence about what was guessed, dropped or chosen.

        Raises:
            DataError: The table cannot be used, or does not predict the outcome.
            ConfigError: The schema or a setting does not fit.
            RunError: Something is at ``out`` that may not be replaced.
        """
        if out is not None:
            RunFolder.check_target(out, overwrite=overwrite)
        chosen = settings if isinstance(settings, FitSettings) else build(FitSettings, settings or {}, where="settings")
        usual = policy if isinstance(policy, Policy) else build(Policy, policy or {}, where="policy")
        frame, notes = read_survey(table)
        meaning = _schema_of(frame, target, good, schema)
        name = str(table) if isinstance(table, str | Path) else "the frame"
        people = clean(frame, meaning, where=name)
        for note in (*notes, *(note_lines(meaning) if schema is None else ()), *people.notes):
            announce(note)
        if not meaning.mutable():
            raise ConfigError("No feature is mutable, so no plan can change anything", where="schema",
                              fix="Set mutable = true where a person can change the answer")  # fmt: skip
        found = fit(people, meaning, chosen, seed=seed, announce=announce)
        rows = people.answers.with_columns(pl.Series(ROW + "\0", people.ids), pl.Series(FOLD, found.folds))
        config = {
            "kind": KIND,
            "model": found.planner.candidate.words,
            "judge": found.judge.candidate.words,
            "candidate": found.planner.candidate.model_dump(mode="json"),
            "threshold": found.planner.threshold,
            "calibration": {"slope": found.planner.slope, "shift": found.planner.shift},
            "settings": origins(chosen, {"given": settings if isinstance(settings, Mapping) else {}}),
            "policy": usual.model_dump(mode="json"),
            "seed": seed,
            "data": {"table": Path(name).name or name, "rows": len(people.good), "hash": _hash(people.answers)},
            "notes": [*notes, *meaning.notes, *people.notes],
        }
        models = Models(found.planner.score, found.judge.score, found.bootstraps, found.families)
        made = cls(meaning, found.encoder, models, found.population, found.background, rows, config, found.metrics)
        if out is not None:
            made.save(out, overwrite=overwrite)
        return made

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Keep it as a run: JSON, TOML and Parquet, nothing pickled.

        Raises:
            RunError: Something is there that may not be replaced.
        """
        from rectitude.decisions.plans.report import card, cohort_page

        models = json.dumps(
            {
                "encoder": self.encoder.to_dict(),
                "planner": self.models.planner.to_dict(),
                "judge": self.models.judge.to_dict(),
                "bootstraps": [score.to_dict() for score in self.models.bootstraps],
                "families": [score.to_dict() for score in self.models.families],
                "background": self.background.tolist(),
            }
        )
        digest = hashlib.sha256(models.encode()).hexdigest()
        curves = {"models_sha256": digest, **asdict(self.population)}

        def write(folder: RunFolder) -> None:
            write_text(folder.path / MODELS, models)
            write_json(folder.path / CURVES, curves)
            write_text(folder.path / SCHEMA, toml_text(dump_schema(self.schema)))
            write_json(folder.path / METRICS, self.metrics)
            write_json(folder.path / LINEAGE, {"parents": [], "data": self.config["data"]})
            self.people.write_parquet(folder.path / PEOPLE)
            self.path = Path(path)
            write_text(folder.path / CARD, card(self))
            write_text(folder.path / REPORT, cohort_page(self, ()))

        RunFolder.create(path, {**self.config, "schema": dump_schema(self.schema)}, write, overwrite=overwrite)
        self.path = Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Prescriber:
        """Read a run.

        Raises:
            RunError: It is missing, damaged, or of another kind.
        """
        if not Path(path).exists():
            raise RunError("There is no such run", where=str(path), fix="Make one with 'rectitude plan fit'")
        folder = RunFolder(path)
        if folder.config.get("kind") != KIND:
            raise RunError("The run holds no plans", where=str(path), fix="Make one with 'rectitude plan fit'")
        schema = parse_schema(folder.config.get("schema", {}), where=str(folder.path / CONFIG))
        text = folder.file(MODELS).read_text(encoding="utf-8")
        curves = folder.read_json(CURVES)
        if curves.pop("models_sha256", None) != hashlib.sha256(text.encode()).hexdigest():
            raise RunError(
                "The models are not those the curves were made from", where=str(folder.path), fix="Fit again"
            )
        values = json.loads(text)
        encoder = Encoder.from_dict(values["encoder"], schema)
        where, n = str(folder.path / MODELS), encoder.n_columns
        models = Models(
            Score.from_dict(values["planner"], n_columns=n, where=where),
            Score.from_dict(values["judge"], n_columns=n, where=where),
            tuple(Score.from_dict(entry, n_columns=n, where=where) for entry in values["bootstraps"]),
            tuple(Score.from_dict(entry, n_columns=n, where=where) for entry in values.get("families", ())),
        )
        return cls(
            schema, encoder, models, Population(**curves), np.array(values["background"]),
            folder.read_table(PEOPLE), folder.config, folder.read_json(METRICS, {}), folder.path,
        )  # fmt: skip

    # Asking

    @property
    def policy(self) -> Policy:
        """How plans are made unless told otherwise."""
        return build(Policy, self.config["policy"], where="policy")

    def person(self, row: str | int) -> Person:
        """A person of the training table, by id or row number.

        Raises:
            QueryError: There is none.
        """
        ids = self.people[ROW + "\0"]
        found = self.people.filter(ids == str(row))
        if not len(found):
            near = did_you_mean(str(row), ids.to_list()[:20_000])
            raise QueryError(f"There is no row '{row}' in the table", where=f"{len(ids):,} rows",
                             fix=near if near.startswith("Did") else f"For example {ids[0]}")  # fmt: skip
        answers = found.select(list(self.schema.used())).row(0, named=True)
        return Person(answers)

    def read_person(self, values: Mapping[str, Any], *, where: str = "the answers") -> Person:
        """A person from a dictionary: answers by question, or these under ``answers`` with more beside them.

        Beside ``answers`` may stand ``locked``, ``wishes``, ``resistance`` (multipliers from 0.5 to 2) and
        ``readiness`` (1 to 5).

        Raises:
            DataError: A question or answer is unknown.
            QueryError: What stands beside the answers is not as it should be.
        """
        extra: dict[str, Any] = {}
        if isinstance(values.get("answers"), Mapping):
            extra = {key: value for key, value in values.items() if key != "answers"}
            values = values["answers"]
        for key in extra:
            if key not in ("locked", "wishes", "resistance", "readiness"):
                known = ("answers", "locked", "wishes", "resistance", "readiness")
                raise QueryError(f"Unknown part '{key}'", where=where, fix=did_you_mean(key, known))
        for key in ("locked", "wishes"):
            if not (isinstance(extra.get(key, []), list) and all(isinstance(one, str) for one in extra.get(key, []))):
                raise QueryError(f"'{key}' must be a list of texts", where=where, fix=f'For example "{key}": []')
        times = {**_likert(extra.get("readiness", {}), where), **_multipliers(extra.get("resistance", {}), where)}
        answers = answers_of(values, self.schema, where=where)
        return Person(answers, locked=extra.get("locked", ()), wishes=extra.get("wishes", ()), resistance=times)

    def problem(self, person: Person, policy: Policy) -> Problem:
        """A person's problem under a policy."""
        builder = Builder(
            self.schema, self.encoder, self.population,
            effort=policy.effort, gain=policy.gain, min_seen=policy.min_seen,
        )  # fmt: skip
        own = self.attributions(person) if policy.gain == "personal" else None
        return builder.problem(person, own)

    def attributions(self, person: Person) -> dict[str, float]:
        """What each answer adds to this person's log-odds, against the background."""
        row = self.encoder.row(person)[None, :]
        _, values = shapley(self.models.planner, self.encoder.owners(), row, self.background)
        return dict(zip(self.encoder.questions, map(float, values[0]), strict=True))

    def plan(
        self,
        person: Person | Mapping[str, Any] | None = None,
        *,
        row: str | int | None = None,
        policy: Policy | Mapping[str, Any] | None = None,
        locked: Sequence[str] = (),
        wishes: Sequence[str] = (),
        resistance: Mapping[str, float] | None = None,
    ) -> Plan:
        """The plan of a person.

        Args:
            person: Answers, or what :meth:`read_person` reads.
            row: A person of the training table instead.
            policy: What to weigh; entries replace those of the run.
            locked: Features not to change.
            wishes: Conditions the plan must meet (``exercise >= 2``).
            resistance: Feature to multiplier, 0.5 to 2.

        Raises:
            QueryError: Neither or both of ``person`` and ``row`` are given, or they do not fit.
        """
        if (person is None) == (row is None):
            raise QueryError("Ask for a person or a row", fix="Give one of them")
        who = self.person(row) if row is not None else person
        if not isinstance(who, Person):
            who = self.read_person(who or {})
        if locked or wishes or resistance:
            who = Person(who.answers, locked=(*who.locked, *locked), wishes=(*who.wishes, *wishes),
                         resistance={**who.resistance, **(resistance or {})})  # fmt: skip
        return self.planner(who, policy).plan()

    def planner(self, person: Person, policy: Policy | Mapping[str, Any] | None = None) -> Planner:
        """What makes a person's plan, for those who want its parts."""
        if isinstance(policy, Policy):
            chosen = policy
        else:
            chosen = build(Policy, {**self.config["policy"], **(policy or {})}, where="policy")
        problem = self.problem(person, chosen)
        return Planner(problem, self.models, chosen, self.schema, seed=int(self.config.get("seed", 0)))

    def predict_proba(self, table: str | Path | Any) -> np.ndarray:
        """Probability of the good outcome for each row, float64 [n]."""
        frame, _ = read_survey(table)
        people = clean(frame, self.schema, known=False)
        return np.asarray(expit(self.models.planner(self.encoder.matrix(people.answers))))

    def ids(self, fold: str | None = None) -> list[str]:
        """Names of the rows of a fold (planner, judge or test), or of all."""
        people = self.people if fold is None else self.people.filter(self.people[FOLD] == fold)
        return list(people[ROW + "\0"])


def _schema_of(
    frame: pl.DataFrame, target: str | None, good: Answer | None, schema: Schema | str | Path | None
) -> Schema:
    if schema is None:
        if target is None:
            raise ConfigError("The outcome is not named", fix="Give target (--target COLUMN), or a schema with one")
        return guess_schema(frame, target, good=good)
    meaning = schema if isinstance(schema, Schema) else read_schema(schema)
    if target is not None and target != meaning.target.column:
        raise ConfigError(
            f"The schema's target is '{meaning.target.column}', not '{target}'", fix="Give the same, or another schema"
        )
    if good is not None:
        meaning = meaning.model_copy(update={"target": meaning.target.model_copy(update={"good": good})})
    return meaning


def _likert(given: Any, where: str) -> dict[str, float]:
    """Readiness from 1 (not at all) to 5 (ready) as a multiplier of resistance."""
    scale = {1: 2.0, 2: 1.5, 3: 1.0, 4: 0.75, 5: 0.5}
    if not isinstance(given, Mapping) or not all(value in scale for value in given.values()):
        raise QueryError(
            "'readiness' must give 1 to 5 for each feature", where=where, fix='For example {"exercise": 4}'
        )
    return {str(name): scale[value] for name, value in given.items()}


def _multipliers(given: Any, where: str) -> dict[str, float]:
    if not isinstance(given, Mapping) or not all(isinstance(value, int | float) for value in given.values()):
        raise QueryError(
            "'resistance' must give a number for each feature", where=where, fix='For example {"exercise": 1.5}'
        )
    return {str(name): float(value) for name, value in given.items()}


def _hash(answers: pl.DataFrame) -> str:
    """Hash of the answers, whatever file they came from."""
    return hashlib.sha256(answers.write_csv().encode()).hexdigest()[:16]
