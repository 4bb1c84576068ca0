"""Before and after a remedy: the table and the plot that a report shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from rectitude.evaluation.intervals import Interval
from rectitude.reporting.charts import Axis, Change, Chart, slope
from rectitude.reporting.numbers import number
from rectitude.reporting.page import chart, columns, facts, prose, table


def remedied(remedy: Mapping[str, Any]) -> list[Markup]:
    """The parts of the section on a remedy.

    Args:
        remedy: Content of ``remedy.json``.
    """
    rows = [(row["figure"], Interval(**row["before"]), Interval(**row["after"])) for row in remedy["rows"]]
    attributes = ", ".join(remedy["attributes"])
    told = (
        f"{remedy['remedy'].capitalize()} of {attributes}: {remedy['steps']} steps, "
        f"{number(remedy['cpu_seconds'], 1)} "
        f"CPU seconds. Both sides are of the {remedy['fold']}ation fold; leakage is the strongest attacker's balanced "
        "accuracy, and where it is of lists nothing was promised."
    )
    figures = [made for made in (_accuracy(remedy), _leakage(remedy)) if made is not None]
    cost = {
        "CPU seconds of the remedy": number(remedy["cpu_seconds"], 1),
        "CPU seconds of the parent's training": _seconds(remedy.get("parent_training_cpu_seconds")),
        "ended by": str(remedy["stopped"]),
    }
    return [
        prose(told),
        columns(*(chart(figure) for figure in figures)),
        table("Before and after, with 95 % intervals", ("Figure", "Before", "After"), rows, by_row=True),
        facts(cost),
    ]


def _seconds(value: float | None) -> str:
    return "not recorded" if value is None else number(value, 1)


def _changes(remedy: Mapping[str, Any], *, leakage: bool) -> list[Change]:
    return [
        Change(
            _short(row["figure"]), row["before"]["value"], row["after"]["value"], chosen=" from stored" in row["figure"]
        )
        for row in remedy["rows"]
        if (" from " in row["figure"]) == leakage
    ]


def _short(figure: str) -> str:
    """A name that fits beside a line of the plot; the table has it whole."""
    return figure.replace("from stored vectors ", "").replace("from recommended lists", "in lists")


def _leakage(remedy: Mapping[str, Any]) -> Chart | None:
    changes = _changes(remedy, leakage=True)
    if not changes:
        return None
    first = next((change for change in changes if change.chosen), changes[0])
    title = f"Strongest attacker, {first.label}: {number(first.before, 3)} before, {number(first.after, 3)} after"
    return slope(
        title,
        "Balanced accuracy of the strongest attacker; lower tells less.",
        changes,
        Axis("balanced accuracy", better="lower"),
        of="Attribute and where it is read off",
    )


def _accuracy(remedy: Mapping[str, Any]) -> Chart | None:
    changes = _changes(remedy, leakage=False)
    if not changes:
        return None
    first = changes[0]
    share = (first.after / first.before - 1) * 100 if first.before else 0.0
    title = (
        f"{first.label.upper()} {number(first.before, 4)} before and {number(first.after, 4)} after ({share:+.1f} %)"
    )
    return slope(
        title,
        "Accuracy and gaps between groups on the validation fold.",
        changes,
        Axis("value"),
        of="Figure",
    )
