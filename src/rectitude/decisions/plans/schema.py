"""What a survey table means: kinds, levels, what may change and how, rules, and the outcome that is wanted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from rectitude.core.config import Settings, build, read_config
from rectitude.core.errors import ConfigError, did_you_mean
from rectitude.core.files import write_text
from rectitude.decisions.plans.conditions import Answer, Condition, spoken

Kind = Literal["binary", "ordinal", "integer", "continuous", "nominal"]
Role = Literal["feature", "forbidden", "id"]

ORDERED = ("binary", "ordinal", "integer", "continuous")
NUMERIC = ("integer", "continuous")


class Feature(Settings):
    """One column."""

    kind: Kind
    """binary and ordinal: labels in order; integer and continuous: numbers; nominal: labels without order."""
    levels: tuple[str | float, ...] = ()
    """Labels in order, or the numbers that may be advised; a continuous column without levels takes the model's own."""
    role: Role = "feature"
    """forbidden: never seen by a model (a piece of the outcome, a survey weight, …); id: names the row."""
    why: str = ""
    """Why it is forbidden."""
    mutable: bool = False
    """May a plan change it?"""
    direction: Literal["up", "down", "both"] = "both"
    """Which way a plan may change it."""
    better: Literal["more", "less"] | None = None
    """Which way is agreed to help; becomes a monotone constraint of the model."""
    max_step: float | None = None
    """Largest change in one plan: in the feature's unit, for labels in levels."""
    unit: str = ""
    """Of the numbers, for sentences: 'drinks a day'."""
    label: str = ""
    """Words for sentences: 'screen time before bed'. The column's name if empty."""
    resistance: float = 2.0
    """How hard a change is: 1 easy, 2 moderate, 3 hard."""
    hours: float = 0.0
    """Hours a day that one more unit (or level) takes."""
    group: str | None = None
    """Name of a set of binary columns of which one is on (a one-hot question); changing it counts once."""

    @model_validator(mode="after")
    def _fits(self) -> Feature:
        if self.resistance < 0:
            raise ValueError("resistance must not be negative")
        if self.max_step is not None and self.max_step <= 0:
            raise ValueError("max_step must be positive")
        if self.role == "feature":
            if self.kind in ("binary", "ordinal", "nominal") and len(self.levels) < 2:
                raise ValueError(f"a {self.kind} feature needs its levels, at least two")
            if self.kind == "binary" and len(self.levels) != 2:
                raise ValueError("a binary feature has two levels")
            if len(set(self.levels)) != len(self.levels):
                raise ValueError("a level is listed twice")
            if self.kind in NUMERIC and any(isinstance(level, str) for level in self.levels):
                raise ValueError(f"levels of an {self.kind} feature are numbers")
            if self.kind in NUMERIC and list(self.levels) != sorted(self.levels, key=float):
                raise ValueError("levels must ascend")
        if self.kind == "nominal" and (self.better is not None or self.direction != "both"):
            raise ValueError("a nominal feature has no direction")
        if self.group is not None and self.kind != "binary":
            raise ValueError("only binary features form a group")
        return self


class Rule(Settings):
    """Something every plan must respect; exactly one of the three forms."""

    name: str = ""
    """Words for messages; the rule itself if empty."""
    if_: str = ""
    """Written ``if``: a condition that, where it holds, …"""
    then: str = ""
    """… demands this one."""
    never: tuple[str, ...] = ()
    """Conditions that must not hold together."""
    sum: dict[str, float] = Field(default_factory=dict)
    """Column to weight; the weighted sum must be within at_least and at_most."""
    at_most: float | None = None
    """Upper end of the sum."""
    at_least: float | None = None
    """Lower end of the sum."""

    @model_validator(mode="before")
    @classmethod
    def _written_if(cls, values: Any) -> Any:
        if isinstance(values, dict) and "if" in values:
            values = {**values, "if_": values["if"]}
            del values["if"]
        return values

    @model_validator(mode="after")
    def _one_form(self) -> Rule:
        forms = [bool(self.if_ or self.then), bool(self.never), bool(self.sum)]
        if sum(forms) != 1 or bool(self.if_) != bool(self.then) or (self.never and len(self.never) < 2):
            raise ValueError("a rule is 'if' with 'then', or 'never' with two conditions or more, or 'sum' with an end")
        if bool(self.sum) != (self.at_most is not None or self.at_least is not None):
            raise ValueError("a sum needs at_most or at_least")
        return self

    def conditions(self) -> list[Condition]:
        """The conditions it speaks of, in the order written."""
        texts = [self.if_, self.then] if self.if_ else list(self.never)
        return [Condition.parse(text, where="rules") for text in texts]

    def columns(self) -> list[str]:
        """The columns it speaks of."""
        return list(self.sum) if self.sum else list(dict.fromkeys(part.name for part in self.conditions()))

    def __str__(self) -> str:
        if self.name:
            return self.name
        if self.sum:
            total = " + ".join(f"{weight:g} × {name}" for name, weight in self.sum.items())
            low = f"{self.at_least:g} ≤ " if self.at_least is not None else ""
            return f"{low}{total}" + (f" ≤ {self.at_most:g}" if self.at_most is not None else "")
        return f"if {self.if_} then {self.then}" if self.if_ else "never " + " with ".join(self.never)

    def written(self) -> dict[str, Any]:
        """As in a file."""
        values = self.model_dump(exclude_defaults=True, mode="json")
        return {"if" if key == "if_" else key: value for key, value in values.items()}


class Target(Settings):
    """The outcome."""

    column: str
    """Its column."""
    good: str | float
    """What is wanted: a label (``No``), a number, or a comparison (``>= 0.85``; ``== >50K`` for a label like that)."""
    levels: tuple[str | float, ...] = ()
    """Its labels in order, where a comparison needs one."""
    label: str = ""
    """Words for sentences: 'good sleep'. The condition itself if empty."""

    @field_validator("good", mode="before")
    @classmethod
    def _truth(cls, value: Any) -> Any:
        return str(value).lower() if isinstance(value, bool) else value

    def condition(self) -> Condition:
        """What a good outcome is."""
        text = self.good if isinstance(self.good, str) else f"{self.good:g}"
        has_sign = text.lstrip()[:1] in "<>=!"
        return Condition.parse(f"{self.column} {text}" if has_sign else f"{self.column} == {text}", where="target.good")

    def is_good(self, value: Answer) -> bool:
        """Whether an outcome is the wanted one."""
        return self.condition().holds(value, self.levels)

    @property
    def words(self) -> str:
        """The good outcome in words."""
        condition = self.condition()
        said = f"{condition.name} is {spoken(condition.value)}" if condition.sign == "==" else str(condition)
        return self.label or said


class Schema(Settings):
    """The whole of a table."""

    target: Target
    """The outcome that is predicted and wanted."""
    features: dict[str, Feature]
    """Column to what it is; columns that are not listed are not used."""
    rules: tuple[Rule, ...] = ()
    """What every plan must respect."""
    keep: tuple[str, ...] = ()
    """Conditions on the rows that are used, such as ``Age >= 20``."""
    household: str | None = None
    """Column whose equal values stay in one fold: a household, a person asked twice."""
    notes: tuple[str, ...] = ()
    """What was guessed, for whoever edits the file."""

    @model_validator(mode="after")
    def _consistent(self) -> Schema:
        if self.target.column in self.features and self.features[self.target.column].role == "feature":
            raise ValueError(f"the target '{self.target.column}' is among the features")
        if not self.used():
            raise ValueError("no column is left as a feature")
        for rule in self.rules:
            for name in rule.columns():
                feature = self.features.get(name)
                if feature is None or feature.role != "feature":
                    raise ValueError(f"rule '{rule}' speaks of '{name}', which is no feature")
                if rule.sum and feature.kind not in NUMERIC and not _numbers(feature.levels):
                    raise ValueError(f"rule '{rule}' adds up '{name}', which holds no numbers")
        return self

    def used(self) -> dict[str, Feature]:
        """The columns a model may see."""
        return {name: feature for name, feature in self.features.items() if feature.role == "feature"}

    def mutable(self) -> dict[str, Feature]:
        """The columns a plan may change."""
        return {name: feature for name, feature in self.used().items() if feature.mutable}

    def id_column(self) -> str | None:
        """The column that names a row."""
        return next((name for name, feature in self.features.items() if feature.role == "id"), None)

    def feature(self, name: str, *, where: str) -> Feature:
        """A feature by its name.

        Raises:
            ConfigError: There is none.
        """
        used = self.used()
        if name not in used:
            raise ConfigError(f"'{name}' is not a feature", where=where, fix=did_you_mean(name, used))
        return used[name]


def _numbers(levels: tuple[Answer, ...]) -> bool:
    return bool(levels) and not any(isinstance(level, str) for level in levels)


def parse_schema(values: Mapping[str, Any], *, where: str) -> Schema:
    """A schema from a table of settings, or an error that names the feature at fault.

    Raises:
        ConfigError: A key is unknown or a value does not fit.
    """
    unknown = [key for key in values if key not in Schema.model_fields]
    if unknown:
        raise ConfigError(
            f"Unknown part '{unknown[0]}' of a schema", where=where, fix=did_you_mean(unknown[0], Schema.model_fields)
        )
    features = {}
    for name, entry in dict(values.get("features", {})).items():
        if not isinstance(entry, dict):
            raise ConfigError(f"Feature '{name}' must be a table", where=where, fix=f"Write [features.{name!r}]")
        features[name] = build(Feature, entry, where=f"{where}, feature '{name}'")
    rules = []
    for number, entry in enumerate(values.get("rules", ()), 1):
        known = {**Rule.model_fields, "if": None}
        if isinstance(entry, dict) and (odd := [key for key in entry if key not in known]):
            raise ConfigError(
                f"Unknown part '{odd[0]}' of a rule", where=f"{where}, rule {number}", fix=did_you_mean(odd[0], known)
            )
        rules.append(
            build(
                Rule,
                {"if_" if key == "if" else key: value for key, value in dict(entry).items()},
                where=f"{where}, rule {number}",
            )
        )
    if not isinstance(values.get("target"), dict):
        raise ConfigError("The schema has no target", where=where, fix="Add [target] with column and good")
    target = build(Target, values["target"], where=f"{where}, target")
    rest = {key: value for key, value in values.items() if key not in ("features", "rules", "target")}
    return build(Schema, {**rest, "target": target, "features": features, "rules": tuple(rules)}, where=where)


def known_schemas() -> dict[str, Path]:
    """The configurations that come with the package, by name."""
    folder = resources.files("rectitude.decisions.plans").joinpath("configurations")
    found = {Path(entry.name).stem: Path(str(entry)) for entry in folder.iterdir() if entry.name.endswith(".toml")}
    return dict(sorted(found.items()))


def read_schema(path: str | Path) -> Schema:
    """Read a schema from TOML or JSON, or one that comes with the package by its name (``nhanes``).

    Raises:
        ConfigError: The file is missing, unreadable, or no schema.
    """
    known = known_schemas()
    if not Path(path).exists() and not Path(path).suffix and len(Path(path).parts) == 1:
        if str(path) not in known:
            raise ConfigError("There is no such schema", where=str(path), fix=did_you_mean(str(path), known))
        return parse_schema(read_config(known[str(path)]), where=str(path))
    return parse_schema(read_config(path), where=str(path))


def dump_schema(schema: Schema) -> dict[str, Any]:
    """A schema as a table of settings without what is default, as :func:`parse_schema` reads it."""
    values = schema.model_dump(mode="json", exclude_defaults=True, exclude={"rules"})
    values["features"] = {
        name: {"kind": feature.kind, **feature.model_dump(mode="json", exclude_defaults=True)}
        for name, feature in schema.features.items()
    }
    if schema.rules:
        values["rules"] = [rule.written() for rule in schema.rules]
    return values


def write_schema(schema: Schema, path: str | Path) -> None:
    """Write a schema to be edited: JSON for a ``.json`` path, TOML otherwise."""
    values = dump_schema(schema)
    if Path(path).suffix == ".json":
        write_text(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")
    else:
        write_text(path, toml_text(values))


_GUIDE = """\
# What the table means. Edit it, then give it to 'rectitude plan fit' with --schema.
#   role         feature, forbidden (never seen by the model) or id
#   mutable      may a plan change it?           direction   up, down or both: which way it may change it
#   better       more or less: which way is agreed to help (the model is held to it)
#   levels       answers in order, or the numbers that may be advised
#   max_step     largest change in one plan      resistance  1 easy, 2 moderate, 3 hard
#   unit, label  words for sentences             hours       hours a day that one unit more takes
#   group        binary columns of which one is on
# Rules: [[rules]] with  if = "A >= 1", then = "B >= 10"  |  never = ["A >= 3", "B >= 2"]  |  sum = {A = 1}, at_most = 6
"""


def toml_text(values: Mapping[str, Any]) -> str:
    """The schema as TOML with a guide on top."""
    lines = [_GUIDE]
    lines += [f"{key} = {_toml(values[key])}" for key in ("notes", "keep", "household") if values.get(key)]
    lines.append("\n[target]")
    lines += [f"{key} = {_toml(value)}" for key, value in values["target"].items()]
    for name, feature in values["features"].items():
        lines.append(f"\n[features.{_toml(name)}]")
        lines += [f"{key} = {_toml(value)}" for key, value in feature.items()]
    for rule in values.get("rules", ()):
        lines.append("\n[[rules]]")
        lines += [f"{key} = {_toml(value)}" for key, value in rule.items()]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(entry) for entry in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(entry)}" for key, entry in value.items()) + "}"
    return repr(int(value)) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else repr(value)
