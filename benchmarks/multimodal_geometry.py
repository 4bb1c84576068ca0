"""What AnchorRec's space keeps of the content: the measures of its claim, on the runs of benchmarks/multimodal.py.

    python benchmarks/multimodal_geometry.py --out ../multimodal                                         # prints
    python benchmarks/multimodal_geometry.py --out ../multimodal --write docs/systems/anchorrec.md

Means over the seeds that are there. Nothing is trained.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from multimodal import load_grid

import rectitude
from rectitude.models.multimodal.geometry import (
    collapse,
    effective_rank,
    neighbour_likeness,
    neighbourhood_preservation,
)

TABLE = "anchorrec-ml-100k"
BEGIN, END = "<!-- geometry -->", "<!-- end of geometry -->"


@torch.no_grad()
def measures(model: Any, content: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Of one trained model; the last only where content has a branch of its own."""
    vectors = model.item_vectors()
    found = {
        "share of 10 text neighbours kept": neighbourhood_preservation(vectors, content["text"]),
        "of 10 picture neighbours": neighbourhood_preservation(vectors, content["image"]),
        "cosine of nearest, text": neighbour_likeness(vectors, content["text"], 1)[0],
        "cosine of nearest, picture": neighbour_likeness(vectors, content["image"], 1)[0],
        "effective rank": effective_rank(vectors),
    }
    if hasattr(model, "views"):
        found["one with its fused content"] = collapse(vectors, model.views[2])
    return found


def table(out: Path) -> str:
    """The table, an arm a row."""
    spec = load_grid(out, full=False, quick=False)["tables"][TABLE]
    content = rectitude.load(spec["data"], **spec["load"]).content
    arms: dict[str, dict[str, float]] = {}
    for arm in spec["models"]:
        paths = [path for seed in spec["seeds"] if (path := out / TABLE / f"{arm}-s{seed}").is_dir()]
        found = [measures(rectitude.Run.load(path).model, content) for path in paths]
        if found:
            arms[arm] = {key: float(np.mean([one[key] for one in found])) for key in found[0]}
    heads = list(dict.fromkeys(key for row in arms.values() for key in row))

    def told(key: str, row: dict[str, float]) -> str:
        return f"{row[key]:.{1 if key == 'effective rank' else 3}f}" if key in row else "–"

    lines = [f"| model | {' | '.join(heads)} |", "| --- |" + " ---: |" * len(heads)]
    for arm, row in arms.items():
        lines.append(f"| `{arm}` | {' | '.join(told(key, row) for key in heads)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=Path, help="folder of benchmarks/multimodal.py")
    parser.add_argument("--write", type=Path, help="page to put the table into")
    given = parser.parse_args()
    made = table(given.out)
    print(made)
    if given.write:
        before, rest = given.write.read_text(encoding="utf-8").split(BEGIN, 1)
        given.write.write_text(f"{before}{BEGIN}\n\n{made}\n\n{END}{rest.split(END, 1)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
