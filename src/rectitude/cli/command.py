"""What all commands have in common as commands: plain help, and one way for each to end."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from inspect import cleandoc
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from rectitude.cli.console import Stopped, fail
from rectitude.core.errors import RectitudeError

_AFTER = {"data": "", "unlearn": "audit", "plan": "classify", "route": "plan", "keys": "serve"}
"""Groups, which typer would list last, and the verb each is listed after."""

_CLOSED_PIPE, _STOPPED = 141, 130  # what shells report for SIGPIPE and SIGINT


def _with_examples(text: str | None) -> str | None:
    """Help whose examples keep their lines: click joins the lines of a paragraph unless told not to."""
    return re.sub(r"\n\n(Examples?\b[^\n]*:\n)", "\n\n\b\n\\1", cleandoc(text)) if text else text


class Verb(TyperCommand):
    """A command."""

    def __init__(self, *rest: Any, **named: Any) -> None:
        super().__init__(*rest, **{**named, "help": _with_examples(named.get("help"))})

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Plain help; typer escapes brackets for rich even where rich is not asked to show them."""
        super().format_help(ctx, formatter)
        formatter.buffer = [piece.replace("\\[", "[") for piece in formatter.buffer]


class Verbs(TyperGroup):
    """The group of all commands; every error leaves it as one line and an exit code."""

    def __init__(self, **named: Any) -> None:
        super().__init__(**{**named, "help": _with_examples(named.get("help"))})

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order of use: data before what is done with them, a remedy after the audit."""
        names = [name for name in super().list_commands(ctx) if name not in _AFTER]
        for name, before in _AFTER.items():
            if name in self.commands:
                names.insert(names.index(before) + 1 if before in names else 0, name)
        return names

    def main(self, args: Sequence[str] | None = None, *, standalone_mode: bool = True, **extra: Any) -> Any:  # type: ignore[override]
        """Run a command line to its end."""
        given = list(sys.argv[1:] if args is None else args)
        words = [word for word in given if word != "--debug"]  # wherever it stands
        debug = len(words) < len(given) or bool(os.environ.get("RECTITUDE_DEBUG"))
        try:
            code = super().main(words, standalone_mode=False, obj=words, **extra)
        except Exception as error:
            if debug:
                raise
            fail(_told(error), as_json="--json" in words)
            code = _exit_code(error)
        if standalone_mode:
            sys.exit(code or 0)
        return code

    def invoke(self, ctx: Any) -> Any:
        """Run the command; Ctrl-C and a reader that has left become endings like others."""
        try:
            found = super().invoke(ctx)
            sys.stdout.flush()
        except KeyboardInterrupt as interrupt:
            raise Stopped("Stopped") from interrupt
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered goes nowhere
            raise typer.Exit(_CLOSED_PIPE) from None
        return found


def _told(error: Exception) -> RectitudeError:
    """Any error as one a person can act on."""
    if isinstance(error, RectitudeError):
        return error
    if hasattr(error, "format_message"):  # a usage error of the command line itself
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "rectitude"
        what, meant, word = error.format_message().partition(" Did you mean ")
        return RectitudeError(what.rstrip("."), fix=f"{meant}{word}".strip() or f"See '{path} --help'")
    if isinstance(error, MemoryError):
        return RectitudeError("There is not enough memory", fix="Use less data, or another model or machine")
    if isinstance(error, OSError) and error.strerror:
        return RectitudeError(error.strerror, where=str(error.filename) if error.filename else None)
    return RectitudeError(
        f"{type(error).__name__}: {error}", fix="This is a fault of rectitude: add --debug to see more, and report it"
    )


def _exit_code(error: Exception) -> int:
    if isinstance(error, Stopped):
        return _STOPPED
    return int(getattr(error, "exit_code", 1))
