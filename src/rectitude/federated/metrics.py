"""Accuracy and group gaps from counts of (group, true class, predicted class).

A gap is the largest difference, between any two groups and over all events of the criterion, of the rate of an event:
of predicting a class (``dp``), of recognising it (``eop``), of recognising it or wrongly giving it (``eo``), or of
giving class j to class i (``eo_full``). With two classes only class 1 is looked at for ``dp``, ``eop`` and ``eo``, as
is usual. Groups crossed from several attributes are groups like others. A group without rows for an event is left out
of it; where fewer than two groups are left for every event, the gap is undefined: NaN.

Letters: G groups, m classes, E events, N clients; dots stand for leading axes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rectitude.federated.contracts import Criterion, Floats, Integers
from rectitude.federated.methods.constraints import Form, events_of


def count_cells(y: Integers, predicted: Integers, a: Integers, n_groups: int, n_classes: int) -> Integers:
    """Rows by (group, true class, predicted class), int64 [G, m, m].

    Args:
        y: True classes [n].
        predicted: Predicted classes [n].
        a: Groups [n].
        n_groups: The letter G.
        n_classes: The letter m.
    """
    flat = (a * n_classes + y) * n_classes + predicted
    counts = np.bincount(flat, minlength=n_groups * n_classes**2)
    return counts.reshape(n_groups, n_classes, n_classes).astype(np.int64)


def accuracy(cells: npt.NDArray[Any]) -> float:
    """Part of the rows whose class is predicted right.

    Args:
        cells: [..., m, m]; added up over the leading axes.
    """
    total = float(cells.sum())
    return float(np.trace(cells, axis1=-2, axis2=-1).sum()) / total if total else float("nan")


def event_rates(cells: npt.NDArray[Any], criterion: Criterion) -> Floats:
    """Rate of each event in each group, NaN where a group has no row for it, float64 [..., G, E].

    Args:
        cells: Counts [..., G, m, m].
        criterion: Whose events.
    """
    events = events_of(criterion, cells.shape[-1])
    given = events.given.astype(np.float64)  # [E, m]
    condition = np.einsum("...gij,ei->...ge", cells, given)
    chosen = np.einsum("...gie,ei->...ge", cells[..., events.predicted], given)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(condition > 0, chosen / condition, np.nan))


def gap(cells: npt.NDArray[Any], criterion: Criterion, form: Form = "pairwise") -> Floats:
    """Largest gap between groups, float64 [...]; NaN where no two groups can be compared.

    Args:
        cells: Counts [..., G, m, m].
        criterion: What is compared.
        form: ``pairwise``: between two groups. ``subgroup``: between a group and all rows together.
    """
    rates = event_rates(cells, criterion)
    if form == "pairwise":
        return _widest(rates)
    known = np.isfinite(rates)
    overall = event_rates(cells.sum(axis=-3, keepdims=True), criterion)
    apart = np.where(known, np.abs(rates - np.where(np.isfinite(overall), overall, 0.0)), 0.0).max(axis=-2)
    return _largest(apart, known)


def _widest(rates: Floats) -> Floats:
    """Largest difference of any event's rate between two groups, [...] from [..., G, E]."""
    known = np.isfinite(rates)
    enough = known.sum(axis=-2) > 1
    low = np.where(known, rates, np.inf).min(axis=-2)
    high = np.where(known, rates, -np.inf).max(axis=-2)
    return _largest(np.where(enough, high, 0.0) - np.where(enough, low, 0.0), known)


def _largest(apart: Floats, known: npt.NDArray[np.bool_]) -> Floats:
    """The largest [...] of what was found for each event [..., E]; NaN where no event has two groups to compare."""
    enough = known.sum(axis=-2) > 1
    return np.asarray(np.where(enough.any(axis=-1), np.where(enough, apart, 0.0).max(axis=-1), np.nan))


def global_gap(cells: npt.NDArray[Any], criterion: Criterion, form: Form = "pairwise") -> float:
    """Gap over the union of all clients' rows.

    Args:
        cells: Counts [G, m, m], or of every client, [N, G, m, m].
        criterion: What is compared.
        form: As in :func:`gap`.
    """
    together = cells.sum(axis=0) if cells.ndim == 4 else cells
    return float(gap(together, criterion, form))


def local_gaps(each: npt.NDArray[Any], criterion: Criterion, form: Form = "pairwise") -> Floats:
    """Gap of every client, float64 [N]; NaN where a client has no two groups to compare.

    Args:
        each: Counts of every client, [N, G, m, m].
        criterion: What is compared.
        form: As in :func:`gap`.
    """
    return gap(each, criterion, form)


def gaps_by_chance(cells: Integers, criterion: Criterion, n_draws: int, rng: np.random.Generator) -> Floats:
    """Gaps that a decision fair on endless rows would show on this many, by sampling alone, float64 [R].

    Groups are dealt anew to the rows of each true class, as many to each as there are, and a group's rate is taken less
    the one that such dealing has on average. Classes are kept apart because a client's parts are cut to the same shares
    of (group, class): how many of a group's rows are of which class does not vary from part to part.

    Args:
        cells: Counts of one client, [G, m, m].
        criterion: What is compared.
        n_draws: R.
        rng: Deals.
    """
    dealt = np.stack([_dealt(cells[:, y], n_draws, rng) for y in range(cells.shape[1])], axis=2)
    decided = cells.sum(axis=0) / np.maximum(cells.sum(axis=(0, 2)), 1)[:, None]  # of each true class, in all groups
    expected = cells.sum(axis=2)[..., None] * decided
    return _widest(event_rates(dealt, criterion) - event_rates(expected, criterion))


def _dealt(table: Integers, n_draws: int, rng: np.random.Generator) -> Integers:
    """Random tables with the margins of a table [G, m], int64 [R, G, m]."""
    groups, classes = table.shape
    found = np.zeros((n_draws, groups, classes), np.int64)
    left = np.repeat(table.sum(axis=0)[None], n_draws, axis=0)  # rows of each class that are still to be dealt
    for g in range(groups - 1):
        wanted = np.full(n_draws, table[g].sum())
        for j in range(classes - 1):
            found[:, g, j] = rng.hypergeometric(left[:, j], left[:, j + 1 :].sum(axis=1), wanted)
            wanted = wanted - found[:, g, j]
        found[:, g, -1] = wanted
        left = left - found[:, g]
    found[:, -1] = left
    return found
