"""Runs side by side: figures with intervals, the tests between them, and what these settle, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from markupsafe import Markup

from rectitude.audit.findings import metric_title, metric_words
from rectitude.core.errors import RectitudeError
from rectitude.evaluation.evaluator import Evaluation
from rectitude.evaluation.protocol import require_same
from rectitude.evaluation.significance import Comparison, Difference, compare
from rectitude.evaluation.store import read_evaluation
from rectitude.reporting import page as blocks
from rectitude.reporting.charts import Axis, Chart, Dot, dots_with_intervals
from rectitude.reporting.numbers import number
from rectitude.service.pages.readings import RunReading

LEVEL = 0.05
"""A corrected p-value below it is called settled."""
KEY = "ndcg@10"
METRICS = (KEY, "recall@10", "mrr@10", "coverage@10")
MOST = 6
"""Runs at once."""


@dataclass(frozen=True)
class Choice:
    """A run that may be compared.

    Attributes:
        reading: The run.
        chosen: Is it?
        why_not: Why it cannot be, empty where it can.
    """

    reading: RunReading
    chosen: bool
    why_not: str


@dataclass(frozen=True)
class Votes:
    """People for whom one run put what they chose higher than the other.

    Attributes:
        first: Name of the one.
        second: Name of the other.
        for_first: How many it served better.
        for_second: How many the other served better.
        same: How many were served alike.
    """

    first: str
    second: str
    for_first: int
    for_second: int
    same: int


@dataclass(frozen=True)
class Beside:
    """A comparison as the page tells it.

    Attributes:
        title: Which is better, and is that certain?
        settled: Is it certain?
        people: How many were judged.
        figures: A chart for each measure.
        gaps: The differences between runs, as a chart.
        votes: By people, for each pair.
        tests: Every test, as a table.
        tests_n: How many.
        protocol: What the figures share.
    """

    title: str
    settled: bool
    people: int
    figures: Sequence[Chart]
    gaps: Chart
    votes: Sequence[Votes]
    tests: Markup
    tests_n: int
    protocol: Mapping[str, object]


def evaluation_path(reading: RunReading, fold: str) -> Path:
    """Where the lists and per-person figures of a fold are kept."""
    return reading.path / f"evaluation-{fold}.parquet"


def choices(readings: Sequence[RunReading], wanted: Sequence[str], fold: str) -> list[Choice]:
    """What may be compared: the wanted runs, or the first ones that were judged alike."""
    stamps = {
        reading.slot: reading.protocols[fold]
        for reading in readings
        if fold in reading.protocols and evaluation_path(reading, fold).is_file()
    }
    first = next((slot for slot in wanted if slot in stamps), None) or _largest(stamps)
    found, count = [], 0
    for reading in readings:
        why_not = _why_not(reading, stamps, first)
        chosen = not why_not and count < MOST and (reading.slot in wanted if wanted else True)
        count += chosen
        found.append(Choice(reading, chosen, why_not))
    return found


def _largest(stamps: Mapping[str, Mapping[str, object]]) -> str | None:
    """A run of the largest group that was judged alike."""
    return max(stamps, key=lambda slot: sum(_alike(stamps, slot, other) for other in stamps), default=None)


def _alike(stamps: Mapping[str, Mapping[str, object]], one: str, other: str) -> bool:
    try:
        require_same({one: stamps[one], other: stamps[other]})
    except RectitudeError:
        return False
    return True


def _why_not(reading: RunReading, stamps: Mapping[str, Mapping[str, object]], first: str | None) -> str:
    if reading.slot not in stamps:
        return "not judged on these people yet"
    if first is not None and not _alike(stamps, first, reading.slot):
        return "judged on other data or other people"
    return ""


@lru_cache(maxsize=64)
def _evaluation(path: Path, modified: int) -> Evaluation:
    return read_evaluation(path)


def label(reading: RunReading) -> str:
    """A run's name with its model, where the name does not say it."""
    said = reading.slot.casefold() in reading.title.casefold() or reading.title.casefold() in reading.slot.casefold()
    return reading.slot if said else f"{reading.slot} ({reading.title})"


def beside(readings: Sequence[RunReading], fold: str) -> Beside:
    """Compare at least two runs judged alike.

    Raises:
        RectitudeError: They were not judged alike, or an evaluation cannot be read.
    """
    paths = {label(reading): evaluation_path(reading, fold) for reading in readings}
    return _beside(tuple((slot, path, path.stat().st_mtime_ns) for slot, path in paths.items()))


@lru_cache(maxsize=32)
def _beside(runs: tuple[tuple[str, Path, int], ...]) -> Beside:
    evaluations = {slot: _evaluation(path, modified) for slot, path, modified in runs}
    known = [set(evaluation.summary()) for evaluation in evaluations.values()]
    metrics = [metric for metric in METRICS if all(metric in names for names in known)]
    found = compare(evaluations, metrics)
    title, settled = verdict(found)
    return Beside(
        title,
        settled,
        len(next(iter(evaluations.values())).users),
        [_figure(found, metric) for metric in metrics],
        _gaps(found),
        _votes(evaluations),
        _tests(found),
        len(found.rows),
        found.protocol,
    )


def verdict(found: Comparison) -> tuple[str, bool]:
    """Which run is better by the headline measure, in a sentence, and whether that is settled."""
    order = sorted(found.values, key=lambda name: -found.values[name][KEY].value)
    best, others = order[0], order[1:]
    rows = {frozenset((row.first, row.second)): row for row in found.rows if row.metric == KEY}
    beaten = [other for other in others if rows[frozenset((best, other))].p_adjusted < LEVEL]
    if len(beaten) == len(others):
        whom = f"than {others[0]}" if len(others) == 1 else f"than the other {len(others)}"
        return f"{best} ranks better {whom}, and chance does not explain it", True
    tied = [other for other in others if other not in beaten]
    also = f"; both are ahead of {_and(beaten)}" if len(beaten) == 1 and len(tied) == 1 else ""
    return f"Between {_and([best, *tied])} it is not settled which ranks better{also}", False


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _figure(found: Comparison, metric: str) -> Chart:
    values = {name: metrics[metric] for name, metrics in found.values.items()}
    best = max(values, key=lambda name: values[name].value)
    dots = [
        Dot(name, value.value, value.low, value.high, chosen=name == best)
        for name, value in sorted(values.items(), key=lambda pair: -pair[1].value)
    ]
    rods = "; rods are 95 % intervals" if any(dot.low is not None for dot in dots) else ""
    return dots_with_intervals(
        f"{metric_words(metric)}: {best}, {number(values[best].value, 3)}",
        f"{metric_title(metric)}{rods}.",
        dots,
        Axis(metric_title(metric), better="higher"),
        of="Run",
    )


def _gaps(found: Comparison) -> Chart:
    rows = [row for row in found.rows if row.metric == KEY]
    dots = [
        Dot(f"{row.first} − {row.second}", row.effect.value, row.effect.low, row.effect.high, row.p_adjusted < LEVEL)
        for row in rows
    ]
    clear = sum(row.p_adjusted < LEVEL for row in rows)
    said = "the difference" if len(rows) == 1 else f"{clear} of {len(rows)} differences"
    title = f"{said[0].upper()}{said[1:]} cannot be chance" if clear else "No difference is more than chance"
    return dots_with_intervals(
        title,
        f"Mean difference of {metric_title(KEY)} over the same people; rods are 95 % intervals; right of the dashed "
        "line the first run is better.",
        dots,
        Axis(f"difference of {metric_title(KEY)}"),
        of="Runs",
        reference=("no difference", 0.0),
    )


def _votes(evaluations: Mapping[str, Evaluation]) -> list[Votes]:
    names = list(evaluations)
    made = []
    for at, first in enumerate(names):
        for second in names[at + 1 :]:
            gap = evaluations[first].per_user[KEY] - evaluations[second].per_user[KEY]
            made.append(Votes(first, second, int((gap > 0).sum()), int((gap < 0).sum()), int((gap == 0).sum())))
    return made


def _tests(found: Comparison) -> Markup:
    rows = [
        (
            blocks.noted(metric_words(row.metric), metric_title(row.metric)),
            f"{row.first} \N{MINUS SIGN} {row.second}",
            row.effect,
            "below 0.001" if row.p_adjusted < 0.001 else number(row.p_adjusted, 3),
            _says(row),
        )
        for row in found.rows
    ]
    heads = ("Measure", "Runs", "Difference", "p, corrected", "So")
    return blocks.table("Every test, on the same people", heads, rows)


def _says(row: Difference) -> str:
    if row.p_adjusted >= LEVEL:
        return "not settled"
    return f"{row.first if row.effect.value > 0 else row.second} is better"
