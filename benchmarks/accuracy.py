"""The accuracy tables of docs/results.md: every model, set and seed of accuracy.toml, trained, judged and compared.

    python benchmarks/accuracy.py --out ../accuracy --jobs 2            # the default grid
    python benchmarks/accuracy.py --out ../accuracy --write docs/results.md

Each cell is a run folder under ``--out``; what is there is not trained again, and an interrupted training goes on where
it stopped. Data is looked for as always: RECTITUDE_DATA, then the cache.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GRID = Path(__file__).with_name("accuracy.toml")


@dataclass(frozen=True)
class Cell:
    """One training. Its model's entry holds settings, and ``model`` and ``split`` where they are not the table's."""

    table: str
    model: str
    seed: int

    @property
    def name(self) -> str:
        """Where its run is, below ``--out``."""
        return f"{self.table}/{self.model}-s{self.seed}"


def cells(grid: dict[str, Any], tables: list[str]) -> Iterator[Cell]:
    """Every training of the chosen tables, first seeds first; models without randomness once."""
    for table in tables:
        spec = grid["tables"][table]
        for place, seed in enumerate(spec["seeds"]):
            for model in spec["models"]:
                if place == 0 or model not in ("popularity", "ease"):  # nothing random
                    yield Cell(table, model, seed)


def load_grid(*, full: bool) -> dict[str, Any]:
    """The grid, with the cells of ``[full]`` in place where asked."""
    grid = tomllib.loads(GRID.read_text(encoding="utf-8"))
    if full:
        for table, models in grid.get("full", {}).items():
            grid["tables"][table]["models"].update(models)
    return grid


def train(cell: Cell, grid: dict[str, Any], out: Path) -> None:
    """Train and judge one cell, unless that has been done."""
    import torch

    import rectitude

    torch.set_num_threads(1)
    spec = grid["tables"][cell.table]
    path = out / cell.name
    if (path / "evaluation-test.parquet").exists():
        return
    began = time.process_time()
    if not (path / "config.json").exists():
        chosen = dict(spec["models"][cell.model])
        rectitude.fit(
            rectitude.load(spec["data"], **spec.get("load", {})),
            chosen.pop("model", cell.model),
            split=spec["split"] | chosen.pop("split", {}),
            settings=chosen,
            seed=cell.seed,
            out=path,
            resume=True,
            progress=False,
        )
    rectitude.evaluate(path)
    print(f"{cell.name}: {time.process_time() - began:.0f} CPU seconds", flush=True)


def run_all(todo: list[Cell], jobs: int, arguments: list[str], script: str = __file__) -> None:
    """One process a cell, ``jobs`` at a time, one thread each."""
    run_each([["--cell", cell.table, cell.model, str(cell.seed)] for cell in todo], jobs, arguments, script)


def run_each(todo: list[list[str]], jobs: int, arguments: list[str], script: str) -> None:
    """One process for each list of further arguments."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    waiting, running = list(todo), []
    while waiting or running:
        while waiting and len(running) < jobs:
            further = waiting.pop(0)
            command = [sys.executable, script, *arguments, *further]
            running.append((further, subprocess.Popen(command, env=environment)))
        time.sleep(0.2)
        for further, process in list(running):
            if process.poll() is not None:
                running.remove((further, process))
                if process.returncode:
                    print(f"{' '.join(further)} failed with exit code {process.returncode}", file=sys.stderr)


def gather(table: str, spec: dict[str, Any], out: Path) -> dict[str, Any]:
    """Figures of one table: means over seeds with intervals over people, spread over seeds, and tests."""
    import numpy as np

    from rectitude.evaluation.intervals import bootstrap_interval
    from rectitude.evaluation.significance import holm, paired_test
    from rectitude.evaluation.store import read_evaluation

    found: dict[str, dict[int, Path]] = defaultdict(dict)
    for cell in cells({"tables": {table: spec}}, [table]):
        if (out / cell.name / "evaluation-test.parquet").exists():
            found[cell.model][cell.seed] = out / cell.name
    judged = {
        model: {seed: read_evaluation(path / "evaluation-test.parquet") for seed, path in paths.items()}
        for model, paths in found.items()
    }
    people: dict[str, dict[str, Any]] = {}
    rows = []
    protocol = None
    for model, paths in found.items():
        evaluations = list(judged[model].values())
        protocol = protocol or evaluations[0].protocol
        training = [json.loads((path / "config.json").read_text())["training"] for path in paths.values()]
        row: dict[str, Any] = {"model": model, "seeds": len(paths), "metrics": {}}
        people[model] = {}
        for metric in spec["metrics"]:
            values = np.mean([evaluation.per_user[metric] for evaluation in evaluations], axis=0)
            means = [float(evaluation.per_user[metric].mean()) for evaluation in evaluations]
            people[model][metric] = values
            interval = bootstrap_interval(values, 0)
            row["metrics"][metric] = {**interval.to_dict(), "seeds": means}
        row["cpu_seconds"] = float(np.mean([part["cpu_seconds"] or part["seconds"] for part in training]))
        row["epochs"] = [part["best_epoch"] or part["epochs"] for part in training]
        rows.append(row)
    baseline = spec["baseline"]
    if baseline in people:
        tests = {
            (model, metric): paired_test(people[model][metric], people[baseline][metric], 0)
            for model in people
            if model != baseline
            for metric in spec["metrics"]
        }
        adjusted = holm([test.p for test in tests.values()])
        for (model, metric), p in zip(tests, adjusted, strict=True):
            row = next(row for row in rows if row["model"] == model)
            row["metrics"][metric]["p"] = float(p)
    about = {"title": spec["title"], "protocol": protocol, "spec": spec, "name": table}
    return {**about, "rows": rows, "contrasts": contrasts(spec, judged)}


def contrasts(spec: dict[str, Any], judged: dict[str, dict[int, Any]]) -> list[dict[str, Any]]:
    """The pairs a table asks about besides the baseline: differences of the last metric over the seeds both have."""
    import numpy as np

    from rectitude.evaluation.significance import holm, paired_test

    metric = spec["metrics"][-1]
    rows = []
    for model, other in spec.get("contrasts", []):
        seeds = sorted(judged.get(model, {}).keys() & judged.get(other, {}).keys())
        if seeds:
            ours, theirs = (
                np.mean([judged[name][seed].per_user[metric] for seed in seeds], axis=0) for name in (model, other)
            )
            test = paired_test(ours, theirs, 0)
            rows.append({"model": model, "other": other, "seeds": len(seeds), "of": float(theirs.mean()), "test": test})
    adjusted = holm([row["test"].p for row in rows])
    return [row | {"p": float(p)} for row, p in zip(rows, adjusted, strict=True)]


def markdown(tables: list[dict[str, Any]]) -> str:
    """The page."""
    lines = [
        "# Accuracy",
        "",
        "Full ranking over the whole catalogue, seen items left out, ties against the model. Figures are means over",
        "seeds; in brackets the 95 % bootstrap interval over people; then the smallest and largest seed. `p` is from",
        "a paired test over people against the table's baseline (sign flips, seeds averaged per person), corrected by",
        "Holm over the table. Settings were chosen on validation folds and are in `benchmarks/accuracy.toml`; CPU",
        "seconds are those of training on one thread, validation left out. Published figures are quoted to compare.",
        "",
        "One command makes all tables and can be stopped and started again:",
        "",
        "```sh",
        "python benchmarks/accuracy.py --out ../accuracy --jobs 2 --write docs/results.md",
        "```",
    ]
    for table in tables:
        metrics = table["spec"]["metrics"]
        lines += ["", f"## {table['title']}", ""]
        head = ["model", *(metric.upper() for metric in metrics), "best epochs", "CPU s"]
        lines += ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
        for row in sorted(table["rows"], key=lambda row: row["metrics"][metrics[-1]]["value"]):
            figures = [_figure(row["metrics"][metric]) for metric in metrics]
            epochs = ", ".join("–" if epoch in (None, 0) else str(epoch) for epoch in row["epochs"])
            name = f"`{row['model']}`" + (" (baseline)" if row["model"] == table["spec"]["baseline"] else "")
            lines.append("| " + " | ".join([name, *figures, epochs, f"{row['cpu_seconds']:,.0f}"]) + " |")
        for other in table["spec"].get("published", []):
            values = [f"{value:.4f}" for value in other["values"]]
            lines.append("| " + " | ".join([f"*{other['model']}* ({other['source']})", *values, "", ""]) + " |")
        lines += _contrasts(table)
        if note := table["spec"].get("note"):
            lines += ["", note.strip()]
        settings = {model: chosen for model, chosen in table["spec"]["models"].items() if chosen}
        if settings:
            lines += ["", "Settings that differ from the defaults: " + _settings(settings) + "."]
        stamp = table["protocol"]
        if stamp:
            told = f"data `{stamp['data']}`, split {_settings({'': stamp['split']})}"
            asked = f"{stamp['queries']['count']} questions (`{stamp['queries']['hash']}`)"
            used = ", ".join(f"{name} {number}" for name, number in stamp["versions"].items())
            lines += ["", f"Stamp: {told}, {asked}, {stamp['candidates']}, {used}."]
    return "\n".join(lines) + "\n"


def _contrasts(table: dict[str, Any]) -> list[str]:
    """The pairs as a table of their own, corrected by Holm among themselves."""
    if not table["contrasts"]:
        return []
    lines = ["", f"| model | less | {table['spec']['metrics'][-1].upper()} | of it | p | seeds |", "|" + " --- |" * 6]
    for row in table["contrasts"]:
        change = row["test"].effect
        lines.append(
            f"| `{row['model']}` | `{row['other']}` | {change.value:+.4f} [{change.low:+.4f}, {change.high:+.4f}] | "
            f"{change.value / row['of']:+.1%} | {_p(row['p'])} | {row['seeds']} |"
        )
    return lines


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _figure(metric: dict[str, Any]) -> str:
    text = f"{metric['value']:.4f} [{metric['low']:.4f}, {metric['high']:.4f}]"
    if len(metric["seeds"]) > 1:
        text += f" · {min(metric['seeds']):.4f}–{max(metric['seeds']):.4f}"
    if "p" in metric:
        text += f" · p {_p(metric['p'])}"
    return text


def _settings(settings: dict[str, dict[str, Any]]) -> str:
    parts = []
    for model, chosen in settings.items():
        told = ", ".join(f"{key}={value}" for key, value in chosen.items())
        parts.append(f"`{model}` {told}" if model else told)
    return "; ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=Path, help="folder of the runs")
    parser.add_argument("--tables", nargs="*", help="which tables; all by default")
    parser.add_argument("--full", action="store_true", help="the larger grid")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time")
    parser.add_argument("--write", type=Path, help="Markdown file to write the tables to")
    parser.add_argument("--only-write", action="store_true", help="train nothing")
    parser.add_argument("--cell", nargs=3, metavar=("TABLE", "MODEL", "SEED"), help="one training, in this process")
    arguments = parser.parse_args()
    grid = load_grid(full=arguments.full)
    if arguments.cell:
        table, model, seed = arguments.cell
        train(Cell(table, model, int(seed)), grid, arguments.out)
        return
    tables = arguments.tables or list(grid["tables"])
    if not arguments.only_write:
        passed = ["--out", str(arguments.out), *(["--full"] if arguments.full else [])]
        run_all(list(cells(grid, tables)), arguments.jobs, passed)
    if arguments.write:
        made = [gather(table, grid["tables"][table], arguments.out) for table in tables]
        arguments.write.write_text(markdown(made), encoding="utf-8")


if __name__ == "__main__":
    main()
