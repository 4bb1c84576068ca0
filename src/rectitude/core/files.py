"""Writing files and folders so that a crash leaves the old state or the new one, never half."""

from __future__ import annotations

import ctypes
import errno
import glob
import hashlib
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rectitude.core.errors import RectitudeError

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def _sync(path: Path) -> None:
    """Flush a file or a folder entry to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _explain(error: OSError, target: Path) -> RectitudeError:
    if error.errno == errno.ENOSPC:
        return RectitudeError(
            "The disk is full", where=str(target), fix="Free some space and run the command again; nothing was changed"
        )
    return RectitudeError(f"Cannot write: {error.strerror or error}", where=str(target), fix="Nothing was changed")


def write_bytes(path: str | Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` atomically.

    Raises:
        RectitudeError: The folder cannot be written or the disk is full; the old file is still there.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
        _sync(path.parent)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise _explain(error, path) from error


def write_text(path: str | Path, content: str) -> None:
    """Replace ``path`` by UTF-8 text atomically."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: str | Path, value: Any) -> None:
    """Replace ``path`` by indented JSON atomically. NaN and infinities are refused: they are not JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step where the system can (Linux); say whether it did."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    return bool(rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0)


def _maker(process: int) -> str:
    """Who builds a folder: the machine and the process."""
    return f"{platform.node()}-{process}"


def _sweep(target: Path) -> None:
    """Remove what was being built for ``target`` by processes of this machine that were killed."""
    start = f".{target.name}.new.{platform.node()}-"
    for path in target.parent.glob(f"{glob.escape(start)}*"):
        process = path.name[len(start) :].split(".")[0]
        if process.isdigit() and not _alive(int(process)):
            shutil.rmtree(path, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's
    return True


@contextmanager
def replace_folder(target: str | Path) -> Iterator[Path]:
    """Build a folder beside ``target`` and put it in its place only when the block ends well.

    Yields:
        An empty folder to write into. If the block raises, it is removed and ``target`` is as it was.

    Raises:
        RectitudeError: ``target`` is a file, cannot be written, or the disk is full.
    """
    target = Path(target)
    if target.exists() and not target.is_dir():
        raise RectitudeError("A folder is wanted, and this is a file", where=str(target), fix="Give another name")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target)
        building = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.new.{_maker(os.getpid())}."))
    except OSError as error:
        raise _explain(error, target) from error
    try:
        yield building
        for path in (*building.rglob("*"), building):
            _sync(path)
        building.chmod(0o755)
        if not target.exists():
            building.replace(target)
        elif not _exchange(building, target):
            retired = target.with_name(f".{target.name}.old")
            shutil.rmtree(retired, ignore_errors=True)
            target.replace(retired)
            building.replace(target)
            shutil.rmtree(retired, ignore_errors=True)
        _sync(target.parent)
    except OSError as error:
        raise _explain(error, target) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)


def recover_folder(target: str | Path) -> None:
    """Put back a folder whose replacement was cut off between its two renames (systems without exchange)."""
    target = Path(target)
    retired = target.with_name(f".{target.name}.old")
    if retired.exists() and not target.exists():
        retired.replace(target)


def sha256(path: str | Path) -> str:
    """Hex SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
