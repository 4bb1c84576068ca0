"""``audit``: the checks of a run, written into its folder, its report and its model card."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rectitude.audit.checks.context import AuditContext
from rectitude.audit.checks.finding import Finding
from rectitude.audit.checks.registry import check_names, run_checks
from rectitude.core.errors import ConfigError
from rectitude.data.columns import USER_ID
from rectitude.data.dataset import Dataset
from rectitude.data.groups import ACTIVITY, Groups, activity_groups, attribute_groups, default_key
from rectitude.evaluation.store import read_evaluation
from rectitude.runs.folder import FINDINGS
from rectitude.training.run import Run
from rectitude.workflow.judging import NOTHING_TO_ASK, FoldName, evaluation_file, explain, fold_of, judge

K = 10


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        findings: In the order of the checks.
        impossible: A sentence for every check that could not be made.
        protocol: Stamp of the evaluation the findings are of.
    """

    findings: Sequence[Finding]
    impossible: Sequence[str]
    protocol: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """``{"findings": […], "impossible": […], "protocol": {…}}``, content of ``findings.json``."""
        return {
            "findings": [finding.to_dict() for finding in self.findings],
            "impossible": list(self.impossible),
            "protocol": self.protocol,
        }


def audit(
    run: Run | str | Path,
    *,
    attributes: Sequence[str] = (),
    checks: Sequence[str] | None = None,
    fold: FoldName = "valid",
    share: float = 0.05,
    data: str | Path | Dataset | None = None,
    seed: int = 0,
    announce: Callable[[str], None] | None = None,
) -> Audit:
    """Check a run and write the findings into its folder, report and model card.

    Args:
        run: A run or its folder.
        attributes: Columns of the users table to group people by, ``NAME`` or ``NAME:EDGE:EDGE`` for numbers.
        checks: Which; all if None.
        fold: ``valid``, so that remedies may be chosen by what is found; ``test`` breaks the seal.
        share: Of the people that are called advantaged.
        data: Where the data is now, if it has moved.
        seed: Of resamplings, draws and attackers.
        announce: Told what was left out, and each check as it begins.

    Raises:
        ConfigError: A check or attribute is unknown, or the fold has no question.
        DataError: An attribute makes no groups.
        RunError: The run or its data cannot be read.
    """
    run = run if isinstance(run, Run) else Run.load(run)
    names = check_names(checks)
    if fold not in ("valid", "test"):
        raise ConfigError(f"There is no fold '{fold}'", fix="Use valid or test")
    dataset = run.dataset(data)
    divided = run.split(dataset)
    groups: dict[str, Groups] = {ACTIVITY: activity_groups(divided, share=share, key=default_key(divided))}
    for wanted in attributes:
        found = attribute_groups(dataset.users, wanted)
        groups[found.attribute] = found
    tell = announce or (lambda _: None)
    for note in (note for found in groups.values() for note in found.notes):
        tell(note)
    if not attributes and (known := [name for name in dataset.users.columns if name != USER_ID]):
        tell(f"No attribute was named; the data have {', '.join(known)}")

    file = evaluation_file(run, fold)
    evaluation = read_evaluation(file) if file.exists() else None
    if evaluation is None or K not in evaluation.protocol["k"]:
        evaluation = judge(run, dataset, divided, fold, seed=seed)
    if evaluation is None:
        raise ConfigError(NOTHING_TO_ASK, fix="Use --fold test")
    asked = fold_of(divided, fold)
    context = AuditContext(run.model, dataset, divided, asked, evaluation, groups, K, seed)
    findings, impossible = run_checks(context, names, lambda name: tell(f"Checking {name}"))
    made = Audit(findings, impossible, evaluation.protocol)
    run.folder.write_json(FINDINGS, made.to_dict())
    explain(run, dataset, divided, fold, evaluation)
    return made
