"""``report.html`` of a recommender run: one file that somebody who did not train it can read."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from rectitude.audit.checks.finding import Finding
from rectitude.audit.findings import (
    Example,
    ReportInput,
    Shown,
    accuracy_finding,
    activity_finding,
    curve_points,
    headline,
    metric_meaning,
    metric_title,
    metric_words,
    popularity_finding,
    serves,
    verdict,
)
from rectitude.audit.remedies import remedied
from rectitude.fairness.metrics import GroupMean
from rectitude.reporting.card import flat, plain
from rectitude.reporting.charts import Axis, Cell, Chart, Dot, bars, dots_with_intervals, lines, small_multiples
from rectitude.reporting.numbers import number, percent
from rectitude.reporting.page import Page, chart, columns, facts, folded, group, listing, noted, prose, table

__all__ = ["Example", "ReportInput", "Shown", "recommender_report"]


def recommender_report(run: ReportInput) -> str:
    """The report of a recommender run as one self-contained HTML file.

    Parts for which there are no numbers say so; nothing is left out silently.
    """
    page = Page(
        f"{run.model_title} on {run.dataset.get('name', 'its data')}",
        verdict(run),
        footer=f"Written by Rectitude {run.versions.get('rectitude', '')} from the run '{run.name}'.",
    )
    page.section("How good are the recommendations?", *_accuracy(run), short="Accuracy")
    page.section("Whom does it serve worse?", *_activity(run), short="By activity")
    page.section("Does it show more than what is popular?", *_popularity(run), short="Popularity")
    page.section("Is it fair, and what does it tell of people?", *_audit(run), short="Audit")
    if run.remedy:
        page.section("What did the remedy change?", *remedied(run.remedy), short="Remedy")
    if run.shares:
        page.section("What does it go by?", *_shares(run), short="Parts")
    page.section("What would it show to real people?", *_examples(run), short="Examples")
    page.section("How did it learn?", *_training(run), short="Training")
    page.section("How was this measured?", *_measured(run), short="Protocol")
    page.section("What must be known besides?", *_notes(run), short="Notes")
    return page.html()


def _accuracy(run: ReportInput) -> list[Markup]:
    if not run.summary:
        return [prose(f"This run has not been judged yet. Run 'rectitude evaluate {run.name}' and look again.")]
    blocks = []
    key = headline(run.summary, "ndcg")
    if key is not None:
        blocks.append(chart(_models_chart(run, key)))
    length = (key or next(iter(run.summary))).partition("@")[2]
    here = [name for name in run.summary if name.partition("@")[2] == length]
    others = [name for name in run.summary if name not in here]
    blocks.append(_accuracy_table(run, f"Lists of {length}, with 95 % intervals", here))
    meanings = {metric_title(name): meaning for name in here if (meaning := metric_meaning(name, run.item_noun))}
    blocks.append(folded("What these measures mean", facts(meanings)))
    if others:
        blocks.append(folded("Other lengths", _accuracy_table(run, "Other lengths, with 95 % intervals", others)))
    return blocks


def _accuracy_table(run: ReportInput, caption: str, metrics: Sequence[str]) -> Markup:
    rows: list[tuple[Cell, ...]] = [
        (
            noted(metric_words(name), metric_title(name)),
            *(summary.get(name) for summary in (run.summary, *run.baselines.values())),
        )
        for name in metrics
    ]
    return table(caption, ("Measure", run.model_title, *run.baselines), rows, by_row=True)


def _models_chart(run: ReportInput, key: str) -> Chart:
    own = run.summary[key]
    rivals = {name: summary[key] for name, summary in run.baselines.items() if key in summary}
    dots = [Dot(run.model_title, own.value, own.low, own.high, chosen=True)]
    dots += [Dot(name, found.value, found.low, found.high) for name, found in rivals.items()]
    finding = accuracy_finding(run.model_title, key, own, rivals)
    description = f"Mean {metric_title(key)} over the people of the {run.fold} fold; rods are 95 % intervals."
    axis = Axis(metric_title(key), better="higher")
    return dots_with_intervals(finding, description, sorted(dots, key=lambda dot: -dot.value), axis, of="Model")


def _dots(groups: Sequence[GroupMean], *, own: bool) -> list[Dot]:
    return [Dot(f"{group.label} ({group.n:,})", group.value, group.low, group.high, own) for group in groups]


def _activity(run: ReportInput) -> list[Markup]:
    panels = {name: groups for name, groups in run.activity.items() if groups}
    if not panels:
        return [prose("Accuracy by how active people are was not computed for this run.")]
    own = next(iter(panels.values()))
    title = activity_finding(run.activity_metric, own)
    description = (
        f"Mean by how many {run.item_noun}s are known of a person, with how many people in brackets; "
        "rods are 95 % intervals."
    )
    axis = Axis(metric_title(run.activity_metric), better="higher")
    if len(panels) == 1:
        return [chart(dots_with_intervals(title, description, _dots(own, own=False), axis, of="History length"))]
    dots = {name: _dots(groups, own=False) for name, groups in panels.items()}
    return [chart(small_multiples(title, description, dots, axis, of="History length"))]


def _popularity(run: ReportInput) -> list[Markup]:
    if not run.popularity:
        return [prose("The popularity of what is recommended was not computed for this run.")]
    series = {
        "of what is recommended": [100 * group.recommended for group in run.popularity],
        "of what people chose": [100 * group.interactions for group in run.popularity],
    }
    labels = [f"{group.label} ({group.n_items:,})" for group in run.popularity]
    description = (
        f"Every {run.item_noun} of the catalogue is in one group, by how many people chose it in training; "
        "in brackets, how many the group holds."
    )
    figure = bars(popularity_finding(run.popularity), description, labels, series, Axis("share", "%"), of="Group")
    return [chart(figure)]


def _audit(run: ReportInput) -> list[Markup]:
    if not run.findings:
        return [prose(f"This run has not been audited yet. Run 'rectitude audit {run.name}' and look again.")]
    rows = [(noted(finding.title, _about(finding)), finding, finding.floor) for finding in run.findings]
    blocks = [
        table("What was checked, with 95 % intervals", ("Finding", "Value", "Chance"), rows),
        prose("The group figures behind each finding, and what would change it:"),
    ]
    blocks += [
        folded(f"{_about(finding)} – {finding.title}", chart(finding.figure()), prose(finding.verdict, *finding.notes))
        for finding in run.findings
    ]
    return blocks


def _about(finding: Finding) -> str:
    """Which check, and by which attribute."""
    return f"{finding.check}, by {finding.attribute}" if finding.attribute else finding.check


def _shares(run: ReportInput) -> list[Markup]:
    spread = {name: sorted(values) for name, values in run.shares.items()}
    n_people = len(next(iter(spread.values())))

    def at(values: list[float], share: float) -> float:
        return values[min(len(values) - 1, int(share * len(values)))]

    dots = [Dot(name, at(values, 0.5), at(values, 0.1), at(values, 0.9)) for name, values in spread.items()]
    largest = max(dots, key=lambda dot: dot.value)
    widest = max(dots, key=lambda dot: (dot.high or 0.0) - (dot.low or 0.0))
    title = (
        f"'{largest.label}' counts most, {percent(largest.value)} for the median person; "
        f"people differ most in '{widest.label}'"
    )
    description = f"Weight of each part for {n_people:,} people: median, and the middle 80 % of them as rods."
    return [chart(dots_with_intervals(title, description, dots, Axis("weight"), of="Part"))]


def _examples(run: ReportInput) -> list[Markup]:
    if not run.examples:
        return [prose("No examples were kept.")]
    hits = sum(any(line.held_out for line in example.shown) for example in run.examples)
    intro = (
        f"{len(run.examples)} people of the {run.fold} fold. What they really went on to choose is marked where it was "
        f"shown: for {hits} of these {len(run.examples)}."
    )
    return [prose(intro), *(_example(example) for example in run.examples)]


def _example(example: Example) -> Markup:
    history = [prose("Chose last, newest first:"), listing(example.history)]
    shown = [
        prose("Would be shown:"),
        listing(
            [
                (line.title, "chosen next" if line.held_out else "")
                for line in sorted(example.shown, key=lambda line: line.rank)
            ],
            ordered=True,
        ),
    ]
    if not any(line.held_out for line in example.shown) and example.held_out:
        shown.append(prose(f"Went on to choose: {'; '.join(example.held_out)}. Not shown."))
    left = Markup("").join(history) if example.history else prose("No history is known.")
    return group(f"Person {example.user}", columns(left, Markup("").join(shown)))


def _training(run: ReportInput) -> list[Markup]:
    known: dict[str, Cell] = {name.replace("_", " "): value for name, value in run.training.items()}
    blocks = [facts(known)] if known else []
    figures = []
    quality, loss = curve_points(run, "valid_metric"), curve_points(run, "loss")
    epochs = Axis("epoch", whole=True)
    if quality:
        best = max(quality, key=lambda point: point[1])
        name = metric_title(run.valid_metric)
        figures.append(
            lines(
                f"Best after epoch {best[0]:.0f}: {name} {number(best[1])} on the validation fold",
                "After each epoch; the best one is ringed.",
                {name: quality},
                epochs,
                Axis(name, better="higher"),
                chosen=best,
            )
        )
    if loss:
        figures.append(
            lines(
                f"The training loss went from {number(loss[0][1])} to {number(loss[-1][1])}",
                "Mean loss of each epoch.",
                {"loss": loss},
                epochs,
                Axis("training loss", better="lower"),
            )
        )
    if not figures:
        return [prose("This model is solved in one go: there is no learning curve."), *blocks]
    return [columns(*(chart(figure) for figure in figures)), *blocks]


def _measured(run: ReportInput) -> list[Markup]:
    blocks = []
    if run.protocol:
        blocks.append(prose("Numbers may be compared only with numbers that carry the same stamp."))
        blocks.append(group("Protocol", facts(flat(run.protocol))))
    else:
        blocks.append(prose("No protocol is recorded: do not compare these numbers with others."))
    blocks.append(group("Data", facts(flat(run.dataset))))
    settings = [(name, plain(entry["value"]), str(entry["origin"])) for name, entry in run.config.items()]
    if settings:
        blocks.append(table("Settings", ("Setting", "Value", "Set by"), settings))
    return blocks


def _notes(run: ReportInput) -> list[Markup]:
    blocks = [group("Whom it can answer for", listing(serves(run)))]
    if run.fallback_share:
        said = f"{percent(run.fallback_share)} of the people judged were answered by popularity, not by the model."
        blocks.append(prose(said))
    if run.notes:
        blocks.append(group("Notes", listing(run.notes)))
    if run.lineage:
        blocks.append(group("Where it came from", facts(flat(run.lineage))))
    blocks.append(group("Method and software", facts({"method": run.paper, **flat(run.versions)})))
    return blocks
