"""A PostgreSQL of the tests' own, from Debian's packages: in a temporary folder, on a free port of this machine."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from pathlib import Path


def programs() -> Path | None:
    """The folder of the newest PostgreSQL's programs, None where it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    return found[-1].parent if found else None


class Postgres:
    """A server; ``new_database`` gives the URL of an empty database."""

    def __init__(self) -> None:
        self.bin = programs()
        assert self.bin is not None
        self.root = Path(tempfile.mkdtemp(prefix="pg"))
        self.account = None
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            account = pwd.getpwnam("postgres" if _exists("postgres") else "nobody")
            os.chown(self.root, account.pw_uid, account.pw_gid)
            self.account = account.pw_uid
        self.data = self.root / "data"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._run(
            "initdb", "-D", str(self.data), "-U", "tests", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C"
        )
        self.start()

    def _run(self, program: str, *rest: str) -> None:
        done = subprocess.run(
            [str(self.bin / program), *rest],
            user=self.account,
            cwd=self.root,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            check=False,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.root} -c shared_buffers=32MB"
        log = str(self.root / "log")
        self._run("pg_ctl", "-D", str(self.data), "-l", log, "-o", options, "-w", "-t", "90", "start")

    def stop(self, mode: str = "immediate") -> None:
        """``immediate`` is what a crash is: the server recovers from its log at the next start."""
        self._run("pg_ctl", "-D", str(self.data), "-m", mode, "-w", "-t", "90", "stop")

    def restart(self, away_s: float = 0.0) -> None:
        self.stop()
        time.sleep(away_s)
        self.start()

    def url(self, name: str = "postgres") -> str:
        return f"postgresql://tests@127.0.0.1:{self.port}/{name}"

    def new_database(self) -> str:
        import psycopg

        name = f"t{uuid.uuid4().hex}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.root, ignore_errors=True)


def _exists(account: str) -> bool:
    try:
        pwd.getpwnam(account)
    except KeyError:
        return False
    return True
