"""Tables of docs/systems/prescriptive.md from the lines that benchmarks/plans.py writes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

TITLES = {
    "nhanes": "NHANES 2009–2012",
    "sleep-efficiency": "Sleep Efficiency",
    "sleep-study": "college SleepStudy",
    "yrbss": "YRBSS",
    "compas": "COMPAS",
    "adult": "Adult",
    "planted": "planted world",
}


def number(value: float | None, places: int = 3) -> str:
    return "–" if value is None else f"{value:.{places}f}".replace("-", "−")


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" if index == 0 else "---:" for index in range(len(head))), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def crossed(row: dict[str, Any], key: str) -> str:
    values = row["folds"][key]
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"


def prediction(done: dict[str, Any]) -> str:
    rows = [("paper (test split, other data)", "", "0.937", "**0.954**", "", "", "", "")]
    for task, row in done.items():
        if task.startswith("predict:"):
            rows.append((
                TITLES[task.partition(":")[2]], f"{row['rows']:,}", crossed(row, "accuracy"), crossed(row, "f1_good"),
                crossed(row, "f1_macro"), crossed(row, "auc"), number(row["majority"]["accuracy"]),
                number(row["majority"]["f1_good"]),
            ))  # fmt: skip
    head = ("data", "rows", "accuracy", "F1 good", "macro-F1", "AUC", "accuracy, always the commoner", "F1, likewise")
    return table(head, rows)


def leaks(done: dict[str, Any]) -> str:
    said = {
        "leak:pieces": "Sleep Efficiency, with stages, awakenings and duration as features",
        "leak:copies": "Sleep Health and Lifestyle (synthetic), its 374 rows with their copies",
        "leak:no-copies": "the same, its 132 distinct rows",
    }
    rows = [
        (words, f"{done[task]['rows']:,}", *(crossed(done[task], key) for key in ("accuracy", "f1_good", "auc")))
        for task, words in said.items() if task in done
    ]  # fmt: skip
    return table(("what leaks", "rows", "accuracy", "F1 good", "AUC"), rows)


def rivals(done: dict[str, Any]) -> str:
    parts = []
    for task, row in done.items():
        if not task.startswith("plans:"):
            continue
        name = task.partition(":")[2]
        found = dict(row["rivals"])
        own_terms = done.get(f"equal:{name}", {"rivals": {}})["rivals"]
        found |= {way: values for way, values in own_terms.items() if way not in found}
        for method in ("random", "genetic"):
            if f"dice:{method}:{name}" in done:
                found[f"DiCE, {method}"] = done[f"dice:{method}:{name}"]
        truth = name == "planted"
        head = ("plan", "none, %", "changes", "effort", "gain", "judged gain", "harmful, %", "**judged / effort**")
        head = (*head, "true gain", "**true / effort**", "ms") if truth else (*head, "ms")
        rows = []
        for rival, values in found.items():
            own = (
                rival, number(100 * values["share_nothing"], 0), number(values["changes"], 2),
                number(values["effort"], 2),
                number(values["gain"]), number(values["judge_gain"]), number(100 * values["harmful"], 0),
                number(values["judge_gain_per_effort"]),
            )  # fmt: skip
            more = (number(values.get("true_gain")), number(values.get("true_gain_per_effort"))) if truth else ()
            rows.append((*own, *more, number(values["milliseconds"], 1)))
        parts.append(f"**{TITLES[name]}**, {row['people']} people\n\n{table(head, rows)}")
    return "\n\n".join(parts)


def product(done: dict[str, Any]) -> str:
    rows = []
    for task, row in done.items():
        if task.startswith("product:"):
            rows.append((
                TITLES[task.partition(":")[2]], str(row["people"]), number(100 * row["share_nothing"], 0),
                number(row["changes"], 2), number(row["gain"]), number(row["judge_gain"]),
                number(100 * row["first_plan_refused"], 0), number(row["similarity"], 2),
                number(row["chosen_again"], 2),
            ))  # fmt: skip
    head = ("data", "people", "change nothing, %", "changes where any", "model gain", "judge gain",
            "first plan refused by the judge, %",
            "Jaccard when shaken", "items chosen again")  # fmt: skip
    return table(head, rows)


def sweep(done: dict[str, Any]) -> str:
    rows = []
    for weight, row in done.get("sweep:nhanes", {}).items():
        if isinstance(row, dict):
            changes = row["changes"] * (1 - row["share_nothing"])
            rows.append((weight, number(changes, 2), number(row["share_nothing"], 2), number(row["gain"]),
                         number(row["judge_gain"])))  # fmt: skip
    return table(("λ", "changes", "share with none", "gain", "judged gain"), rows)


def exact(done: dict[str, Any]) -> str:
    rows = []
    for task, row in done.items():
        if task.startswith("oracle:"):
            rows.append((TITLES[task.partition(":")[2]], str(row["people"]), f"{row['plans_each']:,.0f}",
                         str(row["proven"]), f"{row['largest_difference']:.0e}"))  # fmt: skip
    return table(("data", "people", "plans each, mean", "proven", "largest difference from enumeration"), rows)


def speed(done: dict[str, Any]) -> str:
    rows = []
    for task, row in done.items():
        if task.startswith("speed:") and "cpu_seconds" in row:
            rows.append((f"embedded, depth 4: {task[6:]}", f"{np.median(row['cpu_seconds']):.2f} s",
                         f"{max(row['cpu_seconds']):.2f} s", f"{row['proven']} of {row['of']} proven"))  # fmt: skip
    if "speed:surrogate" in done:
        row = done["speed:surrogate"]
        rows.append(
            ("surrogate, NHANES, a person", f"{row['with_problem_ms']:.1f} ms", f"{row['p95_ms']:.1f} ms (95 %)", "")
        )
    if "speed:10000 people" in done:
        row = done["speed:10000 people"]
        cpu, wall = f"{row['cpu_of_all']:.0f} s of all processes", f"{row['wall_seconds']:.0f} s by the clock"
        rows.append(
            (f"{row['people']:,} people, surrogate, {row['jobs']} processes", cpu, wall, f"{row['failed']} failed")
        )
    return table(("what", "median", "largest", ""), rows)


def between(found: list[float]) -> str:
    """A difference with its interval, bold where the interval does not hold nothing."""
    mean, low, high = found
    words = f"{number(mean, 4) if mean < 0 else '+' + number(mean, 4)} [{number(low, 4)}, {number(high, 4)}]"
    return f"**{words}**" if low > 0 or high < 0 else words


def fitted(row: dict[str, Any], model: str) -> str:
    chosen = [one["planner"] for one in row["fitted"][model]]
    return ", ".join(f"{chosen.count(name)} × {name}" for name in dict.fromkeys(chosen))


def effort(done: dict[str, Any]) -> str:
    parts = []
    shown = (0.3, 0.5, 1.0, 1.5)
    for task, row in done.items():
        if not task.startswith("effort:"):
            continue
        head = ("plan", *(f"{one:g}" for one in shown), "area", "area less that of G2", "area less that of G2, boosted")
        rows = []
        for way, found in row["frontiers"].items():
            model, _, name = way.partition(": ")
            if name.startswith("the judges"):
                if model == "chosen":
                    at = [number(found["panel"][row["budgets"].index(one)]) for one in shown]
                    rows.append((name, *at, number(found["area"], 4), "", ""))
                continue
            at = [number(found["panel"][row["budgets"].index(one)]) for one in shown]
            same = "" if name == "surrogate G2" else between(found["less_surrogate"])
            other = "" if way == "boosted: surrogate G2" else between(found["less_boosted_surrogate"])
            rows.append((way, *at, number(found["area"], 4), same, other))
        name = TITLES[task.partition(":")[2]]
        parts.append(f"**{name}**, {row['people']} people (chosen: {fitted(row, 'chosen')})\n\n{table(head, rows)}")
    return "\n\n".join(parts)


def own(done: dict[str, Any]) -> str:
    head = ("data", "plan", "effort", "judged gain", "judged / effort", "with G2's effort, judged gain less G2's",
            "judged objective less G2's")  # fmt: skip
    rows = []
    for task, row in done.items():
        if not task.startswith("effort:"):
            continue
        for way, found in row["equal"]["chosen"].items():
            if way.startswith("the judges"):
                continue
            base = way == "surrogate G2"
            rows.append((
                TITLES[task.partition(":")[2]], way, number(found["effort"], 2), number(found["granted"]),
                number(found["per_effort"]), "" if base else between(found["same_effort"]),
                "" if base else between(found["net"]),
            ))  # fmt: skip
    return table(head, rows)


def dice(done: dict[str, Any]) -> str:
    head = ("data", "DiCE", "people", "without a plan", "of them one exists", "out of time", "effort", "changes",
            "gain", "judged gain", "embedded, same effort: judged gain more",
            "consensus, same effort: judged gain more",
            "embedded, same gain: effort less")  # fmt: skip
    rows = []
    for task, row in done.items():
        if task.startswith("terms:"):
            _, method, name = task.split(":")
            means = row["means"]
            rows.append((
                TITLES[name], method, str(row["people"]), str(row["without"]), str(row["missed"]),
                str(row["late"]),
                number(means["DiCE, effort"], 2), number(means["DiCE, changes"], 2), number(means["DiCE, gain"]),
                number(means["DiCE, panel"]), between(row["same_effort"]), between(row["consensus"]),
                between(row["saved_effort"]),
            ))  # fmt: skip
    return table(head, rows)


def rehearsal(done: dict[str, Any]) -> str:
    row = done.get("rehearsal", {"areas": {}})
    rows = [(key, f"{100 * value:+.1f} %".replace("-", "−")) for key, value in row["areas"].items()]
    return table(("robust objective", "area more than the plain embedded model's"), rows)


PARTS = {
    "prediction": prediction,
    "leaks": leaks,
    "rivals": rivals,
    "product": product,
    "sweep": sweep,
    "exact": exact,
    "speed": speed,
    "effort": effort,
    "own": own,
    "dice": dice,
    "rehearsal": rehearsal,
}


def write(page: Path, done: dict[str, Any]) -> None:
    """Replace what stands between the marks of each table."""
    text = page.read_text(encoding="utf-8")
    for name, part in PARTS.items():
        pattern = rf"(<!-- {name} -->\n)(?:(?!<!-- ).*\n)*(<!-- end -->)"
        written = part(done)
        text = re.sub(pattern, lambda found, written=written: f"{found[1]}{written}\n{found[2]}", text)
    page.write_text(text, encoding="utf-8")
