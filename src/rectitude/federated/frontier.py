"""Accuracy against fairness: the same data, several methods, several tolerances, several seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from rectitude.core.errors import ConfigError, RectitudeError
from rectitude.federated.clients import Federation
from rectitude.federated.contracts import Criterion, FairConfig, FederationError, InfeasibleError, Integers
from rectitude.federated.metrics import accuracy, gap
from rectitude.federated.plan import Plan, Stage
from rectitude.federated.registry import METHODS, find
from rectitude.federated.run import in_process, new_run_id

TOLERANCES = (0.0, 0.01, 0.02, 0.05, 0.1)
"""Both tolerances of the frontier's points, for methods that take them."""
_RESAMPLES = 400
_LEVEL = 0.95


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
    """

    method: str
    label: str
    accuracy: tuple[float, float, float]
    global_gap: tuple[float, float, float]
    local_gaps: tuple[float, ...]
    seeds: int = 1

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
            "seeds": self.seeds,
        }


def figures(method: str, label: str, cells: Integers, local: Sequence[float], criterion: Criterion) -> Figures:
    """Figures of one evaluation, with intervals from resampling the decisions.

    Rows of each group and true class are kept as many as they are; their decisions are drawn again from what was
    decided about them (a parametric bootstrap of counts: rows themselves never leave the clients).

    Args:
        method: Its name.
        label: Which of its settings.
        cells: Rows by group, true class and decided class, int64 [G, m, m].
        local: Each client's gap.
        criterion: Of the gap.
    """
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
        tuple(float(value) for value in local),
    )


def _ends(value: float, drawn: Any) -> tuple[float, float, float]:
    known = np.asarray(drawn)[np.isfinite(drawn)]
    if not len(known) or not math.isfinite(value):
        return value, value, value
    low, high = np.quantile(known, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return value, min(value, float(low)), max(value, float(high))


def mean_over_seeds(found: Sequence[Figures]) -> Figures:
    """One point from those of several seeds: means, with t intervals over the seeds where there are several."""
    if len(found) == 1:
        return found[0]

    def pooled(values: list[float]) -> tuple[float, float, float]:
        mean, spread = float(np.mean(values)), float(np.std(values, ddof=1))
        half = float(stats.t.ppf((1 + _LEVEL) / 2, len(values) - 1)) * spread / math.sqrt(len(values))
        return mean, mean - half, mean + half

    first = found[0]
    local = (float(np.mean([point.local_gap_max for point in found])),)  # clients differ from seed to seed
    return Figures(
        first.method,
        first.label,
        pooled([point.accuracy[0] for point in found]),
        pooled([point.global_gap[0] for point in found]),
        local,
        len(found),
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
    found: dict[tuple[str, str], list[Figures]] = {}
    failed: list[str] = []
    for seed in seeds:
        federation = federations(seed)
        for key, figure in _one_seed(federation, base, wanted, criterion, failed, watch):
            found.setdefault(key, []).append(figure)
    points = {key: mean_over_seeds(several) for key, several in found.items()}
    by_method: dict[str, tuple[Figures, ...]] = {}
    for (name, label), point in points.items():
        if name != "" and not label.startswith("price: "):
            by_method[name] = (*by_method.get(name, ()), point)
    prices = tuple(point for (_, label), point in points.items() if label.startswith("price: "))
    return Comparison(points["", ""], prices, by_method, tuple(dict.fromkeys(failed)))


def _wanted(
    main: Stage, criterion: Criterion, names: Sequence[str], tolerances: Sequence[float]
) -> list[tuple[str, str, dict[str, Any]]]:
    """Method, label and settings of every point."""
    wanted: list[tuple[str, str, dict[str, Any]]] = []
    config = find(main.method).Config
    if issubclass(config, FairConfig):
        settings = dict(main.settings)
        bounds = {
            "global_tolerance": settings.get("global_tolerance"),
            "local_tolerance": settings.get("local_tolerance"),
        }
        for label, off in (("global only", "local_tolerance"), ("local only", "global_tolerance"), ("both", None)):
            if all(bounds[bound] is not None for bound in bounds) or label == "both":
                wanted.append((main.method, f"price: {label}", {**settings, **({off: None} if off else {})}))
    for name in (main.method, *names):
        own = dict(main.settings) if name == main.method else {}
        kind = find(name)
        if not issubclass(kind.Config, FairConfig):
            wanted.append((name, "", own))
        elif kind.stage == "training":  # each point is a training of its own
            wanted.append((name, "", own or {**_tolerances(main), "criterion": criterion}))
        else:
            for tolerance in tolerances:
                both = {"global_tolerance": tolerance, "local_tolerance": tolerance, "criterion": criterion}
                wanted.append((name, f"{tolerance:g}", {**own, **both}))
    return wanted


def _tolerances(main: Stage) -> dict[str, Any]:
    return {key: main.settings[key] for key in ("global_tolerance", "local_tolerance") if key in main.settings}


def _one_seed(
    federation: Federation,
    base: Stage,
    wanted: Sequence[tuple[str, str, dict[str, Any]]],
    criterion: Criterion,
    failed: list[str],
    watch: Callable[[str], None] | None,
) -> list[tuple[tuple[str, str], Figures]]:
    """Every point of one seed; a method that cannot be had is said and left out."""
    found: list[tuple[tuple[str, str], Figures]] = []
    stages = [base]
    alone: list[tuple[str, str, dict[str, Any]]] = []
    keys = [("", "")]
    for name, label, settings in wanted:
        if find(name).stage == "post" and _usable(name, settings, federation, failed):
            stages.append(Stage(name, settings, 0, label))
            keys.append((name, label))
        elif find(name).stage == "training":
            alone.append((name, label, settings))
    plans = [(stages, keys)]
    plans += [([Stage(name, settings, None, label)], [(name, label)]) for name, label, settings in alone]
    for chosen, its_keys in plans:
        if watch is not None:
            watch(f"seed {federation.problem.seed}: {', '.join(dict.fromkeys(stage.method for stage in chosen))}")
        found += _measure(federation, chosen, its_keys, criterion, failed)
    return found


def _usable(name: str, settings: dict[str, Any], federation: Federation, failed: list[str]) -> bool:
    try:
        _ = _plan(federation, [Stage("fedavg"), Stage(name, settings, 0)], "dp").methods
    except ConfigError as error:
        failed.append(f"{find(name).title}: {error.what}")
        return False
    return True


def _measure(
    federation: Federation,
    stages: Sequence[Stage],
    keys: Sequence[tuple[str, str]],
    criterion: Criterion,
    failed: list[str],
) -> list[tuple[tuple[str, str], Figures]]:
    """Run a plan; where a stage fails, the rest of the plan is run without it."""
    try:
        plan = _plan(federation, stages, criterion)
        progress = in_process(plan, federation.clients).progress
    except (InfeasibleError, ConfigError, FederationError) as error:
        if len(stages) == 1:
            if keys[0] == ("", ""):
                raise
            failed.append(f"{find(stages[0].method).title} {keys[0][1]}: {error.what}".replace(" :", ":"))
            return []
        return _measure_one_by_one(federation, stages, keys, criterion, failed)
    out = []
    for number, (stage, key) in enumerate(zip(stages, keys, strict=True)):
        measured = progress.evaluation(number, "test")
        label = key[1].removeprefix("price: ")
        out.append((key, figures(stage.method, label, measured.cells, measured.local.tolist(), criterion)))
    return out


def _measure_one_by_one(
    federation: Federation,
    stages: Sequence[Stage],
    keys: Sequence[tuple[str, str]],
    criterion: Criterion,
    failed: list[str],
) -> list[tuple[tuple[str, str], Figures]]:
    found = _measure(federation, stages[:1], keys[:1], criterion, failed)
    for stage, key in zip(stages[1:], keys[1:], strict=True):
        try:
            plan = _plan(federation, [stages[0], stage], criterion)
            measured = in_process(plan, federation.clients).progress.evaluation(1, "test")
        except RectitudeError as error:
            failed.append(f"{find(stage.method).title} {key[1]}: {error.what}")
            continue
        label = key[1].removeprefix("price: ")
        found.append((key, figures(stage.method, label, measured.cells, measured.local.tolist(), criterion)))
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
