"""Text files of interactions: separator, header and encoding found out and said, faults named by line."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections import Counter
from pathlib import Path, PurePath

import polars as pl

from rectitude.core.errors import DataError
from rectitude.core.memory import reserve
from rectitude.data.columnmap import is_header
from rectitude.data.place import Source

_SEPARATORS = ("::", "\t", ",", ";", "|", " ")
_SPOKEN = {"::": "'::'", "\t": "tab", ",": "comma", ";": "semicolon", "|": "'|'", " ": "space"}
_MEMORY_PER_BYTE = 10
"""Peak bytes in memory per byte of text: the text, its columns as strings, the integer columns."""
_COMPRESSION = 5
"""Usual gain of gzip on tables of ids."""
_FOREIGN = {
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"PAR1": "Parquet",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
}
"""First bytes of files that are often taken for text."""
_LONGEST = 100_000
"""Characters of a line that are looked at to find the separator; Python's csv refuses longer fields."""


def read_bytes(path: Path, encoding: str) -> bytes:
    """Content of a plain or gzipped text file, as UTF-8.

    Raises:
        DataError: The file is empty, cannot be unpacked, or is not text of that encoding.
    """
    with path.open("rb") as file:
        packed = path.suffix == ".gz" or file.read(2) == b"\x1f\x8b"
    size = path.stat().st_size * (_COMPRESSION if packed else 1)
    reserve(size * _MEMORY_PER_BYTE, f"Reading {path.name}", fix="Parquet takes less memory than text")
    content = path.read_bytes()
    try:
        content = gzip.decompress(content) if packed else content
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError("The file is not gzip, or it is cut off", where=str(path), fix="Fetch it again") from error
    for magic, form in _FOREIGN.items():
        if content.startswith(magic):
            raise DataError(f"The file is {form}, not text", where=str(path), fix="Export the table as CSV or Parquet")
    if not content.strip():
        raise DataError("The file is empty", where=str(path), fix="Give a file with one interaction per line")
    return _to_utf8(content, path, encoding).removeprefix(b"\xef\xbb\xbf")


def _to_utf8(content: bytes, path: Path, encoding: str) -> bytes:
    try:
        text = content.decode(encoding)
    except LookupError as error:
        raise DataError(f"Unknown encoding '{encoding}'", fix="For example utf-8, latin-1 or utf-16") from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        guess = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1"
        raise DataError(
            f"Byte {error.start + 1} (0x{content[error.start]:02x}) is not {encoding.upper()} text",
            where=f"{path.name}, line {line}",
            fix=f"If it was written as {guess}, give encoding='{guess}' (--encoding {guess})",
        ) from error
    return content if encoding.lower().replace("-", "") == "utf8" else text.encode()


def head(content: bytes, n_lines: int = 200) -> list[str]:
    """The first lines that are not blank, without line ends."""
    piece = content[: 1 << 20].decode("utf-8", errors="ignore").splitlines()
    if len(content) > 1 << 20 and len(piece) > 1:
        piece = piece[:-1]
    return [line[:_LONGEST] for line in piece if line.strip()][:n_lines]


def fields(line: str, separator: str) -> list[str]:
    """One line cut at the separator, quotes respected."""
    if separator == "::":
        return line.split("::")
    return next(csv.reader([line], delimiter=separator), [])


def guess_separator(lines: list[str]) -> str | None:
    """The separator that cuts every line into the same number of fields, at least two; else the likeliest one."""
    counts = {separator: [len(fields(line, separator)) for line in lines] for separator in _SEPARATORS}
    for separator, found in counts.items():
        if found[0] > 1 and len(set(found)) == 1:
            return separator
    separator, found = max(counts.items(), key=lambda entry: (entry[0] != " ", min(entry[1][0], 2), entry[1][0]))
    return separator if found[0] > 1 else None


def read_text_table(
    path: PurePath,
    content: bytes,
    *,
    separator: str | None = None,
    unnamed: bool = False,
    quoted: bool = True,
) -> Source:
    """Read delimited text; every column comes as text.

    Args:
        path: The file, for messages.
        content: Its text as UTF-8.
        separator: What stands between the fields; guessed if None.
        unnamed: The caller speaks of ``column_1``…: the first line is data whatever it looks like.
        quoted: Whether double quotes may enclose fields.

    Raises:
        DataError: The separator does not fit, or a line has too many fields.
    """
    lines = head(content)
    guessed = guess_separator(lines)
    notes = []
    if separator is None:
        if guessed is None:
            raise DataError(
                "The lines have only one field", where=f"{path.name}, line 1", fix="Give separator= (--separator)"
            )
        separator = guessed
        if separator != ("\t" if ".tsv" in path.suffixes or ".inter" in path.suffixes else ","):
            notes.append(f"Fields are separated by {_SPOKEN[separator]}")
    elif len(fields(lines[0], separator)) < 2:
        hint = f"It looks separated by {_SPOKEN[guessed]}" if guessed else "Look at the first line"
        raise DataError(f"Separator {separator!r} does not occur", where=f"{path.name}, line 1", fix=hint)
    header = not unnamed and is_header(fields(lines[0], separator))
    if not header and not unnamed:
        notes.append("The file has no header line; its columns are called column_1, column_2 and so on")
    if separator == "::":
        content, separator, quoted = content.replace(b"::", b"\t"), "\t", False
    elif separator == "\t":
        quoted = quoted and any(re.search(r'(^|\t)"[^\t]*"(\t|$)', line) for line in lines)
    frame = _read(path, content, separator, header, quoted)
    blank = pl.Series([], dtype=pl.UInt32)
    if frame[:, 0].null_count():
        empty = frame.select(pl.all_horizontal(pl.all().is_null())).to_series()
        frame, blank = frame.filter(~empty), empty.arg_true()
    if not len(frame):
        raise DataError("The file has a header line and nothing below it", where=path.name, fix="Give interactions")
    return Source(frame, path.name, first=2 if header else 1, unit="line", notes=notes, passed_over=tuple(blank))


def _read(path: PurePath, content: bytes, separator: str, header: bool, quoted: bool) -> pl.DataFrame:
    try:
        frame = pl.read_csv(
            io.BytesIO(content),
            separator=separator,
            has_header=header,
            infer_schema=False,
            quote_char='"' if quoted else None,
        )
    except pl.exceptions.PolarsError as error:
        raise _diagnose(path, content, separator, quoted, error) from error
    if not header:
        frame.columns = [f"column_{number}" for number in range(1, frame.width + 1)]
    names = [name.strip() for name in frame.columns]
    if twice := next((name for name, count in Counter(names).items() if count > 1 or "_duplicated_" in name), None):
        name = twice.partition("_duplicated_")[0]
        raise DataError(f"Two columns are called '{name}'", where=f"{path.name}, line 1", fix="Rename one")
    frame.columns = names
    return frame


def _diagnose(path: PurePath, content: bytes, separator: str, quoted: bool, error: Exception) -> DataError:
    text = io.StringIO(content.decode(), newline="")
    reader = csv.reader(text, delimiter=separator, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)
    try:
        width = len(next(reader, []))
        row = next((row for row in reader if len(row) > width), None)
    except csv.Error:
        row = None
    if row is not None:
        return DataError(
            f"The line has {len(row)} fields where the first has {width}",
            where=f"{path.name}, line {reader.line_num}",
            fix="Enclose text that holds the separator in double quotes, or give another separator",
        )
    return DataError(f"The file cannot be read: {str(error).splitlines()[0]}", where=path.name, fix="Check its quotes")
