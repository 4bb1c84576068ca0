"""The tables of PRISM, AnchorRec and VLM4Rec: every arm and seed of multimodal.toml, trained, judged and compared.

    python benchmarks/multimodal.py --out ../multimodal --jobs 2 --write docs/systems     # the default grid
    python benchmarks/multimodal.py --out ../multimodal --quick                           # one seed, five epochs
    python benchmarks/multimodal.py --out ../multimodal --full                            # MovieLens-1M too

Content is encoded first (once). Where a table says so, each arm is then tuned on validation, all with the same number
of trials; arms that say ``like`` take another's settings. Each cell is a run folder under ``--out``; what is there is
not trained again, and an interrupted search or training goes on where it stopped. Data is looked for as always:
RECTITUDE_DATA, then the cache.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import accuracy

GRID = Path(__file__).with_name("multimodal.toml")
BEGIN, END = "<!-- tables -->", "<!-- end of tables -->"


def load_grid(out: Path, *, full: bool, quick: bool) -> dict[str, Any]:
    """The grid with the place of the content in every table."""
    grid = tomllib.loads(GRID.read_text(encoding="utf-8"))
    if full:
        grid["tables"] |= grid["full"]
    for spec in grid["tables"].values():
        spec["load"] = {"content": [str(out / "content" / spec["data"])]}
        if quick:
            spec["seeds"] = spec["seeds"][:1]
            spec.pop("tune", None)
            for name, settings in spec["models"].items():
                if settings.get("model", name) not in ("popularity", "vlm4rec"):
                    settings |= {"epochs": 5}
    return grid


def tuned_file(out: Path, table: str, arm: str) -> Path:
    """Where the settings that validated best are kept."""
    return out / table / "tuned" / f"{arm}.json"


def untuned(grid: dict[str, Any], tables: list[str], out: Path) -> list[list[str]]:
    """The searches that have not ended."""
    return [
        ["--tune", table, arm]
        for table in tables
        if "tune" in grid["tables"][table]
        for arm, entry in grid["tables"][table]["models"].items()
        if "like" not in entry and arm != "popularity" and not tuned_file(out, table, arm).exists()
    ]


def tune(grid: dict[str, Any], table: str, arm: str, out: Path) -> None:
    """Search the settings of one arm; sizes are held."""
    import torch

    import rectitude
    from rectitude.core.files import write_json
    from rectitude.models.registry import model_class
    from rectitude.training.tuning import tune as search

    torch.set_num_threads(1)
    spec = grid["tables"][table]
    entry = dict(spec["models"][arm])
    model = entry.pop("model", arm)
    fields = model_class(model).Config.model_fields
    held = {name: fields[name].default for name in spec["tune"]["held"] if name in fields}
    held |= spec.get("settings", {})
    dataset = rectitude.load(spec["data"], **spec["load"])
    file = tuned_file(out, table, arm)
    file.parent.mkdir(parents=True, exist_ok=True)
    divided = rectitude.split(dataset, rectitude.SplitConfig(**spec["split"]))
    found: dict[str, Any] = {"trials": []}
    while len(found["trials"]) < spec["tune"]["trials"]:  # one at a time: those of an interrupted search count
        found = search(
            dataset,
            divided,
            model,
            n_trials=1,
            settings={**held, **entry},
            metric=spec["metrics"][-1],
            seed=1,
            storage=f"sqlite:///{file.with_suffix('.db')}",
        )
    best = {key: value for key, value in found["best"].items() if key not in held and key not in entry}
    best = {key: float(f"{value:.3g}") if isinstance(value, float) else value for key, value in best.items()}
    write_json(file, {"settings": best, "value": found["value"], "trials": found["trials"]})
    print(f"{table}/{arm}: {found['value']:.4f} by {best}", flush=True)


def settle(grid: dict[str, Any], out: Path) -> None:
    """Put what was found into the grid."""
    for table, spec in grid["tables"].items():
        shared = spec.get("settings", {})
        for arm, entry in spec["models"].items():
            file = tuned_file(out, table, entry.get("like", arm))
            best = json.loads(file.read_text())["settings"] if file.exists() else {}
            own = {key: value for key, value in entry.items() if key != "like"}
            spec["models"][arm] = {**({} if arm == "popularity" else shared), **best, **own}


def encode(grid: dict[str, Any], tables: list[str], out: Path) -> None:
    """Content of every set that the tables read, unless it is there."""
    for data in dict.fromkeys(grid["tables"][table]["data"] for table in tables):
        folder = out / "content" / data
        if folder.is_dir():
            continue
        command = [sys.executable, "-m", "rectitude", "encode", data, *grid["content"][data], "--out", str(folder)]
        subprocess.run(command, check=True)


def write(page: Path, tables: list[dict[str, Any]], command: str) -> None:
    """Put the tables between the marks of a page."""
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    body = accuracy.markdown(tables)
    body = body[body.index("\n## ") :].strip()
    page.write_text(f"{before}{BEGIN}\n\nMade by `{command}`.\n\n{body}\n\n{END}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=Path, help="folder of the runs and of the content")
    parser.add_argument("--tables", nargs="*", help="which tables; all by default")
    parser.add_argument("--full", action="store_true", help="the larger grid")
    parser.add_argument("--quick", action="store_true", help="one seed and five epochs")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time")
    parser.add_argument("--write", type=Path, help="folder of the pages to write the tables into")
    parser.add_argument("--only-write", action="store_true", help="train nothing")
    parser.add_argument("--tune", nargs=2, metavar=("TABLE", "MODEL"), help="one search, in this process")
    parser.add_argument("--cell", nargs=3, metavar=("TABLE", "MODEL", "SEED"), help="one training, in this process")
    given = parser.parse_args()
    grid = load_grid(given.out, full=given.full, quick=given.quick)
    if given.tune:
        tune(grid, *given.tune, given.out)
        return
    if given.cell:
        settle(grid, given.out)
        table, model, seed = given.cell
        accuracy.train(accuracy.Cell(table, model, int(seed)), grid, given.out)
        return
    tables = given.tables or list(grid["tables"])
    flags = [flag for flag, on in (("--full", given.full), ("--quick", given.quick)) if on]
    if not given.only_write:
        encode(grid, tables, given.out)
        passed = ["--out", str(given.out), *flags]
        accuracy.run_each(untuned(grid, tables, given.out), given.jobs, passed, __file__)
        accuracy.run_all(list(accuracy.cells(grid, tables)), given.jobs, passed, script=__file__)
    settle(grid, given.out)
    if given.write:
        command = " ".join(["python benchmarks/multimodal.py --out ../multimodal", *flags])
        for page in dict.fromkeys(grid["tables"][table]["page"] for table in tables):
            chosen = [table for table in tables if grid["tables"][table]["page"] == page]
            made = [accuracy.gather(table, grid["tables"][table], given.out) for table in chosen]
            made = [table for table in made if table["rows"]]
            if made:
                write(given.write / f"{page}.md", made, command)


if __name__ == "__main__":
    main()
