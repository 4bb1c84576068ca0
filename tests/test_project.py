"""Promises of the project as a whole: floors, quick start, pins, versions, and what must never be in the files."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

import rectitude

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))


@cache
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


# ---- floors and imports --------------------------------------------------------------------------------------------


def test_each_floor_imports_only_from_floors_below_it() -> None:
    pytest.importorskip("importlinter", reason="import-linter comes with the extra 'dev'")
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "module", ["rectitude", "rectitude.models", "rectitude.models.registry", "rectitude.data.readers",
               "rectitude.data.catalogue", "rectitude.runs.folder", "rectitude.reporting.page", "rectitude.cli.main"]
)  # fmt: skip
def test_what_needs_no_torch_loads_none(module: str) -> None:
    done = run_python(f"import sys, {module}; print(*(m for m in ('torch', 'pandas', 'optuna') if m in sys.modules))")
    assert done.stdout.split() == []


HELP = """
import resource, sys
sys.argv = ["rectitude", "--help"]
from rectitude.cli.main import run
try:
    run()
except SystemExit as end:
    assert not end.code
used = resource.getrusage(resource.RUSAGE_SELF)
print("torch" in sys.modules, used.ru_utime + used.ru_stime)
"""


def test_help_is_quick_and_loads_no_torch() -> None:
    seconds = []
    for _ in range(3):
        torch, cpu = run_python(HELP).stdout.split()[-2:]
        assert torch == "False"
        seconds.append(float(cpu))
    assert min(seconds) < 0.6, f"CPU seconds of 'rectitude --help': {seconds}"


# ---- code ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_nothing_is_evaluated_pickled_or_silently_ignored(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"eval", "exec"}, f"line {node.lineno}"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            assert not names & {"pickle", "dill", "joblib", "cloudpickle"}, f"line {node.lineno}"
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"bare except, line {node.lineno}"


def test_files_can_be_read_in_one_sitting() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {name: n for name, n in lengths.items() if n > 550} == {}


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "src" / "rectitude" / "py.typed").is_file()


# ---- versions and pins ---------------------------------------------------------------------------------------------


def test_versions_agree_and_the_changelog_knows_them() -> None:
    assert version("rectitude") == rectitude.__version__
    assert f"\nversion: {rectitude.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[{re.escape(rectitude.__version__)}\] - \d{{4}}-\d\d-\d\d$", changelog, re.MULTILINE)
    assert re.search(r"^## \[Unreleased\]$", changelog, re.MULTILINE)


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = [line.partition("#")[0].strip() for line in lines]
    return dict(line.split("==") for line in pinned if line)


def test_every_requirement_is_pinned_once_and_for_every_machine() -> None:
    requirements = pytest.importorskip("packaging.requirements")
    pinned = pins()
    project = pyproject()["project"]
    for text in chain(project["dependencies"], *project["optional-dependencies"].values()):
        requirement = requirements.Requirement(text)
        if requirement.name != "rectitude":
            assert requirement.specifier.contains(pinned[requirement.name.lower()]), text
    assert all(re.fullmatch(r"[\w.]+", number) for number in pinned.values()), "local versions such as +cpu"


# ---- what users are told -------------------------------------------------------------------------------------------


def test_the_two_commands_of_the_readme_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command in ("demo", "test"):
        assert f"make {command}" in readme
        assert re.search(rf"^{command}:", makefile, re.MULTILINE)


REGISTRIES = [r"py[p]i\.org", r"python[h]osted\.org", r"download\.[p]ytorch", r"conda\.[a]naconda"]
MACHINES = [r"(?<![\w./:-])/(?:home|Users|work|root|opt)/\w"]


def test_no_file_names_a_registry_or_a_place_on_one_machine() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    found = re.compile("|".join([*REGISTRIES, *MACHINES]))
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.suffix in {".png", ".ico", ".parquet"} or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        assert not (hit := found.search(text)), f"{name}: {hit.group() if hit else ''}"
