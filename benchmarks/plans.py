"""The figures of docs/systems/prescriptive.md: prediction, plans, rivals, exactness and speed on real surveys.

    python benchmarks/plans.py --out ../plans.jsonl                     # everything; what is there is not done again
    python benchmarks/plans.py --out ../plans.jsonl --only predict
    python benchmarks/plans.py --out ../plans.jsonl --write docs/systems/prescriptive.md

Data is looked for below RECTITUDE_DATA. DiCE is measured by benchmarks/plans_dice.py in an environment of its own, over
the people and models that this script leaves in ``--work``.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from plans_people import (
    PLANNED,
    SETS,
    data,
    judged,
    planted_name,
    planted_prescriber,
    poorest,
    prescriber,
    summary,
    true_gain,
)

from rectitude.decisions.plans.classifier import CANDIDATES, Candidate, fit_score, nested_cv
from rectitude.decisions.plans.encode import Encoder
from rectitude.decisions.plans.planning import Planner
from rectitude.decisions.plans.policy import Policy
from rectitude.decisions.plans.prescriber import Prescriber
from rectitude.decisions.plans.problem import Choice, Levels, Problem
from rectitude.decisions.plans.schema import Schema, read_schema
from rectitude.decisions.plans.score import Score
from rectitude.decisions.plans.search import Crowd
from rectitude.decisions.plans.solver import Solver
from rectitude.decisions.plans.table import clean, read_survey

MEASURES = ("accuracy", "f1_good", "f1_macro", "auc", "log_loss", "brier")
SWEEP = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)


def cross(schema: Schema, table: Any, *, seed: int = 0, copies: bool = False) -> dict[str, Any]:
    """Nested CV of the whole procedure on one table."""
    people = clean(table, schema) if not copies else clean(table.with_row_index("copy"), schema)
    encoder = Encoder.fit(schema, people.answers)
    x, y = encoder.matrix(people.answers), people.good.astype(int)
    candidates = [one for one in CANDIDATES if len(y) < 20_000 or one.family != "forest"]
    rows = nested_cv(x, y, candidates, monotone=encoder.monotone(), groups=None, n_outer=5, n_inner=3, seed=seed)
    found = {key: [row[key] for row in rows] for key in MEASURES}
    always = {key: float(np.mean([row["majority"][key] for row in rows])) for key in MEASURES}
    return {"rows": len(y), "good": float(y.mean()), "folds": found, "majority": always,
            "chosen": [row["chosen"] for row in rows]}  # fmt: skip


def predictions() -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """Nested CV with the configurations of the package."""
    for name in SETS:

        def run(name: str = name) -> dict[str, Any]:
            table, _ = read_survey(data(name))
            return cross(read_schema(name), table)

        yield f"predict:{name}", run


def leaks() -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """How figures like the paper's come about: pieces of the outcome as features, and copies of respondents."""

    def pieces() -> dict[str, Any]:
        from rectitude.decisions.plans.guess import guess_schema

        table, _ = read_survey(data("sleep-efficiency"))
        schema = guess_schema(table, "Sleep efficiency", good=">= 0.85")
        freed = {
            key: feature.model_copy(update={"role": "feature", "why": ""}) if feature.role == "forbidden" else feature
            for key, feature in schema.features.items()
        }
        return cross(schema.model_copy(update={"features": freed}), table)

    def copied(copies: bool) -> dict[str, Any]:
        from rectitude.decisions.plans.guess import guess_schema

        table, _ = read_survey(data("sleep-health-lifestyle"))
        schema = guess_schema(table, "Sleep Disorder", good="No Value")
        freed = {
            key: feature.model_copy(update={"role": "feature", "why": ""})
            if feature.role == "forbidden" and key != "Blood Pressure" else feature
            for key, feature in schema.features.items()
        }  # fmt: skip
        return cross(schema.model_copy(update={"features": freed}), table, copies=copies)

    yield "leak:pieces", pieces
    yield "leak:copies", lambda: copied(True)
    yield "leak:no-copies", lambda: copied(False)


def top_of_the_population(found: Prescriber, names: list[str], policy: Policy) -> dict[str, float]:
    """Mean surrogate gain net of cost of each feature's best level: the same advice for all."""
    total: dict[str, float] = {}
    for name in names:
        problem = found.problem(found.person(name), policy)
        for choice in problem.choices:
            net = choice.gain - policy.resistance_weight * choice.resistance * choice.effort
            total[choice.name] = total.get(choice.name, 0.0) + float(net.max())
    return total


def best_levels(planner: Planner, order: list[int], n: int) -> Levels:
    """Move the first n choices of an order to their best surrogate level, as long as the rules allow it."""
    problem, levels = planner.problem, list(planner.problem.stay)
    crowd = Crowd(problem, planner.solver.tables, planner.solver.net_aim(), planner.solver.limits())
    for index in order:
        choice = problem.choices[index]
        net = choice.gain - planner.policy.resistance_weight * choice.resistance * choice.effort
        for level in np.argsort(-net):
            if int(level) == choice.current:
                break
            trial = [*levels[:index], int(level), *levels[index + 1 :]]
            if crowd.allowed(np.array([trial]))[0]:
                levels = trial
                break
        if len(problem.units(tuple(levels))) >= n:
            break
    return tuple(levels)


def rivals(  # noqa: C901 -- ten short ways side by side
    found: Prescriber, names: list[str], policy: Policy
) -> dict[str, Callable[[Planner, Any], Levels]]:
    """Ways to make a plan, ours and others; all under the same levels, rules and number of changes."""
    common = top_of_the_population(found, names, policy)
    rng = np.random.default_rng(0)
    limit = policy.max_changes or 2

    def solved(changes: dict[str, Any]) -> Callable[[Planner, Any], Levels]:
        def run(planner: Planner, person: Any) -> Levels:
            other = found.planner(person, policy.model_copy(update=changes))
            return other.solver.solve(other.solver.net_aim(), other.solver.limits()).levels or planner.problem.stay

        return run

    def population(planner: Planner, person: Any) -> Levels:
        order = sorted(
            range(len(planner.problem.choices)), key=lambda i: -common.get(planner.problem.choices[i].name, 0)
        )
        return best_levels(planner, order, limit)

    def greedy_phi(planner: Planner, person: Any) -> Levels:
        own = found.attributions(person)
        order = sorted(range(len(planner.problem.choices)), key=lambda i: own[planner.problem.choices[i].name])
        return best_levels(planner, order, limit)

    def crowd_of(planner: Planner) -> Crowd:
        aim = planner.solver.net_aim()
        return Crowd(planner.problem, planner.solver.tables, aim, planner.solver.limits())

    def random_plan(planner: Planner, person: Any) -> Levels:
        crowd = crowd_of(planner)
        plans = random_plans(planner, rng, 400, limit)
        plans = plans[crowd.allowed(plans)]
        return tuple(int(level) for level in plans[0]) if len(plans) else planner.problem.stay

    def random_search(planner: Planner, person: Any) -> Levels:
        """A counterfactual as random search finds it: of 400 plans that go beyond one half, the one of least effort."""
        crowd = crowd_of(planner)
        plans = random_plans(planner, rng, 400, limit)
        plans = plans[crowd.allowed(plans)]
        return counterfactual(planner, crowd, plans)

    def greedy_search(planner: Planner, person: Any) -> Levels:
        """A counterfactual by steepest ascent: the single move that helps the model most, again until K or one half."""
        crowd, levels = crowd_of(planner), planner.problem.stay
        for _ in range(limit):
            moves = [
                [*levels[:i], v, *levels[i + 1 :]]
                for i, choice in enumerate(planner.problem.choices) for v in range(len(choice.values))
            ]  # fmt: skip
            if not moves:
                break
            plans = np.array(moves)
            scores = np.where(crowd.allowed(plans), planner.solver.tables.values(plans)[:, 0], -np.inf)
            best = plans[int(scores.argmax())]
            if scores.max() <= planner.now + planner.gain(levels) + 1e-9:
                break
            levels = tuple(int(level) for level in best)
            if planner.now + planner.gain(levels) > 0:
                break
        return levels

    return {
        "surrogate G1": solved({"method": "surrogate", "gain": "global"}),
        "surrogate G2": solved({"method": "surrogate", "gain": "curve"}),
        "surrogate G2, personal": solved({"method": "surrogate", "gain": "personal"}),
        "embedded": solved({"method": "embedded"}),
        "embedded, robust": solved({"method": "robust", "time_limit": 60.0}),
        "consensus": solved({"method": "consensus"}),
        "same advice for all": population,
        "greedy by attribution": greedy_phi,
        "greedy counterfactual": greedy_search,
        "random-search counterfactual": random_search,
        "random plan": random_plan,
    }


def random_plans(planner: Planner, rng: np.random.Generator, n: int, limit: int) -> np.ndarray:
    plans = np.repeat(np.array([planner.problem.stay], dtype=np.int64), n, axis=0)
    for row in plans:
        for index in rng.permutation(len(planner.problem.choices))[: rng.integers(1, limit + 1)]:
            row[index] = rng.integers(len(planner.problem.choices[index].values))
    return plans


def counterfactual(planner: Planner, crowd: Crowd, plans: np.ndarray) -> Levels:
    scores = crowd.tables.values(plans)[:, 0] if len(plans) else np.zeros(0)
    if not len(plans):
        return planner.problem.stay
    over = scores > 0
    effort = crowd.amount(plans, [choice.effort for choice in planner.problem.choices])
    best = int(np.where(over, -effort, -np.inf).argmax()) if over.any() else int(scores.argmax())
    return tuple(int(level) for level in plans[best])


def plans(work: Path) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """Every rival on the same test people, none of them screened by the judge."""
    for name in PLANNED:

        def run(name: str = name) -> dict[str, Any]:
            found = prescriber(name, work)
            names = poorest(found)
            policy = found.policy.model_copy(update={"time_limit": 60.0})
            rows: dict[str, list[dict[str, float]]] = {}
            broken = 0
            makers = rivals(found, names, policy)
            for person_name in names:
                person = found.person(person_name)
                planner = found.planner(person, policy)
                for rival, make in makers.items():
                    begun = time.process_time()
                    levels = make(planner, person)
                    seconds = time.process_time() - begun
                    broken += len(planner.problem.violated(levels))
                    rows.setdefault(rival, []).append({**judged(planner, levels), "seconds": seconds})
            return {
                "people": len(names),
                "broken": broken,
                "rivals": {rival: summary(part) for rival, part in rows.items()},
            }

        yield f"plans:{name}", run


def planted(work: Path) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """The rivals where the truth is known: what the plans really bring, beside what model and judge say."""

    def run() -> dict[str, Any]:
        found = planted_prescriber(work)
        names = poorest(found)
        makers = rivals(found, names, found.policy)
        del makers["embedded, robust"]  # minutes over eight free features and five models; measured on the surveys
        rows: dict[str, list[dict[str, float]]] = {}
        for name in names:
            person = found.person(name)
            planner = found.planner(person, found.policy)
            for rival, make in makers.items():
                begun = time.process_time()
                levels = make(planner, person)
                seconds = time.process_time() - begun
                row = {**judged(planner, levels), "seconds": seconds, "true_gain": true_gain(planner, person, levels)}
                rows.setdefault(rival, []).append(row)
        return {"people": len(names), "rivals": {rival: summary(part) for rival, part in rows.items()}}

    yield f"plans:{planted_name}", run


def equal(work: Path) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """The embedded model on the rivals' own terms: the surrogate's effort, the counterfactuals' target."""
    for name in (planted_name, *PLANNED):

        def run(name: str = name) -> dict[str, Any]:
            found = planted_prescriber(work) if name == planted_name else prescriber(name, work)
            rows: dict[str, list[dict[str, float]]] = {}
            for person_name in poorest(found):
                person = found.person(person_name)
                planner = found.planner(person, found.policy)
                solver, stay = planner.solver, planner.problem.stay
                rough = found.planner(person, found.policy.model_copy(update={"method": "surrogate"})).solver
                simple = rough.solve(rough.net_aim(), rough.limits()).levels or stay
                effort = planner.problem.effort(simple)
                same = solver.solve(solver.gain_aim(), solver.limits(effort=effort)).levels or stay
                half = solver.solve(solver.target_aim(0.0), solver.limits()).levels
                if half is None:  # out of reach: as far as it goes, as the searches do
                    half = solver.solve(solver.gain_aim(), solver.limits()).levels or stay
                made = {
                    "surrogate G2": simple,
                    "embedded, with G2's effort": same,
                    "embedded, least effort to one half": half,
                }
                for way, levels in made.items():
                    row = judged(planner, levels)
                    if name == planted_name:
                        row["true_gain"] = true_gain(planner, person, levels)
                    rows.setdefault(way, []).append(row)
            return {"people": len(rows["surrogate G2"]), "rivals": {way: summary(part) for way, part in rows.items()}}

        yield f"equal:{name}", run


def product(work: Path) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """Plans as the product makes them, the judge's veto included: change nothing, number of changes, stability."""
    for name in PLANNED:

        def run(name: str = name) -> dict[str, Any]:
            found = prescriber(name, work)
            names = poorest(found)
            rows, similar, shares = [], [], []
            rejected = 0
            for person_name in names:
                policy = found.policy.model_copy(update={"frontier": "none", "alternatives": 2, "time_limit": 60.0})
                plan = found.planner(found.person(person_name), policy).plan()
                rows.append({"gain": plan.gain, "judge_gain": plan.judge_gain, "effort": plan.effort,
                             "changes": float(len(plan.items))})  # fmt: skip
                similar.append(plan.similarity or 0.0)
                shares += [item.chosen or 0.0 for item in plan.items]
                rejected += bool(plan.rejected)
            return {
                **summary(rows),
                "similarity": float(np.mean(similar)),
                "chosen_again": float(np.mean(shares)) if shares else None,
                "uncertain": float(np.mean([share < 0.6 for share in shares])) if shares else None,
                "first_plan_refused": rejected / len(names),
            }

        yield f"product:{name}", run


def sweep(work: Path) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """λ: fewer changes and more empty plans as resistance weighs more."""
    for name in PLANNED[:1]:

        def run(name: str = name) -> dict[str, Any]:
            found = prescriber(name, work)
            rows = {}
            for weight in SWEEP:
                policy = found.policy.model_copy(update={"resistance_weight": weight, "max_changes": None})
                made = []
                for person_name in poorest(found, 30):
                    planner = found.planner(found.person(person_name), policy)
                    solved = planner.solver.solve(planner.solver.net_aim(), planner.solver.limits())
                    made.append(judged(planner, solved.levels or planner.problem.stay))
                rows[str(weight)] = summary(made)
            return rows

        yield f"sweep:{name}", run


def oracle(work: Path) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """Embedded optimum against complete enumeration."""
    for name in PLANNED:

        def run(name: str = name) -> dict[str, Any]:
            found = prescriber(name, work)
            gaps, proven, sizes = [], 0, []
            for person_name in poorest(found, 40):
                policy = found.policy.model_copy(update={"max_changes": None, "time_limit": 60.0})
                planner = found.planner(found.person(person_name), policy)
                solver = planner.solver
                solved = solver.solve(solver.net_aim(), solver.limits())
                crowd = Crowd(planner.problem, solver.tables, solver.net_aim(), solver.limits())
                _, best = crowd.enumerate()
                gaps.append(abs(best - solver.value(solved.levels or planner.problem.stay, solver.net_aim())))
                proven += solved.status == "optimal"
                sizes.append(float(np.prod([len(choice.values) for choice in planner.problem.choices])))
            return {
                "people": len(gaps),
                "largest_difference": max(gaps),
                "proven": proven,
                "plans_each": float(np.mean(sizes)),
            }

        yield f"oracle:{name}", run


# Speed


def hard_case(p: int, n_levels: int, n_trees: int, seed: int) -> tuple[Score, Problem]:
    """Boosted trees of depth 4 over p features of which every one may change, and a person."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, n_levels, size=(3000, p)).astype(float)
    odds = np.sin(x[:, 0]) + 0.13 * (x[:, 1] - 3) * (x[:, 2] - 3) - 0.07 * (x[:, 3] - 4) ** 2
    odds += (x[:, 4] > 3) * (x[:, 5] < 3) + 0.3 * x[:, p - 1] * (x[:, 1] > 2)
    y = (rng.random(3000) < 1 / (1 + np.exp(-(odds - odds.mean())))).astype(int)
    candidate = Candidate(family="boosted", n_trees=n_trees, depth=4, learning_rate=0.1, min_leaf=20)
    score = fit_score(candidate, x, y, monotone=np.zeros(p, dtype=int), seed=seed)
    row = x[rng.integers(3000)]
    codes = np.arange(n_levels, dtype=float)
    choices = tuple(
        Choice(str(j), tuple(codes.tolist()), codes, codes[:, None], slice(j, j + 1), int(row[j]),
               np.abs(codes - row[j]) / (n_levels - 1), np.zeros(n_levels), 2.0, np.zeros(n_levels), str(j))
        for j in range(p)
    )  # fmt: skip
    return score, Problem(row, choices)


def speed(work: Path) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """Seconds of one core: CPU time of the process, which other load on the machine does not lengthen."""
    for p, n_trees, unlimited in ((6, 100, True), (8, 100, True), (8, 100, False), (6, 200, True), (8, 200, True)):

        def run(p: int = p, n_trees: int = n_trees, unlimited: bool = unlimited) -> dict[str, Any]:
            cpu, wall, proven, leaves = [], [], 0, []
            for seed in range(5):
                score, problem = hard_case(p, 7, n_trees, seed)
                policy = Policy(max_changes=None if unlimited else 2, time_limit=120.0)
                begun, clock = time.process_time(), time.perf_counter()
                solver = Solver(problem, policy, [score])
                solved = solver.solve(solver.net_aim(), solver.limits())
                cpu.append(time.process_time() - begun)
                wall.append(time.perf_counter() - clock)
                proven += solved.status == "optimal"
                leaves.append(float((score.trees.column < 0).sum()))
            return {
                "cpu_seconds": cpu,
                "wall_seconds": wall,
                "proven": proven,
                "of": len(cpu),
                "leaves": float(np.mean(leaves)),
            }

        yield f"speed:{n_trees} trees, {p} features, {'any number of' if unlimited else '2'} changes", run

    def surrogate() -> dict[str, Any]:
        found = prescriber("nhanes", work)
        policy = found.policy.model_copy(update={"method": "surrogate"})
        people = [found.person(name) for name in poorest(found, 50)]
        cpu, whole = [], []
        for person in people:
            begun = time.process_time()
            planner = found.planner(person, policy)
            between = time.process_time()
            planner.solver.solve(planner.solver.net_aim(), planner.solver.limits())
            cpu.append(1000 * (time.process_time() - between))
            whole.append(1000 * (time.process_time() - begun))
        return {
            "solve_ms": float(np.median(cpu)),
            "with_problem_ms": float(np.median(whole)),
            "p95_ms": float(np.quantile(whole, 0.95)),
        }

    def many() -> dict[str, Any]:
        from rectitude.decisions.plans.cohort import plans as plans_of

        found = prescriber("yrbss", work)
        bare = {"method": "surrogate", "alternatives": 0, "draws": 0, "frontier": "none"}
        policy = found.policy.model_copy(update=bare)
        names = found.ids()[:10_000]
        people = [(name, found.person(name)) for name in names]
        begun, before = time.perf_counter(), sum(os.times()[:4])
        made = plans_of(found, people, policy, jobs=2)
        failed = sum("error" in plan for plan in made)
        wall, cpu = time.perf_counter() - begun, sum(os.times()[:4]) - before
        return {"people": len(made), "failed": failed, "wall_seconds": wall, "cpu_of_all": cpu, "jobs": 2}

    yield "speed:surrogate", surrogate
    yield "speed:10000 people", many


def tasks(work: Path) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    yield from leaks()
    yield from plans(work)
    yield from planted(work)
    yield from equal(work)
    yield from oracle(work)
    yield from speed(work)
    yield from product(work)
    yield from sweep(work)
    yield from predictions()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON lines; what is in it is not done again")
    parser.add_argument("--work", type=Path, help="folder of fitted runs (default: beside --out)")
    parser.add_argument("--only", default="", help="tasks whose name begins so")
    parser.add_argument("--write", type=Path, help="put the tables into this page, and do nothing else")
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    done = {}
    if given.out.exists():
        done = {row["task"]: row for row in map(json.loads, given.out.read_text().splitlines())}
    if given.write:
        from plans_page import write

        write(given.write, done)
        return
    work = given.work or given.out.with_suffix("")
    for name, run in tasks(work):
        if name in done or not name.startswith(given.only):
            continue
        begun = time.process_time()
        row = {"task": name, **run(), "cpu": time.process_time() - begun}
        with given.out.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(name, {key: value for key, value in row.items() if key not in ("folds", "rivals")}, flush=True)


if __name__ == "__main__":
    main()
