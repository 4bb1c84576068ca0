"""People whose sleep is known to depend on exercise, screens, smoking and age."""

from __future__ import annotations

import numpy as np
import polars as pl

from rectitude.decisions.plans.schema import Schema, parse_schema

QUICK = {"outer_folds": 0, "inner_folds": 2, "n_bootstraps": 3, "families": ["boosted"], "explained": 100}


def survey(n: int = 400, seed: int = 0) -> pl.DataFrame:
    """People whose sleep is helped by exercise and harmed by screens and smoking; age matters, colour does not."""
    rng = np.random.default_rng(seed)
    age = rng.integers(20, 70, n)
    exercise, screen = rng.integers(0, 6, n), rng.integers(0, 7, n)
    smoking = rng.random(n) < 0.4
    colour = rng.choice(["red", "green", "blue"], n)
    odds = 0.7 * (exercise - 2.5) - 0.6 * (screen - 3) - 1.2 * (smoking - 0.4) - 0.02 * (age - 45)
    good = rng.random(n) < 1 / (1 + np.exp(-odds))
    return pl.DataFrame(
        {
            "id": [f"p{i}" for i in range(n)],
            "age": age,
            "exercise days": [None if rng.random() < 0.03 else int(value) for value in exercise],
            "screen_hours": screen,
            "smoking": np.where(smoking, "Yes", "No"),
            "colour": colour,
            "good_sleep": np.where(good, "Yes", "No"),
        }
    )


def meaning(**other: object) -> Schema:
    """What the survey means."""
    values = {
        "target": {"column": "good_sleep", "good": "Yes", "label": "good sleep"},
        "features": {
            "id": {"kind": "continuous", "role": "id"},
            "age": {"kind": "integer", "levels": [20, 30, 40, 50, 60, 70]},
            "exercise days": {
                "kind": "integer", "levels": [0, 1, 2, 3, 4, 5], "mutable": True, "direction": "up", "better": "more",
                "unit": "days a week", "label": "exercise", "hours": 0.2,
            },
            "screen_hours": {
                "kind": "integer", "levels": [0, 1, 2, 3, 4, 5, 6], "mutable": True, "direction": "down",
                "better": "less", "max_step": 4, "unit": "hours", "resistance": 1,
            },
            "smoking": {
                "kind": "binary", "levels": ["No", "Yes"], "mutable": True, "direction": "down", "resistance": 3,
            },
            "colour": {"kind": "nominal", "levels": ["blue", "green", "red"], "mutable": True},
        },
        **other,
    }  # fmt: skip
    return parse_schema(values, where="test")
