"""Whom the benchmarks of plans are about: surveys, the planted world, who is advised, how plans are summed up."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from rectitude.decisions.plans.planning import Planner
from rectitude.decisions.plans.prescriber import Prescriber
from rectitude.decisions.plans.problem import Levels
from rectitude.decisions.plans.schema import parse_schema

SETS = {
    "nhanes": "nhanes-2009-2012",
    "sleep-efficiency": "sleep-efficiency",
    "sleep-study": "sleep-study-college",
    "yrbss": "yrbss",
    "compas": "compas",
    "adult": "adult",
}
PLANNED = ("nhanes", "yrbss", "sleep-efficiency")
N_PEOPLE = 60
SPLITS = 5
"""Ways of splitting people into planner, judge and test, in plans_effort.py and plans_dice.py."""
DICE = {"random": 30, "genetic": 20}
"""DiCE's searches, and how many people of a split each is tried on."""
planted_name = "planted"


def data(name: str) -> Path:
    return Path(os.environ["RECTITUDE_DATA"]) / SETS.get(name, name)


def prescriber(name: str, work: Path) -> Prescriber:
    """A prescriber with boosted trees, kept for the next time (and for DiCE)."""
    path = work / name
    if not path.exists():
        settings = {"outer_folds": 0, "families": ["boosted"]}
        Prescriber.fit(data(name), schema=name, settings=settings, out=path)
    return Prescriber.load(path)


def poorest(found: Prescriber, n: int = N_PEOPLE) -> list[str]:
    """Test people: a sample of the 30 % with the lowest chance."""
    names = found.ids("test")
    frame = found.people.filter(found.people["\0fold"] == "test")
    odds = found.models.planner(found.encoder.matrix(frame.select(list(found.schema.used()))))
    low = np.argsort(odds)[: max(1, int(0.3 * len(odds)))]
    drawn = np.random.default_rng(0).permutation(low)[:n]
    return [names[index] for index in sorted(drawn)]


def planted_world(n: int, seed: int) -> tuple[pl.DataFrame, np.ndarray]:
    """Answers whose true log-odds are known: habits that help only together, or only some people."""
    rng = np.random.default_rng(seed)
    names = ("screen", "exercise", "caffeine", "alcohol", "late", "noise", "stress", "nap")
    table = pl.DataFrame(
        {"age": rng.integers(20, 70, n).astype(float), **{k: rng.integers(0, 6, n).astype(float) for k in names}}
    )
    return table, planted_truth(table)


def planted_truth(table: pl.DataFrame) -> np.ndarray:
    """Coffee harms those who go to bed early, exercise helps where stress is high, naps help or harm by age."""
    v = {name: table[name].to_numpy() for name in table.columns}
    odds = -0.5 * (v["caffeine"] >= 2) * (v["late"] <= 2) * 2 + 0.5 * (v["exercise"] >= 3) * (v["stress"] >= 3) * 2
    odds += np.where(v["age"] > 45, -0.35, 0.25) * (v["nap"] - 2.5) - 0.6 * (v["screen"] >= 3) * (v["noise"] >= 3) * 2
    odds += -0.15 * (v["alcohol"] - 2.5) - 0.3 * np.abs(v["late"] - 3) + 0.6
    return np.asarray(odds)


def planted_prescriber(work: Path) -> Prescriber:
    path = work / planted_name
    if not path.exists():
        table, odds = planted_world(6000, 0)
        good = np.random.default_rng(1).random(len(odds)) < 1 / (1 + np.exp(-odds))
        table = table.with_columns(good=pl.Series(good.astype(float)))
        habit = {"kind": "integer", "levels": [0, 1, 2, 3, 4, 5], "mutable": True, "resistance": 1}
        features: dict[str, Any] = {name: habit for name in table.columns if name not in ("age", "good")}
        features["age"] = {"kind": "integer", "levels": [20, 30, 40, 50, 60, 70]}
        schema = parse_schema({"target": {"column": "good", "good": 1}, "features": features}, where="planted")
        Prescriber.fit(table, schema=schema, settings={"outer_folds": 0, "families": ["boosted"]}, out=path)
    return Prescriber.load(path)


def true_gain(planner: Planner, person: Any, levels: Levels) -> float:
    """The gain in the planted world itself."""
    before = {**person.answers}
    pairs = zip(planner.problem.choices, levels, strict=True)
    after = {**before, **{choice.name: choice.values[level] for choice, level in pairs}}
    odds = planted_truth(pl.DataFrame([before, after]))
    return float(odds[1] - odds[0])


def judged(planner: Planner, levels: Levels) -> dict[str, float]:
    return {
        "gain": planner.gain(levels),
        "judge_gain": planner.judge_gain(levels),
        "effort": planner.problem.effort(levels),
        "changes": float(len(planner.problem.units(levels))),
    }


def summary(rows: list[dict[str, float]]) -> dict[str, Any]:
    """Means over people; gains per effort are sums over sums, so that small efforts do not dominate."""
    column = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    changed = column["changes"] > 0
    effort = float(column["effort"].sum())
    return {
        "people": len(rows),
        "share_nothing": float(1 - changed.mean()),
        "changes": float(column["changes"][changed].mean()) if changed.any() else 0.0,
        "gain": float(column["gain"].mean()),
        "judge_gain": float(column["judge_gain"].mean()),
        "harmful": float((column["judge_gain"][changed] < 0).mean()) if changed.any() else 0.0,
        "effort": float(column["effort"].mean()),
        "judge_gain_per_effort": float(column["judge_gain"].sum()) / effort if effort else 0.0,
        "survives": float(column["judge_gain"].sum() / column["gain"].sum()) if column["gain"].sum() > 0 else 0.0,
        "milliseconds": float(1000 * column["seconds"].mean()) if "seconds" in column else None,
        "true_gain": float(column["true_gain"].mean()) if "true_gain" in column else None,
        "true_gain_per_effort": float(column["true_gain"].sum()) / effort if "true_gain" in column and effort else None,
    }
