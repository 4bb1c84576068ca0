"""WassFFed: training that pulls every group's score distribution to one common distribution, their barycentre.

Clients send histograms of the global model's scores by group; the server adds them up, finds the barycentre, and sends
back, for each group, the table that transports a score to it. Clients then train on

    α · cross-entropy + (1 − α) · mean |f(x_i) − t_i|,      t_i = T_a[f(x_i)] held fixed for the round.

If scores do not depend on the group, no threshold's decision does. Only the union of all clients is levelled: no gap is
promised to a single client. Equal opportunity and odds keep a barycentre for each true class.

Source: "WassFFed: Wasserstein Fair Federated Learning", arXiv 2411.06881; server and client routines of its artefacts.
Departures, each for a reason given in docs/systems/wassffed.md: the W₂ barycentre (quantiles averaged) for the
artefacts' mixture of distributions, which is kept as ``barycentre="mixture"``; histograms for the raw scores of single
rows; targets by rank for the artefacts' wrong permutation; several classes one by one.

Letters: n rows, m classes, G groups, K scored classes, S strata (of true classes), B bins.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field as Setting

from rectitude.core.errors import ConfigError
from rectitude.federated.contracts import (
    Array,
    Arrays,
    ClientData,
    ClientHalf,
    Combined,
    Criterion,
    Exchange,
    Field,
    Floats,
    Integers,
    MethodConfig,
    Problem,
    ServerHalf,
    Wire,
)
from rectitude.federated.network import LogitGradient, Network, cross_entropy, likelihood_gradient, softmax
from rectitude.federated.training import (
    LOSS_UP,
    ROWS_UP,
    TRAIN,
    WEIGHTS_DOWN,
    WEIGHTS_UP,
    AveragingClient,
    AveragingServer,
    FedAvg,
    TrainingConfig,
    weighted,
)

HISTOGRAM, FAIR = "histogram", "fair"
Barycentre = Literal["w2", "w1", "mixture"]


class WassFFedConfig(TrainingConfig):
    """Settings of WassFFed."""

    rounds: int = Setting(60, ge=1)
    """Rounds in all, warm-up included; with fewer than the warm-up's this is FedAvg."""
    warm_up: int = Setting(20, ge=0)
    """Rounds of plain averaging before scores mean anything (21 in the artefacts)."""
    fair_steps: int = Setting(10, ge=1)
    """Mini-batches at each client and fair round."""
    alpha: float = Setting(0.5, ge=0, le=1)
    """α, weight of the accuracy loss ("w_beta" of the artefacts): 1 is FedAvg; usual range 0.1 to 0.9."""
    barycentre: Barycentre = "w2"
    """``w2``: averaged quantiles; ``w1``: their weighted median; ``mixture``: averaged distributions (artefacts)."""
    bins: int = Setting(100, ge=10)
    """B; every group should have ten times as many rows in all."""
    momentum: float = Setting(0.95, gt=0, le=1)
    """Share of the new mean in the global model."""
    criterion: Criterion = "dp"
    """What is levelled: scores by group, or by group within a true class."""
    global_tolerance: float | None = Setting(None, ge=0)
    """Gap of the decisions on training rows that α is moved to meet (never promised); null keeps α as given."""
    penalty: Literal["absolute", "square"] = "absolute"
    """Distance to the target; the square's gradient vanishes near it, and the gap stays."""


class WassFFed(FedAvg):
    """One model whose scores have nearly the same distribution in every group; decides without the attribute."""

    name: ClassVar[str] = "wassffed"
    title: ClassVar[str] = "WassFFed"
    paper: ClassVar[str] = "WassFFed: Wasserstein Fair Federated Learning, arXiv 2411.06881"
    Config: ClassVar[type[MethodConfig]] = WassFFedConfig
    wire: ClassVar[tuple[Wire, ...]] = (
        Wire(TRAIN, (WEIGHTS_DOWN, Field("round", "1", "rounds done")), (WEIGHTS_UP, ROWS_UP, LOSS_UP)),
        Wire(
            HISTOGRAM,
            (WEIGHTS_DOWN,),
            (
                Field(
                    "histogram",
                    "scored classes × strata × groups × (bins + 1)",
                    "training rows of each group by rounded score, over the root of the number of scored classes",
                    secure=True,
                    sensitivity=1.0,
                ),
            ),
        ),
        Wire(
            FAIR,
            (
                WEIGHTS_DOWN,
                Field("table", "scored classes × strata × groups × (bins + 1)", "target of each rounded score"),
                Field("alpha", "1", "weight of the accuracy loss"),
                Field("round", "1", "rounds done"),
            ),
            (WEIGHTS_UP, ROWS_UP, LOSS_UP),
        ),
    )
    config: WassFFedConfig

    def __init__(self, config: MethodConfig, problem: Problem) -> None:
        super().__init__(config, problem)
        if problem.n_groups < 2:
            raise ConfigError("There is only one group, so there is nothing to compare", fix="Choose another attribute")
        m = problem.n_classes
        self.scored = [1] if m == 2 else list(range(m))
        self.n_strata = {"dp": 1, "eop": 1 if m == 2 else m}.get(self.config.criterion, m)

    def stratum(self, y: Integers, scored: int) -> Integers:
        """Which barycentre a row's score goes to, −1 for none, int64 [n].

        Args:
            y: True classes.
            scored: The class whose score it is.
        """
        if self.config.criterion == "dp":
            return np.zeros_like(y)
        if self.config.criterion == "eop":
            within = 0 if self.n_strata == 1 else scored
            return np.where(y == scored, within, -1)
        return y

    def server(self) -> ServerHalf:
        """Averages models and histograms."""
        return WassFFedServer(self)

    def client(self, data: ClientData) -> ClientHalf:
        """Counts scores, trains towards targets."""
        return WassFFedClient(self, data)

    def probabilities(self, rows: Mapping[str, Array | None], shared: Arrays, personal: Arrays) -> Floats | None:
        """Scores; levelled between groups, hence no calibrated probabilities."""
        return self.network.proba(shared, np.asarray(rows["X"], np.float32))


class WassFFedServer(AveragingServer):
    """Plain rounds, then rounds of two exchanges: histograms up, tables down.

    Args:
        method: Gives settings.
    """

    def __init__(self, method: WassFFed) -> None:
        super().__init__(method.network, method.config.rounds, method.first_weights())
        self.method, self.alpha = method, method.config.alpha
        self.table: Floats | None = None
        self.gaps: list[float] = []

    def state(self) -> Arrays:
        """Weights, counters, α, and the tables once there are any."""
        state = super().state() | {"alpha": np.asarray(self.alpha), "gaps": np.asarray(self.gaps, np.float64)}
        return state if self.table is None else state | {"table": self.table}

    def restore(self, state: Arrays) -> None:
        """Put a state back."""
        super().restore(state)
        self.alpha, self.gaps, self.table = float(state["alpha"]), state["gaps"].tolist(), state.get("table")

    def ask(self) -> Exchange | None:
        """Train; after the warm-up ask for histograms first."""
        exchange = super().ask()
        if exchange is None or self.round < self.method.config.warm_up:
            return exchange
        if self.table is None:
            return Exchange(HISTOGRAM, self.weights, exchange.round)
        message = exchange.message | {"table": self.table, "alpha": np.asarray(self.alpha)}
        return Exchange(FAIR, message, exchange.round)

    def take(self, exchange: Exchange, combined: Combined) -> None:
        """Tables from histograms, or a step towards the mean of the models."""
        if exchange.kind == HISTOGRAM:
            histogram = np.asarray(combined.fields["histogram"], np.float64) * np.sqrt(len(self.method.scored))
            histogram = np.maximum(histogram, 0.0)  # noise may have made counts negative
            self.table = transport_tables(histogram, self.method.config.barycentre)
            self.gaps.append(_decision_gap(histogram))
            aim = self.method.config.global_tolerance
            if aim is not None:
                self.alpha = float(np.clip(self.alpha * np.exp(-2.0 * (self.gaps[-1] - aim)), 0.05, 1.0))
            return
        before = self.weights
        super().take(exchange, combined)
        if exchange.kind == FAIR:
            b = np.float32(self.method.config.momentum)
            self.weights = {name: (1 - b) * before[name] + b * array for name, array in self.weights.items()}
        self.table = None

    def notes(self) -> dict[str, Any]:
        """Gap of the decisions on training rows before every fair round, and α at the end."""
        return super().notes() | {"gap_by_round": self.gaps, "alpha": self.alpha}


class WassFFedClient(AveragingClient):
    """Counts the global model's scores and trains towards their targets.

    Args:
        method: Gives settings, network and seed.
        data: The client's.
    """

    method: WassFFed

    def reply(self, kind: str, message: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
        """Histograms, or a round of training."""
        method, rows = self.method, self.data.train
        weights = Network.weights_in(message)
        logits = method.network.logits(weights, rows.X)
        scores = np.asarray(softmax(logits.astype(np.float64)))
        if kind == HISTOGRAM:
            return {"histogram": self._histogram(scores) / np.sqrt(len(method.scored))}, state  # one row moves it by 1
        gradient, steps = likelihood_gradient(rows.y), method.config.local_steps
        if kind == FAIR:
            targets = self._targets(scores, message["table"])
            gradient = target_gradient(rows.y, targets, float(message["alpha"]), method.config.penalty)
            steps = method.config.fair_steps
        trained, moments = method.train(
            weights, self.data, gradient, round=int(message["round"]), moments=state, steps=steps
        )
        return weighted(trained, float(len(rows)), cross_entropy(logits, rows.y).sum()), moments

    def _histogram(self, scores: Floats) -> Floats:
        """Rows by scored class, stratum, group and nearest grid point, [K, S, G, B+1]."""
        method, rows = self.method, self.data.train
        bins, groups = method.config.bins, method.problem.n_groups
        counts = np.zeros((len(method.scored), method.n_strata, groups, bins + 1))
        for k, scored in enumerate(method.scored):
            stratum = method.stratum(rows.y, scored)
            used = stratum >= 0
            at = np.rint(scores[:, scored] * bins).astype(np.int64)
            np.add.at(counts[k], (stratum[used], rows.a[used], at[used]), 1.0)
        return counts

    def _targets(self, scores: Floats, table: Floats) -> Floats:
        """Target of every row and class [n, m]; NaN where a row has none."""
        method, rows = self.method, self.data.train
        targets = np.full(scores.shape, np.nan)
        for k, scored in enumerate(method.scored):
            stratum = method.stratum(rows.y, scored)
            at = np.rint(scores[:, scored] * method.config.bins).astype(np.int64)
            found = table[k, np.maximum(stratum, 0), rows.a, at]
            targets[:, scored] = np.where(stratum >= 0, found, np.nan)
        if scores.shape[1] == 2:
            targets[:, 0] = 1 - targets[:, 1]
        elif method.config.criterion != "eop":
            targets /= np.maximum(targets.sum(axis=1, keepdims=True), 1e-9)
        return targets


def target_gradient(
    y: Integers, targets: Floats, alpha: float, penalty: Literal["absolute", "square"] = "absolute"
) -> LogitGradient:
    """Gradient by the logits of α·cross-entropy + (1 − α)·½ Σ_j |f_j − t_j|, with two classes |f − t|.

    Args:
        y: True classes of all rows, [n].
        targets: Held fixed, [n, m]; NaN: none.
        alpha: Weight of the first term.
        penalty: ``square`` takes ½ Σ_j (f_j − t_j)² instead.
    """

    def gradient(logits: Array, at: Integers) -> Array:
        f = softmax(logits)
        off = np.nan_to_num(f - targets[at], nan=0.0)
        pull = 0.5 * np.sign(off) if penalty == "absolute" else off
        by_logits = (1 - alpha) * f * (pull - (pull * f).sum(axis=1, keepdims=True)) + alpha * f
        by_logits[np.arange(len(at)), y[at]] -= alpha
        return np.asarray(by_logits / len(at))

    return gradient


def transport_tables(histogram: Floats, kind: Barycentre = "w2") -> Floats:
    """Where the barycentre of the groups sends each rounded score, float64, of the histogram's shape.

    A bin's target is the mean of the barycentre's quantiles over the ranks of its rows. Groups weigh by their rows; a
    group without rows keeps its scores.

    Args:
        histogram: Rows by group and grid point, [..., G, B+1].
        kind: Of barycentre.
    """
    tables = np.empty_like(histogram, dtype=np.float64)
    for index in np.ndindex(histogram.shape[:-2]):
        tables[index] = _transport(histogram[index], kind)
    return tables


def _transport(counts: Floats, kind: Barycentre) -> Floats:
    grid = np.linspace(0.0, 1.0, counts.shape[1])
    sizes = counts.sum(axis=1)
    present = sizes > 0
    table = np.broadcast_to(grid, counts.shape).copy()
    if not present.any():
        return table
    share = sizes[present] / sizes.sum()
    cdf = np.minimum(np.cumsum(counts[present], axis=1) / sizes[present, None], 1.0)
    pooled = share @ cdf
    levels = np.unique(np.concatenate([[0.0, 1.0], cdf.ravel(), pooled]))
    width, middle = np.diff(levels), (levels[1:] + levels[:-1]) / 2  # between levels all quantiles are constant
    if kind == "mixture":
        quantiles = quantile(pooled, middle, grid)
    else:
        each = np.stack([quantile(row, middle, grid) for row in cdf])
        quantiles = share @ each if kind == "w2" else _weighted_median(each, share)
    integral = np.concatenate([[0.0], np.cumsum(quantiles * width)])
    for group, ranks in zip(np.flatnonzero(present), cdf, strict=True):
        ends = np.concatenate([[0.0], ranks])
        mass = np.diff(ends)
        inside = np.diff(np.interp(ends, levels, integral)) / np.where(mass > 0, mass, 1.0)
        empty = quantiles[np.minimum(np.searchsorted(middle, ranks), len(quantiles) - 1)]
        table[group] = np.where(mass > 1e-12, inside, empty)
    return table


def quantile(cdf: Floats, levels: Floats, grid: Floats) -> Floats:
    """min {s : F(s) ≥ u} for each level u.

    Args:
        cdf: F on the grid, [B+1].
        levels: u, [U].
        grid: Values of s, [B+1].
    """
    at = np.searchsorted(cdf, levels - 1e-12, side="left")
    return np.asarray(grid[np.minimum(at, len(grid) - 1)])  # rounding errors at u = 1 must not run past the last bin


def _weighted_median(values: Floats, weights: Floats) -> Floats:
    """Of each column, [U]."""
    order = np.argsort(values, axis=0)
    reached = np.cumsum(weights[order], axis=0) >= 0.5 - 1e-12
    first = reached.argmax(axis=0)
    columns = np.arange(values.shape[1])
    return np.asarray(values[order[first, columns], columns])


def _decision_gap(histogram: Floats) -> float:
    """Largest gap between groups in how often a score is above one half, [K, S, G, B+1]."""
    bins = histogram.shape[-1] - 1
    sizes = histogram.sum(axis=-1)
    above = histogram[..., bins // 2 + 1 :].sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        rates = np.where(sizes > 0, above / sizes, np.nan)
    low = np.nanmin(np.where(np.isnan(rates), np.inf, rates), axis=-1)
    high = np.nanmax(np.where(np.isnan(rates), -np.inf, rates), axis=-1)
    gaps = np.where(np.isfinite(low), high - low, 0.0)
    return float(gaps.max(initial=0.0))
