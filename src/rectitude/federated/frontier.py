"""Accuracy against fairness: the same data, several methods, several tolerances, several seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats

from rectitude.core.errors import ConfigError
from rectitude.federated.clients import Federation
from rectitude.federated.contracts import (
    Criterion,
    Evaluation,
    FairConfig,
    FederationError,
    Floats,
    InfeasibleError,
)
from rectitude.federated.metrics import accuracy, gap
from rectitude.federated.plan import Plan, Stage
from rectitude.federated.registry import METHODS, find
from rectitude.federated.run import in_process, new_run_id

TOLERANCES = (0.0, 0.01, 0.02, 0.05, 0.1)
"""Both tolerances of the frontier's points, for methods that take them."""
_RESAMPLES = 400
_LEVEL = 0.95
_TOLERANCES = ("global_tolerance", "local_tolerance")
_CANNOT = (InfeasibleError, ConfigError, FederationError)
_Key = tuple[str, str, str]  # purpose, method, label


@dataclass(frozen=True)
class Figures:
    """What a classifier does on one part, each with a 95 % interval.

    Args:
        method: Name of the method.
        label: Which of its settings this is, e.g. ``"0.02"`` or ``"global only"``.
        accuracy: Part of the rows whose class is right, with its ends.
        global_gap: Gap over the union of all clients, with its ends.
        local_gaps: Each client's gap; NaN where undefined.
        seeds: Over how many seeds these are means.
        by_chance: Mean and ends of what sampling of these rows alone would make of the largest local gap of a decision
            that is fair; NaN where that was not asked.
    """

    method: str
    label: str
    accuracy: tuple[float, float, float]
    global_gap: tuple[float, float, float]
    local_gaps: tuple[float, ...]
    seeds: int = 1
    by_chance: tuple[float, float, float] = (math.nan, math.nan, math.nan)

    @property
    def local_gap_max(self) -> float:
        """Largest local gap; NaN where no client has one."""
        known = [value for value in self.local_gaps if math.isfinite(value)]
        return max(known) if known else math.nan

    @property
    def local_gap_mean(self) -> float:
        """Mean local gap over the clients that have one."""
        known = [value for value in self.local_gaps if math.isfinite(value)]
        return sum(known) / len(known) if known else math.nan

    def json(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "method": self.method,
            "label": self.label,
            "accuracy": self.accuracy[0],
            "accuracy_interval": list(self.accuracy[1:]),
            "global_gap": self.global_gap[0],
            "global_gap_interval": list(self.global_gap[1:]),
            "local_gap_max": self.local_gap_max,
            "local_gap_mean": self.local_gap_mean,
            "local_gaps": list(self.local_gaps),
            "local_gap_max_by_chance": self.by_chance[0],
            "local_gap_max_by_chance_interval": list(self.by_chance[1:]),
            "seeds": self.seeds,
        }


def figures(method: str, label: str, seen: Evaluation, criterion: Criterion) -> Figures:
    """Figures of one evaluation, with intervals from resampling the decisions.

    Rows of each group and true class are kept as many as they are; their decisions are drawn again from what was
    decided about them (a parametric bootstrap of counts: rows themselves never leave the clients).

    Args:
        method: Its name.
        label: Which of its settings.
        seen: What was measured.
        criterion: Of the gap.
    """
    cells = seen.cells
    rng = np.random.default_rng(0)
    totals = cells.sum(-1)
    shares = cells / np.maximum(totals, 1)[..., None]
    shares[totals == 0, 0] = 1.0
    drawn = rng.multinomial(totals, shares, size=(_RESAMPLES, *totals.shape))
    right = np.trace(drawn, axis1=-2, axis2=-1).sum(-1) / max(1, int(totals.sum()))
    return Figures(
        method,
        label,
        _ends(accuracy(cells), right),
        _ends(float(gap(cells, criterion)), gap(drawn, criterion)),
        tuple(float(value) for value in seen.local),
        by_chance=largest_by_chance(seen.by_chance),
    )


def largest_by_chance(each: Floats) -> tuple[float, float, float]:
    """Mean, 5th and 95th percentile of the largest of the clients' gaps by chance, which are independent, from [N, R].

    NaN where no client has a gap.
    """
    known = each[np.isfinite(each).all(axis=1)]
    if not len(known):
        return math.nan, math.nan, math.nan
    largest = known.max(axis=0)
    return float(largest.mean()), float(np.quantile(largest, 0.05)), float(np.quantile(largest, 0.95))


def _ends(value: float, drawn: Any) -> tuple[float, float, float]:
    known = np.asarray(drawn)[np.isfinite(drawn)]
    if not len(known) or not math.isfinite(value):
        return value, value, value
    low, high = np.quantile(known, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return value, min(value, float(low)), max(value, float(high))


def mean_over_seeds(found: Sequence[Figures]) -> Figures:
    """One point from those of several seeds: means, with t intervals over the seeds from three of them on.

    The ends over two seeds are the two: their t interval is thirteen standard errors to each side.
    """
    if len(found) == 1:
        return found[0]

    def pooled(values: list[float]) -> tuple[float, float, float]:
        mean, spread = float(np.mean(values)), float(np.std(values, ddof=1))
        if len(values) == 2:
            return mean, min(values), max(values)
        half = float(stats.t.ppf((1 + _LEVEL) / 2, len(values) - 1)) * spread / math.sqrt(len(values))
        return mean, max(mean - half, 0.0), min(mean + half, 1.0)  # both accuracies and gaps are shares

    first = found[0]
    local = (float(np.mean([point.local_gap_max for point in found])),)  # clients differ from seed to seed
    return Figures(
        first.method,
        first.label,
        pooled([point.accuracy[0] for point in found]),
        pooled([point.global_gap[0] for point in found]),
        local,
        len(found),
        tuple(np.mean([point.by_chance for point in found], axis=0).tolist()),
    )


def rivals(against: str, method: str) -> list[str]:
    """Names of the methods that ``--against`` asks for, without the method itself.

    Args:
        against: ``none``, ``all``, ``post`` (methods that decide on the same base model) or names with commas.
        method: The run's own.

    Raises:
        ConfigError: A name is unknown.
    """
    if against == "none":
        return []
    if against in ("all", "post"):
        names = [name for name in METHODS if against == "all" or find(name).stage == "post"]
    else:
        names = [name.strip() for name in against.split(",") if name.strip()]
        for name in names:
            find(name)
    return [name for name in dict.fromkeys(names) if name not in (method, "fedavg")]


@dataclass(frozen=True)
class Comparison:
    """Everything a frontier is drawn from.

    Args:
        base: FedAvg without any constraint.
        prices: The run's method with no, one, the other and both tolerances.
        methods: Name to points in order of tolerance.
        failed: Sentences on points that could not be had.
    """

    base: Figures
    prices: tuple[Figures, ...]
    methods: Mapping[str, tuple[Figures, ...]]
    failed: tuple[str, ...] = ()

    def json(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "base": self.base.json(),
            "prices": [point.json() for point in self.prices],
            "methods": {name: [point.json() for point in points] for name, points in self.methods.items()},
            "failed": list(self.failed),
        }


def compare(
    federations: Callable[[int], Federation],
    seeds: Sequence[int],
    main: Stage,
    base: Stage,
    criterion: Criterion,
    names: Sequence[str],
    *,
    tolerances: Sequence[float] = TOLERANCES,
    watch: Callable[[str], None] | None = None,
) -> Comparison:
    """Run methods side by side in this process, on the same clients and the same base model, over several seeds.

    Args:
        federations: Seed to clients.
        seeds: Seeds, of partition, cuts and training alike.
        main: The run's own stage.
        base: The base model's stage.
        criterion: Of the gaps.
        names: Other methods, with their default settings.
        tolerances: Both tolerances of the points of methods that take them.
        watch: Told what is computed next.

    Raises:
        FederationError: A federation came to nothing.
    """
    wanted = _wanted(main, criterion, names, tolerances)
    found: dict[_Key, list[Figures]] = {}
    failed: list[str] = []
    for seed in seeds:
        if watch is not None:
            watch(f"frontier, seed {seed}")
        for key, figure in _one_seed(federations(seed), replace(base, label=""), wanted, criterion, failed).items():
            found.setdefault(key, []).append(figure)
    points = {key: mean_over_seeds(several) for key, several in found.items()}
    methods: dict[str, tuple[Figures, ...]] = {}
    for (purpose, name, _), point in points.items():
        if purpose == "frontier":
            methods[name] = (*methods.get(name, ()), point)
    prices = tuple(point for (purpose, _, _), point in points.items() if purpose == "price")
    return Comparison(points["base", base.method, ""], prices, methods, tuple(dict.fromkeys(failed)))


def _wanted(
    main: Stage, criterion: Criterion, names: Sequence[str], tolerances: Sequence[float]
) -> list[tuple[_Key, Stage]]:
    """What is to be run: purpose, method and label of each point, and its stage."""
    wanted: list[tuple[_Key, Stage]] = []

    def want(purpose: str, name: str, label: str, settings: Mapping[str, Any]) -> None:
        base = 0 if find(name).stage == "post" else None
        wanted.append(((purpose, name, label), Stage(name, settings, base, label)))

    bounds = {key: main.settings[key] for key in _TOLERANCES if main.settings.get(key) is not None}
    if len(bounds) == len(_TOLERANCES):
        want("price", main.method, "global only", {**main.settings, "local_tolerance": None})
        want("price", main.method, "local only", {**main.settings, "global_tolerance": None})
    if bounds:
        want("price", main.method, "both", main.settings)
    for name in (main.method, *names):
        own = main.settings if name == main.method else {}
        kind = find(name)
        if not issubclass(kind.Config, FairConfig):
            want("frontier", name, "", own)
        elif kind.stage == "training":  # each point is a training of its own
            want("frontier", name, "", own or {**bounds, "criterion": criterion})
        else:
            for tolerance in tolerances:
                both = dict.fromkeys(_TOLERANCES, tolerance)
                want("frontier", name, f"{tolerance:g}", {**own, **both, "criterion": criterion})
    return wanted


def _one_seed(
    federation: Federation,
    base: Stage,
    wanted: Sequence[tuple[_Key, Stage]],
    criterion: Criterion,
    failed: list[str],
) -> dict[_Key, Figures]:
    """Every point of one seed. Methods on the base model share it; one that cannot be had is said and left out."""
    first: tuple[_Key, Stage] = ("base", base.method, ""), base
    post = [entry for entry in wanted if entry[1].base is not None]
    try:
        found = _figures(federation, [first, *post], criterion)
    except _CANNOT:
        found = _figures(federation, [first], criterion)
        for entry in post:
            found |= _attempt(federation, [first, entry], criterion, failed)
    for entry in wanted:
        if entry[1].base is None:
            found |= _attempt(federation, [entry], criterion, failed)
    return found


def _attempt(
    federation: Federation, entries: Sequence[tuple[_Key, Stage]], criterion: Criterion, failed: list[str]
) -> dict[_Key, Figures]:
    """The last entry's point, or none and a sentence why."""
    key, stage = entries[-1]
    try:
        return {key: _figures(federation, entries, criterion)[key]}
    except _CANNOT as error:
        words = " ".join(part for part in (find(stage.method).title, stage.label) if part)
        failed.append(f"{words}: {error.what}")
        return {}


def _figures(
    federation: Federation, entries: Sequence[tuple[_Key, Stage]], criterion: Criterion
) -> dict[_Key, Figures]:
    """Run stages as one plan and measure each."""
    progress = in_process(_plan(federation, [stage for _, stage in entries], criterion), federation.clients).progress
    found = {}
    for number, (key, stage) in enumerate(entries):
        measured = progress.evaluation(number, "test")
        found[key] = figures(stage.method, stage.label, measured, criterion)
    return found


def _plan(federation: Federation, stages: Sequence[Stage], criterion: Criterion) -> Plan:
    return Plan(
        new_run_id(),
        federation.problem,
        tuple(stages),
        criterion,
        secure=False,  # sums are the same, and nobody listens
        min_clients=federation.problem.n_clients,
    )
