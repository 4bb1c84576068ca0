"""Model cards: Markdown written from what happened, never by hand."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rectitude.reporting.numbers import IntervalLike, decimals, interval_ends, number
from rectitude.reporting.svg import clean

_BLOCK_START = re.compile(r"^(?:[-+](?=\s|$)|-(?=[-\s]*$)|=(?==*$)|\d+[.)](?=\s|$))")
"""Beginnings that would make a list, a rule or a heading of a line."""


def escape(text: object) -> str:
    """Text as Markdown shows it: one line, with every sign that Markdown or HTML would act on made plain."""
    line = " ".join(clean(text).split())
    line = re.sub(r"([\\`*_\[\]<>|~#])", r"\\\1", line).replace("&", "&amp;")
    return _BLOCK_START.sub(lambda found: f"{found[0][:-1]}\\{found[0][-1]}", line)


def plain(value: object) -> str:
    """A value of a configuration or a protocol as one reads it: ``True`` is yes, ``None`` is not set."""
    if value is None or isinstance(value, bool):
        return {None: "not set", True: "yes", False: "no"}[value]
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() else f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {plain(part)}" for key, part in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(plain(part) for part in value) or "none"
    return str(value)


def flat(values: Mapping[str, Any]) -> dict[str, str]:
    """Nested facts as one level: ``{"split": {"rule": …}}`` becomes ``{"split rule": …}``; values become text."""
    pairs: dict[str, str] = {}
    for key, value in values.items():
        name = str(key).replace("_", " ")
        if isinstance(value, Mapping) and value:
            pairs |= {f"{name} {inner}": text for inner, text in flat(value).items()}
        else:
            pairs[name] = plain(value)
    return pairs


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell) if index == 1 else escape(cell) for cell in row) + " |"
        for index, row in enumerate(lines)
    )


def code(text: str, language: str = "") -> str:
    """A fenced block; the fence is longer than any run of backticks inside."""
    text = clean(text)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"


@dataclass(frozen=True, kw_only=True)
class Card:
    """What must be known of a model by those who would use it.

    Attributes:
        title: Name of the model.
        summary: What it is, in one or two sentences.
        about: Facts of the method: paper, what it reads, size.
        data: Facts of the data it was trained with, origin and terms among them.
        training: Facts of the training: time, epochs, speed.
        config: Setting to ``{"value": …, "origin": …}``.
        metrics: Metric to its value with interval; empty if it has not been judged.
        protocol: How the metrics were measured.
        serves: Sentences on whom it can answer for, and how well where that is known.
        limits: Sentences on what it cannot do or was not tested for.
        usage: What one may want to do, with the command that does it.
        lineage: Facts of where it came from.
        versions: Package to version.
    """

    title: str
    summary: str
    about: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    metrics: Mapping[str, IntervalLike] = field(default_factory=dict)
    protocol: Mapping[str, Any] = field(default_factory=dict)
    serves: Sequence[str] = ()
    limits: Sequence[str] = ()
    usage: Sequence[tuple[str, str]] = ()
    lineage: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    def markdown(self) -> str:
        """The whole card. A part about which nothing is known says so rather than vanish."""
        settings = [(key, plain(entry["value"]), entry["origin"]) for key, entry in self.config.items()]
        parts = [
            f"# {escape(self.title)}",
            escape(self.summary),
            _facts(self.about),
            "## Data",
            _facts(self.data) or "Nothing is recorded about the data.",
            "## Training",
            _facts(self.training),
            table(("Setting", "Value", "Set by"), settings) if settings else "No settings are recorded.",
            "## Accuracy",
            self._accuracy(),
            "## Whom it serves",
            _list(self.serves) or "Not recorded.",
            "## Limits",
            _list(self.limits) or "None are recorded; that is not the same as none.",
            "## Use",
            "\n\n".join(f"{escape(purpose)}:\n\n{code(command, 'sh')}" for purpose, command in self.usage),
            "## Lineage",
            _facts(self.lineage) or "Nothing is recorded about where it came from.",
            "## Software",
            _facts(self.versions) or "No versions are recorded.",
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _accuracy(self) -> str:
        if not self.metrics:
            return "It has not been judged yet."
        rows = [
            (name, number(found.value), interval_ends(found, decimals([found.value])).strip("()"))
            for name, found in self.metrics.items()
        ]
        stamp = _facts(self.protocol) or "No protocol is recorded: do not compare these numbers with others."
        return f"{table(('Metric', 'Value', '95 % interval'), rows)}\n\nHow it was measured:\n\n{stamp}"


def _facts(values: Mapping[str, Any]) -> str:
    return "\n".join(f"- **{escape(name)}**: {escape(value)}" for name, value in flat(values).items())


def _list(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {escape(sentence)}" for sentence in sentences)
