"""Plans in words."""

from __future__ import annotations

from rectitude.decisions.plans.conditions import Answer, spoken
from rectitude.decisions.plans.schema import Feature

CAUTION = (
    "These are associations in a survey, not proven effects: people with such answers more often had the wanted "
    "outcome, which does not show that changing them helps. This is not medical, legal or financial advice."
)


def item_sentence(name: str, feature: Feature, before: Answer | None, after: Answer | None) -> str:
    """One change in words, such as ``Lower alcohol from 5 to 2 drinks a day``."""
    words = feature.label or name
    unit = f" {feature.unit}" if feature.unit else ""
    if before is None:
        return f"Set {words} to {_quoted(after)}{unit}."
    if isinstance(before, str) or isinstance(after, str) or feature.kind == "binary":
        return f"Change {words} from {_quoted(before)} to {_quoted(after)}."
    verb = "Raise" if (after or 0.0) > before else "Lower"
    return f"{verb} {words} from {spoken(before)} to {spoken(after)}{unit}."


def _quoted(value: Answer | None) -> str:
    return f"‘{value}’" if isinstance(value, str) else spoken(value)


def chance(value: float) -> str:
    """``62 %``; with a decimal near the ends, where ``0 %`` and ``100 %`` would say too much."""
    if 0 < value < 0.01 or 0.99 < value < 1:
        return f"{min(max(100 * value, 0.1), 99.9):.1f}\N{NO-BREAK SPACE}%"
    return f"{100 * value:.0f}\N{NO-BREAK SPACE}%"
