"""Errors a user can act on: what is wrong, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class RectitudeError(Exception):
    """Base of every error we raise on purpose.

    Args:
        what: What is wrong, in one sentence without a full stop.
        where: File, line, column or setting it was found in.
        fix: What the reader can do about it.
    """

    def __init__(self, what: str, *, where: str | None = None, fix: str | None = None) -> None:
        self.what, self.where, self.fix = what, where, fix
        super().__init__(str(self))

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        cure = f". {self.fix}" if self.fix else ""
        return f"{self.what}{place}{cure}"


class DataError(RectitudeError):
    """A table cannot be read as interactions, or holds values that cannot be used."""


class ConfigError(RectitudeError):
    """A setting is unknown, of the wrong type or out of range."""


class SealedFoldError(RectitudeError):
    """Something other than ``evaluate`` asked for the test fold."""


class RunError(RectitudeError):
    """A run folder is missing, foreign, of another version, or half there."""


class CheckpointError(RunError):
    """A checkpoint is truncated, foreign, or does not fit the model."""


class QueryError(RectitudeError):
    """A recommendation was asked for somebody or something the model cannot serve."""


class MissingExtraError(RectitudeError):
    """An optional dependency is not installed.

    Args:
        package: Import name of the missing package.
        extra: Name of the extra that brings it.
        purpose: What it is needed for.
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package '{package}', which is not installed",
            fix=f"Install it with: pip install 'rectitude[{extra}]'",
        )


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A sentence that suggests the nearest known word, or lists the known ones."""
    known = sorted(known)
    near = get_close_matches(word, known, n=1, cutoff=0.6)
    if near:
        return f"Did you mean '{near[0]}'?"
    return f"Known: {', '.join(known)}"
