"""What the tests of documents share: where they lie, their code, running it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def blocks(page: Path, language: str) -> list[str]:
    """Fenced blocks of a language, each padded so that line numbers are the page's."""
    text = page.read_text(encoding="utf-8")
    return [
        "\n" * text[: match.start(1)].count("\n") + match.group(1)
        for match in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ]


def begin(page: Path) -> tuple[list[str], dict[str, Any]]:
    """Run the first Python block of a page; gives the others, and the names it made."""
    first, *rest = blocks(page, "python")
    names: dict[str, Any] = {"__name__": "page"}
    run(first, page, names)
    return rest, names


def run(block: str, page: Path, names: dict[str, Any]) -> None:
    """Run a Python block of a page among the names that the blocks before it made."""
    exec(compile(block, str(page), "exec", dont_inherit=True), names)  # noqa: S102 -- our own documents
