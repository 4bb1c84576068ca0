"""What PRISM adds to a backbone's training step, what an epoch of AnchorRec costs, and how fast content is encoded.

    python benchmarks/multimodal_cost.py                     # about five CPU minutes
    python benchmarks/multimodal_cost.py --parts prism       # one part

CPU seconds on one thread; steps of the arms alternate in one process, and the median is taken.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rectitude.core.config import build
from rectitude.core.memory import reusing_freed_memory
from rectitude.data.histories import Histories
from rectitude.models.registry import model_class
from rectitude.training.trainer import _fast_products

PLAIN = ["text", "image", "synergy", "redundancy"]


def popular(rng: np.random.Generator, n_items: int) -> np.ndarray:
    """Probabilities that fall with the rank, as those of real catalogues do."""
    weights = 1 / np.arange(1, n_items + 1) ** 0.8
    return np.asarray(rng.permutation(weights / weights.sum()))


def step_of(name: str, train: Histories, n_items: int, content: dict[str, Any], **settings: Any) -> Any:
    """A function that trains one step."""
    torch.manual_seed(0)
    kind = model_class(name)
    model = kind(build(kind.Config, settings), len(train), n_items)
    model.prepare(train, content)
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    batches = list(model.batches(train).epoch(torch.Generator().manual_seed(0)))

    def step(number: int) -> float:
        batch = batches[number % len(batches)]
        began = time.process_time()
        optimizer.zero_grad()
        torch.stack(list(model.loss(batch).values())).sum().backward()
        optimizer.step()
        return time.process_time() - began

    step.n_batches = len(batches)  # type: ignore[attr-defined]
    return step


def prism(n_steps: int) -> None:
    """Steps at d = 64, L = 50, batch 128: full windows, and windows as long as Amazon Beauty's."""
    rng = np.random.default_rng(0)
    for what, n_items, lengths in (
        ("3,400 items, windows of 50", 3400, np.full(128 * 12, 51)),
        ("12,000 items, windows as in Beauty", 12000, np.minimum(3 + rng.geometric(1 / 6, 128 * 12), 51)),
    ):
        chance = popular(rng, n_items)
        train = Histories.from_rows([rng.choice(n_items, size=length, p=chance) for length in lengths])
        content = {name: rng.normal(size=(n_items, 384)).astype(np.float32) for name in ("text", "image")}
        for backbone in ("sasrec", "stosa", "indirec"):
            arms = {
                "bare": step_of(backbone, train, n_items, content),
                "sum": step_of("prism", train, n_items, content, backbone=backbone, left_out=PLAIN),
                "prism": step_of("prism", train, n_items, content, backbone=backbone),
            }
            with reusing_freed_memory(), _fast_products(torch.device("cpu")):  # as the trainer does
                times = {name: [step(number) for number in range(3)] and [] for name, step in arms.items()}
                for number in range(n_steps):
                    for name, step in arms.items():
                        times[name].append(step(number))
            bare = np.median(times["bare"])
            told = ", ".join(
                f"{name} {np.median(t) * 1000:.0f} ms ({np.median(t) / bare:.2f}x)" for name, t in times.items()
            )
            print(f"{what}, {backbone}: {told}", flush=True)


def anchorrec(n_steps: int) -> None:
    """An epoch at the size of Amazon Baby: 19,445 people, 7,050 items, 118,551 pairs."""
    rng = np.random.default_rng(0)
    chance = popular(rng, 7050)
    pairs = np.unique(
        np.stack([rng.integers(19445, size=135_000), rng.choice(7050, size=135_000, p=chance)], 1), axis=0
    )
    pairs = pairs[rng.permutation(len(pairs))[:118_551]]
    train = Histories.from_pairs(pairs[:, 0], pairs[:, 1], 19445)
    content = {name: rng.normal(size=(7050, 384)).astype(np.float32) for name in ("text", "image")}
    for name, settings in (("lightgcn", {}), ("anchorrec", {}), ("anchorrec", {"loss": "bpr"})):
        step = step_of(name, train, 7050, content, batch_size=2048, **settings)
        with reusing_freed_memory(), _fast_products(torch.device("cpu")):
            step(0)
            seconds = float(np.median([step(number) for number in range(1, n_steps)]))
        told = f" {settings}" if settings else ""
        print(f"Baby size, {name}{told}: {seconds:.3f} s a step, {seconds * step.n_batches:.1f} s an epoch", flush=True)


def encoders() -> None:
    """Sentences of about 30 tokens, and posters where they are at hand, per CPU second."""
    from rectitude.encoders.image import ImageEncoder
    from rectitude.encoders.text import SentenceEncoder

    base = "A thief who steals corporate secrets through dreams is given the task of planting an idea into the mind of"
    texts = [f"{base} number {number}" for number in range(256)]
    for precision in ("float32", "int8"):
        encoder = SentenceEncoder(precision=precision)  # type: ignore[arg-type]
        encoder.encode(texts[:32])
        began = time.process_time()
        for start in range(0, len(texts), 32):
            encoder.encode(texts[start : start + 32])
        print(
            f"text {precision}: {len(texts) / (time.process_time() - began):.0f} sentences per CPU second", flush=True
        )
    import os

    folder = Path(os.environ.get("RECTITUDE_DATA", "")) / "ml-1m" / "posters"
    files = sorted(folder.glob("*.jpg"))[:96]
    if files:
        images = ImageEncoder()
        images.encode([(files[0].read_bytes(), "one")])
        began = time.process_time()
        for start in range(0, len(files), 32):
            images.encode([(file.read_bytes(), file.name) for file in files[start : start + 32]])
        print(f"posters: {len(files) / (time.process_time() - began):.1f} per CPU second", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="*", choices=["prism", "anchorrec", "encoders"], help="all by default")
    parser.add_argument("--steps", type=int, default=15, help="steps of each arm")
    given = parser.parse_args()
    torch.set_num_threads(1)
    parts = given.parts or ["encoders", "anchorrec", "prism"]
    for part in parts:
        {"prism": lambda: prism(given.steps), "anchorrec": lambda: anchorrec(given.steps), "encoders": encoders}[part]()


if __name__ == "__main__":
    main()
