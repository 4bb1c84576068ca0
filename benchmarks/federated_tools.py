"""What the benchmarks of federations share: lines that are not computed twice, and tables put into pages."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

Lines = list[dict[str, Any]]


def run(
    about: str,
    names: Sequence[str],
    cells: Iterable[tuple[Any, ...]],
    measure: Callable[..., Iterable[dict[str, Any]]],
    table: Callable[[Lines], str],
    marker: str,
) -> None:
    """Measure every cell that the file of lines does not hold yet, then print the table or put it into a page.

    Args:
        about: Of the script, for ``--help``.
        names: Of a cell's values, in the lines.
        cells: Everything that is to be measured.
        measure: A cell's values to its lines.
        table: The table of all lines.
        marker: The page has ``<!-- MARKER -->`` before and ``<!-- end -->`` after the table.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="file of JSON lines, added to")
    parser.add_argument("--write", type=Path, help="page whose table is to be filled in")
    given = parser.parse_args()
    lines: Lines = []
    if given.out.exists():
        lines = [json.loads(line) for line in given.out.read_text(encoding="utf-8").splitlines()]
    done = {tuple(line[name] for name in names) for line in lines}
    for cell in cells:
        if cell in done:
            continue
        began = time.process_time()
        made = [dict(zip(names, cell, strict=True)) | line for line in measure(*cell)]
        with given.out.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(line) + "\n" for line in made))
        lines += made
        words = " ".join(f"{name} {value}" for name, value in zip(names, cell, strict=True))
        print(f"{words}: {time.process_time() - began:.1f} CPU s", file=sys.stderr, flush=True)
    if given.write is None:
        print(table(lines))
        return
    head, marked, rest = given.write.read_text(encoding="utf-8").partition(f"<!-- {marker} -->\n")
    _, end, tail = rest.partition("<!-- end -->")
    if not marked or not end:
        parser.error(f"{given.write} has no place <!-- {marker} --> … <!-- end -->")
    given.write.write_text(f"{head}{marked}\n{table(lines)}\n\n{end}{tail}", encoding="utf-8")
