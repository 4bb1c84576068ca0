"""Other programs started beside this one: each with a log, each stopped with all it started."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

HOST = "127.0.0.1"


@contextmanager
def process(words: Sequence[str], log: Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process with its own log, and gone with all it started at the end of the block."""
    found = program(words[0])
    with log.open("wb") as file:
        started = subprocess.Popen(  # noqa: S603 -- our own words
            [str(found), *words[1:]],
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=dict(environment),
            start_new_session=True,
        )
        try:
            yield started
        finally:
            _stop(started)


def _stop(process: subprocess.Popen[bytes]) -> None:
    for sign, patience in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0)):
        try:
            os.killpg(process.pid, sign)  # its session: what it started ends with it
        except ProcessLookupError:
            break
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def program(name: str) -> Path | None:
    """A command of this Python's environment, or of the path."""
    beside = Path(sys.executable).parent / name
    found = shutil.which(name)
    return beside if beside.exists() else Path(found) if found else None


def free_ports(count: int) -> list[int]:
    """Ports of this machine on which nothing listens."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def last_words(log: Path) -> str:
    """What a log says of an error, else its end."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    said = [words for line in lines if (words := " ".join(line.strip("│╭╮╰╯─ ").split())) and words != "Error"]
    telling = [line for line in said if "error" in line.lower() or "certificate" in line.lower()]
    return " ".join(telling[-1:] or said[-4:] or ["nothing in its log"])[:400]
