"""DiCE's counterfactuals for the people and models of benchmarks/plans.py, judged as ours are.

In an environment of its own (700 MB):  pip install dice-ml polars pydantic rich safetensors pyarrow jinja2
and then, with src/ on PYTHONPATH:      python benchmarks/plans_dice.py --work ../plans --out ../plans.jsonl
"""

from __future__ import annotations

import argparse
import json
import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dice_ml
import numpy as np
import pandas as pd
import polars as pl
from plans_people import DICE, PLANNED, SPLITS, judged, planted_name, poorest, summary, true_gain
from scipy.special import expit

from rectitude.decisions.plans.prescriber import FOLD, Prescriber
from rectitude.decisions.plans.search import Crowd


class Wrapped:
    """A planner's score as DiCE wants a classifier: over the codes of the features, good where it exceeds a floor."""

    classes_ = np.array([0, 1])

    def __init__(self, found: Prescriber, floor: float) -> None:
        self.found, self.floor = found, floor

    def predict_proba(self, frame: pd.DataFrame) -> np.ndarray:
        """Chances of both outcomes, the floor at one half."""
        parts = [
            question.vectors(frame[name].astype(float).to_numpy())
            for name, question in self.found.encoder.questions.items()
        ]
        chance = expit(self.found.models.planner(np.concatenate(parts, axis=1)) - self.floor)
        return np.stack([1 - chance, chance], axis=1)

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """The likelier outcome."""
        return (self.predict_proba(frame)[:, 1] > 0.5).astype(int)


class Late(Exception):  # noqa: N818 -- no fault of anybody
    """DiCE has had its time."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Stop what runs inside after so many CPU seconds."""

    def stop(*_: Any) -> None:
        raise Late

    signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def codes_of(found: Prescriber, people: pl.DataFrame) -> pd.DataFrame:
    """The table as numbers; what is not answered as the usual answer, which is what the model reads."""
    codes = found.encoder.codes(people.select(list(found.schema.used())))
    usual = {name: question.fill for name, question in found.encoder.questions.items()}
    return pd.DataFrame({name: np.where(np.isnan(column), usual[name], column) for name, column in codes.items()})


def plans_of_dice(found: Prescriber, method: str, n: int, seconds: float, *, gain: float | None) -> dict[str, Any]:
    """DiCE's plan of least effort for each person; plans_effort.py sets the embedded model beside it, on its terms.

    Args:
        found: Models and people.
        method: random or genetic.
        n: People.
        seconds: CPU time for each; then the person is without a plan.
        gain: Log-odds that a counterfactual must bring; None asks for a chance of one half.
    """
    table = codes_of(found, found.people.filter(pl.col(FOLD) == "planner"))
    features = list(table.columns)
    rows, made = [], {}
    failed = late = 0
    for name in poorest(found, n):
        person = found.person(name)
        planner = found.planner(person, found.policy)
        problem = planner.problem
        if not problem.choices:
            continue
        floor = 0.0 if gain is None else planner.now + gain
        crowd = Crowd(problem, planner.solver.tables, planner.solver.net_aim(), planner.solver.limits(changes=None))
        query = codes_of(found, pl.DataFrame([person.answers], schema=found.people.select(features).schema))
        ranges = {
            choice.name: [float(np.nanmin(choice.codes)), float(np.nanmax(choice.codes))] for choice in problem.choices
        }
        begun = time.process_time()
        levels = problem.stay
        try:
            with at_most(seconds):
                model = Wrapped(found, floor)
                frame = table.assign(good=model.predict(table))
                data = dice_ml.Data(dataframe=frame, continuous_features=features, outcome_name="good")
                explainer = dice_ml.Dice(data, dice_ml.Model(model=model, backend="sklearn"), method=method)
                answer = explainer.generate_counterfactuals(
                    query, total_CFs=4, desired_class=1, features_to_vary=list(ranges), permitted_range=ranges,
                    **({"random_seed": 0} if method == "random" else {}), verbose=False,
                )  # fmt: skip
            frame = answer.cf_examples_list[0].final_cfs_df
            found_plans = [nearest(problem, row) for _, row in frame.iterrows()] if frame is not None else []
            fine = [plan for plan in found_plans if crowd.allowed(np.array([plan]))[0]]
            fine = [plan for plan in fine if planner.now + planner.gain(plan) >= floor]  # so it is after rounding
            if fine:
                levels = min(fine, key=problem.effort)
        except Late:
            late += 1
        except Exception as error:
            if "No counterfactuals" not in str(error) and type(error).__name__ != "UserConfigValidationException":
                raise
        row = {**judged(planner, levels), "seconds": time.process_time() - begun}
        if found.path is not None and found.path.name == planted_name:  # the planted world
            row["true_gain"] = true_gain(planner, person, levels)
        rows.append(row)
        failed += levels == problem.stay
        if levels != problem.stay:
            made[name] = list(levels)
    return {
        **summary(rows),
        "no_counterfactual": failed / len(rows),
        "late": late,
        "limit": seconds,
        "gain_asked": gain,
        "plans": made,
    }


def nearest(problem: Any, row: Any) -> tuple[int, ...]:
    """DiCE's values at the nearest allowed levels; what it left as it was stays."""
    return tuple(
        int(np.nanargmin(np.abs(choice.codes - float(row[choice.name])))) if len(choice.codes) else choice.current
        for choice in problem.choices
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="runs that plans.py and plans_effort.py have left")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=10.0, help="CPU seconds for a person")
    parser.add_argument("--methods", nargs="+", default=list(DICE))
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    done = {json.loads(line)["task"] for line in given.out.read_text().splitlines()} if given.out.exists() else set()
    for method in given.methods:
        for name in (*(f"{name}-{seed}-chosen" for seed in range(SPLITS) for name in PLANNED), planted_name):
            task = f"dice:{method}:{name}"
            if task in done or not (given.work / name).exists():
                continue
            found = Prescriber.load(given.work / name)
            gain = None if name == planted_name else found.policy.min_gain
            row = {"task": task, **plans_of_dice(found, method, DICE[method], given.seconds, gain=gain)}
            with given.out.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print({key: value for key, value in row.items() if key != "plans"}, flush=True)


if __name__ == "__main__":
    main()
