"""An audit as lines that open: what was found in plain words, whether it needs attention, and what would change it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from rectitude.audit.checks.finding import Finding
from rectitude.audit.checks.registry import CHECKS
from rectitude.fairness.metrics import GroupMean
from rectitude.reporting.numbers import interval_ends, number, percent
from rectitude.service.pages.environment import words_of
from rectitude.service.pages.readings import RunReading
from rectitude.service.rights.remedy import Remedy

QUESTIONS = {
    "accuracy-gap": "Are some groups served worse?",
    "m-uof": "Are the less active served worse?",
    "worst-group": "Does any one group stand out?",
    "calibration": "Do lists keep people's own mix?",
    "popularity-bias": "Does it push what is popular?",
    "tail-accuracy": "Are people who choose rare things served?",
    "exposure": "Do rare things get shown?",
    "attribute-leakage": "Can private facts be guessed?",
    "membership-leakage": "Can it be told what people did?",
}


@dataclass(frozen=True)
class Cure:
    """What would mend a finding.

    Attributes:
        remedy: What is done.
        attribute: By which people were found to be told apart.
        command: That does the same on the command line.
    """

    remedy: Remedy
    attribute: str
    command: str


@dataclass(frozen=True)
class Line:
    """What a check found, once for all attributes it found the same by.

    Attributes:
        findings: As the audit wrote them.
        attention: Does it need attention?
        says: What was found, in plain words.
        figures: The numbers behind it, with the measure's name.
        cure: None where no remedy is known.
    """

    findings: Sequence[Finding]
    attention: bool
    says: str
    figures: str
    cure: Cure | None

    @property
    def by(self) -> str:
        """What people or items were grouped by."""
        names = dict.fromkeys(words_of(finding.attribute) for finding in self.findings if finding.attribute)
        return " and ".join([", ".join([*names][:-1]), [*names][-1]]) if len(names) > 1 else next(iter(names), "")


@dataclass(frozen=True)
class Check:
    """A check with its findings.

    Attributes:
        name: On the command line.
        question: That it answers.
        lines: Those that need attention first.
    """

    name: str
    question: str
    lines: Sequence[Line]

    @property
    def attention(self) -> bool:
        """Does any of its findings need attention?"""
        return any(line.attention for line in self.lines)


def checks_of(reading: RunReading) -> list[Check]:
    """The checks that were made, those that need attention first."""
    made = []
    for name in [*CHECKS, *sorted({finding.check for finding in reading.findings} - set(CHECKS))]:
        alike: dict[tuple[bool, str], list[Finding]] = {}
        for finding in reading.findings:
            if finding.check == name:
                alike.setdefault(judged(finding), []).append(finding)
        lines = [_line(findings, *said, reading) for said, findings in alike.items()]
        if lines:
            made.append(Check(name, QUESTIONS.get(name, name), sorted(lines, key=lambda line: not line.attention)))
    return sorted(made, key=lambda check: not check.attention)


def _line(findings: list[Finding], attention: bool, says: str, reading: RunReading) -> Line:
    return Line(findings, attention, says, _figures(findings), _cure(findings[0], reading) if attention else None)


def _cure(finding: Finding, reading: RunReading) -> Cure | None:
    """What stored vectors tell can be unlearnt; the less active can be served as well by training again."""
    words: list[str] = []
    remedy: Remedy = "unlearn"
    if finding.check == "attribute-leakage" and "stored vectors" in finding.metric and finding.attribute:
        words = ["unlearn", "attribute", str(reading.path), "--attribute", finding.attribute]
    elif finding.check in ("accuracy-gap", "m-uof") and finding.attribute == "activity":
        remedy, new = "in-ucds", f"{reading.path}-in-ucds"
        words = ["fit", reading.dataset, "--model", reading.config["model"], "--method", "in-ucds", "--out", new]
    return Cure(remedy, finding.attribute or "", shlex.join(["rectitude", *words])) if words else None


def judged(finding: Finding) -> tuple[bool, str]:
    """Whether a finding needs attention, and what it says, in plain words."""
    tell = _TELL.get(finding.check)
    return (False, finding.title) if tell is None else tell(finding)


def _by(finding: Finding) -> str:
    return words_of(finding.attribute or "")


def _ends(finding: Finding) -> tuple[GroupMean, GroupMean]:
    order = sorted(finding.groups, key=lambda group: group.value)
    return order[0], order[-1]


def _gap(finding: Finding) -> tuple[bool, str]:
    sure = finding.low is not None and finding.low > 0
    if not (finding.floor is not None and finding.value > finding.floor and sure):
        return False, "Nobody is served worse than chance would explain"
    worst, best = _ends(finding)
    less = percent(1 - worst.value / best.value)
    return True, f"{_large(_people(worst, finding))} are served {less} worse than {_people(best, finding)}"


def _people(group: GroupMean, finding: Finding) -> str:
    """A group of people as one would say it."""
    known = _GROUPS.get((finding.attribute or "", group.label))
    return known or f"people of {_by(finding)} {group.label}"


def _large(words: str) -> str:
    return words[:1].upper() + words[1:]


def _worst(finding: Finding) -> tuple[bool, str]:
    if finding.floor is not None and finding.value < finding.floor:
        return True, f"One group is served worse than all others: {_ends(finding)[0].label}"
    return False, "No group is served worse than chance would explain"


def _calibration(finding: Finding) -> tuple[bool, str]:
    far = finding.low is not None and finding.floor is not None and finding.low > finding.floor
    return far, f"Lists {'stray from' if far else 'keep'} people's own mix of {_over(finding)}"


def _over(finding: Finding) -> str:
    return finding.metric.rpartition(" of ")[2]


def _popularity(finding: Finding) -> tuple[bool, str]:
    if finding.low is not None and finding.low > 0:
        return True, f"What is shown is {percent(finding.value)} more popular than what people chose"
    return False, "What is shown is no more popular than what people chose"


def _tail(finding: Finding) -> tuple[bool, str]:
    rare, usual = _ends(finding)
    if finding.low is not None and finding.low > 0:
        return True, f"Rare choices are found in {percent(rare.value)} of cases, popular ones in {percent(usual.value)}"
    return False, "Rare choices are found as often as popular ones"


def _exposure(finding: Finding) -> tuple[bool, str]:
    if finding.floor is None:
        return False, finding.title
    said = (
        f"Rare things are {percent(finding.value)} of what is shown and {percent(finding.floor)} of what people chose"
    )
    return finding.high is not None and finding.high < finding.floor, said


def _leak(finding: Finding) -> tuple[bool, str]:
    where = finding.metric.rpartition(" from ")[2]
    where = {"stored vectors (users)": "what is stored of people", "recommended lists": "the lists people see"}.get(
        where, where
    )
    leaks = finding.floor is not None and finding.value > finding.floor
    said = f"{_large(_by(finding))} {'can' if leaks else 'cannot'} be guessed from {where}"
    return leaks, f"{said}: right for {round(100 * finding.value)} of 100" if leaks else said


def _membership(finding: Finding) -> tuple[bool, str]:
    floor = finding.floor if finding.floor is not None else 0.5
    leaks = finding.low is not None and finding.low > floor
    if not leaks:
        return False, "Scores do not tell what people did"
    return True, f"Scores tell what people did: {round(100 * finding.value)} of 100 guesses are right"


_GROUPS = {
    ("activity", "advantaged"): "the most active people",
    ("activity", "disadvantaged"): "the less active people",
    ("gender", "F"): "women",
    ("gender", "M"): "men",
}
_TELL = {
    "accuracy-gap": _gap,
    "m-uof": _gap,
    "worst-group": _worst,
    "calibration": _calibration,
    "popularity-bias": _popularity,
    "tail-accuracy": _tail,
    "exposure": _exposure,
    "attribute-leakage": _leak,
    "membership-leakage": _membership,
}


def _figures(findings: Sequence[Finding]) -> str:
    return "; ".join(dict.fromkeys(_figure(finding, alone=len(findings) == 1) for finding in findings))


def _figure(finding: Finding, *, alone: bool) -> str:
    places = 3 if abs(finding.value) < 1 else 2
    said = f"{finding.metric} {number(finding.value, places)}"
    ends = interval_ends(finding, places)
    if ends and alone:
        said += f" {ends}"
    if finding.floor is not None and (alone or finding.floor):
        said += f", {finding.floor_name} {number(finding.floor, places)}"
    return said
