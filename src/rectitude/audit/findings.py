"""What a report on a recommender is made from, and the plain sentences its numbers support."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rectitude.audit.checks.finding import Finding
from rectitude.audit.slices import PopularityGroup
from rectitude.fairness.metrics import GroupMean
from rectitude.reporting.numbers import IntervalLike, number, out_of, percent


@dataclass(frozen=True)
class Shown:
    """One line of a recommendation list.

    Attributes:
        rank: Its place, 1 on top.
        title: Title of the item, or its id.
        held_out: Is this what the person went on to choose?
    """

    rank: int
    title: str
    held_out: bool = False


@dataclass(frozen=True)
class Example:
    """A person the run was judged with, and what it would show them.

    Attributes:
        user: Their id in the data.
        history: Titles, newest first.
        shown: The list, best first.
        held_out: Titles of what they went on to choose.
    """

    user: str
    history: Sequence[str]
    shown: Sequence[Shown]
    held_out: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class ReportInput:
    """Everything a report and a card tell of a recommender run, as plain data.

    Attributes:
        name: The run folder as the reader would type it.
        model: Model name on the command line.
        model_title: Model name in tables.
        paper: Source of the method.
        reads: What a query must carry ("user", "history").
        serves_new_users: Can it answer for people it was not trained with?
        serves_new_items: Can it rank items it was not trained with?
        dataset: Facts of the data; ``name`` is used in the title, ``origin`` and ``terms`` are expected.
        config: Setting to ``{"value": …, "origin": …}``.
        protocol: Stamp of the evaluation.
        summary: Metric key ("ndcg@10") to its value with interval; empty before the run is judged.
        fold: Which fold was judged.
        single_target: Was one item held out per person?
        item_noun: What an item is called ("film").
        baselines: Model title to its summary on the same fold.
        curve: Rows with ``epoch``, ``loss``, ``valid_metric`` and ``seconds``; ``None`` where not measured.
        valid_metric: Key of the metric in ``curve``.
        activity: Model title to the metric by activity group, this model first.
        activity_metric: Key of the metric in ``activity``.
        popularity: Recommendations and interactions by item popularity.
        examples: Some people and their lists.
        shares: How much each part of the model counts, for each of some people of the fold; they sum to one.
        fallback_share: Share of the people judged whom popularity answered instead of the model.
        training: ``seconds``, ``epochs``, ``parameters``, ``targets_per_second``, as far as they apply.
        notes: What was guessed, dropped or must be known.
        lineage: Facts of where the run came from.
        findings: Of the audit; empty before there was one.
        remedy: Content of ``remedy.json``: before and after; empty for a run as it was trained.
        versions: Package to version.
    """

    name: str
    model: str
    model_title: str
    paper: str
    reads: Sequence[str]
    serves_new_users: bool
    serves_new_items: bool
    dataset: Mapping[str, Any]
    config: Mapping[str, Mapping[str, Any]]
    protocol: Mapping[str, Any]
    summary: Mapping[str, IntervalLike]
    fold: str = "test"
    single_target: bool = True
    item_noun: str = "item"
    baselines: Mapping[str, Mapping[str, IntervalLike]] = field(default_factory=dict)
    curve: Sequence[Mapping[str, float | None]] = ()
    valid_metric: str = "ndcg@10"
    activity: Mapping[str, Sequence[GroupMean]] = field(default_factory=dict)
    activity_metric: str = "ndcg@10"
    popularity: Sequence[PopularityGroup] = ()
    examples: Sequence[Example] = ()
    shares: Mapping[str, Sequence[float]] = field(default_factory=dict)
    fallback_share: float = 0.0
    training: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    lineage: Mapping[str, Any] = field(default_factory=dict)
    findings: Sequence[Finding] = ()
    remedy: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)


_MEANINGS = {
    "hr": ("HR", "Found something they chose", "people for whom at least one {one} they chose was among the {k} shown"),
    "recall": ("Recall", "Share of their choices found", "share of what a person chose that was among the {k} shown"),
    "precision": ("Precision", "Share of the list they chose", "share of the {k} shown that the person chose"),
    "ndcg": (
        "NDCG",
        "How high their choices stood",
        "how high what a person chose stood among the {k} shown; 1 is perfect",
    ),
    "mrr": (
        "MRR",
        "How early the first one came",
        "one over the place of the first hit among the {k} shown, 0 if none",
    ),
    "map": ("MAP", "Precision down the list", "precision averaged over the places of the hits among the {k} shown"),
    "coverage": ("Coverage", "Share of the catalogue shown", "share of the catalogue shown to anybody"),
    "gini": (
        "Gini",
        "Unevenness of what is shown",
        "how unevenly items are shown: 0 all alike, 1 only one; lower is more even",
    ),
    "novelty": ("Novelty", "Rarity of what is shown", "how rarely chosen the shown items are, in bits"),
    "tail_share": (
        "Long-tail share",
        "Share that is not popular",
        "share of what is shown that is not among the popular items",
    ),
}


def metric_title(key: str) -> str:
    """``ndcg@10`` as ``NDCG@10``; an unknown metric keeps its name."""
    name, at, k = key.partition("@")
    return _MEANINGS.get(name, (name,))[0] + at + k


def metric_words(key: str) -> str:
    """A metric in a few plain words; an unknown metric keeps its name."""
    name = key.partition("@")[0]
    return _MEANINGS[name][1] if name in _MEANINGS else key


def metric_meaning(key: str, noun: str) -> str:
    """What a metric is, in a sentence; empty for one that is not known here."""
    name, _, k = key.partition("@")
    return _MEANINGS[name][2].format(k=k, one=noun) if name in _MEANINGS else ""


def headline(summary: Mapping[str, IntervalLike], metric: str) -> str | None:
    """The key of a metric at 10, else at the longest list it was measured for, else nothing."""
    lengths = [int(key.partition("@")[2]) for key in summary if key.startswith(f"{metric}@")]
    if not lengths:
        return None
    return f"{metric}@{10 if 10 in lengths else max(lengths)}"


def _words(k: str) -> str:
    return {"5": "five", "10": "ten", "20": "twenty"}.get(k, k)


def verdict(facts: ReportInput) -> str:
    """Two plain sentences: how many people are served, and whether that is better than the models beside it."""
    key = headline(facts.summary, "hr")
    if key is None:
        return (
            f"{facts.model_title} has not been judged on how often people find what they want. "
            f"Run 'rectitude evaluate {facts.name}' to know."
        )
    own, k = facts.summary[key], key.partition("@")[2]
    rivals = {name: summary[key] for name, summary in facts.baselines.items() if key in summary}
    simple = next((name for name in rivals if name.lower() == "popularity"), None)
    base = _base([own.value, *(rivals[name].value for name in [simple] if name)])
    chosen = f"the next {facts.item_noun}" if facts.single_target else f"at least one {facts.item_noun} they chose"
    first = f"For {out_of(own.value, base)} people, {chosen} was among the {_words(k)} shown"
    if simple:
        first += f"; showing everyone what is popular would manage {out_of(rivals[simple].value, base).split(' of')[0]}"
    return f"{first}. {_comparison(facts.model_title, own, rivals, base)}"


def _base(shares: Sequence[float]) -> int:
    """Count people out of 100, or out of 1,000 where hundredths would hide the figure or the difference."""
    counts = [round(100 * share) for share in shares]
    alike = len(set(counts)) < len(set(shares))
    return 1000 if 0 in counts or alike else 100


def _comparison(title: str, own: IntervalLike, rivals: Mapping[str, IntervalLike], base: int) -> str:
    if not rivals:
        return "No other model was judged beside it, so whether that is much cannot be said here."
    best = max(rivals, key=lambda name: rivals[name].value)
    rival = rivals[best]
    named = f"{best} ({out_of(rival.value, base)})"
    named += f", the best of the {len(rivals)} models beside it," if len(rivals) > 1 else ""
    order = apart(own, rival)
    if order > 0:
        return f"{title} does better than {named} by a margin that chance does not explain."
    if order < 0:
        return f"{title} does worse than {named} by a margin that chance does not explain."
    return f"Against {named} these figures alone do not settle which is better: the 95 % intervals overlap."


def apart(one: IntervalLike, other: IntervalLike) -> int:
    """1 where the first interval lies above the second, -1 where it lies below, 0 where they overlap or are unknown."""
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return 0
    return int(one.low > other.high) - int(one.high < other.low)


def accuracy_finding(title: str, key: str, own: IntervalLike, rivals: Mapping[str, IntervalLike]) -> str:
    """Who ranks best, and is that certain?"""
    metric = metric_title(key)
    if not rivals:
        return f"{title}: {metric} {number(own.value)}"
    order = sorted({title: own, **rivals}.items(), key=lambda pair: -pair[1].value)
    (best, first), (next_best, second) = order[:2]
    figures = f"{metric} {number(first.value)} against {number(second.value)}"
    if apart(first, second) > 0:
        return f"{best} ranks best: {figures} for {next_best}"
    return f"{best} is ahead of {next_best}, but not clearly: {figures}, and the intervals overlap"


def activity_finding(metric: str, groups: Sequence[GroupMean]) -> str:
    """Are the least active people served worse than the most active ones?"""
    few, many = groups[0], groups[-1]
    if len(groups) < 2:
        return f"All people judged have about the same history length ({few.label})"
    figures = f"{metric_title(metric)} {number(few.value)} against {number(many.value)}"
    who = f"people with the shortest histories ({few.label})"
    order = apart(few, many)
    if order < 0:
        return f"Served worse: {who}, {figures} for the longest ({many.label})"
    if order > 0:
        return f"Served better: {who}, {figures} for the longest ({many.label})"
    return f"No clear difference between {who} and the longest ({many.label}): {figures}"


def popularity_finding(groups: Sequence[PopularityGroup]) -> str:
    """Does the model show popular items more than people choose them?"""
    top = groups[0]
    return (
        f"The {top.label} of items take {percent(top.recommended)} of what is recommended "
        f"and {percent(top.interactions)} of what people chose"
    )


def curve_points(facts: ReportInput, column: str) -> list[tuple[float, float]]:
    """(epoch, value) of a column of the learning curve, where it was measured."""
    return [
        (float(row["epoch"] or 0), float(value))
        for row in facts.curve
        if (value := row.get(column)) is not None and value == value
    ]


def serves(facts: ReportInput) -> list[str]:
    """Whom the model can answer for, in sentences."""
    new_users = (
        "People it was not trained with: yes, from their history."
        if facts.serves_new_users
        else "People it was not trained with: no; they are shown what is popular, and the answer says so."
    )
    new_items = (
        f"Each {facts.item_noun} it was not trained with: can be ranked."
        if facts.serves_new_items
        else f"Any {facts.item_noun} it was not trained with: is never shown."
    )
    return [f"It reads: {' and '.join(facts.reads) or 'nothing about the person'}.", new_users, new_items]
