"""``report.html`` and model card of a federation: what fairness cost, whom it reached, what was sent."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from rectitude.evaluation.intervals import Interval
from rectitude.federated.contracts import FairConfig
from rectitude.federated.frontier import Comparison, Figures
from rectitude.federated.party import EVALUATION
from rectitude.federated.plan import Plan
from rectitude.federated.registry import BASES, find
from rectitude.reporting.card import Card, flat, plain
from rectitude.reporting.charts import Axis, Dot, Trade, dots_with_intervals, lines, small_multiples
from rectitude.reporting.numbers import number
from rectitude.reporting.page import Page, chart, facts, folded, group, listing, prose, table
from rectitude.reporting.tradeoffs import tradeoffs

if TYPE_CHECKING:
    from rectitude.federated.app import Progress

CRITERION = {
    "dp": "demographic parity",
    "eop": "equal opportunity",
    "eo": "equalised odds",
    "eo_full": "equalised odds of every pair of classes",
}
"""Criteria in words."""
_MEANING = {
    "dp": "how often each class is predicted, whatever the truth",
    "eop": "how often each class is recognised where it is the truth",
    "eo": "how often each class is recognised where it is the truth, and how often it is wrongly given",
    "eo_full": "how often each class is given where each class is the truth",
}
_MANY = 60  # clients that a chart can name


@dataclass(frozen=True)
class ReportInput:
    """What the report is written from.

    Args:
        name: Of the run.
        plan: What was done.
        progress: Evaluations, traffic, notes.
        judged: Test figures of each stage.
        summary: The run in figures.
        comparison: Points of the frontier, None if none were asked for.
        config: Content of ``config.json``.
        data: Name of the data.
        versions: Package to version.
        seeds: Seeds of the frontier.
    """

    name: str
    plan: Plan
    progress: Progress
    judged: Sequence[Figures]
    summary: Mapping[str, Any]
    comparison: Comparison | None
    config: Mapping[str, Any]
    data: str
    versions: Mapping[str, str]
    seeds: int

    @property
    def title(self) -> str:
        """Of the method."""
        return self.plan.methods[-1].title


def federation_report(run: ReportInput) -> str:
    """The report as one self-contained HTML file."""
    page = Page(
        f"{run.title} on {run.data}",
        verdict(run),
        footer=f"Written by Rectitude {run.versions.get('rectitude', '')} from the run '{run.name}'.",
    )
    page.section("What does fairness cost?", *_price(run), short="Price")
    page.section("How do accuracy and fairness trade?", *_frontier(run), short="Frontier")
    page.section("How large is the gap at each client?", *_clients(run), short="Clients")
    page.section("What left the clients?", *_messages(run), short="Messages")
    page.section("What did it cost to compute?", *_cost(run), short="Cost")
    page.section("How was this measured?", *_measured(run), short="Protocol")
    page.section("What must be known besides?", *_notes(run), short="Notes")
    return page.html()


def federation_card(run: ReportInput) -> str:
    """The model card, in Markdown."""
    method = run.plan.methods[-1]
    name = shlex.quote(run.name)
    last = run.judged[-1]
    needs = "needs the sensitive attribute of each row" if method.uses_attribute else "does not need the attribute"
    return Card(
        title=f"{run.title} on {run.data}",
        summary=f"A classifier made by a federation of {run.plan.problem.n_clients} clients. {verdict(run)}",
        about={"method": method.name, "paper": method.paper, "deciding": needs},
        data=run.config["data"],
        training={"rounds": run.summary["rounds"], "seconds": run.summary["seconds"], "engine": run.summary["engine"]},
        config=run.config["settings"],
        metrics={
            "accuracy": Interval(*last.accuracy),
            "global gap": Interval(*last.global_gap),
            "largest local gap": Interval(last.local_gap_max),
            "mean local gap": Interval(last.local_gap_mean),
        },
        protocol=_protocol(run),
        serves=[f"People of the groups {', '.join(run.plan.problem.groups)}, by '{run.config['attribute']}'."],
        limits=limits(run),
        usage=(("Decide about the rows of a table", f"rectitude classify {name} ROWS.csv --out decisions.csv"),),
        lineage={"made by": "rectitude federate"},
        versions=run.versions,
    ).markdown()


def verdict(run: ReportInput) -> str:
    """What the reader must take away."""
    last = run.judged[-1]
    gap = f"{number(last.global_gap[0], 3)} over all clients and at most {number(last.local_gap_max, 3)} at one of them"
    text = (
        f"On the test rows of {run.plan.problem.n_clients} clients it decides {number(100 * last.accuracy[0], 1)} % "
        f"rightly; its gap in {CRITERION[run.plan.criterion]} is {gap}."
    )
    base = _base(run)
    if base is not None:
        before = f"{number(base.global_gap[0], 3)} and {number(base.local_gap_max, 3)}"
        lost = 100 * (base.accuracy[0] - last.accuracy[0])
        change = f"{number(abs(lost), 1)} points of accuracy"
        if last.global_gap[0] < base.global_gap[0] and lost > 0:
            text += f" Without the constraint the gap was {before}; closing it cost {change}."
        else:
            text += (
                f" Without the constraint the gap was {before}, and it had {change} {'more' if lost > 0 else 'less'}."
            )
    return text


def _base(run: ReportInput) -> Figures | None:
    if len(run.judged) > 1:
        return run.judged[0]
    if run.comparison is not None and run.plan.stages[-1].method != "fedavg":
        return run.comparison.base
    return None


def _row(label: str, found: Figures) -> tuple[Any, ...]:
    return (
        label,
        Interval(*found.accuracy),
        Interval(*found.global_gap),
        found.local_gap_max,
        found.local_gap_mean,
    )


def _price(run: ReportInput) -> list[Markup]:
    rows = []
    base = _base(run)
    if base is not None:
        rows.append(_row(f"No tolerance ({find(base.method).title})", base))
    config = run.plan.methods[-1].config
    bounds = _tolerances(config) if isinstance(config, FairConfig) else ""
    prices = run.comparison.prices if run.comparison is not None and run.seeds == 1 else ()
    rows += [_row(f"{run.title}, {point.label}", point) for point in prices if point.label != "both"]
    rows.append(_row(f"{run.title}{f', {bounds}' if bounds else ''}", run.judged[-1]))
    heads = ("Classifier", "Accuracy", "Global gap", "Largest local gap", "Mean local gap")
    blocks = [table("On the test rows, with 95 % intervals", heads, rows)]
    blocks.append(prose(f"The gap in {CRITERION[run.plan.criterion]} compares, between groups, {_what(run)}."))
    if isinstance(config, FairConfig):
        blocks.append(
            prose(
                "Tolerances are kept on the rows the method calibrates on; on test rows the gap differs by sampling, "
                "at a client by about one over the square root of its smallest group."
            )
        )
    return blocks


def _what(run: ReportInput) -> str:
    return _MEANING[run.plan.criterion]


def _tolerances(config: FairConfig) -> str:
    local = config.local_tolerance
    parts = [f"global {config.global_tolerance:g}"] if config.global_tolerance is not None else []
    if isinstance(local, dict):
        parts.append("local by client")
    elif local is not None:
        parts.append(f"local {local:g}")
    return ", ".join(parts) or "no tolerance"


def _frontier(run: ReportInput) -> list[Markup]:
    if run.comparison is None:
        return [prose("Other methods and tolerances were not computed; '--against post' or '--against all' adds them.")]
    rods = {
        1: "are 95 % intervals from resampling the decisions on the test rows",
        2: "reach from one of two seeds to the other",
    }.get(run.seeds, f"are 95 % intervals over {run.seeds} seeds")
    described = (
        f"Each point is one classifier on the test rows; rods {rods}. Points of one method "
        "differ in their tolerance, the same for global and local, and are joined in its order; the ring is this run."
    )
    criterion = CRITERION[run.plan.criterion]
    figures = [
        tradeoffs(
            title,
            described,
            series,
            Axis(gap, better="lower"),
            Axis("accuracy", better="higher"),
            of="Method",
        )
        for title, gap, series in (
            (f"Accuracy against the gap in {criterion}", "global gap", _series(run, local=False)),
            ("Accuracy against the largest gap at a client", "largest local gap", _series(run, local=True)),
        )
        if series
    ]
    rows = [
        _row(find(n).title + (f" at {p.label}" if p.label else ""), p)
        for n, ps in run.comparison.methods.items()
        for p in ps
    ]
    heads = ("Classifier", "Accuracy", "Global gap", "Largest local gap", "Mean local gap")
    blocks = [*(chart(figure) for figure in figures), folded("All points", table("All points", heads, rows))]
    if run.comparison.failed:
        blocks += [prose("Not drawn:"), listing(run.comparison.failed)]
    return blocks


def _series(run: ReportInput, *, local: bool) -> dict[str, list[Trade]]:
    """Points of every method, and this run's own with its ring."""
    assert run.comparison is not None  # noqa: S101 -- asked by the caller
    own = run.plan.stages[-1].method
    base = run.comparison.base
    found = {} if own == base.method else {find(base.method).title: _trades([base], local=local)}
    found |= {find(name).title: _trades(points, local=local) for name, points in run.comparison.methods.items()}
    found |= {f"{run.title}, this run": _trades([run.judged[-1]], local=local, chosen=True)}
    return {name: points for name, points in found.items() if points}


def _trades(points: Sequence[Figures], *, local: bool, chosen: bool = False) -> list[Trade]:
    drawn = []
    for point in points:
        gap, ends = (point.local_gap_max, None) if local else (point.global_gap[0], point.global_gap[1:])
        if math.isfinite(gap) and math.isfinite(point.accuracy[0]):
            label = f"tolerance {point.label}" if point.label else ""
            drawn.append(Trade(label, gap, point.accuracy[0], ends, point.accuracy[1:], chosen))
    return drawn


def _clients(run: ReportInput) -> list[Markup]:
    names = run.plan.problem.clients
    last = run.judged[-1]
    known = [(name, gap) for name, gap in zip(names, last.local_gaps, strict=True) if math.isfinite(gap)]
    unknown = [name for name, gap in zip(names, last.local_gaps, strict=True) if not math.isfinite(gap)]
    blocks = []
    if known:
        worst = max(known, key=lambda entry: entry[1])
        title = f"The largest gap, {number(worst[1], 3)}, is at {worst[0]}"
        shown = sorted(known, key=lambda entry: -entry[1])[:_MANY]
        axis = Axis("local gap", better="lower")
        description = "Gap on each client's own test rows, largest first."
        dots = [Dot(name, gap) for name, gap in shown]
        if len(run.judged) > 1 and len(known) == len(names):
            before = dict(zip(names, run.judged[0].local_gaps, strict=True))
            if all(math.isfinite(before[name]) for name, _ in shown):
                panels = {"before": [Dot(name, before[name]) for name, _ in shown], "after": dots}
                blocks.append(chart(small_multiples(title, description, panels, axis, of="Client")))
        if not blocks:
            blocks.append(chart(dots_with_intervals(title, description, dots, axis, of="Client")))
    if math.isfinite(last.by_chance[0]):
        mean, low, high = (number(value, 3) for value in last.by_chance)
        blocks.append(
            prose(
                f"On so few test rows sampling alone makes gaps: were this decision fair at every client, the largest "
                f"of them would be {mean} on average, and {low} to {high} nine times out of ten."
            )
        )
    if unknown:
        blocks.append(prose(f"No gap is defined where fewer than two groups have rows for it: {', '.join(unknown)}."))
    return blocks


def _messages(run: ReportInput) -> list[Markup]:
    took_place = {(row.stage, row.kind) for row in run.progress.traffic}
    rows: list[tuple[str, ...]] = []
    for stage, method in enumerate(run.plan.methods):
        for wire in (*method.wire, EVALUATION):
            for declared in wire.up if (stage, wire.kind) in took_place else ():
                seen = "their sum over the clients (masked)" if declared.secure and run.plan.secure else "each client's"
                name = f"{method.title}, {wire.kind}: {declared.name}"
                rows.append((name, f"{declared.meaning} ({declared.shape})", seen))
    heads = ("Exchange and field", "What it is", "The server sees")
    blocks = [
        prose(
            f"Each client sent {run.summary['bytes_per_client']:,} bytes of numbers in all and received "
            f"{run.summary['bytes_received_per_client']:,}. This is everything it sent, beside its number, a public "
            "key and how long it computed; the app refuses to send a field that is not in this list."
        ),
        table("What a client sends", heads, rows),
    ]
    if "privacy" in run.summary:
        spent = run.summary["privacy"]
        blocks.append(
            prose(
                f"Noise on counts and duals: ε = {number(spent['epsilon'], 2)} at δ = {spent['delta']:g} for one row "
                f"more or less. It does not cover {', '.join(spent['not_covered'])} or the final evaluation."
            )
        )
    return blocks


def _cost(run: ReportInput) -> list[Markup]:
    rows = []
    for name, stage in run.summary["stages"].items():
        if not stage["exchanges"]:  # probabilities that were given
            continue
        rows.append(
            (
                find(name).title,
                stage["rounds"],
                stage["exchanges"],
                stage["bytes_up_per_exchange"],
                stage["bytes_down_per_exchange"],
                1000 * stage["client_cpu_per_exchange"],
                1000 * stage["server_cpu_per_exchange"],
            )
        )
    heads = ("Method", "Rounds", "Exchanges", "Bytes sent", "Bytes received", "Client CPU, ms", "Server CPU, ms")
    whose = "this process" if run.summary["engine"] == "in-process" else "server and clients without Flower's"
    blocks = [
        table("Per exchange and client: mean bytes, median CPU time", heads, rows),
        facts(
            {
                "wall time of the run, s": run.summary["seconds"],
                f"CPU time of {whose}, s": run.summary["cpu_seconds"],
                "engine": run.summary["engine"],
            }
        ),
    ]
    losses = {
        method.title: [(index + 1.0, value) for index, value in enumerate(notes.get("training_loss", []))]
        for method, notes in zip(
            run.plan.methods, (run.progress.notes.get(str(n), {}) for n in range(len(run.plan.methods))), strict=True
        )
    }
    losses = {name: points for name, points in losses.items() if points}
    if losses:
        first, last = (next(iter(losses.values()))[index][1] for index in (0, -1))
        title = f"The training loss went from {number(first, 3)} to {number(last, 3)}"
        axis = Axis("training loss", better="lower")
        blocks.append(
            chart(
                lines(
                    title,
                    "Mean over all training rows at the start of a round.",
                    losses,
                    Axis("round", whole=True),
                    axis,
                )
            )
        )
    return blocks


def _protocol(run: ReportInput) -> dict[str, Any]:
    data = run.config["data"]
    return {
        "fold": "test rows of every client, opened once",
        "criterion": f"{CRITERION[run.plan.criterion]}: largest difference between any two groups",
        "global gap": "rows of all clients together",
        "local gap": "rows of one client",
        "clients": data["clients"],
        "partition": data["partition"],
        "rows": ", ".join(f"{size:,} {part}" for part, size in data["rows"].items()),
        "label": data["label"],
        "attribute": data["attribute"],
        "seed": run.config["seed"],
    }


def _measured(run: ReportInput) -> list[Markup]:
    settings = {key: f"{plain(entry['value'])} ({entry['origin']})" for key, entry in run.config["settings"].items()}
    return [
        group("Protocol", facts(flat(_protocol(run)))),
        folded(f"Settings of {run.title}", facts(settings)),
        folded("Software", facts(run.versions)),
    ]


def limits(run: ReportInput) -> list[str]:
    """What the run does not show or cannot do."""
    method = run.plan.methods[-1]
    sentences = []
    if method.uses_attribute:
        sentences.append("It decides by group: the sensitive attribute must be known, and its use must be lawful.")
    if run.plan.secure:
        sentences.append(
            "Masks keep a client's counts and duals from a server that follows the protocol, not from one that forges "
            "keys or pretends that clients have left."
        )
    if any(stage.method in BASES for stage in run.plan.stages):
        sentences.append("The class probabilities were given with the table; how they were made was not looked at.")
    else:
        sentences.append(
            "Levels of text columns and the scale of numbers were taken from the training rows of all clients before "
            "the federation began; in a real one they have to be agreed on."
        )
    sentences.append("Gaps compare groups in this attribute only; other groups were not looked at.")
    return sentences


def _notes(run: ReportInput) -> list[Markup]:
    return [listing([*limits(run), *run.config["notes"]])]
