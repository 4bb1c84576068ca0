"""Evaluations, comparisons and lists as tables for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rectitude.cli.console import grid, plural, terminal_width
from rectitude.reporting.numbers import IntervalLike, number

if TYPE_CHECKING:
    from rich.table import Table

    from rectitude.evaluation.evaluator import Evaluation
    from rectitude.evaluation.significance import Comparison
    from rectitude.training.run import Answer

_FOLDS = {"valid": "Validation", "test": "Test"}
_IN_BITS = ("novelty",)
"""Metrics that are no shares and need fewer decimals."""
_INTERVAL = "95 %"
_LABEL, _FIGURE = 17, 21
"""Widths of a metric's name and of a figure with its interval."""


def asked(protocol: Mapping[str, Any]) -> str:
    """What the figures are of, in a sentence."""
    queries, answered = protocol["queries"], protocol.get("answered", {})
    text = (
        f"{_FOLDS[protocol['fold']]} fold of the {protocol['split']['rule']} split: "
        f"{plural(queries['count'], 'question')}, {protocol['candidates']} ranked, seen items {protocol['seen_items']}"
    )
    if answered.get("by_fallback"):
        text += f"; {answered['by_fallback']:,} answered by {answered['fallback']}, which the model could not answer"
    return text


def evaluation_table(evaluation: Evaluation) -> Table:
    """Every metric with its 95 % interval: cut-offs side by side, or below each other in a narrow terminal."""
    from rectitude.audit.findings import metric_title

    summary = evaluation.summary()
    ks = evaluation.protocol["k"]
    names = list(dict.fromkeys(metric.partition("@")[0] for metric in summary))
    if terminal_width() < _LABEL + _FIGURE * len(ks):
        table = grid("", "", _INTERVAL, right=(1,))
        for metric in (f"{name}@{k}" for k in ks for name in names):
            table.add_row(metric_title(metric), *_apart(metric, summary[metric]))
        return table
    table = grid("", *(header for k in ks for header in (f"@{k}", _INTERVAL)), right=tuple(range(1, 2 * len(ks), 2)))
    for name in names:
        cells = (cell for k in ks for cell in _apart(name, summary[f"{name}@{k}"]))
        table.add_row(metric_title(name), *cells)
    return table


def _apart(metric: str, found: IntervalLike) -> tuple[str, str]:
    """Value and interval as two cells."""
    bits = metric.partition("@")[0] in _IN_BITS
    value = number(found.value, 2 if bits else 4)
    if found.low is None or found.high is None:
        return value, ""
    places = 2 if bits else 3
    return value, f"{number(found.low, places)}–{number(found.high, places)}"


def interval(found: IntervalLike) -> str:
    """``0.0812 (0.075–0.087)``."""
    value, ends = _apart("", found)
    return f"{value} ({ends})" if ends else value


def _difference(found: IntervalLike) -> str:
    """``+0.0112 (-0.002 to 0.024)``: ends of either sign are kept apart by a word."""
    value = f"{'+' if found.value > 0 else ''}{number(found.value, 4)}"
    if found.low is None or found.high is None:
        return value
    return f"{value} ({number(found.low, 3)} to {number(found.high, 3)})"


def figures_table(comparison: Comparison) -> Table:
    """A run per line, a metric per column."""
    from rectitude.audit.findings import metric_title

    metrics = list(next(iter(comparison.values.values())))
    table = grid("run", *(metric_title(metric) for metric in metrics))
    for name, values in comparison.values.items():
        table.add_row(name, *(interval(values[metric]) for metric in metrics))
    return table


def tests_table(comparison: Comparison) -> Table:
    """A paired test per line."""
    from rectitude.audit.findings import metric_title

    table = grid("metric", "run", "minus", "difference (95 %)", "p (Holm)", right=(4,), wrap=(1, 2))
    for row in comparison.rows:
        table.add_row(metric_title(row.metric), row.first, row.second, _difference(row.effect), p_value(row.p_adjusted))
    return table


def p_value(p: float) -> str:
    """``0.0312``, and ``<0.001`` below it."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def list_table(answer: Answer) -> Table:
    """Rank, score, id and title of what is recommended."""
    titled = any(item.title for item in answer.items)
    because = answer.explanation.because if answer.explanation is not None else {}
    names = answer.explanation.titles if answer.explanation is not None else {}
    columns = [*(["title"] if titled else []), *(["because of"] if because else [])]
    table = grid("rank", "score", "item", *columns, right=(0, 1), wrap=(3, 4))
    for item in answer.items:
        row = [str(item.rank), f"{item.score:.3f}", item.item_id]
        reason = because.get(item.item_id, "")
        told = [names.get(reason) or reason] if because else []
        table.add_row(*row, *([item.title or "–"] if titled else []), *told)
    return table
