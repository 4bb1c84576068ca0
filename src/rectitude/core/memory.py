"""How much memory there is, and a word of warning before much of it is taken."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rectitude.core.errors import RectitudeError
from rectitude.core.progress import say


def total_memory() -> int:
    """Bytes of memory this process may use: the machine's, or the container's limit where that is lower."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    try:
        text = limit.read_text().strip()
    except OSError:
        return physical
    return physical if text == "max" else min(physical, int(text))


def readable(n_bytes: float) -> str:
    """``1.5 GiB`` for 1610612736."""
    for unit in ("B", "KiB", "MiB"):
        if n_bytes < 1024:
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.1f} GiB"


def reserve(n_bytes: float, purpose: str, *, fix: str) -> None:
    """Announce an allocation larger than half of memory, and refuse one that cannot fit.

    Raises:
        RectitudeError: The estimate exceeds all of memory.
    """
    total = total_memory()
    if n_bytes > total:
        raise RectitudeError(
            f"{purpose} needs about {readable(n_bytes)}, and this machine has {readable(total)}", fix=fix
        )
    if n_bytes > total / 2:
        say(f"{purpose} needs about {readable(n_bytes)} of {readable(total)} of memory. {fix}")


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)


@contextmanager
def reusing_freed_memory() -> Iterator[None]:
    """Inside, memory that was freed stays with the process for the next allocation; at the end it is given back.

    glibc returns the pages of large blocks to the system as soon as they are freed, and a training step, which frees
    and takes the same tensors every time, then spends a tenth of its time on page faults. Where the C library is
    another, nothing is changed.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt") or not hasattr(library, "malloc_trim"):
        yield
        return
    library.mallopt(_MMAP_THRESHOLD, 32 * 2**20)  # the largest glibc allows
    library.mallopt(_TRIM_THRESHOLD, 2**30)
    try:
        yield
    finally:
        library.mallopt(_TRIM_THRESHOLD, 64 * 2**20)  # what glibc itself would have settled on for such blocks
        library.malloc_trim(0)
