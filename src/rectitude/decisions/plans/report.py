"""Pages and cards of plans: a cohort at a glance, and one page for one person."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from rectitude.decisions.plans.conditions import spoken
from rectitude.decisions.plans.sentences import CAUTION, chance
from rectitude.reporting.card import Card, flat
from rectitude.reporting.charts import Axis, Chart, Dot, Trade, bars, dots_with_intervals, frontier, histogram, lines
from rectitude.reporting.numbers import number, percent
from rectitude.reporting.page import Page, chart, facts, folded, group, listing, noted, prose, table

if TYPE_CHECKING:
    from rectitude.decisions.plans.building import Person
    from rectitude.decisions.plans.prescriber import Prescriber

_MEASURES = {
    "accuracy": "Accuracy",
    "f1_good": "F1 of the good outcome",
    "f1_macro": "Macro-F1",
    "auc": "AUC",
    "log_loss": "Log-loss",
    "brier": "Brier score",
}
UNPROVEN = (
    "What happened to people after such advice was not observed. No number on this page proves that a plan helps; the "
    "judge only tells how much of a promise is the optimiser's own wishful thinking."
)


def cohort_page(
    prescriber: Prescriber, plans: Sequence[Mapping[str, Any]], links: Mapping[str, str] | None = None
) -> str:
    """``report.html``: how good the prediction is and, once there are plans, what they would change.

    Args:
        prescriber: What made them.
        plans: As :func:`rectitude.decisions.plans.cohort.plans` gives them; none yet right after fitting.
        links: Person to the address of their page.
    """
    good = prescriber.schema.target.words
    made = [plan for plan in plans if "error" not in plan]
    advised = [plan for plan in made if plan["plan"]]
    if made:
        lead = (
            f"For {len(made):,} people: {percent(len(advised) / len(made))} are advised to change something, "
            f"{percent(1 - len(advised) / len(made))} to change nothing. {UNPROVEN}"
        )
    else:
        lead = f"No plans have been made for a cohort yet: run 'rectitude plan report'. {UNPROVEN}"
    page = Page(f"Plans for {good}", lead, footer=f"Written by Rectitude {_version(prescriber)}. {CAUTION}")
    if made:
        page.section("What would change?", *_what(prescriber, made, advised), short="Changes")
        page.section("Does the gain hold up?", *_gains(made, advised), short="Gains")
        page.section("Who gets a plan?", *_groups(prescriber, made), short="Groups")
        page.section("What are people told?", *_people(made, links or {}), short="People")
    page.section("How good is the prediction?", *_prediction(prescriber), short="Prediction")
    page.section("What does the table mean?", *_meaning(prescriber), short="Schema")
    return page.html()


def _version(prescriber: Prescriber) -> str:
    return str(prescriber.config.get("versions", {}).get("rectitude", ""))


def _words(prescriber: Prescriber, name: str) -> str:
    return prescriber.schema.features[name].label or name


def _what(
    prescriber: Prescriber, made: Sequence[Mapping[str, Any]], advised: Sequence[Mapping[str, Any]]
) -> list[Markup]:
    sizes = Counter(len(plan["plan"]) for plan in made)
    labels = [f"{size} change{'' if size == 1 else 's'}" if size else "change nothing" for size in sorted(sizes)]
    shares = [100 * sizes[size] / len(made) for size in sorted(sizes)]
    common = max(sizes, key=lambda size: sizes[size])
    blocks = [
        chart(
            bars(
                f"Most often: {labels[sorted(sizes).index(common)]}",
                "Share of people by how much their plan changes.",
                labels,
                {"people": shares},
                Axis("share of people", "%"),
                of="Plan",
            )
        )
    ]
    counts = Counter(item["feature"] for plan in advised for item in plan["plan"])
    if counts:
        names = [name for name, _ in counts.most_common(12)]
        blocks.append(
            chart(
                bars(
                    f"{_words(prescriber, names[0]).capitalize()} is advised most often",
                    "Share of people whose plan changes it.",
                    [_words(prescriber, name) for name in names],
                    {"people": [100 * counts[name] / len(made) for name in names]},
                    Axis("share of people", "%"),
                    of="Habit",
                )
            )
        )
    failed = Counter(plan["status"] for plan in made)
    blocks.append(facts({f"Solved: {status}": count for status, count in failed.items()}))
    return blocks


def _gains(made: Sequence[Mapping[str, Any]], advised: Sequence[Mapping[str, Any]]) -> list[Markup]:
    if not advised:
        return [prose("Nobody is advised to change anything.")]
    own = np.array([plan["gain"] for plan in advised])
    judged = np.array([plan["judge_gain"] for plan in advised])
    share = float(judged.sum() / own.sum()) if own.sum() > 0 else 0.0
    harmful = float((judged < 0).mean())
    first = [plan["rejected"][0] if plan["rejected"] else plan for plan in made if plan["rejected"] or plan["plan"]]
    promised = sum(plan["gain"] for plan in first)
    before = sum(plan["judge_gain"] for plan in first) / promised if promised > 0 else 0.0
    refused = float(np.mean([bool(plan["rejected"]) for plan in made]))
    dots = [
        _mean_dot("promised by the model", own, chosen=False),
        _mean_dot("according to the judge", judged, chosen=True),
    ]
    figure = dots_with_intervals(
        f"{percent(share)} of the promised gain survives the independent judge",
        "Mean gain in log-odds over people who are advised something; rods are 95 % intervals over people.",
        dots, Axis("mean gain", "log-odds", better="higher"), of="Gain",
    )  # fmt: skip
    hist = histogram(
        f"Judged gains have a median of {number(float(np.median(judged)), 2)}",
        "Each person's gain by the judge.", judged.tolist(), Axis("judged gain", "log-odds"), of="people",
    )  # fmt: skip
    uncertain = [item["uncertain"] for plan in advised for item in plan["plan"]]
    return [
        chart(figure),
        chart(hist),
        facts({
            "People whose first plan the judge refused": percent(refused),
            "Judged gain of first plans, the refused among them": f"{percent(before)} of what the model promised",
            "Plans the judge holds for harmful": percent(harmful),
            "Items marked uncertain": percent(float(np.mean(uncertain))),
            "Mean probability now and after": f"{chance(_mean(advised, 'p0'))} and {chance(_mean(advised, 'p1'))} "
            f"by the model, {chance(_mean(advised, 'p0_judge'))} and {chance(_mean(advised, 'p1_judge'))} by the judge",
            "Mean effort": float(np.mean([plan["effort"] for plan in advised])),
        }),
    ]  # fmt: skip


def _mean(plans: Sequence[Mapping[str, Any]], key: str) -> float:
    return float(np.mean([plan[key] for plan in plans]))


def _mean_dot(label: str, values: np.ndarray, *, chosen: bool) -> Dot:
    mean = float(values.mean())
    if len(values) < 2:
        return Dot(label, mean, chosen=chosen)
    half = 1.96 * float(values.std(ddof=1)) / np.sqrt(len(values))
    if half < 1e-9:  # all alike: an interval of no width would say that this is certain
        return Dot(label, mean, chosen=chosen)
    return Dot(label, mean, mean - half, mean + half, chosen)


def _groups(prescriber: Prescriber, made: Sequence[Mapping[str, Any]]) -> list[Markup]:
    """Plans by what cannot change: availability should not hang on it."""
    rows = []
    people = {name: index for index, name in enumerate(prescriber.ids())}
    for name, feature in prescriber.schema.used().items():
        if feature.mutable or feature.kind not in ("binary", "nominal", "ordinal") or len(feature.levels) > 8:
            continue
        column = prescriber.people[name]
        for level in feature.levels:
            group_ = [
                plan for plan in made
                if plan["id"] in people and spoken(column[people[plan["id"]]]) == spoken(level)
            ]  # fmt: skip
            if len(group_) < 20:
                continue
            advised = [plan for plan in group_ if plan["plan"]]
            gain = (
                noted(f"{_mean(advised, 'gain'):.2f}", f"judged {_mean(advised, 'judge_gain'):.2f}")
                if advised
                else None
            )
            share = noted(percent(len(advised) / len(group_)), f"of {len(group_):,} people")
            rows.append((f"{feature.label or name}: {spoken(level)}", share, gain))
    if not rows:
        return [prose("No group of 20 people or more can be told apart.")]
    heads = ("Group", "With a plan", "Mean gain")
    return [prose("By what a plan cannot change. Gains in log-odds."), table("Plans by group", heads, rows[:40])]


def _people(made: Sequence[Mapping[str, Any]], links: Mapping[str, str]) -> list[Markup]:
    rows = []
    for plan in made[:50]:
        said = " ".join(item["sentence"] for item in plan["plan"]) or f"{plan['verdict']}."
        name: Any = plan["id"]
        if name in links:
            name = Markup('<a href="{}">{}</a>').format(links[name], name)
        rows.append((_with_chances(name, plan), said))
    heads = ("Person", "Plan")
    return [table(f"The first {len(rows)} people", heads, rows)]


def _with_chances(name: str, plan: Mapping[str, Any]) -> Markup:
    """A person with the chance now and after by the model, and below it by the judge; one of each without a plan."""

    def words(before: float, after: float) -> str:
        if not plan["plan"]:
            return chance(before)
        gap = "\N{NO-BREAK SPACE}"
        return f"{chance(before).removesuffix(gap + '%')}{gap}→{gap}{chance(after)}"

    written = Markup('{}<br /><span class="muted">{}<br />judge {}</span>')
    return written.format(name, words(plan["p0"], plan["p1"]), words(plan["p0_judge"], plan["p1_judge"]))


def _prediction(prescriber: Prescriber) -> list[Markup]:
    metrics = prescriber.metrics
    nested = metrics.get("nested_cv") or []
    rows = []
    for key, title in _MEASURES.items():
        crossed = np.array([row[key] for row in nested])
        mean, spread = (float(crossed.mean()), float(crossed.std(ddof=1))) if len(crossed) > 1 else (None, 0.0)
        across = None if mean is None else Dot(title, mean, mean - spread, mean + spread)
        rows.append((title, across, metrics["test"][key], metrics["test_majority"][key]))
    blocks = [
        prose(
            "By nested cross-validation, with one standard deviation over its folds, and on test people; beside them "
            "what always saying the commoner outcome would reach."
        ),
        table("Prediction of the outcome", ("Measure", "Nested CV", "Test", "Commoner"), rows),
    ]
    curve = metrics.get("calibration") or []
    if len(curve) > 1:
        found = [(row["predicted"], row["found"]) for row in curve]
        even = [(0.0, 0.0), (1.0, 1.0)]
        off = float(np.mean([abs(x - y) for x, y in found]))
        blocks.append(
            chart(
                lines(
                    f"Predicted chances are off by {number(off, 2)} on average",
                    "Test people in groups of equal size: predicted chance and the share that had the good outcome.",
                    {"found": found, "perfect": even},
                    Axis("predicted chance"),
                    Axis("share found"),
                )
            )
        )
    people = metrics["people"]
    blocks.append(facts({
        "Planner": f"{prescriber.config['model']}, {people['planner']:,} people",
        "Judge": f"{prescriber.config['judge']}, {people['judge']:,} other people",
        "Test": f"{people['test']:,} people neither has seen",
        "The judge on them": ", ".join(
            f"{_MEASURES[key]} {metrics['test_judge'][key]:.3f}" for key in ("accuracy", "auc", "log_loss")
        ),
        "Share with the good outcome": percent(metrics["good_share"]),
    }))  # fmt: skip
    return blocks


def _meaning(prescriber: Prescriber) -> list[Markup]:
    rows = []
    for name, feature in prescriber.schema.mutable().items():
        levels = ", ".join(spoken(level) for level in feature.levels) or "the model's own"
        ways = {"both": "up or down"}.get(feature.direction, feature.direction)
        agreed = f", {feature.better} is agreed to help" if feature.better else ""
        rows.append((noted(feature.label or name, f"{ways}{agreed}"), levels, feature.resistance))
    forbidden = [f"{name}: {feature.why}" for name, feature in prescriber.schema.features.items() if feature.why]
    blocks = [table("What may change", ("Habit", "Levels", "Resistance"), rows)]
    rules = [str(rule) for rule in prescriber.schema.rules]
    if rules:
        blocks.append(group("Rules", listing(rules)))
    if forbidden:
        blocks.append(folded("Columns no model may see", listing(forbidden)))
    blocks.append(folded("Settings", facts(flat({"policy": prescriber.config["policy"]}))))
    return blocks


def person_page(prescriber: Prescriber, name: str, person: Person, plan: Mapping[str, Any]) -> str:
    """The page of one person.

    Args:
        prescriber: What made the plan.
        name: Of the person.
        person: Their answers.
        plan: As JSON, with frontier.
    """
    good = prescriber.schema.target.words
    page = Page(f"Plan for person {name}", plan["verdict"] + ".", footer=plan["caution"])
    page.section("What would change?", *_items(prescriber, plan), short="Changes")
    page.section("How sure is it?", *certainty(plan, good), short="Certainty")
    if plan["frontier"]:
        page.section("Is more worth it?", chart(frontier_chart(plan, good)), short="Frontier")
    if plan["alternatives"]:
        rows = [
            (
                " ".join(other["plan"]),
                noted(chance(other["p1"]), f"effort {other['effort']:.2f}"),
                noted(f"{other['gain']:.2f}", f"judged {other['judge_gain']:.2f}"),
            )
            for other in plan["alternatives"]
        ]
        heads = ("Instead", "Chance after", "Gain")
        page.section("What else could be done?", table("Other plans, with other habits", heads, rows), short="Instead")
    page.section("Why this prediction?", *weighing(prescriber, person), short="Answers")
    return page.html()


def _items(prescriber: Prescriber, plan: Mapping[str, Any]) -> list[Markup]:
    if not plan["plan"]:
        blocks = [prose(plan["verdict"] + ".")]
        return blocks + ([listing(plan["reasons"])] if plan["reasons"] else [])
    rows = []
    for item in plan["plan"]:
        ends = item["gain_interval"]
        verdict = "uncertain" if item["uncertain"] else "holds up"
        again = "" if item["chosen"] is None else f": chosen again in {percent(item['chosen'])} of shaken problems"
        adds = f"{item['gain']:.2f}"
        rows.append((
            noted(item["sentence"], f"{verdict}{again}"), f"{item['effort']:.2f}",
            noted(adds, f"{ends[0]:.2f} to {ends[1]:.2f}") if ends else adds,
        ))  # fmt: skip
    heads = ("Change", "Effort", "Adds (log-odds)")
    notes = [listing(plan["notes"])] if plan["notes"] else []
    return [table("The plan", heads, rows), *notes]


def certainty(plan: Mapping[str, Any], good: str) -> list[Markup]:
    """How sure a person's plan is: chances by model and judge, and whether the plan is proven to be the best."""
    low, high = (None, None) if plan["p1_interval"] is None else (100 * end for end in plan["p1_interval"])
    dots = [
        Dot("now", 100 * plan["p0"]),
        Dot("after, by the model", 100 * plan["p1"], low, high, chosen=True),
        Dot("now, by the judge", 100 * plan["p0_judge"]),
        Dot("after, by the judge", 100 * plan["p1_judge"]),
    ]
    title = f"The model says {chance(plan['p1'])}, the independent judge {chance(plan['p1_judge'])}"
    figure = dots_with_intervals(
        title, f"Chance of {good}; the rod is the 5th to 95th percentile of refits on resampled people.", dots,
        Axis("chance", "%", better="higher"), of="State",
    )  # fmt: skip
    solved = (
        plan["status"] if plan["gap"] in (None, 0.0) else f"{plan['status']}, at most {plan['gap']:.3f} from the best"
    )
    known: dict[str, Any] = {"Solved": solved}
    if plan["similarity"] is not None:
        known["Likeness of plans when people and weights are shaken a little"] = percent(plan["similarity"])
    return [chart(figure), facts(known), prose(UNPROVEN)]


def frontier_chart(plan: Mapping[str, Any], good: str) -> Chart:
    """The non-dominated plans of a person; the knee is ringed."""
    points = [
        Trade(
            f"{point['changes']} change{'' if point['changes'] == 1 else 's'}" if point["changes"] else "nothing",
            point["effort"], 100 * point["p1"], chosen=point["knee"],
        )
        for point in plan["frontier"]
    ]  # fmt: skip
    last, knee = points[-1], next((point for point in points if point.chosen), points[-1])
    title = f"{knee.label.capitalize()}: a chance of {knee.y:.0f} %; the most in reach is {last.y:.0f} %"
    if len(points) == 1:
        title = "No change brings a gain"
    return frontier(
        title, f"Chance of {good} against effort, each point the best for its number of changes; the knee is ringed.",
        points, Axis("effort", better="lower"), Axis("chance", "%", better="higher"), of="Plan",
    )  # fmt: skip


def weighing(prescriber: Prescriber, person: Person) -> list[Markup]:
    """What each answer of a person adds to the prediction."""
    values = prescriber.attributions(person)
    order = sorted(values, key=lambda name: -abs(values[name]))[:12]
    rows = [
        (noted(_words(prescriber, name), "may change" if prescriber.schema.used()[name].mutable else "fixed"),
         spoken(person[name]), values[name])
        for name in order
    ]  # fmt: skip
    heads = ("Question", "Answer", "Adds (log-odds)")
    text = (
        "What each answer adds to the prediction, against people of the table. It is what the model leans on, no cause."
    )
    return [prose(text), table("The answers that weigh most", heads, rows)]


def card(prescriber: Prescriber) -> str:
    """The model card, in Markdown."""
    metrics, config = prescriber.metrics, prescriber.config
    name = shlex.quote(str(prescriber.path or "RUN"))
    nested = metrics.get("nested_cv") or []
    crossed = {f"nested CV {key}": float(np.mean([row[key] for row in nested])) for key in _MEASURES} if nested else {}
    return Card(
        title=f"Plans for {prescriber.schema.target.words}",
        summary=f"A classifier ({config['model']}), an independent judge ({config['judge']}) and an optimiser that "
        f"looks for the smallest change worth making. {UNPROVEN}",
        about={
            "model": config["model"],
            "judge": config["judge"],
            "method": "arXiv 2603.16937 (reconstructed), 1705.10883",
        },
        data={**config["data"], "good outcomes": percent(metrics["good_share"]), **metrics["people"]},
        training={"seed": config["seed"], **crossed},
        config=config["settings"],
        protocol={"test": {key: f"{value:.4f}" for key, value in metrics["test"].items()}},
        serves=["Anybody who answers the questions; what is not answered is assumed to be as usual, and said."],
        limits=[CAUTION, *config["notes"]],
        usage=(
            ("Plan for a person of the table", f"rectitude plan for {name} --row ID"),
            ("Plan for a cohort", f"rectitude plan report {name}"),
        ),
        lineage={"table": config["data"]["table"]},
        versions=config.get("versions", {}),
    ).markdown()
