"""The documents are true: their Python runs, their commands exist, their links lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from documents import DOCS, ROOT, blocks, run
from rectitude.models.registry import model_class, model_names

OF_PYTHON = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
PAGES = [*OF_PYTHON[:2], *sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)]


def shop(folder: Path) -> None:
    """Walks round a ring of items under the ids and titles the pages speak of."""
    rng = np.random.default_rng(0)
    n_users, n_items, length = 80, 200, 24
    items = (rng.integers(n_items, size=(n_users, 1)) + np.cumsum(rng.integers(1, 4, (n_users, length)), 1)) % n_items
    folder.mkdir()
    pl.DataFrame(
        {
            "user_id": np.repeat(np.arange(150, 150 + n_users), length),
            "item_id": items.ravel() + 1,
            "rating": rng.integers(1, 6, n_users * length),
            "timestamp": 880_000_000 + np.arange(n_users * length) * 60,
        }
    ).write_parquet(folder / "interactions.parquet")
    names = {1: "Toy Story (1995)", 50: "Star Wars (1977)"}
    ids = list(range(1, n_items + 1))
    titles = [names.get(i, f"Film {i} (1990)") for i in ids]
    pl.DataFrame({"item_id": ids, "title": titles}).write_parquet(folder / "items.parquet")
    pl.DataFrame({"user_id": list(range(150, 150 + n_users))}).write_parquet(folder / "users.parquet")


@pytest.mark.parametrize("page", [page for page in OF_PYTHON if blocks(page, "python")], ids=lambda page: page.name)
def test_the_python_of_a_page_runs_from_top_to_bottom(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On MovieLens-100K where it is at hand, else (and for the README, which trains to the end) on a small likeness."""
    at_hand = os.environ.get("RECTITUDE_DATA")
    if page.name == "README.md" or not at_hand or not (Path(at_hand) / "ml-100k" / "interactions.parquet").exists():
        (tmp_path / "data").mkdir()
        shop(tmp_path / "data" / "ml-100k")
        monkeypatch.setenv("RECTITUDE_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    for block in blocks(page, "python"):
        run(block, page, names)


COMMANDS = [
    pytest.param(line, id=f"{page.stem}: {line}")
    for page in PAGES
    for block in blocks(page, "sh")
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("rectitude ")
]


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_a_page_exists_with_its_options(line: str) -> None:
    import typer

    from rectitude.cli.main import app

    command = typer.main.get_command(app)
    words = shlex.split(line, comments=True)[1:]
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in [*parameter.opts, *parameter.secondary_opts]}
    assert {word for word in words if word.startswith("-")} <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_the_table_of_models_in_the_readme_agrees_with_the_registry() -> None:
    table = re.findall(r"^\| `(\w+)` \| ([\w, ]+) \| (yes|no) \|", PAGES[0].read_text(encoding="utf-8"), re.MULTILINE)
    models = {name: model_class(name) for name in model_names()}
    told = {name: (set(reads.split(", ")) - {"nothing"}, new_users == "yes") for name, reads, new_users in table}
    assert told == {name: (set(model.reads), model.serves_new_users) for name, model in models.items()}
