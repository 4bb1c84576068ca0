"""Tables of a reproduced comparison: means over seeds, intervals over people, methods compared person by person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rectitude.audit.checks.leakage import LISTS
from rectitude.evaluation.intervals import CONFIDENCE, RESAMPLES, bootstrap_interval
from rectitude.fairness.metrics import m_uof_interval

if TYPE_CHECKING:
    from rectitude.workflow.reproducing import Cell


def fairness_rows(done: Mapping[Cell, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Means over seeds per person, then intervals over people."""
    rows = []
    for backbone, method in dict.fromkeys((cell.backbone, cell.method) for cell in done):
        found = [values for cell, values in done.items() if (cell.backbone, cell.method) == (backbone, method)]
        advantaged = np.array(found[0]["advantaged"], bool)
        row: dict[str, Any] = {"backbone": backbone, "method": method, "seeds": len(found)}
        for metric in found[0]["per_person"]:
            people = np.mean([values["per_person"][metric] for values in found], axis=0)
            apart = [
                abs(np.mean(one[advantaged]) - np.mean(one[~advantaged]))
                for one in (np.array(values["per_person"][metric]) for values in found)
            ]
            row[metric] = bootstrap_interval(people, 0).to_dict() | {
                "advantaged": float(people[advantaged].mean()),
                "disadvantaged": float(people[~advantaged].mean()),
                "m_uof": m_uof_interval(people, advantaged, 0).to_dict() | {"seeds": [float(value) for value in apart]},
            }
        solvers = [values["solver"] for values in found if "solver" in values]
        if solvers:
            row["solver"] = solvers
        row["cpu_seconds"] = float(np.mean([values["training_cpu_seconds"] for values in found]))
        row["against"] = {
            other: _paired(done, backbone, method, other)
            for other in ("original", "in-naive")
            if method != other and any((cell.backbone, cell.method) == (backbone, other) for cell in done)
        }
        rows.append(row)
    return rows


def _paired(
    done: Mapping[Cell, Mapping[str, Any]], backbone: str, method: str, other: str
) -> dict[str, dict[str, float]]:
    """NDCG and M_UOF of a method less those of another, over the seeds both have, with intervals over people."""
    ours, theirs = (
        {cell.seed: values for cell, values in done.items() if (cell.backbone, cell.method) == (backbone, which)}
        for which in (method, other)
    )
    seeds = sorted(ours.keys() & theirs.keys())
    if not seeds:
        return {}
    first, second = (
        np.mean([values[seed]["per_person"]["ndcg"] for seed in seeds], axis=0) for values in (ours, theirs)
    )
    advantaged = np.array(ours[seeds[0]]["advantaged"], bool)
    generator = np.random.default_rng(0)
    draws = {}
    for group, inside in (("advantaged", advantaged), ("disadvantaged", ~advantaged)):
        n = int(inside.sum())
        counts = np.vstack([np.ones(n), generator.multinomial(n, np.full(n, 1 / n), size=RESAMPLES)])
        draws[group] = [counts @ people[inside] / n for people in (first, second)]
    share = advantaged.mean()
    overall = [share * a + (1 - share) * d for a, d in zip(draws["advantaged"], draws["disadvantaged"], strict=True)]
    apart = [np.abs(a - d) for a, d in zip(draws["advantaged"], draws["disadvantaged"], strict=True)]
    tail = (1 - CONFIDENCE) / 2
    found = {}
    for name, (mine, other_s) in (("ndcg", overall), ("m_uof", apart)):
        difference = mine - other_s
        low, high = np.quantile(difference[1:], [tail, 1 - tail])
        found[name] = {"value": float(difference[0]), "low": float(low), "high": float(high)}
    return found


def unlearning_rows(done: Mapping[Cell, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Means over seeds, the attacker furthest from chance, and what random labels reach."""
    rows = []
    for backbone, method, attribute in dict.fromkeys((cell.backbone, cell.method, cell.attribute) for cell in done):
        found = [
            values
            for cell, values in done.items()
            if (cell.backbone, cell.method, cell.attribute) == (backbone, method, attribute)
        ]
        attacks = {}
        for source in found[0]["attacks"]:
            attacks[source] = {
                attacker: float(np.mean([values["attacks"][source][attacker]["accuracy"] for values in found]))
                for attacker in found[0]["attacks"][source]
            }
        chance = 1 / found[0]["classes"]
        vectors = [source for source in attacks if source != LISTS]
        reached = [
            one["accuracy"] for values in found for source in vectors for one in values["attacks"][source].values()
        ]
        means = [accuracy for source in vectors for accuracy in attacks[source].values()]
        dealt = np.array([accuracies for values in found for accuracies in values["by_chance"]])
        rows.append(
            {
                "backbone": backbone,
                "method": method,
                "attribute": attribute,
                "seeds": len(found),
                "chance": chance,
                "furthest": max(abs(accuracy - chance) for accuracy in means),
                "furthest_of_a_seed": max(abs(accuracy - chance) for accuracy in reached),
                "by_chance": _band(dealt, chance) if len(dealt) else None,
                "ndcg@10": float(np.mean([values["ndcg"]["ndcg@10"]["value"] for values in found])),
                "hr@10": float(np.mean([values["ndcg"]["hr@10"]["value"] for values in found])),
                "attacks": attacks,
                "remedy_cpu_seconds": float(np.mean([values["remedy_cpu_seconds"] for values in found])),
                "training_cpu_seconds": float(np.mean([values["training_cpu_seconds"] for values in found])),
            }
        )
    return rows


def _band(dealt: Any, chance: float) -> dict[str, float]:
    """What attackers reach on random labels, float [dealings, attackers]: 95 in 100 lie within."""
    low, high = np.quantile(dealt, [0.025, 0.975])
    furthest = np.quantile(np.abs(dealt - chance).max(1), 0.95)
    return {"low": float(low), "high": float(high), "furthest": float(furthest), "dealings": len(dealt)}


def markdown(table: Mapping[str, Any]) -> str:
    """The table of a grid, with the published figures beside ours."""
    lines = [f"# {table['name']}", "", f"{table['cells']} cells done, {table['missing']} missing.", ""]
    if table["kind"] == "in_ucds":
        lines += _fairness_table(table)
    else:
        lines += _unlearning_table(table)
    lines += [f"{name} could not be computed: {message}." for name, message in table["failed"].items()]
    return "\n".join(lines) + "\n"


def _fairness_table(table: Mapping[str, Any]) -> list[str]:
    lines = []
    protocols = {"": "whole catalogue ranked", "sampled_": "one of 100 candidates, as published"}
    for start, told in protocols.items():
        lines += [f"## {told}", ""]
        lines += ["| backbone | method | seeds | NDCG@10 | adv | dis | M_UOF (95 %) | F1@10 | M_UOF(F1) | CPU s |"]
        lines += ["|" + " --- |" * 10]
        for row in table["rows"]:
            if f"{start}ndcg" not in row:
                continue
            ndcg, score = row[f"{start}ndcg"], row[f"{start}f1"]
            apart = ndcg["m_uof"]
            lines.append(
                f"| {row['backbone']} | {row['method']} | {row['seeds']} | {ndcg['value']:.4f} | "
                f"{ndcg['advantaged']:.4f} | {ndcg['disadvantaged']:.4f} | {apart['value']:.4f} "
                f"[{apart['low']:.4f}, {apart['high']:.4f}] | {score['value']:.4f} | {score['m_uof']['value']:.4f} | "
                f"{row['cpu_seconds']:.0f} |"
            )
        if start:
            for other in table["published"]:
                lines.append(
                    f"| *{other['backbone']}* | *{other['method']}* ({other['source']}) | 1 | {other['ndcg']:.4f} | "
                    f"{other['advantaged']:.4f} | {other['disadvantaged']:.4f} | {other['m_uof']:.4f} | "
                    f"{other['f1']:.4f} | {other['m_uof_f1']:.4f} | – |"
                )
        lines.append("")
    for row in table["rows"]:
        if "solver" in row:
            proven = sum(one["status"] == "optimal" for one in row["solver"])
            short = max((one["bound"] - one["value"]) / max(abs(one["bound"]), 1e-12) for one in row["solver"])
            lines.append(
                f"{row['method']} on {row['backbone']}: the best choice in {proven} of {len(row['solver'])} cells"
                + ("." if proven == len(row["solver"]) else f", elsewhere within {short:.1e} of it when time was up.")
            )
    return [*lines, "", *_paired_table(table)]


def _paired_table(table: Mapping[str, Any]) -> list[str]:
    lines = ["## differences, whole catalogue ranked, same people and seeds (95 %)", ""]
    lines += ["| backbone | method | less | NDCG@10 | M_UOF |", "|" + " --- |" * 5]
    for row in table["rows"]:
        for other, found in row["against"].items():
            if not found or (other != "original" and row["method"] != "in-ucds"):
                continue
            told = [
                f"{one['value']:+.4f} [{one['low']:+.4f}, {one['high']:+.4f}]{_certain(one)}"
                for one in (found["ndcg"], found["m_uof"])
            ]
            lines.append(f"| {row['backbone']} | {row['method']} | {other} | {told[0]} | {told[1]} |")
    return [*lines, "", "A star: the interval does not hold zero."]


def _certain(difference: Mapping[str, float]) -> str:
    return " *" if difference["low"] > 0 or difference["high"] < 0 else ""


def _unlearning_table(table: Mapping[str, Any]) -> list[str]:
    lines = [
        "Strongest of five attackers, its balanced accuracy on each representation (mean over seeds; for two classes",
        "the larger of it and 1 minus it), and in brackets which; chance is 1 over the number of classes. Furthest:",
        "largest distance from chance of any attacker on any representation (not the lists), of its mean over seeds",
        "and of any single seed.",
        "",
        "| backbone | attribute | method | seeds | NDCG@10 | HR@10 | vectors | furthest | of any seed | lists | CPU s |"
        " trained in |",
        "|" + " --- |" * 12,
    ]
    for row in table["rows"]:
        told = {}
        for source, attacks in row["attacks"].items():
            fixed = {name: max(a, 1 - a) if row["chance"] == 0.5 else a for name, a in attacks.items()}
            best = max(fixed, key=lambda name: fixed[name])
            told[source] = f"{fixed[best]:.3f} ({best})"
        vectors = "; ".join(
            f"{source.removeprefix('stored vectors ')} {text}" for source, text in told.items() if source != LISTS
        )
        lines.append(
            f"| {row['backbone']} | {row['attribute']} | {row['method']} | {row['seeds']} | {row['ndcg@10']:.4f} | "
            f"{row['hr@10']:.4f} | {vectors} | {row['furthest']:.3f} | {row['furthest_of_a_seed']:.3f} | "
            f"{told[LISTS]} | {row['remedy_cpu_seconds']:.1f} | {row['training_cpu_seconds']:.0f} |"
        )
    lines.append("")
    for row in (row for row in table["rows"] if row["by_chance"]):
        band = row["by_chance"]
        lines.append(
            f"On labels dealt out at random ({row['backbone']}, {row['attribute']}, {band['dealings']} dealings) 95 % "
            f"of accuracies lie in {band['low']:.3f} to {band['high']:.3f}, and the attacker furthest from chance is "
            f"within {band['furthest']:.3f} of it 95 times in 100."
        )
    return lines
