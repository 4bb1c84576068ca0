"""A first schema read off a table, to be edited: kinds, levels, what a person can change, and what must not be used."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from rectitude.core.errors import ConfigError, DataError, did_you_mean
from rectitude.decisions.plans.conditions import Answer, spoken
from rectitude.decisions.plans.schema import Feature, Schema, Target

LEAK_AUC = 0.85
"""A single answer that separates the outcomes this well is more likely a piece of the outcome than a cause of it."""
MOST_LABELS = 30
"""Labels of a nominal column that get a column of their own; the others count as not answered."""
_SHOWN_LEVELS = 12

_FIXED = re.compile(
    r"\b(age|sex|gender|race|ethnic\w*|hispanic|native|country|birth|born|height|length|head|education\w*|grade|class"
    r"|marital|married|relationship|partner|partn|household|hh|poverty|income|home|rooms|own|pregnan\w*|babies|baby|year|orientation"
    r"|diabetes|chol|bmi|bp|pulse|urine|testosterone|weight|prior\w*|juv|first|plus|same|ever)\b"
)
_HABIT = re.compile(
    r"\b(alcohol|drink\w*|caffeine|coffee|smok\w*|tobacco|cigarette\w*|marijuana|drug\w*|exercise|active|activity|phys|physically"
    r"|training|strength|steps|walk\w*|sport\w*|tv|comp|computer|screen|phone|nap\w*|bed|bedtime|rise|wake\w*|stress"
    r"|hours|text|helmet|diet|meal\w*|noise|light|temperature|work|nighter|missed|savings|credit|duration)\b"
)
_POOR = re.compile(
    r"(trouble|disorder|poor|bad|recid|default|disease|risk|churn|fraud|late|fail|dropout|death|sick|problem)"
)
_WEIGHT = re.compile(r"^(fnlwgt|wt[a-z]+\d*yr|sdmv\w+|.*survey.?weight|.*sampling.*)$", re.IGNORECASE)
_OUTCOME = re.compile(
    r"(sleepiness|sleep (duration|hours|hrs|latency|efficiency|quality)|awakening\w*|latency"
    r"|(rem|deep|light) sleep|(weekday|weekend|average) sleep|quality of sleep|sleep hrs)"
)
_SCALES = (
    ("none", "several", "most"),
    ("never", "rarely", "sometimes", "most of time", "always"),
    ("never", "seldom", "sometimes", "often", "always"),
    ("low", "medium", "high"),
    ("abstain", "light", "moderate", "heavy"),
    ("poor", "fair", "good", "vgood", "excellent"),
    ("normal", "moderate", "severe"),
    ("normal", "high"),
    ("none", "mild", "moderate", "severe"),
)
_NOT = re.compile(r"^(none|no|never|not|do not\b.*|did not\b.*|does not\b.*)$")


def words(name: str) -> str:
    """``PhysActiveDays`` or ``physically_active_7d`` as ``phys active days``."""
    parts = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[a-zA-Z])(?=\d)|(?<=\d)(?=[a-zA-Z])", " ", name)
    return " ".join(re.sub(r"[^A-Za-z0-9]+", " ", parts).lower().split())


def guess_schema(table: pl.DataFrame, target: str, *, good: Answer | None = None) -> Schema:
    """A schema for a table, with what was guessed in its notes.

    Args:
        table: As :func:`rectitude.decisions.plans.table.read_survey` gives it.
        target: The outcome's column.
        good: What is wanted of it: a label, a number or a comparison; guessed for two-valued columns.

    Raises:
        DataError: The table has no such column, or it holds one value.
        ConfigError: The outcome has more than two values and ``good`` is not given.
    """
    if target not in table.columns:
        raise DataError(f"The table has no column '{target}'", fix=did_you_mean(target, table.columns))
    notes: list[str] = []
    chosen = _target(table[target], good, notes)
    known = table.filter(table[target].is_not_null())
    y = np.array([chosen.is_good(value) for value in known[target].to_list()], dtype=float)
    features: dict[str, Feature] = {}
    for name in table.columns:
        if name != target:
            features[name] = _feature(known[name], name, target, y)
    _copies(known, features)
    if not any(feature.mutable for feature in features.values()):
        for name, feature in features.items():
            if feature.role == "feature" and not _FIXED.search(words(name)):
                features[name] = feature.model_copy(update={"mutable": True})
        notes.append("No column looks like a habit: every one that is not plainly fixed is marked mutable. Check them")
    flagged = [name for name, feature in features.items() if feature.role == "forbidden"]
    if flagged:
        notes.append(f"Forbidden, with the reason beside each: {', '.join(flagged)}")
    return Schema(target=chosen, features=features, notes=tuple(notes))


def _target(column: pl.Series, good: Answer | None, notes: list[str]) -> Target:
    labels = [value for value in column.drop_nulls().unique().to_list() if isinstance(value, str)]
    if good is None:
        good = _good(column, notes)
    if isinstance(good, str) and good in labels and good[:1] in "<>=!":
        good = f"== {good}"  # a label that looks like a comparison
    order = ordered_labels(labels) if labels else None
    return Target(column=column.name, good=good, levels=tuple(order or ()) if len(labels) > 2 else ())


def _good(column: pl.Series, notes: list[str]) -> str | float:
    answers: list[Answer] = column.drop_nulls().unique().to_list()
    values = sorted(answers, key=lambda value: (isinstance(value, str), value))
    if len(values) < 2:
        raise DataError(f"Every outcome in '{column.name}' is the same", fix="Choose another target")
    if len(values) > 2:
        order = ordered_labels([str(value) for value in values]) if column.dtype == pl.String else None
        middle = f"'>= {order[len(order) // 2]}'" if order else f"'{values[0]}'"
        if column.dtype == pl.Float64:
            middle = f"'>= {float(np.median([float(value) for value in column.drop_nulls()])):g}'"
        raise ConfigError(
            f"'{column.name}' has {len(values)} values: say which are wanted",
            where="target.good",
            fix=f"Give --good, for example --good {middle}",
        )
    poor = _POOR.search(words(column.name)) is not None
    yes = next((value for value in values if str(value).lower() in ("yes", "true", "1.0", "y")), values[1])
    no = values[0] if yes == values[1] else values[1]
    chosen = no if poor else yes
    reason = "its name speaks of something unwanted" if poor else "the larger, or the yes"
    notes.append(
        f"The wanted outcome is taken to be {column.name} = {spoken(chosen)} ({reason}); --good says otherwise"
    )
    return chosen if isinstance(chosen, str) else float(chosen)


def _feature(column: pl.Series, name: str, target: str, y: np.ndarray) -> Feature:
    feature = _kind(column)
    if feature.role != "feature":
        return feature
    reason = _forbidden(column, name, target, y)
    if reason:
        return feature.model_copy(update={"role": "forbidden", "why": reason, "mutable": False})
    said = words(name)
    habit = bool(_HABIT.search(said)) and not _FIXED.search(said)
    return feature.model_copy(update={"mutable": habit})


def _kind(column: pl.Series) -> Feature:
    values = column.drop_nulls()
    if column.dtype == pl.String and len(values) and values.str.contains(r"^\d{4}-\d\d-\d\d").all():
        return Feature(kind="continuous", role="forbidden", why="a date")
    distinct = values.unique().to_list()
    if len(distinct) < 2:
        return Feature(kind="continuous", role="forbidden", why="holds one value only")
    named = re.search(r"(^|\W|_)id$", column.name, re.IGNORECASE) or column.name.lower() in ("index", "rownames")
    if named and len(distinct) == len(column):
        return Feature(kind="continuous", role="id")
    if column.dtype == pl.Float64:
        return _numeric(values, sorted(distinct))
    if len(distinct) > 0.9 * len(values) and len(values) > 50:
        return Feature(kind="continuous", role="forbidden", why="nearly every row has its own text")
    if len(distinct) == 2:
        return Feature(kind="binary", levels=_two(distinct))
    order = ordered_labels(distinct)
    if order is not None:
        return Feature(kind="ordinal", levels=tuple(order))
    common = values.value_counts(sort=True)[column.name].to_list()[:MOST_LABELS]
    return Feature(kind="nominal", levels=tuple(sorted(common)))


def _two(distinct: Sequence[str]) -> tuple[str, ...]:
    """No before yes, else alphabetical."""
    return tuple(sorted(distinct, key=lambda label: (_NOT.match(label.lower()) is None, label)))


def _numeric(values: pl.Series, distinct: list[float]) -> Feature:
    whole = all(value.is_integer() for value in distinct)
    if len(distinct) == 2:
        return Feature(kind="binary", levels=tuple(distinct))
    if len(distinct) <= _SHOWN_LEVELS:
        return Feature(kind="integer" if whole else "continuous", levels=tuple(distinct))
    ends = [float(values.quantile(share) or 0.0) for share in (0.05, 0.95)]
    step = _round_step((ends[1] - ends[0]) / 8, whole=whole)
    first, last = round(ends[0] / step), round(ends[1] / step)
    levels = sorted({float(f"{number * step:.12g}") for number in range(first, last + 1)})
    return Feature(kind="integer" if whole else "continuous", levels=tuple(levels))


def _round_step(width: float, *, whole: bool) -> float:
    if width <= 0:
        return 1.0
    size = float(10.0 ** np.floor(np.log10(width)))
    step = next(size * part for part in (1.0, 2.0, 2.5, 5.0, 10.0) if size * part >= width * 0.999)
    return max(1.0, round(step)) if whole else step


def ordered_labels(labels: Sequence[str]) -> list[str] | None:
    """Labels in order where they are a known scale or speak of numbers (``<5``, ``1-2``, ``More_4_hr``), else None."""
    plain = {label: words(label) for label in labels}
    for scale in _SCALES:
        if set(plain.values()) <= set(scale):
            return sorted(labels, key=lambda label: scale.index(plain[label]))
    keys = {label: _amount(label) for label in labels}
    if None in keys.values() or len(set(keys.values())) < len(labels):
        return None
    if not any(character.isdigit() for label in labels for character in label):
        return None
    return sorted(labels, key=lambda label: keys[label] or 0.0)


def _amount(label: str) -> float | None:
    """The number a label speaks of; −1 for 'do not'."""
    text = label.lower().strip()
    if _NOT.match(text):
        return -2.0 if text.startswith(("did not", "do not", "does not")) else -1.0
    numbers = [float(found) for found in re.findall(r"\d+(?:\.\d+)?", text.replace(",", ""))]
    if not numbers or len(numbers) > 2:
        return None
    amount = sum(numbers) / len(numbers)
    if re.search(r"(<|less|under|below)", text):
        amount -= 0.5
    if re.search(r"(>|\+|more|plus|over|above|older)", text):
        amount += 0.5
    return amount


def _forbidden(column: pl.Series, name: str, target: str, y: np.ndarray) -> str:
    said, outcome = words(name), words(target)
    if _WEIGHT.match(name):
        return "a weight or unit of the survey's sampling"
    shared = {word for word in said.split() if len(word) > 3} & {word for word in outcome.split() if len(word) > 3}
    shared -= {"score", "level", "year", "status", "days", "hours", "type", "number", "school", "night", "week"}
    if shared:
        return f"shares the word '{min(shared)}' with the outcome"
    if any(len(word) > 4 and (word in outcome or word[:5] in outcome) for word in said.split() if word[:5] == "recid"):
        return "speaks of the outcome"
    if "sleep" in outcome and _OUTCOME.search(said):
        return "a piece of the outcome"
    if re.search(r"\b(decile|predicted|prediction|risk score|score text)\b", said):
        return "the output of another model"
    known = column.is_not_null().to_numpy()
    gap = single_auc(known.astype(float), y)
    if known.mean() < 0.999 and gap >= LEAK_AUC - 0.1:
        return f"whether it was answered gives the outcome away (AUC {gap:.2f})"
    auc = answer_auc(column, y)
    if auc >= LEAK_AUC:
        return f"gives the outcome away by itself (AUC {auc:.2f})"
    return ""


def answer_auc(column: pl.Series, y: np.ndarray) -> float:
    """How well one column alone separates the outcomes: AUC of the share of good outcomes among like answers.

    Answers are cut into 20 groups at most; half of the rows give the shares and the other half are judged, both ways.
    """
    values = column.to_list()
    if column.dtype == pl.Float64:
        numbers = np.array([np.nan if value is None else value for value in values])
        cuts = np.unique(np.nanquantile(numbers, np.linspace(0, 1, 21)[1:-1]))
        groups = np.where(np.isnan(numbers), -1, np.searchsorted(cuts, numbers))
    else:
        table = {value: index for index, value in enumerate(dict.fromkeys(values))}
        groups = np.array([table[value] for value in values])
    half = np.arange(len(y)) % 2 == 0
    found = []
    for learn in (half, ~half):
        size = int(groups.max()) + 2
        good = np.bincount(groups[learn] + 1, weights=y[learn], minlength=size + 1)
        count = np.bincount(groups[learn] + 1, minlength=size + 1)
        share = (good + y.mean()) / (count + 1.0)
        found.append(single_auc(share[groups[~learn] + 1], y[~learn], signed=True))
    return float(np.mean(found))


def single_auc(values: np.ndarray, y: np.ndarray, *, signed: bool = False) -> float:
    """Area under the ROC curve of one column; the better of both directions unless ``signed``."""
    from scipy.stats import rankdata

    n_good = float(y.sum())
    n_poor = len(y) - n_good
    if not n_good or not n_poor:
        return 0.5
    area = (rankdata(values)[y == 1].sum() - n_good * (n_good + 1) / 2) / (n_good * n_poor)
    return float(area if signed else max(area, 1 - area))


def _copies(table: pl.DataFrame, features: dict[str, Feature]) -> None:
    """Forbid columns that another column, with at least as many answers, decides: binned or renamed copies."""
    used = [name for name, feature in features.items() if feature.role == "feature"]
    counts = {name: table[name].n_unique() for name in used}
    for name in used:
        for other in used:
            if other == name or features[other].role != "feature" or counts[name] < 3:
                continue
            if not counts[name] <= counts[other] <= 0.2 * len(table) + 5 or (
                counts[name] == counts[other] and used.index(other) > used.index(name)
            ):
                continue
            if table.select(other, name).n_unique() == counts[other]:
                why = f"a copy of '{other}': each answer there goes with one answer here"
                features[name] = features[name].model_copy(update={"role": "forbidden", "why": why, "mutable": False})
                break


def note_lines(schema: Schema) -> list[str]:
    """What must be looked at before the schema is used: guesses, flags and what may change."""
    lines: list[Any] = list(schema.notes)
    lines += [f"'{name}' is forbidden: {feature.why}" for name, feature in schema.features.items() if feature.why]
    lines.append(f"May change: {', '.join(schema.mutable()) or 'nothing yet; set mutable = true where it can'}")
    return lines
