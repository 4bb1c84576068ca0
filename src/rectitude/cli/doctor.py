"""``rectitude doctor``: what is installed, what this machine has, and what stands in the way."""

from __future__ import annotations

import os
import platform
import tempfile
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from rectitude.cli import options
from rectitude.cli.console import emit, facts, show
from rectitude.core.about import __version__

_PACKAGES = ("torch", "numpy", "scipy", "polars", "pyarrow", "pydantic", "safetensors", "typer", "rich")
_EXTRAS = {
    "als": ("implicit",),
    "tune": ("optuna",),
    "pandas": ("pandas",),
    "track": ("tensorboard", "mlflow"),
}
"""Extra to the packages it brings, by import name; see pyproject.toml."""


def doctor(
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Folder that runs should go to.")] = Path("runs"),
    as_json: options.Json = False,
) -> None:
    """Check the installation and this machine.

    The first thing to run on a new machine, and the first thing to put into a report of a fault. The exit code is 1
    where something stands in the way.

    Example:
      rectitude doctor
    """
    problems: list[str] = []
    found = {
        "versions": _versions(problems),
        "machine": _machine(),
        "torch": _torch(problems),
        "data": _data(),
        "extras": {extra: {name: find_spec(name) is not None for name in names} for extra, names in _EXTRAS.items()},
        "folders": _folders(out, problems),
        "problems": problems,
    }
    if as_json:
        emit(found)
    else:
        _show(found)
    if problems:
        raise typer.Exit(1)


def _versions(problems: list[str]) -> dict[str, str]:
    found = {"rectitude": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            problems.append(f"The package '{package}' is missing: pip install rectitude")
    return found


def _machine() -> dict[str, Any]:
    from rectitude.core.memory import total_memory

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"system": f"{platform.system()} {platform.machine()}", "cores": cores, "memory_bytes": total_memory()}


def _torch(problems: list[str]) -> dict[str, Any]:
    try:
        import torch
    except (ImportError, OSError) as error:  # a library of the system that torch needs is missing or too old
        problems.append(f"torch cannot be imported: {error}")
        return {}
    devices = ["cpu"]
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            about = torch.cuda.get_device_properties(index)
            devices.append(f"cuda:{index} {about.name}, {about.total_memory / 2**30:.1f} GiB")
    lines = torch.__config__.show().splitlines()
    blas = next((part.split("=")[1] for line in lines for part in line.split(", ") if "BLAS_INFO=" in part), "unknown")
    return {
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "blas": blas,
        "onednn": torch.backends.mkldnn.is_available(),
        "devices": devices,
    }


def _data() -> dict[str, Any]:
    from rectitude.data.catalogue import availability, known_sets
    from rectitude.data.obtain import cache_folder

    return {
        "RECTITUDE_DATA": os.environ.get("RECTITUDE_DATA"),
        "cache": str(cache_folder()),
        "sets": {known.name: availability(known) for known in known_sets()},
    }


def _folders(out: Path, problems: list[str]) -> dict[str, bool]:
    from rectitude.data.obtain import cache_folder

    found = {}
    for purpose, folder in (("runs", out), ("fetched data", cache_folder())):
        found[str(folder)] = writable = _writable(folder)
        if not writable:
            problems.append(f"The folder for {purpose} cannot be written: {folder}")
    return found


def _writable(folder: Path) -> bool:
    """Whether a file can be made there, or the folder itself where it does not exist yet."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _show(found: dict[str, Any]) -> None:
    from rectitude.core.memory import readable

    machine, torch, data = found["machine"], found["torch"], found["data"]
    by_state: dict[str, list[str]] = {}
    for name, state in data["sets"].items():
        by_state.setdefault(state, []).append(name)
    sections: dict[str, dict[str, Any]] = {
        "Versions": {"installed": ", ".join(f"{name} {number}" for name, number in found["versions"].items())},
        "Machine": {
            "system": machine["system"],
            "cores": machine["cores"],
            "memory": readable(machine["memory_bytes"]),
        },
    }
    if torch:
        sections["Torch"] = {
            "devices": "; ".join(torch["devices"]),
            "threads": torch["threads"],
            "kernels": f"{torch['cpu_capability']}, BLAS {torch['blas']}, oneDNN {'yes' if torch['onednn'] else 'no'}",
        }
    sections["Data"] = {
        "RECTITUDE_DATA": data["RECTITUDE_DATA"] or "not set",
        "cache": data["cache"],
        **{state: ", ".join(names) for state, names in by_state.items()},
    }
    sections["Extras"] = {
        extra: ", ".join(f"{name} {'yes' if there else 'missing'}" for name, there in packages.items())
        for extra, packages in found["extras"].items()
    }
    sections["Folders"] = {
        folder: "can be written" if writable else "CANNOT be written" for folder, writable in found["folders"].items()
    }
    for title, pairs in sections.items():
        show(title, facts({f"  {name}": value for name, value in pairs.items()}), "")
    show("Nothing stands in the way." if not found["problems"] else "In the way:")
    for problem in found["problems"]:
        show(f"  {problem}")
