"""``README.md`` of a recommender run: the model card, written from the same facts as the report."""

from __future__ import annotations

import shlex

from rectitude.audit.findings import ReportInput, serves, verdict
from rectitude.reporting.card import Card
from rectitude.reporting.numbers import number, percent, with_interval


def recommender_card(run: ReportInput) -> str:
    """The model card of a recommender run, in Markdown."""
    name = shlex.quote(run.name)
    card = Card(
        title=f"{run.model_title} on {run.dataset.get('name', 'its data')}",
        summary=f"A recommender trained by Rectitude. {verdict(run)}",
        about={"model": run.model, "method": run.paper},
        data=run.dataset,
        training=run.training,
        config=run.config,
        metrics=run.summary,
        protocol=run.protocol,
        serves=[*serves(run), *_served(run)],
        limits=[*_limits(run), *_remedied(run), *_found(run)],
        usage=(
            ("Recommend to a person of the data", f"rectitude recommend {name} --user ID"),
            ("Recommend from a history", f"rectitude recommend {name} --history ID,ID,ID"),
            ("Judge it again", f"rectitude evaluate {name} --fold {run.fold}"),
            ("Check whom it serves worse and what it tells", f"rectitude audit {name}"),
            ("Write every list to a file", f"rectitude export {name} --out lists.parquet"),
        ),
        lineage=run.lineage,
        versions=run.versions,
    )
    return card.markdown()


def _served(run: ReportInput) -> list[str]:
    """How well, by activity, for this run's own groups."""
    own = next(iter(run.activity.values()), ())
    return [
        f"{run.activity_metric} for the {group.n:,} people with {group.label} in their history: {with_interval(group)}."
        for group in own
    ]


def _remedied(run: ReportInput) -> list[str]:
    """What a remedy was for and what it changed; nothing for a run as it was trained."""
    if not run.remedy:
        return []
    changes = [
        f"{row['figure']} {number(row['before']['value'])} before and {number(row['after']['value'])} after"
        for row in run.remedy["rows"]
    ]
    return [
        f"Its stored vectors were edited after training: {run.remedy['remedy']} of "
        f"{', '.join(run.remedy['attributes'])}. On the {run.remedy['fold']}ation fold: {'; '.join(changes)}."
    ]


def _found(run: ReportInput) -> list[str]:
    """What the audit found, a sentence each; that there was none, where there was none."""
    if not run.findings:
        return ["It has not been audited: whom it serves worse and what it tells of people was not checked."]
    titles = dict.fromkeys(finding.title for finding in run.findings)
    return [f"Audit: {title}." for title in titles]


def _limits(run: ReportInput) -> list[str]:
    limits = [
        "Judged on what people chose from what they were once shown; whether they would have liked something else "
        "is not known.",
        *run.notes,
    ]
    if run.fallback_share:
        limits.insert(0, f"Popularity, not the model, answered for {percent(run.fallback_share)} of the people judged.")
    return limits
