"""A table of people as features, label and sensitive group, with what was guessed said.

The label and the sensitive attribute are named, known for the sets we know, or guessed from usual names. Attributes are
written ``gender``, ``race:African-American`` (that value against all others), ``age>=40``, and crossed by a comma:
``gender,race``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from rectitude.core.errors import ConfigError, DataError, did_you_mean
from rectitude.data.textfiles import read_bytes, read_text_table
from rectitude.federated.contracts import Integers
from rectitude.federated.encoder import in_rows

LABELS = ("label", "target", "y", "outcome", "income", "class", "two_year_recid", "decision", "approved", "default")
"""Column names taken for the label, the most usual first."""
ATTRIBUTES = ("gender", "sex", "race", "ethnicity", "sensitive", "group", "age_group")
"""Column names taken for the sensitive attribute, the most usual first."""
_MOST_CLASSES, _MOST_GROUPS, _MOST_LEVELS = 50, 60, 100
_SUFFIXES = (".parquet", ".pq", ".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz")


@dataclass(frozen=True)
class KnownTable:
    """Columns of a set we know.

    Args:
        label: Column of the label.
        attribute: Sensitive attribute, as on the command line.
        drop: Columns that give the label away or name the row.
        keep: Which rows are usually kept.
        unit: Column of the person where one has several rows; they are never parted.
    """

    label: str
    attribute: str
    drop: tuple[str, ...] = ()
    keep: pl.Expr | None = None
    unit: str | None = None


KNOWN = {
    "adult": KnownTable("income", "gender"),
    "compas": KnownTable(
        "two_year_recid",
        "race:African-American",
        (
            *("decile_score", "score_text", "v_decile_score", "v_score_text", "compas_screening_date", "is_recid"),
            *("r_charge_degree", "r_days_from_arrest", "is_violent_recid", "start", "end", "event", "c_charge_desc"),
            *("days_b_screening_arrest", "c_days_from_compas"),
        ),
        (pl.col("days_b_screening_arrest").abs() <= 30)
        & (pl.col("is_recid") != -1)
        & (pl.col("c_charge_degree") != "O"),
    ),
    "nursery": KnownTable("class", "finance"),
    "celeba-attributes": KnownTable("Smiling", "Male", ("image_id",)),
    "health": KnownTable(
        "Charlson>0",
        "sex",
        (
            "trainset",
            *(f"CharlsonIndexI_{kind}" for kind in ("max", "min", "ave", "range", "stdev")),
        ),
        unit="member_id",
    ),
}
"""Sets we know by name, with their columns."""


@dataclass(frozen=True)
class People:
    """A table ready to be dealt to clients.

    Args:
        name: Of the data.
        frame: The columns that may become features.
        y: Class of each row [n].
        a: Group of each row [n].
        classes: Names of the classes, in order.
        groups: Names of the groups, in order.
        label: Its column.
        attribute: As asked for.
        columns: Other columns that a partition may name, among them the attribute's.
        unit: Number of the person a row belongs to [n].
        notes: What was guessed, dropped or merged.
        scores: Columns of class probabilities, which then are the frame; empty where a model is to be trained.
    """

    name: str
    frame: pl.DataFrame
    y: Integers
    a: Integers
    classes: tuple[str, ...]
    groups: tuple[str, ...]
    label: str
    attribute: str
    columns: pl.DataFrame
    unit: Integers
    notes: tuple[str, ...] = ()
    scores: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.y)

    def without(self, column: str) -> People:
        """The same with one feature less."""
        return replace(self, frame=self.frame.drop(column))


def read_people(
    data: str | Path | pl.DataFrame,
    *,
    label: str | None = None,
    attribute: str | None = None,
    drop: Sequence[str] = (),
    scores: Sequence[str] = (),
    announce: Callable[[str], None] | None = None,
) -> People:
    """Read a table and tell its label, sensitive attribute and features.

    Args:
        data: A table file, a folder with one, the name of a set under ``RECTITUDE_DATA``, or a frame.
        label: Column of the label; known or guessed where omitted.
        attribute: Sensitive attribute; known or guessed where omitted.
        drop: Columns that must not be features.
        scores: Columns with class probabilities of a classifier, in the order of the classes; of two classes that of
            the second is enough. They are then all that is used of a row.
        announce: Called with each sentence about what was guessed, dropped or merged.

    Raises:
        DataError: The table cannot be found or used, or the label or attribute cannot be told.
        ConfigError: The columns of probabilities are not one for each class.
    """
    frame, name, known = _frame(data)
    notes: list[str] = []
    if known is not None and known.keep is not None:
        kept = frame.filter(known.keep)
        notes.append(f"{len(frame) - len(kept):,} rows are left out, as is usual for {name}")
        frame = kept
    label = label or (known.label if known else None) or _guess(frame, LABELS, "label", notes)
    attribute = attribute or (known.attribute if known else None) or _guess(frame, ATTRIBUTES, "attribute", notes)
    notes.append(f"Label: '{label}'; sensitive attribute: '{attribute}'")
    _column(frame, label, "label")
    if label in _attribute_columns(frame, attribute):
        raise DataError(
            f"'{label}' is the label and the sensitive attribute",
            where="--label, --attribute",
            fix="Name another column for one of them",
        )
    frame, missing = _without_nulls(frame, [label, *_attribute_columns(frame, attribute)])
    notes += [f"Left out: {in_rows(missing)} without label or attribute"] if missing else []
    y, classes = _codes(frame[label], "label", _MOST_CLASSES)
    a, groups = _groups(frame, attribute)
    if len(classes) < 2 or len(groups) < 2:
        which, what = ("label", "class") if len(classes) < 2 else ("attribute", "group")
        raise DataError(
            f"The {which} has only one {what}", where=f"{name}, '{label if which == 'label' else attribute}'"
        )
    sensitive = _attribute_columns(frame, attribute)
    unit_column = known.unit if known and known.unit in frame.columns else None
    dropped = [*drop, *(known.drop if known else ()), *([unit_column] if unit_column else [])]
    features = frame.drop([label, *sensitive, *(column for column in dropped if column in frame.columns)])
    if scores:
        features = frame.select(_scores(frame, scores, classes, {label, *sensitive}, notes))
    else:
        features, unusable = _usable(features)
        notes += [f"Not used as features: {', '.join(unusable)}"] if unusable else []
    if not features.width:
        raise DataError("No column is left to be a feature", where=name, fix="Give a table with more columns")
    unit = (
        frame[unit_column].rank("dense").to_numpy().astype(np.int64) - 1
        if unit_column
        else np.arange(len(frame), dtype=np.int64)
    )
    people = People(name, features, y, a, classes, groups, label, attribute, frame, unit, tuple(notes), tuple(scores))
    if announce is not None:
        for note in notes:
            announce(note)
    return people


def read_table(data: str | Path) -> pl.DataFrame:
    """A table as it is: a file, a folder with one, or the name of a set under ``RECTITUDE_DATA``.

    Raises:
        DataError: It cannot be found or read.
    """
    return _frame(data)[0]


def _frame(data: str | Path | pl.DataFrame) -> tuple[pl.DataFrame, str, KnownTable | None]:
    if isinstance(data, pl.DataFrame):
        return data, "the frame", None
    path, name = Path(data), str(data)
    root = os.environ.get("RECTITUDE_DATA")
    known = KNOWN.get(name)
    if root and (known is not None or not path.exists()) and (Path(root) / name).is_dir():
        path = Path(root) / name
    if not path.exists():
        raise DataError(
            f"There is no table '{data}'",
            where="DATA",
            fix=f"Give a file, a folder with one table, or a known set ({', '.join(KNOWN)}) with RECTITUDE_DATA "
            "naming the folder of sets",
        )
    if path.is_dir():
        tables = [entry for entry in sorted(path.iterdir()) if entry.name.endswith(_SUFFIXES)]
        chosen = [entry for entry in tables if entry.name.split(".")[0] == "data"] or tables
        if len(chosen) != 1:
            found = ", ".join(entry.name for entry in tables) or "none"
            raise DataError(f"The folder must hold one table; it holds {found}", where=str(path), fix="Name the file")
        path = chosen[0]
    return _read(path), name if known else path.stem, known


def _read(path: Path) -> pl.DataFrame:
    try:
        if path.name.endswith((".parquet", ".pq")):
            return pl.read_parquet(path)
        frame = read_text_table(path, read_bytes(path, "utf-8")).frame
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"The table cannot be read: {error}", where=str(path)) from error
    numbers = [column.cast(pl.Float64, strict=False) for column in frame]
    return pl.DataFrame(
        [
            number if number.null_count() == text.null_count() else text
            for number, text in zip(numbers, frame, strict=True)
        ]
    )


def _guess(frame: pl.DataFrame, names: Sequence[str], part: str, notes: list[str]) -> str:
    plain = {re.sub(r"[^a-z0-9]", "", column.lower()): column for column in reversed(frame.columns)}
    for name in names:
        column = plain.get(name.replace("_", ""))
        if column is not None:
            notes.append(f"The {part} is guessed to be column '{column}'")
            return column
    raise DataError(
        f"No column can be taken for the {part}; the columns are {', '.join(frame.columns[:30])}",
        where="DATA",
        fix=f"Name it with --{part} COLUMN",
    )


def _column(frame: pl.DataFrame, name: str, part: str) -> str:
    if name not in frame.columns:
        raise DataError(f"There is no column '{name}'", where=f"--{part}", fix=did_you_mean(name, frame.columns))
    return name


def _parsed(attribute: str) -> list[tuple[str, str, str]]:
    """Column, sign (``""``, ``":"`` or ``">="``) and value of each crossed attribute."""
    parts = []
    for piece in attribute.split(","):
        column, sign, value = re.fullmatch(r"(.*?)(?:(>=|:)(.*))?", piece.strip()).groups()  # type: ignore[union-attr]
        parts.append((column, sign or "", value or ""))
    return parts


def _attribute_columns(frame: pl.DataFrame, attribute: str) -> list[str]:
    if attribute in frame.columns:
        return [attribute]
    return [_column(frame, column, "attribute") for column, _, _ in _parsed(attribute)]


def _without_nulls(frame: pl.DataFrame, columns: list[str]) -> tuple[pl.DataFrame, int]:
    numbers = [name for name in columns if frame[name].dtype.is_float()]
    whole = (
        frame.with_columns(pl.col(numbers).fill_nan(None)).drop_nulls(columns) if numbers else frame.drop_nulls(columns)
    )
    return whole, len(frame) - len(whole)


def _scores(
    frame: pl.DataFrame, scores: Sequence[str], classes: Sequence[str], taken: set[str], notes: list[str]
) -> list[str]:
    """The columns of probabilities, if there is one for each class."""
    for column in scores:
        _column(frame, column, "scores")
        if column in taken or scores.count(column) > 1:
            why = "is the label or the attribute" if column in taken else "is named twice"
            raise ConfigError(f"Column '{column}' {why}", where="--scores")
    if len(scores) != len(classes) and (len(scores), len(classes)) != (1, 2):
        raise ConfigError(
            f"{len(scores)} {'column' if len(scores) == 1 else 'columns'} of probabilities for {len(classes)} classes",
            where="--scores",
            fix=f"Name one column a class, in this order: {', '.join(classes)}",
        )
    of = classes[-len(scores) :]
    notes.append("Probabilities: " + ", ".join(f"'{p}' of '{c}'" for p, c in zip(scores, of, strict=True)))
    return list(scores)


def _codes(column: pl.Series, part: str, most: int) -> tuple[Integers, tuple[str, ...]]:
    """Codes 0.. in the order of the sorted values, and the values as text."""
    values = column.unique().sort()
    if len(values) > most:
        raise DataError(
            f"Column '{column.name}' has {len(values):,} values; the {part} may have {most}",
            where=f"--{part}",
            fix=_two_groups(column)
            if part == "attribute"
            else "Name a column of classes; numbers must be binned first",
        )
    codes = np.searchsorted(np.arange(len(values)), values.search_sorted(column).to_numpy())
    return codes.astype(np.int64), tuple(_spelled(value) for value in values)


def _two_groups(column: pl.Series) -> str:
    """How to make two groups of a column of many values."""
    if column.dtype.is_numeric():
        middle = float(column.to_numpy().mean())
        return f"Cut it in two, for example --attribute '{column.name}>={middle:.3g}'"
    return f"Set one value against all others, for example --attribute '{column.name}:{column.mode().sort()[0]}'"


def _spelled(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _groups(frame: pl.DataFrame, attribute: str) -> tuple[Integers, tuple[str, ...]]:
    parts = [(attribute, "", "")] if attribute in frame.columns else _parsed(attribute)
    coded = [_one_attribute(frame[column], sign, value) for column, sign, value in parts]
    codes, names = coded[0]
    for other, more in coded[1:]:
        codes = codes * len(more) + other
        names = tuple(f"{one} × {two}" for one in names for two in more)
    present = np.unique(codes)  # a crossing that nobody is in is no group
    if len(present) > _MOST_GROUPS:
        raise DataError(f"'{attribute}' makes {len(present)} groups; {_MOST_GROUPS} are the most", where="--attribute")
    return np.searchsorted(present, codes).astype(np.int64), tuple(names[code] for code in present)


def _one_attribute(column: pl.Series, sign: str, value: str) -> tuple[Integers, tuple[str, ...]]:
    if sign == ":":
        is_it = (column.cast(pl.String) == value).to_numpy()
        if not is_it.any():
            known = column.cast(pl.String).unique().to_list()
            raise DataError(
                f"Nobody has '{value}' in '{column.name}'", where="--attribute", fix=did_you_mean(value, known)
            )
        return is_it.astype(np.int64), (f"not {value}", value)
    if sign == ">=":
        try:
            above = (column.cast(pl.Float64) >= float(value)).to_numpy()
        except (ValueError, pl.exceptions.PolarsError) as error:
            raise DataError(f"'{column.name}>={value}' compares no numbers", where="--attribute") from error
        return above.astype(np.int64), (f"{column.name}<{value}", f"{column.name}>={value}")
    return _codes(column, "attribute", _MOST_GROUPS)


def _usable(features: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """Numbers, yes-or-no, and text with not too many values."""
    usable: list[str] = []
    unusable: list[str] = []
    for column in features:
        numeric = column.dtype.is_numeric() or column.dtype == pl.Boolean
        texts = column.dtype in (pl.String, pl.Categorical, pl.Enum) and column.n_unique() <= _MOST_LEVELS
        (usable if numeric or texts else unusable).append(column.name)
    return features.select(usable), unusable


def codes_of(frame: pl.DataFrame, attribute: str, groups: Sequence[str]) -> Integers:
    """Groups of new rows, by the names of the groups a model was made with.

    Raises:
        DataError: The column is missing, or a row is of a group that was not there.
    """
    found, names = _groups_of_known(frame, attribute, groups)
    unknown = sorted({name for name in names if name not in groups})
    if unknown:
        raise DataError(
            f"'{attribute}' has groups the model does not know: {', '.join(unknown)}",
            where="the rows",
            fix=f"Known: {', '.join(groups)}",
        )
    return np.asarray([groups.index(name) for name in names], np.int64)[found]


def _groups_of_known(frame: pl.DataFrame, attribute: str, groups: Sequence[str]) -> tuple[Integers, tuple[str, ...]]:
    _attribute_columns(frame, attribute)
    for column, sign, value in _parsed(attribute) if attribute not in frame.columns else ():
        if sign == ":" and not (frame[column].cast(pl.String) == value).any():  # nobody of that value is among them
            return np.zeros(len(frame), np.int64), (f"not {value}",)
    return _groups(frame, attribute)
