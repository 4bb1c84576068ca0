from __future__ import annotations

import errno
import hashlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rectitude.core import files
from rectitude.core.errors import RectitudeError
from rectitude.core.files import recover_folder, replace_folder, sha256, write_bytes, write_json, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


# ---- single files --------------------------------------------------------------------------------------------------


def test_a_file_is_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.txt"
    write_text(path, "eins")
    write_text(path, "zwei ✓")
    assert path.read_text(encoding="utf-8") == "zwei ✓"
    assert names(path.parent) == ["file.txt"]


def test_json_is_readable_and_strict(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    write_json(path, {"größe": 1})
    assert path.read_text(encoding="utf-8") == '{\n  "größe": 1\n}\n'
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"ndcg@10": float("nan")})
    assert path.read_text(encoding="utf-8") == '{\n  "größe": 1\n}\n'


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(RectitudeError, match=r"The disk is full .*nothing was changed"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_folder_that_is_a_file_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RectitudeError, match="Cannot write: "):
        write_bytes(tmp_path / "file" / "below", b"")


def test_sha256_equals_the_whole_files(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "file").write_bytes(content)
    assert sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()


# ---- folders -------------------------------------------------------------------------------------------------------


def fill(folder: Path, text: str) -> None:
    for name in "abc":
        (folder / name).write_text(text)


@pytest.fixture(params=["exchange", "two renames"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the system's exchange of two folders and without."""
    if request.param == "two renames":
        monkeypatch.setattr(files, "_exchange", lambda one, other: False)


@pytest.mark.usefixtures("either_way")
def test_a_folder_is_made_and_replaced_whole(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "first"
    with replace_folder(run) as building:
        assert names(building) == []
        fill(building, "1")
        assert not run.exists()
    with replace_folder(run) as building:
        (building / "d").write_text("2")
        assert names(run) == ["a", "b", "c"]
    assert names(run) == ["d"]
    assert names(run.parent) == ["first"]


@pytest.mark.usefixtures("either_way")
def test_a_failed_block_leaves_the_old_folder(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with replace_folder(run) as building:
        fill(building, "1")
    with pytest.raises(ZeroDivisionError), replace_folder(run) as building:
        fill(building, "2")
        raise ZeroDivisionError
    assert {path.read_text() for path in run.iterdir()} == {"1"}
    assert names(tmp_path) == ["run"]


@pytest.mark.parametrize("moment", ["in the block", "at the end"])
def test_a_full_disk_leaves_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    run = tmp_path / "run"
    with replace_folder(run) as building:
        fill(building, "1")
    with pytest.raises(RectitudeError, match="The disk is full"), replace_folder(run) as building:
        fill(building, "2")
        if moment == "in the block":
            no_space()
        monkeypatch.setattr(os, "fsync", no_space)
    assert {path.read_text() for path in run.iterdir()} == {"1"}
    assert names(tmp_path) == ["run"]


def test_a_file_is_not_replaced_by_a_folder(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RectitudeError, match="this is a file"), replace_folder(tmp_path / "thesis.tex") as building:
        fill(building, "1")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    assert names(tmp_path) == ["thesis.tex"]


def test_a_replacement_cut_off_between_its_renames_is_recovered(tmp_path: Path) -> None:
    run, retired = tmp_path / "run", tmp_path / ".run.old"
    retired.mkdir()
    fill(retired, "1")
    recover_folder(run)
    assert names(tmp_path) == ["run"]
    assert names(run) == ["a", "b", "c"]
    retired.mkdir()
    recover_folder(run)
    assert names(run) == ["a", "b", "c"]


# ---- kill -9 -------------------------------------------------------------------------------------------------------

ENDLESS = """
import itertools, sys
from pathlib import Path
from rectitude.core.files import replace_folder, write_text
folder, file = Path(sys.argv[1]), Path(sys.argv[2])
for i in itertools.count(1):
    with replace_folder(folder) as building:
        for name in "abcdefgh":
            (building / name).write_text(str(i))
    write_text(file, f"{i}\\n" * 10_000)
    if i == 3:
        print("ready", flush=True)
"""


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="two renames: a kill between them needs recover_folder"
)
def test_killed_at_any_moment_the_old_state_or_the_new_one_is_there(tmp_path: Path) -> None:
    folder, file = tmp_path / "run", tmp_path / "file"
    for wait in (0.0, 0.003, 0.011, 0.02, 0.037):
        with subprocess.Popen([sys.executable, "-c", ENDLESS, folder, file], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            time.sleep(wait)
            process.send_signal(signal.SIGKILL)
        written = [path.read_text() for path in folder.iterdir()]
        assert len(written) == 8
        assert len(set(written)) == 1
        lines = file.read_text().splitlines()
        assert len(lines) == 10_000
        assert len(set(lines)) == 1


# ---- a disk that is really full ------------------------------------------------------------------------------------

FULL = """
import sys
from pathlib import Path
from rectitude.core.errors import RectitudeError
from rectitude.core.files import replace_folder, write_bytes
root = Path(sys.argv[1])
write_bytes(root / "file", b"old")
with replace_folder(root / "run") as building:
    (building / "a").write_text("old")
for attempt in range(2):
    try:
        if attempt == 0:
            write_bytes(root / "file", bytes(1 << 20))
        else:
            with replace_folder(root / "run") as building:
                (building / "a").write_bytes(bytes(1 << 20))
    except RectitudeError as error:
        print(str(error).split(" (")[0])
print((root / "file").read_text(), (root / "run" / "a").read_text(), *sorted(p.name for p in root.iterdir()))
"""


def test_a_really_full_disk(tmp_path: Path) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("no unshare: cannot mount a small disk of our own")
    shell = 'mount -t tmpfs -o size=256k none "$1" && exec "$2" -c "$3" "$1"'
    inside = ["unshare", "--map-root-user", "--mount", "sh", "-c", shell, "sh", tmp_path]
    trial = subprocess.run([*inside, sys.executable, "print('ok')"], capture_output=True, text=True)
    if trial.stdout != "ok\n":
        pytest.skip(f"cannot mount a small disk here: {trial.stderr.strip()}")
    done = subprocess.run([*inside, sys.executable, FULL], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["The disk is full", "The disk is full", "old old file run"], done.stderr


def test_what_a_killed_process_was_building_is_swept_away(tmp_path: Path) -> None:
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    dead = tmp_path / f".run.new.{platform.node()}-{int(gone.stdout)}.abc"
    alive = tmp_path / f".run.new.{platform.node()}-{os.getpid()}.abc"
    elsewhere = tmp_path / ".run.new.elsewhere-1.abc"
    for path in (dead, alive, elsewhere):
        path.mkdir()
        (path / "part").write_text("half")
    with replace_folder(tmp_path / "run") as building:
        (building / "whole").write_text("all")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["run", alive.name, elsewhere.name])
