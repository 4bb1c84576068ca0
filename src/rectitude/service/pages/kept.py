"""What pages read from files, kept until these change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")

_MOST = 32


class Kept(Generic[T]):
    """Reads a file or a folder once, and again when it has changed.

    Args:
        read: Reads it.
        names: Files of the folder that say whether it has changed; none for a file.
    """

    def __init__(self, read: Callable[[Path], T], *names: str) -> None:
        self._read, self._names = read, names or ("",)
        self._kept: dict[Path, tuple[tuple[int, ...], T]] = {}

    def __call__(self, path: Path) -> T:
        """What stands there now; whatever reading it raises is raised."""
        files = [path / name for name in self._names]
        stamp = tuple(file.stat().st_mtime_ns if file.is_file() else 0 for file in files)
        kept = self._kept.get(path)
        if kept is None or kept[0] != stamp:
            kept = (stamp, self._read(path))
            self._kept = {**dict(list(self._kept.items())[1 - _MOST :]), path: kept}
        return kept[1]
