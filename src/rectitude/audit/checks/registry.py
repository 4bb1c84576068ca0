"""The checks by name, and all of them made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from rectitude.audit.checks.accuracy import accuracy_gap, user_oriented_unfairness, worst_group
from rectitude.audit.checks.context import AuditContext, NotPossibleError
from rectitude.audit.checks.finding import Finding
from rectitude.audit.checks.leakage import attribute_leakage, membership_leakage
from rectitude.audit.checks.lists import calibration, exposure, popularity_bias, tail_accuracy
from rectitude.core.errors import ConfigError, did_you_mean

CHECKS: dict[str, Callable[[AuditContext], Iterator[Finding]]] = {
    "accuracy-gap": accuracy_gap,
    "m-uof": user_oriented_unfairness,
    "worst-group": worst_group,
    "calibration": calibration,
    "popularity-bias": popularity_bias,
    "tail-accuracy": tail_accuracy,
    "exposure": exposure,
    "attribute-leakage": attribute_leakage,
    "membership-leakage": membership_leakage,
}


def check_names(wanted: Iterable[str] | None) -> list[str]:
    """The wanted checks, all of them if None.

    Raises:
        ConfigError: One is unknown.
    """
    if wanted is None:
        return list(CHECKS)
    names = list(wanted)
    for name in names:
        if name not in CHECKS:
            raise ConfigError(f"Unknown check '{name}'", where="--checks", fix=did_you_mean(name, CHECKS))
    return names


def run_checks(
    audit: AuditContext, names: Sequence[str], announce: Callable[[str], None] | None = None
) -> tuple[list[Finding], list[str]]:
    """Make the checks.

    Args:
        audit: The run under audit.
        names: Of the checks.
        announce: Told when a check begins.

    Returns:
        The findings, and a sentence for every check that could not be made.
    """
    findings: list[Finding] = []
    impossible: list[str] = []
    for name in names:
        if announce is not None:
            announce(name)
        try:
            findings += CHECKS[name](audit)
        except NotPossibleError as error:
            impossible.append(f"{name}: {error}")
    return findings, impossible
