"""Six endpoints with gaps, the feedback suite, and random problems."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from rectitude.decisions.routing.building import build_catalogue
from rectitude.decisions.routing.catalogue import Catalogue
from rectitude.decisions.routing.clauses import Atom, Clause

SUITE, FRESH = (
    tomllib.loads((Path(__file__).parent / name).read_text(encoding="utf-8"))
    for name in ("feedback.toml", "feedback_fresh.toml")
)

SMALL = [
    {"model": "openai/gpt-5", "provider": "openai", "price_in": 1.25, "price_out": 10, "context": 400_000,
     "reasoning": True, "tool_call": True, "vision": True, "open_weights": False, "released": "2025-08-07",
     "q.code": 80, "q.math": 90, "modalities_in": "text|image"},
    {"model": "claude-haiku-4.5", "provider": "anthropic", "price_in": 1, "price_out": 5, "context": 200_000,
     "reasoning": True, "tool_call": True, "vision": True, "open_weights": False, "released": "2025-10-15",
     "q.code": 72, "q.math": 70, "prompt_cache": True},
    {"model": "deepseek-v3.1", "provider": "deepseek", "price_in": 0.27, "price_out": 0.95, "context": 163_840,
     "reasoning": True, "tool_call": True, "vision": False, "open_weights": True, "released": "2025-09-22",
     "q.code": 70, "q.math": None},
    {"model": "qwen3-coder", "provider": "alibaba", "price_in": 0.22, "price_out": 1.8, "context": 262_144,
     "reasoning": False, "tool_call": True, "vision": None, "open_weights": True, "released": "2025-07-23",
     "q.code": 75, "q.math": 60},
    {"model": "gemini-flash-lite", "provider": "google", "price_in": 0.1, "price_out": 0.4, "context": 1_048_576,
     "reasoning": True, "tool_call": True, "vision": True, "open_weights": False, "released": "2025-06-17",
     "q.code": 55, "q.math": 58, "prompt_cache": True},
    {"model": "mystery", "provider": "openai", "context": None, "tool_call": None, "released": None},
]  # fmt: skip


def random_catalogue(rng: np.random.Generator, count: int) -> Catalogue:
    """Endpoints whose cells are unknown one time in three."""

    def gap(value: Any) -> Any:
        return None if rng.random() < 0.33 else value

    makers = ["openai", "anthropic", "google", "mistral"]
    rows = [
        {
            "model": f"m{i}", "provider": str(rng.choice(makers)), "maker": str(rng.choice(makers)),
            "family": str(rng.choice(["claude", "gpt", "qwen"])),
            **{name: gap(bool(rng.random() < 0.5)) for name in ("vision", "reasoning", "open_weights", "pdf")},
            "price_in": gap(float(rng.integers(1, 20)) / 4), "price_out": gap(float(rng.integers(1, 40)) / 4),
            "context": gap(int(rng.integers(1, 9)) * 32_000), "q.code": gap(float(rng.integers(20, 90))),
        }
        for i in range(count)
    ]  # fmt: skip
    return build_catalogue(rows)


def random_clauses(rng: np.random.Generator, hard: int, soft: int) -> list[Clause]:
    """Clauses of one or two atoms, graded ones among the soft."""
    found = []
    for number in range(hard + soft):
        kind = "hard" if number < hard else "soft"
        if kind == "soft" and rng.random() < 0.3:
            name = str(rng.choice(["price", "context", "q.code"]))
            atoms = (Atom(attr=name, op="low" if name == "price" else "high"),)
        else:
            atoms = tuple(random_atom(rng) for _ in range(int(rng.integers(1, 3))))
        policy = str(rng.choice(["deny", "allow", "expect"]))
        strength = int(rng.integers(1, 6))
        found.append(Clause(kind=kind, any=atoms, strength=strength, unknown=policy))  # type: ignore[arg-type]
    return found


def random_atom(rng: np.random.Generator) -> Atom:
    what, negate = int(rng.integers(5)), bool(rng.random() < 0.3)
    if what == 0:
        name = str(rng.choice(["vision", "reasoning", "open_weights", "pdf"]))
        return Atom(attr=name, op="is", value=bool(rng.random() < 0.7), negate=negate)
    if what == 1:
        return Atom(attr="price", op="<=", value=float(rng.integers(1, 8)), negate=negate)
    if what == 2:
        return Atom(attr="context", op=">=", value=float(rng.integers(1, 9)) * 32_000, negate=negate)
    if what == 3:
        return Atom(attr="vendor", op="has", value=(str(rng.choice(["openai", "google"])),), negate=negate)
    return Atom(attr="family", op="in", value=("claude", "gpt")[: int(rng.integers(1, 3))], negate=negate)
