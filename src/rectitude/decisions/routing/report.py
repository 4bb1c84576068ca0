"""A decision, and an audit, as pages for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from rectitude.core.about import __version__
from rectitude.decisions.routing.priors import Lift
from rectitude.decisions.routing.router import Decision
from rectitude.reporting.charts import Axis, Cell, Dot, Trade, bars, dots_with_intervals, frontier
from rectitude.reporting.page import Page, chart, facts, folded, listing, prose, table

_MARKS = {"yes": "✓ yes", "no": "✗ no", "unknown": "? unknown"}
_SHOWN = 10


@dataclass(frozen=True)
class _Interval:
    value: float
    low: float | None
    high: float | None


def decision_report(decision: Decision) -> str:
    """A decision as one self-contained HTML file."""
    problem = decision.problem
    lead = {
        "feasible": f"{decision.chosen} answers best what was wished for.",
        "infeasible": "No model meets every hard wish. What could be given up is below.",
        "contradictory": "The wishes contradict each other, so no model could meet them.",
    }[decision.status]
    page = Page(
        "Which model should answer?",
        lead,
        footer=f"Written by Rectitude {__version__}; catalogue {problem.catalogue.hash}.",
    )
    page.section("What was wished for?", *_wishes(decision), short="Wishes")
    page.section("Which models meet it?", *_ranking(decision), short="Models")
    page.section("What does each wish cost?", *_costs(decision), short="Reasons")
    page.section("How was this decided?", *_stamp(decision), short="Protocol")
    return page.html()


def _wishes(decision: Decision) -> list[Markup]:
    problem, parsed = decision.problem, decision.parsed
    rows = [
        (
            clause.id, str(clause), clause.kind,
            None if clause.kind == "hard" else problem.points(weight),
            clause.origin, _said(decision, clause.span),
        )
        for clause, weight in zip(problem.clauses, problem.weights, strict=True)
    ]  # fmt: skip
    blocks = [prose(f"“{decision.feedback}”")] if decision.feedback else []
    blocks.append(table("Wishes, as they were understood", ("", "Wish", "Kind", "Weight", "From", "Said as"), rows))
    if parsed and parsed.unparsed:
        blocks += [prose("Not understood:"), listing([decision.feedback[a:b] for a, b in parsed.unparsed])]
    if parsed and parsed.suspicious:
        blocks += [
            prose("Not read, because it addresses the rules:"),
            listing([decision.feedback[a:b] for a, b in parsed.suspicious]),
        ]
    return blocks


def _said(decision: Decision, span: tuple[int, int] | None) -> str:
    return "–" if span is None or not decision.feedback else decision.feedback[span[0] : span[1]]


def _ranking(decision: Decision) -> list[Markup]:
    problem = decision.problem
    shown = decision.ranking[:_SHOWN]
    feasible = int(problem.feasible.sum())
    heads = ("Model", "Value", "Regret", "Breaks")
    rows: list[tuple[Cell, ...]] = [(r.model, r.value, r.regret, ", ".join(r.violates) or "nothing") for r in shown]
    blocks = [prose(f"{feasible} of {len(problem.catalogue):,} models meet every hard wish.")]
    if problem.total and any(r.value for r in shown):
        title = f"{shown[0].model} meets {shown[0].value:g} of {problem.points(problem.total):g}"
        dots = [Dot(r.model, r.value, chosen=r.model == decision.chosen) for r in shown]
        description = "Weight of the soft wishes each model meets; a wish of strength 1 weighs 1."
        blocks.append(chart(dots_with_intervals(title, description, dots, Axis("value", better="higher"), of="Model")))
    wishes = [clause for clause in problem.clauses if clause.origin != "default"]
    verdicts = [(r.model, *(_MARKS[r.verdicts[clause.id]] for clause in wishes)) for r in shown]
    blocks.append(table("The best models", heads, rows))
    blocks.append(folded("Every wish of every model", table("Verdicts", ("Model", *(c.id for c in wishes)), verdicts)))
    return blocks


def _costs(decision: Decision) -> list[Markup]:
    told = decision.explanation
    lines = [entry["says"] for entry in told["price_of_hard"]]
    lines += [f"Possible {entry['says']}" for entry in told.get("correction_sets", ())]
    lines += [f"Question: {question}" for question in told["questions"]]
    lines += told["notes"]
    if "why_not" in told:
        lines.append(told["why_not"]["says"])
    return (
        [listing(lines)]
        if lines
        else [prose("No hard wish costs anything: without each, the same model would be chosen.")]
    )


def _stamp(decision: Decision) -> list[Markup]:
    problem = decision.problem
    known: dict[str, Cell] = {
        "models": len(problem.catalogue), "source": problem.catalogue.source, "as of": problem.catalogue.as_of,
        "catalogue": problem.catalogue.hash, "prompt tokens": problem.request.tokens_in,
        "answer tokens": problem.request.tokens_out, "needs": ", ".join(sorted(problem.request.needs)) or "–",
        "unknown cells, hard": problem.policy.unknown_hard, "unknown cells, soft": problem.policy.unknown_soft,
        "near-feasible up to a regret of": problem.policy.delta, "solver": decision.solver,
    }  # fmt: skip
    return [facts(known)]


_TITLES = {
    "hard_precision": "no hard violation", "coverage": "feasible models found", "near_feasible": "near-feasible",
    "relaxed_near": "near-feasible, one violation allowed", "above_random": "random sets beaten",
    "maximiser": "beats 95 % of random sets",
}  # fmt: skip


def audit_report(name: str, audited: Mapping[str, Any]) -> str:
    """An audit of a recommender as one self-contained HTML file."""
    summary = audited["summary"]
    precision, regret = summary["hard_precision"], summary["regret"]
    lead = (
        f"{precision['value']:.0%} of the models it names break no hard wish; their mean regret is "
        f"{regret['value']:.3f} "
        f"over {audited['recommendations']} feedbacks."
    )
    page = Page(f"Does {name} obey what is wished for?", lead, footer=f"Written by Rectitude {__version__}.")
    dots = [
        Dot(title, found["value"], found["low"], found["high"])
        for key, title in _TITLES.items()
        if (found := summary[key])["n"]
    ]
    title = f"{precision['value']:.0%} without a hard violation"
    description = "Means over feedbacks; rods are 95 % bootstrap intervals."
    page.section(
        "How well?", chart(dots_with_intervals(title, description, dots, Axis("share", better="higher"), of="Measure"))
    )
    rows: list[tuple[Cell, ...]] = [
        (
            case["feedback"] or "–",
            ", ".join(case["models"]) or "–",
            case["hard_precision"],
            case["coverage"],
            case["regret"],
        )
        for case in audited["cases"]
    ]
    heads = ("Feedback", "Named", "No violation", "Coverage", "Regret")
    page.section("Case by case", table("Each feedback", heads, rows), short="Cases")
    page.section(
        "How was this measured?",
        facts({"catalogue": audited["catalogue"], "near-feasible up to": audited["delta"]}),
        short="Protocol",
    )
    return page.html()


def priors_report(name: str, found: Sequence[Lift]) -> str:
    """Lifts of a recommender without feedback as one self-contained HTML file."""
    sure = [lift for lift in found if lift.q <= 0.05]
    lead = f"{len(sure)} of {len(found)} values are favoured or avoided beyond chance (false discovery rate 5 %)."
    page = Page(
        f"What does {name} favour when nothing is wished for?", lead, footer=f"Written by Rectitude {__version__}."
    )
    shown = list(found[:_SHOWN])
    shares = {"of recommendations": [100 * x.recommended for x in shown], "of models": [100 * x.present for x in shown]}
    description = "Share of recommendations and share of the catalogue that have each value, where it is known."
    figure = bars(lead, description, [lift.says for lift in shown], shares, Axis("share", "%"), of="Value")
    page.section("What is favoured?", chart(figure), short="Favoured")
    rows = [(x.says, x.recommended, x.present, x.lift, x.p, x.q, x.models) for x in found]
    heads = ("Value", "Recommended", "Present", "Lift (log-odds)", "p", "q", "Models")
    page.section("Every value", table("Lifts with permutation tests", heads, rows), short="Values")
    return page.html()


def trade_chart(title: str, points: Sequence[tuple[str, float, float, bool]]) -> Any:
    """Cost against accuracy of ways to route, for documents."""
    trades = [Trade(label, x, y, chosen=chosen) for label, x, y, chosen in sorted(points, key=lambda p: p[1])]
    axes = Axis("cost", "USD", better="lower"), Axis("accuracy", "%", better="higher")
    return frontier(title, "Each way of choosing models.", trades, *axes, of="Way")
