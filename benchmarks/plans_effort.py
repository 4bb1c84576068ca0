"""Plans at equal effort: what the same trouble brings by each way of planning, judged by models of other people.

    python benchmarks/plans_effort.py --out ../plans.jsonl      # the file of benchmarks/plans.py, added to
    python benchmarks/plans_dice.py --work ../plans --out ../plans.jsonl      # in an environment with dice-ml; then
    python benchmarks/plans_effort.py --out ../plans.jsonl      # again, which sets the embedded model beside DiCE

A gain divided by an effort favours whoever does least, so nothing here is divided. Every way gets the same budgets of
effort, and for each person the plan of largest gain within them is taken from all plans of two changes at most; that
CP-SAT finds the same is asserted for some people of every cell. Five splits of people into planner, judge and test;
intervals by resampling test people within their split.

What the robust objective is made of (bootstraps, penalty), the penalty of the consensus, and what counts as worthwhile
is chosen in a rehearsal: the whole procedure on the planner's people alone, who are split into a planner, a judge and
test people of their own.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from plans_people import DICE, PLANNED, SPLITS, data, poorest

from rectitude.core.errors import RectitudeError
from rectitude.decisions.plans.certainty import pool
from rectitude.decisions.plans.classifier import Candidate, choose_and_fit
from rectitude.decisions.plans.conditions import spoken
from rectitude.decisions.plans.planning import N_ROBUST
from rectitude.decisions.plans.policy import Policy
from rectitude.decisions.plans.prescriber import Prescriber
from rectitude.decisions.plans.schema import read_schema
from rectitude.decisions.plans.score import Score
from rectitude.decisions.plans.search import Crowd
from rectitude.decisions.plans.table import clean, read_survey
from rectitude.evaluation.intervals import bootstrap_means

N_PEOPLE = 120
BUDGETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.25, 1.5)
"""Shares of the range, summed over changes."""
MODELS: dict[str, dict[str, Any]] = {"chosen": {}, "boosted": {"families": ["boosted"]}}
"""The classifier that cross-validation chooses, as the product does; and boosted trees for everybody."""
PANEL = (
    Candidate(family="logistic"),
    Candidate(family="boosted", n_trees=100, depth=3),
    Candidate(family="forest", n_trees=200, depth=5, min_leaf=10),
)
"""Judges whose mean verdict is neither additive nor made of trees alone."""
KAPPAS = (0.0, 0.5, 1.0, 2.0)
ALONE = "its regression alone"
ROBUST = tuple((n, kappa) for n in (5, 10, 20) for kappa in KAPPAS)
WORTHWHILE = (0.0, 0.05, 0.1, 0.2, 0.3)
_CHECKED = 3

Plans = dict[str, np.ndarray]
"""All plans of a person: effort, cost, gain by each way and by each judge, float64 [plans]; bootstraps and families
[B, plans]."""


def table_of(name: str, seed: int, work: Path, *, rehearsal: bool) -> pl.DataFrame:
    """The survey; for a rehearsal only what the planner of this split may learn from."""
    table, _ = read_survey(data(name))
    if not rehearsal:
        return table
    column = read_schema(name).id_column()
    ids = [spoken(value) for value in table[column]] if column else [str(row) for row in range(len(table))]
    planners = set(prescriber(name, seed, "chosen", work).ids("planner"))
    return table[[row for row, one in enumerate(ids) if one in planners]]


def prescriber(name: str, seed: int, model: str, work: Path, *, rehearsal: bool = False) -> Prescriber:
    """Fitted on the survey, or on the planner's people of that fit only; kept for the next time."""
    path = work / f"{name}-{seed}-{model}{'-rehearsal' if rehearsal else ''}"
    if not path.exists():
        settings = {"outer_folds": 0, "n_bootstraps": 20, **MODELS[model]}
        table = table_of(name, seed, work, rehearsal=rehearsal)
        Prescriber.fit(table, schema=name, settings=settings, seed=seed, out=path)
    return Prescriber.load(path)


def panel(found: Prescriber, name: str, seed: int, work: Path, *, rehearsal: bool = False) -> list[Score]:
    """A judge of every family, each from the people the planner never saw; kept beside the run."""
    path = work / f"{found.path.name if found.path else name}-panel.json"
    if not path.exists():
        people = clean(table_of(name, seed, work, rehearsal=rehearsal), found.schema)
        judges = set(found.ids("judge"))
        rows = np.flatnonzero([one in judges for one in people.ids])
        x, y = found.encoder.matrix(people.answers[rows.tolist()]), people.good[rows].astype(int)
        free = np.zeros(x.shape[1], dtype=int)
        fits = [choose_and_fit(x, y, [c], monotone=free, groups=None, n_folds=3, seed=seed + 1) for c in PANEL]
        path.write_text(json.dumps([fitted.score.to_dict() for fitted in fits]))
    width = found.encoder.n_columns
    return [Score.from_dict(one, n_columns=width, where=path.name) for one in json.loads(path.read_text())]


def all_plans(found: Prescriber, name: str, judges: list[Score], policy: Policy) -> Plans | None:
    """Every allowed plan of a person with at most two changes, the empty one first, by every measure."""
    person = found.person(name)
    planner = found.planner(person, policy)
    problem, solver = planner.problem, planner.solver
    if not problem.choices:
        return None
    crowd = Crowd(problem, solver.tables, solver.net_aim(), solver.limits(changes=2))
    plans = pool(crowd, problem.stay)
    empty = (plans == crowd.stay).all(axis=1)
    plans = np.concatenate([plans[empty], plans[~empty]])
    rows = np.repeat(problem.row[None, :], len(plans), axis=0)
    for index, choice in enumerate(problem.choices):
        rows[:, choice.columns] = choice.vectors[plans[:, index]]

    def gain(score: Score) -> np.ndarray:
        values = score(rows)
        return np.asarray(values - values[0])

    weight = policy.resistance_weight
    costs = [weight * choice.resistance * choice.effort for choice in problem.choices]
    one_slope = found.problem(person, policy.model_copy(update={"gain": "global"}))
    return {
        "plans": plans,
        "effort": crowd.amount(plans, [choice.effort for choice in problem.choices]),
        "cost": crowd.amount(plans, costs) + policy.charge * crowd.changed(plans).sum(axis=1),
        "G1": crowd.amount(plans, [choice.gain for choice in one_slope.choices]),
        "G2": crowd.amount(plans, [choice.gain for choice in problem.choices]),
        "embedded": gain(found.models.planner),
        "bootstraps": np.stack([gain(score) for score in found.models.bootstraps]),
        "families": np.stack([gain(score) for score in found.models.families or (found.models.planner,)]),
        "judge": gain(found.models.judge),
        "panel": np.mean([gain(score) for score in judges], axis=0),
    }


def robust(some: np.ndarray, kappa: float) -> np.ndarray:
    """Mean of some models' gains [B, plans] less κ times their mean shortfall, [plans]."""
    mean = some.mean(axis=0)
    return np.asarray(mean - kappa * np.maximum(0.0, mean - some).mean(axis=0))


def within(person: Plans, gain: np.ndarray, budget: float) -> int:
    """The plan of largest gain with at most this effort; of equals the one of least effort."""
    return int(np.where(person["effort"] <= budget + 1e-9, gain - 1e-6 * person["effort"], -np.inf).argmax())


def product_plan(person: Plans, gain: np.ndarray, worthwhile: float) -> int:
    """The plan of the product's objective: gain less resistance and charge, or nothing."""
    net = np.where(gain >= worthwhile - 1e-9, gain - person["cost"], -np.inf)
    net[0] = 0.0
    return int(net.argmax())


def check(found: Prescriber, name: str, person: Plans, policy: Policy) -> None:
    """The largest gains among all plans are what CP-SAT proves."""
    solver = found.planner(found.person(name), policy).solver
    for budget in BUDGETS[::3]:
        best = person["embedded"][within(person, person["embedded"], budget)]
        solved = solver.solve(solver.gain_aim(), solver.limits(effort=budget, changes=2))
        place = int(np.flatnonzero((person["plans"] == solved.levels).all(axis=1))[0])
        if solved.status != "optimal" or abs(person["embedded"][place] - best) > 1e-3:
            raise RectitudeError(
                f"CP-SAT found {person['embedded'][place]:.4f} of {best:.4f}", where=f"{name}, {budget}"
            )


def cell(
    name: str, seed: int, model: str, work: Path, *, rehearsal: bool = False
) -> tuple[list[Plans], dict[str, str]]:
    """The plans of all test people of one fit, and which classifiers were chosen."""
    found = prescriber(name, seed, model, work, rehearsal=rehearsal)
    judges = panel(found, name, seed, work, rehearsal=rehearsal)
    policy = found.policy.model_copy(update={"time_limit": 60.0})
    people = []
    whom = poorest(prescriber(name, seed, "chosen", work, rehearsal=rehearsal), N_PEOPLE)
    for number, one in enumerate(whom):
        person = all_plans(found, one, judges, policy)
        if person is None:
            continue
        if number < _CHECKED:
            check(found, one, person, policy)
        people.append(person)
    return people, {"planner": found.config["model"], "judge": found.config["judge"]}


def curve(people: list[Plans], gain: Callable[[Plans], np.ndarray], judge: str) -> np.ndarray:
    """Judged gain of each person at each budget, float64 [people, budgets]."""
    rows = []
    for person in people:
        values = gain(person)
        rows.append([person[judge][within(person, values, budget)] for budget in BUDGETS])
    return np.array(rows)


def rehearse(work: Path) -> dict[str, Any]:
    """Settings of the robust objective, and τ, that come out best on people of the planner alone.

    Both by means over surveys and splits of what the panel grants in relation to the plain embedded model: the area
    under the frontier for the objective, the judged objective (gain less resistance and charge) for τ.
    """
    areas: dict[str, list[float]] = {}
    agreed: dict[str, list[float]] = {}
    alone: list[float] = []
    nets: dict[str, list[float]] = {}
    for name in PLANNED:
        for seed in range(SPLITS):
            people, _ = cell(name, seed, "chosen", work, rehearsal=True)
            plain = curve(people, lambda person: person["embedded"], "panel").mean()
            scale = curve(people, lambda person: person["panel"], "panel").mean()  # the most that could be had
            for n, kappa in ROBUST:
                area = curve(people, lambda person, n=n, kappa=kappa: robust(person["bootstraps"][:n], kappa), "panel")
                areas.setdefault(f"{n} bootstraps, κ {kappa:g}", []).append(float((area.mean() - plain) / scale))
            for kappa in KAPPAS:
                area = curve(people, lambda person, kappa=kappa: robust(person["families"], kappa), "panel")
                agreed.setdefault(f"consensus, κ {kappa:g}", []).append(float((area.mean() - plain) / scale))
            area = curve(people, lambda person: person["families"][0], "panel")
            alone.append(float((area.mean() - plain) / scale))
            for tau in WORTHWHILE:
                chosen = [product_plan(person, person["embedded"], tau) for person in people]
                net = [person["panel"][k] - person["cost"][k] for person, k in zip(people, chosen, strict=True)]
                nets.setdefault(f"{tau:g}", []).append(float(np.mean(net) / scale))
    return {
        "areas": {key: float(np.mean(values)) for key, values in (areas | agreed | {ALONE: alone}).items()},
        "net": {key: float(np.mean(values)) for key, values in nets.items()},
        "net_by_survey": {
            key: np.reshape(values, (len(PLANNED), -1)).mean(axis=1).tolist() for key, values in nets.items()
        },
        "robust": max(areas, key=lambda key: np.mean(areas[key])),
        "consensus": max(agreed, key=lambda key: np.mean(agreed[key])),
        "worthwhile": max(nets, key=lambda key: np.mean(nets[key])),
    }


def interval(splits: list[np.ndarray]) -> list[float]:
    """Mean over splits of the mean over people, with its 95 % interval: people are resampled within their split."""
    means = np.mean([bootstrap_means(one[:, None], seed)[:, 0] for seed, one in enumerate(splits)], axis=0)
    low, high = np.quantile(means, [0.025, 0.975])
    return [float(np.mean([one.mean() for one in splits])), float(low), float(high)]


def survey(name: str, work: Path, chosen: str, agreed: str, worthwhile: float) -> dict[str, Any]:
    """One survey: every way's frontier, and the embedded model on the surrogate's own terms."""
    n, kappa, agreement = int(chosen.split()[0]), float(chosen.split()[-1]), float(agreed.split()[-1])
    ways: dict[str, Callable[[Plans], np.ndarray]] = {
        "surrogate G1": lambda person: person["G1"],
        "surrogate G2": lambda person: person["G2"],
        "embedded": lambda person: person["embedded"],
        "embedded, robust": lambda person: robust(person["bootstraps"][:N_ROBUST], Policy().spread_weight),
        f"embedded, robust ({chosen})": lambda person: robust(person["bootstraps"][:n], kappa),
        "consensus": lambda person: robust(person["families"], Policy().spread_weight),
        agreed.replace("consensus, ", "consensus (") + ")": lambda person: robust(person["families"], agreement),
        ALONE: lambda person: person["families"][0],
        "the judges' own optimum": lambda person: person["panel"],
    }
    people: dict[tuple[str, int], list[Plans]] = {}
    fitted: dict[str, list[dict[str, str]]] = {model: [] for model in MODELS}
    for model in MODELS:
        for seed in range(SPLITS):
            people[model, seed], words = cell(name, seed, model, work)
            fitted[model].append(words)
    frontiers: dict[str, Any] = {}
    equal: dict[str, Any] = {}
    for model in MODELS:
        base = {
            judge: [curve(people[model, seed], ways["surrogate G2"], judge) for seed in range(SPLITS)]
            for judge in ("panel", "judge")
        }
        other = [curve(people["boosted", seed], ways["surrogate G2"], "panel") for seed in range(SPLITS)]
        for way, gain in ways.items():
            own = [curve(people[model, seed], gain, "panel") for seed in range(SPLITS)]
            by_judge = [curve(people[model, seed], gain, "judge") for seed in range(SPLITS)]
            frontiers[f"{model}: {way}"] = {
                "panel": np.mean([one.mean(axis=0) for one in own], axis=0).tolist(),
                "judge": np.mean([one.mean(axis=0) for one in by_judge], axis=0).tolist(),
                "area": float(np.mean([one.mean() for one in own])),
                "less_surrogate": interval([(a - b).mean(axis=1) for a, b in zip(own, base["panel"], strict=True)]),
                "less_surrogate_by_judge": interval(
                    [(a - b).mean(axis=1) for a, b in zip(by_judge, base["judge"], strict=True)]
                ),
                "less_boosted_surrogate": interval([(a - b).mean(axis=1) for a, b in zip(own, other, strict=True)]),
            }
        equal[model] = own_terms([people[model, seed] for seed in range(SPLITS)], ways, worthwhile)
    return {
        "people": sum(len(people["chosen", seed]) for seed in range(SPLITS)),
        "budgets": list(BUDGETS),
        "fitted": fitted,
        "frontiers": frontiers,
        "equal": equal,
    }


def own_terms(
    splits: list[list[Plans]], ways: dict[str, Callable[[Plans], np.ndarray]], worthwhile: float
) -> dict[str, Any]:
    """Each way with the effort of the surrogate's plan, person by person; and by its own plan, judged on its net."""
    found: dict[str, Any] = {}
    for way, gain in ways.items():
        same, net, spent, granted = [], [], [], []
        for people in splits:
            rows = []
            for person in people:
                rough = product_plan(person, person["G2"], worthwhile)
                near = within(person, gain(person), float(person["effort"][rough]))
                mine = product_plan(person, gain(person), worthwhile)
                value = person["panel"] - person["cost"]
                rows.append((person["panel"][near] - person["panel"][rough], value[mine] - value[rough],
                             person["effort"][mine], person["panel"][mine]))  # fmt: skip
            table = np.array(rows)
            same.append(table[:, 0])
            net.append(table[:, 1])
            spent.append(table[:, 2].mean())
            granted.append(table[:, 3].mean())
        found[way] = {
            "same_effort": interval(same),
            "net": interval(net),
            "effort": float(np.mean(spent)),
            "granted": float(np.mean(granted)),
            "per_effort": float(np.sum(granted) / np.sum(spent)) if np.sum(spent) else 0.0,
        }
    return found


def beside_dice(name: str, method: str, lines: dict[str, Any], work: Path) -> dict[str, Any]:
    """DiCE's plans, and the embedded model on their terms: with their effort, and with least effort for their gain.

    Both with as many changes as DiCE's plan has, two at least.
    """
    rows: list[dict[str, np.ndarray]] = []
    asked = without = late = missed = 0
    for seed in range(SPLITS):
        line = lines.get(f"dice:{method}:{name}-{seed}-chosen")
        if line is None:
            continue
        asked, late = asked + line["people"], late + line["late"]
        without += line["people"] - len(line["plans"])
        found = prescriber(name, seed, "chosen", work)
        judges = panel(found, name, seed, work)
        missed += sum(
            in_reach(found, one, float(line["gain_asked"]))
            for one in poorest(found, DICE[method]) if one not in line["plans"]
        )  # fmt: skip
        made = [terms(found, one, tuple(levels), judges) for one, levels in line["plans"].items()]
        columns = {key: np.array([row[key] for row in made]) for key in (made[0] if made else {})}
        rows += [columns] if made else []
    return {
        "people": asked,
        "without": without,
        "late": late,
        "missed": missed,
        "splits": len(rows),
        "means": {key: float(np.concatenate([one[key] for one in rows]).mean()) for key in rows[0]},
        "same_effort": interval([one["same effort, panel"] - one["DiCE, panel"] for one in rows]),
        "saved_effort": interval([one["DiCE, effort"] - one["least effort, effort"] for one in rows]),
        "least_effort": interval([one["least effort, panel"] - one["DiCE, panel"] for one in rows]),
        "consensus": interval([one["consensus, panel"] - one["DiCE, panel"] for one in rows]),
    }


def in_reach(found: Prescriber, name: str, gain: float) -> bool:
    """Is there a plan that brings so much?"""
    planner = found.planner(found.person(name), found.policy.model_copy(update={"time_limit": 60.0}))
    solver = planner.solver
    aim = solver.target_aim(planner.now + gain)
    return bool(planner.problem.choices) and solver.solve(aim, solver.limits(changes=None)).levels is not None


def terms(found: Prescriber, name: str, levels: tuple[int, ...], judges: list[Score]) -> dict[str, float]:
    """One person's plans by every measure."""
    planner = found.planner(found.person(name), found.policy.model_copy(update={"time_limit": 60.0}))
    solver, problem = planner.solver, planner.problem
    changes = max(2, len(problem.units(levels)))
    effort, floor = problem.effort(levels), planner.now + planner.gain(levels)
    same = solver.solve(solver.gain_aim(), solver.limits(effort=effort, changes=changes)).levels
    least = solver.solve(solver.target_aim(floor - 1e-6), solver.limits(changes=changes)).levels
    agreed = found.planner(found.person(name), planner.policy.model_copy(update={"method": "consensus"})).solver
    both = agreed.solve(agreed.gain_aim(), agreed.limits(effort=effort, changes=changes)).levels
    made = {"DiCE": levels, "same effort": same, "least effort": least, "consensus": both}
    made = {way: plan or problem.stay for way, plan in made.items()}
    row = {}
    for way, plan in made.items():
        both = np.stack([problem.encoded(problem.stay), problem.encoded(plan)])
        row |= {
            f"{way}, effort": problem.effort(plan),
            f"{way}, changes": float(len(problem.units(plan))),
            f"{way}, gain": planner.gain(plan),
            f"{way}, judge": planner.judge_gain(plan),
            f"{way}, panel": float(np.mean([np.diff(score(both))[0] for score in judges])),
        }
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON lines; what is in it is not done again")
    parser.add_argument("--work", type=Path, help="folder of fitted runs (default: beside --out)")
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    work = given.work or given.out.with_suffix("")
    work.mkdir(parents=True, exist_ok=True)
    done = (
        {row["task"]: row for row in map(json.loads, given.out.read_text().splitlines())} if given.out.exists() else {}
    )

    def once(task: str, run: Callable[[], dict[str, Any]]) -> None:
        if task in done:
            return
        begun = time.process_time()
        done[task] = {"task": task, **run(), "cpu": time.process_time() - begun}
        with given.out.open("a") as file:
            file.write(json.dumps(done[task]) + "\n")
        print(task, f"{done[task]['cpu']:.0f} CPU s", flush=True)

    once("rehearsal", lambda: rehearse(work))
    settled = done["rehearsal"]
    for name in PLANNED:
        once(
            f"effort:{name}",
            lambda name=name: survey(name, work, settled["robust"], settled["consensus"], Policy().min_gain),
        )
        for method in DICE:
            if f"dice:{method}:{name}-0-chosen" in done:
                once(f"terms:{method}:{name}", lambda name=name, method=method: beside_dice(name, method, done, work))


if __name__ == "__main__":
    main()
